//! Verify: reads every copy of every chunk of what it was asked to, each from its own node, and holds it against the chunk's
//! digest. What is found missing or damaged is queued for repair; all that is found is reported.
//!
//! What it keeps true:
//! - Every copy is read on its own: a good one never answers for a bad one. A chunk that several versions share is read again
//!   for each, unless it was found good among the last [`SEEN_MAX`].
//! - Position, counts and findings are records and change in one commit, so that a process that takes over neither forgets nor
//!   repeats a finding (law 8).
//! - Nothing that is not known is called damage: a node that does not answer makes its copies unreachable, nothing else.

mod copies;
pub mod job;

use super::{Progress, Work, Worker, pace};
use crate::metadata::records::{
    ChunkEntry, FindingKind, FindingRecord, ObjectRecord, ObjectState, Record, RepairRecord, VerifyRecord,
    VersionRecord, VersionState,
};
use crate::metadata::{Batch, Entry, Expect, keys};
use crate::worker::board::Tuning;
use async_trait::async_trait;
use bytes::Bytes;
use copies::{Examined, Wrong};
use protocol::{ChunkId, ErrorKind, Result};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{info, warn};
use uuid::Uuid;

/// The worker's name.
pub const VERIFY: &str = "verify";
/// Versions looked at in one step, where they have few bytes.
const VERSIONS_PER_STEP: usize = 64;
/// Bytes read by one step, once reached.
const STEP_BYTES: u64 = 8 << 20;
/// Findings of one step, once reached: with their repairs they stay below etcd's 128 operations.
const FINDINGS_PER_STEP: usize = 24;
/// Findings of one verification that are kept, the first ones: what is found after them is counted, like them.
pub const FINDINGS_MAX: u64 = 10_000;
/// The position is saved at least this often.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Chunks remembered as good; 16 bytes each.
const SEEN_MAX: usize = 64 << 10;

/// The worker.
#[derive(Default)]
pub struct Verify {
    job: Option<Job>,
}

/// The verification under way, with what was not saved yet.
struct Job {
    id: Uuid,
    entry: Entry,
    record: VerifyRecord,
    saved: Instant,
    findings: Vec<FindingRecord>,
    repairs: BTreeMap<Bytes, RepairRecord>,
    /// Chunks found good lately; only an accelerator.
    seen: HashSet<ChunkId>,
    /// Its own rate allows the next step only then.
    not_before: Instant,
}

#[async_trait]
impl Worker for Verify {
    fn name(&self) -> &'static str {
        VERIFY
    }

    /// It only reads; what it finds, repair looks at again.
    fn needs_all_nodes(&self) -> bool {
        false
    }

    async fn step(&mut self, work: &Work) -> Result<Progress> {
        let job = match self.job.take() {
            Some(job) => Some(job),
            None => next_job(work).await?,
        };
        let Some(mut job) = job else { return Ok(Progress::Idle) };
        if Instant::now() < job.not_before {
            self.job = Some(job);
            return Ok(Progress::Waits("it keeps to the rate that was asked for".to_owned()));
        }
        let began = Instant::now();
        let before = job.record.counts;
        let ended = job.advance(work).await?;
        if ended {
            job.record.finished_ms = work.objects.clock.now_ms().max(1);
        }
        let must_save = ended || !job.findings.is_empty() || job.saved.elapsed() >= SAVE_EVERY;
        if must_save && !job.save(work).await? {
            // Another process got ahead, or the job was taken away: what it says is looked up anew.
            return Ok(Progress::Idle);
        }
        let bytes = job.record.counts.bytes - before.bytes;
        let items = job.record.counts.copies - before.copies;
        if ended {
            job.tell_end();
        } else {
            let own = Tuning { paused: false, bytes_per_s: job.record.bytes_per_s, tranquility: 0 };
            job.not_before = Instant::now() + pace::rest(&own, bytes, began.elapsed(), false);
            self.job = Some(job);
        }
        Ok(Progress::Did { items, bytes })
    }
}

