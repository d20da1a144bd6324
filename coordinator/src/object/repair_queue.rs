//! What waits for repair, by how urgent it is: for dashboards, alerts and diagnosis.
//!
//! What it keeps true: it costs a bounded number of reads, whatever the length of the queue; where the queue is longer than what is
//! counted, it says so by being at the bound.

use super::Objects;
use crate::metadata::keys::{self, KeyRange};
use crate::metadata::records::{ChunkRecord, Record, RepairRecord, SEVERITY_DRAIN, SEVERITY_REBALANCE, VersionId};
use crate::metadata::{Entry, SCAN_ENTRIES_MAX};
use bytes::Bytes;
use protocol::{ChunkId, Result};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Chunks whose size is looked up, to estimate that of all.
const SAMPLED_CHUNKS_MAX: usize = 64;
/// References looked at to find the versions that need some chunks, and the time that may take: Prometheus gives a scrape four seconds here.
const REFERENCES_READ_MAX: usize = 4 * SCAN_ENTRIES_MAX;
const LOOKED_FOR_MAX: Duration = Duration::from_secs(1);
/// How long what is lost is not looked for again.
const LOST_KEPT: Duration = Duration::from_secs(2);

/// When lost versions were looked for, and which were found.
type Looked = (Instant, Arc<BTreeSet<VersionId>>);

/// The versions that were found lost the last time.
#[derive(Clone, Debug, Default)]
pub struct LostVersions(Arc<Mutex<Option<Looked>>>);

impl LostVersions {
    fn slot(&self) -> MutexGuard<'_, Option<Looked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Chunks waiting for repair. Each count stops at [`SCAN_ENTRIES_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RepairQueue {
    /// Those without a good shard on any node: what is short can be repaired, these cannot.
    pub lost: usize,
    /// Those that can lose no further shard: with replication, one copy is left.
    pub last_copy: usize,
    /// Those that are short of shards, and can lose another.
    pub degraded: usize,
    /// Whole ones that are to leave a node that is being emptied.
    pub drain: usize,
    /// Whole ones that are to go from a full node to an emptier one.
    pub rebalance: usize,
    /// Bytes to be copied, estimated from the most urgent ones.
    pub bytes: u64,
    /// Since when the oldest of the most urgent ones has been waiting, in milliseconds since 1970.
    pub oldest_ms: Option<u64>,
}

impl RepairQueue {
    /// Chunks that are short of shards.
    pub fn short(&self) -> usize {
        self.lost + self.last_copy + self.degraded
    }

    /// All of them.
    pub fn chunks(&self) -> usize {
        self.short() + self.drain + self.rebalance
    }
}

/// From the one up to the other.
fn class(from: KeyRange, to: KeyRange) -> KeyRange {
    KeyRange { from: from.from, to: to.from }
}

/// Repairs of chunks that can lose no further shard, or have none.
fn most_urgent() -> KeyRange {
    class(keys::repairs(), keys::repairs_from(1))
}

impl Objects {
    /// What waits for repair now.
    pub async fn repair_queue(&self) -> Result<RepairQueue> {
        let (least, drain) = (keys::repairs_from(1), keys::repairs_from(SEVERITY_DRAIN));
        let rebalance = keys::repairs_from(SEVERITY_REBALANCE);
        let most_urgent = self.entries(&most_urgent()).await?;
        let degraded = self.entries(&class(least, drain.clone())).await?;
        let drained = self.entries(&class(drain, rebalance.clone())).await?;
        let moved = self.entries(&KeyRange { from: rebalance.from, ..keys::repairs() }).await?;
        let (mut lost, mut last_copy) = (0, Vec::new());
        for (key, entry) in most_urgent {
            match RepairRecord::decode(&entry.value)?.lost {
                true => lost += 1,
                false => last_copy.push((key, entry)),
            }
        }
        let mut queue = RepairQueue {
            lost,
            last_copy: last_copy.len(),
            degraded: degraded.len(),
            drain: drained.len(),
            rebalance: moved.len(),
            ..RepairQueue::default()
        };
        let (mut sampled, mut sampled_bytes) = (0, 0);
        for (key, entry) in [last_copy, degraded, drained, moved].iter().flatten().take(SAMPLED_CHUNKS_MAX) {
            let since_ms = RepairRecord::decode(&entry.value)?.since_ms;
            queue.oldest_ms = Some(queue.oldest_ms.map_or(since_ms, |oldest| oldest.min(since_ms)));
            sampled += 1;
            sampled_bytes += self.bytes_to_copy(key).await?;
        }
        let waiting = (queue.chunks() - queue.lost) as u64;
        queue.bytes = sampled_bytes.saturating_mul(waiting).checked_div(sampled).unwrap_or(0);
        Ok(queue)
    }

