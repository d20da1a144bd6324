//! `garbage/<version>`: versions that nobody can read any more, whose space is to be given back.

pub use v3::{Garbage, GarbageRecord};

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use serde::{Deserialize, Serialize};

    /// Versions of a name to be collected.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct GarbageRecord {
        /// The bucket they were in.
        pub bucket: String,
        /// The key they were under.
        pub key: String,
        /// The first of them has the next number after this.
        pub after: u64,
        /// The last of them has this number.
        pub through: u64,
        /// Since when.
        pub since_ms: u64,
    }

    impl Migrate for GarbageRecord {
        const NAME: &'static str = "garbage record";
        const TYPE: u8 = 9;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> GarbageRecord {
            match previous {}
        }
    }
}

/// The second layout: also what one version was made of.
pub mod v2 {
    use super::v1;
    use crate::metadata::codec::Migrate;
    use crate::metadata::records::version::v1::ChunkList;
    use serde::{Deserialize, Serialize};

    /// What is to be given back.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub enum Garbage {
        /// Versions of a name that its object record has put out of sight.
        #[serde(rename = "v")]
        Versions {
            /// The bucket they were in.
            bucket: String,
            /// The key they were under.
            key: String,
            /// The first of them has the next number after this.
            after: u64,
            /// The last of them has this number.
            through: u64,
        },
        /// What one version was made of, its record being gone already: an upload that was given up, or a version removed by
        /// itself. The version's id is in the key.
        #[serde(rename = "m")]
        Manifest {
            /// Its chunks.
            chunks: ChunkList,
        },
    }

    /// Space to be given back.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct GarbageRecord {
        /// What it is.
        pub garbage: Garbage,
        /// Since when, in milliseconds since 1970; it is kept for the trash window from then on. 0: it was never visible, and goes
        /// at once.
        pub since_ms: u64,
    }

    impl Migrate for GarbageRecord {
        const NAME: &'static str = "garbage record";
        const TYPE: u8 = 9;
        const VERSION: u8 = 2;
        type Previous = v1::GarbageRecord;

        fn migrate(previous: v1::GarbageRecord) -> GarbageRecord {
            let v1::GarbageRecord { bucket, key, after, through, since_ms } = previous;
            GarbageRecord { garbage: Garbage::Versions { bucket, key, after, through }, since_ms }
        }
    }
}

/// The third layout: also the names of a bucket that is gone, and the parts of uploads.
pub mod v3 {
    use super::v2;
    use crate::metadata::codec::Migrate;
    use crate::metadata::records::{ChunkList, VersionId};
    use serde::{Deserialize, Serialize};

    /// What is to be given back.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub enum Garbage {
        /// Versions of a name that its object record has put out of sight.
        #[serde(rename = "v")]
        Versions {
            /// The bucket they were in.
            bucket: String,
            /// The key they were under.
            key: String,
            /// The first of them has the next number after this.
            after: u64,
            /// The last of them has this number.
            through: u64,
        },
        /// What one version was made of, its record being gone already: an upload that was given up, or a version removed by
        /// itself. The version's id is in the key.
        #[serde(rename = "m")]
        Manifest {
            /// Its chunks.
            chunks: ChunkList,
        },
        /// The parts of a multipart upload that is not open any more; the upload's id is in the key.
        #[serde(rename = "u")]
        Upload {
            /// The version that it was completed as: the parts which that lists are its own now. `None`: it was aborted.
            version: Option<VersionId>,
        },
        /// The names of a bucket that was deleted, each of which was purged before.
        #[serde(rename = "n")]
        Names {
            /// The bucket.
            bucket: String,
        },
    }

    /// Space to be given back.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct GarbageRecord {
        /// What it is.
        pub garbage: Garbage,
        /// Since when, in milliseconds since 1970; it is kept for the trash window from then on. 0: it was never visible, and goes
        /// at once.
        pub since_ms: u64,
    }

    impl Migrate for GarbageRecord {
        const NAME: &'static str = "garbage record";
        const TYPE: u8 = 9;
        const VERSION: u8 = 3;
        type Previous = v2::GarbageRecord;

        fn migrate(previous: v2::GarbageRecord) -> GarbageRecord {
            let garbage = match previous.garbage {
                v2::Garbage::Versions { bucket, key, after, through } => {
                    Garbage::Versions { bucket, key, after, through }
                }
                v2::Garbage::Manifest { chunks } => Garbage::Manifest { chunks: chunks.into() },
            };
            GarbageRecord { garbage, since_ms: previous.since_ms }
        }
    }
}
