//! Delete: one commit, and the object is gone from sight. Space comes back by the collector, later and always.
//!
//! What it comes to depends on the bucket: where versions are kept a marker becomes the newest; where that is suspended the marker takes
//! the place of the null version; where no versions are kept the object goes for good.

use super::Objects;
use super::attributes::VersionName;
use super::bucket::no_such_bucket;
use super::condition::Condition;
use super::landing::{Landing, SeenKey, Sent};
use super::lock::require_unlocked;
use super::marker::{marker, standing_for};
use super::name::ObjectName;
use super::succession::take_away;
use crate::metadata::records::{
    BucketRecord, Garbage, GarbageRecord, ObjectRecord, ObjectState, Record, VersionId, VersionRecord, Versioning,
};
use crate::metadata::{Batch, Expect, Reserve, keys};
use protocol::{Error, ErrorKind, Result};

/// How often a delete is tried anew when writers of the key come first.
const DELETE_ATTEMPTS_MAX: u32 = 128;
/// Versions looked at for locks at once.
const VERSIONS_AT_ONCE: usize = 256;

/// What a delete takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteMode {
    /// The current state: a marker becomes the newest version, older versions stay readable by number. Nothing where nothing is live.
    Mark,
    /// The same, and a marker is made whatever there was, as S3 does. Refused where there is no such bucket.
    MarkAlways,
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

/// What is to be deleted, and when not.
#[derive(Clone, Debug)]
pub struct DeleteRequest {
    /// What goes.
    pub mode: DeleteMode,
    /// What must hold of the key.
    pub condition: Condition,
    /// Who says so: the id of an access key, or empty. A marker belongs to it.
    pub owner: String,
}

impl From<DeleteMode> for DeleteRequest {
    fn from(mode: DeleteMode) -> DeleteRequest {
        DeleteRequest { mode, condition: Condition::None, owner: String::new() }
    }
}

/// A delete that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeleteDone {
    /// What it found.
    pub deleted: Deleted,
    /// The marker it made.
    pub marker: Option<VersionName>,
}

/// A delete on its way, and what it comes to.
struct Plan {
    commit: Batch,
    sent: Sent,
    done: DeleteDone,
}

impl Objects {
    /// Deletes an object. `Ok` is durable.
    pub async fn delete(&self, name: &ObjectName, mode: DeleteMode) -> Result<Deleted> {
        Ok(self.delete_as(name, &mode.into()).await?.deleted)
    }

    /// Deletes an object if the request's condition holds. `Ok` is durable. Where numbers are seen one is consumed, so that no later
    /// version can be taken for an earlier one (I6).
    pub async fn delete_as(&self, name: &ObjectName, request: &DeleteRequest) -> Result<DeleteDone> {
        let mut unsure = Vec::new();
        match self.try_to_delete(name, request, &mut unsure).await {
            Err(error) if !unsure.is_empty() => {
                let message = format!("the delete of '{}' was sent but its outcome is unknown; repeat it", name.key());
                Err(Error::caused(ErrorKind::Unknown, message, error))
            }
            outcome => outcome,
        }
    }

    async fn try_to_delete(
        &self,
        name: &ObjectName,
        request: &DeleteRequest,
        unsure: &mut Vec<(Sent, DeleteDone)>,
    ) -> Result<DeleteDone> {
        for attempt in 0..DELETE_ATTEMPTS_MAX {
            self.back_off(attempt).await;
            let seen = self.see_key(name).await?;
            if let Some(done) = self.delete_landed(name, &seen, unsure).await? {
                return Ok(done);
            }
            let Some(bucket) = seen.bucket.record() else {
                return match request.mode {
                    DeleteMode::MarkAlways => Err(no_such_bucket(name.bucket())),
                    DeleteMode::Mark | DeleteMode::Purge => Ok(DeleteDone::nothing()),
                };
            };
            if unsure.is_empty() {
                self.require(&request.condition, name, seen.object.as_ref()).await?;
            }
            let plan = match self.plan_delete(name, request, &seen, bucket).await? {
                Planned::Commit(plan) => plan,
                Planned::Nothing if unsure.is_empty() => return Ok(DeleteDone::nothing()),
                Planned::Nothing => return Ok(unsure[0].1),
                Planned::LookAgain => continue,
            };
            match self.metadata.commit(plan.commit).await {
                Ok(()) => return Ok(plan.done),
                Err(error) if error.kind == ErrorKind::Conflict => {}
                Err(error) if error.kind == ErrorKind::Unknown => unsure.push((plan.sent, plan.done)),
                Err(error) => return Err(error),
            }
        }
        Err(Error::unavailable(format!("'{}' is being written by too many at once; retry the delete", name.key())))
    }

    /// A delete takes effect once: one that landed although its answer was lost is not repeated on what was put since.
    async fn delete_landed(
        &self,
        name: &ObjectName,
        seen: &SeenKey,
        unsure: &mut Vec<(Sent, DeleteDone)>,
    ) -> Result<Option<DeleteDone>> {
        let mut possible = Vec::new();
        for (sent, done) in unsure.iter() {
            let is_purged = match &seen.object {
                Some(object) => object.purged_through >= sent.number,
                None => sent.object != Expect::Absent,
            };
            if is_purged {
                return Ok(Some(*done));
            }
            match self.landing(name, seen, sent).await? {
                Landing::Landed => return Ok(Some(*done)),
                Landing::NotYet => possible.push((*sent, *done)),
                // It is as if it had not been sent: the condition must hold of what is there now.
                Landing::Never => {}
                Landing::Unclear => {
                    let message = format!("'{}' was written by others meanwhile", name.key());
                    return Err(Error::unavailable(message));
                }
            }
        }
        *unsure = possible;
        Ok(None)
    }

