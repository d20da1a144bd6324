//! Finds out at start what a log holds.
//!
//! For each segment at or after the owner's checkpoint, in order:
//! 1. A footer that is whole: only headers are read, the owner's payloads on demand.
//! 2. Otherwise the file is synced first, because records written before a crash may lie in the page cache only, and then
//!    read from the device with every payload checked. What is found then is durable. If the sync fails the segment is poisoned
//!    behind the last record found.
//! 3. A poisoned segment is read up to the length in its name, and never synced or written.
//! 4. A segment without a footer in which nothing was damaged is sealed, so that next time headers suffice. Otherwise only the
//!    zeros at its end are cut off: a footer behind a damaged record would vouch for it.
//! 5. Segments that hold nothing are removed, except the last one: its number must not be used again.
//!
//! What it keeps true:
//! - Nothing acknowledged is passed over, and nothing counts that was not written by this log for the place where it stands.
//! - No segment is written behind what was found in it, a footer apart: appends go to a new one.

use crate::catalog::Catalog;
use crate::config::LogConfig;
use crate::disk::{Access, Disk, DiskFile};
use crate::mutation::Mutation;
use crate::record::{Header, Kind, Location, Position, RECORD_ALIGN};
use crate::scan::{Depth, Scanner, Step};
use crate::segment::unknown_format;
use crate::segment::{FIRST_OFFSET, FOOTER_BYTES, Footer, RESERVE, SegmentName, Tally, read_footer, write_footer};
use bytes::Bytes;
use protocol::{Error, Result};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

/// Damaged stretches listed one by one; more are counted only.
const DAMAGED_LISTED_MAX: usize = 100;

/// A record found by recovery.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// What it is.
    pub kind: Kind,
    /// Its owner's id.
    pub id: [u8; 17],
    /// Where it is.
    pub location: Location,
    /// Its payload, if its kind is among [`LogConfig::payload_kinds`].
    pub data: Option<Bytes>,
}

/// A stretch of a segment that holds no whole record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedStretch {
    /// Where it begins.
    pub from: Position,
    /// Its length in bytes.
    pub bytes: u64,
}

/// What recovery found.
#[derive(Clone, Debug, Default)]
pub struct RecoveryReport {
    /// Segments there are.
    pub segments: u64,
    /// Segments before the checkpoint, not looked at.
    pub segments_skipped: u64,
    /// Poisoned segments.
    pub segments_poisoned: u64,
    /// Empty segments removed.
    pub segments_removed: u64,
    /// Segments that had no footer: 0 or 1 after a clean stop.
    pub segments_unsealed: u64,
    /// Records shown to the owner.
    pub records: u64,
    /// Bytes of the segments looked at.
    pub bytes: u64,
    /// Ends of segments that held pieces of an append that was never acknowledged.
    pub torn_tails: u64,
    /// Damaged stretches and records with bad payloads, torn tails apart. Each may have held an acknowledged record.
    pub damaged: u64,
    /// The first of them.
    pub damaged_first: Vec<DamagedStretch>,
    /// Syncs, cuts and seals that failed; what was found counts all the same.
    pub write_failures: u64,
    /// Files that are no part of a log, left alone.
    pub foreign_files: u64,
}

/// What recovery leaves to the log.
pub(crate) struct Found<F> {
    pub report: RecoveryReport,
    pub next_number: u32,
    pub reserve: bool,
    /// Poisoned just now: their new names are owed.
    pub poisoned: Vec<u32>,
    /// A planted bug's file to go on in, and from which offset.
    pub resume: Option<(F, u32, u64)>,
}

struct Recovery<'a, D: Disk> {
    catalog: &'a Catalog<D>,
    config: &'a LogConfig,
    report: RecoveryReport,
    visit: &'a mut dyn FnMut(Recovered),
    poisoned: Vec<u32>,
    resume: Option<(D::File, u32, u64)>,
}

/// What a walk over one segment found.
#[derive(Default)]
struct Walk {
    tally: Tally,
    has_header: bool,
    /// Where the first damage begins.
    damaged_at: Option<u64>,
    /// One past the last whole record.
    records_end: u64,
    /// One past the last byte that is not zero.
    used_end: u64,
    /// Damage behind the last whole record.
    behind: Vec<DamagedStretch>,
}

pub(crate) fn recover<D: Disk>(
    catalog: &Catalog<D>,
    from: Option<Position>,
    visit: &mut dyn FnMut(Recovered),
) -> Result<Found<D::File>> {
    let from = from.unwrap_or_default();
    let config = &catalog.config;
    let report = RecoveryReport::default();
    let mut recovery = Recovery { catalog, config, report, visit, poisoned: Vec::new(), resume: None };
    let names = catalog.disk.list().map_err(|error| catalog.unavailable("list the directory", error))?;
    let reserve = recovery.find_reserve(&names)?;
    let segments = recovery.parse_names(&names);
    let next_number = segments.last_key_value().map_or(1, |(number, _)| number.saturating_add(1));
    let next_number = next_number.max(from.segment.saturating_add(u32::from(from.offset > 0)));
    let last = segments.last_key_value().map(|(number, _)| *number);
    for (number, name) in segments {
        if number < from.segment {
            recovery.skip(name)?;
        } else {
            let start = if number == from.segment { u64::from(from.offset) } else { 0 };
            recovery.segment(name, start, Some(number) == last)?;
        }
    }
    recovery.report.segments = catalog.infos().len() as u64;
    let Recovery { report, poisoned, resume, .. } = recovery;
    Ok(Found { report, next_number, reserve, poisoned, resume })
}

