//! `ref/<chunk>/<version>`: that a version, pending or committed, needs a chunk. A member of a set, not a counter: adding it
//! twice is adding it once.

pub use v1::RefRecord;

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use serde::{Deserialize, Serialize};

    /// A reference; all it says is in its key.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct RefRecord {}

    impl Migrate for RefRecord {
        const NAME: &'static str = "ref record";
        const TYPE: u8 = 6;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> RefRecord {
            match previous {}
        }
    }
}
