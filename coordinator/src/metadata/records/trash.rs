//! `trash/<node>\0<shard>`: a shard that nothing needs, and that its node has not yet confirmed to have deleted (law 4: every shard
//! on a node is named by a record).

pub use v1::TrashRecord;

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use serde::{Deserialize, Serialize};

    /// A shard to be deleted; which, and where, is in its key.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct TrashRecord {
        /// Since when, in milliseconds since 1970.
        pub since_ms: u64,
    }

    impl Migrate for TrashRecord {
        const NAME: &'static str = "trash record";
        const TYPE: u8 = 13;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> TrashRecord {
            match previous {}
        }
    }
}
