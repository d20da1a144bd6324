//! Repair: brings chunks back to as many good shards on distinct nodes as their code wants, the most endangered first, and moves
//! those that are to be elsewhere.
//!
//! What it keeps true:
//! - The number of good copies never goes down (faults I15): a record stops naming a shard only in the commit that names another in
//!   its place, and nothing is deleted but by the collector, later.
//! - Silence is not absence: a node's answer is *good*, *bad*, *absent* or *unknown*, and what is unknown is neither copied again nor
//!   dropped, unless its node is recorded as lost ([`inspect`]).
//! - A copy is made from a source whose content was verified against the chunk's digest, by the node that stores it; it counts when
//!   the node says, asked again, that it has it ([`mend`]).
//! - A chunk that cannot be mended now holds nobody up, and its record stays (law 8).

mod inspect;
mod mend;
mod places;
mod rebuild;

use super::{Backlog, Progress, Work, Worker};
use crate::metadata::records::{Record, RepairRecord};
use crate::metadata::{Batch, Expect, SCAN_ENTRIES_MAX, keys};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use mend::Mended;
use protocol::{ChunkId, Result};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tracing::{debug, error, info};

/// Chunks mended at the same time while clients are being served,
const AT_ONCE_BESIDE_CLIENTS: usize = 16;
/// and their bytes, but for a larger one alone: three chunks of 64 KiB, the average of small objects. Clients wait for the bytes that are
/// copied; what is small shares its round trips and fsyncs with theirs.
const BYTES_BESIDE_CLIENTS: u32 = 192 << 10;
/// And while there are none: a mend waits for round trips and fsyncs most of its time, and others share them.
const AT_ONCE_ALONE: usize = 192;
const BYTES_ALONE: u32 = 64 << 20;
/// Chunks of one step at most, for each that is mended at the same time,
const ROUNDS_PER_STEP: usize = 4;
/// and how long a step begins with more: what is more urgent by then comes first, and clients that came or went are seen.
const STEP_LASTS: Duration = Duration::from_secs(1);
/// Entries of the queue looked at in one step, to find some that can be mended now.
const LOOKED_AT_MAX: usize = 16 * 1024;
/// A chunk that could not be mended is tried again after this time, or when a node has changed.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The bytes of chunks that may be mended at the same time.
struct Room {
    bytes: Semaphore,
    all: u32,
}

impl Room {
    fn of(bytes: u32) -> Room {
        Room { bytes: Semaphore::new(bytes as usize), all: bytes }
    }

    /// Waits for room for so many bytes, or for all that there is. It is given back with what this returns.
    async fn take(&self, bytes: u32) -> SemaphorePermit<'_> {
        self.bytes.acquire_many(bytes.min(self.all)).await.expect("this semaphore is never closed")
    }
}

/// The worker.
#[derive(Default)]
pub struct Repair {
    /// Chunks that cannot be mended now, and why; only an accelerator, bounded by [`LOOKED_AT_MAX`].
    blocked: BTreeMap<ChunkId, (Instant, String)>,
    /// The state of the nodes for which that holds.
    nodes_changes: u64,
    /// Where the next step goes on in the queue: behind chunks that cannot be mended now, so that they keep nobody from their turn. From
    /// the most urgent one as long as nothing is blocked, and whenever the end was reached.
    cursor: Option<Bytes>,
    /// Whether the last step had work.
    busy_since: Option<Instant>,
    mended: u64,
}

