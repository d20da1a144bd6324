//! Reads one chunk: from the nodes that hold it, the best first, verified before anyone sees a byte (law 6). Of a code with several data
//! shards these are read at the same time, and computed only where one of them is missing, damaged or late.
//!
//! What it keeps true:
//! - Wrong bytes are never returned: a shard that does not match its CRC, or with which the chunk does not come to its digest, is passed
//!   over, and its chunk is queued for repair.
//! - Health and breakers decide the order only: every node that is named is asked before a chunk is given up (faults I20).
//! - A node that hangs delays a read by as long as nearly all reads take ([`crate::nodes::ReadTimes`]), not by its deadline.

use super::Objects;
use super::gather::Gathered;
use crate::metadata::records::{ChunkRecord, Record, RepairRecord, ShardPlace};
use crate::metadata::{Batch, keys};
use crate::names;
use crate::nodes::Nodes;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use protocol::{ChunkId, Error, ErrorKind, NodeId, Result, ShardId};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// A shard that was asked for, and what came.
struct Attempt {
    place: ShardPlace,
    outcome: Result<Bytes>,
}

impl Objects {
    /// The plain bytes of `chunk`, verified.
    ///
    /// `Unavailable` if no good copy could be had now, `Corrupt` if there is none at all.
    pub(super) async fn fetch_chunk(&self, chunk: ChunkId) -> Result<Bytes> {
        if let Some(data) = self.cache.get(chunk) {
            return Ok(data);
        }
        let mut tried: Option<(u64, Error)> = None;
        loop {
            let Some(entry) = self.metadata.get(&keys::chunk(chunk)).await? else {
                return Err(Error::corrupt(format!("a manifest names chunk {chunk}, which has no record")));
            };
            // What cannot be read where it was may have been moved; if not, it cannot be read.
            match tried.take() {
                Some((revision, error)) if revision == entry.revision => {
                    if error.kind == ErrorKind::Corrupt {
                        self.queue_repair(chunk, 0, "a read met no good shard").await;
                    }
                    return Err(error);
                }
                _ => {}
            }
            let record = Arc::new(ChunkRecord::decode(&entry.value)?);
            match self.fetch_any(chunk, &record).await {
                Ok(data) => {
                    self.cache.insert(chunk, &data);
                    return Ok(data);
                }
                Err(error) => tried = Some((entry.revision, error)),
            }
        }
    }

    /// Asks for as many shards as reading needs, for one more whenever they are late, and in place of each that fails.
    async fn fetch_any(&self, chunk: ChunkId, record: &Arc<ChunkRecord>) -> Result<Bytes> {
        let mut waiting = self.read_order(record);
        let mut asked: FuturesUnordered<BoxFuture<'static, Attempt>> = FuturesUnordered::new();
        let mut read = Gathered::of(record);
        let mut failures: Vec<Attempt> = Vec::new();
        let mut wanted = record.code.read_quorum();
        loop {
            while asked.len() + read.len() < wanted
                && let Some(place) = waiting.pop_front()
            {
                asked.push(self.ask(chunk, record, place));
            }
            if asked.is_empty() {
                return Err(unreadable(chunk, &failures));
            }
            let hedge_after = (!waiting.is_empty()).then(|| self.nodes.read_times.late_after());
            match next_answer(&mut asked, hedge_after).await {
                None => {
                    self.nodes.read_times.note_late();
                    if let Some(place) = waiting.pop_front() {
                        metrics::counter!(names::HEDGED_READS_TOTAL).increment(1);
                        asked.push(self.ask(chunk, record, place));
                    }
                }
                Some(Attempt { place, outcome: Ok(data) }) => {
                    read.add(place.index, data);
                    if read.len() < wanted {
                        continue;
                    }
                    match self.solve(record, &read).await {
                        Ok(plain) => {
                            self.queue_repair_of_corrupt(chunk, record, &failures).await;
                            return Ok(plain);
                        }
                        Err(error) => failures.push(Attempt { place, outcome: Err(error) }),
                    }
                    wanted = read.len() + 1;
                }
                Some(failure) => failures.push(failure),
            }
        }
    }

    async fn solve(&self, record: &ChunkRecord, read: &Gathered) -> Result<Bytes> {
        let cost = record.length as usize + record.stored_length as usize;
        self.prover.prove(self.compute, cost, read.clone()).await.map(|proved| proved.plain)
    }

    /// The shards in the order in which to ask for them. Data shards come before parity, from which the chunk has to be computed, but for
    /// those on nodes that do not answer.
    fn read_order(&self, record: &ChunkRecord) -> VecDeque<ShardPlace> {
        let holders: Vec<NodeId> = record.shards.iter().map(|place| place.node.clone()).collect();
        let order = self.nodes.read_order(&holders);
        let place = |node: &NodeId| record.shards.iter().find(|place| place.node == *node).cloned();
        let mut places: Vec<ShardPlace> = order.iter().filter_map(place).collect();
        if record.code.data > 1 {
            let unreachable = self.nodes.unreachable();
            let is_parity = |place: &ShardPlace| record.code.piece(place.index) >= record.code.data;
            places.sort_by_key(|place| (unreachable.contains(&place.node), is_parity(place)));
        }
        places.into()
    }

