//! Buckets: make, look at, change.
//!
//! What it keeps true:
//! - Whoever makes something visible in a bucket checks the bucket's record in the same commit ([`SeenBucket::claim`]); a bucket that
//!   is being deleted is made live by that commit, so that its deletion sees that somebody came (`docs/decisions/0042-deleting-a-bucket.md`).
//! - A bucket of an older catalog has objects and no record: it counts as one that keeps its versions, made at the start of time. The
//!   first write through any door writes that down. The built-in buckets are there from the start in the same way.

use super::Objects;
use super::name::BucketName;
use super::refused::Refused;
use crate::metadata::records::{BucketRecord, BucketState, ObjectLock, Record, Versioning};
use crate::metadata::{Batch, Expect, keys};
use protocol::{Error, ErrorKind, Result};
use std::collections::BTreeMap;

/// How often a change is tried anew when others change the bucket first.
const CHANGE_ATTEMPTS_MAX: u32 = 32;

/// A bucket to be made.
#[derive(Clone, Debug, Default)]
pub struct NewBucket {
    /// The id of the access key that makes it; empty if none does.
    pub owner: String,
    /// What becomes of older versions.
    pub versioning: Versioning,
    /// Whether its versions can be locked; such a bucket keeps its versions.
    pub object_lock: bool,
    /// What it is labelled with.
    pub tags: BTreeMap<String, String>,
}

/// What a write into a bucket that does not exist comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingBucket {
    /// It is refused.
    #[default]
    Refuse,
    /// The bucket springs into being, and belongs to the writer.
    Make(Versioning),
}

/// A bucket as it was read.
pub(super) struct SeenBucket {
    /// `None`: it does not exist.
    record: Option<BucketRecord>,
    expect: Expect,
}

impl Objects {
    /// Makes a bucket. `BucketExists` if there is one of that name, whoever owns it.
    pub async fn create_bucket(&self, name: &BucketName, new: NewBucket) -> Result<BucketRecord> {
        let record = BucketRecord {
            created_ms: self.clock.now_ms(),
            owner: new.owner,
            versioning: if new.object_lock { Versioning::Enabled } else { new.versioning },
            object_lock: new.object_lock.then(ObjectLock::default),
            tags: new.tags,
            ..BucketRecord::default()
        };
        let mut unsure = false;
        for attempt in 0..CHANGE_ATTEMPTS_MAX {
            self.back_off(attempt).await;
            let seen = self.see_bucket(name).await?;
            match seen.record {
                // Whoever else made it in this very millisecond for the same owner wanted the same bucket.
                Some(found) if unsure && found == record => return Ok(record),
                // It may still come to be, after others made and deleted one of that name: it is not sent twice.
                _ if unsure => return Err(outcome_unknown(name)),
                Some(_) => {
                    return Err(Refused::BucketExists.error(format!("bucket '{}' exists already", name.as_str())));
                }
                None => {}
            }
            let mut commit = Batch::new();
            commit.check(keys::bucket(name.as_str()), seen.expect);
            commit.put(keys::bucket(name.as_str()), record.encode());
            match self.metadata.commit(commit).await {
                Ok(()) => return Ok(record),
                Err(error) if error.kind == ErrorKind::Conflict => {}
                Err(error) if error.kind == ErrorKind::Unknown => unsure = true,
                Err(error) => return Err(error),
            }
        }
        Err(contended(name))
    }

    /// A bucket's record; `None` if there is none.
    pub async fn bucket(&self, name: &BucketName) -> Result<Option<BucketRecord>> {
        Ok(self.see_bucket(name).await?.record)
    }

    /// A bucket's record, or the refusal `NoSuchBucket`.
    pub async fn require_bucket(&self, name: &BucketName) -> Result<BucketRecord> {
        self.bucket(name).await?.ok_or_else(|| no_such_bucket(name))
    }

    /// Changes a bucket's record as `change` says, by compare and swap; `change` may run several times.
    ///
    /// Refuses `BucketSettings`: a bucket that kept versions never goes back to [`Versioning::Off`], and one with object lock keeps
    /// both its versions and its lock; the built-in ones always keep versions.
    pub async fn change_bucket(
        &self,
        name: &BucketName,
        change: impl Fn(&mut BucketRecord) -> Result<()>,
    ) -> Result<BucketRecord> {
        let mut unsure: Option<(Expect, BucketRecord)> = None;
        for attempt in 0..CHANGE_ATTEMPTS_MAX {
            self.back_off(attempt).await;
            let seen = self.see_bucket(name).await?;
            if let Some((expect, sent)) = &unsure {
                match seen.record {
                    Some(found) if found == *sent => return Ok(found),
                    // It takes effect once: what others made of the bucket since is not undone.
                    _ if seen.expect != *expect || *expect == Expect::Absent => return Err(outcome_unknown(name)),
                    _ => {}
                }
            }
            let before = seen.record.ok_or_else(|| no_such_bucket(name))?;
            let mut after = before.clone();
            change(&mut after)?;
            require_settings(name, &before, &after)?;
            after.state = BucketState::Live;
            let mut commit = Batch::new();
            commit.check(keys::bucket(name.as_str()), seen.expect);
            commit.put(keys::bucket(name.as_str()), after.encode());
            match self.metadata.commit(commit).await {
                Ok(()) => return Ok(after),
                Err(error) if error.kind == ErrorKind::Conflict => {}
                Err(error) if error.kind == ErrorKind::Unknown => unsure = Some((seen.expect, after)),
                Err(error) => return Err(error),
            }
        }
        Err(contended(name))
    }

