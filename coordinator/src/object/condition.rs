//! What a writer may demand of the key at the moment of its commit, and whether it holds.
//!
//! What it keeps true: a condition is judged against the very object record that the commit then checks to be unchanged, so
//! between the judgement and the commit nothing can come.

use super::Objects;
use super::name::ObjectName;
use super::refused::Refused;
use crate::metadata::keys;
use crate::metadata::records::{ETag, ObjectRecord, ObjectState, Record, Sha256, VersionId, VersionRecord};
use protocol::{Error, Result};

/// What names the content of a version in a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentTag {
    /// Its SHA-256.
    Sha256([u8; 32]),
    /// Its MD5; a version that was put without one has none.
    Md5([u8; 16]),
    /// Its ETag as S3 prints it, without quotes.
    ETag(String),
}

/// What must hold of the key at the moment of the commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Anything.
    #[default]
    None,
    /// No live object (`If-None-Match: *`).
    Absent,
    /// A live object with one of these contents (`If-Match`); an empty list means any.
    Matches(Vec<ContentTag>),
    /// A live object of which all of it holds that is asked for.
    Is(Wanted),
    /// This version is the live one.
    Current(VersionId),
    /// Nothing that was modified after this second since 1970 (`If-Unmodified-Since`).
    UnmodifiedSince(u64),
}

/// What a live object must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// One of these contents; an empty list means any.
    pub contents: Vec<ContentTag>,
    /// Modified in this second since 1970: the protocol knows no less.
    pub modified_s: Option<u64>,
    /// Of this length in bytes.
    pub size: Option<u64>,
}

/// What a condition is judged by.
struct Found {
    etag: ETag,
    sha256: Option<Sha256>,
    modified_ms: u64,
    size: u64,
    version: VersionId,
}

impl Objects {
    /// `ConditionFailed` unless the condition holds of the key whose record is `record`.
    pub(super) async fn require(
        &self,
        condition: &Condition,
        name: &ObjectName,
        record: Option<&ObjectRecord>,
    ) -> Result<()> {
        let live = record.filter(|record| record.state == ObjectState::Live);
        let found = match (condition, live) {
            (Condition::None, _) | (Condition::Absent | Condition::UnmodifiedSince(_), None) => return Ok(()),
            (_, None) => None,
            (_, Some(record)) => Some(self.found(condition, name, record).await?),
        };
        judge(condition, name, found)
    }

    /// `ConditionFailed` unless the condition holds of this version.
    pub(super) fn require_of(&self, condition: &Condition, name: &ObjectName, version: &VersionRecord) -> Result<()> {
        let VersionRecord { id, etag, sha256, created_ms, size, .. } = *version;
        judge(condition, name, Some(Found { etag, sha256, modified_ms: created_ms, size, version: id }))
    }

    /// The object's record knows its ETag, unless it is older than ETags in it; then the version is read, and only if one is asked for.
    async fn found(&self, condition: &Condition, name: &ObjectName, record: &ObjectRecord) -> Result<Found> {
        let ObjectRecord { etag, sha256, modified_ms, size, current: version, .. } = *record;
        let mut found = Found { etag, sha256, modified_ms, size, version };
        let contents = match condition {
            Condition::Matches(contents) | Condition::Is(Wanted { contents, .. }) => contents.as_slice(),
            Condition::None | Condition::Absent | Condition::Current(_) | Condition::UnmodifiedSince(_) => &[],
        };
        let asks_for_etag = contents.iter().any(|tag| matches!(tag, ContentTag::Md5(_) | ContentTag::ETag(_)));
        if asks_for_etag && record.etag == ETag::None {
            let key = keys::version(name.bucket().as_str(), name.key(), record.number);
            if let Some(entry) = self.metadata.get(&key).await? {
                found.etag = VersionRecord::decode(&entry.value)?.etag;
            }
        }
        Ok(found)
    }
}

fn judge(condition: &Condition, name: &ObjectName, found: Option<Found>) -> Result<()> {
    let key = name.key();
    let wanted = match (condition, found) {
        (Condition::None, _) | (Condition::Absent | Condition::UnmodifiedSince(_), None) => return Ok(()),
        (Condition::Absent, Some(_)) => return Err(failed(format!("'{key}' exists already (If-None-Match: *)"))),
        (Condition::Matches(_) | Condition::Is(_), None) => {
            return Err(failed(format!("'{key}' does not exist (If-Match)")));
        }
        (Condition::Current(_), None) => return Err(failed(format!("'{key}' does not exist any more"))),
        (Condition::Current(version), Some(found)) => {
            (found.version == *version).then_some(()).ok_or("there is a newer version")
        }
        (Condition::UnmodifiedSince(second), Some(found)) => {
            (found.modified_ms / 1_000 <= *second).then_some(()).ok_or("it was modified after If-Unmodified-Since")
        }
        (Condition::Matches(contents), Some(found)) => {
            found.is_among(contents).then_some(()).ok_or("its ETag is not the one in If-Match")
        }
        (Condition::Is(wanted), Some(found)) => found.is(wanted),
    };
    wanted.map_err(|why| failed(format!("'{key}' has changed: {why}")))
}

fn failed(message: String) -> Error {
    Refused::ConditionFailed.error(message)
}

impl Found {
    fn is_among(&self, contents: &[ContentTag]) -> bool {
        contents.is_empty()
            || contents.iter().any(|tag| match tag {
                ContentTag::Sha256(sha256) => self.sha256 == Some(*sha256),
                ContentTag::Md5(md5) => self.etag.md5() == Some(*md5),
                ContentTag::ETag(text) => self.etag.text(self.sha256.as_ref()) == *text,
            })
    }

    fn is(&self, wanted: &Wanted) -> std::result::Result<(), &'static str> {
        match wanted {
            Wanted { contents, .. } if !self.is_among(contents) => Err("its ETag is not the one in If-Match"),
            Wanted { modified_s: Some(at), .. } if self.modified_ms / 1_000 != *at => {
                Err("it was modified at another time")
            }
            Wanted { size: Some(size), .. } if self.size != *size => Err("its size is another one"),
            _ => Ok(()),
        }
    }
}
