//! A storm: clients, coordinators and nodes under every fault that the seed switches on; then calm, and the reckoning.

use super::body::{BLOCK_BYTES, ONE_CHUNK_BYTES, TestBody};
use super::check::{Census, Counts, Ended, Got};
use super::client::{Client, Sending};
use super::cluster::{Cluster, Plants};
use super::nemesis::{FAULTS, Fault, Nemesis, Seats, seated};
use super::panics;
use super::rng::Rng;
use coordinator::object::{Condition, DeleteMode, VersionSelector};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

/// Longer than any storm of simulated time: who is not done by then is stuck.
const STORM_PATIENCE: Duration = Duration::from_secs(86_400);
/// Breakers close, stragglers end, intents rest: after this nothing moves any more.
const CALM: Duration = Duration::from_secs(90);
/// A coordinator has probed its nodes by then.
const START_TIME: Duration = Duration::from_millis(40);
/// Bodies that are put again and again, so that chunks are shared.
const SHARED_BODIES: u64 = 5;
/// Tags of bodies that are put once begin here.
const FRESH_TAG: u64 = 1 << 32;

/// What a storm came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// What was violated; nothing, it is hoped.
    pub violations: Vec<String>,
    /// How much happened.
    pub counts: Counts,
    /// What was there at its end.
    pub census: Census,
    /// The faults that struck.
    pub struck: BTreeMap<Fault, u64>,
    /// Hash and number of all events: the same for the same seed.
    pub history: (u64, u64),
    /// The events, where the environment has `HOLDFAST_TRACE`.
    pub trace: Vec<String>,
}

/// What a storm is made of.
#[derive(Clone, Copy, Default)]
pub struct Weather {
    /// Bugs to be caught.
    pub plants: Plants,
    /// No fault strikes.
    pub calm: bool,
}

/// Runs the storm of `seed` to its end.
pub fn storm(seed: u64, weather: Weather) -> Report {
    panics::catch();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing");
    let local = LocalSet::new();
    let mut report = local.block_on(&runtime, run(seed, weather));
    drop(local);
    drop(runtime);
    let panics = panics::release();
    report.violations.extend(panics.into_iter().map(|panic| format!("a task panicked: {panic}")));
    report
}

async fn run(seed: u64, weather: Weather) -> Report {
    let mut rng = Rng::new(seed, 2);
    let nodes = rng.between(4, 6) as usize;
    let cluster = Cluster::new(seed, nodes, weather.plants);
    let faults: Vec<Fault> =
        if weather.calm { Vec::new() } else { FAULTS.into_iter().filter(|_| rng.chance(400)).collect() };
    cluster.world().tell(|| format!("storm {seed}: {nodes} nodes, {faults:?}"));
    let seats = seat_coordinators(&cluster, rng.between(1, 2)).await;
    let mut nemesis = Nemesis::new(cluster.clone(), seats.clone(), faults);
    let play = play(&cluster, &seats, &mut rng);
    let played = async {
        tokio::select! {
            biased;
            () = play => {}
            () = nemesis.rage() => {}
        }
    };
    if timeout(STORM_PATIENCE, played).await.is_err() {
        cluster.oracle().violated("the storm did not end");
    }
    nemesis.relent();
    let census = reckon(&cluster, &seats).await;
    Report {
        seed,
        violations: cluster.oracle().violations(),
        counts: cluster.oracle().counts(),
        census,
        struck: nemesis.struck().clone(),
        history: cluster.world().history(),
        trace: cluster.world().trace(),
    }
}

async fn seat_coordinators(cluster: &Arc<Cluster>, coordinators: u64) -> Seats {
    let mut seats = Vec::new();
    for _ in 0..coordinators {
        seats.push(Mutex::new(Arc::new(cluster.watching_coordinator(0))));
        sleep(START_TIME).await;
    }
    Arc::new(seats)
}

async fn play(cluster: &Arc<Cluster>, seats: &Seats, rng: &mut Rng) {
    let clients = rng.between(2, 4);
    let keys = rng.between(1, 4);
    let players = (0..clients).map(|client| {
        let player = Player {
            cluster: cluster.clone(),
            seats: seats.clone(),
            rng: Rng::new(cluster.world().seed(), 100 + client),
            keys,
            next_tag: FRESH_TAG * (client + 1),
        };
        let turns = rng.between(6, 24);
        Handle::current().spawn(player.play(turns))
    });
    for player in players.collect::<Vec<_>>() {
        if player.await.is_err() {
            cluster.oracle().violated("a request panicked");
        }
    }
}

