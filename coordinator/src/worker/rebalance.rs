//! Rebalance: has chunks move from nodes that hold more than their part to nodes that hold less, and out of zones that hold two shards of
//! a chunk while another zone holds none. It only queues; repair moves, after everything that is in danger.
//!
//! What it keeps true: a chunk moves only if its target stays below its own part by it, so nothing moves back and forth; while anything
//! is queued for repair, nothing is queued for a move.

use super::census::registered;
use super::{Pass, Progress, Work, Worker};
use crate::metadata::records::{
    ChunkRecord, ChunkState, NodeRecord, NodeState, Record, RepairRecord, SEVERITY_DRAIN, SEVERITY_REBALANCE,
};
use crate::metadata::{Batch, Expect, keys};
use async_trait::async_trait;
use protocol::{ChunkId, Error, NodeId, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tracing::info;
use uuid::Uuid;

/// The worker's name.
pub const REBALANCE: &str = "rebalance";
/// From the end of one pass to the beginning of the next, if no node joined meanwhile.
const INTERVAL: Duration = Duration::from_secs(600);
/// Chunks looked at in one step.
const CHUNKS_MAX: usize = 256;
/// Moves that may be queued; the pass waits for them.
const MOVES_QUEUED_MAX: usize = 512;
/// A node may hold this much more than its part, in percent of it,
const TOLERATED_PERCENT: u64 = 10;
/// and this many bytes more, before anything moves.
const TOLERATED_BYTES: u64 = 8 << 20;

/// The worker.
#[derive(Default)]
pub struct Rebalance {
    plan: Option<Plan>,
}

/// How much each node should give away or may take, in bytes, as far as it is not planned yet.
struct Plan {
    excess: BTreeMap<NodeId, u64>,
    room: BTreeMap<NodeId, u64>,
    zones: BTreeMap<NodeId, String>,
}

impl Plan {
    fn of(work: &Work, nodes: &[NodeRecord]) -> Plan {
        let active: BTreeSet<&NodeId> =
            nodes.iter().filter(|node| node.state == NodeState::Active).map(|node| &node.node).collect();
        let status = work.objects.nodes.status();
        let taking_part: Vec<(NodeId, u64, u64)> = status
            .iter()
            .filter(|node| node.healthy)
            .filter_map(|node| Some((node.id.clone()?, node.live_bytes, node.capacity_bytes)))
            .filter(|(id, ..)| active.contains(id))
            .collect();
        let total: u128 = taking_part.iter().map(|(_, live, _)| u128::from(*live)).sum();
        let capacity: u128 = taking_part.iter().map(|(.., capacity)| u128::from(*capacity)).sum::<u128>().max(1);
        let mut plan = Plan { excess: BTreeMap::new(), room: BTreeMap::new(), zones: BTreeMap::new() };
        for (node, live, capacity_bytes) in taking_part {
            let part = (total * u128::from(capacity_bytes) / capacity) as u64;
            if live > part + part * TOLERATED_PERCENT / 100 + TOLERATED_BYTES {
                plan.excess.insert(node, live - part);
            } else if live < part {
                plan.room.insert(node, part - live);
            }
        }
        plan.zones = nodes.iter().map(|node| (node.node.clone(), node.zone.clone())).collect();
        plan
    }

    /// From where to where a chunk should move, if it should.
    fn moves(&mut self, record: &ChunkRecord, usable: &[NodeId]) -> Option<(NodeId, NodeId)> {
        let bytes = u64::from(record.stored_length);
        let holds = |node: &NodeId| record.shards.iter().any(|place| place.node == *node);
        let zone = |node: &NodeId| self.zones.get(node).cloned().unwrap_or_default();
        let zones: Vec<String> = record.shards.iter().map(|place| zone(&place.node)).collect();
        let crowded = record
            .shards
            .iter()
            .map(|place| &place.node)
            .find(|node| zones.iter().filter(|other| **other == zone(node)).count() > 1);
        if let Some(from) = crowded
            && let Some(to) = usable.iter().find(|node| !holds(node) && !zones.contains(&zone(node)))
        {
            return Some((from.clone(), to.clone()));
        }
        let from = record
            .shards
            .iter()
            .map(|place| &place.node)
            .find(|node| self.excess.get(node).is_some_and(|left| *left >= bytes))?;
        let fits = |node: &&NodeId| {
            let spread = zone(node) == zone(from) || !zones.contains(&zone(node));
            !holds(node) && spread && self.room.get(*node).is_some_and(|left| *left >= bytes)
        };
        let (from, to) = (from.clone(), usable.iter().find(fits)?.clone());
        self.excess.entry(from.clone()).and_modify(|left| *left -= bytes);
        self.room.entry(to.clone()).and_modify(|left| *left -= bytes);
        Some((from, to))
    }
}

#[async_trait]
impl Worker for Rebalance {
    fn name(&self) -> &'static str {
        REBALANCE
    }

    async fn step(&mut self, work: &Work) -> Result<Progress> {
        let mut pass = Pass::read(work, REBALANCE).await?;
        if !pass.is_under_way() {
            self.plan = None;
            if !pass.is_due(work, INTERVAL).await? || !pass.begin(work).await? {
                return Ok(Progress::Idle);
            }
        }
        let queued = work.scan(&keys::repairs(), MOVES_QUEUED_MAX).await?;
        if let Some((first, _)) = queued.first() {
            let (severity, _) = keys::parse_repair(first)?;
            if severity <= SEVERITY_DRAIN {
                return Ok(Progress::Waits("repair comes first".to_owned()));
            }
            if queued.len() == MOVES_QUEUED_MAX {
                return Ok(Progress::Waits("the moves that are queued come first".to_owned()));
            }
        }
        let mut plan = match self.plan.take() {
            Some(plan) => plan,
            None => Plan::of(work, &registered(work).await?),
        };
        let progress = walk(work, &mut pass, &mut plan).await?;
        self.plan = Some(plan);
        Ok(progress)
    }
}

