//! Scrub: has every node read and check all its records, a stretch at a time, so that rot is found before it is needed. What is found
//! damaged is queued for repair.
//!
//! What it keeps true: a pass visits every node that is registered; one that does not answer keeps its place, and the pass waits for it
//! or, once it is recorded as lost, goes on without. Position and counts are records ([`Pass`]).

use super::{Backlog, Pass, Progress, Work, Worker};
use crate::metadata::records::{ChunkRecord, ChunkState, NodeRecord, NodeState, Record, RepairRecord};
use crate::metadata::{Batch, SCAN_ENTRIES_MAX, keys};
use crate::names;
use async_trait::async_trait;
use protocol::{Error, NodeId, Result, ShardId, VerifyCursor};
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// The worker's name.
pub const SCRUB: &str = "scrub";
/// Bytes read by one step: a node reads them in some tens of milliseconds.
const STEP_BYTES: u64 = 8 << 20;
/// The position is saved at least this often.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// The worker.
pub struct Scrub {
    interval: Duration,
    /// The pass under way, with what was not saved yet.
    pass: Option<(Pass, Instant)>,
}

/// Where a pass is: a node, and how far on it.
struct Position {
    node: NodeId,
    cursor: VerifyCursor,
}

impl Scrub {
    /// Begins a pass `interval` after the last one ended.
    pub fn new(interval: Duration) -> Scrub {
        Scrub { interval, pass: None }
    }
}

#[async_trait]
impl Worker for Scrub {
    fn name(&self) -> &'static str {
        SCRUB
    }

    /// It only reads; what it finds, repair looks at again.
    fn needs_all_nodes(&self) -> bool {
        false
    }

    async fn step(&mut self, work: &Work) -> Result<Progress> {
        let (mut pass, saved) = match self.pass.take() {
            Some(under_way) => under_way,
            None => (Pass::read(work, SCRUB).await?, Instant::now()),
        };
        if !pass.is_under_way() {
            if pass.is_due(work, self.interval).await? {
                pass.begin(work).await?;
            }
            return Ok(Progress::Idle);
        }
        let Some(position) = next_position(work, &pass).await? else {
            pass.finish(work).await?;
            return Ok(Progress::Idle);
        };
        let Some(member) = work.objects.nodes.member(&position.node) else {
            return Ok(Progress::Waits(format!("node {} has not answered yet", position.node)));
        };
        let report = match member.verify(position.cursor, STEP_BYTES).await {
            Ok(report) => report,
            Err(error) => {
                self.pass = Some((pass, saved));
                return Ok(Progress::Waits(format!("node {}: {}", position.node, error.message)));
            }
        };
        for shard in &report.corrupt {
            queue(work, &position.node, *shard).await?;
        }
        // Stretches in which no shard lies are counted with the pass only: what was repaired leaves one, until its segment is compacted.
        if !report.corrupt.is_empty() {
            let corrupt = report.corrupt.len();
            warn!(target: "degradation", node = %position.node, corrupt, "scrub found damage");
            metrics::counter!(names::DAMAGED_COPIES_TOTAL, "found_by" => "scrub").increment(corrupt as u64);
        }
        pass.count("records", report.records);
        pass.count("bytes", report.bytes);
        pass.count("corrupt", report.corrupt.len() as u64);
        pass.count("damaged_stretches", report.damaged_stretches);
        pass.record.position = encode(&position.node, report.next);
        let saved = match report.next.is_none() || saved.elapsed() >= SAVE_EVERY {
            true if !pass.save(work).await? => return Ok(Progress::Idle),
            true => Instant::now(),
            false => saved,
        };
        self.pass = Some((pass, saved));
        Ok(Progress::Did { items: report.records, bytes: report.bytes })
    }

    async fn backlog(&self, work: &Work) -> Result<Backlog> {
        let Some((pass, _)) = &self.pass else { return Ok(Backlog::default()) };
        let used: u64 = work.objects.nodes.status().iter().map(|node| node.used_bytes).sum();
        Ok(Backlog { items: None, bytes: Some(used.saturating_sub(pass.counted("bytes"))) })
    }
}

