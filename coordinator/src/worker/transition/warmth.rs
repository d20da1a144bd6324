//! Notes how much versions are read, and forgets what has faded.

use super::Tiering;
use crate::metadata::records::{HeatRecord, Record, VersionId};
use crate::metadata::{Batch, Expect, keys};
use crate::worker::Work;
use bytes::Bytes;
use protocol::Result;

/// Versions noted in one step.
const NOTED_MAX: usize = 64;
/// Records looked at in one step when those that have faded are forgotten.
const SWEPT_MAX: usize = 256;
/// A count of less than this, in thousandths of a read, is forgotten.
const FADED_MILLI_READS: u64 = 60;

/// Notes reads that were counted here; how many versions'.
pub(super) async fn note(work: &Work, tiering: &Tiering) -> Result<usize> {
    let counted = work.objects.heat.take(NOTED_MAX);
    let now_ms = work.objects.clock.now_ms();
    let mut commit = Batch::new();
    for (id, more) in &counted {
        let key = keys::heat(*id);
        let entry = work.objects.metadata.get(&key).await?;
        let before = entry.as_ref().map(|entry| HeatRecord::decode(&entry.value)).transpose()?;
        let left = before.map_or(0, |before| tiering.left(before, now_ms));
        commit.check(key.clone(), Expect::unchanged(entry.as_ref()));
        commit.put(key, HeatRecord { milli_reads: left.saturating_add(*more), at_ms: now_ms }.encode());
    }
    if !commit.is_empty() {
        // Reads that are lost with a commit are not worth counting twice.
        work.commit(commit).await?;
    }
    Ok(counted.len())
}

/// How much a version is read, in thousandths of a read that counts still.
pub(super) async fn of(work: &Work, tiering: &Tiering, version: VersionId) -> Result<u64> {
    let entry = work.objects.metadata.get(&keys::heat(version)).await?;
    let heat = entry.map(|entry| HeatRecord::decode(&entry.value)).transpose()?;
    Ok(heat.map_or(0, |heat| tiering.left(heat, work.objects.clock.now_ms())))
}

/// Forgets some counts that have faded, from `from` on; where to go on, or `None` at the end.
pub(super) async fn sweep(work: &Work, tiering: &Tiering, from: Bytes) -> Result<Option<Bytes>> {
    let mut range = keys::heats();
    range.from = range.from.max(from);
    let found = work.scan(&range, SWEPT_MAX).await?;
    let now_ms = work.objects.clock.now_ms();
    let mut commit = Batch::new();
    for (key, entry) in &found {
        if tiering.left(HeatRecord::decode(&entry.value)?, now_ms) < FADED_MILLI_READS {
            commit.check(key.clone(), Expect::Revision(entry.revision)).delete(key.clone());
        }
    }
    if !commit.is_empty() {
        commit.reclaim();
        work.commit(commit).await?;
    }
    Ok(found.last().filter(|_| found.len() == SWEPT_MAX).map(|(last, _)| keys::after(last)))
}
