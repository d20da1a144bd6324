//! `wanted/<worker>/<id>`: that a whole pass of a worker is wanted, and why: a disk was replaced, a node was lost or came back, an
//! operator asked. A pass takes away those that were there when it began.

pub use v1::WantedRecord;

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use serde::{Deserialize, Serialize};

    /// A pass that is wanted; of which worker is in its key.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct WantedRecord {
        /// Since when, in milliseconds since 1970.
        pub since_ms: u64,
        /// Why, for people.
        pub reason: String,
    }

    impl Migrate for WantedRecord {
        const NAME: &'static str = "wanted record";
        const TYPE: u8 = 16;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> WantedRecord {
            match previous {}
        }
    }
}
