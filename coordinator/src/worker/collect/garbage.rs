//! Takes versions apart that nobody can see any more: references and pages go, and each chunk that lost a reference is put up for
//! collection by the same commit.
//!
//! Steps for one version; each is one commit, may be repeated, and may be the last:
//! 1. its record becomes garbage of its own, a manifest without a name (a version that was purged with others);
//! 2. its references go, [`REFERENCES_MAX`] at a time, a page's with the page;
//! 3. the garbage record goes.
//!
//! What is being read in this process stays as it is until its readers are gone.

use super::{names, parts};
use crate::metadata::keys::KeyRange;
use crate::metadata::records::{
    ChunkEntry, ChunkList, CollectRecord, Garbage, GarbageRecord, ObjectRecord, PageRecord, Record, VersionId,
    VersionRecord,
};
use crate::metadata::{Batch, Entry, Expect, SCAN_ENTRIES_MAX, keys};
use crate::worker::Work;
use bytes::Bytes;
use protocol::{ChunkId, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// Garbage records looked at in one step.
const GARBAGE_MAX: usize = 64;
/// References of one commit: with the chunks put up for collection it stays below etcd's 128 operations.
const REFERENCES_MAX: usize = 40;
/// Pages of one version taken apart in one step.
const PAGES_MAX: usize = 8;
/// Versions of one purge taken apart in one step.
const VERSIONS_MAX: usize = 64;

/// Windows of garbage looked at in one step while none of it is due.
const WINDOWS_MAX: usize = 8;

/// Garbage of a time to come that is watched at once.
const AHEAD_MAX: usize = SCAN_ENTRIES_MAX;

/// Where the next step looks. What is kept for its trash window must not hold up what is behind it and due.
#[derive(Default)]
pub(super) struct Place {
    from: Bytes,
    /// Garbage that was made when a clock was ahead, and since when it is seen here: its window counts from then on.
    ahead: BTreeMap<Bytes, Instant>,
    /// What of it was met since all garbage was begun with the last time.
    met: BTreeSet<Bytes>,
}

impl Place {
    /// Whether the trash window of garbage made at `since_ms` is over.
    fn is_over(&mut self, window: Duration, key: &Bytes, since_ms: u64, now_ms: u64) -> bool {
        if let Some(age_ms) = now_ms.checked_sub(since_ms) {
            return u128::from(age_ms) >= window.as_millis();
        }
        if self.ahead.len() >= AHEAD_MAX && !self.ahead.contains_key(key) {
            return false;
        }
        self.met.insert(key.clone());
        self.ahead.entry(key.clone()).or_insert_with(Instant::now).elapsed() >= window
    }

    /// All garbage was looked at: what was not met is gone, or not ahead any more.
    fn end_round(&mut self) {
        let met = std::mem::take(&mut self.met);
        self.ahead.retain(|key, _| met.contains(key));
    }
}

/// Takes some garbage apart; how many records it changed. Only what is older than `window`.
pub(super) async fn take_some_apart(work: &Work, window: Duration, place: &mut Place) -> Result<u64> {
    let all = keys::garbages();
    for _ in 0..WINDOWS_MAX {
        let range = KeyRange { from: std::mem::take(&mut place.from).max(all.from.clone()), to: all.to.clone() };
        let found = work.scan(&range, GARBAGE_MAX).await?;
        if let (Some((last, _)), GARBAGE_MAX) = (found.last(), found.len()) {
            place.from = keys::after(last);
        }
        let done = take_those_due(work, window, place, found).await?;
        if place.from.is_empty() {
            place.end_round();
        }
        if done > 0 || place.from.is_empty() {
            return Ok(done);
        }
    }
    Ok(0)
}

async fn take_those_due(work: &Work, window: Duration, place: &mut Place, found: Vec<(Bytes, Entry)>) -> Result<u64> {
    let now_ms = work.objects.clock.now_ms();
    let mut done = 0;
    for (key, entry) in found {
        let record = GarbageRecord::decode(&entry.value)?;
        if record.since_ms > 0 && !place.is_over(window, &key, record.since_ms, now_ms) {
            continue;
        }
        done += match record.garbage {
            Garbage::Versions { bucket, key: name, after, through } => {
                take_versions(work, &key, &entry, &Name { bucket, key: name }, after..through).await?
            }
            Garbage::Manifest { chunks } => take_manifest(work, &key, &entry, chunks).await?,
            Garbage::Upload { version } => parts::take_upload(work, &key, &entry, version).await?,
            Garbage::Names { bucket } => names::forget_some(work, &key, &entry, &bucket).await?,
        };
    }
    Ok(done)
}

struct Name {
    bucket: String,
    key: String,
}

/// Numbers after `numbers.start` and through `numbers.end`.
async fn take_versions(
    work: &Work,
    key: &Bytes,
    entry: &Entry,
    name: &Name,
    numbers: std::ops::Range<u64>,
) -> Result<u64> {
    let (purged_through, expect) = purged_through(work, name).await?;
    let from = keys::version(&name.bucket, &name.key, numbers.start.saturating_add(1));
    let to = keys::after(&keys::version(&name.bucket, &name.key, numbers.end.min(purged_through)));
    let versions = work.objects.metadata.scan(&from, &to, VERSIONS_MAX).await?;
    if versions.is_empty() {
        let mut commit = Batch::new();
        commit.check(key.clone(), Expect::Revision(entry.revision)).delete(key.clone()).reclaim();
        work.commit(commit).await?;
        return Ok(1);
    }
    let mut done = 0;
    for (version_key, version) in versions {
        let record = VersionRecord::decode(&version.value)?;
        if work.objects.clients.read(record.manifest) {
            continue;
        }
        let manifest = GarbageRecord { garbage: Garbage::Manifest { chunks: record.chunks }, since_ms: 0 };
        let mut commit = Batch::new();
        commit.check(keys::object(&name.bucket, &name.key), expect);
        commit.check(version_key.clone(), Expect::Revision(version.revision)).delete(version_key);
        commit.put(keys::garbage(record.manifest), manifest.encode()).reclaim();
        done += u64::from(work.commit(commit).await?);
    }
    Ok(done)
}

/// Up to which number the versions of a name are purged, and what a commit checks for that to hold. Where a name was forgotten numbers
/// start anew, and what has a number again is not what was purged under it.
async fn purged_through(work: &Work, name: &Name) -> Result<(u64, Expect)> {
    let entry = work.objects.metadata.get(&keys::object(&name.bucket, &name.key)).await?;
    let through = match &entry {
        Some(entry) => ObjectRecord::decode(&entry.value)?.purged_through,
        None => 0,
    };
    Ok((through, Expect::unchanged(entry.as_ref())))
}

async fn take_manifest(work: &Work, key: &Bytes, entry: &Entry, chunks: ChunkList) -> Result<u64> {
    let version = keys::parse_garbage(key)?;
    if work.objects.clients.read(version) {
        return Ok(0);
    }
    match &chunks {
        ChunkList::Inline(_) | ChunkList::Document { .. } => {
            let entries = chunks.named_here().unwrap_or_default();
            for some in entries.chunks(REFERENCES_MAX) {
                drop_references(work, version, some, Batch::new()).await?;
            }
        }
        ChunkList::Paged { .. } => {
            let pages = work.scan(&keys::pages_from(version, 0), PAGES_MAX).await?;
            if !pages.is_empty() {
                return take_pages(work, version, pages).await;
            }
            // Of a version that never came to be: the parts on its list are not its own.
            if let Some(dropped) = parts::drop_list(work, version).await? {
                return Ok(dropped);
            }
        }
        ChunkList::Parts => {
            if let Some(taken) = parts::take_list(work, version).await? {
                return Ok(taken);
            }
        }
    }
    let mut commit = Batch::new();
    commit.check(key.clone(), Expect::Revision(entry.revision)).delete(key.clone()).reclaim();
    work.commit(commit).await?;
    Ok(1)
}

async fn take_pages(work: &Work, version: VersionId, pages: Vec<(Bytes, Entry)>) -> Result<u64> {
    let mut done = 0;
    for (key, entry) in pages {
        let page = PageRecord::decode(&entry.value)?;
        let mut parts = page.entries.chunks(REFERENCES_MAX).peekable();
        while let Some(some) = parts.next() {
            let mut commit = Batch::new();
            if parts.peek().is_none() {
                commit.delete(key.clone());
            }
            drop_references(work, version, some, commit).await?;
        }
        done += 1;
    }
    Ok(done)
}

/// Takes the references of a version to these chunks away, and puts the chunks up for collection, with what else is in `commit`.
async fn drop_references(work: &Work, version: VersionId, entries: &[ChunkEntry], mut commit: Batch) -> Result<()> {
    let chunks: BTreeSet<ChunkId> = entries.iter().map(|entry| entry.chunk).collect();
    let since_ms = work.objects.clock.now_ms();
    for chunk in chunks {
        commit.delete(keys::reference(chunk, version));
        commit.put(keys::collect(chunk), CollectRecord { since_ms }.encode());
    }
    commit.reclaim();
    work.commit(commit).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_a_clock_that_was_ahead_deleted_goes_when_its_window_was_seen_to_pass() {
        let (mut place, window) = (Place::default(), Duration::from_secs(60));
        let key = Bytes::from_static(b"garbage");
        let (now_ms, year_ms) = (1_000_000_000, 31_536_000_000);
        let mut is_over = |since_ms, now_ms| place.is_over(window, &key, since_ms, now_ms);
        assert!(!is_over(now_ms - 59_000, now_ms) && is_over(now_ms - 60_000, now_ms));
        assert!(!is_over(now_ms + year_ms, now_ms));
        tokio::time::sleep(Duration::from_secs(59)).await;
        assert!(!is_over(now_ms + year_ms, now_ms + 59_000));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(is_over(now_ms + year_ms, now_ms + 60_000));
        assert!(is_over(now_ms + year_ms, now_ms + 60_000), "until all of it is gone");
        place.end_round();
        assert_eq!(place.ahead.len(), 1);
        assert!(!place.is_over(window, &key, now_ms, now_ms + 1_000), "its time has come");
        place.end_round();
        assert!(place.ahead.is_empty());
    }
}
