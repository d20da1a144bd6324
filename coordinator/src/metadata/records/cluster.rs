//! `cluster`: what the metadata belongs to.

pub use v1::ClusterRecord;

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use protocol::ClusterId;
    use serde::{Deserialize, Serialize};

    /// The cluster's own record.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ClusterRecord {
        /// Which cluster.
        pub cluster: ClusterId,
        /// Raised by each coordinator that takes over; a lower one is fenced.
        pub epoch: u64,
    }

    impl Migrate for ClusterRecord {
        const NAME: &'static str = "cluster record";
        const TYPE: u8 = 11;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> ClusterRecord {
            match previous {}
        }
    }
}