/// One client's part.
struct Player {
    cluster: Arc<Cluster>,
    seats: Seats,
    rng: Rng,
    keys: u64,
    next_tag: u64,
}

impl Player {
    async fn play(mut self, turns: u64) {
        for _ in 0..turns {
            let think_ms = self.rng.below(250);
            sleep(Duration::from_millis(think_ms)).await;
            let seat = self.rng.below(self.seats.len() as u64) as usize;
            let coordinator = seated(&self.seats, seat);
            if coordinator.calls.is_dead() {
                continue;
            }
            let client = Client::new(self.cluster.oracle().clone(), coordinator);
            self.turn(&client).await;
        }
    }

    async fn turn(&mut self, client: &Client) {
        let key = format!("k{}", self.rng.below(self.keys));
        match self.rng.below(100) {
            0..50 => self.put(client, &key).await,
            50..60 => drop(client.delete(&key, DeleteMode::Mark).await),
            60..63 => drop(client.delete(&key, DeleteMode::Purge).await),
            63..83 => drop(client.get(&key, VersionSelector::Latest).await),
            83..93 => {
                let number = self.rng.between(1, 8);
                drop(client.get(&key, VersionSelector::Number(number)).await);
            }
            _ => drop(client.list().await),
        }
    }

    async fn put(&mut self, client: &Client, key: &str) {
        let body = self.body();
        let condition = match self.rng.below(10) {
            0 => Condition::Absent,
            1 => Condition::Matches(Vec::new()),
            2 => match client.get(key, VersionSelector::Latest).await {
                Ended::Answered(Ok(Got::Version(version, _))) => Condition::Matches(vec![version.sha256]),
                _ => Condition::Absent,
            },
            _ => Condition::None,
        };
        let sending = match self.rng.below(20) {
            0 => Sending::BreaksOff,
            1 => Sending::Slow(Duration::from_millis(self.rng.below(500))),
            _ => Sending::Whole,
        };
        drop(client.put(key, &body, condition, sending).await);
    }

    /// Mostly small, a third of them put before; now and then more than one batch.
    fn body(&mut self) -> TestBody {
        if self.rng.chance(350) {
            let shared = self.rng.below(SHARED_BODIES);
            return TestBody::new(shared, 100 + 1_000 * shared as usize);
        }
        self.next_tag += 1;
        let size = match self.rng.below(100) {
            0..5 => 0,
            5..10 => 1,
            10..16 => ONE_CHUNK_BYTES - 1 + self.rng.below(3) as usize,
            16..19 => 5 * BLOCK_BYTES + self.rng.below(2_000) as usize,
            _ => 8 + self.rng.below(300) as usize,
        };
        TestBody::new(self.next_tag, size)
    }
}

/// All faults are off: everything that was acknowledged can be read, by a coordinator that never saw the storm.
async fn reckon(cluster: &Arc<Cluster>, seats: &Seats) -> Census {
    sleep(CALM).await;
    let fresh = Arc::new(cluster.coordinator().await);
    let oracle = cluster.oracle();
    for coordinator in [fresh, seated(seats, 0)] {
        let client = Client::new(oracle.clone(), coordinator);
        if let Ended::Answered(Ok(_)) = client.list().await {
            read_everything(cluster, &client).await;
        } else {
            oracle.violated("law 1: the listing cannot be read after the storm");
        }
        let body = TestBody::new(u64::MAX, 20);
        if !matches!(client.put("after", &body, Condition::None, Sending::Whole).await, Ended::Answered(Ok(_))) {
            oracle.violated("nothing can be written after the storm");
        }
    }
    sleep(CALM).await;
    oracle.census()
}

async fn read_everything(cluster: &Arc<Cluster>, client: &Client) {
    let oracle = cluster.oracle();
    for (key, number) in oracle.readable() {
        let ended = client.get(&key, VersionSelector::Number(number)).await;
        if !matches!(ended, Ended::Answered(Ok(Got::Version(..)))) {
            oracle.violated(format!("law 1: number {number} of {key} cannot be read after the storm: {ended:?}"));
        }
        drop(client.get(&key, VersionSelector::Latest).await);
    }
}
