//! A batch of chunks on its way from plain bytes to records: looked up, packed, stored at quorum, and named by one commit.
//!
//! What it keeps true:
//! - A chunk is reused only if the nodes that hold enough of its shards answer right then ([`reuse`]), and only by a commit that checks that
//!   its record is still the one looked at (law 5, design 5 *Dedup against collection*). A reuse is as durable as a write.
//! - A fresh chunk is named only by a commit that checks that nothing has taken or condemned its id: scrub removes an unnamed
//!   shard only after it has put a condemned record under that id, so a writer that slept too long fails instead of naming
//!   bytes that are gone (`docs/decisions/0003-fenced-fast-path.md`).

mod lean;
mod reuse;

use super::Objects;
use super::chunker::PlainChunk;
use super::compute::{ENCODE_COST, PACK_COST};
use super::pack::{Packed, pack};
use super::receipt::Receipt;
use super::write::{NewChunk, Stragglers, WrittenChunk, write_chunks};
use crate::code::Code;
use crate::metadata::records::{
    ChunkEntry, ChunkRecord, ChunkState, DigestRecord, Record, RefRecord, RepairRecord, VersionId,
};
use crate::metadata::{Batch, Expect, keys};
use crate::names;
use bytes::Bytes;
use futures_util::future::join_all;
use protocol::{ChunkId, Error, Result};
use reuse::Holders;
use std::collections::BTreeMap;
use tracing::warn;

type Digest = [u8; 32];

/// Chunks of one batch, stored and ready to be named.
pub(super) struct StoredBatch {
    /// How its chunks are encoded, whether they were there already or not.
    code: Code,
    entries: Vec<ChunkEntry>,
    placed: BTreeMap<Digest, Placed>,
    plain: BTreeMap<Digest, Bytes>,
    /// Calls still under way, one set for each time something was stored.
    pub(super) stragglers: Vec<Stragglers>,
}

/// Where the bytes of a digest are.
enum Placed {
    /// A chunk that other versions hold too.
    Reused { chunk: ChunkId, revision: u64, receipt: Receipt },
    /// A chunk of our own, and what must hold for its digest to be published; `None` if another chunk speaks for it already.
    Fresh { chunk: ChunkId, record: ChunkRecord, digest: Option<Expect> },
}

/// A chunk as it goes to the nodes.
struct Prepared {
    length: u32,
    stored_length: u32,
    compressed: bool,
    shards: Vec<(Bytes, u32)>,
}

/// What a look-up of a digest said.
enum Found {
    Reusable(Placed),
    StoreAnew { digest: Option<Expect> },
}

impl Objects {
    /// Looks up, packs, encodes and stores the chunks; nothing is named yet.
    pub(super) async fn store_batch(&self, code: Code, chunks: Vec<PlainChunk>) -> Result<StoredBatch> {
        // What could not be named must not be stored: it would be in the way of what makes room.
        self.metadata.serves().require_commits()?;
        let mut batch = StoredBatch::empty(code);
        let mut missing = Vec::new();
        let plain = &mut batch.plain;
        let once = chunks.iter().filter(|chunk| plain.insert(chunk.sha256, chunk.data.clone()).is_none());
        // All at once: they wait for the same answers of the nodes that hold them.
        let holders = &self.holders();
        let look_ups = once.map(async |chunk| (chunk.sha256, self.look_up(&chunk.sha256, code, holders).await));
        for (sha256, found) in join_all(look_ups).await {
            match found? {
                Found::Reusable(placed) => drop(batch.placed.insert(sha256, placed)),
                Found::StoreAnew { digest } => missing.push((sha256, digest)),
            }
        }
        self.store_missing(&mut batch, missing).await?;
        let plain_bytes = chunks.iter().map(|chunk| chunk.data.len() as u64).sum();
        batch.count(plain_bytes);
        batch.entries.extend(chunks.iter().map(|chunk| ChunkEntry {
            chunk: batch.placed[&chunk.sha256].chunk(),
            end: chunk.end,
            sha256: chunk.sha256,
        }));
        Ok(batch)
    }

    async fn look_up(&self, sha256: &Digest, code: Code, holders: &Holders) -> Result<Found> {
        let Some(entry) = self.metadata.get(&keys::digest(sha256, code)).await? else {
            return Ok(Found::StoreAnew { digest: Some(Expect::Absent) });
        };
        let chunk = DigestRecord::decode(&entry.value)?.chunk;
        let replace = Found::StoreAnew { digest: Some(Expect::Revision(entry.revision)) };
        let Some(entry) = self.metadata.get(&keys::chunk(chunk)).await? else {
            return Ok(replace);
        };
        let record = ChunkRecord::decode(&entry.value)?;
        Ok(self.reuse(chunk, &record, entry.revision, holders).await?.map_or(replace, Found::Reusable))
    }

