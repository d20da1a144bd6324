//! Walks through the chunks of a version, whether its manifest names them, pages do, or the pages of the parts it was put together from.
//!
//! What it keeps true: memory is bounded by one page and one record of parts, however large the version is (law 10). A version that is
//! stored as another class while it is walked through is gone on with where its record says that it lies now.

use super::Objects;
use super::page::with_starts;
use crate::metadata::keys;
use crate::metadata::records::{ChunkEntry, ChunkList, PartEntry, PartsRecord, Record, VersionId, VersionRecord};
use bytes::Bytes;
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
    /// Where the version's record is.
    key: Bytes,
    id: VersionId,
    manifest: VersionId,
    size: u64,
    chunks: ChunkList,
    /// The parts that the walk is among.
    parts: Option<PartsRecord>,
}

impl ManifestWalk {
    /// Through the version whose record is under `key`.
    pub(super) fn new(key: Bytes, version: &VersionRecord) -> ManifestWalk {
        let VersionRecord { id, manifest, size, ref chunks, .. } = *version;
        ManifestWalk { key, id, manifest, size, chunks: chunks.clone(), parts: None }
    }

    /// The chunks from the one that holds the byte at `offset` on, some of them; `None` at the end.
    pub(super) async fn from(&mut self, objects: &Objects, offset: u64) -> Result<Option<ManifestRun>> {
        if offset >= self.size {
            return Ok(None);
        }
        loop {
            let found = self.run_at(objects, offset).await?;
            if let Some(mut run) = found.filter(|run| run.start <= offset && offset < run.end()) {
                let before = run.entries.partition_point(|entry| entry.end <= offset);
                run.start = run.entries[..before].last().map_or(run.start, |entry| entry.end);
                run.entries.drain(..before);
                return Ok(Some(run));
            }
            let Some(version) = objects.stored_anew(&self.key, self.id, self.manifest).await? else {
                return Err(Error::corrupt(format!("manifest {} has no chunk for offset {offset}", self.manifest)));
            };
            *self = ManifestWalk::new(self.key.clone(), &version);
        }
    }

    /// The run that the manifest has for the byte at `offset`, if it has one.
    async fn run_at(&mut self, objects: &Objects, offset: u64) -> Result<Option<ManifestRun>> {
        match &self.chunks {
            ChunkList::Inline(_) | ChunkList::Document { .. } => {
                let entries = self.chunks.named_here().map(Cow::into_owned).unwrap_or_default();
                Ok(Some(ManifestRun { owner: self.manifest, start: 0, entries }))
            }
            ChunkList::Paged { .. } => objects.run_of(self.manifest, 0, offset).await,
            ChunkList::Parts => match self.part_at(objects, offset).await? {
                Some(PlacedPart { entry, start }) => objects.run_of(entry.id, start, offset - start).await,
                None => Ok(None),
            },
        }
    }

    async fn part_at(&mut self, objects: &Objects, offset: u64) -> Result<Option<PlacedPart>> {
        let held =
            |parts: &PartsRecord| parts.start <= offset && parts.entries.last().is_some_and(|last| offset < last.end);
        if !self.parts.as_ref().is_some_and(held) {
            self.parts = objects.parts_after(self.manifest, offset).await?;
        }
        let parts = self.parts.as_ref().filter(|parts| held(parts));
        Ok(parts.and_then(|parts| placed(parts).find(|part| offset < part.entry.end)))
    }
}

impl Objects {
    /// The chunks of the version whose record is under `key`, from the one that holds the byte at `offset` on, some of them; `None` at
    /// the end.
    ///
    /// `Corrupt` if there are none, though the version has more bytes.
    pub async fn chunks_from(&self, key: &Bytes, version: &VersionRecord, offset: u64) -> Result<Option<ManifestRun>> {
        ManifestWalk::new(key.clone(), version).from(self, offset).await
    }

    /// The version whose record is under `key`, if it is still the one with this id and has another manifest than this by now: that one
    /// is collected some time after the version was stored as another class.
    pub(super) async fn stored_anew(
        &self,
        key: &Bytes,
        id: VersionId,
        manifest: VersionId,
    ) -> Result<Option<VersionRecord>> {
        let Some(entry) = self.metadata.get(key).await? else { return Ok(None) };
        let version = VersionRecord::decode(&entry.value)?;
        Ok(Some(version).filter(|version| version.id == id && version.manifest != manifest))
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
