//! Changes what is said of a version: tags, retention, legal hold. Its bytes never change.
//!
//! What it keeps true: the commit checks the version's record and the key's, and writes both anew, so that a purge, a removal or another
//! write that decided on what was said before conflicts and looks again.

use super::Objects;
use super::attributes::VersionName;
use super::bucket::no_such_bucket;
use super::lock::{require_object_lock, require_retention_change};
use super::name::ObjectName;
use super::refused::Refused;
use crate::metadata::records::{BucketRecord, Record, Retention, VersionRecord, VersionState};
use crate::metadata::{Batch, Expect, keys};
use protocol::{Error, ErrorKind, Result};
use std::collections::BTreeMap;

/// How often a change is tried anew when others change the version first.
const ANNOTATE_ATTEMPTS_MAX: u32 = 32;

impl Objects {
    /// Gives a version these tags in place of those it had; the newest version if none is named.
    pub async fn set_tags(
        &self,
        name: &ObjectName,
        version: Option<VersionName>,
        tags: BTreeMap<String, String>,
    ) -> Result<VersionRecord> {
        self.annotate(name, version, |_, version| {
            version.tags.clone_from(&tags);
            Ok(())
        })
        .await
    }

    /// Keeps a version until then, or no longer. Refused where that makes a lock weaker, unless `bypass` may lift it.
    pub async fn set_retention(
        &self,
        name: &ObjectName,
        version: Option<VersionName>,
        retention: Option<Retention>,
        bypass: bool,
    ) -> Result<VersionRecord> {
        let now_ms = self.clock.now_ms();
        self.annotate(name, version, |bucket, version| {
            require_object_lock(bucket)?;
            require_retention_change(version, retention, now_ms, bypass)?;
            version.retention = retention;
            Ok(())
        })
        .await
    }

    /// Keeps a version until somebody says otherwise, or says otherwise.
    pub async fn set_legal_hold(
        &self,
        name: &ObjectName,
        version: Option<VersionName>,
        hold: bool,
    ) -> Result<VersionRecord> {
        self.annotate(name, version, |bucket, version| {
            require_object_lock(bucket)?;
            version.legal_hold = Some(hold);
            Ok(())
        })
        .await
    }

    /// Changes a version's record as `change` says, which may run several times.
    async fn annotate(
        &self,
        name: &ObjectName,
        version: Option<VersionName>,
        change: impl Fn(&BucketRecord, &mut VersionRecord) -> Result<()>,
    ) -> Result<VersionRecord> {
        let mut unsure: Option<(Expect, VersionRecord)> = None;
        for attempt in 0..ANNOTATE_ATTEMPTS_MAX {
            self.back_off(attempt).await;
            let seen = self.see_key(name).await?;
            let bucket = seen.bucket.record().ok_or_else(|| no_such_bucket(name.bucket()))?;
            let found = self.find_in(name, &seen, version).await?;
            if let Some((expect, sent)) = &unsure {
                match found {
                    Some((found, _)) if found == *sent => return Ok(found),
                    // It takes effect once: what others said of the version since is not taken back.
                    _ if seen.expect != *expect => return Err(outcome_unknown(name)),
                    _ => {}
                }
            }
            let (Some(object), Some((mut found, revision))) = (&seen.object, found) else {
                // Another may have taken its place between the two reads.
                if self.see_key(name).await?.expect != seen.expect {
                    continue;
                }
                return Err(nothing(name, version));
            };
            if found.state == VersionState::Marker {
                let message = format!("the version of '{}' that was named is a delete marker", name.key());
                return Err(if version.is_some() { Refused::Marker.error(message) } else { nothing(name, version) });
            }
            change(bucket, &mut found)?;
            let (bucket_name, key) = (name.bucket().as_str(), name.key());
            let version_key = keys::version(bucket_name, key, found.number);
            let mut commit = Batch::new();
            seen.bucket.watch(&mut commit, name.bucket());
            commit
                .check(keys::object(bucket_name, key), seen.expect)
                .put(keys::object(bucket_name, key), object.encode());
            commit.check(version_key.clone(), Expect::Revision(revision)).put(version_key, found.encode());
            match self.metadata.commit(commit).await {
                Ok(()) => return Ok(found),
                Err(error) if error.kind == ErrorKind::Conflict => {}
                Err(error) if error.kind == ErrorKind::Unknown => unsure = Some((seen.expect, found)),
                Err(error) => return Err(error),
            }
        }
        Err(Error::unavailable(format!("'{}' is being written by too many at once; retry", name.key())))
    }
}

fn outcome_unknown(name: &ObjectName) -> Error {
    Error::unknown(format!("the change of '{}' was sent but its outcome is unknown; look at it", name.key()))
}

fn nothing(name: &ObjectName, version: Option<VersionName>) -> Error {
    match version {
        None => Refused::NoSuchKey.error(format!("'{}' does not exist", name.key())),
        Some(version) => Refused::NoSuchVersion.error(format!("'{}' has no version {version}", name.key())),
    }
}
