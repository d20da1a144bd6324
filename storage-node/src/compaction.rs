//! Gives back the room of deleted shards: what is still needed of a segment is appended again, then the segment goes.
//!
//! Steps (a crash after any of them loses nothing; at worst records exist twice until the segment is compacted again):
//! 1. choose the sealed segment with the largest dead share;
//! 2. read a stretch of it; for each record that the index names at this very place, or should, append it again and fsync, through
//!    the writer, which looks at the index once more; the index then names the new place;
//! 3. repeat to the segment's end;
//! 4. remove the segment, if the counts too say that nothing in it is needed.
//!
//! What it keeps true:
//! - A segment is removed only after every record in it was looked at, and only if nothing in it is needed.
//! - What the index does not know at all is moved, not dropped: a record without a tombstone was never deleted.
//! - Tombstones move like shards; a shard never moves past its tombstone.

use crate::index::Entry;
use crate::names;
use crate::store::{Change, Moved, Store, liveness};
use bytes::Bytes;
use protocol::{Error, ErrorKind, NodeStatus, PutOutcome, Result};
use segments::{Disk, Position, Scanned, SegmentInfo};
use std::collections::HashSet;
use std::sync::{MutexGuard, PoisonError};

/// Bytes read, and at most appended again, in one step.
pub const STEP_BYTES: u64 = 4 << 20;
/// On a full disk even this dead share is worth the work.
const DEAD_SHARE_FULL: f64 = 0.02;
/// The segment that is written is sealed for compaction only once it holds this part of its full length.
const ACTIVE_PART_MIN: u64 = 16;
/// Bytes of a sealed segment that are no records of ours: its header and footer.
const FRAME_BYTES: u64 = 176;

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompactStep {
    /// Nothing is worth compacting.
    Idle,
    /// So many bytes were read, and so many of them appended again.
    Moved {
        /// Read.
        read_bytes: u64,
        /// Appended again.
        moved_bytes: u64,
    },
    /// A segment was removed.
    Removed {
        /// Its number.
        segment: u32,
    },
}

/// How far compaction has come.
#[derive(Debug, Default)]
pub(crate) struct Compaction {
    current: Option<Position>,
    /// Segments that hold something needed that cannot be read.
    unreadable: HashSet<u32>,
    /// Segments that hold records of kinds that this program does not know.
    foreign: HashSet<u32>,
}

impl<D: Disk> Store<D> {
    /// One step; the caller paces them.
    pub fn compact_step(&self) -> Result<CompactStep> {
        let mut compaction = self.compaction();
        let from = match compaction.current.take() {
            Some(from) => from,
            None => match self.choose_segment(&compaction)? {
                Some(segment) => Position { segment, offset: 0 },
                None => return Ok(CompactStep::Idle),
            },
        };
        // Put back first, so that after an error the same stretch is read again.
        compaction.current = Some(from);
        let Stretch { moves, next, read_bytes, foreign } = self.read_stretch(from)?;
        metrics::counter!(names::COMPACTED_BYTES).increment(read_bytes);
        if foreign {
            tracing::warn!(segment = from.segment, "segment holds records of an unknown kind: not compacted");
            compaction.foreign.insert(from.segment);
            compaction.current = None;
            return Ok(CompactStep::Moved { read_bytes, moved_bytes: 0 });
        }
        let moved_bytes = moves.iter().map(|moved| moved.entry.location.stored_bytes()).sum();
        let outcomes = self.apply(moves.into_iter().map(Change::Move).collect());
        if let Some(kind) = outcomes.into_iter().find_map(PutOutcome::err) {
            if kind == ErrorKind::Full {
                // Meanwhile another one may need no room at all.
                compaction.current = None;
            }
            return Err(Error::new(kind, format!("compaction of segment {}: records cannot be moved", from.segment)));
        }
        metrics::counter!(names::MOVED_BYTES).increment(moved_bytes);
        compaction.current = next;
        match next {
            Some(_) => Ok(CompactStep::Moved { read_bytes, moved_bytes }),
            None => self.finish_segment(from.segment, &mut compaction),
        }
    }

