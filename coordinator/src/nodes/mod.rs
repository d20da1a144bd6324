//! The storage nodes: who they are, how they fare, and in which order to turn to them.
//!
//! What it keeps true:
//! - Health and breakers are hints (I20): they change an order, they never hide a node that may hold the last copy.
//! - A node that names another cluster, another node or an unknown disk is never used (I21).
//! - Every probe round ends within a bound, whatever the nodes do.
//! - Reading the snapshot of candidates costs a lock and a reference count; it is rebuilt when something changed, and at most
//!   every [`SNAPSHOT_FOR`] otherwise.

pub mod breaker;
pub mod client;
pub mod home;
mod journal;
mod member;
mod operation;
pub mod orders;
mod probe;
mod read_times;
pub mod registry;
mod report;
pub mod request_id;
mod roster;
#[cfg(test)]
mod tests;
mod vitals;

pub use breaker::Refused;
pub use member::{GIVEN_UP_COUNTS_AFTER, Member, MemberConfig};
pub use probe::{KnownNodes, PROBE_TIMEOUT, UNREACHABLE_PROBE_EVERY};
pub use read_times::ReadTimes;
pub use report::NodeReport;
pub use request_id::REQUEST_ID;
pub use roster::{Connect, NODES_MAX};

use crate::metadata::records::{NodeRecord, NodeState};
use crate::placement::{Candidate, Circuit, Health};
use protocol::{Clock, ClusterId, Error, Node, NodeId, Result};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How old a snapshot of the candidates may grow while nothing but load and free space changes.
pub const SNAPSHOT_FOR: Duration = Duration::from_millis(50);
/// How many calls under way halve a node's part of new chunks.
const IN_FLIGHT_HALVES_AT: u64 = 64;
/// Writes that take less than this are at ease, whatever the other nodes take.
const WRITE_AT_EASE_US: u64 = 5_000;
/// How much longer than the median a node's writes may take before it gets less, in percent.
const SLOWER_TOLERATED_PERCENT: u64 = 50;
/// The highest load told to placement: a slow node still gets a tenth of its part.
const LOAD_PERCENT_MAX: u64 = 900;

/// All storage nodes of the cluster.
pub struct Nodes {
    members: RwLock<Arc<Vec<Arc<Member>>>>,
    connect: Option<Connect>,
    cluster: ClusterId,
    known: Arc<dyn KnownNodes>,
    clock: Arc<dyn Clock>,
    /// Raised by members when something changed that candidates show.
    changes: Arc<AtomicU64>,
    snapshot: RwLock<Snapshot>,
    /// Held while a node joins: one after the other.
    joining: Mutex<()>,
    /// Held from reading the records to noting them.
    refreshing: Mutex<()>,
    /// What each is to the cluster, as it was last read.
    records: RwLock<BTreeMap<NodeId, Known>>,
    born: Instant,
    /// How long they take to read a shard.
    pub read_times: ReadTimes,
}

/// What the catalog says of a node, as far as an order of nodes depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    state: NodeState,
    weight_percent: u32,
    unproved: bool,
}

impl Known {
    fn of(record: &NodeRecord) -> Known {
        Known { state: record.state, weight_percent: record.weight, unproved: record.unproved }
    }

    fn is_leaving(&self) -> bool {
        matches!(self.state, NodeState::Draining | NodeState::Drained)
    }
}

struct Snapshot {
    built: Instant,
    changes: u64,
    candidates: Arc<Vec<Candidate>>,
    by_id: HashMap<NodeId, Arc<Member>>,
}

impl Nodes {
    /// The nodes of `cluster`, none of them probed yet: call [`Nodes::probe_all`] before the first use.
    pub fn new(
        members: Vec<(MemberConfig, Arc<dyn Node>)>,
        cluster: ClusterId,
        known: Arc<dyn KnownNodes>,
        clock: Arc<dyn Clock>,
    ) -> Nodes {
        let changes = Arc::new(AtomicU64::new(1));
        let member = |(config, node)| Arc::new(Member::new(config, node, Arc::clone(&changes)));
        let members: Vec<Arc<Member>> = members.into_iter().map(member).collect();
        let snapshot = RwLock::new(build_snapshot(&members, &BTreeMap::new(), 0, Instant::now()));
        Nodes {
            members: RwLock::new(Arc::new(members)),
            connect: None,
            cluster,
            known,
            clock,
            changes,
            snapshot,
            joining: Mutex::default(),
            refreshing: Mutex::default(),
            records: RwLock::default(),
            born: Instant::now(),
            read_times: ReadTimes::default(),
        }
    }