/// The oldest verification that has not ended.
async fn next_job(work: &Work) -> Result<Option<Job>> {
    for (key, entry) in work.scan(&keys::verifies(), job::JOBS_MAX).await? {
        let record = VerifyRecord::decode(&entry.value)?;
        if record.finished_ms == 0 {
            let (id, now) = (keys::parse_verify(&key)?, Instant::now());
            info!(target: "degradation", %id, "verification goes on");
            return Ok(Some(Job {
                id,
                entry,
                record,
                saved: now,
                findings: Vec::new(),
                repairs: BTreeMap::new(),
                seen: HashSet::new(),
                not_before: now,
            }));
        }
    }
    Ok(None)
}

impl Job {
    /// Verifies some more; true at the end of everything that was asked for.
    async fn advance(&mut self, work: &Work) -> Result<bool> {
        let range = match &self.record.bucket {
            Some(bucket) => keys::versions_in(bucket, &self.record.prefix),
            None => keys::every_version(),
        };
        let from = range.from.max(Bytes::from(self.record.position.clone()));
        let goal = self.record.counts.bytes + STEP_BYTES;
        let versions = work.objects.metadata.scan(&from, &range.to, VERSIONS_PER_STEP).await?;
        let last_page = versions.len() < VERSIONS_PER_STEP;
        for (key, entry) in versions {
            if key != self.record.position {
                (self.record.position, self.record.offset) = (key.to_vec(), 0);
            }
            let version = VersionRecord::decode(&entry.value)?;
            if !self.version(work, &key, &version, goal).await? {
                return Ok(false);
            }
            (self.record.position, self.record.offset) = (keys::after(&key).to_vec(), 0);
        }
        Ok(last_page)
    }

    /// Verifies a version from where it was left; false if the step's share is used up before its end.
    async fn version(&mut self, work: &Work, key: &Bytes, version: &VersionRecord, goal: u64) -> Result<bool> {
        if version.state == VersionState::Marker || !is_visible(work, key).await? {
            return Ok(true);
        }
        if self.has_done_its_share(goal) {
            return Ok(false);
        }
        if self.record.offset == 0 {
            self.count_version(key)?;
        }
        loop {
            let run = match work.objects.chunks_from(key, version, self.record.offset).await {
                Ok(Some(run)) => run,
                Ok(None) => return Ok(true),
                Err(error) if error.kind == ErrorKind::Corrupt => {
                    self.note_broken_manifest(work, key, error.message).await?;
                    return Ok(true);
                }
                Err(error) => return Err(error),
            };
            for (offset, entry) in run.with_starts() {
                if self.has_done_its_share(goal) {
                    return Ok(false);
                }
                self.chunk(work, key, offset, entry).await?;
                self.record.offset = entry.end;
            }
        }
    }

    fn has_done_its_share(&self, goal: u64) -> bool {
        self.record.counts.bytes >= goal || self.findings.len() >= FINDINGS_PER_STEP
    }

    /// A page that went with its version is no damage.
    async fn note_broken_manifest(&mut self, work: &Work, key: &Bytes, detail: String) -> Result<()> {
        if !is_visible(work, key).await? {
            return Ok(());
        }
        self.record.counts.unreadable += 1;
        let offset = self.record.offset;
        let wrong = Wrong { kind: FindingKind::NoManifest, node: None, detail };
        self.findings.push(finding(key, None, offset, wrong, false)?);
        Ok(())
    }

    fn count_version(&mut self, key: &Bytes) -> Result<()> {
        let (bucket, object, _) = keys::parse_version(key)?;
        let object = keys::object(bucket, object);
        self.record.counts.versions += 1;
        if object != self.record.object {
            self.record.counts.objects += 1;
            self.record.object = object.to_vec();
        }
        Ok(())
    }

