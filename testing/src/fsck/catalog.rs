//! The catalog's side: what its records say there should be, and how that compares with what is there.
//!
//! The log of the directory is copied and opened as the coordinator would after losing its index: it replays what is durable and
//! believes nothing else. The directory itself is only read.

use super::census;
use super::node::{Copy, NodeReport, Plain};
use super::report::{Listed, list, present};
use bytes::Bytes;
use coordinator::metadata::records::{ChunkRecord, ChunkState, Record};
use coordinator::metadata::sled::{SledMetadata, SledSettings};
use coordinator::metadata::{Metadata, keys};
use protocol::{ChunkId, ClusterId, Content, Error, ErrorKind, Result, ShardId, SystemClock};
use serde::Serialize;
use std::collections::HashSet;
use std::fmt::{self, Display, Formatter};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Entries read at once.
const SCAN_ENTRIES: usize = 1024;

/// What the comparison found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CatalogReport {
    /// Versions with bytes that can be read.
    pub versions: u64,
    /// Versions with bytes that were purged and wait for the collector.
    pub versions_purged: u64,
    /// Live chunk records.
    pub chunks: u64,
    /// Condemned ones: about to be collected, not judged.
    pub chunks_condemned: u64,
    /// Fences, which keep a writer that sleeps from naming a chunk that was given up.
    pub fences: u64,
    /// Live chunks of which no good copy, or too few shards to read it, is left.
    pub lost: Listed<ChunkId>,
    /// Live chunks on fewer distinct nodes than their code asks for, or than there are.
    pub short: Listed<ChunkId>,
    /// Copies that a record names and that are not there, or have another CRC32: chunk and node.
    pub missing: Listed<String>,
    /// Good copies of live chunks that neither their record nor the trash names: shard and node.
    pub unnamed: Listed<String>,
    /// Shards of chunks that have no record, or only a fence, and that are not in the trash: shard and node.
    pub orphans: Listed<String>,
    /// Copies whose SHA-256 was compared.
    pub hashed: u64,
    /// Those that were not what was uploaded: shard and node.
    pub wrong_bytes: Listed<String>,
    /// Readable versions that name a chunk which is not there, or lack pages: bucket, key and number.
    pub broken_versions: Listed<String>,
    /// Chunks of versions that the version does not hold a reference to: the collector might take them.
    pub unreferenced: Listed<String>,
    /// References of versions and parts that do not exist.
    pub stray_references: u64,
    /// Multipart uploads that are open.
    pub uploads: u64,
    /// Their parts.
    pub parts: u64,
    /// Those of them that name a chunk which is not there or not referenced, or lack pages: upload and number.
    pub broken_parts: Listed<String>,
    /// Parts of uploads that are neither open nor being collected, and lists of parts of versions that do not exist.
    pub stray_parts: u64,
    /// Uploads under way.
    pub intents: u64,
    /// Repair work that waits.
    pub repairs: u64,
    /// Versions that wait for the collector.
    pub garbage: u64,
    /// Chunks that wait for it.
    pub collects: u64,
    /// Shards on nodes that wait to be deleted.
    pub trash: u64,
}

/// Whether a chunk can be read from what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Readable,
    Lost,
}

/// Shown each key with its value.
pub(super) type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

/// An opened copy of a catalog.
pub(super) struct Catalog {
    metadata: SledMetadata,
    runtime: Runtime,
    _copy: TempDir,
}

