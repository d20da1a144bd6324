//! The record: the one thing a segment file is made of, and the one place that knows its bytes.
//!
//! ```text
//! offset size field
//!      0    4 magic "HFRC"
//!      4    1 version, 1
//!      5    1 kind
//!      6    2 flags, zero
//!      8    4 length of the payload, u32 LE
//!     12    4 CRC32 of the payload, u32 LE
//!     16   16 cluster id
//!     32   17 record id (a shard id: chunk 16, index 1)
//!     49    3 zero
//!     52    4 position: segment number, u32 LE
//!     56    4 position: offset of this header in its segment, u32 LE
//!     60    4 CRC32 of stamp (cluster id 16, log id 16) and bytes 0..60, u32 LE
//!     64    … payload, then zeros to the next multiple of 8
//! ```
//!
//! What it keeps true:
//! - A flipped bit or a cut anywhere in a record is noticed: the header CRC covers the payload CRC, which covers the payload.
//! - A record counts only where it was written: cluster, log and position are part of what the header CRC covers, so a
//!   segment file stored as user data, a misplaced or a duplicated record is never taken for a record.

use bytes::Bytes;
use protocol::{ClusterId, DiskId};

/// Length of a record's header, in bytes.
pub const HEADER_BYTES: u64 = 64;
/// Records begin at multiples of this.
pub(crate) const RECORD_ALIGN: u64 = 8;
/// The longest payload of one record, in bytes.
pub const PAYLOAD_BYTES_MAX: u32 = 32 << 20;

pub(crate) const MAGIC: [u8; 4] = *b"HFRC";
const VERSION: u8 = 1;
const HEADER_LENGTH: usize = HEADER_BYTES as usize;

/// What a record is. Kinds below 16 belong to the log itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(pub u8);

impl Kind {
    /// First record of every segment.
    pub const SEGMENT_HEADER: Kind = Kind(1);
    /// Last record of a sealed segment.
    pub const FOOTER: Kind = Kind(2);
    /// A shard's bytes.
    pub const SHARD: Kind = Kind(16);
    /// A shard's delete; no payload.
    pub const TOMBSTONE: Kind = Kind(17);
    /// An entry of a catalog journal kept for a coordinator.
    pub const JOURNAL: Kind = Kind(18);
    /// What such a journal notes for itself: whom it obeys, and where its entries begin to be whole.
    pub const JOURNAL_NOTE: Kind = Kind(19);
    /// A group of metadata batches.
    pub const COMMIT: Kind = Kind(32);
    /// A piece of a metadata snapshot.
    pub const SNAPSHOT: Kind = Kind(33);

    /// Whether the log writes this kind itself.
    pub(crate) fn is_internal(self) -> bool {
        self.0 < 16
    }
}

/// Whose records these are. Bound into every header's CRC, so that bytes of another cluster or log never count here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The cluster.
    pub cluster: ClusterId,
    /// The disk, or another id that only this log has.
    pub log: DiskId,
}

/// Where a record begins. Order is log order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Segment number.
    pub segment: u32,
    /// Offset of its header in the segment, in bytes.
    pub offset: u32,
}

/// All that is needed to read a record with one `pread` and check it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// Where its header is.
    pub position: Position,
    /// Length of its payload, in bytes.
    pub length: u32,
    /// CRC32 of its payload.
    pub crc: u32,
}

impl Location {
    /// Bytes it takes on disk: header, payload, padding.
    pub fn stored_bytes(&self) -> u64 {
        stored_bytes(self.length)
    }
}

/// A record to append.
#[derive(Clone, Debug)]
pub struct Record {
    /// What it is; 16 or above.
    pub kind: Kind,
    /// Its owner's id for it.
    pub id: [u8; 17],
    /// CRC32 (IEEE) of `data` from its first piece to its last. Trusted: whoever received the bytes has checked it.
    pub crc: u32,
    /// The payload, in pieces; copied once, into the write buffer.
    pub data: Vec<Bytes>,
}

impl Record {
    /// A record of one piece, with its CRC computed.
    pub fn new(kind: Kind, id: [u8; 17], data: Bytes) -> Record {
        let crc = crc32fast::hash(&data);
        Record { kind, id, crc, data: if data.is_empty() { Vec::new() } else { vec![data] } }
    }

    /// Length of the payload, in bytes.
    pub fn length(&self) -> u64 {
        self.data.iter().map(|piece| piece.len() as u64).sum()
    }
}

/// A decoded header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub kind: Kind,
    pub id: [u8; 17],
    pub length: u32,
    pub crc: u32,
    pub position: Position,
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAHeader {
    /// They are something else, or damaged.
    Other,
    /// They are a whole header of a version this program does not know.
    Version(u8),
}

impl Header {
    pub(crate) fn location(&self) -> Location {
        Location { position: self.position, length: self.length, crc: self.crc }
    }

    pub(crate) fn stored_bytes(&self) -> u64 {
        stored_bytes(self.length)
    }

    /// The offset one past the record and its padding.
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.position.offset) + self.stored_bytes()
    }

    pub(crate) fn encode(&self, seal: &HeaderSeal) -> [u8; HEADER_LENGTH] {
        let mut bytes = [0; HEADER_LENGTH];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        bytes[5] = self.kind.0;
        bytes[8..12].copy_from_slice(&self.length.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.crc.to_le_bytes());
        bytes[16..32].copy_from_slice(seal.stamp.cluster.0.as_bytes());
        bytes[32..49].copy_from_slice(&self.id);
        bytes[52..56].copy_from_slice(&self.position.segment.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.position.offset.to_le_bytes());
        let crc = seal.crc(&bytes);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header in these 64 bytes, if they are one written by this log for `position`.
    pub(crate) fn decode(bytes: &[u8], seal: &HeaderSeal, position: Position) -> Result<Header, NotAHeader> {
        assert_eq!(bytes.len(), HEADER_LENGTH, "callers cut the header out");
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if bytes[0..4] != MAGIC || (word(60) != seal.crc(bytes) && !seal.crc_ignored) {
            return Err(NotAHeader::Other);
        }
        if bytes[4] != VERSION {
            return Err(NotAHeader::Version(bytes[4]));
        }
        let written_for = Position { segment: word(52), offset: word(56) };
        if written_for != position && !seal.position_ignored {
            return Err(NotAHeader::Other);
        }
        let mut id = [0; 17];
        id.copy_from_slice(&bytes[32..49]);
        Ok(Header { kind: Kind(bytes[5]), id, length: word(8), crc: word(12), position })
    }
}

/// What binds headers to their log: the stamp, and the CRC state after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeaderSeal {
    pub stamp: Stamp,
    seed: u32,
    /// Planted bugs: the header CRC, or the position, is not looked at.
    crc_ignored: bool,
    position_ignored: bool,
}

impl HeaderSeal {
    pub(crate) fn new(stamp: Stamp, crc_ignored: bool, position_ignored: bool) -> HeaderSeal {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(stamp.cluster.0.as_bytes());
        hasher.update(stamp.log.0.as_bytes());
        HeaderSeal { stamp, seed: hasher.finalize(), crc_ignored, position_ignored }
    }

    fn crc(&self, header: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.seed);
        hasher.update(&header[..60]);
        hasher.finalize()
    }
}

/// Bytes that a record with this payload takes on disk.
pub(crate) fn stored_bytes(length: u32) -> u64 {
    HEADER_BYTES + u64::from(length).next_multiple_of(RECORD_ALIGN)
}
