//! Pages: the manifest of an upload that is larger than one batch, a batch to a page.
//!
//! What it keeps true: a page's commit names its chunks and checks that the upload's intent is alive, so that nothing is named
//! for an upload that was given up.

use super::batch::StoredBatch;
use super::chunker::PlainChunk;
use super::receipt::Receipt;
use super::{Objects, settle};
use crate::code::Code;
use crate::metadata::records::{ChunkEntry, IntentRecord, PageRecord, Record, VersionId};
use crate::metadata::{Batch, Expect, keys};
use protocol::{Error, ErrorKind, Result};

/// A page commit that meets conflicts this often gives up; each conflict means that another writer or repair got ahead.
const PAGE_ATTEMPTS_MAX: u32 = 16;

/// What a page that is stored and named adds to the whole.
pub(super) struct NamedPage {
    pub(super) stored_bytes: u64,
    pub(super) reuses_any: bool,
    pub(super) receipt: Option<Receipt>,
}

impl Objects {
    /// Stores a batch as `code` says and names it as the page of `version` that starts at `start`.
    pub(super) async fn store_page(
        &self,
        version: VersionId,
        start: u64,
        code: Code,
        chunks: Vec<PlainChunk>,
        heartbeat: Option<IntentRecord>,
    ) -> Result<NamedPage> {
        let stored = self.store_batch(code, chunks).await?;
        self.name_page(version, start, stored, heartbeat).await
    }

    /// Names chunks that are stored as the page of `version` that starts at `start`.
    pub(super) async fn name_page(
        &self,
        version: VersionId,
        start: u64,
        mut stored: StoredBatch,
        heartbeat: Option<IntentRecord>,
    ) -> Result<NamedPage> {
        let end = stored.entries().last().map_or(start, |entry| entry.end);
        let page_key = keys::page(version, end);
        for _ in 0..PAGE_ATTEMPTS_MAX {
            let mut commit = Batch::new();
            commit.check(keys::intent(version), Expect::Present);
            // An attempt that was given up for unknown may land between: its page stays then, or what it alone referenced would stay for ever.
            commit.check(page_key.clone(), Expect::Absent);
            if let Some(intent) = &heartbeat {
                commit.put(keys::intent(version), intent.encode());
            }
            stored.name_in(&mut commit, version, self.clock.now_ms());
            commit.put(page_key.clone(), PageRecord { start, entries: stored.entries().to_vec() }.encode());
            match self.metadata.commit(commit).await {
                Ok(()) => return Ok(self.page_named(stored)),
                Err(error) if matches!(error.kind, ErrorKind::Conflict | ErrorKind::Unknown) => {}
                Err(error) => return Err(error),
            }
            if self.metadata.get(&page_key).await?.is_some() {
                return Ok(self.page_named(stored));
            }
            if self.metadata.get(&keys::intent(version)).await?.is_none() {
                return Err(given_up());
            }
            self.refresh_batch(&mut stored).await?;
        }
        Err(Error::unavailable(format!("a page of the upload lost {PAGE_ATTEMPTS_MAX} races in a row; send it again")))
    }

    fn page_named(&self, stored: StoredBatch) -> NamedPage {
        stored.log_shortfall();
        let named = NamedPage {
            stored_bytes: stored.fresh_stored_bytes(),
            reuses_any: stored.reuses_any(),
            receipt: stored.receipt(),
        };
        settle::start(self, stored.stragglers);
        named
    }

    /// The page of `version` that holds the byte at `offset`: pages are keyed by their end, so it is the first beyond.
    pub(super) async fn page_after(&self, version: VersionId, offset: u64) -> Result<Option<PageRecord>> {
        let pages = keys::pages_from(version, offset);
        let found = self.metadata.scan(&pages.from, &pages.to, 1).await?;
        found.first().map(|(_, entry)| PageRecord::decode(&entry.value)).transpose()
    }
}

/// What an upload hears whose intent is gone.
pub(super) fn given_up() -> Error {
    Error::unavailable("the upload took too long and was given up; send it again")
}

/// The length of each entry, from the end of the one before.
pub(super) fn with_starts(start: u64, entries: &[ChunkEntry]) -> impl Iterator<Item = (u64, &ChunkEntry)> {
    let starts = std::iter::once(start).chain(entries.iter().map(|entry| entry.end));
    starts.zip(entries)
}
