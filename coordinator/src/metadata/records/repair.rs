//! `repair/<severity>/<chunk>`: a chunk that is short of shards, or has bad ones (law 8: the work is a record, not a memory).

pub use v3::RepairRecord;

/// From this severity on a chunk is whole: it is only to be moved off a node that is being drained,
pub const SEVERITY_DRAIN: u8 = 64;
/// or from a node that holds more than its part to one that holds less.
pub const SEVERITY_REBALANCE: u8 = 128;

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use protocol::ChunkId;
    use serde::{Deserialize, Serialize};

    /// Work for repair.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct RepairRecord {
        /// Which chunk.
        pub chunk: ChunkId,
        /// Since when.
        pub since_ms: u64,
        /// Why, for people.
        pub reason: String,
    }

    impl Migrate for RepairRecord {
        const NAME: &'static str = "repair record";
        const TYPE: u8 = 8;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> RepairRecord {
            match previous {}
        }
    }
}

/// The second layout: also moves.
pub mod v2 {
    use super::v1;
    use crate::metadata::codec::Migrate;
    use protocol::{ChunkId, NodeId};
    use serde::{Deserialize, Serialize};

    /// Work for repair.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct RepairRecord {
        /// Which chunk.
        pub chunk: ChunkId,
        /// Since when, in milliseconds since 1970.
        pub since_ms: u64,
        /// Why, for people.
        pub reason: String,
        /// The node whose shard is to be replaced by one elsewhere, although nothing is wrong with it.
        pub away_from: Option<NodeId>,
        /// Where it should go, if that was thought of.
        pub toward: Option<NodeId>,
        /// Whether the bytes of every shard are to be read and checked: some were found wrong.
        pub check_bytes: bool,
    }

    impl Migrate for RepairRecord {
        const NAME: &'static str = "repair record";
        const TYPE: u8 = 8;
        const VERSION: u8 = 2;
        type Previous = v1::RepairRecord;

        fn migrate(previous: v1::RepairRecord) -> RepairRecord {
            let v1::RepairRecord { chunk, since_ms, reason } = previous;
            RepairRecord { chunk, since_ms, reason, away_from: None, toward: None, check_bytes: false }
        }
    }
}

/// The third layout: also what is lost.
pub mod v3 {
    use super::v2;
    use crate::metadata::codec::Migrate;
    use protocol::{ChunkId, NodeId};
    use serde::{Deserialize, Serialize};

    /// Work for repair.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct RepairRecord {
        /// Which chunk.
        pub chunk: ChunkId,
        /// Since when, in milliseconds since 1970.
        pub since_ms: u64,
        /// Why, for people.
        pub reason: String,
        /// The node whose shard is to be replaced by one elsewhere, although nothing is wrong with it.
        pub away_from: Option<NodeId>,
        /// Where it should go, if that was thought of.
        pub toward: Option<NodeId>,
        /// Whether the bytes of every shard are to be read and checked: some were found wrong.
        pub check_bytes: bool,
        /// Whether repair found no good copy when it looked last: it goes on looking, but nothing waits for it.
        pub lost: bool,
    }

    impl RepairRecord {
        /// A chunk that is short of shards.
        pub fn new(chunk: ChunkId, since_ms: u64, reason: &str) -> RepairRecord {
            RepairRecord {
                chunk,
                since_ms,
                reason: reason.to_owned(),
                away_from: None,
                toward: None,
                check_bytes: false,
                lost: false,
            }
        }
    }

    impl Migrate for RepairRecord {
        const NAME: &'static str = "repair record";
        const TYPE: u8 = 8;
        const VERSION: u8 = 3;
        type Previous = v2::RepairRecord;

        fn migrate(previous: v2::RepairRecord) -> RepairRecord {
            let v2::RepairRecord { chunk, since_ms, reason, away_from, toward, check_bytes } = previous;
            RepairRecord { chunk, since_ms, reason, away_from, toward, check_bytes, lost: false }
        }
    }
}
