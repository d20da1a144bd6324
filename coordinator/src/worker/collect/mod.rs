//! Collect: gives back the space of what nobody can see any more, in three queues, each a range of records:
//!
//! ```text
//!   garbage/  versions ──▶ their references go ──▶ collect/  chunks ──▶ condemned, looked at again, gone ──▶ trash/  shards ──▶ deleted
//! ```
//!
//! What it keeps true:
//! - Law 5: a chunk goes only after it was condemned and then found without any reference. A reuse commits with a check of the chunk's
//!   revision, so either it fails and stores its own, or the reference is seen and the chunk is put back.
//! - Law 4: at every moment each shard is named by a record; whatever a crash interrupts is still in one of the queues.
//! - Nothing of a version goes before its trash window is over.

mod chunks;
mod garbage;
mod names;
mod parts;
mod trash;

pub(super) use chunks::repair_severities;
pub(super) use trash::put_trash;

use super::{Backlog, Progress, Work, Worker};
use crate::metadata::{SCAN_ENTRIES_MAX, keys};
use async_trait::async_trait;
use protocol::Result;
use std::time::Duration;

/// The worker.
pub struct Collect {
    window: Duration,
    trash: trash::Trash,
    garbage: garbage::Place,
}

impl Collect {
    /// Keeps what was deleted for `window`.
    pub fn new(window: Duration) -> Collect {
        Collect { window, trash: trash::Trash::default(), garbage: garbage::Place::default() }
    }
}

#[async_trait]
impl Worker for Collect {
    fn name(&self) -> &'static str {
        "collect"
    }

    /// The last queue first: it is the one that gives room back.
    async fn step(&mut self, work: &Work) -> Result<Progress> {
        let emptied = self.trash.empty(work).await?;
        if matches!(emptied, Progress::Did { .. }) {
            return Ok(emptied);
        }
        let collected = chunks::collect_some(work).await?;
        if collected > 0 {
            return Ok(Progress::Did { items: collected, bytes: 0 });
        }
        let taken_apart = garbage::take_some_apart(work, self.window, &mut self.garbage).await?;
        Ok(if taken_apart > 0 { Progress::Did { items: taken_apart, bytes: 0 } } else { emptied })
    }

    async fn backlog(&self, work: &Work) -> Result<Backlog> {
        let mut items = 0;
        for range in [keys::garbages(), keys::collects(), keys::all_trash()] {
            items += work.scan(&range, SCAN_ENTRIES_MAX).await?.len() as u64;
        }
        Ok(Backlog { items: Some(items), bytes: None })
    }
}
