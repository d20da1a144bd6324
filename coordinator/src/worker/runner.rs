//! Runs the workers: each in a task of its own, one step after the other, as long as this process holds the lease.
//!
//! What it keeps true:
//! - A worker steps only with the lease, out of safe mode (if it may repair or delete), and not while it is paused.
//! - A step that fails, or panics, is tried again, later and later; nothing that a step found out is kept in memory only.
//! - [`Running::stop`] returns when every step under way has ended and the lease is given back.

use super::board::{Line, State, Tuning, WorkerStatus};
use super::lease::{BEAT, Fence, LeaseKeeper};
use super::safe_mode::SafeMode;
use super::{
    Progress, Tiering, Work, Worker, census, collect, expire, lifecycle, membership, pace, rebalance, repair, savings,
    scrub, transition, usage, verify,
};
use crate::names;
use crate::object::Objects;
use futures_util::FutureExt;
use protocol::{Error, Result};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

/// How often a worker without work looks for some.
const IDLE: Duration = Duration::from_millis(250);
/// How often it looks whether what it waits for has come.
const WAITING: Duration = Duration::from_millis(500);
/// After its first failed step it rests so long; after each further one twice as long,
const FAILED: Duration = Duration::from_millis(500);
/// up to this.
const FAILED_MAX: Duration = Duration::from_secs(30);
/// The longest that a step may take; its calls end by themselves long before.
const STEP_MAX: Duration = Duration::from_secs(300);
/// How often a worker's backlog is counted.
const BACKLOG_EVERY: Duration = Duration::from_secs(1);
/// The lease of all workers of a process.
const LEASE_NAME: &str = "workers";

/// What an operator says of the workers beforehand.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// This process's name, for people.
    pub process: String,
    /// How long what was deleted is kept before its bytes go.
    pub trash_window: Duration,
    /// How old a shard without a record must be before it goes.
    pub orphan_grace: Duration,
    /// How long an upload may show no life.
    pub upload_expires: Duration,
    /// How long a node may be silent before what it held is repaired elsewhere.
    pub node_lost_after: Duration,
    /// From the end of one scrub to the beginning of the next.
    pub scrub_interval: Duration,
    /// From the end of one census to the beginning of the next.
    pub census_interval: Duration,
    /// Bytes a second that a scrub reads at most; 0 for any.
    pub scrub_bytes_per_s: u64,
    /// Bytes a second that repair copies at most; 0 for any.
    pub repair_bytes_per_s: u64,
    /// When the class of a version changes by itself.
    pub tiering: Tiering,
}

/// The workers of this process, as operators see them. Cheap to clone.
#[derive(Clone)]
pub struct Workers {
    lines: Arc<Vec<Arc<Line>>>,
    safe_mode: Arc<SafeMode>,
    lease: watch::Receiver<Option<Fence>>,
    wake: Arc<Notify>,
}

/// The workers' tasks.
pub struct Running {
    /// What they are doing.
    pub workers: Workers,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    /// Keeps the lease until it is told that no step is under way any more.
    keeper: JoinHandle<()>,
    steps_ended: watch::Sender<bool>,
}

/// What the tasks of the runner share.
#[derive(Clone)]
struct Shared {
    objects: Objects,
    safe_mode: Arc<SafeMode>,
    lease: watch::Receiver<Option<Fence>>,
    stop: watch::Receiver<bool>,
    wake: Arc<Notify>,
}

/// All workers there are, and the pace that each begins with.
pub fn all(settings: &WorkerSettings) -> Vec<(Box<dyn Worker>, Tuning)> {
    let tuning = |bytes_per_s, tranquility| Tuning { paused: false, bytes_per_s, tranquility };
    vec![
        (Box::new(membership::Membership::new(settings.node_lost_after)), tuning(0, 0)),
        (Box::new(repair::Repair::default()), tuning(settings.repair_bytes_per_s, 1)),
        (Box::new(scrub::Scrub::new(settings.scrub_interval)), tuning(settings.scrub_bytes_per_s, 4)),
        (Box::new(census::Census::new(settings.census_interval, settings.orphan_grace)), tuning(0, 4)),
        (Box::new(expire::Expire::new(settings.upload_expires)), tuning(0, 1)),
        (Box::new(collect::Collect::new(settings.trash_window)), tuning(0, 2)),
        (Box::new(rebalance::Rebalance::default()), tuning(0, 4)),
        (Box::new(verify::Verify::default()), tuning(0, 2)),
        (Box::new(usage::CountUsage::default()), tuning(0, 4)),
        (Box::new(lifecycle::Lifecycle::new(lifecycle::LIFECYCLE_EVERY)), tuning(0, 4)),
        (Box::new(transition::Transition::new(settings.tiering)), tuning(0, 4)),
        (Box::new(savings::Savings::new(savings::SAVINGS_EVERY)), tuning(0, 4)),
    ]
}

