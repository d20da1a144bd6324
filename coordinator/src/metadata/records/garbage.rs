//! `garbage/<version>`: a version that nobody can read any more, whose space is to be given back.

pub use v1::GarbageRecord;

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use serde::{Deserialize, Serialize};

    /// Versions of a name to be collected.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct GarbageRecord {
        /// The bucket they were in.
        pub bucket: String,
        /// The key they were under.
        pub key: String,
        /// The first of them has the next number after this.
        pub after: u64,
        /// The last of them has this number.
        pub through: u64,
        /// Since when.
        pub since_ms: u64,
    }

    impl Migrate for GarbageRecord {
        const NAME: &'static str = "garbage record";
        const TYPE: u8 = 9;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> GarbageRecord {
            match previous {}
        }
    }
}
