//! A pass of a worker that walks through everything: when it is due, how far it has come, and what it counted; all of it a record,
//! so that the next process goes on where this one ended.

use super::Work;
use crate::metadata::records::{Record, WorkerRecord};
use crate::metadata::{Batch, Entry, Expect, Reserve, SCAN_ENTRIES_MAX, keys};
use crate::nodes::registry::{CENSUS, REBALANCE};
use crate::object::Objects;
use crate::worker::lifecycle::LIFECYCLE;
use protocol::Result;
use std::collections::BTreeMap;
use std::time::Duration;

/// How far `worker` has come in the pass under way, or what it found in the last one; `None` if there was none, or it makes none.
pub async fn pass_of(objects: &Objects, worker: &str) -> Result<Option<WorkerRecord>> {
    let entry = objects.metadata.get(&keys::worker(worker)).await?;
    entry.map(|entry| WorkerRecord::decode(&entry.value)).transpose()
}

/// The record of a worker's passes, as it was read.
pub struct Pass {
    worker: &'static str,
    entry: Option<Entry>,
    /// Position, times and counts.
    pub record: WorkerRecord,
}

impl Pass {
    /// Reads how far `worker` has come.
    pub async fn read(work: &Work, worker: &'static str) -> Result<Pass> {
        let entry = work.objects.metadata.get(&keys::worker(worker)).await?;
        let record = entry.as_ref().map(|entry| WorkerRecord::decode(&entry.value)).transpose()?.unwrap_or_default();
        Ok(Pass { worker, entry, record })
    }

    /// Whether a pass is under way.
    pub fn is_under_way(&self) -> bool {
        self.record.started_ms > 0
    }

    /// Whether a pass should begin: someone wants one, or the last is older than `interval`; one that a wrong clock ended in the
    /// future is no reason to wait for that future.
    pub async fn is_due(&self, work: &Work, interval: Duration) -> Result<bool> {
        let age_ms = work.objects.clock.now_ms().abs_diff(self.record.finished_ms);
        if u128::from(age_ms) >= interval.as_millis() {
            return Ok(true);
        }
        Ok(!work.scan(&keys::wanted_of(self.worker), 1).await?.is_empty())
    }

    /// Begins a pass in the name of all who want one. False if someone else changed the record.
    pub async fn begin(&mut self, work: &Work) -> Result<bool> {
        self.begin_with(work, BTreeMap::new()).await
    }

    /// The same, with counts that it has from the start.
    pub async fn begin_with(&mut self, work: &Work, counts: BTreeMap<String, u64>) -> Result<bool> {
        let mut commit = Batch::new();
        let wanted = work.scan(&keys::wanted_of(self.worker), SCAN_ENTRIES_MAX / 8).await?;
        for (key, _) in wanted {
            commit.delete(key);
        }
        let finished_ms = self.record.finished_ms;
        let started_ms = work.objects.clock.now_ms().max(1);
        self.record = WorkerRecord { started_ms, finished_ms, counts, ..WorkerRecord::default() };
        self.save_with(work, commit).await
    }

    /// Notes position and counts.
    pub async fn save(&mut self, work: &Work) -> Result<bool> {
        self.save_with(work, Batch::new()).await
    }

    /// The same, with what else is to be committed.
    pub async fn save_with(&mut self, work: &Work, mut commit: Batch) -> Result<bool> {
        let key = keys::worker(self.worker);
        commit.check(key.clone(), Expect::unchanged(self.entry.as_ref()));
        commit.put(key.clone(), self.record.encode());
        // Those that move chunks to where there is room, and find or remove what is to go, go on where disks are full.
        if matches!(self.worker, CENSUS | REBALANCE | LIFECYCLE) {
            commit.use_reserve(commit.reserve.max(Reserve::Half));
        }
        if !work.commit(commit).await? {
            return Ok(false);
        }
        self.entry = work.objects.metadata.get(&key).await?;
        Ok(true)
    }

    /// Ends the pass; its counts stay until the next one begins.
    pub async fn finish(&mut self, work: &Work) -> Result<bool> {
        self.finish_with(work, Batch::new()).await
    }

    /// The same, with what else is to be committed.
    pub async fn finish_with(&mut self, work: &Work, commit: Batch) -> Result<bool> {
        self.record.finished_ms = work.objects.clock.now_ms().max(1);
        self.record.started_ms = 0;
        self.record.position.clear();
        self.save_with(work, commit).await
    }

    /// Adds to a count.
    pub fn count(&mut self, what: &str, more: u64) {
        match self.record.counts.get_mut(what) {
            Some(count) => *count += more,
            None => drop(self.record.counts.insert(what.to_owned(), more)),
        }
    }

    /// What was counted.
    pub fn counted(&self, what: &str) -> u64 {
        self.record.counts.get(what).copied().unwrap_or(0)
    }
}
