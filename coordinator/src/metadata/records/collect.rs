//! `collect/<chunk>`: a chunk that lost a reference, and goes if it has no other. Written by the commit that takes the reference
//! away, so that no chunk is forgotten (law 4).

pub use v1::CollectRecord;

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use serde::{Deserialize, Serialize};

    /// A chunk to be looked at by the collector.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct CollectRecord {
        /// Since when, in milliseconds since 1970.
        pub since_ms: u64,
    }

    impl Migrate for CollectRecord {
        const NAME: &'static str = "collect record";
        const TYPE: u8 = 12;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> CollectRecord {
            match previous {}
        }
    }
}
