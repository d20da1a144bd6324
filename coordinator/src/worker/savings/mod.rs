//! Savings: goes through what buckets hold, once an hour, and counts what it would take plainly, what deduplication, compression and
//! coding save of that, and what it takes on nodes (`docs/decisions/0093-a-chunk-counts-for-its-oldest-version.md`).
//!
//! What it keeps true:
//! - A chunk counts for one version: the oldest that needs it, by its references. So the figures of buckets add up to those of the cluster.
//! - The figures of a bucket, and those of all, are put on record when they are whole. Until then the last ones stand.
//! - How far a pass has come and what it counted are one record, so that the next process goes on there (law 8).
//! - A step takes bounded memory and a bounded number of reads, however large a version is (law 10).
//!
//! What is approximate: a pass takes its time, and what is written or deleted meanwhile may count or not. A chunk that comes again in one
//! version after more than [`SEEN_MAX`] others, or after another process went on with that version, counts there twice. A chunk whose
//! oldest version was purged, or is part of an upload that is still open, counts for nobody until that version is collected or visible.

mod account;
mod share;

pub use account::{SAVINGS_LIMIT_MAX, SavingsPage, list, of_all, of_bucket};

use super::{Pass, Progress, Work, Worker};
use crate::metadata::records::{Record, SavingsRecord, VersionRecord, VersionState};
use crate::metadata::{Batch, keys};
use crate::object::BucketName;
use account::Place;
use async_trait::async_trait;
use bytes::Bytes;
use protocol::{ErrorKind, Result};
use share::Shares;
use std::time::Duration;
use tokio::time::Instant;

/// The worker's name.
pub const SAVINGS: &str = "savings";
/// From one pass to the next.
pub const SAVINGS_EVERY: Duration = Duration::from_secs(60 * 60);
/// Versions looked at in one step.
const VERSIONS_PER_STEP: usize = 32;
/// Chunks looked at in one step; each costs two reads or three.
const CHUNKS_PER_STEP: usize = 256;
/// Figures of buckets that are gone, forgotten in one step.
const FORGOTTEN_PER_STEP: usize = 64;
/// The position is saved at least this often.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// Chunks of one version that are remembered; 16 bytes each.
pub const SEEN_MAX: usize = 64 << 10;

/// The worker.
pub struct Savings {
    interval: Duration,
    walk: Option<Walk>,
}

/// The pass under way, with what was not saved yet.
struct Walk {
    pass: Pass,
    saved: Instant,
    stretch: Option<Stretch>,
    shares: Shares,
    /// The name whose versions are being counted, and the number through which they are purged.
    name: Option<(String, u64)>,
}

/// A bucket that is being gone through.
struct Stretch {
    bucket: BucketName,
    /// The version that comes next, or a key before it,
    from: Bytes,
    /// and the offset in it.
    offset: u64,
    so_far: SavingsRecord,
}

impl Savings {
    /// Begins a pass `interval` after the last one ended.
    pub fn new(interval: Duration) -> Savings {
        Savings { interval, walk: None }
    }
}

#[async_trait]
impl Worker for Savings {
    fn name(&self) -> &'static str {
        SAVINGS
    }

    /// It only reads.
    fn needs_all_nodes(&self) -> bool {
        false
    }

    async fn step(&mut self, work: &Work) -> Result<Progress> {
        let mut walk = match self.walk.take() {
            Some(walk) => walk,
            None => Walk::read(work).await?,
        };
        if !walk.pass.is_under_way() {
            if walk.pass.is_due(work, self.interval).await? {
                walk.pass.begin(work).await?;
            }
            return Ok(Progress::Idle);
        }
        let step = match walk.stretch.take() {
            Some(stretch) => walk.go_on(work, stretch).await?,
            None => walk.move_on(work).await?,
        };
        match step {
            // What another process made of it is read anew.
            Step::Ended => Ok(Progress::Idle),
            Step::Did(items) => {
                self.walk = Some(walk);
                Ok(Progress::Did { items, bytes: 0 })
            }
        }
    }
}

/// What became of a step.
enum Step {
    /// This much was looked at.
    Did(u64),
    /// The pass has ended, or is another process's.
    Ended,
}

impl Walk {
    async fn read(work: &Work) -> Result<Walk> {
        let pass = Pass::read(work, SAVINGS).await?;
        let stretch = match Place::parse(&pass.record.position)? {
            Place::Within { bucket, from, offset } => {
                Some(Stretch { bucket, from, offset, so_far: account::noted(&pass, account::BUCKET) })
            }
            Place::Behind(_) => None,
        };
        Ok(Walk { pass, saved: Instant::now(), stretch, shares: Shares::default(), name: None })
    }

