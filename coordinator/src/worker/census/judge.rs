//! What is to become of each chunk of a window.
//!
//! ```text
//!   record │ shards     │ verdict
//!   ───────┼────────────┼───────────────────────────────────────────────────────────────────────────────
//!   live   │ all there  │ nothing; if a node is to be emptied: move; if nobody refers to it: up for collection
//!   live   │ some not   │ repair, as urgent as there are few left
//!   live   │ one more   │ it goes, its index behind the fence, unless repair is at work or it is young
//!   fence  │ any        │ they go: their writer cannot name them any more
//!   none   │ any        │ a fence is put where the record would be, then they go, unless they are young
//! ```

use super::window::{Found, Window};
use super::{drains, lacks};
use crate::code::Code;
use crate::metadata::records::{
    ChunkRecord, ChunkState, CollectRecord, NodeRecord, NodeState, Record, RepairRecord, SEVERITY_DRAIN, ShardPlace,
};
use crate::metadata::{Batch, Expect, keys};
use crate::worker::Work;
use crate::worker::collect::{put_trash, repair_severities};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use protocol::{ChunkId, NodeId, Result, ShardHead, ShardId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// So many shards may go in a pass whatever the cluster's size.
const REMOVED_FREELY: u64 = 1_000;
/// Of the shards that there are, at most this part may go in a pass, in percent.
const REMOVED_PERCENT_MAX: u64 = 5;

/// Keeps a pass from removing too much: what nobody deleted should not be gone (faults 2.3). Once it has kept something, it keeps all that
/// follows; what is missing is found all the same.
#[derive(Debug)]
pub(super) struct Guard {
    /// How many shards may still go.
    left: u64,
    /// How many it has kept.
    pub(super) withheld: u64,
}

impl Guard {
    /// A guard over a cluster of so many shards, of which this pass has removed so many already.
    pub(super) fn new(shards: u64, removed: u64) -> Guard {
        let most = REMOVED_FREELY.max(shards.saturating_mul(REMOVED_PERCENT_MAX) / 100);
        Guard { left: most.saturating_sub(removed), withheld: 0 }
    }

    /// One that lets nothing go.
    pub(super) fn closed() -> Guard {
        Guard { left: 0, withheld: 0 }
    }

    /// Whether so many may go.
    fn lets_go(&mut self, shards: u64) -> bool {
        if self.withheld > 0 || shards > self.left {
            self.withheld += shards;
            return false;
        }
        self.left -= shards;
        true
    }
}

/// Repairs queued at the same time.
const COMMITS_AT_ONCE: usize = 64;

pub(super) struct Judge<'a> {
    work: &'a Work,
    leaving: BTreeSet<NodeId>,
    lost: BTreeSet<NodeId>,
    known: BTreeSet<NodeId>,
    grace: Duration,
    guard: &'a mut Guard,
    counts: BTreeMap<String, u64>,
    /// What is to be queued for repair.
    repairs: Vec<Repair>,
}

/// A chunk to be queued for repair, and why.
struct Repair {
    chunk: ChunkId,
    severity: u8,
    reason: &'static str,
}

