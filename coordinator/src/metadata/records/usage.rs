//! `usage/<bucket>`: how much a bucket with a quota held when it was last counted.

pub use v1::UsageRecord;

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use serde::{Deserialize, Serialize};

    /// What was counted.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct UsageRecord {
        /// Bytes of all versions.
        pub bytes: u64,
        /// Versions, markers not among them.
        pub objects: u64,
        /// When the count began, in milliseconds since 1970. What was published later may be in it or not.
        pub began_ms: u64,
        /// When it ended.
        pub ended_ms: u64,
    }

    impl Migrate for UsageRecord {
        const NAME: &'static str = "usage record";
        const TYPE: u8 = 41;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> UsageRecord {
            match previous {}
        }
    }
}
