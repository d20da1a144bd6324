//! Removes one version for good, and nothing else: what a marker hid may come to light again, and where numbers are seen its number
//! stays used (law 7).
//!
//! One commit, which checks that the key and the version are as they were read:
//! - the version's record goes, and what it was made of becomes garbage of its own, for the collector;
//! - if the newest version goes, the one before it is the newest; if none is left, the key is as after a purge.

use super::Objects;
use super::attributes::VersionName;
use super::condition::Condition;
use super::delete::Deleted;
use super::lock::require_unlocked;
use super::name::ObjectName;
use super::refused::Refused;
use super::succession::take_away;
use crate::metadata::records::{ObjectState, Record, VersionId, VersionRecord, VersionState};
use crate::metadata::{Batch, keys};
use protocol::{Error, ErrorKind, Result};

/// How often a removal is tried anew when writers of the key come first.
const REMOVE_ATTEMPTS_MAX: u32 = 128;

/// Which version is to be removed, and when not.
#[derive(Clone, Debug)]
pub struct RemoveRequest {
    /// The version or marker.
    pub version: VersionName,
    /// What must hold of it.
    pub condition: Condition,
    /// Whether a retention in governance mode is lifted.
    pub bypass_governance: bool,
    /// Whether it stays where it is the newest: what hid it may have gone.
    pub unless_newest: bool,
}

/// A removal that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoveDone {
    /// What it found.
    pub deleted: Deleted,
    /// Whether it was a marker.
    pub was_marker: bool,
}

impl Objects {
    /// Removes the version or marker with this id. `Ok` is durable; its bytes go when the trash window is over.
    pub async fn remove_version(&self, name: &ObjectName, id: VersionId) -> Result<Deleted> {
        let version = VersionName::Id(id);
        let request =
            RemoveRequest { version, condition: Condition::None, bypass_governance: false, unless_newest: false };
        Ok(self.remove_as(name, &request).await?.deleted)
    }

    /// Removes a version or marker, if the request's condition holds of it. `Locked` while it is kept.
    pub async fn remove_as(&self, name: &ObjectName, request: &RemoveRequest) -> Result<RemoveDone> {
        let mut unsure = None;
        match self.try_to_remove(name, request, &mut unsure).await {
            Err(error) if unsure.is_some() => {
                let version = request.version;
                let message =
                    format!("the removal of version {version} was sent but its outcome is unknown; repeat it");
                Err(Error::caused(ErrorKind::Unknown, message, error))
            }
            outcome => outcome,
        }
    }

    async fn try_to_remove(
        &self,
        name: &ObjectName,
        request: &RemoveRequest,
        unsure: &mut Option<VersionRecord>,
    ) -> Result<RemoveDone> {
        for attempt in 0..REMOVE_ATTEMPTS_MAX {
            self.back_off(attempt).await;
            // An id is never used twice: what is gone after a commit that may have happened, went by it or by another like it.
            let gone = match &*unsure {
                Some(version) => done(version),
                None => RemoveDone { deleted: Deleted::Nothing, was_marker: false },
            };
            let seen = self.see_key(name).await?;
            let (Some(object), Some(bucket)) = (&seen.object, seen.bucket.record()) else { return Ok(gone) };
            if object.state == ObjectState::Purged {
                return Ok(gone);
            }
            let Some(version) = self.version_named(name, object, request.version).await? else { return Ok(gone) };
            if unsure.as_ref().is_some_and(|sent| sent.id != version.id) {
                // The null version that was meant has gone; this one was put since.
                return Ok(gone);
            }
            self.require_of(&request.condition, name, &version)?;
            if request.unless_newest && version.number == object.number {
                return Err(Refused::ConditionFailed.error("the version is the newest of its key"));
            }
            let now_ms = self.clock.now_ms();
            require_unlocked(&version, now_ms, request.bypass_governance)?;
            let Some(revision) = self.revision_of(name, &version).await? else { continue };
            let mut commit = Batch::new();
            commit.check(keys::object(name.bucket().as_str(), name.key()), seen.expect).reclaim();
            seen.bucket.watch(&mut commit, name.bucket());
            take_away(&mut commit, name, &version, revision, now_ms);
            self.leave_without(&mut commit, name, bucket, object.clone(), &version).await?;
            match self.metadata.commit(commit).await {
                Ok(()) => return Ok(done(&version)),
                Err(error) if error.kind == ErrorKind::Conflict => {}
                Err(error) if error.kind == ErrorKind::Unknown => *unsure = Some(version),
                Err(error) => return Err(error),
            }
        }
        Err(Error::unavailable(format!("'{}' is being written by too many at once; retry the removal", name.key())))
    }

    /// The revision of a version's record, if it is as it was read.
    async fn revision_of(&self, name: &ObjectName, version: &VersionRecord) -> Result<Option<u64>> {
        let key = keys::version(name.bucket().as_str(), name.key(), version.number);
        let Some(entry) = self.metadata.get(&key).await? else { return Ok(None) };
        Ok((VersionRecord::decode(&entry.value)? == *version).then_some(entry.revision))
    }
}

fn done(version: &VersionRecord) -> RemoveDone {
    RemoveDone { deleted: Deleted::Done, was_marker: version.state == VersionState::Marker }
}
