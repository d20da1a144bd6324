//! `heat/<version>`: how much a version is read, of those whose redundancy follows that.

pub use v1::HeatRecord;

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use serde::{Deserialize, Serialize};

    /// A decaying count of reads.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct HeatRecord {
        /// Reads of the whole, in thousandths, as they counted at that time.
        pub milli_reads: u64,
        /// When, in milliseconds since 1970.
        pub at_ms: u64,
    }

    impl Migrate for HeatRecord {
        const NAME: &'static str = "heat record";
        const TYPE: u8 = 33;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> HeatRecord {
            match previous {}
        }
    }
}
