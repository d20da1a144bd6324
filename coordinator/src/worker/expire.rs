//! Expire: uploads that show no life are given up. What they stored is named by their pages, and becomes garbage. Multipart uploads
//! show none and are kept until somebody aborts them; of those that were completed word is kept for a day.
//!
//! What it keeps true:
//! - The intent goes first, in the commit that makes its pages garbage: from then on every commit of the upload fails (faults 2.2), so
//!   one that slept does no harm when it wakes.
//! - No clock decides whether that is right, and none is compared with another: an intent expires when it was seen unchanged for the
//!   time of the watcher's own.

use super::{Backlog, Progress, Work, Worker};
use crate::metadata::records::{ChunkList, CompletedRecord, Garbage, GarbageRecord, Record, VersionId};
use crate::metadata::{Batch, Expect, SCAN_ENTRIES_MAX, keys};
use async_trait::async_trait;
use bytes::Bytes;
use protocol::Result;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use tracing::info;

/// Uploads watched at the same time; the others' turn comes when these have ended.
const WATCHED_MAX: usize = SCAN_ENTRIES_MAX;
/// How often the intents are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long it can be asked what became of a multipart upload that was completed: as long as S3's clients retry, and far longer. It is a
/// clock's time; with a wrong one a repeated completion hears too early that there is no such upload.
const COMPLETED_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Completed uploads looked at in one look.
const COMPLETED_MAX: usize = 64;

/// The worker.
pub struct Expire {
    after: Duration,
    seen: BTreeMap<VersionId, (u64, Instant)>,
    looked: Option<Instant>,
    /// Where the next look at completed uploads begins: they lie in the order in which they began, not in which they ended.
    completed_from: Bytes,
}

impl Expire {
    /// Gives up uploads that show no life for `after`.
    pub fn new(after: Duration) -> Expire {
        Expire { after, seen: BTreeMap::new(), looked: None, completed_from: Bytes::new() }
    }
}

#[async_trait]
impl Worker for Expire {
    fn name(&self) -> &'static str {
        "expire"
    }

    async fn step(&mut self, work: &Work) -> Result<Progress> {
        let now = Instant::now();
        if self.looked.is_some_and(|then| now.duration_since(then) < LOOK_EVERY) {
            return Ok(Progress::Idle);
        }
        self.looked = Some(now);
        let mut seen = BTreeMap::new();
        let mut expired = 0;
        for (key, entry) in work.scan(&keys::intents(), WATCHED_MAX).await? {
            let version = keys::parse_intent(&key)?;
            let since = match self.seen.get(&version) {
                Some((revision, since)) if *revision == entry.revision => *since,
                _ => now,
            };
            if now.duration_since(since) < self.after {
                seen.insert(version, (entry.revision, since));
            } else if give_up(work, version, entry.revision).await? {
                expired += 1;
            }
        }
        self.seen = seen;
        expired += self.forget_completed(work).await?;
        Ok(if expired > 0 { Progress::Did { items: expired, bytes: 0 } } else { Progress::Idle })
    }

    async fn backlog(&self, _work: &Work) -> Result<Backlog> {
        Ok(Backlog { items: Some(self.seen.len() as u64), bytes: None })
    }
}

impl Expire {
    /// Forgets some uploads that were completed long ago; how many.
    async fn forget_completed(&mut self, work: &Work) -> Result<u64> {
        let mut range = keys::all_completed();
        range.from = std::mem::take(&mut self.completed_from).max(range.from);
        let found = work.scan(&range, COMPLETED_MAX).await?;
        if let (Some((last, _)), COMPLETED_MAX) = (found.last(), found.len()) {
            self.completed_from = keys::after(last);
        }
        let now_ms = work.objects.clock.now_ms();
        let mut commit = Batch::new();
        for (key, entry) in found {
            let kept_ms = now_ms.saturating_sub(CompletedRecord::decode(&entry.value)?.at_ms);
            if u128::from(kept_ms) >= COMPLETED_KEPT.as_millis() {
                commit.delete(key);
            }
        }
        let forgotten = commit.deletes.len() as u64;
        if forgotten > 0 {
            commit.reclaim();
            work.commit(commit).await?;
        }
        Ok(forgotten)
    }
}

/// Gives up the upload of `version`, if its intent is still the one with this revision.
pub async fn give_up(work: &Work, version: VersionId, revision: u64) -> Result<bool> {
    let garbage = GarbageRecord { garbage: Garbage::Manifest { chunks: ChunkList::Paged { pages: 0 } }, since_ms: 0 };
    let mut commit = Batch::new();
    commit.check(keys::intent(version), Expect::Revision(revision)).delete(keys::intent(version));
    commit.put(keys::garbage(version), garbage.encode()).reclaim();
    let given_up = work.commit(commit).await?;
    if given_up {
        info!(target: "degradation", version = %version, "an upload that showed no life was given up");
    }
    Ok(given_up)
}
