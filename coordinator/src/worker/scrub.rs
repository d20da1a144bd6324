//! Scrub: reads the catalog's log, then has every node read and check all its records, a stretch at a time, and reads what it keeps of the
//! catalog's journal. So rot is found before it is needed. Shards that are damaged are queued for repair, a journal is sent anew, from the log.
//!
//! What it keeps true: a pass visits every node that is registered; one that does not answer keeps its place, and the pass waits for it
//! or, once it is recorded as lost, goes on without. Position and counts are records ([`Pass`]).

use super::{Backlog, Pass, Progress, Work, Worker};
use crate::metadata::records::{ChunkRecord, ChunkState, NodeRecord, NodeState, Record, RepairRecord};
use crate::metadata::{Batch, LogStretch, SCAN_ENTRIES_MAX, keys};
use crate::names;
use async_trait::async_trait;
use protocol::{NodeId, Result, ShardId, VerifyCursor};
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// The worker's name.
pub const SCRUB: &str = "scrub";
/// Bytes read by one step: a node reads them in some tens of milliseconds.
const STEP_BYTES: u64 = 8 << 20;
/// In a position: what follows a node's name, and what says that a group of the log follows.
const END_OF_NAME: u8 = 0;
const LOG: u8 = b'j';
/// The position is saved at least this often.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// The worker.
pub struct Scrub {
    interval: Duration,
    /// The pass under way, with what was not saved yet.
    pass: Option<(Pass, Instant)>,
}

/// Where a pass is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// At the records of a node.
    Shards(NodeId, VerifyCursor),
    /// At the groups of the catalog's log that come next, of those that a node keeps or, for none, in the log itself.
    Log(Option<NodeId>, LogStretch),
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
        let read = match next_place(work, &pass).await? {
            Some(Place::Shards(node, cursor)) => shards(work, &mut pass, &node, cursor).await?,
            Some(Place::Log(node, groups)) => log(work, &mut pass, node, groups).await?,
            None => {
                pass.finish(work).await?;
                return Ok(Progress::Idle);
            }
        };
        let (position, items, bytes) = match read {
            Read::Stretch { position, items, bytes } => (position, items, bytes),
            Read::Waits(why) => {
                self.pass = Some((pass, saved));
                return Ok(Progress::Waits(why));
            }
        };
        let is_done = position.iter().position(|byte| *byte == END_OF_NAME) == Some(position.len() - 1);
        pass.record.position = position;
        let saved = match is_done || saved.elapsed() >= SAVE_EVERY {
            true if !pass.save(work).await? => return Ok(Progress::Idle),
            true => Instant::now(),
            false => saved,
        };
        self.pass = Some((pass, saved));
        Ok(Progress::Did { items, bytes })
    }

    async fn backlog(&self, work: &Work) -> Result<Backlog> {
        let Some((pass, _)) = &self.pass else { return Ok(Backlog::default()) };
        let used: u64 = work.objects.nodes.status().iter().map(|node| node.used_bytes).sum();
        Ok(Backlog { items: None, bytes: Some(used.saturating_sub(pass.counted("bytes"))) })
    }
}

/// What a step came to.
enum Read {
    /// A stretch was read, and the pass is here by then.
    Stretch { position: Vec<u8>, items: u64, bytes: u64 },
    /// It could not be read yet.
    Waits(String),
}

/// Has a node read its records.
async fn shards(work: &Work, pass: &mut Pass, node: &NodeId, cursor: VerifyCursor) -> Result<Read> {
    let Some(member) = work.objects.nodes.member(node) else {
        return Ok(Read::Waits(format!("node {node} has not answered yet")));
    };
    let report = match member.verify(cursor, STEP_BYTES).await {
        Ok(report) => report,
        Err(error) => return Ok(Read::Waits(format!("node {node}: {}", error.message))),
    };
    for shard in &report.corrupt {
        queue(work, node, *shard).await?;
    }
    // Stretches in which no shard lies are counted with the pass only: what was repaired leaves one, until its segment is compacted.
    if !report.corrupt.is_empty() {
        let corrupt = report.corrupt.len();
        warn!(target: "degradation", node = %node, corrupt, "scrub found damage");
        metrics::counter!(names::DAMAGED_COPIES_TOTAL, "found_by" => "scrub").increment(corrupt as u64);
    }
    pass.count("records", report.records);
    pass.count("bytes", report.bytes);
    pass.count("corrupt", report.corrupt.len() as u64);
    pass.count("damaged_stretches", report.damaged_stretches);
    let next = match report.next {
        Some(next) => Place::Shards(node.clone(), next),
        None => Place::Log(Some(node.clone()), LogStretch::ALL),
    };
    Ok(Read::Stretch { position: encode(&next), items: report.records, bytes: report.bytes })
}

