//! Walks through the chunks of a version, whether its manifest names them, pages do, or the pages of the parts it was put together from.
//!
//! What it keeps true: memory is bounded by one page and one record of parts, however large the version is (law 10).

use super::Objects;
use super::page::with_starts;
use crate::metadata::keys;
use crate::metadata::records::{ChunkEntry, ChunkList, PartEntry, PartsRecord, Record, VersionId, VersionRecord};
use protocol::{Error, Result};
use std::borrow::Cow;

/// Chunks of a version that follow one another.
#[derive(Clone, Debug)]
pub struct ManifestRun {
    /// Under which id they are referenced: that of the version's manifest, or of the part they came with.
    pub owner: VersionId,
    /// Where the first of them starts in the object.
    pub start: u64,
    /// The chunks; never none.
    pub entries: Vec<ChunkEntry>,
}

impl ManifestRun {
    /// The offset one past the last byte of the last chunk.
    pub fn end(&self) -> u64 {
        self.entries.last().map_or(self.start, |entry| entry.end)
    }

    /// Each chunk with the offset of its first byte.
    pub fn with_starts(&self) -> impl Iterator<Item = (u64, &ChunkEntry)> {
        with_starts(self.start, &self.entries)
    }
}

/// A part of a version, and where it starts there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedPart {
    /// The part.
    pub entry: PartEntry,
    /// The offset of its first byte in the version.
    pub start: u64,
}

/// A walk through a version's chunks.
pub(super) struct ManifestWalk {
    manifest: VersionId,
    size: u64,
    chunks: ChunkList,
    /// The parts that the walk is among.
    parts: Option<PartsRecord>,
}

impl ManifestWalk {
    pub(super) fn new(version: &VersionRecord) -> ManifestWalk {
        ManifestWalk { manifest: version.manifest, size: version.size, chunks: version.chunks.clone(), parts: None }
    }

    /// The chunks from the one that holds the byte at `offset` on, some of them; `None` at the end.
    pub(super) async fn from(&mut self, objects: &Objects, offset: u64) -> Result<Option<ManifestRun>> {
        if offset >= self.size {
            return Ok(None);
        }
        let run = match &self.chunks {
            ChunkList::Inline(_) | ChunkList::Document { .. } => {
                let entries = self.chunks.named_here().map(Cow::into_owned).unwrap_or_default();
                Some(ManifestRun { owner: self.manifest, start: 0, entries })
            }
            ChunkList::Paged { .. } => objects.run_of(self.manifest, 0, offset).await?,
            ChunkList::Parts => {
                let PlacedPart { entry, start } = self.part_at(objects, offset).await?;
                objects.run_of(entry.id, start, offset - start).await?
            }
        };
        let Some(mut run) = run.filter(|run| run.start <= offset && offset < run.end()) else {
            return Err(Error::corrupt(format!("manifest {} has no chunk for offset {offset}", self.manifest)));
        };
        let before = run.entries.partition_point(|entry| entry.end <= offset);
        run.start = run.entries[..before].last().map_or(run.start, |entry| entry.end);
        run.entries.drain(..before);
        Ok(Some(run))
    }

    async fn part_at(&mut self, objects: &Objects, offset: u64) -> Result<PlacedPart> {
        let held =
            |parts: &PartsRecord| parts.start <= offset && parts.entries.last().is_some_and(|last| offset < last.end);
        if !self.parts.as_ref().is_some_and(held) {
            self.parts = objects.parts_after(self.manifest, offset).await?;
        }
        let missing = || Error::corrupt(format!("manifest {} has no part for offset {offset}", self.manifest));
        let parts = self.parts.as_ref().filter(|parts| held(parts)).ok_or_else(missing)?;
        placed(parts).find(|part| offset < part.entry.end).ok_or_else(missing)
    }
}

impl Objects {
    /// The chunks from the one that holds the byte at `offset` on, some of them; `None` at the end.
    pub async fn chunks_from(&self, version: &VersionRecord, offset: u64) -> Result<Option<ManifestRun>> {
        ManifestWalk::new(version).from(self, offset).await
    }

    /// The page of `owner` that holds the byte at `offset` of what it owns, which stands at `base` in the object.
    async fn run_of(&self, owner: VersionId, base: u64, offset: u64) -> Result<Option<ManifestRun>> {
        let Some(mut page) = self.page_after(owner, offset).await? else { return Ok(None) };
        page.entries.iter_mut().for_each(|entry| entry.end += base);
        Ok(Some(ManifestRun { owner, start: base + page.start, entries: page.entries }))
    }

    async fn parts_after(&self, version: VersionId, offset: u64) -> Result<Option<PartsRecord>> {
        let range = keys::parts_from(version, offset);
        let found = self.metadata.scan(&range.from, &range.to, 1).await?;
        found.first().map(|(_, entry)| PartsRecord::decode(&entry.value)).transpose()
    }
}

/// Each part with the offset of its first byte.
pub(super) fn placed(parts: &PartsRecord) -> impl Iterator<Item = PlacedPart> {
    let starts = std::iter::once(parts.start).chain(parts.entries.iter().map(|entry| entry.end));
    starts.zip(&parts.entries).map(|(start, entry)| PlacedPart { entry: entry.clone(), start })
}
