//! For whom a chunk counts: for the oldest of the versions that need it and are not garbage, and there once.

use super::SEEN_MAX;
use crate::metadata::keys;
use crate::metadata::records::{ChunkRecord, Record, VersionId};
use crate::worker::Work;
use protocol::{ChunkId, Result};
use std::collections::{HashMap, HashSet};

/// References of a chunk that are looked at. One that so many versions in the trash window had before counts for nobody.
const REFERENCES_MAX: usize = 64;
/// Versions of which it is remembered whether they are garbage.
const KNOWN_MAX: usize = 1_024;

/// What is remembered from chunk to chunk.
#[derive(Default)]
pub(super) struct Shares {
    /// Under which id the last chunk was referenced,
    owner: Option<VersionId>,
    /// and the chunks met there.
    seen: HashSet<ChunkId>,
    /// Whether versions are garbage. Neighbours share chunks with the same ones.
    garbage: HashMap<VersionId, bool>,
}

impl Shares {
    /// The record of `chunk`, if it counts here, where it is met among the chunks referenced by `owner`.
    pub(super) async fn counts_for(
        &mut self,
        work: &Work,
        owner: VersionId,
        chunk: ChunkId,
    ) -> Result<Option<ChunkRecord>> {
        if self.owner != Some(owner) || self.seen.len() >= SEEN_MAX {
            self.owner = Some(owner);
            self.seen.clear();
        }
        if !self.seen.insert(chunk) || !self.is_oldest(work, owner, chunk).await? {
            return Ok(None);
        }
        let found = work.objects.metadata.get(&keys::chunk(chunk)).await?;
        found.map(|found| ChunkRecord::decode(&found.value)).transpose()
    }

    /// References are in the order of the versions' ids, which is that of time.
    async fn is_oldest(&mut self, work: &Work, owner: VersionId, chunk: ChunkId) -> Result<bool> {
        for (key, _) in work.scan(&keys::references(chunk), REFERENCES_MAX).await? {
            let (_, other) = keys::parse_reference(&key)?;
            if other == owner {
                return Ok(true);
            }
            if !self.is_garbage(work, other).await? {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Whether a version was removed and waits for its trash window to pass. One that was purged with others has no record of its own
    /// that says so.
    async fn is_garbage(&mut self, work: &Work, version: VersionId) -> Result<bool> {
        if let Some(known) = self.garbage.get(&version) {
            return Ok(*known);
        }
        if self.garbage.len() >= KNOWN_MAX {
            self.garbage.clear();
        }
        let is_garbage = work.objects.metadata.get(&keys::garbage(version)).await?.is_some();
        self.garbage.insert(version, is_garbage);
        Ok(is_garbage)
    }
}
