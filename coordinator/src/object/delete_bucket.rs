//! Deletes a bucket in which nothing is.
//!
//! Steps; each is one commit, may be the last, and may be done by several at once:
//! 1. the bucket's record says that it is being deleted, which changes its revision: whatever is on its way into the bucket conflicts,
//!    looks again, and makes the bucket live by the commit that makes itself visible;
//! 2. everything in the bucket is looked through. If there is something, the bucket is live again and the deletion refused;
//! 3. of the uploads in parts that are open in it, those are aborted that the last commit has no room for, as long as nobody has made it
//!    live again;
//! 4. the record goes, and with it the uploads that are left, if it is still the one of step 1; where names were purged and left their
//!    records, it says that it is gone until the collector has forgotten them.
//!
//! What it keeps true: a bucket is gone only if nothing was visible in it and no upload was open. A crash after step 1 harms nobody: the next
//! write makes the bucket live, the next deletion goes on. Uploads are aborted only in a bucket that holds nothing else.

use super::Objects;
use super::bucket::{contended, no_such_bucket, outcome_unknown};
use super::name::BucketName;
use super::refused::Refused;
use crate::metadata::records::{
    BucketRecord, BucketState, Garbage, GarbageRecord, ObjectRecord, ObjectState, Record, VersionId,
};
use crate::metadata::{Batch, Expect, keys};
use protocol::{Error, ErrorKind, Result};

/// How often a deletion is tried anew when others come first.
const DELETE_ATTEMPTS_MAX: u32 = 128;
/// Names looked through at once.
const NAMES_AT_ONCE: usize = 1_000;

/// What is in a bucket.
enum Content {
    Something,
    /// Nothing but names that were purged.
    PurgedNames,
    Nothing,
}

impl Objects {
    /// Deletes a bucket. `NoSuchBucket` or `BucketNotEmpty` if that cannot be; `Denied` for the buckets that doors are built on.
    pub async fn delete_bucket(&self, name: &BucketName) -> Result<()> {
        if name.is_built_in() {
            let message = format!("bucket '{}' belongs to a door of its own and stays", name.as_str());
            return Err(Error::denied(message));
        }
        let key = keys::bucket(name.as_str());
        let mut unsure = None;
        for attempt in 0..DELETE_ATTEMPTS_MAX {
            self.back_off(attempt).await;
            let seen = self.see_bucket(name).await?;
            let Some(record) = seen.record() else {
                return if unsure.is_some() { Ok(()) } else { Err(no_such_bucket(name)) };
            };
            // It takes effect once: a bucket that was made anew since is another one.
            if unsure.is_some_and(|sent| sent != seen.expect()) {
                return Err(outcome_unknown(name));
            }
            let mut commit = Batch::new();
            commit.check(key.clone(), seen.expect()).reclaim();
            if record.state != BucketState::Deleting {
                commit.put(key.clone(), BucketRecord { state: BucketState::Deleting, ..record.clone() }.encode());
                self.try_to_commit(commit).await?;
                continue;
            }
            match self.content_of(name).await? {
                Content::Something => return Err(self.keep_bucket(name, seen.expect(), record).await),
                Content::PurgedNames => self.leave_names(&mut commit, name, record),
                Content::Nothing => drop(commit.delete(key.clone())),
            }
            match self.abort_uploads(name, &mut commit).await {
                Err(error) if matches!(error.kind, ErrorKind::Conflict | ErrorKind::Unknown) => continue,
                aborted => aborted?,
            }
            match self.metadata.commit(commit).await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind == ErrorKind::Conflict => {}
                Err(error) if error.kind == ErrorKind::Unknown => unsure = Some(seen.expect()),
                Err(error) => return Err(error),
            }
        }
        Err(contended(name))
    }

    /// Commits what another look will show.
    async fn try_to_commit(&self, commit: Batch) -> Result<()> {
        match self.metadata.commit(commit).await {
            Err(error) if !matches!(error.kind, ErrorKind::Conflict | ErrorKind::Unknown) => Err(error),
            _ => Ok(()),
        }
    }

    async fn content_of(&self, name: &BucketName) -> Result<Content> {
        let mut range = keys::objects(name.as_str(), "");
        let mut content = Content::Nothing;
        loop {
            let entries = self.metadata.scan(&range.from, &range.to, NAMES_AT_ONCE).await?;
            let Some((last, _)) = entries.last() else { return Ok(content) };
            range.from = keys::after(last);
            for (_, entry) in &entries {
                if ObjectRecord::decode(&entry.value)?.state != ObjectState::Purged {
                    return Ok(Content::Something);
                }
                content = Content::PurgedNames;
            }
        }
    }

    /// The refusal; the bucket is put back as it was, and if that fails the next write does it.
    async fn keep_bucket(&self, name: &BucketName, expect: Expect, record: &BucketRecord) -> Error {
        let mut commit = Batch::new();
        let live = BucketRecord { state: BucketState::Live, ..record.clone() };
        commit.check(keys::bucket(name.as_str()), expect).put(keys::bucket(name.as_str()), live.encode());
        match self.try_to_commit(commit).await {
            Err(error) => error,
            Ok(()) => Refused::BucketNotEmpty.error(format!("bucket '{}' is not empty", name.as_str())),
        }
    }

    fn leave_names(&self, commit: &mut Batch, name: &BucketName, record: &BucketRecord) {
        let gone = BucketRecord { state: BucketState::Gone, ..record.clone() };
        let garbage = Garbage::Names { bucket: name.as_str().to_owned() };
        let garbage = GarbageRecord { garbage, since_ms: self.clock.now_ms().max(1) };
        commit.put(keys::bucket(name.as_str()), gone.encode());
        commit.put(keys::garbage(VersionId(self.clock.fresh_id())), garbage.encode());
    }
}
