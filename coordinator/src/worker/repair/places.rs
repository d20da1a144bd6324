//! Where a chunk's shards are, and under which index: an index that was given up is never named again.

use crate::code::Code;
use crate::metadata::records::{ChunkRecord, ShardPlace};

/// Whether it is the same shard.
pub(super) fn is_same(one: &ShardPlace, other: &ShardPlace) -> bool {
    one.node == other.node && one.index == other.index
}

/// Whether one of these is the same piece as the shard `index` would be. Of copies any number may be.
pub(super) fn names_piece(code: Code, places: &[ShardPlace], index: u8) -> bool {
    code.data > 1 && places.iter().any(|place| code.piece(place.index) == code.piece(index))
}

/// The lowest index that may be named anew of those for which `is_wanted`.
pub(super) fn free_index(record: &ChunkRecord, kept: &[ShardPlace], is_wanted: impl Fn(u8) -> bool) -> Option<u8> {
    let taken = |index: u8| kept.iter().chain(&record.shards).any(|place| place.index == index);
    (record.fence..u8::MAX).find(|index| !taken(*index) && is_wanted(*index))
}

/// The new record with its fence above every index that it no longer names, and the shards that are not needed any more.
pub(super) fn fenced(before: &ChunkRecord, mut now: ChunkRecord) -> (ChunkRecord, Vec<ShardPlace>) {
    let dropped: Vec<ShardPlace> = before.shards.iter().filter(|place| !now.shards.contains(place)).cloned().collect();
    for place in &dropped {
        now.fence = now.fence.max(place.index.saturating_add(1));
    }
    (now, dropped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::records::ChunkState;

    fn place(node: &str, index: u8) -> ShardPlace {
        ShardPlace { node: node.parse().unwrap(), index, crc: 7 }
    }

    fn record(shards: Vec<ShardPlace>, fence: u8) -> ChunkRecord {
        ChunkRecord {
            length: 1,
            stored_length: 1,
            sha256: [0; 32],
            compressed: false,
            code: Code::REPLICATION,
            shards,
            state: ChunkState::Live,
            fence,
        }
    }

    #[test]
    fn an_index_that_was_given_up_is_never_named_again() {
        let before = record(vec![place("n1", 0), place("n2", 1), place("n3", 2)], 0);
        let kept = vec![place("n1", 0), place("n3", 2)];
        assert_eq!(free_index(&before, &kept, |_| true), Some(3), "1 is still n2's");
        let now = record([kept, vec![place("n4", 3)]].concat(), 0);
        let (now, dropped) = fenced(&before, now);
        assert_eq!((now.fence, dropped), (2, vec![place("n2", 1)]));
        assert_eq!(free_index(&now, &now.shards.clone(), |_| true), Some(4), "law 2: 1 has a tombstone");
        let worn_out = record(vec![place("n1", 0)], u8::MAX);
        assert_eq!(free_index(&worn_out, &worn_out.shards.clone(), |_| true), None);
    }
}
