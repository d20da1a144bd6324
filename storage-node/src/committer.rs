//! Group commit in front of the store: whoever puts or deletes while an fsync runs shares the next one.

use crate::store::{Change, Store, note_operation};
use protocol::{Error, PutOutcome, Result, Shard, ShardId};
use segments::{Disk, GroupCommit, GroupLimits};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;
use tracing::{Instrument, debug_span};

/// Calls that share one fsync, their bytes, and calls that may wait. The bytes that wait are bounded by whoever calls.
const LIMITS: GroupLimits =
    GroupLimits { jobs_max: 512, bytes_max: 16 << 20, queue_max: 4096, queue_bytes_max: 64 << 20 };

/// The queue of one store, with its thread.
pub struct Committer {
    queue: GroupCommit<Job>,
}

struct Job {
    changes: Vec<Change>,
    reply: oneshot::Sender<Vec<PutOutcome>>,
}

impl Committer {
    /// Starts the thread.
    pub fn start<D: Disk>(store: Arc<Store<D>>) -> Result<Committer> {
        let queue = GroupCommit::start("commit", LIMITS, move |jobs| apply(&store, jobs))?;
        Ok(Committer { queue })
    }

    /// Stores shards whose CRCs were checked, and whose lengths are within the bound; one outcome each, in order.
    pub async fn put(&self, shards: Vec<Shard>) -> Result<Vec<PutOutcome>> {
        self.submit("put", shards.into_iter().map(Change::Put).collect()).await
    }

    /// Deletes shards; one outcome each, in order.
    pub async fn delete(&self, ids: Vec<ShardId>) -> Result<Vec<PutOutcome>> {
        self.submit("delete", ids.into_iter().map(Change::Delete).collect()).await
    }

    async fn submit(&self, operation: &'static str, changes: Vec<Change>) -> Result<Vec<PutOutcome>> {
        let started = Instant::now();
        let bytes = changes.iter().map(held_bytes).sum();
        let (reply, outcomes) = oneshot::channel();
        let submitted = self.queue.submit(Job { changes, reply }, bytes);
        let outcomes = match submitted {
            Ok(()) => outcomes
                .instrument(debug_span!("commit", operation))
                .await
                .map_err(|_| Error::unavailable("the node is shutting down")),
            Err(_) => Err(Error::unavailable("too many writes are waiting")),
        };
        let failed = outcomes.as_ref().ok().and_then(|outcomes| outcomes.iter().find_map(|outcome| outcome.err()));
        let error = failed.map(Error::from);
        note_operation(operation, started, outcomes.as_ref().err().or(error.as_ref()));
        outcomes
    }

    /// Calls that wait, and the most that may.
    pub fn waiting_and_most(&self) -> (usize, usize) {
        (self.queue.waiting(), LIMITS.queue_max)
    }

    /// Accepts nothing more, and returns when all that waited is done.
    pub fn stop(&self) {
        self.queue.stop();
    }
}

/// What a change holds in memory while it waits.
fn held_bytes(change: &Change) -> u64 {
    let data = match change {
        Change::Put(shard) => shard.data.len(),
        Change::Delete(_) | Change::Move(_) | Change::Probe => 0,
    };
    (size_of::<Change>() + data) as u64
}

fn apply<D: Disk>(store: &Store<D>, jobs: Vec<Job>) {
    let mut changes = Vec::new();
    let mut replies = Vec::with_capacity(jobs.len());
    for job in jobs {
        replies.push((job.reply, job.changes.len()));
        changes.extend(job.changes);
    }
    let mut outcomes = store.apply(changes).into_iter();
    for (reply, count) in replies {
        // A caller that is gone does not need its answer.
        drop(reply.send(outcomes.by_ref().take(count).collect()));
    }
}
