//! `intent/<version>`: an upload under way. What it stored and did not publish is given back when its heartbeat stops.

pub use v1::IntentRecord;

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use serde::{Deserialize, Serialize};

    /// An upload under way.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct IntentRecord {
        /// The bucket it is for; empty: what is stored is named by the stream's end.
        pub bucket: String,
        /// The key it is for; empty as well.
        pub key: String,
        /// When it began.
        pub started_ms: u64,
        /// When it last showed life.
        pub heartbeat_ms: u64,
    }

    impl Migrate for IntentRecord {
        const NAME: &'static str = "intent record";
        const TYPE: u8 = 7;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> IntentRecord {
            match previous {}
        }
    }
}
