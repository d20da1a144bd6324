//! Looks at a log from outside: reads every record of a directory, whoever has it open, and changes nothing.
//!
//! What it keeps true:
//! - Files are opened to read only and no lock is taken, so that a running node, a stopped one and a copy look the same.
//! - Every payload is compared with its CRC32, whatever a footer says (law 6); of a poisoned segment only what counts is read (law 12).
//! - A segment that goes while it is read makes the walk begin again, so that what compaction moved is not missed.

use crate::disk::{Access, Disk, DiskFile};
use crate::reader::Scanned;
use crate::real_disk::RealDisk;
use crate::record::{HeaderSeal, Position, Stamp};
use crate::scan::{Depth, Scanner, Step};
use crate::segment::{Footer, RESERVE, SegmentName, Tally, read_footer};
use protocol::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Walks begun at most: compaction would have to remove a segment during each of them.
const WALKS_MAX: usize = 5;

/// What a directory of segments holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Segment files.
    pub segments: u64,
    /// Those whose write or fsync failed once.
    pub segments_poisoned: u64,
    /// Those without a footer: being written, or left so by a crash.
    pub segments_open: u64,
    /// Records of the owner found whole.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Records whose header is whole and whose payload is not.
    pub corrupt: u64,
    /// Stretches that are no record, between records.
    pub damaged_stretches: u64,
    /// Footers that vouch for other records than were found.
    pub footers_wrong: u64,
    /// Ends of open segments that hold pieces of an append that was never acknowledged.
    pub torn_tails: u64,
    /// Files that are no part of a log.
    pub foreign_files: u64,
}

/// How one segment ended.
enum Walked {
    Whole,
    /// It was removed meanwhile.
    Gone,
}

/// Damage that is a torn tail if no record comes behind it.
#[derive(Default)]
struct Behind {
    corrupt: u64,
    stretches: u64,
}

/// Reads every record of the log in `directory` that `stamp` wrote, and shows it to `visit`; what was moved meanwhile may be shown
/// more than once. `NotFound` if there is no such directory, `Invalid` if a newer version of this program wrote there,
/// `Unavailable` if it cannot be read or never stays the same for long enough.
pub fn inspect(directory: &Path, stamp: Stamp, visit: &mut dyn FnMut(Scanned<'_>)) -> Result<Inspection> {
    let disk = RealDisk::unlocked(directory)?;
    let seal = HeaderSeal::new(stamp, false, false);
    for _ in 0..WALKS_MAX {
        if let Some(found) = walk(&disk, directory, &seal, visit)? {
            return Ok(found);
        }
    }
    Err(Error::unavailable(format!("{}: segments go faster than they are read", directory.display())))
}

/// One walk over all segments; `None` if one of them went meanwhile.
fn walk(
    disk: &RealDisk,
    directory: &Path,
    seal: &HeaderSeal,
    visit: &mut dyn FnMut(Scanned<'_>),
) -> Result<Option<Inspection>> {
    let mut found = Inspection::default();
    for name in names(disk, directory, &mut found)?.into_values() {
        match segment(disk, name, seal, &mut found, visit)? {
            Walked::Whole => found.segments += 1,
            Walked::Gone => return Ok(None),
        }
    }
    Ok(Some(found))
}

fn names(disk: &RealDisk, directory: &Path, found: &mut Inspection) -> Result<BTreeMap<u32, SegmentName>> {
    let names = disk.list().map_err(|error| unreadable(&directory.display().to_string(), error))?;
    let mut segments = BTreeMap::new();
    for name in names.iter().filter(|name| *name != RESERVE) {
        match SegmentName::parse(name) {
            Some(name) => drop(segments.insert(name.number, name)),
            None => found.foreign_files += 1,
        }
    }
    Ok(segments)
}

fn segment(
    disk: &RealDisk,
    name: SegmentName,
    seal: &HeaderSeal,
    found: &mut Inspection,
    visit: &mut dyn FnMut(Scanned<'_>),
) -> Result<Walked> {
    let text = name.text();
    let file = match disk.open(&text, Access::Read) {
        // Compaction removes; a failed fsync renames.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Walked::Gone),
        opened => opened.map_err(|error| unreadable(&text, error))?,
    };
    let length = file.length().map_err(|error| unreadable(&text, error))?;
    let end = name.poisoned_at.map_or(length, |counted| length.min(u64::from(counted)));
    let footer = if name.poisoned_at.is_none() { read_footer(&file, seal, name.number, length) } else { None };
    let mut scanner = Scanner::new(&file, seal, name.number, 0, end, Depth::Payloads);
    let (mut tally, mut behind) = (Tally::default(), Behind::default());
    loop {
        match scanner.step() {
            Step::Record { header, encoded, payload } => {
                found.corrupt += std::mem::take(&mut behind.corrupt);
                found.damaged_stretches += std::mem::take(&mut behind.stretches);
                if !header.kind.is_internal() {
                    tally.add(&encoded);
                    let data = payload.expect("payloads are looked at");
                    visit(Scanned::Record { kind: header.kind, id: header.id, location: header.location(), data });
                }
            }
            Step::BadPayload(header) => {
                behind.corrupt += 1;
                visit(Scanned::BadPayload { kind: header.kind, id: header.id, location: header.location() });
            }
            Step::Damage { from, to, tail } => {
                behind.stretches += 1;
                let position = Position { segment: name.number, offset: from as u32 };
                visit(Scanned::Damage { from: position, bytes: to - from, tail });
            }
            Step::Unknown { version } => {
                return Err(Error::invalid(format!("{text} has records of version {version}: use a newer program")));
            }
            Step::End => break,
        }
    }
    found.records += tally.records;
    found.bytes += end;
    conclude(name, footer, &tally, behind, found);
    Ok(Walked::Whole)
}

/// What the end of a segment says about what stands before it.
fn conclude(name: SegmentName, footer: Option<Footer>, tally: &Tally, behind: Behind, found: &mut Inspection) {
    let damage = behind.corrupt + behind.stretches;
    match (name.poisoned_at, footer) {
        (Some(_), _) => {
            found.segments_poisoned += 1;
            found.corrupt += behind.corrupt;
            found.damaged_stretches += behind.stretches;
        }
        (None, Some(footer)) => found.footers_wrong += u64::from(!footer.matches(tally)),
        (None, None) => {
            found.segments_open += 1;
            found.torn_tails += u64::from(damage > 0);
        }
    }
}

fn unreadable(what: &str, error: io::Error) -> Error {
    Error::caused(ErrorKind::Unavailable, format!("read {what}: {error}"), error)
}
