//! Removes one version for good, and nothing else: what a marker hid may come to light again, and the number stays used (law 7).
//!
//! One commit, which checks that the key and the version are as they were read:
//! - the version's record goes, and what it was made of becomes garbage of its own, for the collector;
//! - the key's record is written anew, whether or not it changes: whoever else decides on what it says must see that something did.
//!   If the newest version goes, the one before it is the newest; if none is left, the key is as after a purge.

use super::Objects;
use super::delete::Deleted;
use super::name::ObjectName;
use crate::metadata::records::{
    Garbage, GarbageRecord, ObjectRecord, ObjectState, Record, VersionId, VersionRecord, VersionState,
};
use crate::metadata::{Batch, Entry, Expect, keys};
use protocol::{Error, ErrorKind, Result};

/// How often a removal is tried anew when writers of the key come first.
const REMOVE_ATTEMPTS_MAX: u32 = 128;

impl Objects {
    /// Removes the version or marker with this id. `Ok` is durable; its bytes go when the trash window is over.
    pub async fn remove_version(&self, name: &ObjectName, id: VersionId) -> Result<Deleted> {
        let mut unsure = false;
        match self.try_to_remove(name, id, &mut unsure).await {
            Err(error) if unsure => {
                let message = format!("the removal of version {id} was sent but its outcome is unknown; repeat it");
                Err(Error::caused(ErrorKind::Unknown, message, error))
            }
            outcome => outcome,
        }
    }

    async fn try_to_remove(&self, name: &ObjectName, id: VersionId, unsure: &mut bool) -> Result<Deleted> {
        let object_key = keys::object(name.bucket().as_str(), name.key());
        for _ in 0..REMOVE_ATTEMPTS_MAX {
            // An id is never used twice: what is gone after a commit that may have happened, went by it or by another like it.
            let gone = if *unsure { Deleted::Done } else { Deleted::Nothing };
            let Some(entry) = self.metadata.get(&object_key).await? else { return Ok(gone) };
            let object = ObjectRecord::decode(&entry.value)?;
            if object.state == ObjectState::Purged {
                return Ok(gone);
            }
            let Some(version) = self.version_with_id(name, &object, id).await? else { return Ok(gone) };
            let mut commit = match self.without(name, object, &version).await? {
                Some(commit) => commit,
                None => continue,
            };
            commit.check(object_key.clone(), Expect::Revision(entry.revision)).reclaim();
            match self.metadata.commit(commit).await {
                Ok(()) => return Ok(Deleted::Done),
                Err(error) if error.kind == ErrorKind::Conflict => {}
                Err(error) if error.kind == ErrorKind::Unknown => *unsure = true,
                Err(error) => return Err(error),
            }
        }
        Err(Error::unavailable(format!("'{}' is being written by too many at once; retry the removal", name.key())))
    }

    /// The commit that leaves the object without the version; `None` if it has gone meanwhile.
    async fn without(&self, name: &ObjectName, object: ObjectRecord, version: &VersionRecord) -> Result<Option<Batch>> {
        let (bucket, key) = (name.bucket().as_str(), name.key());
        let version_key = keys::version(bucket, key, version.number);
        let Some(Entry { revision, .. }) = self.metadata.get(&version_key).await? else { return Ok(None) };
        let object = match version.number == object.number {
            false => object,
            true => match self.newest_below(name, &object, version.number).await? {
                Some(before) => standing_for(object, &before),
                None => ObjectRecord {
                    purged_through: object.last_number,
                    state: ObjectState::Purged,
                    modified_ms: self.clock.now_ms(),
                    ..object
                },
            },
        };
        let mut commit = Batch::new();
        commit.check(version_key.clone(), Expect::Revision(revision)).delete(version_key);
        commit.put(keys::object(bucket, key), object.encode());
        if version.state == VersionState::Live {
            let garbage = Garbage::Manifest { chunks: version.chunks.clone() };
            let garbage = GarbageRecord { garbage, since_ms: self.clock.now_ms().max(1) };
            commit.put(keys::garbage(version.id), garbage.encode());
        }
        Ok(Some(commit))
    }
}

/// The key's record while `newest` is its newest version or marker.
fn standing_for(object: ObjectRecord, newest: &VersionRecord) -> ObjectRecord {
    ObjectRecord {
        current: newest.id,
        number: newest.number,
        state: match newest.state {
            VersionState::Live => ObjectState::Live,
            VersionState::Marker => ObjectState::Deleted,
        },
        size: newest.size,
        sha256: newest.sha256,
        modified_ms: newest.created_ms,
        content_type: newest.content_type.clone(),
        chunks: newest.chunk_count,
        ..object
    }
}
