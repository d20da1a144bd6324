//! Reads records: one by its location, or all from a position on.
//!
//! What it keeps true: bytes leave here only after header (id, stamp, position, length) and payload matched their CRCs (law 6).

use crate::buffers;
use crate::catalog::Catalog;
use crate::disk::{BLOCK_BYTES, Disk, DiskFile, Source};
use crate::mutation::Mutation;
use crate::names;
use crate::record::{HEADER_BYTES, Header, Kind, Location, PAYLOAD_BYTES_MAX, Position};
use crate::recovery::newer;
use crate::scan::{Depth, Scanner, Step};
use bytes::Bytes;
use protocol::{Error, ErrorKind, Result};
use std::sync::Arc;

/// From this length on a record is read past the page cache.
const DEVICE_BYTES_MIN: u64 = 128 << 10;

/// Reads the records of a log while its owner appends. Cheap to clone.
pub struct SegmentReader<D: Disk> {
    catalog: Arc<Catalog<D>>,
}

impl<D: Disk> Clone for SegmentReader<D> {
    fn clone(&self) -> SegmentReader<D> {
        SegmentReader { catalog: Arc::clone(&self.catalog) }
    }
}

impl<D: Disk> std::fmt::Debug for SegmentReader<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentReader").field("log", &self.catalog.config.name).finish_non_exhaustive()
    }
}

/// One find of [`SegmentReader::scan`], in log order.
#[derive(Debug)]
pub enum Scanned<'a> {
    /// A record, with its payload, which matched.
    Record {
        /// What it is.
        kind: Kind,
        /// Its owner's id.
        id: [u8; 17],
        /// Where it is.
        location: Location,
        /// Its payload.
        data: &'a [u8],
    },
    /// A record whose header is whole but whose payload does not match or cannot be read.
    BadPayload {
        /// What it was.
        kind: Kind,
        /// Its owner's id.
        id: [u8; 17],
        /// Where it is.
        location: Location,
    },
    /// A stretch in which no record was found.
    Damage {
        /// Where it begins.
        from: Position,
        /// Its length in bytes.
        bytes: u64,
        /// Whether nothing comes after it in its segment: what a crash leaves of an append that was not acknowledged.
        tail: bool,
    },
}

/// How a scan ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanEnd {
    /// Records found whole.
    pub records: u64,
    /// Bytes looked at.
    pub bytes: u64,
    /// Records with bad payloads, and damaged stretches.
    pub damaged: u64,
    /// Where to go on; `None` at the end of the log.
    pub next: Option<Position>,
}

impl<D: Disk> SegmentReader<D> {
    pub(crate) fn new(catalog: Arc<Catalog<D>>) -> SegmentReader<D> {
        SegmentReader { catalog }
    }

    /// The payload of the record `id` at `location`, checked. `Corrupt` if something else stands there or it cannot be read,
    /// `NotFound` if its segment is gone, `Unavailable` if the file cannot be opened now.
    pub fn read(&self, location: Location, id: &[u8; 17]) -> Result<Bytes> {
        let file = self.catalog.file(location.position.segment)?;
        if location.length > PAYLOAD_BYTES_MAX {
            return Err(self.corrupt(location, "no record is that long"));
        }
        if wanted_bytes(location) < DEVICE_BYTES_MIN
            && let Ok(data) = self.read_small(&file, location, id)
        {
            return Ok(data);
        }
        // Also where the cache gave wrong bytes: the device decides.
        self.read_from_device(&file, location, id).inspect_err(|_| {
            metrics::counter!(names::CORRUPT, "log" => self.catalog.config.name).increment(1);
        })
    }

    /// The same if the bytes are in the page cache; `None` if reading them would wait for the disk. Call it where waiting is
    /// not allowed, [`SegmentReader::read`] where it is.
    pub fn read_cached(&self, location: Location, id: &[u8; 17]) -> Option<Result<Bytes>> {
        if wanted_bytes(location) >= DEVICE_BYTES_MIN {
            return None;
        }
        let file = match self.catalog.file(location.position.segment) {
            Ok(file) => file,
            Err(error) => return Some(Err(error)),
        };
        let mut memory = buffers::take(wanted_bytes(location) as usize);
        let read = file.read_cached_at(memory.room(), u64::from(location.position.offset)).ok()??;
        memory.advance(read);
        self.check(memory.filled(), location, id).ok()?;
        Some(Ok(memory.freeze().slice(HEADER_BYTES as usize..)))
    }

    fn read_small(&self, file: &D::File, location: Location, id: &[u8; 17]) -> Result<Bytes> {
        let mut memory = buffers::take(wanted_bytes(location) as usize);
        let read = file
            .read_at(memory.room(), u64::from(location.position.offset), Source::Cache)
            .map_err(|error| self.unreadable(location, error))?;
        memory.advance(read);
        self.check(memory.filled(), location, id)?;
        Ok(memory.freeze().slice(HEADER_BYTES as usize..))
    }