    async fn store_missing(&self, batch: &mut StoredBatch, missing: Vec<(Digest, Option<Expect>)>) -> Result<()> {
        if missing.is_empty() {
            return Ok(());
        }
        let plain: Vec<Bytes> = missing.iter().map(|(sha256, _)| batch.plain[sha256].clone()).collect();
        let bytes: usize = plain.iter().map(Bytes::len).sum();
        let code = batch.code;
        let prepare = move || plain.iter().map(|plain| Prepared::new(code, plain)).collect();
        let prepared: Vec<Prepared> = self.compute.run((PACK_COST + ENCODE_COST) * bytes, prepare).await;
        let new =
            |prepared: &Prepared| NewChunk { id: ChunkId(self.clock.fresh_id()), shards: prepared.shards.clone() };
        let written = write_chunks(&self.nodes, code, prepared.iter().map(new).collect()).await?;
        batch.stragglers.extend(written.stragglers);
        for (((sha256, digest), prepared), written) in missing.into_iter().zip(prepared).zip(written.chunks) {
            let record = prepared.record(sha256, code, &written);
            batch.placed.insert(sha256, Placed::Fresh { chunk: written.id, record, digest });
        }
        Ok(())
    }

    /// After a conflict: looks at every record again that the batch leans on, and stores again what cannot be leant on.
    pub(super) async fn refresh_batch(&self, batch: &mut StoredBatch) -> Result<()> {
        let (mut missing, holders) = (Vec::new(), self.holders());
        for (sha256, placed) in &mut batch.placed {
            match placed {
                Placed::Reused { chunk, .. } => {
                    let entry = self.metadata.get(&keys::chunk(*chunk)).await?;
                    let again = match &entry {
                        Some(entry) => {
                            self.reuse(*chunk, &ChunkRecord::decode(&entry.value)?, entry.revision, &holders).await?
                        }
                        None => None,
                    };
                    match again {
                        Some(again) => *placed = again,
                        None => missing.push((*sha256, *chunk, None)),
                    }
                }
                Placed::Fresh { chunk, digest, .. } => {
                    if self.metadata.get(&keys::chunk(*chunk)).await?.is_some() {
                        return Err(Error::unavailable(format!(
                            "chunk {chunk} was condemned while its upload slept; send the upload again"
                        )));
                    }
                    let entry = self.metadata.get(&keys::digest(sha256, batch.code)).await?;
                    let unchanged = match (&*digest, &entry) {
                        (Some(Expect::Absent), None) => true,
                        (Some(Expect::Revision(seen)), Some(entry)) => entry.revision == *seen,
                        _ => false,
                    };
                    if !unchanged {
                        *digest = None;
                    }
                }
            }
        }
        self.store_again(batch, missing).await?;
        for entry in &mut batch.entries {
            entry.chunk = batch.placed[&entry.sha256].chunk();
        }
        Ok(())
    }
}

impl StoredBatch {
    /// The batch of an object without bytes.
    pub(super) fn empty(code: Code) -> StoredBatch {
        StoredBatch {
            code,
            entries: Vec::new(),
            placed: BTreeMap::new(),
            plain: BTreeMap::new(),
            stragglers: Vec::new(),
        }
    }

    /// Counts what dedup and compression save.
    fn count(&self, plain_bytes: u64) {
        let fresh_bytes = self.placed.values().map(Placed::fresh_plain_bytes).sum();
        let counted = |outcome| metrics::counter!(names::CHUNK_BYTES_TOTAL, "outcome" => outcome);
        counted("stored").increment(fresh_bytes);
        counted("reused").increment(plain_bytes.saturating_sub(fresh_bytes));
        metrics::counter!(names::CHUNK_STORED_BYTES_TOTAL).increment(self.fresh_stored_bytes());
    }

    /// The manifest's lines for these chunks.
    pub(super) fn entries(&self) -> &[ChunkEntry] {
        &self.entries
    }

    /// The plain bytes of one of these chunks.
    pub(super) fn plain_of(&self, entry: &ChunkEntry) -> Option<Bytes> {
        self.plain.get(&entry.sha256).cloned()
    }

    /// What holds for the weakest of them.
    pub(super) fn receipt(&self) -> Option<Receipt> {
        self.placed.values().map(Placed::receipt).reduce(Receipt::weakest)
    }

    /// Bytes stored, before replication, for chunks that were not there yet.
    pub(super) fn fresh_stored_bytes(&self) -> u64 {
        self.placed.values().map(Placed::fresh_stored_bytes).sum()
    }

