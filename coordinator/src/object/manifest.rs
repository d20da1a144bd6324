//! Walks through the chunks of a version, whether its manifest holds them or pages do.
//!
//! What it keeps true: memory is bounded by one page, however large the version is (law 10).

use super::Objects;
use super::page::with_starts;
use crate::metadata::records::{ChunkEntry, ChunkList, VersionRecord};
use protocol::{Error, Result};

/// Chunks of a version that follow one another.
#[derive(Clone, Debug)]
pub struct ManifestRun {
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

impl Objects {
    /// The chunks from the one that holds the byte at `offset` on, some of them; `None` at the end.
    pub async fn chunks_from(&self, version: &VersionRecord, offset: u64) -> Result<Option<ManifestRun>> {
        if offset >= version.size {
            return Ok(None);
        }
        let (start, mut entries) = match &version.chunks {
            ChunkList::Inline(entries) => (0, entries.clone()),
            ChunkList::Paged { .. } => match self.page_after(version.id, offset).await? {
                Some(page) => (page.start, page.entries),
                None => (offset, Vec::new()),
            },
        };
        let before = entries.partition_point(|entry| entry.end <= offset);
        let start = entries[..before].last().map_or(start, |entry| entry.end);
        entries.drain(..before);
        if entries.is_empty() {
            return Err(Error::corrupt(format!("version {} has no chunk for offset {offset}", version.id)));
        }
        Ok(Some(ManifestRun { start, entries }))
    }
}