    fn read_from_device(&self, file: &D::File, location: Location, id: &[u8; 17]) -> Result<Bytes> {
        let wanted = wanted_bytes(location);
        let from = u64::from(location.position.offset);
        let start = from - from % BLOCK_BYTES;
        let length = ((from + wanted).next_multiple_of(BLOCK_BYTES) - start) as usize;
        let mut memory = buffers::take(length);
        let read =
            file.read_at(memory.room(), start, Source::Device).map_err(|error| self.unreadable(location, error))?;
        memory.advance(read);
        let begin = (from - start) as usize;
        let end = (begin + wanted as usize).min(read);
        self.check(&memory.filled()[begin.min(end)..end], location, id)?;
        Ok(memory.freeze().slice(begin + HEADER_BYTES as usize..end))
    }

    fn check(&self, bytes: &[u8], location: Location, id: &[u8; 17]) -> Result<()> {
        if bytes.len() as u64 != wanted_bytes(location) {
            return Err(self.corrupt(location, "the file ends before it"));
        }
        let (header, payload) = bytes.split_at(HEADER_BYTES as usize);
        match Header::decode(header, &self.catalog.seal, location.position) {
            Ok(header) if header.id == *id && header.location() == location => {}
            Ok(_) => return Err(self.corrupt(location, "another record stands there")),
            Err(_) => return Err(self.corrupt(location, "its header does not match its checksum")),
        }
        if crc32fast::hash(payload) != location.crc && !self.catalog.config.planted(Mutation::PayloadCrcIgnored) {
            return Err(self.corrupt(location, "its payload does not match its checksum"));
        }
        Ok(())
    }

    fn corrupt(&self, location: Location, what: &str) -> Error {
        let Position { segment, offset } = location.position;
        Error::corrupt(format!("{}: record at segment {segment} offset {offset}: {what}", self.catalog.config.name))
    }

    fn unreadable(&self, location: Location, error: std::io::Error) -> Error {
        let Position { segment, offset } = location.position;
        let message = format!("{}: read segment {segment} offset {offset}: {error}", self.catalog.config.name);
        Error::caused(ErrorKind::Corrupt, message, error)
    }

    /// Reads and checks what is durable from `from` on, at least one find and about `limit_bytes`, and shows it to `visit`.
    /// Reads from the device where that is possible, so that it sees what the page cache hides.
    pub fn scan(&self, from: Position, limit_bytes: u64, visit: &mut dyn FnMut(Scanned<'_>)) -> Result<ScanEnd> {
        let mut end = ScanEnd::default();
        let mut from = from;
        'segments: while let Some(segment) = self.catalog.next(from.segment) {
            if segment.number != from.segment {
                from = Position { segment: segment.number, offset: 0 };
            }
            let file = match self.catalog.file(segment.number) {
                // Removed between the two calls.
                Err(error) if error.kind == ErrorKind::NotFound && self.catalog.info(segment.number).is_none() => {
                    from = Position { segment: segment.number + 1, offset: 0 };
                    continue;
                }
                file => file?,
            };
            let start = u64::from(from.offset);
            let mut scanner =
                Scanner::new(&*file, &self.catalog.seal, segment.number, start, segment.bytes, Depth::Payloads);
            loop {
                if end.bytes >= limit_bytes && end.bytes > 0 {
                    end.next = Some(Position { segment: segment.number, offset: scanner.at() as u32 });
                    break 'segments;
                }
                let before = scanner.at();
                let step = scanner.step();
                if let Step::Unknown { version } = step {
                    return Err(newer(&self.catalog.config, segment.number, u32::from(version)));
                }
                if !show(step, segment.number, &mut end, visit) {
                    break;
                }
                end.bytes += scanner.at().saturating_sub(before);
            }
            from = Position { segment: segment.number + 1, offset: 0 };
        }
        if end.damaged > 0 {
            metrics::counter!(names::CORRUPT, "log" => self.catalog.config.name).increment(end.damaged);
        }
        Ok(end)
    }
}

/// Bytes from a record's header to the end of its payload.
fn wanted_bytes(location: Location) -> u64 {
    HEADER_BYTES + u64::from(location.length)
}

/// Shows one step; `false` at the end of the segment.
fn show(step: Step<'_>, number: u32, end: &mut ScanEnd, visit: &mut dyn FnMut(Scanned<'_>)) -> bool {
    match step {
        Step::Record { header, payload, .. } => {
            end.records += 1;
            if !header.kind.is_internal() {
                let data = payload.expect("payloads are looked at");
                visit(Scanned::Record { kind: header.kind, id: header.id, location: header.location(), data });
            }
        }
        Step::BadPayload(header) => {
            end.damaged += 1;
            visit(Scanned::BadPayload { kind: header.kind, id: header.id, location: header.location() });
        }
        Step::Damage { from, to, tail } => {
            end.damaged += u64::from(!tail);
            let from = Position { segment: number, offset: from as u32 };
            visit(Scanned::Damage { from, bytes: to - u64::from(from.offset), tail });
        }
        Step::Unknown { .. } | Step::End => return false,
    }
    true
}
