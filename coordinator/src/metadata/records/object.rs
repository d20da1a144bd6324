//! `object/<bucket>\0<key>`: the current state of a name, and all that a listing shows of it.

pub use v1::ObjectState;
pub use v2::ObjectRecord;

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use crate::metadata::records::{Sha256, VersionId};
    use serde::{Deserialize, Serialize};

    /// What a name stands for now.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub enum ObjectState {
        /// A version with bytes.
        #[serde(rename = "l")]
        Live,
        /// A deletion marker; older versions remain.
        #[serde(rename = "d")]
        Deleted,
        /// Nothing: every version is gone. The record stays, so that no number is used twice.
        #[serde(rename = "p")]
        Purged,
    }

    /// The current state of a name.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ObjectRecord {
        /// The current version; the last one there was when nothing is left.
        pub current: VersionId,
        /// Its number.
        pub number: u64,
        /// The highest number given to any version of this name; the next one gets one more, after a purge too (law 7).
        pub last_number: u64,
        /// Versions up to this number were purged and are gone from sight; 0 if none was.
        pub purged_through: u64,
        /// What the name stands for.
        pub state: ObjectState,
        /// Length in bytes.
        pub size: u64,
        /// SHA-256 of the bytes.
        #[serde(with = "serde_bytes")]
        pub sha256: Sha256,
        /// When the current version was made.
        pub modified_ms: u64,
        /// Its media type.
        pub content_type: String,
        /// Chunks it is made of.
        pub chunks: u64,
    }

    impl Migrate for ObjectRecord {
        const NAME: &'static str = "object record";
        const TYPE: u8 = 1;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> ObjectRecord {
            match previous {}
        }
    }
}

/// The second layout: what S3 shows of an object, and its null version.
pub mod v2 {
    use super::v1::{self, ObjectState};
    use crate::metadata::codec::Migrate;
    use crate::metadata::records::{ChecksumAlgorithm, ChecksumKind, ETag, Sha256, StorageClass, VersionId};
    use serde::{Deserialize, Serialize};

    /// The current state of a name.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ObjectRecord {
        /// The current version; the last one there was when nothing is left.
        pub current: VersionId,
        /// Its number.
        pub number: u64,
        /// The highest number given to any version of this name; the next one gets one more, after a purge too (law 7).
        pub last_number: u64,
        /// Versions up to this number were purged and are gone from sight; 0 if none was.
        pub purged_through: u64,
        /// What the name stands for.
        pub state: ObjectState,
        /// Length in bytes.
        pub size: u64,
        /// SHA-256 of the bytes; `None` for what was put together from parts, whose bytes nobody saw in one piece.
        #[serde(with = "serde_bytes")]
        pub sha256: Option<Sha256>,
        /// When the current version was made.
        pub modified_ms: u64,
        /// Its media type.
        pub content_type: String,
        /// Chunks it is made of.
        pub chunks: u64,
        /// Its ETag.
        pub etag: ETag,
        /// Its storage class.
        pub storage_class: StorageClass,
        /// The number of the version or marker that S3 calls `null`.
        pub null_number: Option<u64>,
        /// Which checksum it has, as a listing shows it.
        pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    }

    impl Migrate for ObjectRecord {
        const NAME: &'static str = "object record";
        const TYPE: u8 = 1;
        const VERSION: u8 = 2;
        type Previous = v1::ObjectRecord;

        fn migrate(previous: v1::ObjectRecord) -> ObjectRecord {
            ObjectRecord {
                current: previous.current,
                number: previous.number,
                last_number: previous.last_number,
                purged_through: previous.purged_through,
                state: previous.state,
                size: previous.size,
                sha256: Some(previous.sha256),
                modified_ms: previous.modified_ms,
                content_type: previous.content_type,
                chunks: previous.chunks,
                etag: ETag::None,
                storage_class: StorageClass::Standard,
                null_number: None,
                checksum: None,
            }
        }
    }
}
