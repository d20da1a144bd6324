//! `node/<name>`: a storage node of the cluster, and the disk it is known by.

pub use v1::NodeRecord;

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use protocol::{DiskId, NodeId};
    use serde::{Deserialize, Serialize};

    /// A storage node.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct NodeRecord {
        /// Its name.
        pub node: NodeId,
        /// Its base URL.
        pub url: String,
        /// Its failure domain; empty where none was given.
        pub zone: String,
        /// The disk its data is on; another disk under this name is refused.
        pub disk: DiskId,
        /// Its share of new data, 100 being ordinary.
        pub weight: u32,
        /// Since when it is known.
        pub known_since_ms: u64,
    }

    impl Migrate for NodeRecord {
        const NAME: &'static str = "node record";
        const TYPE: u8 = 10;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> NodeRecord {
            match previous {}
        }
    }
}