    /// How many objects wait for repair (contract B9, B10): versions that need a chunk which is short of shards, a version that needs many of
    /// them once. Of very many such chunks, those that need the most urgent ones ([`Objects::versions_of`]).
    pub async fn objects_to_repair(&self) -> Result<usize> {
        let short = class(keys::repairs(), keys::repairs_from(SEVERITY_DRAIN));
        Ok(self.versions_of(&self.entries(&short).await?).await?.len())
    }

    /// The versions that need a chunk of which no good copy is known; of very many such chunks, those of the first.
    pub async fn lost_versions(&self) -> Result<BTreeSet<VersionId>> {
        let mut lost = Vec::new();
        for (key, entry) in self.entries(&most_urgent()).await? {
            if RepairRecord::decode(&entry.value)?.lost {
                lost.push((key, entry));
            }
        }
        self.versions_of(&lost).await
    }

    /// The versions that need one of the chunks that are queued so; looked for within [`REFERENCES_READ_MAX`] and [`LOOKED_FOR_MAX`].
    async fn versions_of(&self, queued: &[(Bytes, Entry)]) -> Result<BTreeSet<VersionId>> {
        let (mut versions, mut left, began) = (BTreeSet::new(), REFERENCES_READ_MAX, Instant::now());
        for (key, _) in queued {
            if left == 0 || began.elapsed() >= LOOKED_FOR_MAX {
                break;
            }
            let KeyRange { from, to } = keys::references(keys::parse_repair(key)?.1);
            let found = self.metadata.scan(&from, &to, left.min(SCAN_ENTRIES_MAX)).await?;
            left -= found.len();
            for (key, _) in found {
                versions.insert(keys::parse_reference(&key)?.1);
            }
        }
        Ok(versions)
    }

    /// The same, as it was within [`LOST_KEPT`]: every read of many chunks asks.
    pub(super) async fn lost_lately(&self) -> Result<Arc<BTreeSet<VersionId>>> {
        if let Some((looked, versions)) = &*self.lost.slot()
            && looked.elapsed() < LOST_KEPT
        {
            return Ok(Arc::clone(versions));
        }
        let versions = Arc::new(self.lost_versions().await?);
        *self.lost.slot() = Some((Instant::now(), Arc::clone(&versions)));
        Ok(versions)
    }

    /// Whether any chunk may be lost: whether there is one that can lose no further shard.
    pub(super) async fn any_may_be_lost(&self) -> Result<bool> {
        let KeyRange { from, to } = most_urgent();
        Ok(!self.metadata.scan(&from, &to, 1).await?.is_empty())
    }

    /// Whether no good copy of a chunk is known.
    pub(super) async fn is_lost(&self, chunk: ChunkId) -> Result<bool> {
        let found = self.metadata.get(&keys::repair(0, chunk)).await?;
        found.map_or(Ok(false), |found| RepairRecord::decode(&found.value).map(|repair| repair.lost))
    }

    async fn entries(&self, range: &KeyRange) -> Result<Vec<(Bytes, Entry)>> {
        self.metadata.scan(&range.from, &range.to, SCAN_ENTRIES_MAX).await
    }

    /// A chunk that was forgotten meanwhile needs nothing.
    async fn bytes_to_copy(&self, queued: &[u8]) -> Result<u64> {
        let (_, chunk) = keys::parse_repair(queued)?;
        let Some(entry) = self.metadata.get(&keys::chunk(chunk)).await? else { return Ok(0) };
        let record = ChunkRecord::decode(&entry.value)?;
        let missing = record.code.shards().saturating_sub(record.shards.len()).max(1);
        Ok(u64::from(record.stored_length) * missing as u64)
    }
}
