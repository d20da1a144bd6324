//! `transition/<version>`: a version that is to be stored otherwise than it is, as another class.

pub use v1::TransitionRecord;

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use crate::metadata::records::StorageClass;
    use serde::{Deserialize, Serialize};

    /// A version to be stored otherwise. Its id is in the key; where that is not the one at `number` any more there is nothing to do.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct TransitionRecord {
        /// Its bucket.
        pub bucket: String,
        /// Its key.
        pub key: String,
        /// Its number.
        pub number: u64,
        /// What it is to become.
        pub class: StorageClass,
        /// Its length in bytes.
        pub size: u64,
        /// Why, for people.
        pub reason: String,
        /// Since when, in milliseconds since 1970.
        pub since_ms: u64,
    }

    impl Migrate for TransitionRecord {
        const NAME: &'static str = "transition record";
        const TYPE: u8 = 32;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> TransitionRecord {
            match previous {}
        }
    }
}