    /// Whether any chunk was there already.
    pub(super) fn reuses_any(&self) -> bool {
        self.placed.values().any(|placed| matches!(placed, Placed::Reused { .. }))
    }

    /// Adds what names these chunks under `version` to `commit`: chunk, digest, reference, and repair for what is short.
    pub(super) fn name_in(&self, commit: &mut Batch, version: VersionId, now_ms: u64) {
        for (sha256, placed) in &self.placed {
            commit.put(keys::reference(placed.chunk(), version), RefRecord {}.encode());
            match placed {
                Placed::Reused { chunk, revision, .. } => {
                    commit.check(keys::chunk(*chunk), Expect::Revision(*revision));
                    for key in endangered(*chunk, self.code) {
                        commit.check(key, Expect::Absent);
                    }
                }
                Placed::Fresh { chunk, record, digest } => {
                    commit.check(keys::chunk(*chunk), Expect::Absent);
                    commit.put(keys::chunk(*chunk), record.encode());
                    if let Some(expect) = digest {
                        let key = keys::digest(sha256, record.code);
                        commit.check(key.clone(), *expect);
                        commit.put(key, DigestRecord { chunk: *chunk }.encode());
                    }
                    queue_repair(commit, *chunk, record, now_ms);
                }
            }
        }
    }

    /// Chunks of ours that are short of shards.
    pub(super) fn shortfalls(&self) -> usize {
        self.placed
            .values()
            .filter(|placed| matches!(placed, Placed::Fresh { .. }) && placed.receipt().pending > 0)
            .count()
    }

    /// Says so, always, when a quorum was met without all replicas (contract A14, B10).
    pub(super) fn log_shortfall(&self) {
        let chunks = self.shortfalls();
        if chunks > 0 {
            warn!(target: "degradation", chunks, "Quorum met, but nodes failed. Scheduling repair.");
        }
    }
}

impl Prepared {
    fn new(code: Code, plain: &Bytes) -> Prepared {
        let Packed { data, compressed } = pack(plain);
        let (length, stored_length) = (plain.len() as u32, data.len() as u32);
        Prepared { length, stored_length, compressed, shards: code.encode(&data) }
    }

    fn record(&self, sha256: Digest, code: Code, written: &WrittenChunk) -> ChunkRecord {
        assert!(
            written.places.len() >= code.write_quorum(),
            "law 1: a chunk is named only when a quorum of distinct nodes has fsynced it"
        );
        ChunkRecord {
            length: self.length,
            stored_length: self.stored_length,
            sha256,
            compressed: self.compressed,
            code,
            shards: written.places.clone(),
            state: ChunkState::Live,
            fence: 0,
        }
    }
}

/// The repair record of a chunk that is short of shards, in the same commit as the chunk (law 8).
fn queue_repair(commit: &mut Batch, chunk: ChunkId, record: &ChunkRecord, now_ms: u64) {
    if let Some(severity) = repair_severity(record) {
        let repair = RepairRecord::new(chunk, now_ms, "written short of replicas");
        commit.put(keys::repair(severity, chunk), repair.encode());
    }
}

/// Under which keys repair would know that fewer than a write quorum of the chunk's shards are good.
fn endangered(chunk: ChunkId, code: Code) -> impl Iterator<Item = Bytes> {
    let severities = 0..(code.write_quorum() as u8).saturating_sub(code.data);
    severities.map(move |severity| keys::repair(severity, chunk))
}

/// How many more shards the chunk can lose before it is lost: 0 is the most urgent. `None` when it is whole.
pub fn repair_severity(record: &ChunkRecord) -> Option<u8> {
    let missing = record.code.shards() > record.shards.len();
    missing.then(|| (record.shards.len() as u8).saturating_sub(record.code.data))
}

impl Placed {
    fn chunk(&self) -> ChunkId {
        match self {
            Placed::Reused { chunk, .. } | Placed::Fresh { chunk, .. } => *chunk,
        }
    }

    fn receipt(&self) -> Receipt {
        match self {
            Placed::Reused { receipt, .. } => *receipt,
            Placed::Fresh { record, .. } => Receipt::of(record.code, record.shards.len() as u32),
        }
    }

    fn fresh_plain_bytes(&self) -> u64 {
        match self {
            Placed::Reused { .. } => 0,
            Placed::Fresh { record, .. } => u64::from(record.length),
        }
    }

    fn fresh_stored_bytes(&self) -> u64 {
        match self {
            Placed::Reused { .. } => 0,
            Placed::Fresh { record, .. } => u64::from(record.stored_length),
        }
    }
}
