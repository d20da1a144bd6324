//! Whether bytes are within reach: whether enough of their shards are on nodes that answer, by the records.
//!
//! What it keeps true: it is a guess (I20). It may end a read that fails anyway; whether one fails is found out by asking the nodes.

use super::Objects;
use super::name::ObjectName;
use crate::metadata::keys;
use crate::metadata::records::{ChunkEntry, ChunkRecord, Record, VersionRecord};
use protocol::{NodeId, Result};
use std::collections::BTreeSet;
use std::ops::Range;

/// How many bytes of a read are looked through before its first byte leaves: about 16,000 chunks, which takes tenths of a second.
const LOOKED_THROUGH_BYTES_MAX: u64 = 1 << 30;

impl Objects {
    /// How many nodes may hold bytes and do not answer. Every acknowledged chunk has one shard more than reading needs, whatever its code, so
    /// while one node is away each can be read.
    pub(super) fn away(&self, answering: &BTreeSet<NodeId>) -> usize {
        match self.nodes.members().len().saturating_sub(answering.len()) {
            0 => 0,
            // Nodes that were emptied and switched off hold nothing.
            away => away.saturating_sub(self.nodes.switched_off().len()),
        }
    }

    /// The first chunk of `range` that has too few shards on `answering`.
    pub(super) async fn first_out_of_reach(
        &self,
        name: &ObjectName,
        version: &VersionRecord,
        range: Range<u64>,
        answering: &BTreeSet<NodeId>,
    ) -> Result<Option<ChunkEntry>> {
        let (key, mut offset) = (name.version_key(version.number), range.start);
        while offset < range.end
            && let Some(run) = self.chunks_from(&key, version, offset).await?
        {
            for (start, entry) in run.with_starts() {
                let is_wanted = start < range.end && entry.end > range.start;
                if is_wanted && !self.is_in_reach(entry, answering).await? {
                    return Ok(Some(entry.clone()));
                }
            }
            offset = run.end();
        }
        Ok(None)
    }

    /// Fails if bytes of `range` cannot be had, while so many nodes are away that this may be: a read that has begun can only be cut off.
    pub async fn require_reach(&self, name: &ObjectName, version: &VersionRecord, range: &Range<u64>) -> Result<()> {
        let answering = self.nodes.answering();
        if self.away(&answering) <= 1 {
            return Ok(());
        }
        let looked_through = range.start..range.end.min(range.start + LOOKED_THROUGH_BYTES_MAX);
        match self.first_out_of_reach(name, version, looked_through, &answering).await? {
            Some(entry) => self.fetch_entry(&entry).await.map(drop),
            None => Ok(()),
        }
    }

    async fn is_in_reach(&self, entry: &ChunkEntry, answering: &BTreeSet<NodeId>) -> Result<bool> {
        let Some(found) = self.metadata.get(&keys::chunk(entry.chunk)).await? else {
            return Ok(false);
        };
        let record = ChunkRecord::decode(&found.value)?;
        let shards = record.shards.iter().filter(|place| answering.contains(&place.node)).count();
        Ok(shards >= record.code.read_quorum())
    }
}
