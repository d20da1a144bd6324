//! Usage: counts what buckets with a quota hold, again and again.
//!
//! What it keeps true: a count is one walk over the versions of a bucket; its record says when it began, and what was published since is
//! counted by whoever published it (`object/usage.rs`). A count that ends early leaves the last one in force. Versions that were purged
//! take no room, although their records stay for the length of the trash window.

use super::{Progress, Work, Worker};
use crate::metadata::records::{Record, UsageRecord, VersionRecord, VersionState};
use crate::metadata::{Batch, SCAN_ENTRIES_MAX, keys};
use crate::object::BucketName;
use async_trait::async_trait;
use bytes::Bytes;
use protocol::Result;
use std::time::Duration;
use tokio::time::Instant;

/// Time between two rounds through all buckets.
pub const ROUND_EVERY: Duration = Duration::from_secs(60);
/// A bucket that refused is counted this long after the last look at least.
const PRESSED_EVERY: Duration = Duration::from_secs(1);
/// Versions counted in a step.
const STEP_VERSIONS_MAX: usize = 1_000;
/// Buckets looked at in a step.
const STEP_BUCKETS_MAX: usize = 256;

/// The worker.
#[derive(Default)]
pub struct CountUsage {
    count: Option<Count>,
    /// The last bucket that this round looked at; `None` outside a round.
    passed: Option<Option<BucketName>>,
    round_ended: Option<Instant>,
    looked: Option<Instant>,
    /// The last bucket that was counted before its turn: then comes one of the round, and of those that wait another one.
    pressed: Option<BucketName>,
    is_round_s_turn: bool,
}

/// A count under way.
struct Count {
    bucket: BucketName,
    from: Bytes,
    to: Bytes,
    /// The name whose versions are being counted, and the number through which they are purged.
    name: Option<(String, u64)>,
    so_far: UsageRecord,
}

#[async_trait]
impl Worker for CountUsage {
    fn name(&self) -> &'static str {
        "usage"
    }

    /// It neither repairs nor deletes.
    fn needs_all_nodes(&self) -> bool {
        false
    }

    async fn step(&mut self, work: &Work) -> Result<Progress> {
        if let Some(count) = self.count.take() {
            return self.go_on(work, count).await;
        }
        let now = Instant::now();
        let looks = self.looked.is_none_or(|then| now.duration_since(then) >= PRESSED_EVERY);
        if looks && !std::mem::take(&mut self.is_round_s_turn) {
            self.looked = Some(now);
            if let Some(bucket) = work.objects.usage.next_pressed(self.pressed.as_ref()) {
                (self.pressed, self.is_round_s_turn) = (Some(bucket.clone()), true);
                self.count = Some(begin(work, bucket));
                return Ok(Progress::Did { items: 0, bytes: 0 });
            }
        }
        let is_due = self.round_ended.is_none_or(|then| now.duration_since(then) >= ROUND_EVERY);
        match self.passed.take() {
            None if !is_due => Ok(Progress::Idle),
            None => {
                forget_unwanted(work).await?;
                self.look(work, None).await
            }
            passed => self.look(work, passed.flatten()).await,
        }
    }
}

impl CountUsage {
    /// Looks for the next bucket with a quota.
    async fn look(&mut self, work: &Work, passed: Option<BucketName>) -> Result<Progress> {
        let page = work.objects.buckets("", passed.as_ref(), STEP_BUCKETS_MAX).await?;
        let last = page.buckets.last().map(|(name, _)| name.clone());
        for (name, record) in page.buckets {
            if record.quota.is_some() {
                self.passed = Some(Some(name.clone()));
                self.count = Some(begin(work, name));
                return Ok(Progress::Did { items: 0, bytes: 0 });
            }
        }
        if page.more {
            self.passed = Some(last);
        } else {
            self.round_ended = Some(Instant::now());
        }
        Ok(Progress::Did { items: 0, bytes: 0 })
    }

    async fn go_on(&mut self, work: &Work, mut count: Count) -> Result<Progress> {
        let entries = work.objects.metadata.scan(&count.from, &count.to, STEP_VERSIONS_MAX).await?;
        for (key, entry) in &entries {
            let version = VersionRecord::decode(&entry.value)?;
            if version.state == VersionState::Live && !count.is_purged(work, key).await? {
                count.so_far.bytes = count.so_far.bytes.saturating_add(version.size);
                count.so_far.objects += 1;
            }
        }
        if entries.len() == STEP_VERSIONS_MAX
            && let Some((last, _)) = entries.last()
        {
            count.from = keys::after(last);
            self.count = Some(count);
            return Ok(Progress::Did { items: entries.len() as u64, bytes: 0 });
        }
        end(work, count).await?;
        Ok(Progress::Did { items: entries.len() as u64, bytes: 0 })
    }
}

impl Count {
    /// Whether the version with this key was purged.
    async fn is_purged(&mut self, work: &Work, key: &[u8]) -> Result<bool> {
        let (bucket, name, number) = keys::parse_version(key)?;
        if let Some((known, through)) = &self.name
            && known == name
        {
            return Ok(number <= *through);
        }
        let through = work.purged_through(bucket, name).await?;
        self.name = Some((name.to_owned(), through));
        Ok(number <= through)
    }
}

/// Removes the counts of buckets that have no quota any more, or are gone.
async fn forget_unwanted(work: &Work) -> Result<()> {
    for (key, _) in work.scan(&keys::usages(), SCAN_ENTRIES_MAX).await? {
        let bucket = BucketName::parse(keys::parse_usage(&key)?)?;
        if !has_quota(work, &bucket).await? {
            let mut commit = Batch::new();
            commit.delete(key);
            work.commit(commit).await?;
        }
    }
    Ok(())
}

async fn has_quota(work: &Work, bucket: &BucketName) -> Result<bool> {
    Ok(work.objects.bucket(bucket).await?.is_some_and(|record| record.quota.is_some()))
}

fn begin(work: &Work, bucket: BucketName) -> Count {
    let range = keys::versions_in(bucket.as_str(), "");
    let so_far = UsageRecord { began_ms: work.objects.clock.now_ms(), ..UsageRecord::default() };
    Count { bucket, from: range.from, to: range.to, name: None, so_far }
}

async fn end(work: &Work, count: Count) -> Result<()> {
    let mut commit = Batch::new();
    let key = keys::usage(count.bucket.as_str());
    match has_quota(work, &count.bucket).await? {
        true => {
            let usage = UsageRecord { ended_ms: work.objects.clock.now_ms(), ..count.so_far };
            commit.put(key, usage.encode());
        }
        // Deleted, or set free, while it was counted.
        false => {
            commit.delete(key);
        }
    }
    if work.commit(commit).await? {
        work.objects.usage.counted(&count.bucket, count.so_far.began_ms);
    }
    Ok(())
}
