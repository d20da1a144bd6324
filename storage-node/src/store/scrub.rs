//! Reads records and compares them with what the index says is there, so that rot is found before it is needed.

use super::{Store, liveness, note_operation};
use crate::index::{Entry, Key};
use protocol::{Result, ShardId, VerifyCursor, VerifyReport};
use segments::{Disk, Position, Scanned};
use std::collections::HashMap;
use std::time::Instant;

/// Shards listed in one report; what else is bad is found by the next scrub.
const CORRUPT_LISTED_MAX: usize = 10_000;
/// Bytes read in one step at most, whatever was asked for: a call ends within a bound.
const STEP_BYTES_MAX: u64 = 256 << 20;

/// A part of a segment in which no record was found.
struct Stretch {
    from: Position,
    bytes: u64,
    /// At the end of its segment, where a crash leaves pieces of what was never acknowledged.
    tail: bool,
    /// Whether the index says that a live shard is there.
    held_shard: bool,
}

impl Stretch {
    fn covers(&self, position: Position) -> bool {
        position.segment == self.from.segment
            && position.offset >= self.from.offset
            && u64::from(position.offset) < u64::from(self.from.offset) + self.bytes
    }
}

impl<D: Disk> Store<D> {
    /// Reads and checks records from `cursor` on, at least one and about `limit_bytes`.
    pub fn verify(&self, cursor: VerifyCursor, limit_bytes: u64) -> Result<VerifyReport> {
        let started = Instant::now();
        let report = self.scrub(Position { segment: cursor.segment, offset: cursor.offset }, limit_bytes);
        note_operation("verify", started, report.as_ref().err());
        report
    }

    fn scrub(&self, from: Position, limit_bytes: u64) -> Result<VerifyReport> {
        let mut report = VerifyReport::default();
        let mut bad = Vec::new();
        let mut stretches = Vec::new();
        let end = self.reader.scan(from, limit_bytes.clamp(1, STEP_BYTES_MAX), &mut |found| match found {
            Scanned::Record { .. } => {}
            Scanned::BadPayload { kind, id, location } => {
                bad.push((id, liveness(kind).map(|live| Entry { live, location })));
            }
            Scanned::Damage { from, bytes, tail } => {
                stretches.push(Stretch { from, bytes, tail, held_shard: false });
            }
        })?;
        report.records = end.records;
        report.bytes = end.bytes;
        report.next = end.next.map(|next| VerifyCursor { segment: next.segment, offset: next.offset });
        for (key, entry) in bad {
            match entry {
                Some(entry) if entry.live && self.index.lookup(&key)? == Some(entry) => add(&mut report, &key),
                _ => report.damaged_stretches += 1,
            }
        }
        self.name_lost_shards(&mut stretches, report.next.is_none(), &mut report)?;
        let nameless = stretches.iter().filter(|stretch| !stretch.held_shard && !stretch.tail);
        report.damaged_stretches += nameless.count() as u64;
        Ok(report)
    }

    /// A damaged header does not say whose it was, and a cut file says nothing; the index does. It is read whole for that, so
    /// only where there is damage, and at the end of a scrub.
    fn name_lost_shards(&self, stretches: &mut [Stretch], at_end: bool, report: &mut VerifyReport) -> Result<()> {
        if stretches.is_empty() && !at_end {
            return Ok(());
        }
        let mut suspects: Vec<(Key, Entry)> = Vec::new();
        let ends: HashMap<u32, u64> = self.segments().iter().map(|segment| (segment.number, segment.bytes)).collect();
        self.index.for_each_live(&mut |key, entry| {
            let position = entry.location.position;
            let record_end = u64::from(position.offset) + entry.location.stored_bytes();
            let covered = stretches.iter_mut().find(|stretch| stretch.covers(position));
            let beyond = at_end && ends.get(&position.segment).is_none_or(|end| record_end > *end);
            if covered.is_some() || beyond {
                suspects.push((key, entry));
            }
            if let Some(stretch) = covered {
                stretch.held_shard = true;
            }
        })?;
        for (key, entry) in suspects {
            // Appended or moved since the segments were listed, or read whole after all: not lost.
            let still_there = self.index.lookup(&key)? == Some(entry);
            if still_there && self.reader.read(entry.location, &key).is_err() {
                add(report, &key);
            }
        }
        Ok(())
    }
}

fn add(report: &mut VerifyReport, key: &Key) {
    let id = ShardId::from_bytes(*key);
    if report.corrupt.len() < CORRUPT_LISTED_MAX && !report.corrupt.contains(&id) {
        report.corrupt.push(id);
    }
}
