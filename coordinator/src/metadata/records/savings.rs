//! `savings/<bucket>`: what a bucket held when it was last gone through, and what keeping it took. `savings`: the same of all buckets.

pub use v1::SavingsRecord;

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use serde::{Deserialize, Serialize};

    /// What was counted. A chunk that several versions share counts for one of them.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct SavingsRecord {
        /// Versions, markers not among them.
        pub versions: u64,
        /// Plain bytes of all of them.
        pub logical_bytes: u64,
        /// Plain bytes of the chunks that count for them, each once.
        pub unique_bytes: u64,
        /// What these chunks take as they are stored, compressed where that pays: once, and before any code.
        pub stored_bytes: u64,
        /// What the shards of these chunks take on the nodes that their records name.
        pub node_bytes: u64,
        /// What the coded ones among them take with all shards of their codes,
        pub coded_bytes: u64,
        /// and what these would take as copies.
        pub coded_as_copies_bytes: u64,
        /// When the count began, in milliseconds since 1970. What was published later may be in it or not.
        pub began_ms: u64,
        /// When it ended.
        pub ended_ms: u64,
    }

    impl SavingsRecord {
        /// Plain bytes that are not stored, because the same were there.
        pub fn saved_by_dedup_bytes(&self) -> u64 {
            self.logical_bytes.saturating_sub(self.unique_bytes)
        }

        /// What compression takes off one copy of the rest.
        pub fn saved_by_compression_bytes(&self) -> u64 {
            self.unique_bytes.saturating_sub(self.stored_bytes)
        }

        /// What coded chunks take less than copies of them would; negative where many are so short that their shards are filled up.
        pub fn saved_by_coding_bytes(&self) -> i64 {
            self.coded_as_copies_bytes as i64 - self.coded_bytes as i64
        }
    }

    impl Migrate for SavingsRecord {
        const NAME: &'static str = "savings record";
        const TYPE: u8 = 34;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> SavingsRecord {
            match previous {}
        }
    }
}
