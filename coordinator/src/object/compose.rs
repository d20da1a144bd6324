//! Compose: a version made of chunks that are there already.
//!
//! Steps; a crash after any of them leaves the old state visible until the last, and the new one from then on:
//! 1. the source's chunks are looked up a batch at a time ([`super::batch`]); no byte is read of what can be leant on;
//! 2. if there is more than one batch, an intent is committed, and each batch but the last is named as a page, several at a time;
//! 3. one commit names the last batch and publishes everything ([`super::publish`]).
//!
//! What it keeps true: the source need not stay while it is copied. A chunk of it that goes before it is named here makes the copy fail,
//! never refer to what is gone; memory is bounded by the batches under way.

use super::Objects;
use super::batch::StoredBatch;
use super::intent::Intent;
use super::manifest::ManifestWalk;
use super::page::NamedPage;
use super::publish::{ComposedOf, Draft, PutDone, PutTarget};
use super::put::BATCH_CHUNKS_MAX;
use super::receipt::Receipt;
use super::settle;
use super::tasks::joined;
use crate::code::Code;
use crate::metadata::records::{ChunkEntry, VersionId, VersionRecord};
use protocol::Result;
use std::collections::VecDeque;
use std::slice;
use tokio::task::JoinHandle;

/// Pages being looked up and named at once: their commits share an fsync.
const PAGES_UNDER_WAY_MAX: usize = 4;

/// A version being composed.
struct Composition<'a> {
    objects: &'a Objects,
    id: VersionId,
    intent: Intent,
    code: Code,
    under_way: VecDeque<JoinHandle<Result<NamedPage>>>,
    pages: u64,
    next_page_start: u64,
    chunks: u64,
    stored_bytes: u64,
    receipt: Receipt,
}

impl Objects {
    /// Publishes the bytes of `source` once more, stored as `code` says, under the name that `target` has.
    pub(super) async fn compose(&self, source: &VersionRecord, code: Code, target: &PutTarget) -> Result<PutDone> {
        let _served = self.clients.serve();
        let id = VersionId(self.clock.fresh_id());
        let mut composition = Composition {
            objects: self,
            id,
            intent: Intent::of(id, self.clock.now_ms()),
            code,
            under_way: VecDeque::new(),
            pages: 0,
            next_page_start: 0,
            chunks: 0,
            stored_bytes: 0,
            receipt: Receipt::empty(code),
        };
        let mut last = composition.gather(source).await?;
        let draft = composition.draft(source);
        let done = self.publish(&draft, slice::from_mut(&mut last), target).await?;
        settle::start(self, last.stragglers);
        Ok(done)
    }
}

impl Composition<'_> {
    /// Names everything but the last batch, which is looked up.
    async fn gather(&mut self, source: &VersionRecord) -> Result<StoredBatch> {
        let mut walk = ManifestWalk::new(source);
        let mut waiting: Vec<ChunkEntry> = Vec::new();
        let mut offset = 0;
        while let Some(run) = walk.from(self.objects, offset).await? {
            offset = run.end();
            waiting.extend(run.entries);
            while waiting.len() > BATCH_CHUNKS_MAX {
                let rest = waiting.split_off(BATCH_CHUNKS_MAX);
                self.send_page(waiting).await?;
                waiting = rest;
            }
        }
        self.chunks += waiting.len() as u64;
        let last = self.objects.lean_on(self.code, waiting).await?;
        while !self.under_way.is_empty() {
            self.join_oldest().await?;
        }
        Ok(last)
    }

    async fn send_page(&mut self, entries: Vec<ChunkEntry>) -> Result<()> {
        self.intent.begin(self.objects).await?;
        let start = self.next_page_start;
        self.next_page_start = entries.last().map_or(start, |entry| entry.end);
        self.pages += 1;
        self.chunks += entries.len() as u64;
        let heartbeat = self.intent.due_beat(self.objects.clock.now_ms());
        let (objects, version, code) = (self.objects.clone(), self.id, self.code);
        let name = async move {
            let stored = objects.lean_on(code, entries).await?;
            objects.name_page(version, start, stored, heartbeat).await
        };
        self.under_way.push_back(self.objects.tasks.spawn(name));
        if self.under_way.len() >= PAGES_UNDER_WAY_MAX {
            self.join_oldest().await?;
        }
        Ok(())
    }

    async fn join_oldest(&mut self) -> Result<()> {
        if let Some(page) = self.under_way.pop_front() {
            let page = joined(page).await?;
            self.stored_bytes += page.stored_bytes;
            self.receipt = page.receipt.map_or(self.receipt, |receipt| self.receipt.weakest(receipt));
        }
        Ok(())
    }

    fn draft(&self, source: &VersionRecord) -> Draft {
        Draft {
            id: self.id,
            has_intent: self.intent.is_begun(),
            pages: self.pages,
            last_page_start: self.next_page_start,
            chunks: self.chunks,
            stored_bytes: self.stored_bytes,
            reuses_any: true,
            receipt: self.receipt,
            size: source.size,
            sha256: source.sha256,
            etag: source.etag,
            composed_of: ComposedOf::Chunks,
        }
    }
}