/// Where the pass goes on; `None` when every node was read to its end.
async fn next_position(work: &Work, pass: &Pass) -> Result<Option<Position>> {
    let (done, on_it) = decode(&pass.record.position)?;
    let range = keys::nodes();
    let switched_off = work.objects.nodes.switched_off();
    for (_, entry) in work.scan(&range, SCAN_ENTRIES_MAX).await? {
        let record = NodeRecord::decode(&entry.value)?;
        if record.state == NodeState::Lost || switched_off.contains(&record.node) {
            continue;
        }
        if let Some(position) = &on_it
            && position.node >= record.node
        {
            if position.node == record.node {
                return Ok(on_it);
            }
        } else if done.as_ref().is_none_or(|done| record.node > *done) {
            return Ok(Some(Position { node: record.node, cursor: VerifyCursor::default() }));
        }
    }
    Ok(None)
}

/// Queues the chunk of a damaged shard, if the record still names it.
async fn queue(work: &Work, node: &NodeId, shard: ShardId) -> Result<()> {
    let Some(entry) = work.objects.metadata.get(&keys::chunk(shard.chunk)).await? else { return Ok(()) };
    let record = ChunkRecord::decode(&entry.value)?;
    let named = record.shards.iter().any(|place| place.node == *node && place.index == shard.index);
    if !named || record.state != ChunkState::Live {
        return Ok(());
    }
    let good = record.shards.len().saturating_sub(1) as u8;
    let reason = format!("scrub found its shard on {node} damaged");
    let repair =
        RepairRecord { check_bytes: true, ..RepairRecord::new(shard.chunk, work.objects.clock.now_ms(), &reason) };
    let mut commit = Batch::new();
    commit.put(keys::repair(good.saturating_sub(record.code.data), shard.chunk), repair.encode());
    work.commit(commit).await.map(drop)
}

/// `node`, NUL, then segment and offset (u32 BE each) where the node is not done yet.
fn encode(node: &NodeId, next: Option<VerifyCursor>) -> Vec<u8> {
    let mut position = node.as_str().as_bytes().to_vec();
    position.push(0);
    if let Some(next) = next {
        position.extend_from_slice(&next.segment.to_be_bytes());
        position.extend_from_slice(&next.offset.to_be_bytes());
    }
    position
}

/// The node that was read to its end, or the place on the one that was not.
fn decode(position: &[u8]) -> Result<(Option<NodeId>, Option<Position>)> {
    let malformed = || Error::corrupt("the scrub's position cannot be read");
    let Some(end) = position.iter().position(|byte| *byte == 0) else { return Ok((None, None)) };
    let node: NodeId = std::str::from_utf8(&position[..end]).map_err(|_| malformed())?.parse()?;
    match position[end + 1..].as_chunks::<4>() {
        ([], []) => Ok((Some(node), None)),
        ([segment, offset], []) => {
            let cursor = VerifyCursor { segment: u32::from_be_bytes(*segment), offset: u32::from_be_bytes(*offset) };
            Ok((None, Some(Position { node, cursor })))
        }
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_round_trip() {
        let node: NodeId = "n1".parse().unwrap();
        let (done, none) = decode(&encode(&node, None)).unwrap();
        assert!(done == Some(node.clone()) && none.is_none());
        let cursor = VerifyCursor { segment: 7, offset: 1 << 30 };
        let (none, some) = decode(&encode(&node, Some(cursor))).unwrap();
        let some = some.unwrap();
        assert!(none.is_none() && some.node == node && some.cursor == cursor);
        assert!(matches!(decode(&[]).unwrap(), (None, None)));
        assert!(decode(b"n1\0abc").is_err());
    }
}
