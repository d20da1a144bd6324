//! Rebalance: has chunks move from nodes that hold more than their part to nodes that hold less, and out of zones that hold two shards of
//! a chunk while another zone holds none. It only queues; repair moves, after everything that is in danger.
//!
//! What it keeps true:
//! - A plan is made only when no earlier move is queued or waits for its old copy's end, from what the nodes say then.
//! - By a plan no node gives away more than it has above its part, and none gets more than it lacks, so nothing moves back and forth;
//!   while no node is off its part by more than is tolerated, nothing moves for it.
//! - A chunk never has two shards in one zone because of a move.
//! - While anything is queued for repair, nothing is queued for a move; the queue of moves is bounded.

use super::census::registered;
use super::{Pass, Progress, Work, Worker};
use crate::metadata::keys::KeyRange;
use crate::metadata::records::{
    ChunkRecord, ChunkState, NodeRecord, NodeState, Record, RepairRecord, SEVERITY_REBALANCE,
};
use crate::metadata::{Batch, Expect, Reserve, keys};
pub use crate::nodes::registry::REBALANCE;
use async_trait::async_trait;
use protocol::{ChunkId, Error, NodeId, Result};
use std::collections::BTreeMap;
use std::time::Duration;
use tracing::info;
use uuid::Uuid;

/// From the end of one pass to the beginning of the next, if no node joined meanwhile.
const INTERVAL: Duration = Duration::from_secs(600);
/// Chunks looked at in one step.
const CHUNKS_MAX: usize = 256;
/// Moves that may be queued; the pass waits for them.
const MOVES_QUEUED_MAX: usize = 512;
/// A node may hold this much more or less than its part, in percent of it,
const TOLERATED_PERCENT: u64 = 10;
/// and this many bytes, before anything moves.
const TOLERATED_BYTES: u64 = 8 << 20;

/// The worker.
#[derive(Default)]
pub struct Rebalance {
    plan: Option<Plan>,
}

/// How much each node should give away or may take, in bytes, as far as it is not planned yet.
#[derive(Debug, Default)]
struct Plan {
    excess: BTreeMap<NodeId, u64>,
    room: BTreeMap<NodeId, u64>,
    zones: BTreeMap<NodeId, String>,
}

/// A node that takes part: what it holds, and its claim to a part of everything.
#[derive(Debug)]
struct Share {
    node: NodeId,
    live_bytes: u64,
    claim: u128,
}

impl Plan {
    fn of(shares: &[Share], zones: BTreeMap<NodeId, String>) -> Plan {
        let total: u128 = shares.iter().map(|share| u128::from(share.live_bytes)).sum();
        let claims: u128 = shares.iter().map(|share| share.claim).sum::<u128>().max(1);
        let part = |share: &Share| (total * share.claim / claims) as u64;
        let tolerated = |part: u64| part / 100 * TOLERATED_PERCENT + TOLERATED_BYTES;
        let over = |share: &Share| share.live_bytes > part(share) + tolerated(part(share));
        let under = |share: &Share| share.live_bytes + tolerated(part(share)) < part(share);
        let (any_over, any_under) = (shares.iter().any(over), shares.iter().any(under));
        let mut plan = Plan { zones, ..Plan::default() };
        for share in shares {
            let (live, part) = (share.live_bytes, part(share));
            if live > part && (any_under || over(share)) {
                plan.excess.insert(share.node.clone(), live - part);
            } else if live < part && (any_over || under(share)) {
                plan.room.insert(share.node.clone(), part - live);
            }
        }
        plan
    }

