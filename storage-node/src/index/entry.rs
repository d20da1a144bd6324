//! What the index knows of one shard id, and the one place that knows an entry's bytes.
//!
//! ```text
//! offset size field
//!      0   17 shard id (chunk 16, index 1)
//!     17    1 0 = tombstone, 1 = live
//!     18    4 segment, u32 LE
//!     22    4 offset of the record in its segment, u32 LE
//!     26    4 length of the shard, u32 LE
//!     30    4 CRC32 of the shard, u32 LE
//! ```

use protocol::{ShardHead, ShardId};
use segments::{Location, Position};

/// A shard id as index key; byte order is id order.
pub type Key = [u8; ShardId::BYTES];

/// Length of an encoded entry with its key, in bytes.
pub const ENTRY_BYTES: usize = 34;

/// What the index knows of one shard id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whether it is a shard, rather than the tombstone of one.
    pub live: bool,
    /// Where its record is.
    pub location: Location,
}

impl Entry {
    /// Which of two entries for one id holds, whatever the order in which they were met: a tombstone wins, because an id is
    /// never reused (law 2); of two records of the same kind the later one, because compaction moves forward.
    pub fn prevail(self, other: Entry) -> Entry {
        match (self.live, other.live) {
            (false, true) => self,
            (true, false) => other,
            _ if other.location.position >= self.location.position => other,
            _ => self,
        }
    }

    /// Length and CRC, as a node tells them.
    pub fn head(&self, key: &Key) -> ShardHead {
        ShardHead { id: ShardId::from_bytes(*key), length: self.location.length, crc: self.location.crc }
    }

    /// Appends key and entry to `bytes`.
    pub fn encode(&self, key: &Key, bytes: &mut Vec<u8>) {
        let Location { position, length, crc } = self.location;
        bytes.extend_from_slice(key);
        bytes.push(u8::from(self.live));
        for word in [position.segment, position.offset, length, crc] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// The key and entry in these bytes; `None` if they cannot be one.
    pub fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<(Key, Entry)> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let live = match bytes[17] {
            0 => false,
            1 => true,
            _ => return None,
        };
        let mut key = [0; ShardId::BYTES];
        key.copy_from_slice(&bytes[..ShardId::BYTES]);
        let position = Position { segment: word(18), offset: word(22) };
        Some((key, Entry { live, location: Location { position, length: word(26), crc: word(30) } }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(live: bool, segment: u32) -> Entry {
        Entry { live, location: Location { position: Position { segment, offset: 64 }, length: 5, crc: 9 } }
    }

    #[test]
    fn entries_round_trip() {
        let mut bytes = Vec::new();
        entry(true, 3).encode(&[7; 17], &mut bytes);
        let bytes: [u8; ENTRY_BYTES] = bytes.try_into().unwrap();
        assert_eq!(Entry::decode(&bytes), Some(([7; 17], entry(true, 3))));
    }

    #[test]
    fn a_tombstone_wins_in_either_order_and_else_the_later_record() {
        assert_eq!(entry(true, 9).prevail(entry(false, 1)), entry(false, 1));
        assert_eq!(entry(false, 1).prevail(entry(true, 9)), entry(false, 1));
        assert_eq!(entry(true, 1).prevail(entry(true, 2)), entry(true, 2));
        assert_eq!(entry(true, 2).prevail(entry(true, 1)), entry(true, 2));
    }
}