impl Running {
    /// Starts them all.
    pub fn start(objects: &Objects, settings: &WorkerSettings) -> Running {
        let (lease_sender, lease) = watch::channel(None);
        let (stop, stopped) = watch::channel(false);
        let shared = Shared {
            objects: objects.clone(),
            safe_mode: Arc::default(),
            lease: lease.clone(),
            stop: stopped,
            wake: Arc::default(),
        };
        let metadata = objects.metadata.clone();
        let keeper = LeaseKeeper::new(metadata, &*objects.clock, LEASE_NAME, &settings.process);
        let (steps_ended, release) = watch::channel(false);
        let keeper = objects.tasks.spawn(keep_lease(keeper, lease_sender, shared.clone(), release));
        let (mut tasks, mut lines) = (Vec::new(), Vec::new());
        for (worker, tuning) in all(settings) {
            let line = Arc::new(Line::new(worker.name(), tuning));
            lines.push(line.clone());
            tasks.push(objects.tasks.spawn(run(worker, line, shared.clone())));
        }
        let workers = Workers { lines: Arc::new(lines), safe_mode: shared.safe_mode, lease, wake: shared.wake };
        Running { workers, stop, tasks, keeper, steps_ended }
    }

    /// Ends them: no further steps, then the lease is given back.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.workers.wake.notify_waiters();
        for task in self.tasks {
            if let Err(error) = task.await {
                warn!(%error, "a worker ended in a panic");
            }
        }
        self.steps_ended.send_replace(true);
        if let Err(error) = self.keeper.await {
            warn!(%error, "the keeper of the workers' lease ended in a panic");
        }
    }
}

impl Workers {
    /// What each of them does.
    pub fn status(&self) -> Vec<WorkerStatus> {
        self.lines.iter().map(|line| line.status()).collect()
    }

    /// Whether this process is the one that works.
    pub fn has_lease(&self) -> bool {
        self.lease.borrow().is_some()
    }

    /// Whether repairs and deletes wait for nodes.
    pub fn safe_mode(&self) -> &SafeMode {
        &self.safe_mode
    }

    /// Has a worker go faster, slower or not at all. `NotFound` if there is none of that name.
    pub fn tune(&self, worker: &str, change: impl FnOnce(&mut Tuning)) -> Result<WorkerStatus> {
        let line = self.line(worker)?;
        let mut tuning = line.tuning();
        change(&mut tuning);
        line.tune(tuning);
        self.wake.notify_waiters();
        Ok(line.status())
    }

    /// Has a worker begin a pass now. `NotFound` if there is none of that name, `Unavailable` if another process works.
    pub async fn run_now(&self, objects: &Objects, worker: &str, reason: &str) -> Result<()> {
        let name = self.line(worker)?.name();
        let Some(fence) = self.lease.borrow().clone() else {
            return Err(Error::unavailable("another process does the workers' work; ask that one"));
        };
        Work { objects: objects.clone(), fence }.want(name, reason).await?;
        self.wake.notify_waiters();
        Ok(())
    }

    fn line(&self, worker: &str) -> Result<&Arc<Line>> {
        let line = self.lines.iter().find(|line| line.name() == worker);
        line.ok_or_else(|| Error::not_found(format!("there is no worker '{worker}'")))
    }
}

