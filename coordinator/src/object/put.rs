//! Put: a stream of bytes becomes a version, or a part of one.
//!
//! Steps; a crash after any of them leaves the old state visible until the last, and the new one from then on:
//! 1. a few bytes wait as they came; what is more gathers in a stage, and when that is full the chunker cuts and hashes it;
//! 2. if more than one batch comes, an intent is committed, so that what follows is named (law 4);
//! 3. the batches of a full stage are stored at quorum and named by page, chunk, digest and reference in one commit each, two at a time;
//! 4. the stream's end brings the name, and the put is judged ([`super::judge`]); the last batch is stored, and one commit publishes everything ([`super::publish`], or
//!    [`super::multipart`] where the stream is a part).
//!
//! A put that fits one batch has steps 1 and 4 only: the fast path, one commit in all.
//!
//! What it keeps true: a stream that breaks off publishes nothing. Memory is bounded by the allowance, also of a stream that breaks off
//! while its batches are still under way; but where chunks are long, far into an object, and nothing is free, by twice the longest chunk. A slow
//! client has a part of the budget only while nobody waits for it (decision 0103).

use super::batch::StoredBatch;
use super::budget::Allowance;
use super::chunker::{Chunker, Cuts, PlainChunk, StreamDigest};
use super::clients::Served;
use super::compute::CUT_COST;
use super::incoming::{Body, Incoming, SHORT_BYTES_MAX, Taken, joined_pieces};
use super::intent::Intent;
use super::page::NamedPage;
use super::publish::{ComposedOf, Draft, PutDone, PutTarget};
use super::receipt::Receipt;
use super::tasks::joined;
use super::upload_memory::UploadMemory;
use super::{Objects, settle};
use crate::code::Code;
use crate::metadata::records::{ETag, VersionId};
use bytes::Bytes;
use futures_util::future::join_all;
use protocol::Result;
use segments::buffers::Buffer;
use std::collections::VecDeque;
use std::slice;
use tokio::select;
use tokio::task::JoinHandle;

/// Chunks in a batch. The commit that names them has up to four keys for each: chunk, digest, reference and repair.
pub(super) const BATCH_CHUNKS_MAX: usize = 40;

impl Objects {
    /// Stores the stream as `code` says and publishes it under the name that comes at its end. `Ok` is durable (law 1).
    ///
    /// Errors: `Invalid` for a broken body, `Conflict` for a failed condition, `Unavailable` and `Full` where nodes are lacking,
    /// `Unknown` if the commit's outcome could not be learnt.
    pub async fn put(&self, code: Code, body: Body) -> Result<PutDone> {
        let stored = self.store(code, Chunker::default(), body).await?;
        self.publish_stored(stored).await
    }

    /// The same, and the version gets an MD5 however long it is.
    pub async fn put_with_md5(&self, code: Code, body: Body) -> Result<PutDone> {
        let stored = self.store(code, Chunker::with_md5(), body).await?;
        self.publish_stored(stored).await
    }

    async fn publish_stored(&self, mut stored: Stored<PutTarget>) -> Result<PutDone> {
        let small = single_small_chunk(&stored.last, stored.draft.size);
        let done = self.publish(&stored.draft, slice::from_mut(&mut stored.last), &stored.target).await?;
        if let Some(chunk) = small {
            self.cache.insert(stored.last.entries()[0].chunk, &chunk);
        }
        settle::start(self, stored.last.stragglers);
        Ok(done)
    }

    /// Stores the stream at quorum. What was left for the last commit is not named yet, and nothing is visible.
    pub(super) async fn store<T: Target>(&self, code: Code, chunker: Chunker, body: Body<T>) -> Result<Stored<T>> {
        self.nodes.require_majority()?;
        Upload::new(self, code, chunker).run(body).await
    }
}

/// What comes at the end of a body, and says what is to become of it.
pub(super) trait Target: Send + Sync {
    /// What the MD5 of the bytes must come to, if the client said so.
    fn md5(&self) -> Option<[u8; 16]>;

    /// Refuses what could not be published as things are, now that it is known to have so many bytes.
    fn judge(&self, objects: &Objects, bytes: u64) -> impl Future<Output = Result<()>> + Send;
}

impl Target for PutTarget {
    fn md5(&self) -> Option<[u8; 16]> {
        self.md5
    }

    fn judge(&self, objects: &Objects, bytes: u64) -> impl Future<Output = Result<()>> + Send {
        objects.require_put(self, bytes)
    }
}

/// A stream that is stored, and everything that its last commit needs.
pub(super) struct Stored<T> {
    pub(super) draft: Draft,
    pub(super) last: StoredBatch,
    pub(super) target: Box<T>,
    /// Its client, who is being served until the commit is answered,
    _served: Served,
    /// and what its last batch holds in memory until then.
    _allowance: Option<Allowance>,
}

/// One put under way.
struct Upload<'a> {
    objects: &'a Objects,
    id: VersionId,
    intent: Intent,
    code: Code,
    chunker: Chunker,
    memory: UploadMemory,
    stage: Option<Buffer>,
    under_way: VecDeque<JoinHandle<Result<NamedPage>>>,
    pages: u64,
    next_page_start: u64,
    chunks: u64,
    stored_bytes: u64,
    reuses_any: bool,
    receipt: Option<Receipt>,
}

