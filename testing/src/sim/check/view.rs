//! The truth as it is right now: records below all faults, and what is on the nodes' disks.

use crate::sim::node::{Held, SimNode};
use bytes::Bytes;
use coordinator::metadata::memory::MemoryMetadata;
use coordinator::metadata::records::{
    ChunkEntry, ChunkList, ChunkRecord, PageRecord, PartEntry, PartsRecord, Record, ShardPlace, VersionId,
    VersionRecord,
};
use coordinator::metadata::{Entry, Metadata, SCAN_ENTRIES_MAX, keys};
use coordinator::object::FILES_BUCKET;
use futures_util::FutureExt;
use protocol::{ChunkId, NodeId, ShardId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The truth.
pub struct View {
    memory: Arc<MemoryMetadata>,
    nodes: Vec<Arc<SimNode>>,
}

/// The bucket and the key of what is called `name`.
pub fn bucket_and_key(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or((FILES_BUCKET, name))
}

/// What the key of a bucket is called.
pub fn called(bucket: &str, key: &str) -> String {
    if bucket == FILES_BUCKET { key.to_owned() } else { format!("{bucket}/{key}") }
}

impl View {
    pub(super) fn new(memory: Arc<MemoryMetadata>, nodes: Vec<Arc<SimNode>>) -> View {
        View { memory, nodes }
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Arc<SimNode>] {
        &self.nodes
    }

    /// What law 1 demands of a chunk, whether or not its code has as many shards: one more than reading needs.
    pub fn quorum(&self, record: &ChunkRecord) -> usize {
        record.code.read_quorum() + 1
    }

    /// The entry at `key`.
    pub fn get(&self, key: &[u8]) -> Option<Entry> {
        let found = self.memory.get(key).now_or_never().expect("memory never waits");
        found.expect("keys made by `keys` are valid")
    }

    /// All entries of a range.
    pub fn scan(&self, range: &keys::KeyRange) -> Vec<(Bytes, Entry)> {
        let mut all = Vec::new();
        let mut from = range.from.clone();
        loop {
            let scanned = self.memory.scan(&from, &range.to, SCAN_ENTRIES_MAX).now_or_never();
            let page = scanned.expect("memory never waits").expect("the limit is allowed");
            let Some((last, _)) = page.last() else { return all };
            from = keys::after(last);
            all.extend(page);
        }
    }

    /// The record at `key`, if there is one.
    pub fn record<R: Record>(&self, key: &[u8]) -> Option<R> {
        self.get(key).map(|entry| R::decode(&entry.value).expect("the product wrote it"))
    }

    /// A version of an object.
    pub fn version(&self, key: &str, number: u64) -> Option<VersionRecord> {
        let (bucket, key) = bucket_and_key(key);
        self.record(&keys::version(bucket, key, number))
    }

    /// The chunks of a version, in order; `Err` says what is missing.
    pub fn entries(&self, version: &VersionRecord) -> Result<Vec<ChunkEntry>, String> {
        Ok(self.owned(version)?.into_iter().map(|(_, entry)| entry).collect())
    }

    /// The same, each with the id under which it must be referenced.
    pub fn owned(&self, version: &VersionRecord) -> Result<Vec<(VersionId, ChunkEntry)>, String> {
        let mut entries = Vec::new();
        match &version.chunks {
            ChunkList::Inline(_) | ChunkList::Document { .. } => {
                let named = version.chunks.named_here().unwrap_or_default();
                entries.extend(named.iter().map(|entry| (version.manifest, entry.clone())));
            }
            ChunkList::Paged { pages } => {
                // One of parts that was stored otherwise since keeps the list of them.
                let parts = self.parts(version.manifest).len();
                if version.parts.map_or(0, usize::from) != parts {
                    return Err(format!("{parts} of {:?} parts are listed", version.parts));
                }
                let found = self.pages(version.manifest, 0, &mut entries)?;
                if found != *pages {
                    return Err(format!("{found} of {pages} pages are there"));
                }
            }
            ChunkList::Parts => self.of_parts(version, &mut entries)?,
        };
        let end = entries.last().map_or(0, |(_, entry)| entry.end);
        if end != version.size || entries.len() as u64 != version.chunk_count {
            return Err(format!("{} chunks up to {end} make no version of {} bytes", entries.len(), version.size));
        }
        Ok(entries)
    }

    fn of_parts(&self, version: &VersionRecord, entries: &mut Vec<(VersionId, ChunkEntry)>) -> Result<(), String> {
        let (mut end, mut count) = (0, 0);
        for part in self.parts(version.manifest) {
            self.pages(part.id, end, entries)?;
            let pages_end = entries.last().map_or(0, |(_, entry)| entry.end);
            if pages_end != part.end || part.end < end {
                return Err(format!("part {} ends at {pages_end}, not at {}", part.number, part.end));
            }
            (end, count) = (part.end, count + 1);
        }
        match version.parts {
            Some(parts) if parts == count => Ok(()),
            parts => Err(format!("{count} of {parts:?} parts are there")),
        }
    }

    /// The parts that a version lists.
    pub fn parts(&self, version: VersionId) -> Vec<PartEntry> {
        let found = self.scan(&keys::parts_in(version)).into_iter();
        found.flat_map(|(_, entry)| PartsRecord::decode(&entry.value).expect("the product wrote it").entries).collect()
    }

    /// Adds what the pages of `owner` name, which stand at `base`; how many pages.
    fn pages(&self, owner: VersionId, base: u64, entries: &mut Vec<(VersionId, ChunkEntry)>) -> Result<u64, String> {
        let found = self.scan(&keys::pages_from(owner, 0));
        let pages = found.len() as u64;
        let mut end = 0;
        for (_, entry) in found {
            let page = PageRecord::decode(&entry.value).expect("the product wrote it");
            if page.start != end {
                return Err(format!("a page starts at {}, the one before ended at {end}", page.start));
            }
            end = page.entries.last().map_or(end, |entry| entry.end);
            entries
                .extend(page.entries.into_iter().map(|entry| (owner, ChunkEntry { end: base + entry.end, ..entry })));
        }
        Ok(pages)
    }

    /// The record of a chunk.
    pub fn chunk(&self, chunk: ChunkId) -> Option<ChunkRecord> {
        self.record(&keys::chunk(chunk))
    }

    /// Whether anyone is to repair a chunk.
    pub fn is_queued(&self, chunk: ChunkId) -> bool {
        (0..=u8::MAX).any(|severity| self.get(&keys::repair(severity, chunk)).is_some())
    }

    /// What is on the disk of the node that `place` names.
    pub fn held(&self, chunk: ChunkId, place: &ShardPlace) -> Held {
        let node = self.nodes.iter().find(|node| *node.id() == place.node);
        node.map_or(Held::Never, |node| node.held(ShardId { chunk, index: place.index }))
    }

    /// Distinct nodes on which the chunk was made durable as its record says, lost disks included: losing one is within the
    /// fault model, acknowledging without having stored is not.
    pub fn durable_on(&self, chunk: ChunkId, record: &ChunkRecord) -> BTreeSet<NodeId> {
        let durable = |place: &&ShardPlace| match self.held(chunk, place) {
            Held::Good { crc } => crc == place.crc,
            Held::Damaged | Held::Lost => true,
            Held::Deleted | Held::Never => false,
        };
        record.shards.iter().filter(durable).map(|place| place.node.clone()).collect()
    }

    /// Copies of the chunk that can be read when every node is up.
    pub fn good_copies(&self, chunk: ChunkId, record: &ChunkRecord) -> usize {
        let good = |place: &&ShardPlace| self.held(chunk, place) == Held::Good { crc: place.crc };
        record.shards.iter().filter(good).count()
    }
}
