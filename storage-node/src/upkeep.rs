//! What must happen later, on threads of its own: the index moves to sled, segments are compacted, the disk is looked at.
//!
//! What it keeps true: every task is one small, repeatable step after another, each says when it wants the next; all end soon after
//! [`Upkeep::stop`], between two steps. A step that panics is tried again, as one that fails is.

use crate::compaction::CompactStep;
use crate::store::Store;
use protocol::{Error, ErrorKind, NodeStatus, Result};
use segments::Disk;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The index is asked this often whether it has something to save.
const INDEX_INTERVAL: Duration = Duration::from_millis(500);
/// Compaction looks this often for work.
const COMPACT_INTERVAL: Duration = Duration::from_secs(1);
/// Free space is measured this often.
const DISK_INTERVAL: Duration = Duration::from_secs(1);
/// A step that failed is tried again after this long.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// On a full disk compaction may read so many times more.
const FULL_SPEED: u64 = 4;

/// Settings of the upkeep.
#[derive(Clone, Copy, Debug)]
pub struct UpkeepConfig {
    /// Bytes that compaction may read in a second.
    pub compact_bytes_per_s: u64,
    /// Time between two lines of health in the log.
    pub health_interval: Duration,
}

/// The threads.
pub struct Upkeep {
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Stop {
    asked: Mutex<bool>,
    changed: Condvar,
}

impl Upkeep {
    /// Starts the threads.
    pub fn start<D: Disk>(store: &Arc<Store<D>>, config: UpkeepConfig) -> Result<Upkeep> {
        let mut upkeep = Upkeep { stop: Arc::default(), threads: Vec::new() };
        let (index, compact, disk) = (Arc::clone(store), Arc::clone(store), Arc::clone(store));
        upkeep.spawn("index", move || match index.settle_index() {
            Ok(()) => INDEX_INTERVAL,
            Err(error) => {
                tracing::error!(%error, "the index cannot be saved");
                RETRY_INTERVAL
            }
        })?;
        upkeep.spawn("compact", move || compact_pause(&compact, config.compact_bytes_per_s))?;
        let mut logged_at: Option<Instant> = None;
        upkeep.spawn("disk", move || {
            disk.check_disk();
            if logged_at.is_none_or(|then| then.elapsed() >= config.health_interval) {
                logged_at = Some(Instant::now());
                log_health(&disk);
            }
            DISK_INTERVAL
        })?;
        Ok(upkeep)
    }

    fn spawn(&mut self, name: &str, mut step: impl FnMut() -> Duration + Send + 'static) -> Result<()> {
        let (stop, upkeep) = (Arc::clone(&self.stop), name.to_owned());
        let run = move || while !stop.wait(shielded(&upkeep, &mut step)) {};
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .map_err(|error| Error::caused(ErrorKind::Unavailable, format!("start thread {name}: {error}"), error))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Ends the threads after the step each is at.
    pub fn stop(self) {
        *self.stop.asked() = true;
        self.stop.changed.notify_all();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("an upkeep thread had panicked");
            }
        }
    }
}

impl Stop {
    /// Waits, but no longer than until a stop is asked for; whether it is.
    fn wait(&self, pause: Duration) -> bool {
        let asked = self.asked();
        let waited = self.changed.wait_timeout_while(asked, pause, |asked| !*asked);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn asked(&self) -> MutexGuard<'_, bool> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One step. It changes nothing that a crash half-way through would not leave as well, so one that panics is tried again.
fn shielded(upkeep: &str, step: &mut impl FnMut() -> Duration) -> Duration {
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|_| {
        tracing::error!(upkeep, "upkeep panicked; it will be tried again");
        RETRY_INTERVAL
    })
}

/// One step of compaction, and the pause that keeps it within its rate.
fn compact_pause<D: Disk>(store: &Store<D>, bytes_per_s: u64) -> Duration {
    let full = store.health().status == NodeStatus::Full;
    let rate = bytes_per_s.max(1).saturating_mul(if full { FULL_SPEED } else { 1 });
    match store.compact_step() {
        Ok(CompactStep::Idle) => COMPACT_INTERVAL,
        Ok(CompactStep::Removed { .. }) => Duration::ZERO,
        Ok(CompactStep::Moved { read_bytes, .. }) => Duration::from_secs_f64(read_bytes as f64 / rate as f64),
        Err(error) if error.kind == ErrorKind::Unavailable => {
            tracing::debug!(%error, "compaction waits");
            RETRY_INTERVAL
        }
        Err(error) => {
            tracing::warn!(%error, "compaction failed; it will be tried again");
            RETRY_INTERVAL
        }
    }
}

fn log_health<D: Disk>(store: &Store<D>) {
    let health = store.health();
    tracing::info!(
        status = ?health.status,
        free_bytes = health.free_bytes,
        used_bytes = health.used_bytes,
        shards = health.shards,
        segments = health.segments,
        poisoned_segments = health.poisoned_segments,
        fsync_us = health.fsync_us,
        index = store.index_state(),
        "local health check"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_panics_is_tried_again() {
        let mut calls = 0;
        let mut step = || {
            calls += 1;
            assert!(calls > 1, "the first step panics");
            Duration::ZERO
        };
        assert_eq!(shielded("test", &mut step), RETRY_INTERVAL);
        assert_eq!(shielded("test", &mut step), Duration::ZERO);
    }
}
