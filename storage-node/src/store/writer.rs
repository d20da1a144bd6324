//! The single writer: decides what becomes of each change, appends what must be appended, tells the index, then answers.
//!
//! Order, for one group of changes (a crash after any step leaves no acknowledged change undone):
//! 1. decide: duplicates, conflicts and what there is no room for are settled without a record;
//! 2. append shards, one fdatasync; 3. append tombstones and moved records, which may use the log's reserve, one fdatasync;
//! 4. index; 5. answers.
//!
//! What it keeps true:
//! - A shard id is never reused: other bytes, or an id with a tombstone, are a conflict (law 2).
//! - The same bytes again are `Ok` only if the record there is read and found whole; else they are stored anew. So a put also
//!   repairs.
//! - A record moves only while the index still names its old place; a deleted one never moves, so it never comes back.
//! - After a failed append nothing of it is acknowledged or indexed (law 12). After repeated failures the node is read-only, but
//!   for one attempt now and then, so that it recovers by itself.

use super::space::Space;
use crate::index::{Entry, Index, Key, Update};
use bytes::Bytes;
use protocol::{ErrorKind, PutOutcome, Shard, ShardId};
use segments::{Disk, Kind, Location, Purpose, Record, SegmentLog, SegmentReader};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// After so many failed appends in a row the node refuses writes,
const FAILURES_MAX: u64 = 3;
/// but for one attempt in this time.
const ATTEMPT_INTERVAL: Duration = Duration::from_secs(10);
/// One part in so many of a new measurement goes into the moving average.
const AVERAGE_WEIGHT: u64 = 8;

/// One change to the store.
#[derive(Debug)]
pub(crate) enum Change {
    /// Store a shard whose CRC was checked, and whose length is at most [`protocol::SHARD_BYTES_MAX`].
    Put(Shard),
    /// Leave a tombstone.
    Delete(ShardId),
    /// Append a record again, if it is still needed where it is.
    Move(Moved),
    /// Find out whether the disk takes writes.
    Probe,
}

/// A record on its way to another segment.
#[derive(Debug)]
pub(crate) struct Moved {
    pub key: Key,
    pub entry: Entry,
    pub data: Bytes,
}

pub(super) struct Writer<D: Disk> {
    pub(super) log: SegmentLog<D>,
    pub(super) space: Space,
    pub(super) fsync_us: u64,
    index: Arc<Index>,
    reader: SegmentReader<D>,
    attempted_at: Option<Instant>,
}

/// What one group does to the log.
#[derive(Default)]
struct Plan {
    verdicts: Vec<Verdict>,
    shards: Lane,
    reclaim: Lane,
    /// What the ids of this group will be, if its appends succeed.
    pending: HashMap<Key, Pending>,
}

/// Records that are appended together.
#[derive(Default)]
struct Lane {
    records: Vec<Record>,
    updates: Vec<(Key, bool, Option<Entry>)>,
}

#[derive(Clone, Copy)]
enum Verdict {
    Settled(PutOutcome),
    /// This, if the lane's append succeeds.
    After(LaneName, PutOutcome),
}

#[derive(Clone, Copy)]
enum LaneName {
    Shards,
    Reclaim,
}

#[derive(Clone, Copy)]
struct Pending {
    lane: LaneName,
    /// Length and CRC; `None` for a tombstone.
    shard: Option<(u32, u32)>,
}

impl<D: Disk> Writer<D> {
    pub(super) fn new(log: SegmentLog<D>, space: Space, index: Arc<Index>) -> Writer<D> {
        let reader = log.reader();
        let mut writer = Writer { log, space, fsync_us: 0, index, reader, attempted_at: None };
        writer.space.measure(&writer.log);
        writer
    }

    /// Applies changes, in order; one outcome each.
    pub(super) fn apply(&mut self, changes: Vec<Change>) -> Vec<PutOutcome> {
        if !self.may_attempt() {
            return vec![Err(ErrorKind::Unavailable); changes.len()];
        }
        let mut plan = Plan::default();
        for change in changes {
            let verdict = self.decide(change, &mut plan);
            plan.verdicts.push(verdict);
        }
        let shards = self.append(plan.shards, Purpose::Data);
        let reclaim = self.append(plan.reclaim, Purpose::Reclaim);
        let outcome_after = |lane| match lane {
            LaneName::Shards => shards,
            LaneName::Reclaim => reclaim,
        };
        let outcome = |verdict| match verdict {
            Verdict::Settled(outcome) => outcome,
            Verdict::After(lane, outcome) => outcome_after(lane).and(outcome),
        };
        plan.verdicts.into_iter().map(outcome).collect()
    }

    fn decide(&mut self, change: Change, plan: &mut Plan) -> Verdict {
        match change {
            Change::Put(shard) => self.decide_put(shard, plan),
            Change::Delete(id) => self.decide_delete(id.to_bytes(), plan),
            Change::Move(moved) => self.decide_move(moved, plan),
            // The nil id is nobody's: a tombstone of it does no harm.
            Change::Probe => plan.bury(Key::default(), self.index.lookup(&Key::default()).unwrap_or_default()),
        }
    }

