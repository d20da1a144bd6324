//! `part/<upload>/<number>`: a part of an open upload; `parts/<version>/<end offset>`: the parts that a version was put together from.
//!
//! What it keeps true: a part's chunks are named by pages and referenced under the part's own id, from its upload to the day the version
//! that it became a part of goes. Putting a version together moves no reference: it says which parts follow one another
//! (`docs/decisions/0052-a-version-of-parts-names-its-parts.md`).

pub use v1::{PartEntry, PartRecord, PartsRecord};

/// The most parts of one `parts` record. With a garbage record each, taking one apart stays below etcd's 128 operations.
pub const PARTS_ENTRIES_MAX: usize = 100;

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use crate::metadata::records::{Checksum, VersionId};
    use serde::{Deserialize, Serialize};

    /// A part of an open upload.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct PartRecord {
        /// Under which id its pages and references stand.
        pub id: VersionId,
        /// Length in bytes.
        pub size: u64,
        /// MD5 of the bytes.
        #[serde(with = "serde_bytes")]
        pub md5: [u8; 16],
        /// Its checksum, if it has one.
        pub checksum: Option<Checksum>,
        /// How many chunks.
        pub chunks: u64,
        /// Bytes stored for it and not for others before it, one copy counted.
        pub stored_bytes: u64,
        /// When it was uploaded.
        pub modified_ms: u64,
    }

    impl Migrate for PartRecord {
        const NAME: &'static str = "part record";
        const TYPE: u8 = 25;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> PartRecord {
            match previous {}
        }
    }

    /// A part of a version. Its length is its end less the end of the part before it.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct PartEntry {
        /// The number it was uploaded under.
        pub number: u16,
        /// Under which id its pages and references stand.
        pub id: VersionId,
        /// The offset in the version one past its last byte.
        pub end: u64,
        /// Its checksum, if it has one.
        pub checksum: Option<Checksum>,
    }

    /// At most [`super::PARTS_ENTRIES_MAX`] parts that follow one another, and one more if that has no bytes.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct PartsRecord {
        /// Where the first of them starts in the version.
        pub start: u64,
        /// The parts.
        pub entries: Vec<PartEntry>,
    }

    impl Migrate for PartsRecord {
        const NAME: &'static str = "parts record";
        const TYPE: u8 = 26;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> PartsRecord {
            match previous {}
        }
    }
}
