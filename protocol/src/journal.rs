//! The catalog journal: copies, on the storage nodes, of the log in which a coordinator's catalog is written. From them the catalog
//! is made again when the coordinator's machine is lost (law 11), and by them an old coordinator is fenced.
//!
//! ```text
//! entry, the same bytes in a request, in an answer and on a node's disk (numbers LE):
//! offset size field
//!      0    8 sequence of the group: 1, 2, 3 … over the life of the catalog
//!      8    8 epoch in which it was written
//!     16    8 epoch of the entry before it; 0 before the first
//!     24    8 whole from: the entries from this sequence to this one give the whole catalog
//!     32    4 length of the snapshot piece; 0 = none
//!     36    4 length of the group
//!     40    4 CRC32 of piece and group
//!     44    4 CRC32 of bytes 0..44
//!     48    … piece, group: payloads of the coordinator's log, which nodes never look into
//! ```
//!
//! What it keeps true:
//! - Within an epoch one holder writes, and writes each sequence once. So two journals that agree in sequence and epoch of one entry
//!   agree in everything before it: that is what `previous` is checked for.
//! - Bytes that are no such entry are `Corrupt` or `Invalid`; a length is never trusted before it was checked.

use crate::{DiskId, Error, NodeId, Result};
use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// Length of an entry's head, in bytes.
pub const JOURNAL_HEAD_BYTES: usize = 48;
/// The longest entry, head included, in bytes: the longest batch with a piece of a snapshot fits.
pub const JOURNAL_ENTRY_BYTES_MAX: usize = 6 << 20;
/// The most bytes of entries in one append, in bytes; one entry is always taken.
pub const JOURNAL_APPEND_BYTES_MAX: usize = 1 << 20;
/// The most bytes of entries asked for in one read, in bytes; one entry is always given.
pub const JOURNAL_READ_BYTES_MAX: u64 = 2 << 20;

/// Who may append: the holder of an epoch. The higher epoch wins; an epoch belongs to the first who claims it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JournalClaim {
    /// Raised by every coordinator that takes over; 0 = nobody yet.
    pub epoch: u64,
    /// One start of one coordinator.
    pub holder: Uuid,
}

impl JournalClaim {
    /// Whether this claim may take the place of `held`: one of a lower epoch, itself, or one whose holder is not known any more.
    pub fn supersedes(&self, held: &JournalClaim) -> bool {
        self.epoch > held.epoch || self.epoch == held.epoch && (self.holder == held.holder || held.holder.is_nil())
    }
}

impl fmt::Display for JournalClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {} of {}", self.epoch, self.holder)
    }
}

/// Which entry a journal ends with. Of two journals the one with the greater mark has seen more: epochs count before sequences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JournalMark {
    /// The epoch in which it was written.
    pub epoch: u64,
    /// Its sequence; 0 = there is none.
    pub sequence: u64,
}

impl fmt::Display for JournalMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {} of epoch {}", self.sequence, self.epoch)
    }
}

/// What a node's journal holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalState {
    /// The node.
    pub node: NodeId,
    /// Its disk's life.
    pub disk: DiskId,
    /// Whom it obeys.
    pub claim: JournalClaim,
    /// From this sequence on it has every entry up to the last; 0 = it has none.
    pub first: u64,
    /// The last entry.
    pub last: JournalMark,
    /// What the last entry says of where the whole catalog begins.
    pub whole_from: u64,
    /// Up to here it has answered entries that it may hold no more: it had to begin anew, with what the log had. None if it never had to.
    #[serde(default)]
    pub promised: JournalMark,
    /// What room it has.
    #[serde(flatten)]
    pub room: JournalRoom,
    /// Bytes of its segments.
    pub bytes: u64,
}

/// What room a node's journal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalRoom {
    /// Whether its spare segment is untouched: it takes what makes no room.
    #[serde(rename = "has_room")]
    pub spare: bool,
    /// Whether half of the spare segment's bytes are left, or more. A node of before says nothing of it.
    #[serde(rename = "has_half_spare", default = "yes")]
    pub half_spare: bool,
}