async fn keep_lease(
    mut keeper: LeaseKeeper,
    lease: watch::Sender<Option<Fence>>,
    shared: Shared,
    mut release: watch::Receiver<bool>,
) {
    loop {
        match shielded(keeper.tend()).await {
            Ok(fence) => drop(lease.send_replace(fence)),
            Err(error) => debug!(%error, "the workers' lease was not renewed"),
        }
        if let Err(error) = shared.safe_mode.check(&shared.objects.nodes, &*shared.objects.metadata).await {
            debug!(%error, "who is registered could not be read");
        }
        tokio::select! {
            () = tokio::time::sleep(BEAT) => {}
            _ = release.wait_for(|ended| *ended) => break,
        }
    }
    // Whoever waits for the lease need not wait for its heartbeat to stand still; but it would get it by itself.
    if let Err(error) = keeper.release().await {
        debug!(%error, "the workers' lease was not given back");
    }
}

async fn run(mut worker: Box<dyn Worker>, line: Arc<Line>, mut shared: Shared) {
    for total in [names::WORKER_ITEMS_TOTAL, names::WORKER_BYTES_TOTAL, names::WORKER_ERRORS_TOTAL] {
        metrics::counter!(total, "worker" => worker.name()).increment(0);
    }
    let mut failures = 0u32;
    let mut counted: Option<Instant> = None;
    while !*shared.stop.borrow() {
        let pause = match may_step(&*worker, &line, &shared) {
            Err((state, reason)) => {
                line.rests(state, reason);
                WAITING
            }
            Ok(work) => {
                if counted.is_none_or(|then| then.elapsed() >= BACKLOG_EVERY) {
                    counted = Some(Instant::now());
                    line.note_backlog(shielded(worker.backlog(&work)).await.unwrap_or_default());
                }
                step(&mut *worker, &work, &line, &mut failures).await
            }
        };
        if pause.is_zero() {
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.wake.notified() => {}
            _ = shared.stop.wait_for(|stop| *stop) => break,
        }
    }
}

fn may_step(worker: &dyn Worker, line: &Line, shared: &Shared) -> std::result::Result<Work, (State, Option<String>)> {
    let Some(fence) = shared.lease.borrow().clone() else {
        return Err((
            State::NoLease,
            shared.objects.metadata.serves().require_commits().err().map(|error| error.message),
        ));
    };
    if worker.needs_all_nodes() && !shared.safe_mode.is_over() {
        let silent = shared.safe_mode.waits_for();
        let reason = format!("waits for the first answer of {}", silent.join(", "));
        return Err((State::SafeMode, Some(reason)));
    }
    if line.tuning().paused {
        return Err((State::Paused, None));
    }
    Ok(Work { objects: shared.objects.clone(), fence })
}

/// A panic is a step that failed. A step may be given up anywhere, so what a worker has in memory is as good after one as after that.
async fn shielded<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|_| Err(Error::unavailable("it panicked; see the log")))
}

/// One step; how long to rest after it.
async fn step(worker: &mut dyn Worker, work: &Work, line: &Line, failures: &mut u32) -> Duration {
    let began = Instant::now();
    let outcome = match timeout(STEP_MAX, shielded(worker.step(work))).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::unavailable(format!("the step did not end within {} s", STEP_MAX.as_secs()))),
    };
    metrics::histogram!(names::WORKER_STEP_SECONDS, "worker" => worker.name()).record(began.elapsed().as_secs_f64());
    match outcome {
        Ok(progress) => {
            *failures = 0;
            line.stepped(&progress);
            match progress {
                Progress::Idle => IDLE,
                Progress::Waits(_) => WAITING,
                Progress::Did { items, bytes } => {
                    metrics::counter!(names::WORKER_ITEMS_TOTAL, "worker" => worker.name()).increment(items);
                    metrics::counter!(names::WORKER_BYTES_TOTAL, "worker" => worker.name()).increment(bytes);
                    pace::rest(&line.tuning(), bytes, began.elapsed(), work.objects.clients.any())
                }
            }
        }
        Err(error) => {
            if *failures == 0 {
                warn!(worker = worker.name(), %error, "a worker's step failed; it will be tried again");
            }
            metrics::counter!(names::WORKER_ERRORS_TOTAL, "worker" => worker.name()).increment(1);
            line.rests(State::Failing, Some(error.message));
            let pause = FAILED * 2u32.saturating_pow((*failures).min(10));
            *failures += 1;
            pause.min(FAILED_MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let panics = async { if std::hint::black_box(true) { panic!("a bug") } else { Ok(()) } };
        assert!(shielded(panics).await.unwrap_err().message.contains("panicked"));
        assert_eq!(shielded(async { Ok(7) }).await.unwrap(), 7);
    }
}
