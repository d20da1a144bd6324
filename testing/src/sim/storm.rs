//! A storm: clients, coordinators and nodes under every fault that the seed switches on; then calm, and the reckoning.

mod documents;
mod uploads;
mod work;

use super::body::{BLOCK_BYTES, ONE_CHUNK_BYTES, TestBody};
use super::check::{Census, Counts, Ended, Got};
use super::client::{Client, Sending};
use super::cluster::{Cluster, Plants};
use super::nemesis::{FAULTS, Fault, Nemesis};
use super::reckoning::reckon;
use super::rng::Rng;
use super::runtime::simulate;
use super::seats::Seats;
use super::world::Rates;
use coordinator::metadata::records::{StorageClass, Versioning};
use coordinator::object::{Condition, ContentTag, DeleteMode, VersionSelector};
use documents::Author;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use work::Work;

/// Longer than any storm of simulated time: who is not done by then is stuck.
const STORM_PATIENCE: Duration = Duration::from_secs(86_400);
/// A coordinator has probed its nodes by then.
const START_TIME: Duration = Duration::from_millis(40);
/// Tags of bodies that one client puts again and again begin here.
const OWN_TAG: u64 = 50;
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
    let (mut report, panics) = simulate(run(seed, weather));
    report.violations.extend(panics);
    report
}

