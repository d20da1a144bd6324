//! The one thread that commits. For each group of waiting batches, in order:
//! 1. Each batch is checked against the tables, the index, and what earlier batches of the group put; one that conflicts is
//!    refused alone.
//! 2. Room for it is made in the log; then it is sent to the storage nodes, where a journal is kept.
//! 3. Meanwhile the rest goes into the log as one record, with one fdatasync (and a piece of the snapshot, if one is under way).
//! 4. A quorum of nodes holds it, too.
//! 5. It is added to the tables, all of it under one lock.
//! 6. Every batch of the group is answered. Nothing is answered, or shown, before 3 and 4 were acknowledged.
//!
//! A crash before 3 leaves the group on any of the nodes, or on none: the next start finds it there and takes it over, or nobody ever
//! hears of it. A crash before 4 leaves it in the log: the next start sends it again before anything else. Nobody was answered.
//!
//! When the append fails, the log says what that means (faults I9): `Full` and `Unavailable` mean that the group does not count in it,
//! not after a restart either; `Unknown` means that a restart may find it. With a journal either is `Unknown`, because a node may hold
//! the group: the epoch is given up, and the next claim finds out. When the quorum fails, the group is in the log and will count: its
//! callers hear `Unknown`, and until it has its quorum it is not shown, and every other batch is `Unavailable`.

mod cutting;
mod epoch;

use super::SledSettings;
use super::journalling::{Journalling, Late};
use super::mover::Mover;
use super::snapshot::{Piece, Snapshot};
use super::source::LogSource;
use super::state::State;
use super::table::{Mark, Tables};
use crate::metadata::commit_log::{GroupHead, encode_group};
use crate::metadata::journal::claim::Claimed;
use crate::metadata::journal::{Journal, LogEnd};
use crate::metadata::{Batch, Entry, FullDisks, Reserve, conflict, names};
use bytes::Bytes;
use protocol::{Error, ErrorKind, JournalMark, Result};
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
    /// Keeps a journal from now on.
    Keep(Arc<Journal>),
    /// Tells how far the log is.
    Tell(oneshot::Sender<LogEnd>),
    /// Begins an epoch; says when that is done.
    Begin(Claimed, oneshot::Sender<()>),
    /// Looks whether a group has its quorum that no one waits for.
    Settle,
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
    source: Arc<LogSource>,
    journalling: Journalling,
    snapshot: Option<Snapshot>,
    /// Segments before this one are no longer needed once the checkpoint has passed it.
    removable_before: u32,
    /// No snapshot is begun below this length of the log, in bytes.
    snapshot_at_bytes: u64,
    group_batches: metrics::Histogram,
    waiting: metrics::Gauge,
    log_bytes: metrics::Gauge,
}

impl Writer {
    pub fn new(
        log: SegmentLog<RealDisk>,
        state: Arc<State>,
        mover: Arc<Mover>,
        settings: SledSettings,
        mark: Mark,
        source: Arc<LogSource>,
    ) -> Writer {
        let journalling = Journalling::new(settings.journalled);
        let snapshot_at_bytes = settings.snapshot_at_bytes(mover.snapshot_bytes());
        let (group_batches, log_bytes) = (metrics::histogram!(names::GROUP_BATCHES), metrics::gauge!(names::LOG_BYTES));
        Writer {
            log,
            state,
            mover,
            settings,
            mark,
            source,
            journalling,
            snapshot: None,
            removable_before: 0,
            snapshot_at_bytes,
            group_batches,
            waiting: metrics::gauge!(names::QUEUE_COMMITS),
            log_bytes,
        }
    }

    /// Takes everything that waits.
    pub fn take(&mut self, jobs: Vec<Job>) {
        let (mut group, mut orders) = (Vec::new(), Vec::new());
        for job in jobs {
            match job {
                Job::Commit(commit) => group.push(commit),
                order => orders.push(order),
            }
        }
        if !group.is_empty() {
            self.waiting.decrement(group.len() as f64);
            self.commit(group);
        }
        orders.into_iter().for_each(|order| self.obey(order));
    }

