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
use super::copy::SourceVersion;
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

/// A manifest being composed of the chunks of a version.
pub(super) struct Composition {
    pub(super) objects: Objects,
    pub(super) id: VersionId,
    pub(super) intent: Intent,
    code: Code,
    walk: ManifestWalk,
    /// Chunks that no batch has taken yet, and where in the version they end.
    waiting: Vec<ChunkEntry>,
    walked_to: u64,
    under_way: VecDeque<JoinHandle<Result<NamedPage>>>,
    pub(super) pages: u64,
    pub(super) next_page_start: u64,
    chunks: u64,
    pub(super) stored_bytes: u64,
    receipt: Receipt,
}

impl Objects {
    /// Publishes the bytes of `source` once more, stored as `code` says, under the name that `target` has.
    pub(super) async fn compose(&self, source: SourceVersion<'_>, code: Code, target: &PutTarget) -> Result<PutDone> {
        let _served = self.clients.serve();
        let mut composition = Composition::of(self, source, code);
        while composition.send_next().await? {}
        let mut last = composition.last().await?;
        let draft = composition.draft(source.version);
        let done = self.publish(&draft, slice::from_mut(&mut last), target).await?;
        settle::start(self, last.stragglers);
        Ok(done)
    }
}

impl Composition {
    /// Of the chunks of `source`, stored as `code` says. Nothing is done yet.
    pub(super) fn of(objects: &Objects, source: SourceVersion<'_>, code: Code) -> Composition {
        let id = VersionId(objects.clock.fresh_id());
        Composition {
            objects: objects.clone(),
            id,
            intent: Intent::of(id, objects.clock.now_ms()),
            code,
            walk: ManifestWalk::new(source.name.version_key(source.version.number), source.version),
            waiting: Vec::new(),
            walked_to: 0,
            under_way: VecDeque::new(),
            pages: 0,
            next_page_start: 0,
            chunks: 0,
            stored_bytes: 0,
            receipt: Receipt::empty(code),
        }
    }

    /// Has the next page looked up and named; false once what is left is the last batch.
    pub(super) async fn send_next(&mut self) -> Result<bool> {
        while self.waiting.len() <= BATCH_CHUNKS_MAX {
            let Some(run) = self.walk.from(&self.objects, self.walked_to).await? else { return Ok(false) };
            self.walked_to = run.end();
            self.waiting.extend(run.entries);
        }
        let rest = self.waiting.split_off(BATCH_CHUNKS_MAX);
        let page = std::mem::replace(&mut self.waiting, rest);
        self.send_page(page).await?;
        Ok(true)
    }

    /// Looks the last batch up, when all before it is named.
    pub(super) async fn last(&mut self) -> Result<StoredBatch> {
        let last = std::mem::take(&mut self.waiting);
        self.chunks += last.len() as u64;
        let last = self.objects.lean_on(self.code, last).await?;
        self.join_all().await?;
        Ok(last)
    }

    async fn send_page(&mut self, entries: Vec<ChunkEntry>) -> Result<()> {
        self.intent.begin(&self.objects).await?;
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

    /// Waits for the pages under way.
    pub(super) async fn join_all(&mut self) -> Result<()> {
        while !self.under_way.is_empty() {
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
