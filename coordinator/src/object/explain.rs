//! Explains a version chunk by chunk: where its copies are and why there, what failures would do, who shares it, and whether a
//! repair is under way. For people; nothing depends on it.
//!
//! What it keeps true: a page takes at most [`EXPLAIN_LIMIT_MAX`] chunks and a bounded number of reads for each.

use super::Objects;
use super::failures::{Failures, WriteOutlook};
use super::name::ObjectName;
use crate::metadata::keys;
use crate::metadata::records::{
    ChunkEntry, ChunkRecord, Record, RepairRecord, SEVERITY_DRAIN, SEVERITY_REBALANCE, VersionId, VersionRecord,
};
use crate::nodes::NodeReport;
use crate::placement::{self, Candidate, Circuit, Health, Ranked};
use protocol::{ChunkId, NodeId, Result};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The most chunks explained at once.
pub const EXPLAIN_LIMIT_MAX: usize = 1_000;
/// The most versions named that share a chunk.
const SHARERS_SHOWN_MAX: usize = 5;
/// Counting them stops here.
const SHARERS_COUNTED_MAX: usize = 1_000;

/// Some chunks of a version, explained.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainPage {
    /// Whether writes are accepted, now and after failures.
    pub writes: WriteOutlook,
    /// The chunks, in order.
    pub chunks: Vec<ExplainedChunk>,
    /// The offset at which the next page goes on; absent at the end.
    pub next: Option<u64>,
}

/// A chunk of a version.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedChunk {
    /// Its id.
    pub chunk: ChunkId,
    /// The offset of its first byte in the object.
    pub offset: u64,
    /// Its plain bytes.
    pub length: u64,
    /// Its bytes as they are stored, once.
    pub stored_length: u32,
    /// Whether those are compressed.
    pub compressed: bool,
    /// How it is spread.
    pub code: String,
    /// SHA-256 of its plain bytes.
    pub sha256: String,
    /// Where it is.
    pub copies: Vec<ExplainedCopy>,
    /// Where placement would put it now, best first.
    pub preferred: Vec<NodeId>,
    /// Whether it can be read now.
    pub readable: bool,
    /// What the failure of one node does to it.
    pub one_failure: Failures,
    /// What the failure of two nodes at once does to it.
    pub two_failures: Failures,
    /// Which other versions are made of it, too.
    pub shared_with: Sharing,
    /// The repair it waits for.
    pub repair: Option<PendingRepair>,
}

/// One shard of a chunk: a copy, where the code has one data shard.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedCopy {
    /// On which node.
    pub node: NodeId,
    /// Which shard.
    pub index: u8,
    /// What is known of the node now; absent where it is not registered.
    pub health: Option<Health>,
    /// Its breaker.
    pub circuit: Option<Circuit>,
    /// Whether it can be read from there now.
    pub answering: bool,
    /// The node's place in the ranking for this chunk now, from 1.
    pub rank: Option<usize>,
    /// Why it has that place.
    pub reasons: Vec<String>,
}

/// The other versions that a chunk belongs to; a part that was uploaded by itself counts as one.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sharing {
    /// How many; no more than a bound are counted.
    pub versions: usize,
    /// Whether there are more than were counted.
    pub more: bool,
    /// The first few of them.
    pub first: Vec<VersionId>,
}

/// A repair on record.
#[derive(Clone, Debug, Serialize)]
pub struct PendingRepair {
    /// How many more shards the chunk may lose; beyond all shards it is whole, and only to be moved.
    pub severity: u8,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// Why.
    pub reason: String,
}

/// What is known of the nodes while one page is explained.
struct Scene {
    candidates: std::sync::Arc<Vec<Candidate>>,
    reports: BTreeMap<NodeId, NodeReport>,
    answering: BTreeSet<NodeId>,
}

impl Objects {
    /// Explains at most `limit` chunks of `version` of `name`, from the one that holds the byte at `offset` on.
    pub async fn explain(
        &self,
        name: &ObjectName,
        version: &VersionRecord,
        offset: u64,
        limit: usize,
    ) -> Result<ExplainPage> {
        let scene = self.scene();
        let limit = limit.clamp(1, EXPLAIN_LIMIT_MAX);
        let mut page = ExplainPage { writes: self.write_outlook(), chunks: Vec::new(), next: None };
        let (key, mut offset) = (name.version_key(version.number), offset);
        while let Some(run) = self.chunks_from(&key, version, offset).await? {
            for (start, entry) in run.with_starts() {
                if page.chunks.len() == limit {
                    page.next = Some(start);
                    return Ok(page);
                }
                page.chunks.push(self.explained(&scene, run.owner, start, entry).await?);
            }
            offset = run.end();
        }
        Ok(page)
    }

