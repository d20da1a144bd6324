//! Delete: one commit, and the object is gone from sight. Space comes back by the collector, later and always.

use super::Objects;
use super::name::ObjectName;
use crate::metadata::records::{
    ChunkList, Garbage, GarbageRecord, ObjectRecord, ObjectState, Record, VersionId, VersionRecord, VersionState,
};
use crate::metadata::{Batch, Expect, keys};
use protocol::{Error, ErrorKind, Result};
use std::collections::BTreeMap;

/// How often a delete is tried anew when writers of the key come first.
const DELETE_ATTEMPTS_MAX: u32 = 128;

/// What a delete takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteMode {
    /// The current state: a marker becomes the newest version, older versions stay readable by number.
    Mark,
    /// Every version there is.
    Purge,
}

/// What a delete found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It was there.
    Done,
    /// There was nothing (left) to delete.
    Nothing,
}

/// A delete on its way: the marker or garbage it makes, and the number it consumes.
struct Sent {
    id: VersionId,
    number: u64,
}

impl Objects {
    /// Deletes an object. `Ok` is durable. A number is consumed, so that no later version can be taken for an earlier one (I6).
    pub async fn delete(&self, name: &ObjectName, mode: DeleteMode) -> Result<Deleted> {
        let mut unsure = Vec::new();
        match self.try_to_delete(name, mode, &mut unsure).await {
            Err(error) if !unsure.is_empty() => {
                let message = format!("the delete of '{}' was sent but its outcome is unknown; repeat it", name.key());
                Err(Error::caused(ErrorKind::Unknown, message, error))
            }
            outcome => outcome,
        }
    }

    async fn try_to_delete(&self, name: &ObjectName, mode: DeleteMode, unsure: &mut Vec<Sent>) -> Result<Deleted> {
        let key = keys::object(name.bucket().as_str(), name.key());
        for _ in 0..DELETE_ATTEMPTS_MAX {
            let Some(entry) = self.metadata.get(&key).await? else {
                return Ok(Deleted::Nothing);
            };
            let record = ObjectRecord::decode(&entry.value)?;
            for sent in &*unsure {
                if self.delete_has_landed(name, &record, sent).await? {
                    return Ok(Deleted::Done);
                }
            }
            let gone = match mode {
                DeleteMode::Mark => record.state != ObjectState::Live,
                DeleteMode::Purge => record.state == ObjectState::Purged,
            };
            if gone {
                return Ok(if unsure.is_empty() { Deleted::Nothing } else { Deleted::Done });
            }
            let sent = Sent { id: VersionId(self.clock.fresh_id()), number: record.last_number + 1 };
            let mut commit = match mode {
                DeleteMode::Mark => self.mark(name, record, &sent),
                DeleteMode::Purge => self.purge(name, record, &sent),
            };
            commit.check(key.clone(), Expect::Revision(entry.revision)).reclaim();
            match self.metadata.commit(commit).await {
                Ok(()) => return Ok(Deleted::Done),
                Err(error) if error.kind == ErrorKind::Conflict => {}
                Err(error) if error.kind == ErrorKind::Unknown => unsure.push(sent),
                Err(error) => return Err(error),
            }
        }
        Err(Error::unavailable(format!("'{}' is being written by too many at once; retry the delete", name.key())))
    }

    /// A delete takes effect once: one that landed although its answer was lost is not repeated on what was put since.
    async fn delete_has_landed(&self, name: &ObjectName, record: &ObjectRecord, sent: &Sent) -> Result<bool> {
        if record.purged_through >= sent.number {
            return Ok(true);
        }
        let key = keys::version(name.bucket().as_str(), name.key(), sent.number);
        let Some(entry) = self.metadata.get(&key).await? else {
            return Ok(false);
        };
        Ok(VersionRecord::decode(&entry.value)?.id == sent.id)
    }

    fn mark(&self, name: &ObjectName, record: ObjectRecord, sent: &Sent) -> Batch {
        let now_ms = self.clock.now_ms();
        let number = sent.number;
        let marker = VersionRecord {
            id: sent.id,
            number,
            created_ms: now_ms,
            state: VersionState::Marker,
            size: 0,
            sha256: [0; 32],
            md5: None,
            content_type: String::new(),
            metadata: BTreeMap::new(),
            chunks: ChunkList::Inline(Vec::new()),
            chunk_count: 0,
            shared_bytes: 0,
            stored_bytes: 0,
        };
        let (bucket, key) = (name.bucket().as_str(), name.key());
        let object = ObjectRecord {
            current: marker.id,
            number,
            last_number: number,
            state: ObjectState::Deleted,
            modified_ms: now_ms,
            ..record
        };
        let mut commit = Batch::new();
        commit.put(keys::version(bucket, key, number), marker.encode());
        commit.put(keys::object(bucket, key), object.encode());
        commit
    }

    /// Purged versions are out of sight at once, however many they are; one garbage record has the collector take them apart.
    fn purge(&self, name: &ObjectName, record: ObjectRecord, sent: &Sent) -> Batch {
        let now_ms = self.clock.now_ms();
        let (bucket, key) = (name.bucket().as_str(), name.key());
        let garbage = Garbage::Versions {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            after: record.purged_through,
            through: record.last_number,
        };
        let garbage = GarbageRecord { garbage, since_ms: now_ms };
        let last_number = sent.number;
        let object = ObjectRecord {
            last_number,
            purged_through: last_number,
            state: ObjectState::Purged,
            modified_ms: now_ms,
            ..record
        };
        let mut commit = Batch::new();
        commit.put(keys::garbage(sent.id), garbage.encode());
        commit.put(keys::object(bucket, key), object.encode());
        commit
    }
}
