//! The one thread that commits. For each group of waiting batches, in order:
//! 1. Each batch is checked against the tables, the index, and what earlier batches of the group put; one that conflicts is
//!    refused alone.
//! 2. The rest goes into the log as one record, with one fdatasync (and a piece of the snapshot, if one is under way).
//! 3. It is added to the tables, all of it under one lock.
//! 4. Every batch of the group is answered. Nothing is answered before 2 was acknowledged.
//!
//! A crash before 2 was acknowledged leaves the whole group or nothing of it in the log; nobody was answered.
//!
//! When the append fails, the log says what that means and so do we (faults I9): `Full` and `Unavailable` mean that the group
//! does not count, not after a restart either, and its sequence is used again; `Unknown` means that a restart may find it.
//! The log then refuses every append until it has made sure that it does not count, so nothing can be built on either case.

use super::SledSettings;
use super::mover::Mover;
use super::snapshot::{Finished, Piece, Snapshot};
use super::state::State;
use super::table::{Mark, Tables};
use crate::metadata::commit_log::encode_group;
use crate::metadata::{Batch, Entry, conflict, names};
use bytes::Bytes;
use protocol::{Error, ErrorKind, Result};
use segments::{Kind, Location, Purpose, RealDisk, Record, SegmentLog};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A batch that waits for its answer.
#[derive(Debug)]
pub(super) struct Commit {
    pub batch: Batch,
    pub answer: oneshot::Sender<Result<()>>,
}

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Job {
    Commit(Commit),
    /// Ends the log in order before a stop, so that the next start need not read all of its last segment.
    Seal,
}

/// A batch whose checks hold; `revision` is that of its puts.
#[derive(Debug)]
struct Accepted {
    commit: Commit,
    revision: u64,
}

/// What batches of the group before made of a key: its revision, or that it is deleted.
type Overlay = HashMap<Bytes, Option<u64>>;

pub(super) struct Writer {
    log: SegmentLog<RealDisk>,
    state: Arc<State>,
    mover: Arc<Mover>,
    settings: SledSettings,
    mark: Mark,
    snapshot: Option<Snapshot>,
    /// Segments before this one are no longer needed once the checkpoint has passed it.
    removable_before: u32,
    /// No snapshot is begun below this length of the log, in bytes.
    snapshot_at_bytes: u64,
    group_batches: metrics::Histogram,
    log_bytes: metrics::Gauge,
}

impl Writer {
    pub fn new(
        log: SegmentLog<RealDisk>,
        state: Arc<State>,
        mover: Arc<Mover>,
        settings: SledSettings,
        mark: Mark,
    ) -> Writer {
        let snapshot_at_bytes = settings.snapshot_at_bytes(mover.snapshot_bytes());
        let (group_batches, log_bytes) = (metrics::histogram!(names::GROUP_BATCHES), metrics::gauge!(names::LOG_BYTES));
        Writer {
            log,
            state,
            mover,
            settings,
            mark,
            snapshot: None,
            removable_before: 0,
            snapshot_at_bytes,
            group_batches,
            log_bytes,
        }
    }

    /// Takes everything that waits.
    pub fn take(&mut self, jobs: Vec<Job>) {
        let waiting = jobs.len();
        let group: Vec<Commit> = jobs.into_iter().filter_map(Job::commit).collect();
        let seal = group.len() < waiting;
        if !group.is_empty() {
            self.commit(group);
        }
        if seal && let Err(error) = self.log.seal() {
            tracing::warn!(%error, "the metadata log was not sealed");
        }
    }

    /// Commits a group and answers all of it.
    fn commit(&mut self, group: Vec<Commit>) {
        self.group_batches.record(group.len() as f64);
        let ready = self.state.require_index().and_then(|()| self.make_room());
        if let Err(error) = ready {
            return group.into_iter().for_each(|commit| commit.answer(Err(repeat(&error))));
        }
        let (accepted, refused) = self.check(group);
        let outcome = self.append(&accepted);
        if outcome.is_ok() {
            self.apply(&accepted);
        }
        for accepted in accepted {
            accepted.commit.answer(match &outcome {
                Ok(()) => Ok(()),
                Err(error) => Err(repeat(error)),
            });
        }
        for (commit, error) in refused {
            // What it conflicted with may be what was not committed: it was not committed either, and may be tried again.
            let error = if outcome.is_ok() { error } else { Error::unavailable("metadata: the group failed") };
            commit.answer(Err(error));
        }
        self.log_bytes.set(self.log.used_bytes() as f64);
        self.remove_segments();
    }

    /// Freezes a full table; waits for the mover only where the table has grown to twice its bound.
    fn make_room(&self) -> Result<()> {
        let (entries_max, bytes_max) = (self.settings.table_entries_max, self.settings.table_bytes_max);
        let tables = self.state.tables();
        if !tables.active.is_full(entries_max, bytes_max) {
            return Ok(());
        }
        let wait = tables.active.is_full(entries_max * 2, bytes_max * 2);
        drop(tables);
        self.mover.move_active(wait)
    }

    fn check(&self, group: Vec<Commit>) -> (Vec<Accepted>, Vec<(Commit, Error)>) {
        let (mut accepted, mut refused) = (Vec::with_capacity(group.len()), Vec::new());
        let tables = self.state.tables();
        let mut overlay = Overlay::new();
        let mut revision = self.mark.revision;
        for commit in group {
            if let Err(error) = self.check_batch(&commit.batch, &tables, &overlay) {
                refused.push((commit, error));
                continue;
            }
            if changes(&commit.batch) {
                revision += 1;
                overlay.extend(commit.batch.puts.iter().map(|(key, _)| (key.clone(), Some(revision))));
                overlay.extend(commit.batch.deletes.iter().map(|key| (key.clone(), None)));
            }
            accepted.push(Accepted { commit, revision });
        }
        (accepted, refused)
    }

