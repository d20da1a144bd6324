//! Put: a stream of bytes becomes a version.
//!
//! Steps; a crash after any of them leaves the old state visible until the last, and the new one from then on:
//! 1. bytes arrive in stages of [`STAGE_BYTES`]; the chunker cuts and hashes them;
//! 2. if more than one batch comes, an intent is committed, so that what follows is named (law 4);
//! 3. full batches are stored at quorum and named by page, chunk, digest and reference in one commit each, two at a time;
//! 4. the stream's end brings the name; the last batch is stored, and one commit publishes everything ([`super::publish`]).
//!
//! A put that fits one batch has steps 1 and 4 only: the fast path, one commit in all.
//!
//! What it keeps true: memory is bounded by the allowance; a stream that breaks off publishes nothing.

use super::batch::StoredBatch;
use super::budget::Allowance;
use super::chunker::{Chunker, PlainChunk, StreamDigest};
use super::compute::CUT_COST;
use super::publish::{Draft, PutDone, PutTarget};
use super::receipt::Receipt;
use super::tasks::joined;
use super::{Objects, settle};
use crate::metadata::records::{ChunkEntry, IntentRecord, PageRecord, Record, VersionId};
use crate::metadata::{Batch, Expect, keys};
use bytes::Bytes;
use protocol::{Error, ErrorKind, Result};
use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Bytes taken from the client at a time.
const STAGE_BYTES: usize = 256 << 10;
/// The smallest allowance with which a put makes progress, in bytes: three batches of one chunk of the first size class.
const ALLOWANCE_BYTES_MIN: usize = 768 << 10;
/// What a put gets when there is plenty, in bytes.
const ALLOWANCE_BYTES_MAX: usize = 6 << 20;
/// Chunks in a batch: with chunk, digest, reference and page it stays below etcd's 128 operations.
const BATCH_CHUNKS_MAX: usize = 40;
/// Batches being stored while the next one fills.
const BATCHES_UNDER_WAY_MAX: usize = 2;
/// Allowance is shared by the batch that fills and those under way.
const BATCH_SHARE: usize = BATCHES_UNDER_WAY_MAX + 1;
/// A page commit that meets conflicts this often gives up; each conflict means that another writer or repair got ahead.
const PAGE_ATTEMPTS_MAX: u32 = 16;
/// An intent's heartbeat is renewed after this time: by the next page commit, or while the client is waited for.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Pieces that may wait between client and put.
pub const BODY_QUEUE_PIECES: usize = 4;

/// A message from whoever reads the client's body.
#[derive(Debug)]
pub enum BodyMessage {
    /// The next bytes.
    Piece(Bytes),
    /// All bytes have come, and this is what they are to be called.
    End(Box<PutTarget>),
    /// The body cannot be had.
    Failed(Error),
}

/// A client's body; closed without [`BodyMessage::End`] it broke off.
pub type Body = mpsc::Receiver<BodyMessage>;

/// A bounded channel for a body.
pub fn body_channel() -> (mpsc::Sender<BodyMessage>, Body) {
    mpsc::channel(BODY_QUEUE_PIECES)
}

/// A body that is there already.
pub async fn whole_body(data: Bytes, target: PutTarget) -> Body {
    let (sender, body) = body_channel();
    for message in [BodyMessage::Piece(data), BodyMessage::End(Box::new(target))] {
        assert!(sender.send(message).await.is_ok(), "the receiver lives and has room for two");
    }
    body
}

impl Objects {
    /// Stores the stream and publishes it under the name that comes at its end. `Ok` is durable (law 1).
    ///
    /// Errors: `Invalid` for a broken body, `Conflict` for a failed condition, `Unavailable` and `Full` where nodes are lacking,
    /// `Unknown` if the commit's outcome could not be learnt.
    pub async fn put(&self, body: Body) -> Result<PutDone> {
        Upload::new(self, Chunker::default()).run(body).await
    }

    /// The same, and the version gets an MD5.
    pub async fn put_with_md5(&self, body: Body) -> Result<PutDone> {
        Upload::new(self, Chunker::with_md5()).run(body).await
    }
}

async fn read_stage(body: &mut Body) -> Result<(Vec<Bytes>, Option<Box<PutTarget>>)> {
    let mut pieces = Vec::new();
    let mut bytes = 0;
    while bytes < STAGE_BYTES {
        match body.recv().await {
            Some(BodyMessage::Piece(piece)) => {
                bytes += piece.len();
                pieces.push(piece);
            }
            Some(BodyMessage::End(target)) => return Ok((pieces, Some(target))),
            Some(BodyMessage::Failed(error)) => return Err(error),
            None => return Err(Error::invalid("the client went away before its upload was complete")),
        }
    }
    Ok((pieces, None))
}