impl Catalog {
    /// Copies and opens the catalog in `path`.
    pub(super) fn open(path: &Path, cluster: ClusterId) -> Result<Catalog> {
        let failed = |error: std::io::Error| {
            Error::caused(ErrorKind::Unavailable, format!("copy the catalog {}: {error}", path.display()), error)
        };
        let copy = tempfile::Builder::new().prefix("holdfast-fsck-").tempdir().map_err(failed)?;
        std::fs::create_dir(copy.path().join("log")).map_err(failed)?;
        std::fs::copy(path.join("identity"), copy.path().join("identity")).map_err(failed)?;
        for entry in std::fs::read_dir(path.join("log")).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            std::fs::copy(entry.path(), copy.path().join("log").join(entry.file_name())).map_err(failed)?;
        }
        let metadata = SledMetadata::open(copy.path(), cluster, Arc::new(SystemClock), SledSettings::default())?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(failed)?;
        Ok(Catalog { metadata, runtime, _copy: copy })
    }

    pub(super) fn get<R: Record>(&self, key: &[u8]) -> Result<Option<R>> {
        let found = self.runtime.block_on(self.metadata.get(key))?;
        found.map(|entry| R::decode(&entry.value)).transpose()
    }

    pub(super) fn for_each(&self, range: keys::KeyRange, visit: Visit<'_>) -> Result<()> {
        let mut from = range.from;
        loop {
            let entries = self.runtime.block_on(self.metadata.scan(&from, &range.to, SCAN_ENTRIES))?;
            for (key, entry) in &entries {
                visit(key, &entry.value)?;
            }
            match entries.last() {
                Some((last, _)) if entries.len() == SCAN_ENTRIES => from = keys::after(last),
                _ => return Ok(()),
            }
        }
    }

    pub(super) fn has(&self, key: &[u8]) -> Result<bool> {
        Ok(self.runtime.block_on(self.metadata.get(key))?.is_some())
    }

    fn count(&self, range: keys::KeyRange) -> Result<u64> {
        let mut count = 0;
        self.for_each(range, &mut |_, _| {
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    /// Whether `data`, the bytes of a shard, are those of its chunk. One of several data shards says nothing by itself.
    pub(super) fn plain(&self, shard: ShardId, data: &[u8]) -> Result<Plain> {
        let Some(record) = self.get::<ChunkRecord>(&keys::chunk(shard.chunk))? else { return Ok(Plain::Unchecked) };
        if record.code.data != 1 {
            return Ok(Plain::Unchecked);
        }
        let content = Content { sha256: record.sha256, length: record.length, compressed: record.compressed };
        match content.unpack(Bytes::copy_from_slice(data)) {
            Ok(_) => Ok(Plain::Good),
            Err(_) => Ok(Plain::Bad),
        }
    }

    /// Compares records and copies, both ways.
    pub(super) fn compare(&self, nodes: &[NodeReport], copies: &[Copy]) -> Result<CatalogReport> {
        let mut report = CatalogReport {
            intents: self.count(keys::intents())?,
            uploads: self.count(keys::every_upload())?,
            repairs: self.count(keys::repairs())?,
            garbage: self.count(keys::garbages())?,
            collects: self.count(keys::collects())?,
            ..CatalogReport::default()
        };
        let kept = self.without_trash(nodes, copies, &mut report)?;
        let mut lost = HashSet::new();
        let mut groups = census::chunks(&kept).peekable();
        self.for_each(keys::chunks(), &mut |key, value| {
            let chunk = keys::parse_chunk(key)?;
            while let Some((_, group)) = groups.next_if(|(found, _)| *found < chunk) {
                report.orphaned(nodes, group);
            }
            let group = groups.next_if(|(found, _)| *found == chunk).map_or(&[][..], |(_, group)| group);
            if report.chunk(nodes, chunk, &ChunkRecord::decode(value)?, group) == Health::Lost {
                lost.insert(chunk);
            }
            Ok(())
        })?;
        groups.for_each(|(_, group)| report.orphaned(nodes, group));
        self.compare_versions(&lost, &mut report)?;
        Ok(report)
    }

    /// The copies that are not to be deleted anyway.
    fn without_trash(&self, nodes: &[NodeReport], copies: &[Copy], report: &mut CatalogReport) -> Result<Vec<Copy>> {
        let mut trash: HashSet<(u16, [u8; ShardId::BYTES])> = HashSet::new();
        self.for_each(keys::all_trash(), &mut |key, _| {
            let (node, shard) = keys::parse_trash(key)?;
            if let Some(number) = nodes.iter().position(|report| report.node == node) {
                trash.insert((number as u16, shard.to_bytes()));
            }
            Ok(())
        })?;
        let (gone, kept): (Vec<Copy>, Vec<Copy>) =
            copies.iter().partition(|copy| trash.contains(&(copy.node, copy.shard)));
        report.trash = gone.len() as u64;
        Ok(kept)
    }
}

impl CatalogReport {
    fn orphaned(&mut self, nodes: &[NodeReport], group: &[Copy]) {
        group.iter().for_each(|copy| self.orphans.add(label(nodes, copy)));
    }

    fn chunk(&mut self, nodes: &[NodeReport], chunk: ChunkId, record: &ChunkRecord, group: &[Copy]) -> Health {
        for copy in group.iter().filter(|copy| copy.plain != Plain::Unchecked) {
            self.hashed += 1;
            if copy.plain == Plain::Bad {
                self.wrong_bytes.add(label(nodes, copy));
            }
        }
        if record.state == ChunkState::Condemned && record.shards.is_empty() {
            self.fences += 1;
            self.orphaned(nodes, group);
            return Health::Readable;
        }
        if record.state == ChunkState::Condemned {
            self.chunks_condemned += 1;
            return Health::Readable;
        }
        self.chunks += 1;
        let crc_of = |index: u8| {
            let named = record.shards.iter().find(|place| place.index == index);
            // Replicas are all alike, so any of them says what an unnamed one must be.
            let alike = || record.shards.first().filter(|_| record.code.data == 1);
            named.or_else(alike).map(|place| place.crc)
        };
        let is_good =
            |copy: &&Copy| copy.plain != Plain::Bad && crc_of(ShardId::from_bytes(copy.shard).index) == Some(copy.crc);
        let good: Vec<&Copy> = group.iter().filter(is_good).collect();
        let name = |copy: &Copy| &nodes[usize::from(copy.node)].node;
        for place in &record.shards {
            let held = good.iter().any(|copy| *name(copy) == place.node && copy.shard[16] == place.index);
            if !held {
                self.missing.add(format!("{chunk} on {}", place.node));
            }
        }
        for copy in &good {
            let named = record.shards.iter().any(|place| place.node == *name(copy) && place.index == copy.shard[16]);
            if !named {
                self.unnamed.add(label(nodes, copy));
            }
        }
        let distinct = distinct(&good, record);
        if distinct < record.code.read_quorum() {
            self.lost.add(chunk);
            return Health::Lost;
        }
        if distinct < record.code.shards().min(nodes.len()) {
            self.short.add(chunk);
        }
        Health::Readable
    }

    pub(super) fn findings(&self) -> Vec<String> {
        let counts = [
            (self.lost.count, "chunks have no good copy left"),
            (self.short.count, "chunks are on too few nodes"),
            (self.missing.count, "copies are named by records and not there"),
            (self.unnamed.count, "copies are named by no record of their chunk"),
            (self.orphans.count, "shards belong to no chunk"),
            (self.wrong_bytes.count, "copies are not the bytes that were uploaded"),
            (self.broken_versions.count, "versions cannot be read whole"),
            (self.unreferenced.count, "versions lack a reference to a chunk of theirs"),
            (self.stray_references, "references are of versions or parts that do not exist"),
            (self.broken_parts.count, "parts of open uploads are not whole"),
            (self.stray_parts, "records of parts belong to no upload and no version"),
        ];
        present(counts).map(|(count, what)| format!("catalog: {count} {what}")).collect()
    }
}

/// Distinct nodes with a good copy; of a code with several data shards, distinct pieces on distinct nodes.
fn distinct(good: &[&Copy], record: &ChunkRecord) -> usize {
    let nodes: HashSet<u16> = good.iter().map(|copy| copy.node).collect();
    let pieces: HashSet<u8> = good.iter().map(|copy| record.code.piece(copy.shard[16])).collect();
    if record.code.data == 1 { nodes.len() } else { nodes.len().min(pieces.len()) }
}

fn label(nodes: &[NodeReport], copy: &Copy) -> String {
    format!("{} on {}", ShardId::from_bytes(copy.shard), nodes[usize::from(copy.node)].node)
}

impl Display for CatalogReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "catalog  {} versions ({} more purged), {} chunks ({} more condemned, {} fences), {} copies hashed; waiting: {} repairs, \
             {} versions and {} chunks to collect, {} shards to delete, {} uploads under way, {} open with {} parts",
            self.versions,
            self.versions_purged,
            self.chunks,
            self.chunks_condemned,
            self.fences,
            self.hashed,
            self.repairs,
            self.garbage,
            self.collects,
            self.trash,
            self.intents,
            self.uploads,
            self.parts
        )?;
        list(f, "lost", &self.lost)?;
        list(f, "too few copies", &self.short)?;
        list(f, "named and not there", &self.missing)?;
        list(f, "named by no record", &self.unnamed)?;
        list(f, "of no chunk", &self.orphans)?;
        list(f, "wrong bytes", &self.wrong_bytes)?;
        list(f, "broken version", &self.broken_versions)?;
        list(f, "without reference", &self.unreferenced)?;
        list(f, "broken part", &self.broken_parts)
    }
}