    /// From where to where a chunk should move, if it should.
    fn moves(&mut self, record: &ChunkRecord, usable: &[NodeId]) -> Option<(NodeId, NodeId)> {
        let bytes = u64::from(record.shard_length());
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
        let has = |amounts: &BTreeMap<NodeId, u64>, node: &NodeId| amounts.get(node).is_some_and(|left| *left >= bytes);
        let givers = record.shards.iter().map(|place| &place.node).filter(|node| has(&self.excess, node));
        let taker = |from: &NodeId| {
            let spread = |node: &NodeId| zone(node) == zone(from) || !zones.contains(&zone(node));
            let takers = usable.iter().filter(|node| !holds(node) && spread(node) && has(&self.room, node));
            // The one that lacks most, or the last chunks find only nodes that hold them already.
            takers.max_by_key(|node| self.room.get(*node))
        };
        let (from, to) = givers.into_iter().find_map(|from| Some((from.clone(), taker(from)?.clone())))?;
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
        let moves = keys::repairs_from(SEVERITY_REBALANCE);
        let urgent = KeyRange { to: moves.from.clone(), ..keys::repairs() };
        // What repair gave up for lost is not waited for.
        for (_, entry) in work.scan(&urgent, MOVES_QUEUED_MAX).await? {
            if !RepairRecord::decode(&entry.value)?.lost {
                return Ok(Progress::Waits("repair comes first".to_owned()));
            }
        }
        let queued = work.scan(&moves, MOVES_QUEUED_MAX).await?;
        if queued.len() == MOVES_QUEUED_MAX {
            return Ok(Progress::Waits("the moves that are queued come first".to_owned()));
        }
        let mut plan = match self.plan.take() {
            Some(plan) => plan,
            None if !queued.is_empty() => return Ok(Progress::Waits("moves of an earlier plan come first".to_owned())),
            None => match plan(work).await? {
                Some(plan) => plan,
                None => return Ok(Progress::Waits("copies that have moved are still to be deleted".to_owned())),
            },
        };
        let progress = walk(work, &mut pass, &mut plan).await?;
        self.plan = Some(plan);
        Ok(progress)
    }
}

