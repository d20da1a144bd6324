//! Breaks things and mends them, by chance from the seed, within the fault model: any number of crashes, pauses and lost
//! messages, and one of: the loss of a disk, damage to at most one copy of each chunk, a node that gives out wrong bytes. And there is
//! an operator, who has a node emptied.

use super::cluster::{Cluster, Coordinator};
use super::node::{Held, SimNode};
use super::rng::Rng;
use super::seats::Seats;
use super::world::Rates;
use coordinator::metadata::records::{ChunkRecord, NodeRecord, NodeState, Record};
use coordinator::metadata::{Batch, Expect, keys};
use coordinator::worker::lease::LEASE;
use protocol::ShardId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// A kind of fault; each seed switches each on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A node dies and comes back.
    NodeCrash,
    /// A node is stopped and goes on.
    NodeStop,
    /// A node answers late for a while.
    NodeSlow,
    /// A node has no room for a while.
    NodeFull,
    /// All nodes lose power at once.
    PowerCut,
    /// A stored shard rots; at most one of a chunk.
    Rot,
    /// One node loses its disk; once.
    DiskLoss,
    /// A node gives out wrong bytes as if they were right, for a while.
    NodeLies,
    /// A node is away for so long that it counts as lost, and comes back.
    NodeLost,
    /// The operator has a node emptied; mostly they think better of it.
    NodeDrained,
    /// A coordinator dies, and another takes its place.
    CoordinatorCrash,
    /// A coordinator is stopped and goes on.
    CoordinatorPause,
    /// Who does the workers' work is stopped for longer than a lease lasts, and goes on.
    WorkerPause,
    /// A coordinator's clock jumps.
    ClockJump,
    /// Messages and answers are lost, late, or come twice.
    BadLinks,
    /// Commits are refused, or their answers lost.
    BadMetadata,
}

/// Every kind.
pub const FAULTS: [Fault; 16] = [
    Fault::NodeCrash,
    Fault::NodeStop,
    Fault::NodeSlow,
    Fault::NodeFull,
    Fault::PowerCut,
    Fault::Rot,
    Fault::DiskLoss,
    Fault::NodeLies,
    Fault::NodeLost,
    Fault::NodeDrained,
    Fault::CoordinatorCrash,
    Fault::CoordinatorPause,
    Fault::WorkerPause,
    Fault::ClockJump,
    Fault::BadLinks,
    Fault::BadMetadata,
];

/// The most messages that bad links or metadata spoil, in a thousand.
const RATE_MAX: u64 = 300;
/// The same, for what is bad for the whole storm.
const BASE_RATE_MAX: u64 = 80;

/// The one who breaks things.
pub struct Nemesis {
    cluster: Arc<Cluster>,
    seats: Arc<Seats>,
    rng: Rng,
    faults: Vec<Fault>,
    disk_lost: bool,
    drained: Option<Arc<SimNode>>,
    struck: BTreeMap<Fault, u64>,
}

impl Nemesis {
    /// One that knows `faults`.
    pub fn new(cluster: Arc<Cluster>, seats: Arc<Seats>, mut faults: Vec<Fault>) -> Nemesis {
        let rng = Rng::new(cluster.world().seed(), 3);
        // One permanent loss at a time is tolerated, not two; a node that lies is as bad while it does.
        let losses = [Fault::DiskLoss, Fault::Rot, Fault::NodeLies];
        let first = faults.iter().copied().find(|fault| losses.contains(fault));
        faults.retain(|fault| !losses.contains(fault) || Some(*fault) == first);
        if seats.workers() == 0 {
            faults.retain(|fault| *fault != Fault::WorkerPause);
        }
        Nemesis { cluster, seats, rng, faults, disk_lost: false, drained: None, struck: BTreeMap::new() }
    }

    /// How often each fault struck.
    pub fn struck(&self) -> &BTreeMap<Fault, u64> {
        &self.struck
    }

