//! Whether bytes are within reach: whether enough of their shards are on nodes that answer, by the records.
//!
//! What it keeps true: it is a guess (I20). It may end a read that fails anyway; whether one fails is found out by asking the nodes (decision 0100).

use super::Objects;
use super::get::UNCOUNTED_BYTES_MAX;
use super::manifest::ManifestWalk;
use super::name::ObjectName;
use crate::metadata::keys;
use crate::metadata::records::{ChunkEntry, ChunkRecord, Record, VersionRecord};
use protocol::{Error, ErrorKind, NodeId, Result};
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Duration;
use tokio::time::Instant;

/// How many bytes of a read are looked through before its first byte leaves: 7,000 chunks from an object's start on.
const LOOKED_THROUGH_BYTES_MAX: u64 = 1 << 30;
/// Chunks that were out of reach by the records, and can be read: after so many the records are not believed.
const READ_ALL_THE_SAME_MAX: usize = 32;
/// How long they are read for, where nodes are slow and not away.
const LOOKED_FOR_MAX: Duration = Duration::from_secs(2);

/// A chunk of a version, and where it starts there.
struct Placed {
    start: u64,
    entry: ChunkEntry,
}

/// Looks through a range of a version, chunk by chunk.
struct ReachWalk<'a> {
    objects: &'a Objects,
    answering: &'a BTreeSet<NodeId>,
    /// Whether a chunk may be on record as lost.
    any_lost: bool,
    walk: ManifestWalk,
    run: VecDeque<Placed>,
    rest: Range<u64>,
}

impl<'a> ReachWalk<'a> {
    fn new(
        objects: &'a Objects,
        name: &ObjectName,
        version: &VersionRecord,
        range: Range<u64>,
        answering: &'a BTreeSet<NodeId>,
    ) -> ReachWalk<'a> {
        let walk = ManifestWalk::new(name.version_key(version.number), version);
        ReachWalk { objects, answering, any_lost: false, walk, run: VecDeque::new(), rest: range }
    }

    /// The next chunk that has too few shards on nodes that answer.
    async fn next_out_of_reach(&mut self) -> Result<Option<Placed>> {
        loop {
            while let Some(placed) = self.run.pop_front() {
                // The records lie in memory often, and then nothing here waits; others have their turn all the same.
                tokio::task::consume_budget().await;
                if placed.start < self.rest.end && !self.is_in_reach(&placed.entry).await? {
                    return Ok(Some(placed));
                }
            }
            if self.rest.is_empty() {
                return Ok(None);
            }
            let Some(run) = self.walk.from(self.objects, self.rest.start).await? else { return Ok(None) };
            self.run.extend(run.with_starts().map(|(start, entry)| Placed { start, entry: entry.clone() }));
            self.rest.start = run.end().min(self.rest.end);
        }
    }

    async fn is_in_reach(&self, entry: &ChunkEntry) -> Result<bool> {
        let Some(found) = self.objects.metadata.get(&keys::chunk(entry.chunk)).await? else {
            return Ok(false);
        };
        if self.any_lost && self.objects.is_lost(entry.chunk).await? {
            return Ok(false);
        }
        let record = ChunkRecord::decode(&found.value)?;
        let shards = record.shards.iter().filter(|place| self.answering.contains(&place.node)).count();
        Ok(shards >= record.code.read_quorum())
    }
}

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

    /// Whether each chunk of the version, as far as they are looked through, has enough shards on `answering`.
    pub(super) async fn is_in_reach(
        &self,
        name: &ObjectName,
        version: &VersionRecord,
        answering: &BTreeSet<NodeId>,
    ) -> Result<bool> {
        let looked_through = 0..version.size.min(LOOKED_THROUGH_BYTES_MAX);
        let mut walk = ReachWalk::new(self, name, version, looked_through, answering);
        Ok(walk.next_out_of_reach().await?.is_none())
    }

    /// Why bytes of `range` cannot be had, if so, while so many nodes are away that this may be, or chunks are lost: a read that has begun can
    /// only be cut off.
    pub async fn out_of_reach(
        &self,
        name: &ObjectName,
        version: &VersionRecord,
        range: &Range<u64>,
    ) -> Result<Option<Error>> {
        let answering = self.nodes.answering();
        // Whether the only chunk can be read is known before anything is sent.
        let any_lost = version.chunk_count > 1 && self.any_may_be_lost().await?;
        if self.away(&answering) <= 1 && !(any_lost && self.lost_lately().await?.contains(&version.id)) {
            return Ok(None);
        }
        let looked_through = range.start..range.end.min(range.start + LOOKED_THROUGH_BYTES_MAX);
        let mut walk = ReachWalk { any_lost, ..ReachWalk::new(self, name, version, looked_through, &answering) };
        let (began, mut read) = (Instant::now(), 0);
        while read < READ_ALL_THE_SAME_MAX && began.elapsed() < LOOKED_FOR_MAX {
            let Placed { start, entry } = match walk.next_out_of_reach().await {
                Ok(None) => return Ok(None),
                Ok(Some(placed)) => placed,
                // The manifest itself cannot be read.
                Err(error) if error.kind == ErrorKind::Corrupt => return Ok(Some(error)),
                Err(error) => return Err(error),
            };
            if self.cache.get(entry.chunk).is_some() {
                continue;
            }
            let length = (entry.end - start) as usize;
            let _held = match length > UNCOUNTED_BYTES_MAX {
                true => Some(self.read_budget.admit(length, length).await?),
                false => None,
            };
            if let Err(error) = self.fetch_entry(&entry).await {
                return Ok(Some(error));
            }
            read += 1;
        }
        Ok(None)
    }
}
