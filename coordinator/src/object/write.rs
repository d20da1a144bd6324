//! Stores the shards of a batch of chunks on distinct nodes and waits for a durable quorum of each (law 1).
//!
//! What it keeps true:
//! - A chunk counts as written only when `code.write_quorum()` distinct nodes answered that its shards are fsynced; the nodes
//!   that did are returned by name, nobody else.
//! - A node that fails, is full or is known to be down is passed over for the next in placement order.
//! - While half of the registered nodes or more do not answer, nothing is written: this coordinator may be the one that is cut
//!   off (`docs/decisions/0004-writes-need-a-majority-of-nodes.md`).
//! - Every wait ends: each call has its node's deadline, and whoever is late after the quorum has [`STRAGGLER_GRACE`], and for
//!   what it has to write the time of a slow disk ([`STRAGGLER_BYTES_PER_MS`]).

use crate::code::Code;
use crate::metadata::records::ShardPlace;
use crate::nodes::{Member, Nodes};
use crate::placement::{self, Ranked};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use protocol::{ChunkId, Error, ErrorKind, NodeId, PutOutcome, Result, Shard, ShardId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long the reply waits for the last replica once a quorum is durable. In health all replicas arrive together, and a commit
/// that names all of them saves a repair record; behind a stalled node this is all that a write loses.
pub const STRAGGLER_GRACE: Duration = Duration::from_millis(50);
/// A straggler that writes no slower than this is waited for: 16 MiB a second.
pub const STRAGGLER_BYTES_PER_MS: u64 = (16 << 20) / 1_000;

/// A chunk to be stored.
#[derive(Clone, Debug)]
pub struct NewChunk {
    /// Its fresh id.
    pub id: ChunkId,
    /// Its shards with their CRC32s, as its code encodes it.
    pub shards: Vec<(Bytes, u32)>,
}

/// Where a chunk's shards are durable.
#[derive(Clone, Debug)]
pub struct WrittenChunk {
    /// Which chunk.
    pub id: ChunkId,
    /// The shards that are fsynced, on distinct nodes.
    pub places: Vec<ShardPlace>,
}

/// The outcome of a batch: every chunk at quorum at least.
pub struct Written {
    /// In the order given.
    pub chunks: Vec<WrittenChunk>,
    /// Calls still under way, if any chunk is short of shards.
    pub stragglers: Option<Stragglers>,
}

/// Calls that were too late for the acknowledgement. Behind a lock that is never contended: calls are not `Sync`, and whoever
/// carries them along must be.
pub struct Stragglers {
    writer: Mutex<ShardWriter>,
}

/// A shard that came to be durable after the acknowledgement.
#[derive(Clone, Debug)]
pub struct LateShard {
    /// Which chunk.
    pub chunk: ChunkId,
    /// Where.
    pub place: ShardPlace,
}

/// Stores `chunks`; `Unavailable` or `Full` if any of them misses its quorum, and then none of them is to be named.
pub async fn write_chunks(nodes: &Arc<Nodes>, code: Code, chunks: Vec<NewChunk>) -> Result<Written> {
    let mut writer = ShardWriter::new(nodes.clone(), code, chunks)?;
    writer.launch_all();
    writer.run_to_quorum().await?;
    let chunks = writer.chunks.iter().map(ChunkState::written).collect();
    let stragglers = (!writer.calls.is_empty()).then(|| Stragglers { writer: Mutex::new(writer) });
    Ok(Written { chunks, stragglers })
}

impl Stragglers {
    /// Bytes of the shards that are held for them.
    pub fn bytes(&self) -> usize {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }

    /// Waits for what is still under way and says what became durable. Ends with the nodes' own deadlines.
    pub async fn finish(self) -> Vec<LateShard> {
        let mut writer = self.writer.into_inner().unwrap_or_else(PoisonError::into_inner);
        let known: Vec<usize> = writer.chunks.iter().map(|chunk| chunk.durable.len()).collect();
        while let Some(answer) = writer.calls.next().await {
            let retry = writer.record(answer);
            writer.launch(retry);
        }
        let chunks = writer.chunks.into_iter().zip(known);
        chunks.flat_map(|(chunk, known)| chunk.late(known)).collect()
    }
}

/// Shard `index` of the chunk at `chunk` in the batch.
#[derive(Clone, Copy, Debug)]
struct Slot {
    chunk: usize,
    index: u8,
}

struct Answer {
    node: NodeId,
    slots: Vec<Slot>,
    outcome: Result<Vec<PutOutcome>>,
}

struct ChunkState {
    id: ChunkId,
    shards: Vec<Shard>,
    /// Nodes to try, best first; the ones after `usable` only if the quorum cannot be met without them.
    ranked: Vec<NodeId>,
    usable: usize,
    next: usize,
    under_way: usize,
    durable: Vec<ShardPlace>,
    failures: Vec<(NodeId, ErrorKind)>,
}

struct ShardWriter {
    nodes: Arc<Nodes>,
    code: Code,
    chunks: Vec<ChunkState>,
    calls: FuturesUnordered<BoxFuture<'static, Answer>>,
    /// Bytes of the shards; what replicas share is counted once.
    bytes: usize,
    /// Nodes that did not answer a call of this write.
    failed: BTreeSet<NodeId>,
}

impl ShardWriter {
    fn new(nodes: Arc<Nodes>, code: Code, chunks: Vec<NewChunk>) -> Result<ShardWriter> {
        let candidates = nodes.candidates();
        let held = if code.data == 1 { 1 } else { code.shards() };
        let shards = chunks.iter().flat_map(|chunk| chunk.shards.iter().take(held));
        let bytes = shards.map(|(data, _)| data.len()).sum();
        let chunks = chunks.into_iter().map(|chunk| {
            let ranked = placement::choose(chunk.id, code, &candidates);
            ChunkState::new(chunk, &ranked)
        });
        let writer = ShardWriter {
            code,
            chunks: chunks.collect(),
            calls: FuturesUnordered::new(),
            bytes,
            failed: BTreeSet::new(),
            nodes,
        };
        writer.require_majority()?;
        Ok(writer)
    }

    /// Law 1 needs distinct nodes; a coordinator that sees half of them or fewer must not decide anything.
    fn require_majority(&self) -> Result<()> {
        let registered = self.nodes.members().len();
        let quorum = self.code.write_quorum();
        if registered < quorum {
            return Err(Error::unavailable(format!(
                "a write needs {quorum} storage nodes and {registered} are registered; start more nodes"
            )));
        }
        self.nodes.require_majority_without(&self.failed)
    }

    fn launch_all(&mut self) {
        let mut slots = Vec::new();
        for (chunk, state) in self.chunks.iter().enumerate() {
            slots.extend((0..state.shards.len()).map(|index| Slot { chunk, index: index as u8 }));
        }
        self.launch(slots);
    }

    /// Sends each slot to its chunk's next node, all shards for one node in one call.
    fn launch(&mut self, slots: Vec<Slot>) {
        let mut by_node: BTreeMap<NodeId, Vec<Slot>> = BTreeMap::new();
        for slot in slots {
            if let Some(node) = self.chunks[slot.chunk].take_next_node(self.code) {
                by_node.entry(node).or_default().push(slot);
            }
        }
        for (node, slots) in by_node {
            let shards =
                slots.iter().map(|slot| self.chunks[slot.chunk].shards[usize::from(slot.index)].clone()).collect();
            let member = self.nodes.member(&node);
            self.calls.push(Box::pin(put_on(member, node, slots, shards)));
        }
    }

    /// Notes an answer and gives back the slots that need another node.
    fn record(&mut self, answer: Answer) -> Vec<Slot> {
        let Answer { node, slots, outcome } = answer;
        let outcomes = match outcome {
            Ok(outcomes) => outcomes,
            Err(error) => {
                if error.kind == ErrorKind::Unavailable {
                    self.failed.insert(node.clone());
                }
                vec![Err(error.kind); slots.len()]
            }
        };
        assert_eq!(outcomes.len(), slots.len(), "a node answers each shard of a batch");
        let mut retry = Vec::new();
        for (slot, outcome) in slots.into_iter().zip(outcomes) {
            let chunk = &mut self.chunks[slot.chunk];
            chunk.under_way -= 1;
            match outcome {
                Ok(()) => chunk.confirm(slot.index, node.clone()),
                Err(kind) => {
                    chunk.failures.push((node.clone(), kind));
                    retry.push(slot);
                }
            }
        }
        retry
    }

    fn grace(&self) -> Duration {
        STRAGGLER_GRACE + Duration::from_millis(self.bytes as u64 / STRAGGLER_BYTES_PER_MS)
    }

    async fn run_to_quorum(&mut self) -> Result<()> {
        let quorum = self.code.write_quorum();
        let mut grace_ends: Option<Instant> = None;
        loop {
            if grace_ends.is_none() && self.chunks.iter().all(|chunk| chunk.durable.len() >= quorum) {
                grace_ends = Some(Instant::now() + self.grace());
            }
            let late = async {
                match grace_ends {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                answer = self.calls.next() => match answer {
                    Some(answer) => {
                        let retry = self.record(answer);
                        self.launch(retry);
                    }
                    None => break,
                },
                () = late => break,
            }
        }
        self.require_majority()?;
        self.chunks.iter().try_for_each(|chunk| chunk.require_quorum(quorum))
    }
}

async fn put_on(member: Option<Arc<Member>>, node: NodeId, slots: Vec<Slot>, shards: Vec<Shard>) -> Answer {
    let outcome = match member {
        Some(member) => member.put(shards).await,
        None => Err(Error::unavailable(format!("node {node} is not registered any more"))),
    };
    Answer { node, slots, outcome }
}

impl ChunkState {
    fn new(chunk: NewChunk, ranked: &Ranked) -> ChunkState {
        let shards = chunk.shards.into_iter().enumerate();
        let shards =
            shards.map(|(index, (data, crc))| Shard { id: ShardId { chunk: chunk.id, index: index as u8 }, crc, data });
        ChunkState {
            id: chunk.id,
            shards: shards.collect(),
            usable: ranked.usable(),
            ranked: ranked.ids().cloned().collect(),
            next: 0,
            under_way: 0,
            durable: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// The next node for one of this chunk's shards. Each node gets one shard at most: it is taken once.
    fn take_next_node(&mut self, code: Code) -> Option<NodeId> {
        let needed = self.durable.len() + self.under_way < code.write_quorum();
        let end = if needed { self.ranked.len() } else { self.usable };
        let node = self.ranked[..end].get(self.next)?.clone();
        self.next += 1;
        self.under_way += 1;
        Some(node)
    }

    fn confirm(&mut self, index: u8, node: NodeId) {
        let shard = &self.shards[usize::from(index)];
        assert!(self.durable.iter().all(|place| place.node != node), "one shard of a chunk per node (law 1)");
        self.durable.push(ShardPlace { node, index, crc: shard.crc });
    }

    fn require_quorum(&self, quorum: usize) -> Result<()> {
        if self.durable.len() >= quorum {
            return Ok(());
        }
        let failed: Vec<String> =
            self.failures.iter().map(|(node, kind)| format!("{node}: {}", kind.as_str())).collect();
        let message = format!(
            "chunk stored on {} of {quorum} storage nodes needed ({})",
            self.durable.len(),
            if failed.is_empty() { "no other node accepts writes".to_owned() } else { failed.join(", ") }
        );
        let only_full = self.usable == 0 || self.failures.iter().any(|(_, kind)| *kind == ErrorKind::Full);
        let unreachable = self.failures.iter().any(|(_, kind)| *kind == ErrorKind::Unavailable);
        Err(Error::new(if only_full && !unreachable { ErrorKind::Full } else { ErrorKind::Unavailable }, message))
    }

    fn written(&self) -> WrittenChunk {
        WrittenChunk { id: self.id, places: self.durable.clone() }
    }

    fn late(self, known: usize) -> impl Iterator<Item = LateShard> {
        self.durable.into_iter().skip(known).map(move |place| LateShard { chunk: self.id, place })
    }
}