    async fn plan_delete(
        &self,
        name: &ObjectName,
        request: &DeleteRequest,
        seen: &SeenKey,
        bucket: &BucketRecord,
    ) -> Result<Planned> {
        let object = seen.object.as_ref();
        let state = object.map_or(ObjectState::Purged, |object| object.state);
        let number = object.map_or(0, |object| object.last_number) + 1;
        let id = VersionId(self.clock.fresh_id());
        let sent = Sent { id, number, object: seen.expect, bucket: seen.bucket.expect() };
        let mut commit = Batch::new();
        commit.check(keys::object(name.bucket().as_str(), name.key()), seen.expect).reclaim();
        let marker = match (request.mode, bucket.versioning, object) {
            (DeleteMode::Mark, _, _) if state != ObjectState::Live => return Ok(Planned::Nothing),
            (DeleteMode::Purge, _, _) if state == ObjectState::Purged => return Ok(Planned::Nothing),
            (_, Versioning::Off, _) if state == ObjectState::Purged => return Ok(Planned::Nothing),
            (_, Versioning::Off, Some(object)) => {
                seen.bucket.watch(&mut commit, name.bucket());
                if !self.end(&mut commit, name, bucket, object).await? {
                    return Ok(Planned::LookAgain);
                }
                None
            }
            (DeleteMode::Purge, _, Some(object)) => {
                seen.bucket.watch(&mut commit, name.bucket());
                self.purge(&mut commit, name, bucket, object, &sent).await?;
                None
            }
            _ => {
                // It frees nothing, and there can be any number of them.
                commit.use_reserve(Reserve::Half);
                seen.bucket.claim(&mut commit, name.bucket(), bucket);
                let is_null = bucket.versioning == Versioning::Suspended;
                let marker = marker(id, number, is_null, &request.owner, self.clock.now_ms());
                if is_null && !self.replace_null(&mut commit, name, object, marker.created_ms).await? {
                    return Ok(Planned::LookAgain);
                }
                mark(&mut commit, name, object, &marker);
                Some(VersionName::of(&marker))
            }
        };
        let done = DeleteDone { deleted: Deleted::Done, marker };
        Ok(Planned::Commit(Plan { commit, sent, done }))
    }

    /// The end of an object whose bucket keeps no versions; false if it changed while it was looked at.
    async fn end(
        &self,
        commit: &mut Batch,
        name: &ObjectName,
        bucket: &BucketRecord,
        object: &ObjectRecord,
    ) -> Result<bool> {
        let key = keys::version(name.bucket().as_str(), name.key(), object.number);
        let Some(entry) = self.metadata.get(&key).await? else { return Ok(false) };
        let version = VersionRecord::decode(&entry.value)?;
        let now_ms = self.clock.now_ms();
        require_unlocked(&version, now_ms, false)?;
        take_away(commit, name, &version, entry.revision, now_ms);
        self.leave_without(commit, name, bucket, object.clone(), &version).await?;
        Ok(true)
    }

    /// Purged versions are out of sight at once, however many they are; one garbage record has the collector take them apart.
    async fn purge(
        &self,
        commit: &mut Batch,
        name: &ObjectName,
        bucket: &BucketRecord,
        object: &ObjectRecord,
        sent: &Sent,
    ) -> Result<()> {
        let now_ms = self.clock.now_ms();
        if bucket.object_lock.is_some() {
            self.require_all_unlocked(name, object, now_ms).await?;
        }
        let (bucket, key) = (name.bucket().as_str(), name.key());
        let garbage = Garbage::Versions {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            after: object.purged_through,
            through: object.last_number,
        };
        let garbage = GarbageRecord { garbage, since_ms: now_ms.max(1) };
        let object = ObjectRecord {
            last_number: sent.number,
            purged_through: sent.number,
            state: ObjectState::Purged,
            modified_ms: now_ms,
            null_number: None,
            ..object.clone()
        };
        commit.put(keys::garbage(sent.id), garbage.encode());
        commit.put(keys::object(bucket, key), object.encode());
        Ok(())
    }

    /// Refuses `Locked` if any version is kept. A lock put on one meanwhile writes the key's record anew, which the purge checks.
    async fn require_all_unlocked(&self, name: &ObjectName, object: &ObjectRecord, now_ms: u64) -> Result<()> {
        let (bucket, key) = (name.bucket().as_str(), name.key());
        let mut from = keys::version(bucket, key, object.purged_through.saturating_add(1));
        let to = keys::versions(bucket, key).to;
        loop {
            let entries = self.metadata.scan(&from, &to, VERSIONS_AT_ONCE).await?;
            let Some((last, _)) = entries.last() else { return Ok(()) };
            from = keys::after(last);
            for (_, entry) in &entries {
                require_unlocked(&VersionRecord::decode(&entry.value)?, now_ms, false)?;
            }
        }
    }
}

enum Planned {
    Commit(Plan),
    Nothing,
    /// The key changed while it was looked at.
    LookAgain,
}

impl DeleteDone {
    fn nothing() -> DeleteDone {
        DeleteDone { deleted: Deleted::Nothing, marker: None }
    }
}

fn mark(commit: &mut Batch, name: &ObjectName, object: Option<&ObjectRecord>, marker: &VersionRecord) {
    let (bucket, key) = (name.bucket().as_str(), name.key());
    commit.put(keys::version(bucket, key, marker.number), marker.encode());
    commit.put(keys::object(bucket, key), standing_for(object, marker).encode());
}
