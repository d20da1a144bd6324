//! A batch made of chunks that are there already: what a copy is made of.
//!
//! What it keeps true: as for any reuse, a chunk is leant on only if enough of its holders answer, and only by a commit
//! that checks that its record is still the one looked at (law 5, faults I5b). What cannot be leant on is read and stored again, within
//! an allowance, and its plain bytes are not kept.

use super::{Digest, Found, Holders, Objects, StoredBatch};
use crate::code::Code;
use crate::metadata::records::{ChunkEntry, ChunkRecord, Record};
use crate::metadata::{Expect, keys};
use crate::object::chunker::CHUNK_BYTES_MAX;
use futures_util::future::join_all;
use protocol::{ChunkId, Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Plain bytes that are held at once to be stored again, where there is plenty; one chunk at least.
const AGAIN_BYTES_MAX: usize = 6 << 20;

/// A chunk that cannot be leant on, where it is, and what must hold for its digest to name the new one.
pub(super) type Missing = (Digest, ChunkId, Option<Expect>);

impl Objects {
    /// Looks the chunks of another manifest up, to be named once more; nothing is named yet. `entries` say where they are to end. What
    /// is encoded otherwise than by `code` is stored again.
    pub(in crate::object) async fn lean_on(&self, code: Code, entries: Vec<ChunkEntry>) -> Result<StoredBatch> {
        self.metadata.serves().require_commits()?;
        let mut batch = StoredBatch::empty(code);
        let mut missing = Vec::new();
        let mut seen = BTreeSet::new();
        let once = entries.iter().filter(|entry| seen.insert(entry.sha256));
        let holders = &self.holders();
        let look_ups = once.map(async |entry| (entry, self.look_up_chunk(entry, code, holders).await));
        for (entry, found) in join_all(look_ups).await {
            match found? {
                Found::Reusable(placed) => drop(batch.placed.insert(entry.sha256, placed)),
                Found::StoreAnew { digest } => missing.push((entry.sha256, entry.chunk, digest)),
            }
        }
        self.store_again(&mut batch, missing).await?;
        batch.entries = entries;
        for entry in &mut batch.entries {
            entry.chunk = batch.placed[&entry.sha256].chunk();
        }
        Ok(batch)
    }

    /// The chunk itself if it can be leant on, else whatever chunk has its bytes.
    async fn look_up_chunk(&self, entry: &ChunkEntry, code: Code, holders: &Holders) -> Result<Found> {
        let found = self.metadata.get(&keys::chunk(entry.chunk)).await?;
        let record = found.as_ref().map(|found| ChunkRecord::decode(&found.value)).transpose()?;
        let placed = match (&found, record.filter(|record| record.code == code)) {
            (Some(found), Some(record)) => self.reuse(entry.chunk, &record, found.revision, holders).await?,
            _ => None,
        };
        match placed {
            Some(placed) => Ok(Found::Reusable(placed)),
            None => self.look_up(&entry.sha256, code, holders).await,
        }
    }

    /// Stores chunks again that cannot be leant on: from the bytes that came for them, or, where none did, from where they are.
    pub(super) async fn store_again(&self, batch: &mut StoredBatch, missing: Vec<Missing>) -> Result<()> {
        let came = |(sha256, ..): &Missing| batch.plain.contains_key(sha256);
        let (here, elsewhere): (Vec<Missing>, Vec<Missing>) = missing.into_iter().partition(came);
        self.store_missing(batch, here.into_iter().map(|(sha256, _, digest)| (sha256, digest)).collect()).await?;
        if elsewhere.is_empty() {
            return Ok(());
        }
        let allowance = self.budget.admit(CHUNK_BYTES_MAX, AGAIN_BYTES_MAX).await?;
        let mut rest = elsewhere.into_iter().peekable();
        while rest.peek().is_some() {
            let mut some = BTreeMap::new();
            let mut bytes = 0;
            while bytes + CHUNK_BYTES_MAX <= allowance.bytes()
                && let Some((sha256, chunk, digest)) = rest.next()
            {
                let data = self.fetch_source(chunk).await?;
                bytes += data.len();
                batch.plain.insert(sha256, data);
                some.insert(sha256, digest);
            }
            self.store_missing(batch, some.clone().into_iter().collect()).await?;
            some.keys().for_each(|sha256| drop(batch.plain.remove(sha256)));
        }
        Ok(())
    }

    async fn fetch_source(&self, chunk: ChunkId) -> Result<bytes::Bytes> {
        if self.metadata.get(&keys::chunk(chunk)).await?.is_none() {
            return Err(Error::unavailable("what is copied was removed meanwhile; look for it again"));
        }
        self.fetch_chunk(chunk).await
    }
}
