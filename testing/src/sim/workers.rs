//! The workers' process: the workers that are shipped, under their lease and in safe mode, each stepped in a task of its own, with
//! rests that the seed draws: the runner's own pace would leave most races of a storm's few seconds out.
//!
//! What it keeps true: as in the runner, a worker steps only with the lease as it was last seen, and out of safe mode if it may repair
//! or delete; whether it still holds is for its commits to find out.

use super::check::LEASE;
use super::cluster::Coordinator;
use super::rng::Rng;
use super::world::World;
use coordinator::object::Objects;
use coordinator::worker::lease::BEAT;
use coordinator::worker::{Fence, LeaseKeeper, Progress, SafeMode, Tiering, Work, Worker, WorkerSettings};
use protocol::Result;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::sleep;

/// Workers that find nothing to do rest up to so many times as long as those that have work,
const IDLE_TIMES_MAX: u64 = 8;
/// and after the storm all do: little is left to race with.
const CALM_REST_MS_MAX: u64 = 2_000;

/// A candidate that looks so often has seen a dead holder's lease run out.
const TENDS_MAX: u32 = 10;
/// The rest between steps by hand: longer than any worker's own.
const STEP_EVERY: Duration = Duration::from_millis(1_100);
/// A worker stepped by hand that fails so often is left to others.
const FAILURES_MAX: u32 = 8;

/// What the workers of a process are told beforehand.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// How long what was deleted is kept.
    pub trash_window: Duration,
    /// How old an unnamed shard must be before it goes.
    pub orphan_grace: Duration,
    /// How long an upload may show no life.
    pub upload_expires: Duration,
    /// How long a node may be silent before it counts as lost.
    pub node_lost_after: Duration,
    /// From one scrub to the next.
    pub scrub_interval: Duration,
    /// From one census to the next.
    pub census_interval: Duration,
    /// When the class of a version changes by itself.
    pub tiering: Tiering,
    /// The longest rest between two steps of a worker that has work.
    pub rest_ms_max: u64,
}

impl Habits {
    /// Nothing is waited for, and nothing is looked through unasked.
    pub const EAGER: Habits = Habits {
        trash_window: Duration::ZERO,
        orphan_grace: Duration::ZERO,
        upload_expires: Duration::ZERO,
        node_lost_after: Duration::ZERO,
        scrub_interval: Duration::MAX,
        census_interval: Duration::MAX,
        tiering: Tiering { interval: Duration::MAX, ..Tiering::DEFAULT },
        rest_ms_max: 1,
    };

    /// From none of each to more than a storm lasts.
    pub fn draw(rng: &mut Rng) -> Habits {
        let mut one_of = |choices: &[u64]| Duration::from_millis(*rng.pick(choices));
        Habits {
            trash_window: one_of(&[0, 0, 100, 1_500]),
            orphan_grace: one_of(&[0, 0, 50, 500, 3_000]),
            upload_expires: one_of(&[0, 400, 2_000, 20_000]),
            node_lost_after: one_of(&[1_200, 3_000, 60_000]),
            scrub_interval: one_of(&[200, 2_000, 60_000]),
            census_interval: one_of(&[50, 500, 5_000]),
            tiering: Tiering { interval: Duration::MAX, ..Tiering::DEFAULT },
            rest_ms_max: *rng.pick(&[8, 30, 90]),
        }
    }

    /// All workers, as they start.
    pub fn crew(&self) -> Vec<Box<dyn Worker>> {
        let settings = WorkerSettings {
            process: String::new(),
            trash_window: self.trash_window,
            orphan_grace: self.orphan_grace,
            upload_expires: self.upload_expires,
            node_lost_after: self.node_lost_after,
            scrub_interval: self.scrub_interval,
            census_interval: self.census_interval,
            scrub_bytes_per_s: 0,
            repair_bytes_per_s: 0,
            tiering: self.tiering,
        };
        coordinator::worker::all(&settings).into_iter().map(|(worker, _)| worker).collect()
    }
}

/// What the workers of one process share.
struct Office {
    world: Arc<World>,
    objects: Objects,
    safe_mode: SafeMode,
    fence: Mutex<Option<Fence>>,
}

/// A candidate for the lease, as `process`.
pub fn keeper(process: &Coordinator) -> LeaseKeeper {
    let Objects { metadata, clock, .. } = &process.objects;
    LeaseKeeper::new(metadata.clone(), &**clock, LEASE, &format!("process {}", process.incarnation))
}