    fn finish_segment(&self, segment: u32, compaction: &mut Compaction) -> Result<CompactStep> {
        if self.index.needed_bytes(segment) > 0 {
            tracing::error!(
                segment,
                "segment holds shards that cannot be read: kept until they are repaired or deleted"
            );
            compaction.unreadable.insert(segment);
            return Ok(CompactStep::Moved { read_bytes: 0, moved_bytes: 0 });
        }
        self.remove_segment(segment)?;
        tracing::info!(segment, "segment compacted");
        Ok(CompactStep::Removed { segment })
    }

    /// The sealed segment with the largest dead share, if that is large enough.
    fn choose_segment(&self, compaction: &Compaction) -> Result<Option<u32>> {
        let full = self.health().status == NodeStatus::Full;
        let threshold = if full { DEAD_SHARE_FULL } else { self.config.compact_dead_share };
        let segments = self.segments();
        let last = segments.last().map(|segment| segment.number);
        let mut best: Option<(f64, u32)> = None;
        for segment in segments.iter().filter(|segment| segment.sealed) {
            let needed = self.index.needed_bytes(segment.number);
            // The last one cannot be removed unless something comes after it: what is moved from it, for one.
            let skipped = compaction.foreign.contains(&segment.number)
                || (needed > 0 && compaction.unreadable.contains(&segment.number));
            if skipped || (needed == 0 && last == Some(segment.number)) {
                continue;
            }
            let share = self.dead_share(segment, needed);
            if share > threshold && best.is_none_or(|(most, _)| share > most) {
                best = Some((share, segment.number));
            }
        }
        if best.is_none()
            && let Some(active) = segments.iter().find(|segment| !segment.sealed)
            && active.bytes >= self.segment_bytes / ACTIVE_PART_MIN
            && self.dead_share(active, self.index.needed_bytes(active.number)) > threshold
        {
            self.seal()?;
        }
        Ok(best.map(|(_, number)| number))
    }

    /// Which part of a segment its removal gives back. A poisoned one keeps the room that was made for all of it.
    fn dead_share(&self, segment: &SegmentInfo, needed_bytes: u64) -> f64 {
        if needed_bytes == 0 {
            return 1.0;
        }
        let bytes = if segment.poisoned { segment.bytes.max(self.segment_bytes) } else { segment.bytes };
        let dead = bytes.saturating_sub(needed_bytes).saturating_sub(FRAME_BYTES);
        dead as f64 / bytes.max(1) as f64
    }

    fn read_stretch(&self, from: Position) -> Result<Stretch> {
        let mut stretch = Stretch { moves: Vec::new(), next: None, read_bytes: 0, foreign: false };
        let mut unknown = Ok(());
        let end = self.reader.scan(from, STEP_BYTES, &mut |found| {
            if let Scanned::Record { kind, id, location, data } = found
                && location.position.segment == from.segment
            {
                let Some(live) = liveness(kind) else {
                    stretch.foreign = true;
                    return;
                };
                let entry = Entry { live, location };
                match self.index.lookup(&id) {
                    // One that should be named and is not could not be read when the index was made.
                    Ok(Some(named)) if named.prevail(entry) != entry => {}
                    Ok(_) => stretch.moves.push(Moved { key: id, entry, data: Bytes::copy_from_slice(data) }),
                    Err(error) => unknown = Err(error),
                }
            }
        })?;
        unknown?;
        stretch.next = end.next.filter(|next| next.segment == from.segment);
        stretch.read_bytes = end.bytes;
        Ok(stretch)
    }

    fn compaction(&self) -> MutexGuard<'_, Compaction> {
        self.compaction.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Stretch {
    moves: Vec<Moved>,
    /// Where to go on in the same segment.
    next: Option<Position>,
    read_bytes: u64,
    foreign: bool,
}
