//! The log: appends that are durable when they are acknowledged.
//!
//! An append, in order (a crash after any step leaves all that was acknowledged before, and any part of this append):
//! 1. The names of segments poisoned earlier are made durable, if that has failed so far.
//! 2. Room: every segment that the records need is made, preallocated, given its header, synced, and its name synced. If that
//!    fails nothing was written: `Full` or `Unavailable`.
//! 3. The records are written, in order.
//! 4. One fdatasync of each segment touched: nearly always one.
//! 5. Acknowledged. Segments that are full now get their footers.
//!
//! What it keeps true:
//! - What was acknowledged is durable, and found again by every later recovery until its segment is removed (law 1).
//! - After a failed write or sync, whatever the error, the segment is never written or synced again, and nothing of that append
//!   counts, also after a restart (law 12). Where not even that could be made durable the answer is `Unknown`, and nothing is
//!   appended until it is.
//! - A full disk refuses; it does not wedge. Ordinary data is refused while no spare segment can be kept, so that tombstones
//!   and compaction, which make room, always find some.

use crate::blocks::Blocks;
use crate::catalog::{Catalog, SegmentInfo};
use crate::config::LogConfig;
use crate::disk::Disk;
use crate::mutation::Mutation;
use crate::names;
use crate::reader::SegmentReader;
use crate::record::{Location, PAYLOAD_BYTES_MAX, Position, Record, Stamp, stored_bytes};
use crate::recovery::{Recovered, RecoveryReport, recover};
use crate::room::{Purpose, Room};
use crate::writer::SegmentWriter;
use metrics::{Counter, Histogram};
use protocol::{Error, ErrorKind, Result};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// An append-only log in one directory. One owner appends; [`SegmentReader`]s read beside it.
pub struct SegmentLog<D: Disk> {
    catalog: Arc<Catalog<D>>,
    room: Room<D>,
    /// Open segments: the first is written, the others are empty and come after it.
    writers: VecDeque<SegmentWriter<D::File>>,
    blocks: Blocks,
    /// Poisoned segments whose new names are not known to be durable.
    renames_owed: Vec<u32>,
    /// Whether names on disk may not be durable.
    names_owed: bool,
    failures_in_a_row: u64,
    meters: Meters,
}

struct Meters {
    append_seconds: Histogram,
    sync_seconds: Histogram,
    group_records: Histogram,
    appended_bytes: Counter,
}

impl<D: Disk> std::fmt::Debug for SegmentLog<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentLog")
            .field("log", &self.catalog.config.name)
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}

impl<D: Disk> SegmentLog<D> {
    /// Opens the log and shows `visit` every whole record at or after `from` (all, if `None`), in log order, duplicates
    /// included. What it shows is durable. `from` is an earlier [`SegmentLog::end`]: the owner vouches for what lies before.
    /// Metrics go to the recorder that is installed now.
    pub fn open(
        disk: D,
        stamp: Stamp,
        config: LogConfig,
        from: Option<Position>,
        visit: &mut dyn FnMut(Recovered),
    ) -> Result<(SegmentLog<D>, RecoveryReport)> {
        config.check()?;
        let catalog = Arc::new(Catalog::new(disk, stamp, config));
        let found = recover(&catalog, from, visit)?;
        let mut log = SegmentLog {
            room: Room::new(Arc::clone(&catalog), found.next_number, found.reserve),
            writers: VecDeque::new(),
            blocks: Blocks::new(catalog.config.segment_bytes),
            names_owed: true,
            renames_owed: found.poisoned,
            failures_in_a_row: 0,
            meters: Meters::new(catalog.config.name),
            catalog,
        };
        if let Some((file, number, end)) = found.resume
            && let Ok(writer) = SegmentWriter::resume(file, number, end)
        {
            log.writers.push_back(writer);
        }
        // A disk that takes no writes can still be read: appends will say so.
        if let Err(error) = log.settle().and_then(|()| log.room.make_reserve()) {
            tracing::warn!(log = log.catalog.config.name, %error, "the disk takes no writes");
        }
        Ok((log, found.report))
    }

