//! What the records of objects and versions say besides where their bytes are: ETag, checksum, headers, locks.

pub use v1::{
    Checksum, ChecksumAlgorithm, ChecksumKind, ETag, Headers, Retention, RetentionMode, StorageClass, Strategy,
};

/// Their first layout.
pub mod v1 {
    use crate::metadata::records::Sha256;
    use protocol::{Error, Result};
    use serde::{Deserialize, Serialize};
    use std::str::FromStr;

    /// What S3 calls the content of a version.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub enum ETag {
        /// Nobody computed one.
        #[default]
        #[serde(rename = "n")]
        None,
        /// The MD5 of the bytes.
        #[serde(rename = "m")]
        Md5(#[serde(with = "serde_bytes")] [u8; 16]),
        /// The MD5 of the MD5s of so many parts, or of the SHA-256s of a document's so many chunks.
        #[serde(rename = "p")]
        Parts(#[serde(with = "serde_bytes")] [u8; 16], u16),
    }

    impl ETag {
        /// The MD5 of the whole, if that is what it is.
        pub fn md5(&self) -> Option<[u8; 16]> {
            match self {
                ETag::Md5(md5) => Some(*md5),
                ETag::None | ETag::Parts(..) => None,
            }
        }

        /// As S3 prints it, without quotes. For what has none the SHA-256 stands in, with a dash that says that it is no MD5.
        pub fn text(&self, sha256: Option<&Sha256>) -> String {
            match (self, sha256) {
                (ETag::Md5(md5), _) => hex::encode(md5),
                (ETag::Parts(md5, parts), _) => format!("{}-{parts}", hex::encode(md5)),
                (ETag::None, Some(sha256)) => format!("{}-1", hex::encode(&sha256[..16])),
                (ETag::None, None) => format!("{}-1", hex::encode([0; 16])),
            }
        }
    }

    /// How a checksum is computed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    pub enum ChecksumAlgorithm {
        /// CRC-32 of ISO 3309.
        #[serde(rename = "r")]
        Crc32,
        /// CRC-32C of RFC 3720.
        #[serde(rename = "c")]
        Crc32c,
        /// CRC-64/NVME.
        #[serde(rename = "n")]
        Crc64Nvme,
        /// SHA-1.
        #[serde(rename = "1")]
        Sha1,
        /// SHA-256.
        #[serde(rename = "2")]
        Sha256,
    }

    /// What a checksum is of.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub enum ChecksumKind {
        /// The bytes.
        #[serde(rename = "f")]
        FullObject,
        /// The checksums of the parts.
        #[serde(rename = "c")]
        Composite,
    }

    /// A checksum that the client sent or asked for.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Checksum {
        /// How it is computed.
        pub algorithm: ChecksumAlgorithm,
        /// What it is of.
        pub kind: ChecksumKind,
        /// Its value, of 4 to 32 bytes.
        #[serde(with = "serde_bytes")]
        pub value: Vec<u8>,
        /// Of how many parts, if it is of the parts' checksums.
        pub parts: Option<u16>,
    }

    /// Headers that are given back as they came.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Headers {
        /// `Cache-Control`.
        pub cache_control: Option<String>,
        /// `Content-Disposition`.
        pub content_disposition: Option<String>,
        /// `Content-Encoding`, without `aws-chunked`.
        pub content_encoding: Option<String>,
        /// `Content-Language`.
        pub content_language: Option<String>,
        /// `Expires`.
        pub expires: Option<String>,
    }

    /// How strictly a version is kept.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub enum RetentionMode {
        /// Whoever has the right may lift it.
        #[serde(rename = "g")]
        Governance,
        /// Nobody may.
        #[serde(rename = "c")]
        Compliance,
    }

    /// Until when a version is kept.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Retention {
        /// How strictly.
        pub mode: RetentionMode,
        /// Until when, in milliseconds since 1970.
        pub until_ms: u64,
    }

    /// How an object is stored, in S3's words.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub enum StorageClass {
        /// Replicas.
        #[default]
        #[serde(rename = "s")]
        Standard,
        /// Erasure-coded.
        #[serde(rename = "i")]
        StandardIa,
    }

    impl StorageClass {
        /// As S3 spells it.
        pub fn as_str(self) -> &'static str {
            match self {
                StorageClass::Standard => "STANDARD",
                StorageClass::StandardIa => "STANDARD_IA",
            }
        }

        /// What the native doors call it.
        pub fn strategy(self) -> &'static str {
            match self {
                StorageClass::Standard => "replication",
                StorageClass::StandardIa => "ec",
            }
        }
    }

    /// How what is written is to be stored.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub enum Strategy {
        /// As copies.
        #[serde(rename = "r")]
        Replication,
        /// Erasure-coded.
        #[serde(rename = "e")]
        Ec,
        /// As copies where it is small, erasure-coded where it is large and there are nodes for it.
        #[serde(rename = "a")]
        Auto,
    }

    impl Strategy {
        /// Its name at the native doors.
        pub fn as_str(self) -> &'static str {
            match self {
                Strategy::Replication => "replication",
                Strategy::Ec => "ec",
                Strategy::Auto => "auto",
            }
        }
    }

    impl From<StorageClass> for Strategy {
        fn from(class: StorageClass) -> Strategy {
            match class {
                StorageClass::Standard => Strategy::Replication,
                StorageClass::StandardIa => Strategy::Ec,
            }
        }
    }

    impl FromStr for Strategy {
        type Err = Error;

        fn from_str(text: &str) -> Result<Strategy> {
            let all = [Strategy::Replication, Strategy::Ec, Strategy::Auto];
            let unknown = || Error::invalid(format!("strategy {text:?} must be replication, ec or auto"));
            all.into_iter().find(|strategy| strategy.as_str() == text).ok_or_else(unknown)
        }
    }
}