    fn ask(&self, chunk: ChunkId, record: &ChunkRecord, place: ShardPlace) -> BoxFuture<'static, Attempt> {
        let nodes = self.nodes.clone();
        // A copy by itself comes to the chunk's digest or does not, which says more than its CRC32.
        let is_piece = record.code.data > 1;
        Box::pin(async move {
            let began = Instant::now();
            let outcome = match is_piece {
                true => read_shard(&nodes, chunk, &place).await,
                false => get_shard(&nodes, chunk, &place).await,
            };
            if outcome.is_ok() {
                nodes.read_times.note(began.elapsed());
            }
            Attempt { place, outcome }
        })
    }

    /// What is found rotten is mended by repair; that it is, is a record (law 8).
    async fn queue_repair_of_corrupt(&self, chunk: ChunkId, record: &ChunkRecord, failures: &[Attempt]) {
        let rotten = failures.iter().filter(|attempt| is_damage(attempt)).count();
        if rotten == 0 {
            return;
        }
        metrics::counter!(names::DAMAGED_COPIES_TOTAL, "found_by" => "read").increment(rotten as u64);
        self.queue_repair_of(chunk, record, rotten, "a read met a damaged or missing shard").await;
    }

    /// Has so many shards of the chunk looked after.
    pub(super) async fn queue_repair_of(&self, chunk: ChunkId, record: &ChunkRecord, shards: usize, reason: &str) {
        let severity = (record.shards.len().saturating_sub(shards) as u8).saturating_sub(record.code.data);
        self.queue_repair(chunk, severity, reason).await;
    }

    /// Once: a chunk that is read often is not committed about at each read, and the repair under way is not told to begin anew.
    async fn queue_repair(&self, chunk: ChunkId, severity: u8, reason: &str) {
        let key = keys::repair(severity, chunk);
        let queued = match self.metadata.get(&key).await {
            Ok(Some(entry)) => RepairRecord::decode(&entry.value).is_ok_and(|repair| repair.check_bytes),
            _ => false,
        };
        if queued {
            return;
        }
        let repair = RepairRecord { check_bytes: true, ..RepairRecord::new(chunk, self.clock.now_ms(), reason) };
        let mut commit = Batch::new();
        commit.put(key, repair.encode());
        let queued = self.metadata.commit(commit).await;
        warn!(target: "degradation", %chunk, severity, reason, queued = queued.is_ok(), "damage was read, repair queued");
    }
}

fn is_damage(attempt: &Attempt) -> bool {
    matches!(&attempt.outcome, Err(error) if matches!(error.kind, ErrorKind::Corrupt | ErrorKind::NotFound))
}

async fn next_answer(
    asked: &mut FuturesUnordered<BoxFuture<'static, Attempt>>,
    hedge_after: Option<Duration>,
) -> Option<Attempt> {
    match hedge_after {
        Some(hedge_after) => tokio::time::timeout(hedge_after, asked.next()).await.ok().flatten(),
        None => asked.next().await,
    }
}

/// A shard, if it is what was stored there: `Corrupt` if not.
pub(crate) async fn read_shard(nodes: &Nodes, chunk: ChunkId, place: &ShardPlace) -> Result<Bytes> {
    let data = get_shard(nodes, chunk, place).await?;
    if crc32fast::hash(&data) != place.crc {
        return Err(Error::corrupt(format!("chunk {chunk} on {} is not what was stored there", place.node)));
    }
    Ok(data)
}

/// What lies there now.
async fn get_shard(nodes: &Nodes, chunk: ChunkId, place: &ShardPlace) -> Result<Bytes> {
    match nodes.member(&place.node) {
        Some(member) => member.get(ShardId { chunk, index: place.index }).await,
        None => Err(Error::unavailable(format!("node {} is not registered", place.node))),
    }
}

fn unreadable(chunk: ChunkId, failures: &[Attempt]) -> Error {
    let told = |attempt: &Attempt| match &attempt.outcome {
        Ok(_) => String::new(),
        Err(error) => format!("{}: {}", attempt.place.node, error),
    };
    let message = format!(
        "no good copy of chunk {chunk} can be read now ({})",
        failures.iter().map(told).collect::<Vec<String>>().join("; ")
    );
    let lost = !failures.is_empty() && failures.iter().all(is_damage);
    Error::new(if lost { ErrorKind::Corrupt } else { ErrorKind::Unavailable }, message)
}