    /// Appends records. `Ok` with their locations once all are durable. Otherwise nothing of them counts, now or after a
    /// restart, and the call may be repeated: `Full` (no room), `Unavailable` (the disk refused), `Invalid` (too long). `Unknown`:
    /// they may or may not be found after a restart.
    pub fn append(&mut self, records: &[Record], purpose: Purpose) -> Result<Vec<Location>> {
        let started = Instant::now();
        let outcome = self.try_append(records, purpose);
        match &outcome {
            Ok(locations) => {
                self.failures_in_a_row = 0;
                self.meters.append_seconds.record(started.elapsed().as_secs_f64());
                self.meters.group_records.record(locations.len() as f64);
                self.meters.appended_bytes.increment(locations.iter().map(|location| u64::from(location.length)).sum());
            }
            Err(error) => {
                let disk_failed = matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Unknown);
                self.failures_in_a_row += u64::from(disk_failed);
                let kind = error.kind.as_str();
                metrics::counter!(names::APPEND_ERRORS, "log" => self.catalog.config.name, "kind" => kind).increment(1);
            }
        }
        outcome
    }

    /// Makes the room that these records need, so that an append of them right after this can only fail for the disk's reasons. The
    /// errors are those of [`SegmentLog::append`], but never `Unknown`: nothing was written.
    pub fn make_room(&mut self, records: &[Record], purpose: Purpose) -> Result<()> {
        self.prepare(records, purpose).map(drop)
    }

    /// Makes the spare segment if it is missing and there is room for it; whether it is there.
    pub fn keep_reserve(&mut self) -> Result<bool> {
        self.room.make_reserve()
    }

    /// Steps 1 and 2: which records go to which open segment.
    fn prepare(&mut self, records: &[Record], purpose: Purpose) -> Result<Vec<Range<usize>>> {
        self.check(records)?;
        self.settle()?;
        if purpose == Purpose::Data {
            self.room.require_reserve()?;
        }
        let runs = self.plan(records);
        while self.writers.len() < runs.len() {
            let writer = self.room.begin_segment(purpose)?;
            self.writers.push_back(writer);
        }
        Ok(runs)
    }

    fn try_append(&mut self, records: &[Record], purpose: Purpose) -> Result<Vec<Location>> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let runs = self.prepare(records, purpose)?;
        if self.catalog.config.planted(Mutation::AckBeforeSync) {
            self.writers
                .iter()
                .try_for_each(SegmentWriter::sync)
                .map_err(|error| self.catalog.unavailable("late sync", error))?;
        }
        let touched = runs.len();
        match self.write(records, &runs) {
            Ok(locations) => {
                for writer in self.writers.iter().take(touched) {
                    self.catalog.set_end(writer.number, writer.end());
                }
                (1..touched).for_each(|_| self.seal_first());
                Ok(locations)
            }
            Err(error) => Err(self.poison(&runs, error)),
        }
    }

    fn check(&self, records: &[Record]) -> Result<()> {
        assert!(records.iter().all(|record| !record.kind.is_internal()), "kinds below 16 belong to the log");
        let room = self.catalog.config.segment_room();
        for record in records {
            let length = u32::try_from(record.length()).ok().filter(|length| *length <= PAYLOAD_BYTES_MAX);
            if length.is_none_or(|length| stored_bytes(length) > room) {
                let message =
                    format!("{}: a record of {} bytes is too long", self.catalog.config.name, record.length());
                return Err(Error::invalid(message));
            }
        }
        Ok(())
    }

    /// Which records go to which open segment: the first takes what fits, the rest goes to fresh ones.
    fn plan(&self, records: &[Record]) -> Vec<Range<usize>> {
        let fresh = self.catalog.config.segment_room();
        let room_in = |index: usize| match self.writers.get(index) {
            Some(writer) => self.catalog.config.records_end_max().saturating_sub(writer.end()),
            None => fresh,
        };
        let (mut runs, mut start, mut room) = (Vec::new(), 0, room_in(0));
        for (index, record) in records.iter().enumerate() {
            let needed = stored_bytes(record.length() as u32);
            while needed > room {
                runs.push(start..index);
                start = index;
                room = room_in(runs.len());
            }
            room -= needed;
        }
        runs.push(start..records.len());
        runs
    }

    fn write(&mut self, records: &[Record], runs: &[Range<usize>]) -> io::Result<Vec<Location>> {
        let mut locations = Vec::with_capacity(records.len());
        for (writer, run) in self.writers.iter_mut().zip(runs).filter(|(_, run)| !run.is_empty()) {
            writer.write(&records[run.clone()], &self.catalog.seal, &mut self.blocks, &mut locations)?;
        }
        for (writer, run) in self.writers.iter().zip(runs) {
            if !run.is_empty() {
                self.sync(writer)?;
            }
        }
        Ok(locations)
    }

    fn sync(&self, writer: &SegmentWriter<D::File>) -> io::Result<()> {
        if self.catalog.config.planted(Mutation::NoFsync) || self.catalog.config.planted(Mutation::AckBeforeSync) {
            return Ok(());
        }
        let started = Instant::now();
        let mut outcome = writer.sync();
        if self.catalog.config.planted(Mutation::RetryFsync) && outcome.is_err() {
            outcome = writer.sync();
        }
        self.meters.sync_seconds.record(started.elapsed().as_secs_f64());
        outcome
    }

    /// Gives up every segment that a failed append touched, at the length acknowledged before it.
    fn poison(&mut self, runs: &[Range<usize>], error: io::Error) -> Error {
        for run in runs {
            let Some(writer) = self.writers.pop_front() else { break };
            if run.is_empty() {
                // Not touched, only full: it ends as any full segment does.
                self.seal_writer(&writer);
            } else {
                self.poison_segment(writer.number, &error);
            }
        }
        match self.settle() {
            Ok(()) => self.catalog.unavailable("append", error),
            Err(_) => {
                let message = format!("{}: append: {error}; it may or may not count", self.catalog.config.name);
                Error::caused(ErrorKind::Unknown, message, error)
            }
        }
    }

    fn poison_segment(&mut self, number: u32, error: &io::Error) {
        tracing::error!(log = self.catalog.config.name, segment = number, %error, "write or fsync failed: segment given up");
        metrics::counter!(names::POISONED, "log" => self.catalog.config.name).increment(1);
        self.catalog.set_poisoned(number);
        self.renames_owed.push(number);
    }

    /// Makes it durable which segments are poisoned, and what recovery found and removed.
    fn settle(&mut self) -> Result<()> {
        if self.renames_owed.is_empty() && !self.names_owed {
            return Ok(());
        }
        let rename = || -> io::Result<()> {
            if self.catalog.config.planted(Mutation::PoisonNotMarked) {
                return Ok(());
            }
            self.renames_owed.iter().try_for_each(|number| self.catalog.rename_poisoned(*number))?;
            self.catalog.sync_names()
        };
        rename().map_err(|error| self.catalog.unavailable("make names durable", error))?;
        self.renames_owed.clear();
        self.names_owed = false;
        Ok(())
    }

    /// Seals the segment that is written, if there is one, so that the next start reads headers only. Called before a clean stop.
    pub fn seal(&mut self) -> Result<()> {
        self.settle()?;
        while !self.writers.is_empty() {
            self.seal_first();
        }
        self.settle()
    }

    fn seal_first(&mut self) {
        if let Some(writer) = self.writers.pop_front() {
            self.seal_writer(&writer);
        }
    }

    /// All records of this segment are durable already: a failure costs the footer, not them.
    fn seal_writer(&mut self, writer: &SegmentWriter<D::File>) {
        match writer.seal(&self.catalog.seal) {
            Ok(length) => {
                self.catalog.set_sealed(writer.number, length);
                metrics::counter!(names::SEALED, "log" => self.catalog.config.name).increment(1);
            }
            Err(error) => self.poison_segment(writer.number, &error),
        }
    }

    /// Removes a sealed segment; durable when it answers `Ok`. One that is gone already is `Ok`; the last one and one that is being
    /// written are `Invalid`. Readers that have it open may finish.
    pub fn remove_segment(&mut self, number: u32) -> Result<()> {
        if let Some(info) = self.catalog.info(number) {
            if !info.sealed || self.catalog.last_number() == Some(number) {
                return Err(Error::invalid(format!("{}: segment {number} is in use", self.catalog.config.name)));
            }
            self.settle()?;
            let name = self.catalog.file_name(number).expect("it was there a moment ago");
            match self.catalog.disk.remove(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(self.catalog.unavailable("remove a segment", error));
                }
                _ => self.catalog.forget(number),
            }
            metrics::counter!(names::REMOVED, "log" => self.catalog.config.name).increment(1);
        }
        self.catalog.sync_names().map_err(|error| self.catalog.unavailable("sync the directory", error))
    }

    /// A reader of this log.
    pub fn reader(&self) -> SegmentReader<D> {
        SegmentReader::new(Arc::clone(&self.catalog))
    }

    /// Where the next record goes, at the earliest: everything before is durable. A checkpoint for the next open.
    pub fn end(&self) -> Position {
        let durable = self.writers.front().and_then(|writer| self.catalog.info(writer.number));
        match durable {
            Some(info) => Position { segment: info.number, offset: info.bytes as u32 },
            None => Position { segment: self.room.next_number(), offset: 0 },
        }
    }

    /// All segments, in order.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.catalog.infos()
    }

    /// Bytes of segments that count.
    pub fn used_bytes(&self) -> u64 {
        self.catalog.infos().iter().map(|info| info.bytes).sum()
    }

    /// Bytes of ordinary data that would still be accepted, about.
    pub fn free_bytes(&self) -> u64 {
        let room_in = |writer: &SegmentWriter<_>| self.catalog.config.records_end_max().saturating_sub(writer.end());
        let open: u64 = if self.has_reserve() { self.writers.iter().map(room_in).sum() } else { 0 };
        self.room.free_bytes() + open
    }

    /// Whether the spare segment is there.
    pub fn has_reserve(&self) -> bool {
        self.room.has_reserve()
    }

    /// Whether at least half a segment is certain to be had by what makes room: the spare segment, or what is left of the one that took its
    /// place.
    pub fn has_half_reserve(&self) -> bool {
        let room_in = |writer: &SegmentWriter<_>| self.catalog.config.records_end_max().saturating_sub(writer.end());
        self.has_reserve() || self.writers.iter().map(room_in).sum::<u64>() >= self.catalog.config.segment_room() / 2
    }

    /// Appends that the disk failed since the last one that worked. An owner goes read-only when this grows.
    pub fn failures_in_a_row(&self) -> u64 {
        self.failures_in_a_row
    }
}

impl Meters {
    fn new(log: &'static str) -> Meters {
        Meters {
            append_seconds: metrics::histogram!(names::APPEND_SECONDS, "log" => log),
            sync_seconds: metrics::histogram!(names::SYNC_SECONDS, "log" => log),
            group_records: metrics::histogram!(names::GROUP_RECORDS, "log" => log),
            appended_bytes: metrics::counter!(names::APPENDED_BYTES, "log" => log),
        }
    }
}
