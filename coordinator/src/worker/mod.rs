//! What must happen later: work that records ask for, done in small steps, by one process at a time, where people can watch it.
//!
//! ```text
//!   records ──▶ Worker::step ──▶ commits that check the lease      runner: lease, safe mode, pace, status, shutdown
//! ```
//!
//! What it keeps true:
//! - Law 8: the work is a record. A step may be repeated, and may be the last one of its process; the next process goes on.
//! - Law 9: at most one worker of a kind acts at a time; every commit of a worker checks the lease it acts under ([`lease`]).
//! - No chunk is repaired and none is deleted before every registered node has answered once, or the operator said so
//!   ([`safe_mode`]): a node that has not answered is not one that holds nothing (faults S7).
//! - No step waits for ever, and no worker holds more in memory than the bounds that its file names (law 10).

pub mod board;
pub mod census;
pub mod collect;
pub mod expire;
pub mod lease;
pub mod lifecycle;
pub mod membership;
pub mod pace;
mod pass;
pub mod rebalance;
pub mod repair;
mod runner;
pub mod safe_mode;
pub mod savings;
pub mod scrub;
pub mod transition;
pub mod usage;
pub mod verify;

pub use board::{State, Tuning, WorkerStatus};
pub use lease::{Fence, LeaseKeeper};
pub use pass::{Pass, pass_of};
pub use runner::{Running, WorkerSettings, Workers, all};
pub use safe_mode::SafeMode;
pub use transition::Tiering;

use crate::metadata::keys::KeyRange;
use crate::metadata::records::{ObjectRecord, Record, WantedRecord};
use crate::metadata::{Batch, Entry, keys};
use crate::object::Objects;
use async_trait::async_trait;
use bytes::Bytes;
use protocol::{ErrorKind, Result};
use std::sync::Arc;

/// What a step may use.
#[derive(Clone)]
pub struct Work {
    /// The verbs and what they stand on.
    pub objects: Objects,
    /// The right to act.
    pub fence: Fence,
}

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There was nothing to do.
    Idle,
    /// This much was done; there may be more.
    Did {
        /// Chunks, records or shards.
        items: u64,
        /// Bytes read, copied or freed.
        bytes: u64,
    },
    /// There is work, and it cannot be done now, for this reason.
    Waits(String),
}

/// How much is left, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Chunks, records or shards.
    pub items: Option<u64>,
    /// Bytes.
    pub bytes: Option<u64>,
}

/// A kind of work that must happen later.
#[async_trait]
pub trait Worker: Send + Sync + 'static {
    /// Its name, in keys, metrics and at `/admin/workers`.
    fn name(&self) -> &'static str;

    /// Whether it may repair or delete, and so rests in safe mode.
    fn needs_all_nodes(&self) -> bool {
        true
    }

    /// Does a little: as much as fits some tens of milliseconds, or what one node call does.
    async fn step(&mut self, work: &Work) -> Result<Progress>;

    /// How much is left.
    async fn backlog(&self, work: &Work) -> Result<Backlog> {
        let _ = work;
        Ok(Backlog::default())
    }
}

impl Work {
    /// Commits what a worker decided, if it still holds the lease. False if something that the batch checks has changed: whoever
    /// changed it got ahead, and the work is looked at anew.
    pub async fn commit(&self, batch: Batch) -> Result<bool> {
        match self.fence.commit(batch).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind == ErrorKind::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The verbs, each of whose commits checks the lease.
    pub fn fenced(&self) -> Objects {
        Objects { metadata: Arc::new(self.fence.clone()), ..self.objects.clone() }
    }

    /// The first `limit` entries of a range.
    pub async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<(Bytes, Entry)>> {
        self.objects.metadata.scan(&range.from, &range.to, limit).await
    }

    /// The number through which the versions of a name are purged: nobody sees those any more, and their records wait for the trash
    /// window to pass.
    pub async fn purged_through(&self, bucket: &str, name: &str) -> Result<u64> {
        let entry = self.objects.metadata.get(&keys::object(bucket, name)).await?;
        let object = entry.map(|entry| ObjectRecord::decode(&entry.value)).transpose()?;
        Ok(object.map_or(0, |object| object.purged_through))
    }

    /// Records that a whole pass of `worker` is wanted, because of `reason`.
    pub async fn want(&self, worker: &str, reason: impl Into<String>) -> Result<()> {
        let wanted = WantedRecord { since_ms: self.objects.clock.now_ms(), reason: reason.into() };
        let mut commit = Batch::new();
        commit.put(keys::wanted(worker, self.objects.clock.fresh_id()), wanted.encode());
        self.fence.commit(commit).await
    }
}