impl<'a> Upload<'a> {
    fn new(objects: &'a Objects, code: Code, chunker: Chunker) -> Upload<'a> {
        let started_ms = objects.clock.now_ms();
        let id = VersionId(objects.clock.fresh_id());
        Upload {
            objects,
            id,
            intent: Intent::of(id, started_ms),
            code,
            chunker,
            memory: UploadMemory::default(),
            stage: None,
            under_way: VecDeque::new(),
            pages: 0,
            next_page_start: 0,
            chunks: 0,
            stored_bytes: 0,
            reuses_any: false,
            receipt: None,
        }
    }

    async fn run<T: Target>(mut self, body: Body<T>) -> Result<Stored<T>> {
        let served = self.objects.clients.serve();
        let mut incoming = Incoming::new(body);
        let mut few = Vec::new();
        let (target, (draft, last)) = loop {
            if let Some(target) = self.intent.beat_while(self.objects, incoming.take_few(&mut few)).await?? {
                let finished = self.finish_few(&few, &*target).await?;
                break (target, finished);
            }
            if let Some(target) = self.take_many(&mut few, &mut incoming).await? {
                let finished = self.finish(&*target).await?;
                break (target, finished);
            }
        };
        Ok(Stored { draft, last, target, _served: served, _allowance: self.memory.take() })
    }

    /// Takes what is more than a few, with memory of the budget, to the body's end; or until others wait for that memory and the client is slow: then
    /// what has come is stored, and what is left of it is few.
    async fn take_many<T>(&mut self, few: &mut Vec<Bytes>, incoming: &mut Incoming<T>) -> Result<Option<Box<T>>> {
        let begun = self.memory.begin(&self.objects.budget, self.chunker.chunk_bytes_max());
        self.intent.beat_while(self.objects, begun).await??;
        for piece in few.drain(..) {
            self.take(piece, incoming).await?;
        }
        loop {
            let next = async {
                select! {
                    biased;
                    next = incoming.next() => next.map(Some),
                    () = self.memory.wanted_back(&self.objects.budget) => Ok(None),
                }
            };
            match self.intent.beat_while(self.objects, next).await?? {
                Some(Taken::Piece(piece)) => self.take(piece, incoming).await?,
                Some(Taken::End(target)) => return Ok(Some(target)),
                None => break,
            }
        }
        few.push(self.let_go().await?);
        Ok(None)
    }

    /// Takes a piece; cuts and sends off the stage whenever it is full.
    async fn take<T>(&mut self, piece: Bytes, incoming: &mut Incoming<T>) -> Result<()> {
        let mut rest = &piece[..];
        while !rest.is_empty() {
            let bytes = self.stage_bytes();
            let stage = self.stage.get_or_insert_with(|| self.memory.begin_stage(bytes, &[]));
            rest = stage.fill(rest);
            if stage.is_full() {
                self.cut_full_stage(incoming).await?;
            }
        }
        Ok(())
    }

    fn stage_bytes(&self) -> usize {
        self.memory.stage_bytes(self.chunker.chunk_bytes_max())
    }

    /// Cuts and sends the stage; meanwhile the client goes on sending as much as fits a third of the next one.
    async fn cut_full_stage<T>(&mut self, incoming: &mut Incoming<T>) -> Result<()> {
        let ahead_bytes_max = self.stage_bytes() / 3;
        let (chunks, rest) = select! {
            biased;
            cuts = self.cut_stage(usize::MAX) => cuts,
            never = incoming.take_ahead(ahead_bytes_max) => match never {},
        };
        self.send_pages(chunks).await?;
        if self.memory.is_wanted_by_others(&self.objects.budget) {
            self.join_all().await?;
            self.memory.give_back();
        }
        self.memory.widen(&self.objects.budget, self.chunker.chunk_bytes_max(), self.chunker.is_far());
        self.stage = Some(self.memory.begin_stage(self.stage_bytes(), &rest));
        Ok(())
    }

    /// Stores what has come and gives back the memory; what is left is few bytes.
    async fn let_go(&mut self) -> Result<Bytes> {
        let (chunks, rest) = self.cut_stage(SHORT_BYTES_MAX).await;
        let rest = Bytes::copy_from_slice(&rest);
        self.send_pages(chunks).await?;
        self.join_all().await?;
        drop(self.memory.take());
        Ok(rest)
    }

    /// Cuts what has gathered: the chunks, and what is left for the next stage.
    async fn cut_stage(&mut self, rest_bytes_max: usize) -> (Vec<PlainChunk>, Bytes) {
        let Some(stage) = self.stage.take() else { return (Vec::new(), Bytes::new()) };
        let bytes = stage.filled().len();
        let mut chunker = std::mem::take(&mut self.chunker);
        let cut = move || {
            let cuts = chunker.cut(stage.freeze(), rest_bytes_max);
            (chunker, cuts)
        };
        let (chunker, Cuts { chunks, rest }) = self.objects.compute.run(CUT_COST * bytes, cut).await;
        self.chunker = chunker;
        (chunks, rest)
    }

    /// Sends chunks to be stored, a page at a time; waits while more is under way than the allowance holds besides a full stage.
    async fn send_pages(&mut self, mut chunks: Vec<PlainChunk>) -> Result<()> {
        while !chunks.is_empty() {
            let rest = chunks.split_off(chunks.len().min(BATCH_CHUNKS_MAX));
            self.send_page(chunks).await?;
            chunks = rest;
        }
        let under_way_max = self.memory.batches_under_way_max(self.chunker.chunk_bytes_max());
        while self.under_way.len() > under_way_max {
            self.join_oldest().await?;
        }
        Ok(())
    }

    /// Sends a batch to be stored and named as a page.
    async fn send_page(&mut self, chunks: Vec<PlainChunk>) -> Result<()> {
        self.intent.begin(self.objects).await?;
        let start = self.next_page_start;
        self.next_page_start = chunks.last().map_or(start, |chunk| chunk.end);
        self.pages += 1;
        self.chunks += chunks.len() as u64;
        let heartbeat = self.intent.due_beat(self.objects.clock.now_ms());
        let (objects, version, code) = (self.objects.clone(), self.id, self.code);
        let store = async move { objects.store_page(version, start, code, chunks, heartbeat).await };
        self.under_way.push_back(self.objects.tasks.spawn(store));
        Ok(())
    }

    async fn join_all(&mut self) -> Result<()> {
        while !self.under_way.is_empty() {
            self.join_oldest().await?;
        }
        Ok(())
    }

    async fn join_oldest(&mut self) -> Result<()> {
        if let Some(page) = self.under_way.pop_front() {
            let page = joined(page).await?;
            self.add(page.stored_bytes, page.reuses_any, page.receipt);
        }
        Ok(())
    }

    fn add(&mut self, stored_bytes: u64, reuses_any: bool, receipt: Option<Receipt>) {
        self.stored_bytes += stored_bytes;
        self.reuses_any |= reuses_any;
        self.receipt = match (self.receipt, receipt) {
            (Some(one), Some(other)) => Some(one.weakest(other)),
            (one, other) => one.or(other),
        };
    }

    /// Stores the few bytes at the end: one chunk of them, most often, and of most bodies all there is.
    async fn finish_few<T: Target>(&mut self, pieces: &[Bytes], target: &T) -> Result<(Draft, StoredBatch)> {
        let (chunks, digest) = std::mem::take(&mut self.chunker).cut_to_end(joined_pieces(pieces));
        digest.require_md5(target.md5())?;
        target.judge(self.objects, digest.size).await?;
        self.store_last(chunks, digest).await
    }

    /// Cuts the last stage and stores what is left.
    async fn finish<T: Target>(&mut self, target: &T) -> Result<(Draft, StoredBatch)> {
        let (mut chunks, _) = self.cut_stage(0).await;
        let digest = std::mem::take(&mut self.chunker).finish();
        digest.require_md5(target.md5())?;
        target.judge(self.objects, digest.size).await?;
        if chunks.len() > BATCH_CHUNKS_MAX {
            let last = chunks.split_off((chunks.len() - 1) / BATCH_CHUNKS_MAX * BATCH_CHUNKS_MAX);
            self.send_pages(chunks).await?;
            chunks = last;
        }
        self.store_last(chunks, digest).await
    }

    /// Stores the last batch, which the last commit is to name.
    async fn store_last(&mut self, last: Vec<PlainChunk>, digest: StreamDigest) -> Result<(Draft, StoredBatch)> {
        self.chunks += last.len() as u64;
        let stored = match last.is_empty() {
            true => StoredBatch::empty(self.code),
            false => self.objects.store_batch(self.code, last).await?,
        };
        self.join_all().await?;
        Ok((self.draft(digest), stored))
    }

    fn draft(&self, digest: StreamDigest) -> Draft {
        Draft {
            id: self.id,
            has_intent: self.intent.is_begun(),
            pages: self.pages,
            last_page_start: self.next_page_start,
            chunks: self.chunks,
            stored_bytes: self.stored_bytes,
            reuses_any: self.reuses_any,
            receipt: self.receipt.unwrap_or(Receipt::empty(self.code)),
            size: digest.size,
            sha256: Some(digest.sha256),
            etag: digest.md5.map_or(ETag::None, ETag::Md5),
            composed_of: ComposedOf::Chunks,
        }
    }
}

impl Drop for Upload<'_> {
    /// The batches under way hold their memory until they end, whether or not anybody still waits for them.
    fn drop(&mut self) {
        let (allowance, under_way) = (self.memory.take(), std::mem::take(&mut self.under_way));
        if let Some(allowance) = allowance.filter(|_| !under_way.is_empty()) {
            self.objects.tasks.spawn(async move {
                join_all(under_way).await;
                drop(allowance);
            });
        }
    }
}

fn single_small_chunk(stored: &StoredBatch, size: u64) -> Option<Bytes> {
    match stored.entries() {
        [only] if only.end == size => stored.plain_of(only),
        _ => None,
    }
}