    /// Reads a bucket, so that a commit can check that it is unchanged.
    pub(super) async fn see_bucket(&self, name: &BucketName) -> Result<SeenBucket> {
        if let Some(entry) = self.metadata.get(&keys::bucket(name.as_str())).await? {
            let record = BucketRecord::decode(&entry.value)?;
            let expect = Expect::Revision(entry.revision);
            let record = match record.state {
                // One that was deleted before it was built in: whoever writes into it next makes it live.
                BucketState::Gone if name.is_built_in() => {
                    Some(BucketRecord { state: BucketState::Deleting, ..made_by_nobody() })
                }
                BucketState::Gone => None,
                BucketState::Live | BucketState::Deleting => Some(record),
            };
            return Ok(SeenBucket { record, expect });
        }
        let is_there = name.is_built_in() || self.has_names(name).await?;
        let record = made_by_nobody();
        Ok(SeenBucket { record: is_there.then_some(record), expect: Expect::Absent })
    }

    async fn has_names(&self, bucket: &BucketName) -> Result<bool> {
        let range = keys::objects(bucket.as_str(), "");
        Ok(!self.metadata.scan(&range.from, &range.to, 1).await?.is_empty())
    }
}

impl SeenBucket {
    /// What was read; `None`: it does not exist.
    pub(super) fn record(&self) -> Option<&BucketRecord> {
        self.record.as_ref()
    }

    /// What a commit checks.
    pub(super) fn expect(&self) -> Expect {
        self.expect
    }

    /// The bucket to write into: the one that was read, or the one that springs into being.
    pub(super) fn or_make(
        &self,
        name: &BucketName,
        missing: MissingBucket,
        owner: &str,
        now_ms: u64,
    ) -> Result<BucketRecord> {
        match (&self.record, missing) {
            (Some(record), _) => Ok(record.clone()),
            (None, MissingBucket::Refuse) => Err(no_such_bucket(name)),
            (None, MissingBucket::Make(_)) if name.is_dotted() => Err(Error::invalid(format!(
                "bucket '{}' does not exist, and only S3 makes one whose name has dots",
                name.as_str()
            ))),
            (None, MissingBucket::Make(versioning)) => {
                Ok(BucketRecord { created_ms: now_ms, owner: owner.to_owned(), versioning, ..BucketRecord::default() })
            }
        }
    }

    /// Has `commit` happen only in the bucket as it was read. For a commit that makes something visible: one that is being deleted is
    /// live again by it, and one without a record gets `record`.
    pub(super) fn claim(&self, commit: &mut Batch, name: &BucketName, record: &BucketRecord) {
        self.watch(commit, name);
        let is_written = self.expect != Expect::Absent && self.record.is_some();
        if !is_written || record.state != BucketState::Live {
            let live = BucketRecord { state: BucketState::Live, ..record.clone() };
            commit.put(keys::bucket(name.as_str()), live.encode());
        }
    }

    /// Has `commit` happen only in the bucket as it was read. For a commit that makes nothing visible.
    pub(super) fn watch(&self, commit: &mut Batch, name: &BucketName) {
        commit.check(keys::bucket(name.as_str()), self.expect);
    }
}

/// A bucket that has no record: it keeps its versions.
fn made_by_nobody() -> BucketRecord {
    BucketRecord { versioning: Versioning::Enabled, ..BucketRecord::default() }
}

fn require_settings(name: &BucketName, before: &BucketRecord, after: &BucketRecord) -> Result<()> {
    if name.is_built_in() && before.versioning == Versioning::Enabled && after.versioning != Versioning::Enabled {
        let message =
            format!("bucket '{}' belongs to a door that promises every version, and keeps them", name.as_str());
        return Err(Refused::BucketSettings.error(message));
    }
    if before.versioning != Versioning::Off && after.versioning == Versioning::Off {
        return Err(Refused::BucketSettings.error("a bucket that kept versions can suspend that, but not undo it"));
    }
    if before.object_lock.is_some() && after.object_lock.is_none() {
        return Err(Refused::BucketSettings.error("object lock cannot be taken off a bucket"));
    }
    if after.object_lock.is_some() && after.versioning != Versioning::Enabled {
        return Err(Refused::BucketSettings.error("a bucket with object lock keeps its versions"));
    }
    Ok(())
}

/// The refusal of what needs the bucket.
pub(super) fn no_such_bucket(name: &BucketName) -> Error {
    Refused::NoSuchBucket.error(format!("bucket '{}' does not exist", name.as_str()))
}

/// The answer where a commit was sent and the bucket does not tell whether it happened.
pub(super) fn outcome_unknown(name: &BucketName) -> Error {
    Error::unknown(format!("the change of bucket '{}' was sent but its outcome is unknown; look at it", name.as_str()))
}

pub(super) fn contended(name: &BucketName) -> Error {
    Error::unavailable(format!("bucket '{}' is being changed by too many at once; retry", name.as_str()))
}