    /// Comes to the next bucket. What is on record of names between the last one and this one is forgotten: those buckets are gone.
    async fn move_on(&mut self, work: &Work) -> Result<Step> {
        let Place::Behind(passed) = Place::parse(&self.pass.record.position)? else { return Ok(Step::Ended) };
        let next = work.objects.buckets("", passed.as_ref(), 1).await?.buckets.pop().map(|(name, _)| name);
        let mut between = keys::savings_after(passed.as_ref().map_or("", BucketName::as_str));
        if let Some(next) = &next {
            between.to = keys::savings(next.as_str());
        }
        let gone = work.scan(&between, FORGOTTEN_PER_STEP).await?;
        if !gone.is_empty() {
            let mut commit = Batch::new();
            for (key, _) in gone {
                commit.delete(key);
            }
            work.commit(commit).await?;
            return Ok(Step::Did(0));
        }
        let Some(bucket) = next else {
            let all = account::noted(&self.pass, account::ALL);
            let mut commit = Batch::new();
            commit.put(keys::savings_of_all(), self.dated(work, all).encode());
            self.pass.finish_with(work, commit).await?;
            return Ok(Step::Ended);
        };
        let from = keys::versions_in(bucket.as_str(), "").from;
        self.stretch = Some(Stretch { bucket, from, offset: 0, so_far: SavingsRecord::default() });
        Ok(Step::Did(0))
    }

    async fn go_on(&mut self, work: &Work, mut stretch: Stretch) -> Result<Step> {
        let mut left = CHUNKS_PER_STEP;
        let to = keys::versions_in(stretch.bucket.as_str(), "").to;
        let versions = work.objects.metadata.scan(&stretch.from, &to, VERSIONS_PER_STEP).await?;
        let mut is_done = versions.len() < VERSIONS_PER_STEP;
        for (key, entry) in versions {
            if stretch.from != key {
                (stretch.from, stretch.offset) = (key.clone(), 0);
            }
            let version = VersionRecord::decode(&entry.value)?;
            if !self.count(work, &mut stretch, &version, &mut left).await? {
                is_done = false;
                break;
            }
            (stretch.from, stretch.offset) = (keys::after(&key), 0);
        }
        let looked_at = (CHUNKS_PER_STEP - left) as u64;
        let saved = match is_done {
            true => self.end(work, &stretch).await?,
            false if self.saved.elapsed() >= SAVE_EVERY => self.note(work, &stretch).await?,
            false => {
                self.stretch = Some(stretch);
                return Ok(Step::Did(looked_at));
            }
        };
        self.saved = Instant::now();
        self.stretch = (!is_done).then_some(stretch);
        Ok(if saved { Step::Did(looked_at) } else { Step::Ended })
    }

    /// Counts a version from where it was left; false if the step's share is used up before its end.
    async fn count(
        &mut self,
        work: &Work,
        stretch: &mut Stretch,
        version: &VersionRecord,
        left: &mut usize,
    ) -> Result<bool> {
        if version.state == VersionState::Marker || self.is_purged(work, &stretch.from).await? {
            return Ok(true);
        }
        if *left == 0 {
            return Ok(false);
        }
        stretch.so_far.versions += u64::from(stretch.offset == 0);
        loop {
            let run = match work.objects.chunks_from(&stretch.from, version, stretch.offset).await {
                Ok(Some(run)) => run,
                Ok(None) => return Ok(true),
                // It went while it was looked at; or it is damaged, which is for a verification to tell.
                Err(error) if error.kind == ErrorKind::Corrupt => return Ok(true),
                Err(error) => return Err(error),
            };
            for (start, entry) in run.with_starts() {
                if *left == 0 {
                    return Ok(false);
                }
                stretch.so_far.logical_bytes += entry.end - start;
                if let Some(chunk) = self.shares.counts_for(work, run.owner, entry.chunk).await? {
                    account::add_chunk(&mut stretch.so_far, &chunk, work.objects.profiles.replication);
                }
                stretch.offset = entry.end;
                *left -= 1;
            }
        }
    }

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

    /// Notes how far this has come.
    async fn note(&mut self, work: &Work, stretch: &Stretch) -> Result<bool> {
        account::note(&mut self.pass, account::BUCKET, &stretch.so_far);
        let Stretch { bucket, from, offset, .. } = stretch;
        let place = Place::Within { bucket: bucket.clone(), from: from.clone(), offset: *offset };
        self.pass.record.position = place.to_bytes();
        self.pass.save(work).await
    }

    /// Puts the figures of a bucket on record, if it is there still.
    async fn end(&mut self, work: &Work, stretch: &Stretch) -> Result<bool> {
        self.name = None;
        let mut commit = Batch::new();
        if work.objects.bucket(&stretch.bucket).await?.is_some() {
            commit.put(keys::savings(stretch.bucket.as_str()), self.dated(work, stretch.so_far).encode());
        }
        let all = account::sum(account::noted(&self.pass, account::ALL), stretch.so_far);
        account::note(&mut self.pass, account::ALL, &all);
        account::note(&mut self.pass, account::BUCKET, &SavingsRecord::default());
        self.pass.record.position = Place::Behind(Some(stretch.bucket.clone())).to_bytes();
        self.pass.save_with(work, commit).await
    }

    fn dated(&self, work: &Work, figures: SavingsRecord) -> SavingsRecord {
        SavingsRecord { began_ms: self.pass.record.started_ms, ended_ms: work.objects.clock.now_ms(), ..figures }
    }
}