impl<'a> Judge<'a> {
    pub(super) fn new(work: &'a Work, nodes: &[NodeRecord], grace: Duration, guard: &'a mut Guard) -> Judge<'a> {
        let of = |states: &[NodeState]| {
            nodes.iter().filter(|node| states.contains(&node.state)).map(|node| node.node.clone()).collect()
        };
        Judge {
            work,
            leaving: of(&[NodeState::Draining, NodeState::Drained]),
            lost: of(&[NodeState::Lost]),
            known: nodes.iter().map(|node| node.node.clone()).collect(),
            grace,
            guard,
            counts: BTreeMap::new(),
            repairs: Vec::new(),
        }
    }

    /// Judges every chunk of the window.
    pub(super) async fn all(&mut self, window: &Window) -> Result<()> {
        for (chunk, found) in &window.chunks {
            self.count("shards", found.listed.len() as u64);
            match &found.record {
                Some((record, revision)) if record.state == ChunkState::Live => {
                    self.live(*chunk, record, *revision, found, &window.silent).await?;
                }
                Some((record, _)) if record.shards.is_empty() => self.fenced(*chunk, found).await?,
                Some(_) => self.condemned(*chunk).await?,
                None => self.orphans(*chunk, found).await?,
            }
        }
        self.queue_repairs().await
    }

    /// What was counted.
    pub(super) fn counts(self) -> BTreeMap<String, u64> {
        self.counts
    }

    fn count(&mut self, what: &str, more: u64) {
        *self.counts.entry(what.to_owned()).or_default() += more;
    }

    async fn live(
        &mut self,
        chunk: ChunkId,
        record: &ChunkRecord,
        revision: u64,
        found: &Found,
        silent: &BTreeSet<NodeId>,
    ) -> Result<()> {
        self.count("chunks", 1);
        let there = |place: &ShardPlace| {
            let same = |(node, head): &(NodeId, ShardHead)| {
                *node == place.node
                    && head.id.index == place.index
                    && head.crc == place.crc
                    && head.length == record.shard_length()
            };
            silent.contains(&place.node) || found.listed.iter().any(same)
        };
        let gone = |place: &ShardPlace| self.lost.contains(&place.node) || !self.known.contains(&place.node);
        let (good, missing): (Vec<&ShardPlace>, Vec<&ShardPlace>) =
            record.shards.iter().partition(|place| !gone(place) && there(place));
        let good = good.len();
        let leaving: Vec<NodeId> = record
            .shards
            .iter()
            .filter(|place| self.leaving.contains(&place.node))
            .map(|place| place.node.clone())
            .collect();
        for node in &leaving {
            self.count(&drains(node), 1);
        }
        if good < record.code.shards() {
            if !found.is_steady {
                // Stored, moved or mended while the nodes were asked; its writer saw to what it is short of (law 8).
                return Ok(());
            }
            // What is lost for good is missing on every disk that will ever be there.
            if !self.is_lost(chunk, record).await? {
                for place in missing {
                    self.count(&lacks(&place.node), 1);
                }
            }
            self.count("missing", (record.code.shards() - good) as u64);
            let severity = (good as u8).saturating_sub(record.code.data);
            self.repairs.push(Repair { chunk, severity, reason: "a census found shards missing" });
            return Ok(());
        }
        if !leaving.is_empty() {
            self.repairs.push(Repair { chunk, severity: SEVERITY_DRAIN, reason: "its node is being drained" });
            return Ok(());
        }
        if self.is_young(chunk) {
            return Ok(());
        }
        self.unnamed(chunk, record, revision, found).await?;
        if self.work.scan(&keys::references(chunk), 1).await?.is_empty() {
            self.unreferenced(chunk).await?;
        }
        Ok(())
    }

    /// Whether repair has found that no good copy is left.
    async fn is_lost(&self, chunk: ChunkId, record: &ChunkRecord) -> Result<bool> {
        // Under any severity: what rots is listed all the same, and fewer seem to be missing than repair has found.
        for severity in repair_severities(record) {
            if let Some(queued) = self.work.objects.metadata.get(&keys::repair(severity, chunk)).await?
                && RepairRecord::decode(&queued.value)?.lost
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Queues what is to be repaired, unless it is queued as urgently already: that one may know more.
    /// What leaves a node that is being drained leaves by the node's state: nothing moves any more once that was taken back.
    async fn queue_repairs(&mut self) -> Result<()> {
        let (work, now_ms) = (self.work, self.now_ms());
        // At once, because they wait for the same group commits; each for itself, because one that is queued already fails its commit.
        let commits = self.repairs.drain(..).map(|Repair { chunk, severity, reason }| async move {
            let key = keys::repair(severity, chunk);
            if work.objects.metadata.get(&key).await?.is_some() {
                return Ok(());
            }
            let mut commit = Batch::new();
            commit.check(key.clone(), Expect::Absent);
            commit.put(key, RepairRecord::new(chunk, now_ms, reason).encode());
            work.commit(commit).await.map(drop)
        });
        stream::iter(commits).buffered(COMMITS_AT_ONCE).try_collect().await
    }

    async fn unnamed(&mut self, chunk: ChunkId, record: &ChunkRecord, revision: u64, found: &Found) -> Result<()> {
        let named = |node: &NodeId, id: ShardId| {
            record.shards.iter().any(|place| place.node == *node && place.index == id.index)
        };
        let extra = found.listed.iter().filter(|(node, head)| !named(node, head.id));
        let extra = self.not_in_trash(extra).await?;
        let Some(highest) = extra.iter().map(|(_, head)| head.id.index).max() else { return Ok(()) };
        for severity in repair_severities(record) {
            if self.work.objects.metadata.get(&keys::repair(severity, chunk)).await?.is_some() {
                return Ok(());
            }
        }
        if !self.guard.lets_go(extra.len() as u64) {
            return Ok(());
        }
        let fence = record.fence.max(highest.saturating_add(1));
        let mut commit = Batch::new();
        commit.check(keys::chunk(chunk), Expect::Revision(revision));
        commit.put(keys::chunk(chunk), ChunkRecord { fence, ..record.clone() }.encode());
        for (node, head) in &extra {
            put_trash(&mut commit, node, head.id, self.now_ms());
        }
        if self.work.commit(commit).await? {
            self.count("unnamed", extra.len() as u64);
        }
        Ok(())
    }

    /// Only a crash of something that this program does not know of could leave such a chunk; the collector decides.
    async fn unreferenced(&mut self, chunk: ChunkId) -> Result<()> {
        if self.work.objects.metadata.get(&keys::collect(chunk)).await?.is_some() {
            return Ok(());
        }
        if !self.guard.lets_go(1) {
            return Ok(());
        }
        self.count("unreferenced", 1);
        let mut commit = Batch::new();
        commit.put(keys::collect(chunk), CollectRecord { since_ms: self.now_ms() }.encode());
        self.work.commit(commit).await.map(drop)
    }

    /// The collector is at it, or is to be: as long as it has not decided, nobody may lean on the chunk and nobody mends it.
    async fn condemned(&mut self, chunk: ChunkId) -> Result<()> {
        let (key, collect) = (keys::collect(chunk), CollectRecord { since_ms: self.now_ms() });
        let mut commit = Batch::new();
        commit.check(key.clone(), Expect::Absent).put(key, collect.encode());
        self.work.commit(commit).await.map(drop)
    }

    async fn fenced(&mut self, chunk: ChunkId, found: &Found) -> Result<()> {
        let listed = self.not_in_trash(found.listed.iter()).await?;
        if listed.is_empty() || !self.guard.lets_go(listed.len() as u64) {
            return Ok(());
        }
        self.throw_away(chunk, &listed, Batch::new()).await
    }

    /// Those of the shards that are not thrown away already: what goes is no find, and does not count for the guard.
    async fn not_in_trash<'f>(
        &self,
        listed: impl Iterator<Item = &'f (NodeId, ShardHead)>,
    ) -> Result<Vec<&'f (NodeId, ShardHead)>> {
        let mut left = Vec::new();
        for shard in listed {
            let (node, head) = shard;
            if self.work.objects.metadata.get(&keys::trash(node, head.id)).await?.is_none() {
                left.push(shard);
            }
        }
        Ok(left)
    }

    async fn orphans(&mut self, chunk: ChunkId, found: &Found) -> Result<()> {
        if self.is_young(chunk) {
            return Ok(());
        }
        // Its record went when it was deleted, and a node that was away, or cannot write, holds it still.
        let listed = self.not_in_trash(found.listed.iter()).await?;
        if listed.is_empty() || !self.guard.lets_go(listed.len() as u64) {
            return Ok(());
        }
        let fence = ChunkRecord {
            length: 0,
            stored_length: 0,
            sha256: [0; 32],
            compressed: false,
            code: Code::REPLICATION,
            shards: Vec::new(),
            state: ChunkState::Condemned,
            fence: u8::MAX,
        };
        let mut commit = Batch::new();
        commit.check(keys::chunk(chunk), Expect::Absent).put(keys::chunk(chunk), fence.encode());
        self.throw_away(chunk, &listed, commit).await
    }

    async fn throw_away(&mut self, chunk: ChunkId, listed: &[&(NodeId, ShardHead)], mut commit: Batch) -> Result<()> {
        let now_ms = self.now_ms();
        for (node, head) in listed {
            put_trash(&mut commit, node, ShardId { chunk, index: head.id.index }, now_ms);
        }
        if self.work.commit(commit).await? {
            self.count("orphans", listed.len() as u64);
        }
        Ok(())
    }

    /// By the time in its id. It may be wrong, and no harm is done: the commits that remove are fenced. What was born in a future
    /// further away than the grace was born by a wrong clock, and is not kept until that future comes.
    fn is_young(&self, chunk: ChunkId) -> bool {
        let born_ms = (chunk.0.as_u128() >> 80) as u64;
        u128::from(self.now_ms().abs_diff(born_ms)) < self.grace.as_millis()
    }

    fn now_ms(&self) -> u64 {
        self.work.objects.clock.now_ms()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_lets_a_small_part_go_and_keeps_the_rest() {
        let mut guard = Guard::new(100_000, 1_000);
        assert!(guard.lets_go(3_999) && !guard.lets_go(2));
        assert!(!guard.lets_go(1), "it has seen enough");
        assert_eq!(guard.withheld, 3);
        let mut small = Guard::new(10, 0);
        assert!(small.lets_go(1_000) && !small.lets_go(1));
        assert!(!Guard::closed().lets_go(1));
    }
}
