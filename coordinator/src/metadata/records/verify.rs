//! `verify/<id>`: that everything, a bucket or a part of one is to be read and checked, how far that has come and what it counted.
//! `finding/<id>/<number>`: what it found, one record each, so that no report outgrows a record.

pub use v1::{FindingKind, FindingRecord, VerifyCounts, VerifyRecord};

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use protocol::{ChunkId, NodeId};
    use serde::{Deserialize, Serialize};

    /// What a verification counted.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct VerifyCounts {
        /// Keys with at least one version.
        pub objects: u64,
        /// Versions.
        pub versions: u64,
        /// Chunks of them.
        pub chunks: u64,
        /// Of those, chunks that were found good a moment before as parts of other versions, and not read again.
        pub chunks_seen_before: u64,
        /// Copies asked for.
        pub copies: u64,
        /// Bytes read.
        pub bytes: u64,
        /// Copies that their nodes do not have.
        pub missing: u64,
        /// Copies that are not what was stored.
        pub corrupt: u64,
        /// Copies on nodes that did not answer: nothing is known of them.
        pub unreachable: u64,
        /// Chunks with fewer good copies than their code wants.
        pub below_redundancy: u64,
        /// Chunks of which no good copy was found, and manifests that break off.
        pub unreadable: u64,
    }

    /// A verification.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct VerifyRecord {
        /// The bucket to verify; all of them without.
        pub bucket: Option<String>,
        /// Keys that start so.
        pub prefix: String,
        /// Bytes a second to read at most; 0 for any.
        pub bytes_per_s: u64,
        /// The key of the version to go on with, and of those after it; empty before the first step.
        #[serde(with = "serde_bytes")]
        pub position: Vec<u8>,
        /// Where in that version to go on.
        pub offset: u64,
        /// The key of the object counted last.
        #[serde(with = "serde_bytes")]
        pub object: Vec<u8>,
        /// When it was asked for, in milliseconds since 1970.
        pub requested_ms: u64,
        /// When it ended; 0 while it has not.
        pub finished_ms: u64,
        /// What it counted so far.
        pub counts: VerifyCounts,
        /// Findings recorded so far.
        pub findings: u64,
    }

    /// What is wrong.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum FindingKind {
        /// The node answers, and has no such copy.
        Missing,
        /// The copy is not what was stored.
        Corrupt,
        /// The node did not answer.
        Unreachable,
        /// The chunk's record names fewer copies than the code wants.
        BelowRedundancy,
        /// The manifest names a chunk that has no record.
        NoRecord,
        /// A page of the manifest is missing.
        NoManifest,
    }

    /// Something that is wrong, and where.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct FindingRecord {
        /// What.
        pub kind: FindingKind,
        /// In which bucket.
        pub bucket: String,
        /// Under which key.
        pub key: String,
        /// In which version.
        pub version: u64,
        /// In which chunk; absent where the manifest itself is damaged.
        pub chunk: Option<ChunkId>,
        /// Where that starts in the object.
        pub offset: u64,
        /// On which node, where it is about one copy.
        pub node: Option<NodeId>,
        /// More about it, for people.
        pub detail: String,
        /// Whether repair was asked for.
        pub repair_queued: bool,
    }

    impl Migrate for VerifyRecord {
        const NAME: &'static str = "verify record";
        const TYPE: u8 = 30;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> VerifyRecord {
            match previous {}
        }
    }

    impl Migrate for FindingRecord {
        const NAME: &'static str = "finding record";
        const TYPE: u8 = 31;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> FindingRecord {
            match previous {}
        }
    }
}
