//! The durability receipt: what is true of a write at the moment it is acknowledged, and can be asked for again later.

use crate::code::Code;
use serde::Serialize;

/// The weakest chunk speaks for the whole object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// Shards (replicas, where the code has one data shard) of the weakest chunk that distinct nodes hold.
    pub copies: u32,
    /// How many of those were fsynced; only fsynced ones are counted at all, so the two are equal.
    pub fsynced: u32,
    /// Shards still to be written, by the stragglers or by repair.
    pub pending: u32,
    /// How many nodes may be lost for ever without losing a byte.
    pub survives: u32,
}

impl Receipt {
    /// What holds for an object without bytes: its metadata only.
    pub fn empty(code: Code) -> Receipt {
        Receipt::of(code, code.shards() as u32)
    }

    /// What holds for a chunk of which `durable` shards are fsynced on distinct nodes.
    pub fn of(code: Code, durable: u32) -> Receipt {
        Receipt {
            copies: durable,
            fsynced: durable,
            pending: (code.shards() as u32).saturating_sub(durable),
            survives: durable.saturating_sub(u32::from(code.data)),
        }
    }

    /// The weaker of two.
    pub fn weakest(self, other: Receipt) -> Receipt {
        if (other.survives, other.copies) < (self.survives, self.copies) { other } else { self }
    }

    /// The receipt as a header value: `copies=3; fsynced=3; pending=0; survives=2`.
    pub fn to_header(self) -> String {
        format!(
            "copies={}; fsynced={}; pending={}; survives={}",
            self.copies, self.fsynced, self.pending, self.survives
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weakest_chunk_speaks() {
        let three = Receipt::of(Code::REPLICATION, 3);
        let two = Receipt::of(Code::REPLICATION, 2);
        assert_eq!((three.survives, three.pending), (2, 0));
        assert_eq!((two.survives, two.pending), (1, 1));
        assert_eq!(three.weakest(two), two);
        assert_eq!(two.weakest(three), two);
        assert_eq!(two.to_header(), "copies=2; fsynced=2; pending=1; survives=1");
    }
}
