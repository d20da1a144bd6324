//! `chunk/<id>`: where the bytes of a chunk are.

pub use v1::{ChunkState, ShardPlace};
pub use v2::ChunkRecord;

/// The first layout.
pub mod v1 {
    use crate::code::Code;
    use crate::metadata::codec::{Migrate, Nothing};
    use crate::metadata::records::Sha256;
    use protocol::NodeId;
    use serde::{Deserialize, Serialize};

    /// Whether a chunk may be referred to.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub enum ChunkState {
        /// It may.
        #[serde(rename = "l")]
        Live,
        /// The collector is about to take it away; whoever would reuse it stores its own (law 5).
        #[serde(rename = "c")]
        Condemned,
    }

    /// Where one shard is: a node that answered that it is fsynced there. Shards still on their way are not named.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ShardPlace {
        /// On which node.
        pub node: NodeId,
        /// Which shard of the chunk.
        pub index: u8,
        /// CRC32 of the shard's bytes.
        pub crc: u32,
    }

    /// A chunk: its length, its digest, and its shards.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ChunkRecord {
        /// Plain length in bytes.
        pub length: u32,
        /// Length in bytes as it was encoded: after compression, before the code.
        pub stored_length: u32,
        /// SHA-256 of the plain bytes.
        #[serde(with = "serde_bytes")]
        pub sha256: Sha256,
        /// Whether the stored bytes are a zstd frame.
        pub compressed: bool,
        /// How it is spread.
        pub code: Code,
        /// Where its shards are, at most one per node.
        pub shards: Vec<ShardPlace>,
        /// Whether it may be referred to.
        pub state: ChunkState,
    }

    impl Migrate for ChunkRecord {
        const NAME: &'static str = "chunk record";
        const TYPE: u8 = 4;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> ChunkRecord {
            match previous {}
        }
    }
}

/// The second layout: shards that moved.
pub mod v2 {
    use super::v1::{self, ChunkState, ShardPlace};
    use crate::code::Code;
    use crate::metadata::codec::Migrate;
    use crate::metadata::records::Sha256;
    use serde::{Deserialize, Serialize};

    /// A chunk: its length, its digest, and its shards.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ChunkRecord {
        /// Plain length in bytes.
        pub length: u32,
        /// Length in bytes as it was encoded: after compression, before the code.
        pub stored_length: u32,
        /// SHA-256 of the plain bytes.
        #[serde(with = "serde_bytes")]
        pub sha256: Sha256,
        /// Whether the stored bytes are a zstd frame.
        pub compressed: bool,
        /// How it is spread.
        pub code: Code,
        /// Where its shards are, at most one per node.
        pub shards: Vec<ShardPlace>,
        /// Whether it may be referred to.
        pub state: ChunkState,
        /// Shard indices below this one are never named anew: a shard that no record names was, or may have been, deleted under
        /// one of them, and its tombstone refuses it for ever (law 2). Where the code has one data shard, every index names the
        /// same bytes; where it has several, the indices of one remainder name the same piece ([`Code::piece`]).
        pub fence: u8,
    }

    impl ChunkRecord {
        /// The length of each of its shards, in bytes.
        pub fn shard_length(&self) -> u32 {
            self.code.shard_length(self.stored_length as usize) as u32
        }
    }

    impl Migrate for ChunkRecord {
        const NAME: &'static str = "chunk record";
        const TYPE: u8 = 4;
        const VERSION: u8 = 2;
        type Previous = v1::ChunkRecord;

        fn migrate(previous: v1::ChunkRecord) -> ChunkRecord {
            let v1::ChunkRecord { length, stored_length, sha256, compressed, code, shards, state } = previous;
            ChunkRecord { length, stored_length, sha256, compressed, code, shards, state, fence: 0 }
        }
    }
}
