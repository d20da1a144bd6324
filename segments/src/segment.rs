//! Segment files: their names, and the two records the log itself writes into them.
//!
//! ```text
//! 0000000007.seg                   segment 7
//! 0000000007.poisoned-0000000088   segment 7 after a failed write or fsync: only its first 88 bytes count (law 12)
//! reserve                          a segment's worth of zeros, kept for tombstones and compaction on a full disk
//!
//! segment header, payload          0 format u32 LE, 1 · 4 segment number u32 LE · 8 log id 16
//! footer, payload                  0 records u64 LE · 8 offset of this footer u64 LE · 16 CRC32 of the CRCs of their headers u32 LE · 20 zero 4
//! ```
//!
//! What it keeps true:
//! - That a segment is poisoned is part of its name: one rename, which needs no room on a full disk and is never half done.
//! - A footer is only ever written behind records that were all found whole, so behind a footer only headers need be read.

use crate::disk::{DiskFile, Source};
use crate::record::{HEADER_BYTES, Header, HeaderSeal, Kind, Position, stored_bytes};
use std::io;

const FORMAT: u32 = 1;
const PAYLOAD_BYTES: usize = 24;
const RECORD_BYTES: usize = HEADER_BYTES as usize + PAYLOAD_BYTES;

/// Where the owner's first record begins: after the segment header.
pub(crate) const FIRST_OFFSET: u64 = RECORD_BYTES as u64;
/// Bytes of a footer.
pub(crate) const FOOTER_BYTES: u64 = RECORD_BYTES as u64;
/// The spare segment's name.
pub(crate) const RESERVE: &str = "reserve";

/// What a file name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentName {
    pub number: u32,
    /// The length that counts, where the segment is poisoned.
    pub poisoned_at: Option<u32>,
}

impl SegmentName {
    pub(crate) fn parse(name: &str) -> Option<SegmentName> {
        let (number, rest) = name.split_once('.')?;
        let poisoned_at = match rest {
            "seg" => None,
            _ => Some(parse_ten_digits(rest.strip_prefix("poisoned-")?)?),
        };
        Some(SegmentName { number: parse_ten_digits(number)?, poisoned_at })
    }

    pub(crate) fn text(self) -> String {
        match self.poisoned_at {
            None => format!("{:010}.seg", self.number),
            Some(length) => format!("{:010}.poisoned-{length:010}", self.number),
        }
    }
}

fn parse_ten_digits(text: &str) -> Option<u32> {
    let plain = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// What the footer says of the records before it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub records: u64,
    digest: crc32fast::Hasher,
}

impl Tally {
    /// Counts one record by its encoded header.
    pub(crate) fn add(&mut self, header: &[u8]) {
        self.records += 1;
        self.digest.update(&header[60..64]);
    }

    fn digest(&self) -> u32 {
        self.digest.clone().finalize()
    }
}

/// The first record of segment `number`, in full.
pub(crate) fn encode_segment_header(seal: &HeaderSeal, number: u32) -> [u8; RECORD_BYTES] {
    let mut payload = [0; PAYLOAD_BYTES];
    payload[0..4].copy_from_slice(&FORMAT.to_le_bytes());
    payload[4..8].copy_from_slice(&number.to_le_bytes());
    payload[8..24].copy_from_slice(seal.stamp.log.0.as_bytes());
    encode_internal(seal, Kind::SEGMENT_HEADER, Position { segment: number, offset: 0 }, &payload)
}

fn encode_footer(seal: &HeaderSeal, at: Position, tally: &Tally) -> [u8; RECORD_BYTES] {
    let mut payload = [0; PAYLOAD_BYTES];
    payload[0..8].copy_from_slice(&tally.records.to_le_bytes());
    payload[8..16].copy_from_slice(&u64::from(at.offset).to_le_bytes());
    payload[16..20].copy_from_slice(&tally.digest().to_le_bytes());
    encode_internal(seal, Kind::FOOTER, at, &payload)
}

fn encode_internal(seal: &HeaderSeal, kind: Kind, position: Position, payload: &[u8]) -> [u8; RECORD_BYTES] {
    let header = Header { kind, id: [0; 17], length: PAYLOAD_BYTES as u32, crc: crc32fast::hash(payload), position };
    let mut record = [0; RECORD_BYTES];
    record[..HEADER_BYTES as usize].copy_from_slice(&header.encode(seal));
    record[HEADER_BYTES as usize..].copy_from_slice(payload);
    record
}

/// Seals a segment whose records end at `end`: footer behind them, the rest of the file cut off, synced.
pub(crate) fn write_footer(
    file: &impl DiskFile,
    seal: &HeaderSeal,
    number: u32,
    end: u64,
    tally: &Tally,
) -> io::Result<()> {
    let offset = u32::try_from(end).expect("segments are shorter than 4 GiB");
    file.write_at(&encode_footer(seal, Position { segment: number, offset }, tally), end)?;
    file.truncate(end + FOOTER_BYTES)?;
    file.sync_data()
}

/// The tally and digest of an intact footer at the end of a file of `length` bytes.
pub(crate) fn read_footer(file: &impl DiskFile, seal: &HeaderSeal, number: u32, length: u64) -> Option<Footer> {
    let offset = length.checked_sub(FOOTER_BYTES)?;
    let mut record = [0; RECORD_BYTES];
    let read = file.read_at(&mut record, offset, Source::Cache).ok()?;
    if read != RECORD_BYTES {
        return None;
    }
    let (header, payload) = record.split_at(HEADER_BYTES as usize);
    let position = Position { segment: number, offset: u32::try_from(offset).ok()? };
    let header = Header::decode(header, seal, position).ok()?;
    let whole = header.kind == Kind::FOOTER
        && header.stored_bytes() == stored_bytes(PAYLOAD_BYTES as u32)
        && header.crc == crc32fast::hash(payload);
    let word = |at: usize| u64::from_le_bytes(payload[at..at + 8].try_into().expect("eight bytes"));
    (whole && word(8) == offset).then(|| Footer { records: word(0), digest: word(16) as u32 })
}

/// A footer as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    records: u64,
    digest: u32,
}

impl Footer {
    /// Whether exactly the records that were sealed have been seen.
    pub(crate) fn matches(&self, tally: &Tally) -> bool {
        self.records == tally.records && self.digest == tally.digest()
    }
}

/// `Some(format)` if this payload of a segment header is of a format this program does not know.
pub(crate) fn unknown_format(payload: &[u8]) -> Option<u32> {
    let format = u32::from_le_bytes(payload.get(0..4)?.try_into().expect("four bytes"));
    (format != FORMAT).then_some(format)
}
