//! What an object is called: a bucket and a key. Names are opaque: they become metadata keys, never paths.
//!
//! What it keeps true: two different names never share a record. A key is any UTF-8 text of 1 to 1,024 bytes without NUL, so
//! `..`, `%2e%2e%2f`, `#`, `?` and both spellings of an accented letter are plain, distinct names.

use crate::metadata::keys;
use bytes::Bytes;
use protocol::{Error, Result};
use std::fmt;
use std::net::Ipv4Addr;

/// The bucket behind the file door (contract, *One namespace lies behind every door*).
pub const FILES_BUCKET: &str = "files";

/// The bucket behind the document door.
pub const DOCUMENTS_BUCKET: &str = "documents";

/// Buckets that doors of their own are built on.
const BUILT_IN: [&str; 2] = [DOCUMENTS_BUCKET, FILES_BUCKET];

/// The longest key, in bytes; S3's limit.
pub const KEY_BYTES_MAX: usize = 1_024;

/// A bucket's name: 3–63 of lower-case letters, digits and hyphens (contract E4), and dots as S3 takes them, between parts that begin and end with
/// a letter or digit, and not as in an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BucketName(String);

impl BucketName {
    /// Checks the name; `Invalid` says what is wrong with it.
    pub fn parse(text: &str) -> Result<BucketName> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let whole = |part: &str| !part.is_empty() && !part.starts_with('-') && !part.ends_with('-');
        let is_plain = text.bytes().all(|byte| plain(byte) || byte == b'.');
        let is_dotted_well = text.split('.').all(whole) && text.parse::<Ipv4Addr>().is_err();
        if !(3..=63).contains(&text.len()) || !is_plain || (text.contains('.') && !is_dotted_well) {
            return Err(Error::invalid(format!(
                "bucket name {text:?} must be 3 to 63 of a-z, 0-9 and '-', in parts with '.' between them or in one"
            )));
        }
        Ok(BucketName(text.to_owned()))
    }

    /// Whether it has dots, which no door but S3's makes.
    pub fn is_dotted(&self) -> bool {
        self.0.contains('.')
    }

    /// The file door's bucket.
    pub fn files() -> BucketName {
        BucketName(FILES_BUCKET.to_owned())
    }

    /// The document door's bucket.
    pub fn documents() -> BucketName {
        BucketName(DOCUMENTS_BUCKET.to_owned())
    }

    /// The buckets that doors of their own are built on.
    pub fn built_in() -> impl Iterator<Item = BucketName> {
        BUILT_IN.iter().map(|name| BucketName((*name).to_owned()))
    }

    /// Whether a door of its own is built on this bucket: it is there from the start, and stays.
    pub fn is_built_in(&self) -> bool {
        BUILT_IN.contains(&self.as_str())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An object's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    bucket: BucketName,
    key: String,
}

impl ObjectName {
    /// Checks the key; `Invalid` says what is wrong with it.
    pub fn new(bucket: BucketName, key: impl Into<String>) -> Result<ObjectName> {
        let key = key.into();
        if key.is_empty() {
            return Err(Error::invalid("the name is empty; give 1 to 1024 bytes of UTF-8"));
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(Error::invalid(format!(
                "the name has {} bytes, at most {KEY_BYTES_MAX} are allowed",
                key.len()
            )));
        }
        if key.contains('\0') {
            return Err(Error::invalid("the name holds a NUL byte; use any other character"));
        }
        Ok(ObjectName { bucket, key })
    }

    /// Its bucket.
    pub fn bucket(&self) -> &BucketName {
        &self.bucket
    }

    /// Its key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Under which key of the catalog the record of its version `number` lies.
    pub fn version_key(&self, number: u64) -> Bytes {
        keys::version(self.bucket.as_str(), &self.key, number)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bucket.0, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn awkward_keys_are_plain_names() {
        for key in ["..", "%2e%2e%2f", "a/../b", "#?+ ", "\u{e9}", "e\u{301}", "/", "a//b", &"k".repeat(1024)] {
            assert_eq!(ObjectName::new(BucketName::files(), key).unwrap().key(), key);
        }
        for key in ["", "a\0b", &"k".repeat(1025)] {
            assert!(ObjectName::new(BucketName::files(), key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn bucket_names_follow_the_contract() {
        for name in ["my-bucket-1", "-ab", "a.b", "www.example-1.org", "1.2.3.4.5", "999.1.1.1"] {
            assert!(BucketName::parse(name).is_ok(), "{name}");
        }
        for name in ["ab", "Bad", "a_b", "a..b", ".ab", "ab.", "a-.b", "a.-b", "192.168.5.4", &"x".repeat(64)] {
            assert!(BucketName::parse(name).is_err(), "{name}");
        }
    }
}