/// Reads what a node keeps of the catalog's log, or the log itself. Who keeps it sees to what is damaged.
async fn log(work: &Work, pass: &mut Pass, node: Option<NodeId>, groups: LogStretch) -> Result<Read> {
    let read = match work.objects.metadata.scrub_log(node.as_ref(), groups).await {
        Ok(read) => read,
        Err(error) => {
            let whose = node.map_or("the catalog's log".to_owned(), |node| format!("node {node}"));
            return Ok(Read::Waits(format!("{whose}: {}", error.message)));
        }
    };
    pass.count("log_groups", read.groups);
    pass.count("log_damaged", read.damaged);
    let position = match read.next {
        Some(next) => encode(&Place::Log(node, next)),
        None => done(node.as_ref()),
    };
    Ok(Read::Stretch { position, items: read.groups, bytes: read.bytes })
}

/// Where the pass goes on; `None` when all was read to its end.
async fn next_place(work: &Work, pass: &Pass) -> Result<Option<Place>> {
    // One that an earlier program wrote in its own way is none: the pass reads all once more.
    let (done, at) = match decode(&pass.record.position).unwrap_or(Position::Start) {
        Position::Start => return Ok(Some(Place::Log(None, LogStretch::ALL))),
        Position::At(place @ Place::Log(None, _)) => return Ok(Some(place)),
        Position::Behind(done) => (done, None),
        Position::At(place) => (None, Some(place)),
    };
    let range = keys::nodes();
    let switched_off = work.objects.nodes.switched_off();
    for (_, entry) in work.scan(&range, SCAN_ENTRIES_MAX).await? {
        let record = NodeRecord::decode(&entry.value)?;
        if record.state == NodeState::Lost || switched_off.contains(&record.node) {
            continue;
        }
        match &at {
            Some(place @ (Place::Shards(node, _) | Place::Log(Some(node), _))) if *node == record.node => {
                return Ok(Some(place.clone()));
            }
            Some(Place::Shards(node, _) | Place::Log(Some(node), _)) if *node > record.node => {}
            _ if done.as_ref().is_some_and(|done| record.node <= *done) => {}
            _ => return Ok(Some(Place::Shards(record.node, VerifyCursor::default()))),
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

/// How far a pass is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Position {
    /// At its start.
    Start,
    /// This node was read to its end or, for none, the log.
    Behind(Option<NodeId>),
    /// Here.
    At(Place),
}

/// `node`, or nothing for the coordinator's own log, NUL, then segment and offset (u32 BE each), or `j`, the next group and the last (u64 BE
/// each).
fn encode(place: &Place) -> Vec<u8> {
    match place {
        Place::Shards(node, next) => {
            [done(Some(node)), next.segment.to_be_bytes().to_vec(), next.offset.to_be_bytes().to_vec()].concat()
        }
        Place::Log(node, LogStretch { from, through }) => {
            [done(node.as_ref()), vec![LOG], from.to_be_bytes().to_vec(), through.to_be_bytes().to_vec()].concat()
        }
    }
}

/// The position behind a node or, for none, the log.
fn done(node: Option<&NodeId>) -> Vec<u8> {
    [node.map_or("", NodeId::as_str).as_bytes(), &[END_OF_NAME]].concat()
}

fn decode(position: &[u8]) -> Option<Position> {
    let Some(end) = position.iter().position(|byte| *byte == END_OF_NAME) else { return Some(Position::Start) };
    let rest = &position[end + 1..];
    let name = std::str::from_utf8(&position[..end]).ok()?;
    let node: Option<NodeId> = if name.is_empty() { None } else { Some(name.parse().ok()?) };
    if let Some((&LOG, groups)) = rest.split_first()
        && let ([from, through], []) = groups.as_chunks()
    {
        let [from, through] = [from, through].map(|group| u64::from_be_bytes(*group));
        return Some(Position::At(Place::Log(node, LogStretch { from, through })));
    }
    match (rest.as_chunks::<4>(), node) {
        (([], []), node) => Some(Position::Behind(node)),
        (([segment, offset], []), Some(node)) => {
            let cursor = VerifyCursor { segment: u32::from_be_bytes(*segment), offset: u32::from_be_bytes(*offset) };
            Some(Position::At(Place::Shards(node, cursor)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_round_trip() {
        let node: NodeId = "n1".parse().unwrap();
        for behind in [None, Some(node.clone())] {
            assert_eq!(decode(&done(behind.as_ref())).unwrap(), Position::Behind(behind));
        }
        let cursor = VerifyCursor { segment: 7, offset: 1 << 30 };
        // The first byte of this segment's number is that which says that a group follows.
        let like_a_log = VerifyCursor { segment: u32::from(LOG) << 24, offset: 0 };
        for place in [
            Place::Shards(node.clone(), cursor),
            Place::Shards(node.clone(), like_a_log),
            Place::Log(Some(node), LogStretch { from: 1 << 40, through: 1 << 41 }),
            Place::Log(None, LogStretch::ALL),
        ] {
            assert_eq!(decode(&encode(&place)).unwrap(), Position::At(place));
        }
        assert_eq!(decode(&[]).unwrap(), Position::Start);
        assert_eq!(decode(b"n1\0abc"), None);
    }
}
