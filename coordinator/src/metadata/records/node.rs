//! `node/<name>`: a storage node of the cluster, and the disk it is known by.

pub use v2::NodeState;
pub use v4::NodeRecord;

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

/// The second layout: what becomes of the node.
pub mod v2 {
    use super::v1;
    use crate::metadata::codec::Migrate;
    use protocol::{DiskId, NodeId};
    use serde::{Deserialize, Serialize};

    /// What a node is to the cluster.
    ///
    /// ```text
    ///            decommission            nothing left on it
    ///   Active ───────────────▶ Draining ──────────────────▶ Drained
    ///    │  ▲ ◀─────────────────────────── recommission ────────┘
    ///    │  └── answers again                    │
    ///    └────▶ Lost ◀───────┘                      silent for too long; answers again: back to what it was
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum NodeState {
        /// It keeps shards and gets new ones.
        Active,
        /// It gets no new shards, and those it has move elsewhere.
        Draining,
        /// It holds nothing that is needed, and may be switched off.
        Drained,
        /// It has been silent for so long that what it held is repaired elsewhere.
        Lost,
    }

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
        /// Since when it is known, in milliseconds since 1970.
        pub known_since_ms: u64,
        /// What it is to the cluster.
        pub state: NodeState,
        /// Since when it is that.
        pub state_since_ms: u64,
        /// Whether the operator wants it emptied, which it goes on with when it was lost and is back.
        pub decommissioned: bool,
    }

    impl Migrate for NodeRecord {
        const NAME: &'static str = "node record";
        const TYPE: u8 = 10;
        const VERSION: u8 = 2;
        type Previous = v1::NodeRecord;

        fn migrate(previous: v1::NodeRecord) -> NodeRecord {
            let v1::NodeRecord { node, url, zone, disk, weight, known_since_ms } = previous;
            let (state, state_since_ms) = (NodeState::Active, known_since_ms);
            NodeRecord { node, url, zone, disk, weight, known_since_ms, state, state_since_ms, decommissioned: false }
        }
    }
}

/// The third layout: whether it still has what it had.
pub mod v3 {
    use super::v2::{self, NodeState};
    use crate::metadata::codec::Migrate;
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
        /// Since when it is known, in milliseconds since 1970.
        pub known_since_ms: u64,
        /// What it is to the cluster.
        pub state: NodeState,
        /// Since when it is that.
        pub state_since_ms: u64,
        /// Whether the operator wants it emptied, which it goes on with when it was lost and is back.
        pub decommissioned: bool,
        /// Whether its disk was replaced and no census has found since that nothing is missing on it: until then, that a chunk's record names this node
        /// says nothing of how durable the chunk is (faults I5b).
        pub unproved: bool,
    }

    impl Migrate for NodeRecord {
        const NAME: &'static str = "node record";
        const TYPE: u8 = 10;
        const VERSION: u8 = 3;
        type Previous = v2::NodeRecord;

        fn migrate(previous: v2::NodeRecord) -> NodeRecord {
            let v2::NodeRecord { node, url, zone, disk, weight, known_since_ms, state, state_since_ms, decommissioned } =
                previous;
            NodeRecord {
                node,
                url,
                zone,
                disk,
                weight,
                known_since_ms,
                state,
                state_since_ms,
                decommissioned,
                unproved: false,
            }
        }
    }
}

/// The fourth layout: the node's last start.
pub mod v4 {
    use super::v2::NodeState;
    use super::v3;
    use crate::metadata::codec::Migrate;
    use protocol::{DiskId, NodeId, Start};
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
        /// Since when it is known, in milliseconds since 1970.
        pub known_since_ms: u64,
        /// What it is to the cluster.
        pub state: NodeState,
        /// Since when it is that.
        pub state_since_ms: u64,
        /// Whether the operator wants it emptied, which it goes on with when it was lost and is back.
        pub decommissioned: bool,
        /// Whether its disk was replaced and no census has found since that nothing is missing on it: until then, that a chunk's record names this node
        /// says nothing of how durable the chunk is (faults I5b).
        pub unproved: bool,
        /// Its last start on that disk that was seen: a disk that does not remember it is an older copy, and is refused (faults I21).
        pub start: Option<Start>,
    }

    impl Migrate for NodeRecord {
        const NAME: &'static str = "node record";
        const TYPE: u8 = 10;
        const VERSION: u8 = 4;
        type Previous = v3::NodeRecord;

        fn migrate(previous: v3::NodeRecord) -> NodeRecord {
            NodeRecord {
                node: previous.node,
                url: previous.url,
                zone: previous.zone,
                disk: previous.disk,
                weight: previous.weight,
                known_since_ms: previous.known_since_ms,
                state: previous.state,
                state_since_ms: previous.state_since_ms,
                decommissioned: previous.decommissioned,
                unproved: previous.unproved,
                start: None,
            }
        }
    }
}
