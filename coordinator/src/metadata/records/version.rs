//! `version/<bucket>\0<key>\0<number>`: a manifest, which says what one version of an object is.

pub use v1::{ChunkList, VersionRecord, VersionState};

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use crate::metadata::records::page::v1::ChunkEntry;
    use crate::metadata::records::{Sha256, VersionId};
    use serde::{Deserialize, Serialize};
    use std::collections::BTreeMap;

    /// What a version is.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub enum VersionState {
        /// It has bytes.
        #[serde(rename = "l")]
        Live,
        /// It says that the name was deleted.
        #[serde(rename = "m")]
        Marker,
    }

    /// The chunks of a version, in order.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub enum ChunkList {
        /// All of them, here.
        #[serde(rename = "i")]
        Inline(Vec<ChunkEntry>),
        /// In page records of their own.
        #[serde(rename = "p")]
        Paged {
            /// How many.
            pages: u64,
        },
    }

    /// One version of an object.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct VersionRecord {
        /// Its id.
        pub id: VersionId,
        /// Its number, from 1.
        pub number: u64,
        /// When it was made.
        pub created_ms: u64,
        /// What it is.
        pub state: VersionState,
        /// Length in bytes.
        pub size: u64,
        /// SHA-256 of the bytes.
        #[serde(with = "serde_bytes")]
        pub sha256: Sha256,
        /// MD5 of the bytes, where a protocol needed it.
        #[serde(with = "serde_bytes")]
        pub md5: Option<[u8; 16]>,
        /// Media type.
        pub content_type: String,
        /// What the client said about it.
        pub metadata: BTreeMap<String, String>,
        /// What it is made of.
        pub chunks: ChunkList,
        /// How many chunks.
        pub chunk_count: u64,
        /// Plain bytes of the chunks that the previous version has, too.
        pub shared_bytes: u64,
        /// Bytes stored for it and not for others before it, one copy counted.
        pub stored_bytes: u64,
    }

    impl Migrate for VersionRecord {
        const NAME: &'static str = "version record";
        const TYPE: u8 = 2;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> VersionRecord {
            match previous {}
        }
    }
}
