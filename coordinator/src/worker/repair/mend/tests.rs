//! What a mend does with what it finds.

use super::*;

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
