//! `upload/<bucket>\0<key>\0<upload>`: a multipart upload that is open; `completed/<upload>`: what became of one that was completed.
//!
//! What it keeps true: an upload is open as long as its record is there, and its revision changes with every part that takes another's
//! place. So a commit that checks the revision it read knows that no part that it read of has been replaced.

pub use v1::CompletedRecord;
pub use v2::UploadRecord;

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use crate::metadata::records::{
        Checksum, ChecksumAlgorithm, ChecksumKind, ETag, Headers, Retention, StorageClass, VersionId, Versioning,
    };
    use serde::{Deserialize, Serialize};
    use std::collections::BTreeMap;

    /// An open upload: what is known of the version that it is to become.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct UploadRecord {
        /// When it was begun.
        pub initiated_ms: u64,
        /// The id of the access key that began it; empty if none did.
        pub owner: String,
        /// Media type.
        pub content_type: String,
        /// What the client said about it.
        pub metadata: BTreeMap<String, String>,
        /// Headers that are given back as they came.
        pub headers: Headers,
        /// Its tags.
        pub tags: BTreeMap<String, String>,
        /// Until when the version is to be kept.
        pub retention: Option<Retention>,
        /// Whether it is to be kept until somebody says otherwise.
        pub legal_hold: bool,
        /// Its storage class.
        pub storage_class: StorageClass,
        /// Which checksum each part has, and what the whole's is to be of.
        pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    }

    impl Migrate for UploadRecord {
        const NAME: &'static str = "upload record";
        const TYPE: u8 = 24;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> UploadRecord {
            match previous {}
        }
    }

    /// What the completion of an upload came to, for whoever asks again because its answer was lost.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct CompletedRecord {
        /// The bucket it was for.
        pub bucket: String,
        /// The key it was for.
        pub key: String,
        /// When that was.
        pub at_ms: u64,
        /// The version that it became.
        pub version: VersionId,
        /// Whether S3 calls that version `null`.
        pub is_null: bool,
        /// Whether the bucket kept versions then.
        pub versioning: Versioning,
        /// The version's number.
        pub number: u64,
        /// Its bytes.
        pub size: u64,
        /// Its ETag.
        pub etag: ETag,
        /// Its checksum.
        pub checksum: Option<Checksum>,
    }

    impl Migrate for CompletedRecord {
        const NAME: &'static str = "completed upload record";
        const TYPE: u8 = 27;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> CompletedRecord {
            match previous {}
        }
    }
}

/// The second layout: uploads whose version's class follows how much it is read.
pub mod v2 {
    use super::v1;
    use crate::metadata::codec::Migrate;
    use crate::metadata::records::{ChecksumAlgorithm, ChecksumKind, Headers, Retention, StorageClass};
    use serde::{Deserialize, Serialize};
    use std::collections::BTreeMap;

    /// An open upload: what is known of the version that it is to become.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct UploadRecord {
        /// When it was begun.
        pub initiated_ms: u64,
        /// The id of the access key that began it; empty if none did.
        pub owner: String,
        /// Media type.
        pub content_type: String,
        /// What the client said about it.
        pub metadata: BTreeMap<String, String>,
        /// Headers that are given back as they came.
        pub headers: Headers,
        /// Its tags.
        pub tags: BTreeMap<String, String>,
        /// Until when the version is to be kept.
        pub retention: Option<Retention>,
        /// Whether it is to be kept until somebody says otherwise.
        pub legal_hold: bool,
        /// Its storage class.
        pub storage_class: StorageClass,
        /// Whether that follows its size and how much it is read.
        pub tiered: bool,
        /// Which checksum each part has, and what the whole's is to be of.
        pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    }

    impl Migrate for UploadRecord {
        const NAME: &'static str = "upload record";
        const TYPE: u8 = 24;
        const VERSION: u8 = 2;
        type Previous = v1::UploadRecord;

        fn migrate(previous: v1::UploadRecord) -> UploadRecord {
            UploadRecord {
                initiated_ms: previous.initiated_ms,
                owner: previous.owner,
                content_type: previous.content_type,
                metadata: previous.metadata,
                headers: previous.headers,
                tags: previous.tags,
                retention: previous.retention,
                legal_hold: previous.legal_hold,
                storage_class: previous.storage_class,
                tiered: false,
                checksum: previous.checksum,
            }
        }
    }
}
