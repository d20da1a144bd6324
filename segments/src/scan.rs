//! Walks the records of one segment from front to back. Recovery, scrub and compaction all look at files through it.
//!
//! What it keeps true:
//! - A bad record costs only itself: after it the walk goes on at the next place where a whole header of this log stands.
//! - What cannot be read costs only the blocks that cannot be read.
//! - Zeros behind the last record are no damage: that is what preallocated files are made of.

use crate::disk::{BLOCK_BYTES, DiskFile};
use crate::mutation::Mutation;
use crate::record::{HEADER_BYTES, Header, HeaderSeal, Kind, MAGIC, NotAHeader, Position, RECORD_ALIGN};
use crate::window::Window;

/// How closely records are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth<'a> {
    /// Headers; payloads only of these kinds, and of the segment header.
    Headers(&'a [Kind]),
    /// Headers and payloads.
    Payloads,
}

/// One find.
#[derive(Debug)]
pub(crate) enum Step<'w> {
    /// A whole record; its payload if that was looked at, and its encoded header.
    Record { header: Header, encoded: [u8; 64], payload: Option<&'w [u8]> },
    /// A whole header whose payload does not match it.
    BadPayload(Header),
    /// A stretch without a record. `tail`: nothing comes after it.
    Damage { from: u64, to: u64, tail: bool },
    /// A whole header written by a newer version of this program.
    Unknown { version: u8 },
    /// No more.
    End,
}

pub(crate) struct Scanner<'a, F> {
    window: Window<'a, F>,
    seal: &'a HeaderSeal,
    depth: Depth<'a>,
    /// A planted bug.
    mutation: Option<Mutation>,
    number: u32,
    at: u64,
    end: u64,
}

impl<'a, F: DiskFile> Scanner<'a, F> {
    /// A walk over `[from, end)` of segment `number`.
    pub(crate) fn new(
        file: &'a F,
        seal: &'a HeaderSeal,
        number: u32,
        from: u64,
        end: u64,
        depth: Depth<'a>,
    ) -> Scanner<'a, F> {
        let mut window = Window::new(file, end);
        if depth != Depth::Payloads {
            window.expect_stride(0);
        }
        Scanner { window, seal, depth, mutation: None, number, at: from, end }
    }

    pub(crate) fn with_mutation(mut self, mutation: Option<Mutation>) -> Scanner<'a, F> {
        self.mutation = mutation;
        self
    }

    /// Where the next step begins.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    pub(crate) fn step(&mut self) -> Step<'_> {
        if self.at >= self.end {
            return Step::End;
        }
        match self.header_at(self.at) {
            Ok((header, encoded)) => self.record(header, encoded),
            Err(NotAHeader::Version(version)) => Step::Unknown { version },
            Err(NotAHeader::Other) => self.resync(),
        }
    }

    fn record(&mut self, header: Header, encoded: [u8; 64]) -> Step<'_> {
        let from = self.at;
        self.at = header.end();
        let wanted = match self.depth {
            Depth::Headers(kinds) => header.kind == Kind::SEGMENT_HEADER || kinds.contains(&header.kind),
            Depth::Payloads => true,
        };
        if !wanted {
            self.window.expect_stride(header.stored_bytes());
            return Step::Record { header, encoded, payload: None };
        }
        // Header and payload together, so that the window never moves past what the next find needs.
        let need = HEADER_BYTES as usize + header.length as usize;
        let payload = self.window.bytes(from, need).ok().map(|bytes| &bytes[HEADER_BYTES as usize..need]);
        match payload {
            Some(payload)
                if self.mutation == Some(Mutation::PayloadCrcIgnored) || crc32fast::hash(payload) == header.crc =>
            {
                Step::Record { header, encoded, payload: Some(payload) }
            }
            _ if self.mutation == Some(Mutation::StopAtFirstBadRecord) => {
                self.at = self.end;
                Step::BadPayload(header)
            }
            _ => Step::BadPayload(header),
        }
    }

    /// The header at `at`, if a record of this log stands there and ends before the file does.
    fn header_at(&mut self, at: u64) -> Result<(Header, [u8; 64]), NotAHeader> {
        if at + HEADER_BYTES > self.end {
            return Err(NotAHeader::Other);
        }
        let bytes = self.window.bytes(at, HEADER_BYTES as usize).map_err(|_| NotAHeader::Other)?;
        let encoded: [u8; 64] = bytes[..HEADER_BYTES as usize].try_into().expect("64 bytes");
        let position = Position { segment: self.number, offset: at as u32 };
        let header = Header::decode(&encoded, self.seal, position)?;
        if header.end() > self.end { Err(NotAHeader::Other) } else { Ok((header, encoded)) }
    }

    /// Looks for the next header behind a place where none is.
    fn resync(&mut self) -> Step<'_> {
        let from = self.at;
        self.window.expect_all();
        let mut dirty_to = from;
        let mut at = from;
        while at < self.end {
            let (dirty, candidate, seen_to) = self.look(at);
            if let Some(dirty) = dirty {
                dirty_to = dirty.min(self.end);
            }
            at = seen_to;
            if let Some(found) = candidate {
                at = found + RECORD_ALIGN;
                if found != from && !matches!(self.header_at(found), Err(NotAHeader::Other)) {
                    self.at = found;
                    return self.damage(from, found, false);
                }
            }
        }
        self.at = self.end;
        if dirty_to == from { Step::End } else { self.damage(from, dirty_to, true) }
    }

    fn damage(&mut self, from: u64, to: u64, tail: bool) -> Step<'_> {
        if self.mutation == Some(Mutation::StopAtFirstBadRecord) {
            self.at = self.end;
        }
        Step::Damage { from, to, tail }
    }

    /// Looks at what the window holds from `at` on. Returns the end of the last bytes that are not zero, the first place that
    /// could be a header, and how far it looked.
    fn look(&mut self, at: u64) -> (Option<u64>, Option<u64>, u64) {
        let need = (self.end - at).min(RECORD_ALIGN) as usize;
        let Ok(bytes) = self.window.bytes(at, need) else {
            let next = (at / BLOCK_BYTES + 1) * BLOCK_BYTES;
            return (Some(next), None, next);
        };
        let mut dirty = None;
        let mut offset = 0;
        while offset < bytes.len() {
            let block = &bytes[offset..bytes.len().min(offset + BLOCK_BYTES as usize)];
            if block.iter().fold(0, |sum, byte| sum | byte) == 0 {
                offset += block.len();
                continue;
            }
            for word in block.chunks(RECORD_ALIGN as usize) {
                if word.iter().any(|byte| *byte != 0) {
                    dirty = Some(at + (offset + word.len()) as u64);
                }
                if word.starts_with(&MAGIC) {
                    return (dirty, Some(at + offset as u64), at + offset as u64 + RECORD_ALIGN);
                }
                offset += word.len();
            }
        }
        (dirty, None, at + bytes.len() as u64)
    }
}
