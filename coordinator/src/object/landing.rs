//! What became of a commit whose answer was lost.
//!
//! What it keeps true: a commit is sent again only while it is certain that it has not happened. A version that was published and is gone
//! again (replaced, removed, purged) must not come back: what it was made of is garbage under its id, and would be taken from under it.
//! Where the records cannot tell, the answer is *unknown* (faults I9).
//!
//! Revisions are never reused, so what expects one that has passed can never land any more. That a key does not exist can come true
//! twice, where records of keys go: in a bucket that keeps no versions, and with a bucket.

use super::Objects;
use super::bucket::SeenBucket;
use super::name::ObjectName;
use crate::metadata::records::{GarbageRecord, ObjectRecord, Record, VersionId, VersionRecord, Versioning};
use crate::metadata::{Entry, Expect, keys};
use protocol::Result;

/// A commit whose answer was lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// The version, marker or garbage it makes.
    pub(super) id: VersionId,
    /// The number it consumes.
    pub(super) number: u64,
    /// What it expects of the key's record,
    pub(super) object: Expect,
    /// and of the bucket's.
    pub(super) bucket: Expect,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Landing {
    /// It happened.
    Landed,
    /// It has not happened, and may still.
    NotYet,
    /// It never will.
    Never,
    /// The records cannot tell.
    Unclear,
}

/// A key as it was read, with its bucket.
pub(super) struct SeenKey {
    pub(super) bucket: SeenBucket,
    pub(super) object: Option<ObjectRecord>,
    /// What a commit checks of the key's record.
    pub(super) expect: Expect,
}

impl SeenKey {
    /// Whether a record of this key may have come and gone without a trace.
    fn forgets(&self) -> bool {
        self.bucket.expect() == Expect::Absent
            || self.bucket.record().is_none_or(|bucket| bucket.versioning == Versioning::Off)
    }
}

impl Objects {
    /// Reads a key's bucket and record, so that a commit can check that they are unchanged.
    pub(super) async fn see_key(&self, name: &ObjectName) -> Result<SeenKey> {
        let bucket = self.see_bucket(name.bucket()).await?;
        let found = self.object_entry(name).await?;
        let expect = Expect::unchanged(found.as_ref().map(|(_, entry)| entry));
        Ok(SeenKey { bucket, object: found.map(|(record, _)| record), expect })
    }

    /// The record of a key, and its entry.
    pub(super) async fn object_entry(&self, name: &ObjectName) -> Result<Option<(ObjectRecord, Entry)>> {
        let key = keys::object(name.bucket().as_str(), name.key());
        let Some(entry) = self.metadata.get(&key).await? else {
            return Ok(None);
        };
        Ok(Some((ObjectRecord::decode(&entry.value)?, entry)))
    }

    /// What became of `sent`, now that the key is as in `seen`.
    pub(super) async fn landing(&self, name: &ObjectName, seen: &SeenKey, sent: &Sent) -> Result<Landing> {
        let taken_by = self.version_numbered(name, sent.number).await?;
        if taken_by == Some(sent.id) {
            return Ok(Landing::Landed);
        }
        let is_unchanged = sent.object == seen.expect && sent.bucket == seen.bucket.expect();
        if is_unchanged && !(sent.object == Expect::Absent && seen.forgets()) {
            return Ok(Landing::NotYet);
        }
        // What was visible leaves garbage of its id for a while, when it goes or is stored as another class; garbage that never was is
        // another's doing.
        if let Some(entry) = self.metadata.get(&keys::garbage(sent.id)).await?
            && GarbageRecord::decode(&entry.value)?.since_ms > 0
        {
            return Ok(Landing::Landed);
        }
        let Some(object) = &seen.object else { return Ok(Landing::Unclear) };
        if seen.forgets() || sent.bucket != seen.bucket.expect() {
            return Ok(Landing::Unclear);
        }
        Ok(match taken_by {
            Some(_) => Landing::Never,
            None if object.last_number < sent.number => Landing::Never,
            None => Landing::Unclear,
        })
    }

    async fn version_numbered(&self, name: &ObjectName, number: u64) -> Result<Option<VersionId>> {
        let key = keys::version(name.bucket().as_str(), name.key(), number);
        let Some(entry) = self.metadata.get(&key).await? else {
            return Ok(None);
        };
        Ok(Some(VersionRecord::decode(&entry.value)?.id))
    }
}