async fn run(seed: u64, weather: Weather) -> Report {
    let mut rng = Rng::new(seed, 2);
    let nodes = rng.between(4, 6) as usize;
    let cluster = Cluster::new(seed, nodes, weather.plants);
    let mut faults: Vec<Fault> = FAULTS.into_iter().filter(|_| rng.chance(400)).collect();
    let work = Work::draw(&mut rng, &mut faults);
    if weather.calm {
        faults.clear();
    }
    if rng.chance(300) {
        let zones = rng.between(2, 3) as usize;
        let zoned = cluster.nodes().iter().enumerate();
        zoned.for_each(|(place, node)| node.set_zone(&format!("z{}", place % zones)));
    }
    cluster.world().tell(|| format!("storm {seed}: {nodes} nodes, {faults:?}, {work:?}"));
    let seats = Seats::fill(cluster.clone(), work.coordinators, work.workers, work.habits, START_TIME).await;
    let mut nemesis = Nemesis::new(cluster.clone(), seats.clone(), faults);
    cluster.world().set_rates(Rates { metadata_late: work.metadata_late_per_mille, ..Rates::default() });
    nemesis.set_the_scene();
    let play = play(&cluster, &seats, work);
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

async fn play(cluster: &Arc<Cluster>, seats: &Arc<Seats>, work: Work) {
    let players = (0..work.clients).map(|client| {
        let player = Player {
            cluster: cluster.clone(),
            seats: seats.clone(),
            work,
            place: client,
            rng: Rng::new(cluster.world().seed(), 100 + client),
            next_tag: FRESH_TAG * (client + 1),
            classes: Rng::new(cluster.world().seed(), 200 + client),
            orders: Rng::new(cluster.world().seed(), 300 + client),
        };
        Handle::current().spawn(player.play())
    });
    let authors = documents::authors(cluster.world().seed(), cluster.nodes().len());
    let authors = (0..authors).map(|place| {
        let author = Author::new(cluster.clone(), seats.clone(), place);
        Handle::current().spawn(author.play())
    });
    for player in players.chain(authors).collect::<Vec<_>>() {
        if player.await.is_err() {
            cluster.oracle().violated("a request panicked");
        }
    }
}

/// One client's part.
struct Player {
    cluster: Arc<Cluster>,
    seats: Arc<Seats>,
    work: Work,
    place: u64,
    rng: Rng,
    next_tag: u64,
    /// What decides how a write is stored.
    classes: Rng,
    /// What decides about what is stored otherwise later.
    orders: Rng,
}

impl Player {
    async fn play(mut self) {
        for _ in 0..self.work.turns {
            let think_ms = self.rng.below(self.work.think_ms_max);
            sleep(Duration::from_millis(think_ms)).await;
            let seat = self.rng.below(self.seats.coordinators() as u64) as usize;
            let coordinator = self.seats.at(seat);
            if coordinator.calls.is_dead() {
                continue;
            }
            let client = Client::new(self.cluster.oracle().clone(), coordinator).storing_as(self.class());
            self.turn(&client).await;
            self.order(&client).await;
        }
    }

    /// In a third of the storms, has what there is stored as another class now and then.
    async fn order(&mut self, client: &Client) {
        let percent = [0, 0, 15][self.cluster.world().seed() as usize / 4 % 3];
        if self.orders.below(100) < percent {
            let place = self.orders.below(self.work.keys);
            let key = format!("{}k{place}", self.orders.pick(&["", "", "", "bucket-a/"]));
            let class = *self.orders.pick(&[StorageClass::Standard, StorageClass::StandardIa]);
            client.order_transition(&key, class).await;
        }
    }

    async fn turn(&mut self, client: &Client) {
        if self.rng.below(100) < self.work.uploads_percent {
            return self.upload_or_copy(client).await;
        }
        if self.rng.below(100) < self.work.buckets_percent {
            return self.turn_in_bucket(client).await;
        }
        let key = format!("k{}", self.rng.below(self.work.keys));
        if self.rng.below(100) < self.work.replaces_percent {
            return self.replace(client).await;
        }
        if self.work.removes_per_mille > 0 && self.rng.chance(self.work.removes_per_mille) {
            return client.remove_any(&key).await;
        }
        if self.rng.below(100) < self.work.purges_percent {
            return drop(client.delete(&key, DeleteMode::Purge).await);
        }
        match self.rng.below(100) {
            0..52 => self.put(client, &key).await,
            52..62 => drop(client.delete(&key, DeleteMode::Mark).await),
            62..83 => drop(client.get(&key, VersionSelector::Latest).await),
            83..93 => {
                let number = self.rng.between(1, 8);
                drop(client.get(&key, VersionSelector::Number(number)).await);
            }
            93..96 => drop(client.history(&key).await),
            96 => client.order_verification().await,
            _ => drop(client.list().await),
        }
    }

    /// In a bucket that comes and goes, and keeps its versions or does not.
    async fn turn_in_bucket(&mut self, client: &Client) {
        let bucket = *self.rng.pick(&["bucket-a", "bucket-b"]);
        let key = format!("{bucket}/k{}", self.rng.below(2));
        match self.rng.below(100) {
            0..40 => self.put(client, &key).await,
            40..54 => {
                let mode = *self.rng.pick(&[DeleteMode::Mark, DeleteMode::MarkAlways, DeleteMode::Purge]);
                drop(client.delete(&key, mode).await);
            }
            54..64 => client.remove_any(&key).await,
            64..74 => drop(client.get(&key, VersionSelector::Latest).await),
            74..78 => drop(client.list_bucket(bucket).await),
            78..82 => {
                let mode = *self.rng.pick(&[Versioning::Enabled, Versioning::Suspended]);
                drop(client.set_versioning(bucket, mode).await);
            }
            82..88 => {
                let mode = *self.rng.pick(&[Versioning::Off, Versioning::Off, Versioning::Enabled]);
                drop(client.create_bucket(bucket, mode).await);
            }
            88..91 => {
                client.set_tags(&key).await;
            }
            _ => drop(client.delete_bucket(bucket).await),
        }
    }

    /// Purges this client's own key and puts what no other client puts, in whole or as the start of something new.
    async fn replace(&mut self, client: &Client) {
        let key = format!("own{}", self.place);
        drop(client.delete(&key, DeleteMode::Purge).await);
        let pause_ms = self.rng.below(150);
        sleep(Duration::from_millis(pause_ms)).await;
        let body = match self.rng.below(100) < self.work.mixed_percent {
            true => TestBody::with_known_start(OWN_TAG + self.place, self.fresh_tag(), 300),
            false => TestBody::new(OWN_TAG + self.place, 700),
        };
        drop(client.put(&key, &body, Condition::None, Sending::Whole).await);
    }

    /// How the turn's writes are stored: as copies, as coded chunks, or, in most storms, now so and now so.
    fn class(&mut self) -> StorageClass {
        let coded_percent = [0, 30, 60, 100][self.cluster.world().seed() as usize % 4];
        match self.classes.below(100) < coded_percent {
            true => StorageClass::StandardIa,
            false => StorageClass::Standard,
        }
    }

    fn fresh_tag(&mut self) -> u64 {
        self.next_tag += 1;
        self.next_tag
    }

    async fn put(&mut self, client: &Client, key: &str) {
        let body = self.body();
        let condition = match self.rng.below(10) {
            0 => Condition::Absent,
            1 => Condition::Matches(Vec::new()),
            2 => match client.get(key, VersionSelector::Latest).await {
                Ended::Answered(Ok(Got::Version(version, _))) => {
                    Condition::Matches(version.sha256.map(ContentTag::Sha256).into_iter().collect())
                }
                _ => Condition::Absent,
            },
            _ => Condition::None,
        };
        let sending = match self.rng.below(100) {
            0..5 => Sending::BreaksOff,
            percent if percent < 5 + self.work.slow_percent => Sending::Slow(self.pause()),
            _ => Sending::Whole,
        };
        drop(client.put(key, &body, condition, sending).await);
    }

    /// Between the pieces of a body: mostly short.
    fn pause(&mut self) -> Duration {
        let bound_ms = *self.rng.pick(&[20, 20, 20, 500]);
        Duration::from_millis(self.rng.below(bound_ms))
    }

    /// Mostly small, some of them put before, in whole or in part; now and then more than one batch.
    fn body(&mut self) -> TestBody {
        if self.rng.chance(self.work.shared_per_mille) {
            let shared = self.rng.below(self.work.bodies);
            if self.rng.below(100) < self.work.mixed_percent {
                return TestBody::with_known_start(shared, self.fresh_tag(), 300);
            }
            let large = self.rng.below(100) < self.work.large_percent;
            let bytes = if large { 4 * BLOCK_BYTES } else { 100 + 1_000 * shared as usize };
            return TestBody::new(shared, bytes);
        }
        let tag = self.fresh_tag();
        let small = match self.rng.below(100) {
            0..5 => 0,
            5..10 => 1,
            10..16 => ONE_CHUNK_BYTES - 1 + self.rng.below(3) as usize,
            _ => 8 + self.rng.below(300) as usize,
        };
        let large = self.rng.below(100) < self.work.large_percent;
        TestBody::new(tag, if large { 4 * BLOCK_BYTES + small } else { small })
    }
}