/// The workers of a process that holds the lease, stepped by hand.
pub struct Crew {
    work: Work,
    workers: Vec<Box<dyn Worker>>,
}

impl Crew {
    /// Takes the lease for `process`; `None` if another process keeps it.
    pub async fn hired(process: &Coordinator, habits: &Habits) -> Option<Crew> {
        let mut keeper = keeper(process);
        for _ in 0..TENDS_MAX {
            if let Ok(Some(fence)) = keeper.tend().await {
                let work = Work { objects: process.objects.clone(), fence };
                return Some(Crew { work, workers: habits.crew() });
            }
            sleep(BEAT).await;
        }
        None
    }

    /// What steps are given.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// Steps the worker of this name once.
    pub async fn step(&mut self, name: &str) -> Result<Progress> {
        let worker = self.workers.iter_mut().find(|worker| worker.name() == name);
        worker.unwrap_or_else(|| panic!("there is no worker {name}")).step(&self.work).await
    }

    /// Steps the worker of this name until it has nothing to do twice in a row, or fails too often.
    pub async fn finish(&mut self, name: &str) {
        let (mut idle, mut failures) = (0, 0);
        while idle < 2 && failures < FAILURES_MAX {
            sleep(STEP_EVERY).await;
            match self.step(name).await {
                Ok(Progress::Idle) => idle += 1,
                Ok(Progress::Did { .. }) => idle = 0,
                Ok(Progress::Waits(_)) | Err(_) => (idle, failures) = (0, failures + 1),
            }
        }
    }
}

/// Has `process` work until its tasks are aborted. Needs a `LocalSet`.
pub fn employ(world: &Arc<World>, process: &Coordinator, habits: &Habits) -> Vec<AbortHandle> {
    let office = Arc::new(Office {
        world: world.clone(),
        objects: process.objects.clone(),
        safe_mode: SafeMode::default(),
        fence: Mutex::default(),
    });
    let stream = |place: u64| Rng::new(world.seed(), (2_000 + process.incarnation) * 16 + place);
    let mut tasks = vec![spawn_local(keep_lease(office.clone(), keeper(process), stream(0))).abort_handle()];
    for (place, worker) in habits.crew().into_iter().enumerate() {
        let rng = stream(place as u64 + 1);
        tasks.push(spawn_local(work(office.clone(), worker, habits.rest_ms_max, rng)).abort_handle());
    }
    tasks
}

async fn keep_lease(office: Arc<Office>, mut keeper: LeaseKeeper, mut rng: Rng) {
    loop {
        // An error leaves the lease as it was last seen.
        if let Ok(fence) = keeper.tend().await {
            *office.fence() = fence;
        }
        drop(office.safe_mode.check(&office.objects.nodes, &*office.objects.metadata).await);
        let rest_ms = rng.between(200, BEAT.as_millis() as u64);
        sleep(Duration::from_millis(rest_ms)).await;
    }
}

async fn work(office: Arc<Office>, mut worker: Box<dyn Worker>, rest_ms_max: u64, mut rng: Rng) {
    let mut idle = 1;
    loop {
        let bound_ms = match office.world.is_calm() {
            true => CALM_REST_MS_MAX,
            false => rest_ms_max * idle,
        };
        let rest_ms = rng.between(1, bound_ms);
        sleep(Duration::from_millis(rest_ms)).await;
        let worked = match office.may_step(&*worker) {
            Some(work) => office.step(&mut *worker, &work).await,
            None => false,
        };
        idle = if worked { 1 } else { (2 * idle).min(IDLE_TIMES_MAX) };
    }
}

impl Office {
    fn may_step(&self, worker: &dyn Worker) -> Option<Work> {
        let fence = self.fence().clone()?;
        let waits = worker.needs_all_nodes() && !self.safe_mode.is_over();
        (!waits).then(|| Work { objects: self.objects.clone(), fence })
    }

    /// Whether there was anything to do.
    async fn step(&self, worker: &mut dyn Worker, work: &Work) -> bool {
        let outcome = worker.step(work).await;
        if !matches!(outcome, Ok(Progress::Idle)) {
            self.world.tell(|| format!("{} {}", worker.name(), told(&outcome)));
        }
        matches!(outcome, Ok(Progress::Did { .. }))
    }

    fn fence(&self) -> MutexGuard<'_, Option<Fence>> {
        self.fence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn told(outcome: &Result<Progress>) -> String {
    match outcome {
        Ok(progress) => format!("{progress:?}"),
        Err(error) => format!("{}: {error}", error.kind.as_str()),
    }
}