/// One put under way.
struct Upload<'a> {
    objects: &'a Objects,
    id: VersionId,
    started_ms: u64,
    chunker: Chunker,
    allowance: Option<Allowance>,
    filling: Vec<PlainChunk>,
    filling_bytes: usize,
    under_way: VecDeque<JoinHandle<Result<NamedPage>>>,
    has_intent: bool,
    /// When the intent showed life last.
    beaten: Instant,
    pages: u64,
    next_page_start: u64,
    chunks: u64,
    stored_bytes: u64,
    reuses_any: bool,
    receipt: Option<Receipt>,
}

/// What a page that is stored and named adds to the whole.
struct NamedPage {
    stored_bytes: u64,
    reuses_any: bool,
    receipt: Option<Receipt>,
}

impl<'a> Upload<'a> {
    fn new(objects: &'a Objects, chunker: Chunker) -> Upload<'a> {
        let started_ms = objects.clock.now_ms();
        Upload {
            objects,
            id: VersionId(objects.clock.fresh_id()),
            started_ms,
            chunker,
            allowance: None,
            filling: Vec::new(),
            filling_bytes: 0,
            under_way: VecDeque::new(),
            has_intent: false,
            beaten: Instant::now(),
            pages: 0,
            next_page_start: 0,
            chunks: 0,
            stored_bytes: 0,
            reuses_any: false,
            receipt: None,
        }
    }

    async fn run(mut self, mut body: Body) -> Result<PutDone> {
        let _served = self.objects.clients.serve();
        loop {
            let (pieces, target) = self.next_stage(&mut body).await?;
            match target {
                Some(target) => return self.finish(pieces, &target).await,
                None => self.take(pieces).await?,
            }
        }
    }

    /// The next stage. As long as the client is waited for the intent shows life: a slow upload is not one that was abandoned.
    async fn next_stage(&mut self, body: &mut Body) -> Result<(Vec<Bytes>, Option<Box<PutTarget>>)> {
        let mut stage = pin!(read_stage(body));
        loop {
            tokio::select! {
                biased;
                stage = &mut stage => return stage,
                () = sleep_until(self.beaten + HEARTBEAT), if self.has_intent => self.beat().await?,
            }
        }
    }

    async fn beat(&mut self) -> Result<()> {
        self.beaten = Instant::now();
        let key = keys::intent(self.id);
        let mut commit = Batch::new();
        commit.check(key.clone(), Expect::Present).put(key, self.intent(self.objects.clock.now_ms()).encode());
        match self.objects.metadata.commit(commit).await {
            Err(error) if error.kind == ErrorKind::Conflict => Err(given_up()),
            // Whatever became of it, it is tried again long before the upload is given up.
            _ => Ok(()),
        }
    }

    /// Takes one stage; sends off the batch whenever it is full.
    async fn take(&mut self, pieces: Vec<Bytes>) -> Result<()> {
        if self.allowance.is_none() {
            self.allowance = Some(self.objects.budget.admit(ALLOWANCE_BYTES_MIN, ALLOWANCE_BYTES_MAX).await?);
        }
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        let mut chunker = std::mem::take(&mut self.chunker);
        let cut = move || {
            let chunks = chunker.push(pieces);
            (chunker, chunks)
        };
        let (chunker, chunks) = self.objects.compute.run(CUT_COST * bytes, cut).await;
        self.chunker = chunker;
        for chunk in chunks {
            self.fill(chunk).await?;
        }
        Ok(())
    }

    async fn fill(&mut self, chunk: PlainChunk) -> Result<()> {
        let bytes = chunk.data.len();
        if !self.filling.is_empty()
            && (self.filling.len() == BATCH_CHUNKS_MAX || self.filling_bytes + bytes > self.batch_bytes_max())
        {
            self.send_page().await?;
        }
        self.filling_bytes += bytes;
        self.filling.push(chunk);
        Ok(())
    }

    fn batch_bytes_max(&self) -> usize {
        self.allowance.as_ref().map_or(ALLOWANCE_BYTES_MIN, Allowance::bytes) / BATCH_SHARE
    }

    /// Sends the batch that is full to be stored and named as a page; waits if enough are under way.
    async fn send_page(&mut self) -> Result<()> {
        if !self.has_intent {
            self.begin_intent().await?;
        }
        while self.under_way.len() >= BATCHES_UNDER_WAY_MAX {
            self.join_oldest().await?;
        }
        let chunks = std::mem::take(&mut self.filling);
        self.filling_bytes = 0;
        let start = self.next_page_start;
        self.next_page_start = chunks.last().map_or(start, |chunk| chunk.end);
        self.pages += 1;
        self.chunks += chunks.len() as u64;
        let heartbeat = self.due_heartbeat();
        let (objects, version) = (self.objects.clone(), self.id);
        let store = async move { objects.store_page(version, start, chunks, heartbeat).await };
        self.under_way.push_back(self.objects.tasks.spawn(store));
        Ok(())
    }

    async fn begin_intent(&mut self) -> Result<()> {
        let mut commit = Batch::new();
        let key = keys::intent(self.id);
        commit.check(key.clone(), Expect::Absent);
        commit.put(key, self.intent(self.started_ms).encode());
        match self.objects.metadata.commit(commit).await {
            // An intent that is there although its answer was lost serves as well; one that is not makes the first page fail.
            Err(error) if error.kind != ErrorKind::Unknown => return Err(error),
            _ => self.has_intent = true,
        }
        Ok(())
    }

    fn intent(&self, heartbeat_ms: u64) -> IntentRecord {
        IntentRecord { bucket: String::new(), key: String::new(), started_ms: self.started_ms, heartbeat_ms }
    }

    fn due_heartbeat(&mut self) -> Option<IntentRecord> {
        if self.beaten.elapsed() < HEARTBEAT {
            return None;
        }
        self.beaten = Instant::now();
        Some(self.intent(self.objects.clock.now_ms()))
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

    /// Takes the last stage, stores what is left and publishes.
    async fn finish(mut self, pieces: Vec<Bytes>, target: &PutTarget) -> Result<PutDone> {
        let (chunks, digest) = self.end_stream(pieces).await;
        target.require_content(&digest)?;
        for chunk in chunks {
            self.fill(chunk).await?;
        }
        let last = std::mem::take(&mut self.filling);
        self.chunks += last.len() as u64;
        let mut stored = match last.is_empty() {
            true => StoredBatch::empty(),
            false => self.objects.store_batch(last).await?,
        };
        while !self.under_way.is_empty() {
            self.join_oldest().await?;
        }
        let small = single_small_chunk(&stored, digest);
        let draft = self.draft(digest);
        let done = self.objects.publish(&draft, &mut stored, target).await?;
        if let Some(chunk) = small {
            self.objects.cache.insert(stored.entries()[0].chunk, &chunk);
        }
        settle::start(self.objects, stored.stragglers);
        Ok(done)
    }

    async fn end_stream(&mut self, pieces: Vec<Bytes>) -> (Vec<PlainChunk>, StreamDigest) {
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        let mut chunker = std::mem::take(&mut self.chunker);
        let cut = move || {
            let mut chunks = chunker.push(pieces);
            let (rest, digest) = chunker.finish();
            chunks.extend(rest);
            (chunks, digest)
        };
        self.objects.compute.run(CUT_COST * bytes, cut).await
    }

    fn draft(&self, digest: StreamDigest) -> Draft {
        Draft {
            id: self.id,
            has_intent: self.has_intent,
            pages: self.pages,
            last_page_start: self.next_page_start,
            chunks: self.chunks,
            stored_bytes: self.stored_bytes,
            reuses_any: self.reuses_any,
            receipt: self.receipt.unwrap_or(Receipt::empty(self.objects.code)),
            digest,
        }
    }
}

fn single_small_chunk(stored: &StoredBatch, digest: StreamDigest) -> Option<Bytes> {
    match stored.entries() {
        [only] if only.end == digest.size => stored.plain_of(only),
        _ => None,
    }
}

impl Objects {
    /// Stores a batch and names it as the page of `version` that starts at `start`.
    async fn store_page(
        &self,
        version: VersionId,
        start: u64,
        chunks: Vec<PlainChunk>,
        heartbeat: Option<IntentRecord>,
    ) -> Result<NamedPage> {
        let end = chunks.last().map_or(start, |chunk| chunk.end);
        let mut stored = self.store_batch(chunks).await?;
        let page_key = keys::page(version, end);
        for _ in 0..PAGE_ATTEMPTS_MAX {
            let mut commit = Batch::new();
            commit.check(keys::intent(version), Expect::Present);
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

fn given_up() -> Error {
    Error::unavailable("the upload took too long and was given up; send it again")
}

/// The length of each entry, from the end of the one before.
pub(super) fn with_starts(start: u64, entries: &[ChunkEntry]) -> impl Iterator<Item = (u64, &ChunkEntry)> {
    let starts = std::iter::once(start).chain(entries.iter().map(|entry| entry.end));
    starts.zip(entries)
}