    /// What placement should know of the nodes right now. Nodes that never showed their name are missing.
    pub fn candidates(&self) -> Arc<Vec<Candidate>> {
        self.with_snapshot(|snapshot| Arc::clone(&snapshot.candidates))
    }

    /// The node of this name.
    pub fn member(&self, id: &NodeId) -> Option<Arc<Member>> {
        self.with_snapshot(|snapshot| snapshot.by_id.get(id).cloned())
    }

    /// The names of all nodes that are known by name.
    pub fn registered(&self) -> Vec<NodeId> {
        self.members().iter().filter_map(|member| member.id().cloned()).collect()
    }

    /// The names of those that are down or whose breaker is open.
    pub fn unreachable(&self) -> BTreeSet<NodeId> {
        let out = |member: &&Arc<Member>| member.vitals().health() == Health::Down || member.circuit() == Circuit::Open;
        self.members().iter().filter(out).filter_map(|member| member.id().cloned()).collect()
    }

    /// The names of those that should answer: neither down, nor open, nor never heard of.
    pub fn answering(&self) -> BTreeSet<NodeId> {
        let unreachable = self.unreachable();
        self.registered().into_iter().filter(|id| !unreachable.contains(id)).collect()
    }

    /// Those of them that have what the records say, as far as anyone can know: not a node whose disk was replaced, until a census finds
    /// nothing missing on it.
    pub fn proved(&self) -> BTreeSet<NodeId> {
        let mut answering = self.answering();
        let records = self.records.read().expect("no one panics while noting records");
        answering.retain(|node| !records.get(node).is_some_and(|known| known.unproved));
        drop(records);
        answering.retain(|node| self.member(node).is_none_or(|member| !member.is_doubted()));
        answering
    }

    /// Nodes that are being emptied, or are empty.
    pub fn leaving(&self) -> BTreeSet<NodeId> {
        let records = self.records.read().expect("no one panics while noting records");
        records.iter().filter(|(_, known)| known.is_leaving()).map(|(node, _)| node.clone()).collect()
    }

    /// Nodes that are empty and do not answer: nobody waits for them.
    pub fn switched_off(&self) -> BTreeSet<NodeId> {
        let unreachable = self.unreachable();
        let records = self.records.read().expect("no one panics while noting records");
        let drained = records.iter().filter(|(_, known)| known.state == NodeState::Drained).map(|(node, _)| node);
        drained.filter(|node| unreachable.contains(*node)).cloned().collect()
    }

    /// Refuses a write while half of the nodes or more do not answer (decision 0004).
    pub fn require_majority(&self) -> Result<()> {
        self.require_majority_without(&BTreeSet::new())
    }

    /// The same, where nodes that `failed` the write count among those that do not answer.
    pub fn require_majority_without(&self, failed: &BTreeSet<NodeId>) -> Result<()> {
        // A second address of a node, and what is of another cluster, is none of the nodes.
        let members = self.members();
        let is_node = |member: &&Arc<Member>| !member.is_stranger();
        let registered = members.iter().filter(is_node).count();
        let answering = self.answering();
        let answering: BTreeSet<&NodeId> = answering.difference(failed).collect();
        if 2 * answering.len() > registered {
            return Ok(());
        }
        // Nodes that were emptied and switched off are no part of any majority.
        let switched_off = self.switched_off();
        let registered = registered.saturating_sub(switched_off.len());
        if 2 * answering.len() > registered {
            return Ok(());
        }
        let answers = |id: &NodeId| answering.contains(id) || switched_off.contains(id);
        let silent = members.iter().filter(is_node).filter(|node| !node.id().is_some_and(answers));
        let silent: Vec<&str> = silent.map(|node| node.label()).collect();
        Err(Error::unavailable(format!(
            "{} of {registered} storage nodes do not answer ({}); a write needs more than half of them, retry when they \
             are back",
            silent.len(),
            silent.join(", ")
        )))
    }

    /// Raised whenever a node's health, breaker, room or state changed.
    pub fn health_changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Since when this process knows of the nodes.
    pub fn age(&self) -> Duration {
        self.born.elapsed()
    }

    /// The order in which to read from these nodes: those in good health before those that failed lately, on trial, or open or
    /// down; within each, the one that should answer soonest first. Names no one knows come last. None is ever dropped (I20).
    pub fn read_order(&self, ids: &[NodeId]) -> Vec<NodeId> {
        let now = Instant::now();
        let mut order: Vec<(ReadRank, &NodeId)> = self.with_snapshot(|snapshot| {
            let rank = |id| snapshot.by_id.get(id).map_or(ReadRank::NO_ONE, |member| ReadRank::of(member, now));
            ids.iter().map(|id| (rank(id), id)).collect()
        });
        order.sort_by_key(|(rank, _)| *rank);
        order.into_iter().map(|(_, id)| id.clone()).collect()
    }