    fn decide_put(&mut self, shard: Shard, plan: &mut Plan) -> Verdict {
        let key = shard.id.to_bytes();
        let length = u32::try_from(shard.data.len()).expect("a shard is shorter than SHARD_BYTES_MAX");
        if let Some(pending) = plan.pending.get(&key) {
            let same = pending.shard == Some((length, shard.crc));
            return Verdict::After(pending.lane, if same { Ok(()) } else { Err(ErrorKind::Conflict) });
        }
        let old = match self.index.lookup(&key) {
            Ok(old) => old,
            Err(error) => return Verdict::Settled(Err(error.kind)),
        };
        if let Some(old) = old {
            if !old.live || old.location.length != length || old.location.crc != shard.crc {
                return Verdict::Settled(Err(ErrorKind::Conflict));
            }
            if self.reader.read(old.location, &key).is_ok() {
                return Verdict::Settled(Ok(()));
            }
        }
        if self.index.is_behind() {
            return Verdict::Settled(Err(ErrorKind::Unavailable));
        }
        if !self.space.admit(stored_bytes(length), &self.log) {
            return Verdict::Settled(Err(ErrorKind::Full));
        }
        plan.pending.insert(key, Pending { lane: LaneName::Shards, shard: Some((length, shard.crc)) });
        plan.shards.push(Kind::SHARD, key, shard.data, shard.crc, old);
        Verdict::After(LaneName::Shards, Ok(()))
    }

    fn decide_delete(&mut self, key: Key, plan: &mut Plan) -> Verdict {
        if let Some(pending) = plan.pending.get(&key).filter(|pending| pending.shard.is_none()) {
            return Verdict::After(pending.lane, Ok(()));
        }
        match self.index.lookup(&key) {
            Ok(Some(old)) if !old.live => Verdict::Settled(Ok(())),
            // A tombstone is right whatever is there, also where that is not known.
            old => plan.bury(key, old.unwrap_or_default()),
        }
    }

    fn decide_move(&mut self, moved: Moved, plan: &mut Plan) -> Verdict {
        if plan.pending.contains_key(&moved.key) {
            return Verdict::Settled(Err(ErrorKind::Conflict));
        }
        let Location { length, crc, .. } = moved.entry.location;
        match self.index.lookup(&moved.key) {
            Err(error) => Verdict::Settled(Err(error.kind)),
            // No entry at all is a loss of the index, not a delete: keep the record.
            Ok(old) if old.is_none_or(|old| old.prevail(moved.entry) == moved.entry) => {
                let live = moved.entry.live;
                plan.pending
                    .insert(moved.key, Pending { lane: LaneName::Reclaim, shard: live.then_some((length, crc)) });
                let kind = if live { Kind::SHARD } else { Kind::TOMBSTONE };
                plan.reclaim.push(kind, moved.key, moved.data, crc, old);
                Verdict::After(LaneName::Reclaim, Ok(()))
            }
            Ok(_) => Verdict::Settled(Ok(())),
        }
    }

    fn append(&mut self, lane: Lane, purpose: Purpose) -> PutOutcome {
        if lane.records.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        match self.log.append(&lane.records, purpose) {
            Ok(locations) => {
                let took_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
                let before_us = if self.fsync_us == 0 { took_us } else { self.fsync_us };
                self.fsync_us = before_us - before_us / AVERAGE_WEIGHT + took_us / AVERAGE_WEIGHT;
                let update = |((key, live, old), location)| Update { key, entry: Entry { live, location }, old };
                let updates: Vec<Update> = lane.updates.into_iter().zip(locations).map(update).collect();
                self.index.apply(&updates, self.log.end());
                Ok(())
            }
            Err(error) => {
                if error.kind == ErrorKind::Full && purpose == Purpose::Data {
                    self.space.set_full();
                } else {
                    tracing::error!(%error, records = lane.records.len(), "append failed");
                }
                Err(error.kind)
            }
        }
    }

    /// Whether the disk has failed writes again and again.
    pub(super) fn is_read_only(&self) -> bool {
        self.log.failures_in_a_row() >= FAILURES_MAX
    }

    fn may_attempt(&mut self) -> bool {
        if !self.is_read_only() {
            return true;
        }
        if self.attempted_at.is_some_and(|then| then.elapsed() < ATTEMPT_INTERVAL) {
            return false;
        }
        self.attempted_at = Some(Instant::now());
        true
    }
}

impl Plan {
    fn bury(&mut self, key: Key, old: Option<Entry>) -> Verdict {
        self.pending.insert(key, Pending { lane: LaneName::Reclaim, shard: None });
        self.reclaim.push(Kind::TOMBSTONE, key, Bytes::new(), 0, old);
        Verdict::After(LaneName::Reclaim, Ok(()))
    }
}

impl Lane {
    fn push(&mut self, kind: Kind, key: Key, data: Bytes, crc: u32, old: Option<Entry>) {
        self.records.push(Record { kind, id: key, crc, data: vec![data] });
        self.updates.push((key, kind == Kind::SHARD, old));
    }
}

/// Bytes that a record of this length takes on disk.
fn stored_bytes(length: u32) -> u64 {
    Location { position: segments::Position::default(), length, crc: 0 }.stored_bytes()
}