    fn obey(&mut self, order: Job) {
        match order {
            Job::Commit(commit) => self.commit(vec![commit]),
            Job::Seal => {
                if let Err(error) = self.log.seal() {
                    tracing::warn!(%error, "the metadata log was not sealed");
                }
            }
            Job::Keep(journal) => self.journalling.keep(journal),
            Job::Tell(answer) => drop(answer.send(self.log_end())),
            Job::Begin(claimed, done) => {
                self.begin(claimed);
                // Whoever asked may have gone.
                done.send(()).ok();
            }
            Job::Settle => self.settle(),
        }
    }

    /// Commits a group and answers all of it. On a full disk the batches that may use the reserve are tried once more, by themselves.
    fn commit(&mut self, group: Vec<Commit>) {
        self.group_batches.record(group.len() as f64);
        let mut rest = group;
        for reserve in Reserve::LEVELS {
            if !rest.is_empty() {
                rest = self.commit_from(reserve, rest);
            }
        }
        assert!(rest.is_empty(), "at the last level each batch is answered");
        self.log_bytes.set(self.log.used_bytes() as f64);
        self.remove_segments();
    }

    /// Answers all of the group but what may be tried again with more of the reserve.
    fn commit_from(&mut self, reserve: Reserve, group: Vec<Commit>) -> Vec<Commit> {
        self.settle();
        let purpose = if reserve == Reserve::None { Purpose::Data } else { Purpose::Reclaim };
        let ready = self.state.require_index().and_then(|()| self.make_room(reserve));
        let ready = ready.and_then(|()| self.require_reserve(reserve)).and_then(|()| self.journalling.check(reserve));
        if let Err(error) = ready {
            return refuse(reserve, group, &error);
        }
        let (accepted, refused) = self.check(group);
        match self.append(&accepted, purpose) {
            Ok(()) => {
                self.apply(&accepted.iter().map(Accepted::batch).collect::<Vec<_>>());
                accepted.into_iter().for_each(|accepted| accepted.commit.answer(Ok(())));
                refused.into_iter().for_each(|(commit, error)| commit.answer(Err(error)));
                Vec::new()
            }
            Err(error) => {
                let mut again = refuse(reserve, accepted.into_iter().map(|accepted| accepted.commit).collect(), &error);
                // What these conflicted with may be what was not committed, and in the log they are not in any case.
                let kind = if error.kind == ErrorKind::Full { error.kind } else { ErrorKind::Unavailable };
                let error = Error { kind, ..error };
                again.extend(refuse(reserve, refused.into_iter().map(|(commit, _)| commit).collect(), &error));
                again
            }
        }
    }

    /// Freezes a full table. Only where the table has grown to twice its bound does the writer wait for the mover, or, where the
    /// disk has no room for the index to grow, refuse; what may use half of the reserve may fill another one, what may use all of it two.
    fn make_room(&self, reserve: Reserve) -> Result<()> {
        let tables_max = match reserve {
            Reserve::None => 2,
            Reserve::Half => 3,
            Reserve::All => 4,
        };
        let (entries_max, bytes_max) = (self.settings.table_entries_max, self.settings.table_bytes_max);
        let tables = self.state.tables();
        if !tables.active.is_full(entries_max, bytes_max) {
            return Ok(());
        }
        let pressing = tables.active.is_full(entries_max * tables_max, bytes_max * tables_max);
        drop(tables);
        match (self.state.has_room(), pressing) {
            (true, pressing) => self.mover.move_active(pressing),
            (false, true) => Err(Error::full("metadata: the disk has no room for the index")),
            (false, false) => Ok(()),
        }
    }

