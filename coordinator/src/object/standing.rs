//! The durability receipt of a version, asked for again: what is true of it now.
//!
//! What it keeps true: only copies on nodes that answer, and have what they had, are counted. A copy on a node that is away may be there or not, and a
//! receipt promises nothing it does not know; how many copies the records name is told beside it. Of a chunk that repair found lost none counts.

use super::Objects;
use super::name::ObjectName;
use super::receipt::Receipt;
use crate::metadata::keys;
use crate::metadata::records::{ChunkEntry, ChunkRecord, Record, VersionRecord};
use protocol::{ChunkId, NodeId, Result};
use serde::Serialize;
use std::collections::BTreeSet;

/// What is true of a version's durability now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// What holds for its weakest chunk, on nodes that answer.
    pub receipt: Receipt,
    /// Copies of the weakest chunk that its record names, whether or not their nodes answer.
    pub recorded: u32,
    /// Chunks looked at.
    pub chunks: u64,
    /// The weakest chunk; absent where the version has no bytes.
    pub weakest: Option<WeakestChunk>,
}

/// The chunk that speaks for the whole version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WeakestChunk {
    /// Its id.
    pub chunk: ChunkId,
    /// The offset of its first byte in the object.
    pub offset: u64,
    /// Nodes that hold it and answer.
    pub nodes: Vec<NodeId>,
    /// Nodes that hold it by the record, and do not answer.
    pub away: Vec<NodeId>,
}

impl Objects {
    /// What is true of the version now: its chunk records against the nodes that answer.
    pub async fn standing(&self, name: &ObjectName, version: &VersionRecord) -> Result<Standing> {
        // Of those that answer, one with a new disk, or without some of its segments, may not have what the records say.
        let answering = self.nodes.proved();
        let mut standing =
            Standing { receipt: Receipt::empty(self.profiles.replication), recorded: 0, chunks: 0, weakest: None };
        let (key, mut offset) = (name.version_key(version.number), 0);
        while let Some(run) = self.chunks_from(&key, version, offset).await? {
            for (start, entry) in run.with_starts() {
                self.weigh(&mut standing, start, entry, &answering).await?;
            }
            offset = run.end();
        }
        Ok(standing)
    }

    async fn weigh(
        &self,
        standing: &mut Standing,
        offset: u64,
        entry: &ChunkEntry,
        answering: &BTreeSet<NodeId>,
    ) -> Result<()> {
        standing.chunks += 1;
        let found = self.metadata.get(&keys::chunk(entry.chunk)).await?;
        let record = found.map(|found| ChunkRecord::decode(&found.value)).transpose()?;
        let code = record.as_ref().map_or(self.profiles.replication, |record| record.code);
        let holders: Vec<NodeId> =
            record.map_or_else(Vec::new, |record| record.shards.into_iter().map(|place| place.node).collect());
        let recorded = holders.len() as u32;
        // What the record names and nobody could read is no copy.
        let holders = if self.is_lost(entry.chunk).await? { Vec::new() } else { holders };
        let (nodes, away): (Vec<NodeId>, Vec<NodeId>) = holders.into_iter().partition(|node| answering.contains(node));
        let receipt = Receipt::of(code, nodes.len() as u32);
        if standing.weakest.is_none() || standing.receipt.weakest(receipt) != standing.receipt {
            standing.receipt = receipt;
            standing.recorded = recorded;
            standing.weakest = Some(WeakestChunk { chunk: entry.chunk, offset, nodes, away });
        }
        Ok(())
    }
}