    fn scene(&self) -> Scene {
        let reports = self.nodes.status().into_iter().filter_map(|report| Some((report.id.clone()?, report)));
        Scene { candidates: self.nodes.candidates(), reports: reports.collect(), answering: self.nodes.answering() }
    }

    /// Whether writes are accepted, and how many more nodes may fail before they are not; from what is known of the nodes.
    pub fn write_outlook(&self) -> WriteOutlook {
        let answering = self.nodes.answering();
        let candidates = self.nodes.candidates();
        let accepts = |node: &&Candidate| node.accepts_writes && answering.contains(&node.id);
        let accepting = candidates.iter().filter(accepts).count();
        // Nodes that were emptied and switched off are no part of any majority.
        let nodes = self.nodes.members().len() - self.nodes.switched_off().len();
        WriteOutlook::of(nodes, answering.len(), accepting, self.profiles.replication.write_quorum())
    }

    async fn explained(
        &self,
        scene: &Scene,
        owner: VersionId,
        offset: u64,
        entry: &ChunkEntry,
    ) -> Result<ExplainedChunk> {
        let record = self.metadata.get(&keys::chunk(entry.chunk)).await?;
        let record = record.map(|found| ChunkRecord::decode(&found.value)).transpose()?;
        let code = record.as_ref().map_or(self.profiles.replication, |record| record.code);
        let ranked = placement::choose(entry.chunk, code, &scene.candidates);
        let shards = record.as_ref().map_or(&[][..], |record| &record.shards);
        let holders: Vec<NodeId> = shards.iter().map(|place| place.node.clone()).collect();
        let failures = |failing| Failures::of(failing, &holders, &scene.answering, code.read_quorum());
        Ok(ExplainedChunk {
            chunk: entry.chunk,
            offset,
            length: entry.end - offset,
            stored_length: record.as_ref().map_or(0, |record| record.stored_length),
            compressed: record.as_ref().is_some_and(|record| record.compressed),
            code: code.to_string(),
            sha256: hex::encode(entry.sha256),
            copies: shards.iter().map(|place| scene.copy(&place.node, place.index, &ranked)).collect(),
            preferred: ranked.ids().take(code.shards()).cloned().collect(),
            readable: holders.iter().filter(|node| scene.answering.contains(*node)).count() >= code.read_quorum(),
            one_failure: failures(1),
            two_failures: failures(2),
            shared_with: self.sharing(entry.chunk, owner).await?,
            repair: self.pending_repair(entry.chunk, code.parity).await?,
        })
    }

    async fn sharing(&self, chunk: ChunkId, owner: VersionId) -> Result<Sharing> {
        let range = keys::references(chunk);
        let found = self.metadata.scan(&range.from, &range.to, SHARERS_COUNTED_MAX + 1).await?;
        let mut sharing = Sharing { more: found.len() > SHARERS_COUNTED_MAX, ..Sharing::default() };
        for (key, _) in found.iter().take(SHARERS_COUNTED_MAX) {
            let (_, other) = keys::parse_reference(key)?;
            if other == owner {
                continue;
            }
            sharing.versions += 1;
            if sharing.first.len() < SHARERS_SHOWN_MAX {
                sharing.first.push(other);
            }
        }
        Ok(sharing)
    }

    /// The most urgent work on the chunk: for want of shards, or to move one elsewhere.
    async fn pending_repair(&self, chunk: ChunkId, parity: u8) -> Result<Option<PendingRepair>> {
        for severity in (0..=parity).chain([SEVERITY_DRAIN, SEVERITY_REBALANCE]) {
            if let Some(found) = self.metadata.get(&keys::repair(severity, chunk)).await? {
                let RepairRecord { since_ms, reason, .. } = RepairRecord::decode(&found.value)?;
                return Ok(Some(PendingRepair { severity, since_ms, reason }));
            }
        }
        Ok(None)
    }
}

impl Scene {
    fn copy(&self, node: &NodeId, index: u8, ranked: &Ranked) -> ExplainedCopy {
        let report = self.reports.get(node);
        let place = ranked.nodes.iter().position(|ranked| ranked.id == *node);
        let reasons = place.map_or_else(Vec::new, |place| ranked.nodes[place].reasons(&self.candidates));
        ExplainedCopy {
            node: node.clone(),
            index,
            health: report.map(|report| report.health),
            circuit: report.map(|report| report.circuit_state),
            answering: self.answering.contains(node),
            rank: place.map(|place| place + 1),
            reasons: reasons.iter().map(ToString::to_string).collect(),
        }
    }
}