    /// `Full` where the disk is, and what is left of the log's reserve is for what makes room.
    fn require_reserve(&self, reserve: Reserve) -> Result<()> {
        match reserve == Reserve::Half && !self.log.has_half_reserve() {
            true => Err(Error::full("metadata: the disk has no room but for what makes room, as a purge does")),
            false => Ok(()),
        }
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

    /// Makes the accepted batches durable, here and on the nodes.
    fn append(&mut self, accepted: &[Accepted], purpose: Purpose) -> Result<()> {
        let batches: Vec<(u64, &Batch)> =
            accepted.iter().map(Accepted::batch).filter(|(_, batch)| changes(batch)).collect();
        let Some((revision, _)) = batches.last().copied() else { return Ok(()) };
        let (head, piece, records) = self.prepare(&batches, purpose)?;
        self.journalling.send(head, piece.as_ref().map(|piece| &piece.payload), &records);
        match self.log.append(&records, purpose) {
            Ok(locations) => {
                self.note_appended(head, revision, &locations);
                if let Some(piece) = piece {
                    self.note_piece(piece, &locations);
                }
            }
            Err(error) => {
                self.put_off_snapshot();
                return Err(self.journalling.lost(head.mark, error));
            }
        }
        self.journalling.wait(head.mark.sequence, || Late::of(self.mark, &batches))
    }

    /// The records of a group, with a piece of the snapshot if there is one to be made and room for it; room is made for them.
    fn prepare(
        &mut self,
        batches: &[(u64, &Batch)],
        purpose: Purpose,
    ) -> Result<(GroupHead, Option<Piece>, Vec<Record>)> {
        // Not into the last bytes of the nodes' journals: those are for what makes room.
        if self.journalling.has_room()
            && let Some(piece) = self.next_piece()?
        {
            let head = self.next_head(piece.whole_from());
            let snapshot = Record::new(Kind::SNAPSHOT, record_id(head.mark.sequence), piece.payload.clone());
            let records = vec![snapshot, group_record(head, batches)];
            match self.log.make_room(&records, purpose) {
                Ok(()) => return Ok((head, Some(piece), records)),
                Err(error) if error.kind != ErrorKind::Full => return Err(error),
                Err(_) => self.put_off_snapshot(),
            }
        }
        let head = self.next_head(None);
        let records = vec![group_record(head, batches)];
        self.log.make_room(&records, purpose)?;
        Ok((head, None, records))
    }

    fn next_head(&self, whole_from: Option<u64>) -> GroupHead {
        let mark = JournalMark { epoch: self.journalling.epoch(), sequence: self.mark.sequence + 1 };
        let whole_from = whole_from.unwrap_or(self.mark.whole_from).max(1);
        GroupHead { mark, previous: self.mark.epoch, whole_from }
    }

    fn note_appended(&mut self, head: GroupHead, revision: u64, locations: &[Location]) {
        let GroupHead { mark: JournalMark { epoch, sequence }, whole_from, .. } = head;
        self.mark = Mark { position: self.log.end(), sequence, revision, epoch, whole_from };
        self.source.note(sequence, locations[0].position);
    }

    /// Shows batches to readers.
    fn apply(&mut self, batches: &[(u64, &Batch)]) {
        let mut tables = self.state.tables_mut();
        for (revision, batch) in batches {
            for key in &batch.deletes {
                tables.active.set(key.clone(), None);
            }
            for (key, value) in &batch.puts {
                let entry = Entry { value: value.clone(), revision: *revision };
                tables.active.set(key.clone(), Some(entry));
            }
        }
        tables.mark = self.mark;
        drop(tables);
        self.journalling.note_voters(&self.state, batches);
    }
}

impl Accepted {
    fn batch(&self) -> (u64, &Batch) {
        (self.revision, &self.commit.batch)
    }
}

impl Commit {
    /// A caller that has gone away needs no answer.
    fn answer(self, outcome: Result<()>) {
        drop(self.answer.send(outcome));
    }
}

/// Answers with the error, but gives back what may be tried again on a full disk.
fn refuse(reserve: Reserve, group: Vec<Commit>, error: &Error) -> Vec<Commit> {
    let full = error.kind == ErrorKind::Full;
    let may_have_more = |commit: &Commit| full && commit.batch.reserve > reserve;
    let (again, refused): (Vec<_>, Vec<_>) = group.into_iter().partition(may_have_more);
    refused.into_iter().for_each(|commit| commit.answer(Err(repeat(error))));
    again
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
    match FullDisks::of(error) {
        Some(disks) => disks.full(error.message.clone()),
        None => Error::new(kind, error.message.clone()),
    }
}

fn group_record(head: GroupHead, batches: &[(u64, &Batch)]) -> Record {
    Record::new(Kind::COMMIT, record_id(head.mark.sequence), encode_group(head, batches))
}

pub(super) fn record_id(sequence: u64) -> [u8; 17] {
    let mut id = [0; 17];
    id[..8].copy_from_slice(&sequence.to_be_bytes());
    id
}
