//! `page/<version>/<end offset>`: a run of the chunks of a version too long for its manifest.

pub use v1::{ChunkEntry, PageRecord};

/// The most chunks of one page, or of a manifest with its chunks inline.
pub const PAGE_ENTRIES_MAX: usize = 1024;

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use crate::metadata::records::Sha256;
    use protocol::ChunkId;
    use serde::{Deserialize, Serialize};

    /// One chunk of a version. Its length is its end less the end of the chunk before it.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ChunkEntry {
        /// Which chunk.
        pub chunk: ChunkId,
        /// The offset in the object one past its last byte.
        pub end: u64,
        /// SHA-256 of its plain bytes.
        #[serde(with = "serde_bytes")]
        pub sha256: Sha256,
    }

    /// At most [`super::PAGE_ENTRIES_MAX`] chunks that follow one another.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct PageRecord {
        /// Where the first of them starts in the object.
        pub start: u64,
        /// The chunks.
        pub entries: Vec<ChunkEntry>,
    }

    impl Migrate for PageRecord {
        const NAME: &'static str = "page record";
        const TYPE: u8 = 3;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> PageRecord {
            match previous {}
        }
    }
}
