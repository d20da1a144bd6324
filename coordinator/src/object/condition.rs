//! What a writer may demand of the key at the moment of its commit, and whether it holds.
//!
//! What it keeps true: a condition is judged against the very object record that the commit then checks to be unchanged, so
//! between the judgement and the commit nothing can come.

use super::Objects;
use super::name::ObjectName;
use crate::metadata::keys;
use crate::metadata::records::{ObjectRecord, ObjectState, Record, VersionRecord};
use protocol::{Error, Result};

/// What names the content of a version in a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentTag {
    /// Its SHA-256.
    Sha256([u8; 32]),
    /// Its MD5; a version that was put without one has none.
    Md5([u8; 16]),
}

/// What must hold of the key at the moment of the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Anything.
    None,
    /// No live object (`If-None-Match: *`).
    Absent,
    /// A live object with one of these contents (`If-Match`); an empty list means any.
    Matches(Vec<ContentTag>),
}

impl Objects {
    /// `Conflict` unless the condition holds of the key whose record is `record`.
    pub(super) async fn require(
        &self,
        condition: &Condition,
        name: &ObjectName,
        record: Option<&ObjectRecord>,
    ) -> Result<()> {
        let key = name.key();
        let live = record.filter(|record| record.state == ObjectState::Live);
        match (condition, live) {
            (Condition::Absent, Some(_)) => Err(Error::conflict(format!("'{key}' exists already (If-None-Match: *)"))),
            (Condition::Matches(_), None) => Err(Error::conflict(format!("'{key}' does not exist (If-Match)"))),
            (Condition::Matches(wanted), Some(record)) if !self.is_among(wanted, name, record).await? => {
                Err(Error::conflict(format!("'{key}' has changed: its ETag is not the one in If-Match")))
            }
            _ => Ok(()),
        }
    }

    /// The object's record knows its SHA-256; for the MD5 the version is read, and only if one is asked for.
    async fn is_among(&self, wanted: &[ContentTag], name: &ObjectName, record: &ObjectRecord) -> Result<bool> {
        if wanted.is_empty() || wanted.contains(&ContentTag::Sha256(record.sha256)) {
            return Ok(true);
        }
        if !wanted.iter().any(|tag| matches!(tag, ContentTag::Md5(_))) {
            return Ok(false);
        }
        let key = keys::version(name.bucket().as_str(), name.key(), record.number);
        let Some(entry) = self.metadata.get(&key).await? else {
            return Ok(false);
        };
        let md5 = VersionRecord::decode(&entry.value)?.md5;
        Ok(md5.is_some_and(|md5| wanted.contains(&ContentTag::Md5(md5))))
    }
}
