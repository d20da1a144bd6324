//! `version/<bucket>\0<key>\0<number>`: a manifest, which says what one version of an object is.

pub use v1::VersionState;
pub use v2::{ChunkList, in_order};
pub use v4::VersionRecord;

pub mod v3;
pub mod v4;

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

/// The second layout: what S3 keeps with a version, and versions of parts.
pub mod v2 {
    use super::v1::{self, VersionState};
    use crate::metadata::codec::Migrate;
    use crate::metadata::records::page::v1::ChunkEntry;
    use crate::metadata::records::{Checksum, ETag, Headers, Retention, Sha256, StorageClass, VersionId};
    use serde::{Deserialize, Serialize};
    use std::borrow::Cow;
    use std::collections::BTreeMap;

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
        /// Those of its parts, which records of their own name in order.
        #[serde(rename = "t")]
        Parts,
        /// Those of a document's hot fields and those of its cold ones, here; their ends order them.
        #[serde(rename = "d")]
        Document {
            /// Of runs of hot fields.
            hot: Vec<ChunkEntry>,
            /// Of runs of cold fields.
            cold: Vec<ChunkEntry>,
        },
    }

    impl ChunkList {
        /// All chunks in order, if the manifest itself names them.
        pub fn named_here(&self) -> Option<Cow<'_, [ChunkEntry]>> {
            match self {
                ChunkList::Inline(entries) => Some(Cow::Borrowed(entries)),
                ChunkList::Document { hot, cold } => Some(Cow::Owned(in_order(hot.iter().chain(cold)))),
                ChunkList::Paged { .. } | ChunkList::Parts => None,
            }
        }

        /// Whether this is a chunk of a document's hot fields.
        pub fn is_hot(&self, entry: &ChunkEntry) -> bool {
            matches!(self, ChunkList::Document { hot, .. } if hot.contains(entry))
        }
    }

    /// Chunks of one object in the order in which they stand there.
    pub fn in_order<'a>(entries: impl Iterator<Item = &'a ChunkEntry>) -> Vec<ChunkEntry> {
        let mut entries: Vec<ChunkEntry> = entries.cloned().collect();
        entries.sort_unstable_by_key(|entry| entry.end);
        entries
    }

    impl From<v1::ChunkList> for ChunkList {
        fn from(previous: v1::ChunkList) -> ChunkList {
            match previous {
                v1::ChunkList::Inline(entries) => ChunkList::Inline(entries),
                v1::ChunkList::Paged { pages } => ChunkList::Paged { pages },
            }
        }
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
        /// Whether S3 calls it `null`: it was made while its bucket kept no versions.
        pub is_null: bool,
        /// Length in bytes.
        pub size: u64,
        /// SHA-256 of the bytes; `None` for a marker, and for documents and what was put together from parts, whose bytes nobody need have
        /// seen in one piece.
        #[serde(with = "serde_bytes")]
        pub sha256: Option<Sha256>,
        /// Its ETag.
        pub etag: ETag,
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
        /// The id of the access key that made it; empty if none did.
        pub owner: String,
        /// Headers that are given back as they came.
        pub headers: Headers,
        /// Its tags.
        pub tags: BTreeMap<String, String>,
        /// Its checksum, if the client sent one or asked for one.
        pub checksum: Option<Checksum>,
        /// Until when it is kept, whatever happens.
        pub retention: Option<Retention>,
        /// Whether it is kept until somebody says otherwise.
        pub legal_hold: bool,
        /// Its storage class.
        pub storage_class: StorageClass,
        /// Of how many parts it was put together; what is known of each is in a record of its own.
        pub parts: Option<u16>,
    }

    impl Migrate for VersionRecord {
        const NAME: &'static str = "version record";
        const TYPE: u8 = 2;
        const VERSION: u8 = 2;
        type Previous = v1::VersionRecord;

        fn migrate(previous: v1::VersionRecord) -> VersionRecord {
            VersionRecord {
                id: previous.id,
                number: previous.number,
                created_ms: previous.created_ms,
                state: previous.state,
                is_null: false,
                size: previous.size,
                sha256: (previous.state == VersionState::Live).then_some(previous.sha256),
                etag: previous.md5.map_or(ETag::None, ETag::Md5),
                content_type: previous.content_type,
                metadata: previous.metadata,
                chunks: previous.chunks.into(),
                chunk_count: previous.chunk_count,
                shared_bytes: previous.shared_bytes,
                stored_bytes: previous.stored_bytes,
                owner: String::new(),
                headers: Headers::default(),
                tags: BTreeMap::new(),
                checksum: None,
                retention: None,
                legal_hold: false,
                storage_class: StorageClass::Standard,
                parts: None,
            }
        }
    }
}
