//! A document of two parts as it is stored: its runs, of which the hot ones are read and the cold ones are not.

use super::json::members;
use super::split::HotNames;
use crate::code::Code;
use crate::metadata::keys;
use crate::metadata::records::{ChunkEntry, ChunkList, ChunkRecord, Record, VersionRecord, in_order};
use crate::object::{ObjectName, Objects, Version, VersionSelector};
use protocol::{ChunkId, Error, Result};
use std::collections::BTreeSet;

/// A run of a document that is stored.
#[derive(Debug)]
pub(super) struct StoredRun {
    /// The offset of its first byte.
    pub(super) start: u64,
    /// Its chunks.
    pub(super) entries: Vec<ChunkEntry>,
    /// Its text, if it is hot.
    pub(super) hot: Option<String>,
}

/// A document that is stored in two parts.
#[derive(Debug)]
pub(super) struct StoredDocument {
    pub(super) runs: Vec<StoredRun>,
    /// Names of its hot fields.
    pub(super) hot: HotNames,
    /// Digests of its cold chunks, in order.
    pub(super) cold: Vec<[u8; 32]>,
    /// How these are encoded; `None` without any.
    pub(super) cold_code: Option<Code>,
}

impl Objects {
    /// What of the key's newest version a write of the document can lean on. A version that cannot be read is replaced all the same.
    pub(super) async fn stored_before(&self, name: &ObjectName) -> Option<StoredDocument> {
        match self.resolve(name, VersionSelector::Latest).await {
            Ok(Version::Found(version)) => self.stored_document(&version).await.ok().flatten(),
            _ => None,
        }
    }

    /// Reads the hot part of a document; `None` if the version has no two parts.
    pub(super) async fn stored_document(&self, version: &VersionRecord) -> Result<Option<StoredDocument>> {
        let ChunkList::Document { hot, cold } = &version.chunks else { return Ok(None) };
        let hot_ends: BTreeSet<u64> = hot.iter().map(|entry| entry.end).collect();
        let cold = in_order(cold.iter());
        let cold_code = match cold.first() {
            Some(first) => Some(self.code_of_chunk(first.chunk).await?),
            None => None,
        };
        let mut runs = Vec::new();
        let mut names = HotNames::new();
        let mut start = 0;
        let all = in_order(hot.iter().chain(&cold));
        for entries in all.chunk_by(|one, next| hot_ends.contains(&one.end) == hot_ends.contains(&next.end)) {
            let hot = match hot_ends.contains(&entries[0].end) {
                true => Some(self.fetch_text(entries).await?),
                false => None,
            };
            names.extend(hot.iter().flat_map(|text| members(text)).map(|member| member.name.into_owned()));
            runs.push(StoredRun { start, entries: entries.to_vec(), hot });
            start = entries.last().map_or(start, |entry| entry.end);
        }
        let cold = cold.iter().map(|entry| entry.sha256).collect();
        Ok(Some(StoredDocument { runs, hot: names, cold, cold_code }))
    }

    async fn fetch_text(&self, entries: &[ChunkEntry]) -> Result<String> {
        let mut bytes = Vec::new();
        for entry in entries {
            bytes.extend_from_slice(&self.fetch_chunk(entry.chunk).await?);
        }
        String::from_utf8(bytes).map_err(|_| Error::corrupt("the hot part of a document is no text"))
    }

    async fn code_of_chunk(&self, chunk: ChunkId) -> Result<Code> {
        let entry = self.metadata.get(&keys::chunk(chunk)).await?;
        // It is named by a version that was just read; so it went with it.
        let entry = entry.ok_or_else(|| Error::unavailable("the document was removed meanwhile; look for it again"))?;
        Ok(ChunkRecord::decode(&entry.value)?.code)
    }
}