    fn with_snapshot<T>(&self, read: impl Fn(&Snapshot) -> T) -> T {
        let now = Instant::now();
        let changes = self.changes.load(Ordering::Acquire);
        {
            let snapshot = self.snapshot.read().expect("no one panics while building a snapshot");
            if snapshot.changes == changes && now.duration_since(snapshot.built) < SNAPSHOT_FOR {
                return read(&snapshot);
            }
        }
        let mut snapshot = self.snapshot.write().expect("no one panics while building a snapshot");
        if snapshot.changes < changes || now.duration_since(snapshot.built) >= SNAPSHOT_FOR {
            let records = self.records.read().expect("no one panics while noting records");
            *snapshot = build_snapshot(&self.members(), &records, changes, now);
        }
        read(&snapshot)
    }
}

/// Sorts reads: what speaks against the node first, then the wait to be expected, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ReadRank(u8, u64);

impl ReadRank {
    const NO_ONE: ReadRank = ReadRank(u8::MAX, 0);

    fn of(member: &Member, now: Instant) -> ReadRank {
        let vitals = member.vitals();
        let doubt = match (vitals.health(), vitals.breaker.circuit(now)) {
            (Health::Healthy, Circuit::Closed) => 0,
            (Health::Suspect, Circuit::Closed) => 1,
            (Health::Healthy | Health::Suspect, Circuit::HalfOpen) => 2,
            (Health::Healthy | Health::Suspect, Circuit::Open) => 3,
            (Health::Down, _) => 4,
        };
        let wait_us = vitals.reads.us(now).saturating_mul(u64::from(member.in_flight()) + 1);
        ReadRank(doubt, wait_us)
    }
}

fn build_snapshot(members: &[Arc<Member>], records: &BTreeMap<NodeId, Known>, changes: u64, now: Instant) -> Snapshot {
    let named = || members.iter().filter_map(|member| Some((member.id()?, member)));
    let median_us = median_write_us(members, now);
    // What is drained may be switched off at any time, and is no last resort either.
    let drained = |id: &NodeId| records.get(id).is_some_and(|known| known.state == NodeState::Drained);
    let candidates = named().filter(|(id, _)| !drained(id)).map(|(id, member)| {
        let weight_percent = match records.get(id) {
            Some(known) if known.is_leaving() => 0,
            Some(known) => known.weight_percent,
            None => member.config().weight_percent,
        };
        Candidate { weight_percent, ..candidate(id, member, median_us, now) }
    });
    let candidates = candidates.collect();
    let by_id = named().map(|(id, member)| (id.clone(), Arc::clone(member))).collect();
    Snapshot { built: now, changes, candidates: Arc::new(candidates), by_id }
}

fn candidate(id: &NodeId, member: &Member, median_us: u64, now: Instant) -> Candidate {
    let vitals = member.vitals();
    let health = vitals.health.as_ref();
    Candidate {
        id: id.clone(),
        zone: health.map_or_else(String::new, |health| health.zone.clone()),
        weight_percent: member.config().weight_percent,
        free_bytes: health.map_or(0, |health| member.free_bytes(health)),
        capacity_bytes: health.map_or(0, |health| health.capacity_bytes),
        load_percent: load_percent(member.in_flight(), vitals.writes.us(now), median_us),
        health: vitals.health(),
        circuit: vitals.breaker.circuit(now),
        accepts_writes: vitals.accepts_writes(),
    }
}

/// Calls under way tell of a node that everyone waits for, slow writes of one that is slow even when few do.
fn load_percent(in_flight: u32, write_us: u64, median_us: u64) -> u32 {
    let crowd_percent = u64::from(in_flight) * 100 / IN_FLIGHT_HALVES_AT;
    let usual_us = median_us.max(WRITE_AT_EASE_US);
    let slower_percent = (write_us * 100 / usual_us).saturating_sub(100 + SLOWER_TOLERATED_PERCENT);
    u32::try_from((crowd_percent + slower_percent).min(LOAD_PERCENT_MAX)).expect("bounded")
}

fn median_write_us(members: &[Arc<Member>], now: Instant) -> u64 {
    let mut all_us: Vec<u64> =
        members.iter().map(|member| member.vitals().writes.us(now)).filter(|write_us| *write_us > 0).collect();
    all_us.sort_unstable();
    all_us.get(all_us.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}