impl Default for JournalRoom {
    /// As long as nothing is known, there is some.
    fn default() -> JournalRoom {
        JournalRoom { spare: true, half_spare: true }
    }
}

fn yes() -> bool {
    true
}

impl JournalState {
    /// Whether the whole catalog can be made from this journal alone.
    pub fn is_whole(&self) -> bool {
        self.first > 0 && self.first <= self.whole_from
    }
}

/// One group of a catalog's log on its way, with the piece of a snapshot that stands right before it. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// Which group it is.
    pub mark: JournalMark,
    /// The epoch of the entry before it; 0 before the first.
    pub previous: u64,
    /// The entries from this sequence to this one give the whole catalog.
    pub whole_from: u64,
    snapshot_bytes: usize,
    frame: Bytes,
}

impl JournalEntry {
    /// An entry of these payloads; `snapshot` is empty where there is no piece.
    pub fn new(mark: JournalMark, previous: u64, whole_from: u64, snapshot: &[u8], group: &[u8]) -> JournalEntry {
        let mut frame = BytesMut::with_capacity(JOURNAL_HEAD_BYTES + snapshot.len() + group.len());
        let length = |payload: &[u8]| u32::try_from(payload.len()).expect("payloads are shorter than a segment");
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(snapshot);
        hasher.update(group);
        frame.put_u64_le(mark.sequence);
        frame.put_u64_le(mark.epoch);
        frame.put_u64_le(previous);
        frame.put_u64_le(whole_from);
        frame.put_u32_le(length(snapshot));
        frame.put_u32_le(length(group));
        frame.put_u32_le(hasher.finalize());
        frame.put_u32_le(crc32fast::hash(&frame));
        frame.put_slice(snapshot);
        frame.put_slice(group);
        JournalEntry { mark, previous, whole_from, snapshot_bytes: snapshot.len(), frame: frame.freeze() }
    }

    /// Takes the entry at the front of `bytes`, and shares their memory.
    pub fn decode(bytes: &mut Bytes) -> Result<JournalEntry> {
        let Some(mut head) = bytes.get(..JOURNAL_HEAD_BYTES) else {
            return Err(Error::invalid("journal: the bytes end inside an entry's head"));
        };
        let told = crc32fast::hash(&head[..JOURNAL_HEAD_BYTES - 4]);
        let (sequence, epoch) = (head.get_u64_le(), head.get_u64_le());
        let (previous, whole_from) = (head.get_u64_le(), head.get_u64_le());
        let (snapshot_bytes, group_bytes) = (head.get_u32_le() as usize, head.get_u32_le() as usize);
        let (crc, head_crc) = (head.get_u32_le(), head.get_u32_le());
        if head_crc != told {
            return Err(Error::corrupt("journal: an entry's head does not match its CRC32"));
        }
        let length = JOURNAL_HEAD_BYTES.saturating_add(snapshot_bytes).saturating_add(group_bytes);
        if length > JOURNAL_ENTRY_BYTES_MAX || sequence == 0 {
            return Err(Error::invalid(format!("journal: entry {sequence} of {length} bytes")));
        }
        if bytes.len() < length {
            return Err(Error::invalid("journal: the bytes end inside an entry"));
        }
        let frame = bytes.split_to(length);
        if crc32fast::hash(&frame[JOURNAL_HEAD_BYTES..]) != crc {
            return Err(Error::corrupt(format!("journal: entry {sequence} does not match its CRC32")));
        }
        Ok(JournalEntry { mark: JournalMark { epoch, sequence }, previous, whole_from, snapshot_bytes, frame })
    }

    /// All entries of `bytes`, which hold nothing else.
    pub fn decode_all(mut bytes: Bytes) -> Result<Vec<JournalEntry>> {
        let mut entries = Vec::new();
        while !bytes.is_empty() {
            entries.push(JournalEntry::decode(&mut bytes)?);
        }
        Ok(entries)
    }

    /// The entry as it is sent and stored.
    pub fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// The piece of a snapshot; empty where there is none.
    pub fn snapshot(&self) -> Bytes {
        self.frame.slice(JOURNAL_HEAD_BYTES..JOURNAL_HEAD_BYTES + self.snapshot_bytes)
    }