/// A plan from what the nodes say right now; `None` while they hold what is about to go.
async fn plan(work: &Work) -> Result<Option<Plan>> {
    let records = registered(work).await?;
    let active = |record: &&NodeRecord| record.state == NodeState::Active;
    for record in records.iter().filter(active) {
        if !work.scan(&keys::trash_of(&record.node), 1).await?.is_empty() {
            return Ok(None);
        }
    }
    work.objects.nodes.probe_all().await;
    let status = work.objects.nodes.status();
    let share = |record: &NodeRecord| {
        let report = status.iter().find(|report| report.id.as_ref() == Some(&record.node) && report.healthy)?;
        let claim = u128::from(report.capacity_bytes) * u128::from(record.weight);
        Some(Share { node: record.node.clone(), live_bytes: report.live_bytes, claim })
    };
    let shares: Vec<Share> = records.iter().filter(active).filter_map(share).collect();
    let zones = records.iter().map(|record| (record.node.clone(), record.zone.clone())).collect();
    Ok(Some(Plan::of(&shares, zones)))
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
            info!(moves = pass.counted("moves"), "rebalance queued moves");
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
    commit.check(key.clone(), Expect::Absent).put(key, repair.encode()).use_reserve(Reserve::Half);
    work.commit(commit).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::Code;
    use crate::metadata::records::ShardPlace;

    const CHUNK: u32 = 1 << 20;

    fn id(number: usize) -> NodeId {
        format!("n{number}").parse().unwrap()
    }

    fn chunk_on(nodes: &[usize]) -> ChunkRecord {
        let shards = (0..).zip(nodes).map(|(index, node)| ShardPlace { node: id(*node), index, crc: 0 });
        ChunkRecord {
            length: CHUNK,
            stored_length: CHUNK,
            sha256: [0; 32],
            compressed: false,
            code: Code::REPLICATION,
            shards: shards.collect(),
            state: ChunkState::Live,
            fence: 0,
        }
    }

    /// Chunks in threes of neighbours, as evenly on the first `nodes` nodes as can be.
    fn spread_over(nodes: usize, chunks: usize) -> Vec<ChunkRecord> {
        let on = |n: usize| [1 + n % nodes, 1 + (n + 1) % nodes, 1 + (n + 2) % nodes];
        (0..chunks).map(|n| chunk_on(&on(n))).collect()
    }

    fn held(chunks: &[ChunkRecord], node: usize) -> u64 {
        let places = chunks.iter().flat_map(|chunk| &chunk.shards);
        places.filter(|place| place.node == id(node)).count() as u64 * u64::from(CHUNK)
    }

    /// One pass over nodes of these claims and zones; how many chunks moved.
    fn pass(chunks: &mut [ChunkRecord], claims: &[u128], zones: &[&str]) -> usize {
        let nodes = 1..=claims.len();
        let share =
            |(node, claim): (usize, &u128)| Share { node: id(node), live_bytes: held(chunks, node), claim: *claim };
        let shares: Vec<Share> = nodes.clone().zip(claims).map(share).collect();
        let zones = nodes.clone().map(id).zip(zones.iter().cycle().map(|zone| (*zone).to_owned())).collect();
        let mut plan = Plan::of(&shares, zones);
        let usable: Vec<NodeId> = nodes.rev().map(id).collect();
        let mut moved = 0;
        for chunk in chunks {
            if let Some((from, to)) = plan.moves(chunk, &usable) {
                assert!(chunk.shards.iter().all(|place| place.node != to), "distinct nodes");
                chunk.shards.iter_mut().find(|place| place.node == from).unwrap().node = to;
                moved += 1;
            }
        }
        moved
    }

    fn assert_even(chunks: &[ChunkRecord], claims: &[u128]) {
        let total = chunks.len() as u128 * 3 * u128::from(CHUNK);
        for (node, claim) in (1..).zip(claims) {
            let (held, part) = (held(chunks, node), (total * claim / claims.iter().sum::<u128>()) as u64);
            let tolerated = part / 10 + TOLERATED_BYTES;
            assert!(held.abs_diff(part) <= tolerated, "node {node} holds {held}, its part is {part}");
        }
    }

    #[test]
    fn a_node_that_joins_gets_its_part_and_then_nothing_moves_any_more() {
        for nodes in [4, 20] {
            let mut chunks = spread_over(nodes, 100 * nodes);
            let claims = vec![100; nodes + 1];
            let moved = pass(&mut chunks, &claims, &[""]);
            let part = 300 * nodes / (nodes + 1);
            assert!((part - nodes..=part).contains(&moved), "{moved} of {part}: no more than its part moves");
            assert_even(&chunks, &claims);
            assert_eq!(pass(&mut chunks, &claims, &[""]), 0, "nothing moves back and forth");
        }
    }

    #[test]
    fn what_is_tolerated_stays_and_a_weight_counts() {
        let mut chunks = spread_over(4, 12);
        assert_eq!(pass(&mut chunks, &[100; 5], &[""]), 0, "7 MiB are not worth it");
        let mut chunks = spread_over(6, 400);
        let claims = [100, 100, 100, 100, 100, 50];
        assert!(pass(&mut chunks, &claims, &[""]) > 0);
        assert_even(&chunks, &claims);
        assert_eq!(pass(&mut chunks, &claims, &[""]), 0);
        assert!(pass(&mut chunks, &[100, 100, 100, 100, 100, 0], &[""]) > 0);
        assert!(held(&chunks, 6) <= TOLERATED_BYTES, "weight 0 moves what is on it elsewhere");
    }

    #[test]
    fn a_chunk_with_two_shards_in_one_zone_moves_when_another_zone_is_free_and_never_back() {
        // n1 and n4 are in a, n2 and n5 in b, n3 and n6 in c.
        let zones = ["a", "b", "c"];
        let mut chunks: Vec<ChunkRecord> = (0..300).map(|_| chunk_on(&[1, 4, 2])).collect();
        for _ in 0..4 {
            pass(&mut chunks, &[100; 6], &zones);
        }
        let zone_of = |place: &ShardPlace| zones[(place.node.as_str()[1..].parse::<usize>().unwrap() - 1) % 3];
        for chunk in &chunks {
            let mut its: Vec<&str> = chunk.shards.iter().map(zone_of).collect();
            its.sort_unstable();
            assert_eq!(its, zones);
        }
        assert_even(&chunks, &[100; 6]);
        assert_eq!(pass(&mut chunks, &[100; 6], &zones), 0);
    }
}