    async fn chunk(&mut self, work: &Work, key: &Bytes, offset: u64, entry: &ChunkEntry) -> Result<()> {
        self.record.counts.chunks += 1;
        if self.seen.contains(&entry.chunk) {
            self.record.counts.chunks_seen_before += 1;
            return Ok(());
        }
        let examined = copies::examine(work, entry.chunk).await?;
        // What went while it was read is no finding.
        if !examined.is_whole() && !is_visible(work, key).await? {
            return Ok(());
        }
        self.note(work, key, offset, entry, examined)
    }

    fn note(&mut self, work: &Work, key: &Bytes, offset: u64, entry: &ChunkEntry, examined: Examined) -> Result<()> {
        let counts = &mut self.record.counts;
        counts.copies += examined.copies;
        counts.bytes += examined.bytes;
        if examined.is_whole() {
            if self.seen.len() >= SEEN_MAX {
                self.seen.clear();
            }
            self.seen.insert(entry.chunk);
            return Ok(());
        }
        let repair = examined.repair(entry.chunk, work.objects.clock.now_ms());
        counts.below_redundancy += u64::from(examined.is_below_redundancy());
        counts.unreadable += u64::from(examined.good == 0);
        for wrong in examined.wrong {
            wrong.count_in(counts);
            let queued = repair.is_some() && wrong.is_mendable();
            self.findings.push(finding(key, Some(entry.chunk), offset, wrong, queued)?);
        }
        if let Some((severity, repair)) = repair {
            self.repairs.insert(keys::repair(severity, entry.chunk), repair);
        }
        Ok(())
    }

    /// Saves position and counts with the findings and repairs that belong to them. False if the job's record is another one now.
    async fn save(&mut self, work: &Work) -> Result<bool> {
        let key = keys::verify(self.id);
        let mut commit = Batch::new();
        for finding in std::mem::take(&mut self.findings) {
            if finding.kind != FindingKind::Unreachable {
                warn!(
                    target: "degradation", kind = ?finding.kind, chunk = finding.chunk.map(display),
                    node = finding.node.as_ref().map(display), detail = finding.detail, "verification found damage"
                );
            }
            if self.record.findings < FINDINGS_MAX {
                commit.put(keys::finding(self.id, self.record.findings), finding.encode());
            }
            self.record.findings += 1;
        }
        for (key, repair) in std::mem::take(&mut self.repairs) {
            commit.put(key, repair.encode());
        }
        commit.check(key.clone(), Expect::Revision(self.entry.revision));
        commit.put(key.clone(), self.record.encode());
        if !work.commit(commit).await? {
            return Ok(false);
        }
        self.saved = Instant::now();
        match work.objects.metadata.get(&key).await? {
            Some(entry) => self.entry = entry,
            None => return Ok(false),
        }
        Ok(true)
    }

    fn tell_end(&self) {
        let counts = self.record.counts;
        info!(
            target: "degradation", id = %self.id, versions = counts.versions, copies = counts.copies,
            findings = self.record.findings, "verification ended"
        );
    }
}

fn finding(
    key: &Bytes,
    chunk: Option<ChunkId>,
    offset: u64,
    wrong: Wrong,
    repair_queued: bool,
) -> Result<FindingRecord> {
    let (bucket, object, version) = keys::parse_version(key)?;
    let Wrong { kind, node, detail } = wrong;
    let (bucket, key) = (bucket.to_owned(), object.to_owned());
    Ok(FindingRecord { kind, bucket, key, version, chunk, offset, node, detail, repair_queued })
}

/// Whether a reader could still see the version with this key.
async fn is_visible(work: &Work, key: &Bytes) -> Result<bool> {
    let (bucket, object, number) = keys::parse_version(key)?;
    let Some(entry) = work.objects.metadata.get(&keys::object(bucket, object)).await? else { return Ok(false) };
    let object = ObjectRecord::decode(&entry.value)?;
    let hidden = object.state == ObjectState::Purged || number <= object.purged_through;
    Ok(!hidden && work.objects.metadata.get(key).await?.is_some())
}
