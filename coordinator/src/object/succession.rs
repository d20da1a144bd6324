//! What becomes of the versions before when a key changes: the null version that another one replaces, and what stands for the key when
//! a version goes.
//!
//! What it keeps true: a version that goes leaves its garbage in the commit that takes its record, and that commit checks the record,
//! so that a lock put on it meanwhile is seen.

use super::Objects;
use super::lock::require_unlocked;
use super::marker::standing_for;
use super::name::ObjectName;
use crate::metadata::records::{
    BucketRecord, Garbage, GarbageRecord, ObjectRecord, ObjectState, Record, VersionRecord, VersionState, Versioning,
};
use crate::metadata::{Batch, Expect, keys};
use protocol::Result;

impl Objects {
    /// Has `commit` take the null version away, if there is one; false if the key changed while it was looked at.
    pub(super) async fn replace_null(
        &self,
        commit: &mut Batch,
        name: &ObjectName,
        object: Option<&ObjectRecord>,
        now_ms: u64,
    ) -> Result<bool> {
        let Some((object, number)) = object.and_then(|object| Some((object, object.null_number?))) else {
            return Ok(true);
        };
        if number <= object.purged_through {
            return Ok(true);
        }
        let key = keys::version(name.bucket().as_str(), name.key(), number);
        let Some(entry) = self.metadata.get(&key).await? else { return Ok(false) };
        let version = VersionRecord::decode(&entry.value)?;
        require_unlocked(&version, now_ms, false)?;
        take_away(commit, name, &version, entry.revision, now_ms);
        Ok(true)
    }

    /// Has `commit` leave the key without `version`. The key's record is written anew, whether or not it changes: whoever else decides
    /// on what it says must see that something did. In a bucket that keeps no versions it goes with the last version, unless versions
    /// that were purged are still to be collected under their numbers.
    pub(super) async fn leave_without(
        &self,
        commit: &mut Batch,
        name: &ObjectName,
        bucket: &BucketRecord,
        object: ObjectRecord,
        version: &VersionRecord,
    ) -> Result<()> {
        let key = keys::object(name.bucket().as_str(), name.key());
        let null_number = object.null_number.filter(|number| *number != version.number);
        let object = ObjectRecord { null_number, ..object };
        let object = match version.number == object.number {
            false => object,
            true => match self.newest_below(name, &object, version.number).await? {
                Some(before) => standing_for(Some(&object), &before),
                None if bucket.versioning == Versioning::Off && object.purged_through == 0 => {
                    commit.delete(key);
                    return Ok(());
                }
                None => ObjectRecord {
                    purged_through: object.last_number,
                    state: ObjectState::Purged,
                    modified_ms: self.clock.now_ms(),
                    ..object
                },
            },
        };
        commit.put(key, object.encode());
        Ok(())
    }
}

/// Has `commit` take a version's record away, if it is still the one with this revision, and give back what it was made of.
pub(super) fn take_away(commit: &mut Batch, name: &ObjectName, version: &VersionRecord, revision: u64, now_ms: u64) {
    let key = keys::version(name.bucket().as_str(), name.key(), version.number);
    commit.check(key.clone(), Expect::Revision(revision)).delete(key);
    if version.state == VersionState::Live {
        let garbage = Garbage::Manifest { chunks: version.chunks.clone() };
        commit.put(keys::garbage(version.manifest), GarbageRecord { garbage, since_ms: now_ms.max(1) }.encode());
    }
}