    /// The group.
    pub fn group(&self) -> Bytes {
        self.frame.slice(JOURNAL_HEAD_BYTES + self.snapshot_bytes..)
    }
}

/// Entries for a journal.
#[derive(Clone, Debug)]
pub struct JournalAppend {
    /// Whose they are.
    pub claim: JournalClaim,
    /// Whether what the journal held before no longer counts: they begin with a snapshot, or with the first group of all.
    pub anew: bool,
    /// In order, without gaps; each within [`JOURNAL_ENTRY_BYTES_MAX`].
    pub entries: Vec<JournalEntry>,
}

/// What became of an append.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalAppended {
    /// The journal holds these entries up to this sequence, durably; 0 = none of them. Fewer than all: what comes before the next one
    /// is missing here, or is of another epoch.
    pub through: u64,
    /// What it holds now.
    pub state: JournalState,
}

/// A keeper of a catalog journal. Contract of every implementation:
///
/// - `claim`: `Ok` is durable, and from then on every append under a lower epoch, and every other claim of this or a lower one, is
///   `Denied`, for ever.
/// - `append`: `Denied` unless the claim is the one held. An entry is taken if the one before it is held with the epoch it names; it
///   takes the place of an entry of another epoch, and of all behind that. What is held already is passed over. `through` entries are
///   fsynced (law 1). It works on a full disk as deletes do, while the reserve lasts.
/// - `read`: entries from `from` on, in order and without gaps, at least one if there is one, about `limit_bytes`; checked (law 6).
///   None where that one is missing.
/// - Entries that the last one says are not needed may go, never others.
/// - Every call ends within a bound.
#[async_trait]
pub trait JournalNode: Send + Sync {
    /// What it holds. One without a spare segment tries to make it again.
    async fn journal_state(&self) -> Result<JournalState>;

    /// Makes it obey this claim only.
    async fn journal_claim(&self, claim: JournalClaim) -> Result<JournalState>;

    /// Adds entries.
    async fn journal_append(&self, append: JournalAppend) -> Result<JournalAppended>;

    /// Entries from a sequence on.
    async fn journal_read(&self, from: u64, limit_bytes: u64) -> Result<Vec<JournalEntry>>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn entry(snapshot: &[u8], group: &[u8]) -> JournalEntry {
        JournalEntry::new(JournalMark { epoch: 3, sequence: 7 }, 2, 5, snapshot, group)
    }

    #[test]
    fn entries_come_back_as_they_were() {
        let (one, other) = (entry(b"piece", b"group"), entry(b"", b"g"));
        assert_eq!((&one.snapshot()[..], &one.group()[..]), (&b"piece"[..], &b"group"[..]));
        let mut both = BytesMut::from(&one.frame()[..]);
        both.put_slice(other.frame());
        assert_eq!(JournalEntry::decode_all(both.freeze()).unwrap(), [one, other]);
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let frame = entry(b"piece", b"group").frame().clone();
        for cut in 1..frame.len() {
            assert!(JournalEntry::decode_all(frame.slice(..cut)).is_err(), "cut at {cut}");
        }
        for bit in 0..frame.len() * 8 {
            let mut flipped = frame.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = JournalEntry::decode_all(Bytes::from(flipped)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Corrupt, "bit {bit}");
        }
    }

    #[test]
    fn an_epoch_belongs_to_the_first_who_claims_it() {
        let claim = |epoch, holder| JournalClaim { epoch, holder: Uuid::from_u128(holder) };
        assert!(claim(1, 1).supersedes(&JournalClaim::default()));
        assert!(claim(2, 1).supersedes(&claim(2, 1)) && claim(3, 2).supersedes(&claim(2, 1)));
        assert!(claim(2, 2).supersedes(&claim(2, 0)) && !claim(1, 2).supersedes(&claim(2, 0)));
        assert!(!claim(2, 2).supersedes(&claim(2, 1)) && !claim(1, 1).supersedes(&claim(2, 1)));
    }

    #[test]
    fn epochs_count_before_sequences() {
        let mark = |epoch, sequence| JournalMark { epoch, sequence };
        assert!(mark(2, 5) > mark(1, 9) && mark(2, 6) > mark(2, 5));
    }
}
