//! A cluster: nodes and metadata that last, and coordinators that come and go.
//!
//! What it keeps true: a coordinator that was crashed changes nothing any more, but what it sent before may still arrive; its
//! successor starts from records and disks alone.

use super::call::Calls;
use super::check::Oracle;
use super::clock::SimClock;
use super::ledger::Ledger;
use super::link::{NodeLink, url};
use super::metadata::FaultyMetadata;
use super::node::SimNode;
use super::workers::{Habits, employ};
use super::world::World;
use crate::planted::Bug;
use coordinator::code::Code;
use coordinator::metadata::memory::MemoryMetadata;
use coordinator::metadata::records::{Record, WantedRecord};
use coordinator::metadata::{Batch, Metadata, keys};
use coordinator::nodes::registry::Registry;
use coordinator::nodes::{MemberConfig, Nodes};
use coordinator::object::budget::{Allowance, BUDGET_BYTES_MIN, Budget};
use coordinator::object::{
    ChunkCache, Clients, Compute, Heat, HotFields, LostVersions, Objects, Profiles, Prover, Tasks, Usage,
};
use futures_util::FutureExt;
use protocol::{Clock, ClusterId, Node};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use uuid::Uuid;

/// How often a coordinator probes its nodes; contract A14's default.
const PROBE_EVERY: Duration = Duration::from_secs(30);

/// What is left of each coordinator's budget: so little that uploads get the smallest allowance and make many batches of few
/// bytes.
const BUDGET_BYTES_LEFT: usize = 4 << 20;

/// What is wrong with the cluster's processes; nothing by default.
#[derive(Clone, Copy)]
pub struct Plants {
    /// A bug to be caught.
    pub bug: Option<Bug>,
    /// The code of copies that coordinators write with; the oracle wants one copy more than reading needs all the same.
    pub code: Code,
    /// That of coded chunks, if it is another one than there are nodes for.
    pub ec: Option<Code>,
}

impl Default for Plants {
    fn default() -> Plants {
        Plants { bug: None, code: Code::REPLICATION, ec: None }
    }
}

/// What lasts.
pub struct Cluster {
    world: Arc<World>,
    nodes: Vec<Arc<SimNode>>,
    metadata: Arc<dyn Metadata>,
    oracle: Arc<Oracle>,
    plants: Plants,
    id: ClusterId,
    born: Instant,
    incarnations: AtomicU64,
}

impl Cluster {
    /// `nodes` running nodes with empty disks, and empty metadata.
    pub fn new(seed: u64, nodes: usize, plants: Plants) -> Arc<Cluster> {
        let world = World::new(seed);
        let id = ClusterId(Uuid::from_u128(0x0c15_7e12 + u128::from(seed)));
        let nodes: Vec<Arc<SimNode>> =
            (1..=nodes).map(|place| SimNode::new(&format!("n{place}"), id, world.clone())).collect();
        let memory = Arc::new(MemoryMetadata::new());
        let oracle = Oracle::new(world.clone(), memory.clone(), nodes.clone());
        let metadata = Arc::new(Ledger::new(memory, oracle.clone()));
        let incarnations = AtomicU64::new(0);
        Arc::new(Cluster { world, nodes, metadata, oracle, plants, id, born: Instant::now(), incarnations })
    }