#[async_trait]
impl Worker for Repair {
    fn name(&self) -> &'static str {
        "repair"
    }

    async fn step(&mut self, work: &Work) -> Result<Progress> {
        self.unblock(work);
        let (at_once, room) = match work.objects.clients.any() {
            true => (AT_ONCE_BESIDE_CLIENTS, Room::of(BYTES_BESIDE_CLIENTS)),
            false => (AT_ONCE_ALONE, Room::of(BYTES_ALONE)),
        };
        let room = &room;
        let due = self.due(work, at_once * ROUNDS_PER_STEP).await?;
        if due.is_empty() {
            return Ok(if self.cursor.is_none() { self.at_rest() } else { Progress::Did { items: 0, bytes: 0 } });
        }
        if self.busy_since.is_none() {
            info!(target: "degradation", "repair begins");
            self.busy_since = Some(Instant::now());
        }
        let (began, mut due) = (Instant::now(), due.into_iter());
        let in_time = std::iter::from_fn(|| (began.elapsed() < STEP_LASTS).then(|| due.next()).flatten());
        let mut outcomes = stream::iter(in_time.map(|(queued, chunk)| async move {
            (queued.clone(), chunk, mend::mend(work, room, queued, chunk).await)
        }))
        .buffer_unordered(at_once);
        let (mut items, mut bytes) = (0, 0);
        while let Some((queued, chunk, outcome)) = outcomes.next().await {
            match outcome {
                Ok(Mended::Done { copied_bytes }) => {
                    items += 1;
                    bytes += copied_bytes;
                }
                Ok(Mended::GotAhead) => {}
                Ok(Mended::Blocked(why)) => self.block(chunk, why),
                Ok(Mended::Lost) => {
                    note_lost(work, &queued, chunk).await?;
                    self.block(chunk, "no good copy is left".to_owned());
                }
                Err(failure) if failure.kind == protocol::ErrorKind::Denied => return Err(failure),
                Err(failure) => {
                    debug!(%chunk, error = %failure, "chunk not repaired; it will be tried again");
                    self.block(chunk, failure.message);
                }
            }
        }
        drop(outcomes);
        if let (Some(cursor), Some((queued, _))) = (&mut self.cursor, due.next()) {
            *cursor = queued;
        }
        self.mended += items;
        match items {
            0 if self.cursor.is_none() => Ok(self.at_rest()),
            items => Ok(Progress::Did { items, bytes }),
        }
    }

    async fn backlog(&self, work: &Work) -> Result<Backlog> {
        let queue = work.objects.repair_queue().await?;
        Ok(Backlog { items: Some(queue.chunks() as u64), bytes: Some(queue.bytes) })
    }
}

impl Repair {
    fn at_rest(&mut self) -> Progress {
        if self.blocked.is_empty()
            && let Some(since) = self.busy_since.take()
        {
            let (chunks, seconds) = (std::mem::take(&mut self.mended), since.elapsed().as_secs_f64());
            info!(target: "degradation", chunks, seconds, "repair is done");
        }
        match self.blocked.values().next() {
            None => Progress::Idle,
            Some((_, why)) => Progress::Waits(format!("{} chunks cannot be repaired now: {why}", self.blocked.len())),
        }
    }

    fn unblock(&mut self, work: &Work) {
        let changes = work.objects.nodes.health_changes();
        if changes != self.nodes_changes {
            self.nodes_changes = changes;
            self.blocked.clear();
        }
        let now = Instant::now();
        self.blocked.retain(|_, (until, _)| *until > now);
    }

    fn block(&mut self, chunk: ChunkId, why: String) {
        if self.blocked.len() < LOOKED_AT_MAX {
            self.blocked.insert(chunk, (Instant::now() + RETRY_AFTER, why));
        }
    }

    /// The most urgent chunks from the cursor on, up to `chunks_max`, that are not known to be blocked, each with the record that says so.
    async fn due(&mut self, work: &Work, chunks_max: usize) -> Result<Vec<(Bytes, ChunkId)>> {
        let range = keys::repairs();
        let mut from = self.cursor.take().unwrap_or(range.from);
        let mut looked_at = 0;
        let mut due: Vec<(Bytes, ChunkId)> = Vec::new();
        while looked_at < LOOKED_AT_MAX && due.len() < chunks_max {
            let entries = work.objects.metadata.scan(&from, &range.to, SCAN_ENTRIES_MAX.min(chunks_max * 4)).await?;
            if entries.is_empty() {
                return Ok(due);
            }
            for (key, _) in &entries {
                (from, looked_at) = (keys::after(key), looked_at + 1);
                let (_, chunk) = keys::parse_repair(key)?;
                if !self.blocked.contains_key(&chunk) && due.iter().all(|(_, other)| *other != chunk) {
                    due.push((key.clone(), chunk));
                }
                if due.len() == chunks_max {
                    break;
                }
            }
        }
        if !self.blocked.is_empty() {
            self.cursor = Some(from);
        }
        Ok(due)
    }
}

/// Writes down that no good copy of a chunk is known, once, so that nobody waits for its repair; as urgent as can be, so that no put
/// leans on it, however urgent it seemed to whoever queued it.
async fn note_lost(work: &Work, queued: &Bytes, chunk: ChunkId) -> Result<()> {
    let Some(entry) = work.objects.metadata.get(queued).await? else { return Ok(()) };
    let repair = RepairRecord::decode(&entry.value)?;
    if repair.lost {
        return Ok(());
    }
    error!(target: "degradation", %chunk, "no good copy of a chunk is left on any node");
    let mut commit = Batch::new();
    commit.check(queued.clone(), Expect::Revision(entry.revision));
    let most_urgent = keys::repair(0, chunk);
    if *queued != most_urgent {
        commit.delete(queued.clone());
    }
    commit.put(most_urgent, RepairRecord { lost: true, ..repair }.encode());
    work.commit(commit).await.map(drop)
}