    /// Breaks things, one after the other, until it is dropped.
    pub async fn rage(&mut self) {
        if self.faults.is_empty() {
            return std::future::pending().await;
        }
        loop {
            let calm_ms = self.rng.between(5, 250);
            sleep(Duration::from_millis(calm_ms)).await;
            let fault = *self.rng.pick(&self.faults);
            self.cluster.world().tell(|| format!("nemesis {fault:?}"));
            if self.strike(fault).await {
                *self.struck.entry(fault).or_default() += 1;
            }
        }
    }

    /// Mends everything.
    pub fn relent(&self) {
        self.cluster.world().calm_down();
        for node in self.cluster.nodes() {
            node.resume();
            node.start();
            node.set_full(false);
            node.set_slow(Duration::ZERO);
            node.set_lying(false);
        }
        for seat in 0..self.seats.len() {
            if self.seats.at(seat).calls.is_dead() {
                self.seats.reseat(seat, 0);
            }
        }
    }

    async fn strike(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::NodeCrash => self.crash_node().await,
            Fault::NodeStop => self.stop_node().await,
            Fault::NodeSlow => {
                let slow_ms = self.rng.between(20, 2_500);
                self.with_node(
                    |node| node.set_slow(Duration::from_millis(slow_ms)),
                    |node| node.set_slow(Duration::ZERO),
                )
                .await
            }
            Fault::NodeFull => self.with_node(|node| node.set_full(true), |node| node.set_full(false)).await,
            Fault::PowerCut => self.cut_power().await,
            Fault::Rot => self.rot(),
            Fault::DiskLoss => self.lose_disk(),
            Fault::NodeLies => self.with_node(|node| node.set_lying(true), |node| node.set_lying(false)).await,
            Fault::NodeLost => self.lose_node().await,
            Fault::NodeDrained => self.drain().await,
            Fault::CoordinatorCrash => self.crash_coordinator().await,
            Fault::CoordinatorPause => {
                let pause = Duration::from_millis(self.rng.between(20, 3_000));
                self.coordinator().calls.pause(pause);
                sleep(pause).await;
                true
            }
            Fault::WorkerPause => {
                let pause_ms = LEASE.as_millis() as u64 + self.rng.between(500, 8_000);
                let worker = self.seats.coordinators() + self.rng.below(self.seats.workers() as u64) as usize;
                self.seats.at(worker).calls.pause(Duration::from_millis(pause_ms));
                // Others strike meanwhile.
                let rest_ms = self.rng.below(pause_ms);
                sleep(Duration::from_millis(rest_ms)).await;
                true
            }
            Fault::ClockJump => {
                let days = self.rng.below(20) as i64 - 10;
                self.coordinator().clock.jump(days * 86_400_000 + 1);
                true
            }
            Fault::BadLinks | Fault::BadMetadata => self.spoil(fault).await,
        }
    }

    fn node(&mut self) -> Arc<SimNode> {
        self.rng.pick(self.cluster.nodes()).clone()
    }

    fn seat(&mut self) -> usize {
        self.rng.below(self.seats.len() as u64) as usize
    }

    fn coordinator(&mut self) -> Arc<Coordinator> {
        let seat = self.seat();
        self.seats.at(seat)
    }

    /// Mostly short, now and then long enough for breakers and probes to notice.
    async fn last(&mut self) {
        let bound_ms = if self.rng.chance(150) { 8_000 } else { 700 };
        let lasts_ms = self.rng.between(5, bound_ms);
        sleep(Duration::from_millis(lasts_ms)).await;
    }

    async fn with_node(&mut self, breaks: impl FnOnce(&SimNode), mends: impl FnOnce(&SimNode)) -> bool {
        let node = self.node();
        breaks(&node);
        self.last().await;
        mends(&node);
        true
    }

    async fn crash_node(&mut self) -> bool {
        self.with_node(SimNode::crash, SimNode::start).await
    }

    async fn stop_node(&mut self) -> bool {
        self.with_node(SimNode::stop, SimNode::resume).await
    }

    async fn cut_power(&mut self) -> bool {
        self.cluster.nodes().iter().for_each(|node| node.crash());
        self.last().await;
        for place in 0..self.cluster.nodes().len() {
            let pause_ms = self.rng.below(200);
            sleep(Duration::from_millis(pause_ms)).await;
            self.cluster.nodes()[place].start();
        }
        true
    }

    /// Damages one shard of a chunk whose other named shards are all good.
    fn rot(&mut self) -> bool {
        let view = self.cluster.oracle().view();
        let chunks = view.scan(&keys::chunks());
        if chunks.is_empty() {
            return false;
        }
        let (key, entry) = self.rng.pick(&chunks).clone();
        let chunk = keys::parse_chunk(&key).expect("a key of that range");
        let record = ChunkRecord::decode(&entry.value).expect("the product wrote it");
        let good = record.shards.iter().all(|place| matches!(view.held(chunk, place), Held::Good { .. }));
        if !good || record.shards.len() < 2 {
            return false;
        }
        let place = self.rng.pick(&record.shards).clone();
        let node = self.cluster.nodes().iter().find(|node| *node.id() == place.node).expect("records name nodes");
        node.flip(ShardId { chunk, index: place.index })
    }

    fn lose_disk(&mut self) -> bool {
        if std::mem::replace(&mut self.disk_lost, true) {
            return false;
        }
        let node = self.node();
        node.wipe();
        node.start();
        true
    }

    /// So long that every drawn patience with silent nodes but the longest is over.
    async fn lose_node(&mut self) -> bool {
        let node = self.node();
        node.crash();
        let away_ms = self.rng.between(2_000, 9_000);
        sleep(Duration::from_millis(away_ms)).await;
        node.start();
        true
    }

    /// One node at a time, and only where four others are left.
    async fn drain(&mut self) -> bool {
        if let Some(node) = self.drained.take() {
            return self.set_state(&node, NodeState::Active).await;
        }
        let node = self.node();
        if self.cluster.nodes().len() < 5 || !self.set_state(&node, NodeState::Draining).await {
            return false;
        }
        self.drained = Some(node);
        true
    }

    async fn set_state(&mut self, node: &SimNode, state: NodeState) -> bool {
        let key = keys::node(node.id());
        let Some(entry) = self.cluster.oracle().view().get(&key) else { return false };
        let record = NodeRecord::decode(&entry.value).expect("the product wrote it");
        if record.state == NodeState::Lost {
            return false;
        }
        let record = NodeRecord { state, ..record };
        let mut commit = Batch::new();
        commit.check(key.clone(), Expect::Revision(entry.revision)).put(key, record.encode());
        self.cluster.operate(commit).await;
        true
    }

    async fn crash_coordinator(&mut self) -> bool {
        let seat = self.seat();
        self.seats.at(seat).crash();
        let gone_ms = self.rng.between(1, 300);
        sleep(Duration::from_millis(gone_ms)).await;
        let offset_ms = if self.faults.contains(&Fault::ClockJump) { self.rng.below(4_000) as i64 - 2_000 } else { 0 };
        self.seats.reseat(seat, offset_ms);
        true
    }

    /// What is bad for the whole storm, where the seed wants it.
    pub fn set_the_scene(&mut self) {
        let rates = self.spoilt(self.cluster.world().rates(), &self.faults.clone(), BASE_RATE_MAX);
        self.cluster.world().set_rates(rates);
    }

    async fn spoil(&mut self, fault: Fault) -> bool {
        let before = self.cluster.world().rates();
        let rates = self.spoilt(before, &[fault], RATE_MAX);
        self.cluster.world().set_rates(rates);
        self.last().await;
        self.cluster.world().set_rates(before);
        true
    }

    fn spoilt(&mut self, mut rates: Rates, faults: &[Fault], max: u64) -> Rates {
        let rng = &mut self.rng;
        let mut rate = || if rng.chance(500) { rng.below(max) } else { 0 };
        if faults.contains(&Fault::BadMetadata) {
            rates.commit_refused = rate();
            rates.commit_reply_lost = rate();
            rates.commit_lands_late = rate();
            rates.metadata_read_fails = rate() / 2;
            rates.metadata_late = rate();
        }
        if faults.contains(&Fault::BadLinks) {
            rates.node_request_lost = rate();
            rates.node_reply_lost = rate();
            rates.node_request_twice = rate();
            rates.fsync_fails = rate();
            rates.late = rate();
        }
        rates
    }
}