    fn check_batch(&self, batch: &Batch, tables: &Tables, overlay: &Overlay) -> Result<()> {
        for (key, expect) in &batch.checks {
            let current = match overlay.get(key) {
                Some(current) => *current,
                None => self.state.revision(tables, key)?,
            };
            if !expect.holds(current) {
                return Err(conflict(key, *expect, current));
            }
        }
        Ok(())
    }

    /// Makes the accepted batches durable.
    fn append(&mut self, accepted: &[Accepted]) -> Result<()> {
        let changing = accepted.iter().filter(|accepted| changes(&accepted.commit.batch));
        let batches: Vec<(u64, &Batch)> =
            changing.map(|accepted| (accepted.revision, &accepted.commit.batch)).collect();
        let Some((revision, _)) = batches.last().copied() else { return Ok(()) };
        let sequence = self.mark.sequence + 1;
        let piece = self.next_piece()?;
        let snapshot =
            piece.iter().map(|piece| Record::new(Kind::SNAPSHOT, record_id(sequence), piece.payload.clone()));
        let group = Record::new(Kind::COMMIT, record_id(sequence), encode_group(sequence, &batches));
        let records: Vec<Record> = snapshot.chain([group]).collect();
        let outcome = self.log.append(&records, Purpose::Data);
        if outcome.is_err() {
            self.put_off_snapshot();
        }
        let locations = outcome?;
        self.mark = Mark { position: self.log.end(), sequence, revision };
        if let Some(piece) = piece {
            self.note_piece(piece, &locations);
        }
        Ok(())
    }

    /// Shows the accepted batches to readers.
    fn apply(&self, accepted: &[Accepted]) {
        let mut tables = self.state.tables_mut();
        for Accepted { commit, revision } in accepted {
            for key in &commit.batch.deletes {
                tables.active.set(key.clone(), None);
            }
            for (key, value) in &commit.batch.puts {
                let entry = Entry { value: value.clone(), revision: *revision };
                tables.active.set(key.clone(), Some(entry));
            }
        }
        tables.mark = self.mark;
    }

    /// The piece of the snapshot that goes with the next group, if there is one to be made.
    fn next_piece(&mut self) -> Result<Option<Piece>> {
        if self.snapshot.is_none() && self.log.used_bytes() >= self.snapshot_at_bytes {
            self.snapshot = Some(Snapshot::begin(self.mark.sequence + 1));
        }
        let bytes = self.settings.piece_bytes();
        self.snapshot.as_ref().map(|snapshot| snapshot.next_piece(&self.state, bytes)).transpose()
    }

    fn note_piece(&mut self, piece: Piece, locations: &[Location]) {
        let Some(snapshot) = &mut self.snapshot else { return };
        if let Some(Finished { begin, bytes }) = snapshot.appended(piece, locations[0].position.segment) {
            tracing::info!(begin, bytes, sequence = self.mark.sequence, "metadata snapshot is whole");
            self.snapshot = None;
            self.removable_before = begin;
            self.mover.set_snapshot_bytes(bytes);
            self.snapshot_at_bytes = self.settings.snapshot_at_bytes(bytes);
        }
    }

    /// A snapshot must not be what a group fails for: it begins anew when the log has grown by a segment.
    fn put_off_snapshot(&mut self) {
        if self.snapshot.take().is_some() {
            self.snapshot_at_bytes = self.log.used_bytes() + self.settings.segment_bytes;
        }
    }

    /// Removes what the last snapshot made superfluous, once no restart would begin there.
    fn remove_segments(&mut self) {
        if self.removable_before == 0 {
            return;
        }
        if self.state.replay_segment() < self.removable_before {
            // The checkpoint follows the next table; have that moved now.
            if let Err(error) = self.mover.move_active(false) {
                tracing::warn!(%error, "old metadata segments stay");
            }
            return;
        }
        let old = self.log.segments().into_iter().filter(|segment| segment.number < self.removable_before);
        for segment in old.collect::<Vec<_>>() {
            if let Err(error) = self.log.remove_segment(segment.number) {
                tracing::warn!(%error, segment = segment.number, "an old metadata segment stays until the next snapshot");
                break;
            }
        }
        self.removable_before = 0;
    }
}

impl Job {
    fn commit(self) -> Option<Commit> {
        match self {
            Job::Commit(commit) => Some(commit),
            Job::Seal => None,
        }
    }
}

impl Commit {
    /// A caller that has gone away needs no answer.
    fn answer(self, outcome: Result<()>) {
        drop(self.answer.send(outcome));
    }
}

fn changes(batch: &Batch) -> bool {
    !batch.puts.is_empty() || !batch.deletes.is_empty()
}

/// The same error for another batch of the group; the first cause was logged where it happened.
fn repeat(error: &Error) -> Error {
    let kind = match error.kind {
        // `Invalid` can only be a record longer than a segment: nothing was committed, and a retry in another group may fit.
        ErrorKind::Invalid => ErrorKind::Unavailable,
        kind => kind,
    };
    Error::new(kind, error.message.clone())
}

fn record_id(sequence: u64) -> [u8; 17] {
    let mut id = [0; 17];
    id[..8].copy_from_slice(&sequence.to_be_bytes());
    id
}
