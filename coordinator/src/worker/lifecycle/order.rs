//! Puts a version up to be stored as another class. Whoever reads these records does it.
//!
//! What it keeps true: when the record is committed, under the lease, the version is there and not of that class; and it is put up once.

use super::rules::Move;
use crate::metadata::records::{Record, TransitionRecord, VersionRecord, VersionState};
use crate::metadata::{Batch, Expect, keys};
use crate::object::{ListedVersion, ObjectName, Objects};
use protocol::{ErrorKind, Result};

/// Whether `version` was put up; not if it is already, or has changed since it was listed.
pub(super) async fn order(objects: &Objects, name: &ObjectName, version: &ListedVersion, to: Move) -> Result<bool> {
    let (bucket, key) = (name.bucket().as_str(), name.key());
    let (order_key, version_key) = (keys::transition(version.id), keys::version(bucket, key, version.number));
    let waiting = objects.metadata.get(&order_key).await?;
    let waits_for = waiting.as_ref().map(|entry| TransitionRecord::decode(&entry.value)).transpose()?;
    if waits_for.is_some_and(|waits| waits.class == to.class) {
        return Ok(false);
    }
    let Some(entry) = objects.metadata.get(&version_key).await? else { return Ok(false) };
    let found = VersionRecord::decode(&entry.value)?;
    if found.id != version.id || found.state != VersionState::Live || found.storage_class == to.class {
        return Ok(false);
    }
    let order = TransitionRecord {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        number: version.number,
        class: to.class,
        size: found.size,
        reason: to.reason,
        since_ms: objects.clock.now_ms(),
    };
    let mut commit = Batch::new();
    commit.check(version_key, Expect::Revision(entry.revision));
    commit.check(order_key.clone(), Expect::unchanged(waiting.as_ref())).put(order_key, order.encode());
    match objects.metadata.commit(commit).await {
        Ok(()) => Ok(true),
        // The next pass sees it as it is then.
        Err(error) if error.kind == ErrorKind::Conflict => Ok(false),
        Err(error) => Err(error),
    }
}
