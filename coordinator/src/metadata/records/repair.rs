//! `repair/<severity>/<chunk>`: a chunk that is short of shards, or has bad ones (law 8: the work is a record, not a memory).

pub use v1::RepairRecord;

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