impl<D: Disk> Recovery<'_, D> {
    /// Whether a whole spare segment is there; one half made is removed.
    fn find_reserve(&mut self, names: &[String]) -> Result<bool> {
        if !names.iter().any(|name| name == RESERVE) {
            return Ok(false);
        }
        let length = self.catalog.disk.open(RESERVE, Access::Read).and_then(|file| file.length());
        if length.is_ok_and(|length| length == self.config.segment_bytes) {
            return Ok(true);
        }
        if self.catalog.disk.remove(RESERVE).is_err() {
            self.report.write_failures += 1;
        }
        Ok(false)
    }

    fn parse_names(&mut self, names: &[String]) -> BTreeMap<u32, SegmentName> {
        let mut segments: BTreeMap<u32, SegmentName> = BTreeMap::new();
        for name in names.iter().filter(|name| *name != RESERVE) {
            match SegmentName::parse(name) {
                // Both names at once cannot come from a rename; if they are there, the cautious one counts.
                Some(name) if segments.get(&name.number).is_none_or(|other| other.poisoned_at.is_none()) => {
                    segments.insert(name.number, name);
                }
                Some(_) => {}
                None => self.report.foreign_files += 1,
            }
        }
        segments
    }

    fn skip(&mut self, name: SegmentName) -> Result<()> {
        let length = self.open(name)?.length().map_err(|error| self.catalog.unavailable("stat a segment", error))?;
        let end = name.poisoned_at.map_or(length, |counted| length.min(u64::from(counted)));
        self.catalog.add(name, end, true);
        self.report.segments_skipped += 1;
        Ok(())
    }

    fn open(&self, name: SegmentName) -> Result<D::File> {
        let text = name.text();
        self.catalog
            .disk
            .open(&text, Access::Read)
            .map_err(|error| self.catalog.unavailable(&format!("open {text}"), error))
    }

    fn segment(&mut self, name: SegmentName, start: u64, last: bool) -> Result<()> {
        let number = name.number;
        let file = self.open(name)?;
        let length = file.length().map_err(|error| self.catalog.unavailable("stat a segment", error))?;
        self.report.bytes += length.saturating_sub(start);
        if let Some(counted) = name.poisoned_at {
            let end = length.min(u64::from(counted));
            let walk = self.walk(Walk::default(), &file, number, start..end, Depth::Payloads)?;
            self.note_damage(walk.behind);
            self.catalog.add(name, end, true);
            self.report.segments_poisoned += 1;
            return Ok(());
        }
        match read_footer(&file, &self.catalog.seal, number, length) {
            Some(footer) => self.sealed_segment(name, &file, start..length, footer, last),
            None => self.unsealed_segment(name, file, start..length, last),
        }
    }

    fn sealed_segment(
        &mut self,
        name: SegmentName,
        file: &D::File,
        range: Range<u64>,
        footer: Footer,
        last: bool,
    ) -> Result<()> {
        let (start, length) = (range.start, range.end);
        let kinds = &self.config.payload_kinds;
        let mut walk = self.walk(Walk::default(), file, name.number, range, Depth::Headers(kinds))?;
        self.note_damage(std::mem::take(&mut walk.behind));
        if start == 0 && !footer.matches(&walk.tally) && walk.damaged_at.is_none() {
            tracing::warn!(log = self.config.name, segment = name.number, "footer does not match the records found");
            self.report.damaged += 1;
        }
        let empty = start == 0 && walk.tally.records == 0 && walk.damaged_at.is_none();
        if !(empty && !last && self.remove_empty(name)) {
            self.catalog.add(name, length, true);
        }
        Ok(())
    }

    fn unsealed_segment(&mut self, name: SegmentName, file: D::File, range: Range<u64>, last: bool) -> Result<()> {
        let (number, start, length) = (name.number, range.start, range.end);
        self.report.segments_unsealed += 1;
        let synced = if self.config.planted(Mutation::RecoveryNotSynced) { Ok(()) } else { file.sync_data() };
        let before = self.tally_before(&file, number, start);
        let walk = self.walk(before, &file, number, range, Depth::Payloads)?;
        self.report.torn_tails += u64::from(!walk.behind.is_empty());
        if let Err(error) = synced {
            tracing::error!(log = self.config.name, segment = number, %error, "fsync failed: segment given up");
            self.report.write_failures += 1;
            self.catalog.add(name, walk.records_end, true);
            self.catalog.set_poisoned(number);
            self.poisoned.push(number);
            return Ok(());
        }
        let empty = walk.records_end <= FIRST_OFFSET && walk.damaged_at.is_none();
        if empty && !last && self.remove_empty(name) {
            return Ok(());
        }
        if let (Some(at), true) = (walk.damaged_at, self.config.planted(Mutation::AppendAfterTornTail)) {
            self.catalog.add(name, walk.used_end, true);
            self.resume = Some((file, number, at));
            return Ok(());
        }
        drop(file);
        let end = self.close_segment(name, length, &walk);
        debug_assert!(start > length || end >= walk.records_end, "nothing found is cut off");
        self.catalog.add(name, end, true);
        Ok(())
    }

    /// The footer's account of the records before the owner's checkpoint, which are not shown again.
    fn tally_before(&self, file: &D::File, number: u32, start: u64) -> Walk {
        let mut walk = Walk::default();
        let mut scanner = Scanner::new(file, &self.catalog.seal, number, 0, start, Depth::Headers(&[]));
        loop {
            match scanner.step() {
                Step::Record { header, .. } if header.kind == Kind::SEGMENT_HEADER => walk.has_header = true,
                Step::Record { header, encoded, .. } if !header.kind.is_internal() => walk.tally.add(&encoded),
                // What is newer than this program refuses the start where it is walked through.
                Step::End | Step::Unknown { .. } => return walk,
                Step::Record { .. } => {}
                _ => walk.damaged_at = walk.damaged_at.or(Some(0)),
            }
        }
    }

    /// Shows every record in `range` to the owner and notes every damage, `behind` the last record apart.
    fn walk(&mut self, before: Walk, file: &D::File, number: u32, range: Range<u64>, depth: Depth<'_>) -> Result<Walk> {
        let mut walk = Walk { records_end: range.start, used_end: range.start, ..before };
        let mut scanner = Scanner::new(file, &self.catalog.seal, number, range.start, range.end, depth)
            .with_mutation(self.config.mutation());
        loop {
            let (from, to) = match scanner.step() {
                Step::Record { header, encoded, payload } => {
                    (walk.records_end, walk.used_end) = (header.end(), header.end());
                    self.note_damage(std::mem::take(&mut walk.behind));
                    self.note_record(&mut walk, header, &encoded, payload)?;
                    continue;
                }
                Step::BadPayload(header) => (u64::from(header.position.offset), header.end()),
                Step::Damage { from, to, .. } => (from, to),
                Step::Unknown { version } => return Err(newer(self.config, number, u32::from(version))),
                Step::End => return Ok(walk),
            };
            walk.damaged_at = walk.damaged_at.or(Some(from));
            walk.used_end = to;
            let position = Position { segment: number, offset: from as u32 };
            walk.behind.push(DamagedStretch { from: position, bytes: to - from });
        }
    }

    fn note_record(&mut self, walk: &mut Walk, header: Header, encoded: &[u8], payload: Option<&[u8]>) -> Result<()> {
        if header.kind == Kind::SEGMENT_HEADER {
            walk.has_header = true;
            if let Some(format) = payload.and_then(unknown_format) {
                return Err(newer(self.config, header.position.segment, format));
            }
        }
        if !header.kind.is_internal() {
            walk.tally.add(encoded);
            self.report.records += 1;
            let asked = self.config.payload_kinds.contains(&header.kind);
            let data = payload.filter(|_| asked).map(Bytes::copy_from_slice);
            (self.visit)(Recovered { kind: header.kind, id: header.id, location: header.location(), data });
        }
        Ok(())
    }

    fn note_damage(&mut self, stretches: Vec<DamagedStretch>) {
        self.report.damaged += stretches.len() as u64;
        let room = DAMAGED_LISTED_MAX - self.report.damaged_first.len();
        self.report.damaged_first.extend(stretches.into_iter().take(room));
    }

    /// Seals a segment in which everything was whole, cuts the zeros off one in which something was not. Returns its length.
    fn close_segment(&mut self, name: SegmentName, length: u64, walk: &Walk) -> u64 {
        let believed = walk.damaged_at.is_none() || self.config.planted(Mutation::FooterBehindDamage);
        let whole = walk.has_header && believed;
        let used = walk.used_end.next_multiple_of(RECORD_ALIGN).min(length);
        let close = || -> io::Result<u64> {
            let file = self.catalog.disk.open(&name.text(), Access::Write)?;
            if whole {
                write_footer(&file, &self.catalog.seal, name.number, used, &walk.tally)?;
                return Ok(used + FOOTER_BYTES);
            }
            if used < length {
                file.truncate(used)?;
            }
            Ok(used)
        };
        match close() {
            Ok(end) => end,
            Err(error) => {
                tracing::warn!(log = self.config.name, segment = name.number, %error, "cannot seal a recovered segment");
                self.report.write_failures += 1;
                used
            }
        }
    }

    fn remove_empty(&mut self, name: SegmentName) -> bool {
        let removed = self.catalog.disk.remove(&name.text()).is_ok();
        self.report.segments_removed += u64::from(removed);
        self.report.write_failures += u64::from(!removed);
        removed
    }
}

pub(crate) fn newer(config: &LogConfig, number: u32, version: u32) -> Error {
    let message =
        format!("{}: segment {number} has format {version}, this program knows 1: use a newer one", config.name);
    Error::invalid(message)
}