async fn walk(work: &Work, pass: &mut Pass, plan: &mut Plan) -> Result<Progress> {
    let from = match pass.record.position.as_slice() {
        [] => keys::chunks().from,
        bytes => {
            let id = Uuid::from_slice(bytes).map_err(|_| Error::corrupt("the rebalance's position cannot be read"))?;
            keys::after(&keys::chunk(ChunkId(id)))
        }
    };
    let entries = work.objects.metadata.scan(&from, &keys::chunks().to, CHUNKS_MAX).await?;
    let candidates = work.objects.nodes.candidates();
    let mut moves = 0;
    for (key, entry) in &entries {
        let chunk = keys::parse_chunk(key)?;
        let record = ChunkRecord::decode(&entry.value)?;
        if record.state != ChunkState::Live || record.shards.len() < record.code.shards() {
            continue;
        }
        let ranked = crate::placement::choose(chunk, record.code, &candidates);
        let usable: Vec<NodeId> = ranked.ids().take(ranked.usable()).cloned().collect();
        if let Some((away_from, toward)) = plan.moves(&record, &usable) {
            queue(work, chunk, away_from, toward).await?;
            moves += 1;
        }
    }
    pass.count("moves", moves);
    let items = entries.len() as u64;
    if let (CHUNKS_MAX, Some((last, _))) = (entries.len(), entries.last()) {
        pass.record.position = keys::parse_chunk(last)?.0.as_bytes().to_vec();
        pass.save(work).await?;
    } else {
        if pass.counted("moves") > 0 {
            info!(target: "degradation", moves = pass.counted("moves"), "rebalance queued moves");
        }
        pass.finish(work).await?;
    }
    Ok(Progress::Did { items, bytes: 0 })
}

async fn queue(work: &Work, chunk: ChunkId, away_from: NodeId, toward: NodeId) -> Result<()> {
    let reason = format!("{away_from} holds more than its part");
    let (away_from, toward) = (Some(away_from), Some(toward));
    let repair = RepairRecord { away_from, toward, ..RepairRecord::new(chunk, work.objects.clock.now_ms(), &reason) };
    let key = keys::repair(SEVERITY_REBALANCE, chunk);
    let mut commit = Batch::new();
    commit.check(key.clone(), Expect::Absent).put(key, repair.encode());
    work.commit(commit).await.map(drop)
}