    /// What all parts share.
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Arc<SimNode>] {
        &self.nodes
    }

    /// Who knows what is true.
    pub fn oracle(&self) -> &Arc<Oracle> {
        &self.oracle
    }

    /// A coordinator that has not probed its nodes yet and does not watch them: every call it makes is one that is asked of it.
    pub fn quiet_coordinator(&self) -> Coordinator {
        self.incarnate(self.plants.bug.filter(|bug| !bug.is_workers()))
    }

    /// The same for a process that does the workers' work; bugs of verbs are not planted there, but for those that need a slow worker to show.
    pub fn quiet_worker(&self) -> Coordinator {
        self.incarnate(self.plants.bug.filter(|bug| bug.is_workers() || bug.slows_workers()))
    }

    fn incarnate(&self, bug: Option<Bug>) -> Coordinator {
        let incarnation = self.incarnations.fetch_add(1, Ordering::Relaxed);
        let calls = Calls::new(self.world.clone());
        let clock = SimClock::new(self.born, self.world.seed(), incarnation, 0);
        let mut metadata: Arc<dyn Metadata> =
            Arc::new(FaultyMetadata::new(self.world.clone(), calls.clone(), self.metadata.clone()));
        let mut links: Vec<Arc<dyn Node>> = (0..self.nodes.len()).map(|place| self.link(place, &calls)).collect();
        if let Some(bug) = bug {
            (metadata, links) = bug.planted(&self.world, &self.nodes, metadata, links);
        }
        let registry = Arc::new(Registry::new(metadata.clone(), clock.clone() as Arc<dyn Clock>));
        let members = self.nodes.iter().zip(links);
        let members =
            members.map(|(node, link)| (MemberConfig { url: url(node), id: None, weight_percent: 100 }, link));
        let members = members.collect();
        let nodes = Arc::new(Nodes::new(members, self.id, registry, clock.clone()));
        let budget = Budget::new(BUDGET_BYTES_MIN);
        let held = BUDGET_BYTES_MIN - BUDGET_BYTES_LEFT;
        let scarcity = budget.admit(held, held).now_or_never().expect("nobody else has any").expect("it is there");
        let objects = Objects {
            metadata,
            nodes,
            clock: clock.clone(),
            tasks: Tasks::new(Handle::current()),
            compute: Compute::Inline,
            prover: Prover::default(),
            budget,
            read_budget: Budget::new(BUDGET_BYTES_MIN),
            clients: Clients::default(),
            cache: ChunkCache::new(0),
            usage: Usage::default(),
            heat: Heat::default(),
            hot_fields: HotFields::default(),
            profiles: self.profiles(),
            lost: LostVersions::default(),
        };
        self.world.tell(|| format!("coordinator {incarnation} starts"));
        Coordinator { objects, calls, clock, incarnation, tasks: Vec::new(), _scarcity: scarcity }
    }

    /// What coordinators write with. A coded chunk leaves two nodes free where there are five, so that two may be emptied at once: an
    /// operator's second order may come before the first was taken back.
    fn profiles(&self) -> Profiles {
        let ec = Code { data: 2, parity: if self.nodes.len() < 6 { 1 } else { 2 } };
        Profiles { replication: self.plants.code, ec: self.plants.ec.unwrap_or(ec), ..Profiles::DEFAULT }
    }

    /// A coordinator that has probed its nodes once.
    pub async fn coordinator(&self) -> Coordinator {
        let coordinator = self.quiet_coordinator();
        coordinator.objects.nodes.probe_all().await;
        coordinator
    }

    /// A coordinator that goes on probing them. Needs a `LocalSet`: the watch is not `Send`.
    pub fn watching_coordinator(&self, clock_offset_ms: i64) -> Coordinator {
        self.watching(self.quiet_coordinator(), clock_offset_ms)
    }

    /// A process that does the workers' work, or waits for the lease. Needs a `LocalSet`.
    pub fn worker_process(&self, clock_offset_ms: i64, habits: &Habits) -> Coordinator {
        let mut process = self.watching(self.quiet_worker(), clock_offset_ms);
        let employed = employ(&self.world, &process, habits);
        process.tasks.extend(employed);
        process
    }

    /// The operator has `worker` make a pass.
    pub async fn want(&self, worker: &str) {
        let id = self.world.draw(|rng| Uuid::from_u64_pair(rng.next_u64(), rng.next_u64()));
        let wanted = WantedRecord { since_ms: 1, reason: "the operator wants it".to_owned() };
        let mut commit = Batch::new();
        commit.put(keys::wanted(worker, id), wanted.encode());
        self.operate(commit).await;
    }

    /// The operator changes records, by a way that does not fail.
    pub async fn operate(&self, commit: Batch) {
        // A conflict means that someone got ahead, as it may be with any operator.
        drop(self.metadata.commit(commit).await);
    }

    fn watching(&self, mut coordinator: Coordinator, clock_offset_ms: i64) -> Coordinator {
        coordinator.clock.jump(clock_offset_ms);
        let nodes = coordinator.objects.nodes.clone();
        let watch = tokio::task::spawn_local(async move {
            nodes.probe_all().await;
            nodes.watch(PROBE_EVERY).await;
        });
        coordinator.tasks.push(watch.abort_handle());
        coordinator
    }

    fn link(&self, place: usize, calls: &Arc<Calls>) -> Arc<dyn Node> {
        let (world, calls) = (self.world.clone(), calls.clone());
        Arc::new(NodeLink::new(world, calls, place, self.nodes.clone(), self.oracle.clone()))
    }
}

/// One life of a coordinator.
pub struct Coordinator {
    /// The verbs.
    pub objects: Objects,
    /// Its external calls.
    pub calls: Arc<Calls>,
    /// Its clock.
    pub clock: Arc<SimClock>,
    /// Which life it is.
    pub incarnation: u64,
    tasks: Vec<AbortHandle>,
    _scarcity: Allowance,
}

impl Coordinator {
    /// `kill -9`.
    pub fn crash(&self) {
        self.calls.crash();
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}
