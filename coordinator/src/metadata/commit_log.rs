//! What the commit log says: the payloads of its COMMIT and SNAPSHOT records. The log itself is `segments`' business.
//!
//! ```text
//! COMMIT: a group of batches, committed one after the other by one append
//! offset size field
//!      0    1 version, 2
//!      1    1 what: 0
//!      2    2 zero
//!      4    4 batches, u32 LE
//!      8    8 sequence of the group, u64 LE: 1, 2, 3 … over the life of the log
//!     16    8 epoch in which it was written, u64 LE; 0 where no journal is kept
//!     24    8 epoch of the group before it, u64 LE; 0 before the first
//!     32    8 whole from, u64 LE: the records from the snapshot that begins with this group on give the whole state; 1 = all of them
//!     40    … batch*   batch  = revision u64 LE · changes u32 LE · change*
//!                      change = 0 · key length u16 LE · key · value length u32 LE · value     a put
//!                             | 1 · key length u16 LE · key                                   a delete
//!
//! Version 1 had no bytes 16..40: such a group is of epoch 0, and does not say from where it is whole.
//!
//! SNAPSHOT: a piece of the state as it was right before this record, in key order
//!      0    1 version, 1
//!      1    1 what: 1 a piece, 2 the snapshot's end
//!      2    2 zero
//!      4    4 entries of this piece; 0 at the end, u32 LE
//!      8    8 snapshot: the sequence of the group that followed its first piece, u64 LE
//!     16    8 number of this piece: 0, 1, 2 …; at the end, how many there were, u64 LE
//!     24    … entry*   entry = revision u64 LE · key length u16 LE · key · value length u32 LE · value
//! ```
//!
//! What it keeps true:
//! - Replaying a log from its start gives the state, and every prefix of a log is a state that was.
//! - Sequences have no gaps, so that a group that is missing is noticed.
//! - Bytes that are no such payload are `Corrupt`; decoding never panics (the log's CRC32 makes it improbable, not impossible).

use crate::metadata::{Batch, Entry};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use protocol::{Error, JournalMark, Result};

/// The version of snapshot records, and of groups before journals were kept.
const VERSION: u8 = 1;
/// The version of groups.
const GROUP_VERSION: u8 = 2;
const PUT: u8 = 0;
const DELETE: u8 = 1;
const GROUP: u8 = 0;
const PIECE: u8 = 1;
const END: u8 = 2;
/// The most bytes a change takes beyond its key and value.
const CHANGE_BYTES_EXTRA: usize = 7;
/// The bytes a batch takes beyond its changes.
const BATCH_BYTES_EXTRA: usize = 12;
const GROUP_BYTES_EXTRA: usize = 40;

/// Which group it is, and how it stands to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupHead {
    pub mark: JournalMark,
    /// The epoch of the group before it.
    pub previous: u64,
    /// The records from the snapshot that begins with this group on give the whole state; 0 = it does not say.
    pub whole_from: u64,
}

/// A group as it was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub head: GroupHead,
    pub batches: Vec<GroupBatch>,
}

/// One committed batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupBatch {
    pub revision: u64,
    /// Keys with what was put there; `None` where they were deleted.
    pub changes: Vec<(Bytes, Option<Bytes>)>,
}

impl GroupBatch {
    /// The batch that made it, but for its checks.
    pub(crate) fn into_batch(self) -> (u64, Batch) {
        let mut batch = Batch::new();
        for (key, value) in self.changes {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            };
        }
        (self.revision, batch)
    }
}

/// A snapshot record as it was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SnapshotRecord {
    Piece { snapshot: u64, number: u64, entries: Vec<(Bytes, Entry)> },
    End { snapshot: u64, pieces: u64 },
}

/// The bytes that a batch takes in a group.
pub(crate) fn batch_bytes(batch: &Batch) -> usize {
    let changes = batch.puts.len() + batch.deletes.len();
    batch.bytes() + changes * CHANGE_BYTES_EXTRA + BATCH_BYTES_EXTRA
}

/// The payload of a COMMIT record.
pub(crate) fn encode_group(head: GroupHead, batches: &[(u64, &Batch)]) -> Bytes {
    let bytes = batches.iter().map(|(_, batch)| batch_bytes(batch)).sum::<usize>() + GROUP_BYTES_EXTRA;
    let mut payload = BytesMut::with_capacity(bytes);
    payload.put_slice(&[GROUP_VERSION, GROUP, 0, 0]);
    payload.put_u32_le(length(batches.len()));
    payload.put_u64_le(head.mark.sequence);
    payload.put_u64_le(head.mark.epoch);
    payload.put_u64_le(head.previous);
    payload.put_u64_le(head.whole_from);
    for (revision, batch) in batches {
        payload.put_u64_le(*revision);
        payload.put_u32_le(length(batch.puts.len() + batch.deletes.len()));
        for (key, value) in &batch.puts {
            payload.put_u8(PUT);
            put_key(&mut payload, key);
            put_value(&mut payload, value);
        }
        for key in &batch.deletes {
            payload.put_u8(DELETE);
            put_key(&mut payload, key);
        }
    }
    payload.freeze()
}

/// The group in a COMMIT payload. Its keys and values share the payload's memory.
pub(crate) fn decode_group(payload: &Bytes) -> Result<Group> {
    let mut rest = Cut { rest: payload.clone(), what: "group" };
    let (head, batches) = rest.group_head()?;
    let batches = (0..batches).map(|_| decode_batch(&mut rest)).collect::<Result<Vec<_>>>()?;
    rest.end()?;
    Ok(Group { head, batches })
}

/// The head of the group in a COMMIT payload.
pub(crate) fn decode_group_head(payload: &[u8]) -> Result<GroupHead> {
    let head = Bytes::copy_from_slice(&payload[..payload.len().min(GROUP_BYTES_EXTRA)]);
    Cut { rest: head, what: "group" }.group_head().map(|(head, _)| head)
}

fn decode_batch(rest: &mut Cut) -> Result<GroupBatch> {
    let revision = rest.u64()?;
    let changes = (0..rest.u32()?).map(|_| decode_change(rest)).collect::<Result<Vec<_>>>()?;
    Ok(GroupBatch { revision, changes })
}

fn decode_change(rest: &mut Cut) -> Result<(Bytes, Option<Bytes>)> {
    match rest.u8()? {
        PUT => Ok((rest.key()?, Some(rest.value()?))),
        DELETE => Ok((rest.key()?, None)),
        other => Err(Error::corrupt(format!("commit log: change of kind {other}"))),
    }
}

/// The payload of a SNAPSHOT record with a piece of the state.
pub(crate) fn encode_piece(snapshot: u64, number: u64, entries: &[(Bytes, Entry)]) -> Bytes {
    let mut payload = BytesMut::new();
    payload.put_slice(&[VERSION, PIECE, 0, 0]);
    payload.put_u32_le(length(entries.len()));
    payload.put_u64_le(snapshot);
    payload.put_u64_le(number);
    for (key, entry) in entries {
        payload.put_u64_le(entry.revision);
        put_key(&mut payload, key);
        put_value(&mut payload, &entry.value);
    }
    payload.freeze()
}

/// The payload of the SNAPSHOT record that says that it is whole.
pub(crate) fn encode_end(snapshot: u64, pieces: u64) -> Bytes {
    let mut payload = BytesMut::new();
    payload.put_slice(&[VERSION, END, 0, 0, 0, 0, 0, 0]);
    payload.put_u64_le(snapshot);
    payload.put_u64_le(pieces);
    payload.freeze()
}

/// What a SNAPSHOT payload says.
pub(crate) fn decode_snapshot(payload: &Bytes) -> Result<SnapshotRecord> {
    let mut rest = Cut { rest: payload.clone(), what: "snapshot" };
    let (version, what) = rest.head()?;
    if version != VERSION {
        return Err(Error::corrupt(format!("commit log: snapshot of version {version}")));
    }
    let entries = rest.u32()?;
    let snapshot = rest.u64()?;
    let number = rest.u64()?;
    let entries = (0..entries).map(|_| decode_entry(&mut rest)).collect::<Result<Vec<_>>>()?;
    rest.end()?;
    match what {
        PIECE => Ok(SnapshotRecord::Piece { snapshot, number, entries }),
        END if entries.is_empty() => Ok(SnapshotRecord::End { snapshot, pieces: number }),
        other => Err(Error::corrupt(format!("commit log: snapshot record of kind {other}"))),
    }
}

fn decode_entry(rest: &mut Cut) -> Result<(Bytes, Entry)> {
    let revision = rest.u64()?;
    Ok((rest.key()?, Entry { revision, value: rest.value()? }))
}

fn length(length: usize) -> u32 {
    u32::try_from(length).expect("bounded by BATCH_BYTES_MAX and the group's limits")
}

fn put_key(payload: &mut BytesMut, key: &[u8]) {
    payload.put_u16_le(u16::try_from(key.len()).expect("a key is shorter than KEY_BYTES_MAX"));
    payload.put_slice(key);
}

fn put_value(payload: &mut BytesMut, value: &[u8]) {
    payload.put_u32_le(length(value.len()));
    payload.put_slice(value);
}

/// Takes fields from the front; `Corrupt` where there are too few bytes.
struct Cut {
    rest: Bytes,
    what: &'static str,
}

impl Cut {
    fn take(&mut self, bytes: usize) -> Result<Bytes> {
        if bytes > self.rest.len() {
            return Err(Error::corrupt(format!("commit log: {} is cut short", self.what)));
        }
        Ok(self.rest.split_to(bytes))
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(self.take(2)?.get_u16_le())
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(self.take(4)?.get_u32_le())
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(self.take(8)?.get_u64_le())
    }

    fn key(&mut self) -> Result<Bytes> {
        let bytes = self.u16()?;
        self.take(usize::from(bytes))
    }

    fn value(&mut self) -> Result<Bytes> {
        let bytes = self.u32()?;
        self.take(bytes as usize)
    }

    /// Version, what it is, two zeros.
    fn head(&mut self) -> Result<(u8, u8)> {
        let head = self.take(4)?;
        if head[2..] != [0, 0] {
            return Err(Error::corrupt(format!("commit log: not a {}", self.what)));
        }
        Ok((head[0], head[1]))
    }

    /// The head of a group, and how many batches follow.
    fn group_head(&mut self) -> Result<(GroupHead, u32)> {
        let (version, what) = self.head()?;
        if what != GROUP || !(version == VERSION || version == GROUP_VERSION) {
            return Err(Error::corrupt(format!("commit log: not a group, or one of version {version}")));
        }
        let (batches, sequence) = (self.u32()?, self.u64()?);
        let (epoch, previous, whole_from) =
            if version == VERSION { (0, 0, 0) } else { (self.u64()?, self.u64()?, self.u64()?) };
        Ok((GroupHead { mark: JournalMark { epoch, sequence }, previous, whole_from }, batches))
    }

    fn end(&self) -> Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(Error::corrupt(format!("commit log: {} bytes after a {}", self.rest.len(), self.what)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ErrorKind;

    fn group() -> Bytes {
        let mut first = Batch::new();
        first.put("a", "1").put("b", "").delete("c");
        let mut second = Batch::new();
        second.delete("a");
        encode_group(head(), &[(40, &first), (41, &second)])
    }

    fn head() -> GroupHead {
        GroupHead { mark: JournalMark { epoch: 3, sequence: 7 }, previous: 2, whole_from: 5 }
    }

    fn piece() -> Bytes {
        let entry = Entry { revision: 3, value: Bytes::from_static(b"v") };
        encode_piece(7, 2, &[(Bytes::from_static(b"k"), entry)])
    }

    #[test]
    fn groups_and_snapshots_round_trip() {
        let read = decode_group(&group()).unwrap();
        assert_eq!((read.head, read.batches.len(), read.batches[1].revision), (head(), 2, 41));
        assert_eq!(decode_group_head(&group()).unwrap(), head());
        let (key, value) = &read.batches[0].changes[1];
        assert_eq!((&key[..], value.as_deref()), (&b"b"[..], Some(&b""[..])));
        assert_eq!(read.batches[1].changes, [(Bytes::from_static(b"a"), None)]);
        let SnapshotRecord::Piece { snapshot: 7, number: 2, entries } = decode_snapshot(&piece()).unwrap() else {
            panic!("a piece")
        };
        assert_eq!((&entries[0].0[..], entries[0].1.revision), (&b"k"[..], 3));
        let end = decode_snapshot(&encode_end(7, 3)).unwrap();
        assert_eq!(end, SnapshotRecord::End { snapshot: 7, pieces: 3 });
    }

    #[test]
    fn a_group_of_version_1_is_of_no_epoch() {
        // Written by the first release: group 7 of one batch, revision 40, that deletes "a".
        let golden = b"\x01\0\0\0\x01\0\0\0\x07\0\0\0\0\0\0\0\x28\0\0\0\0\0\0\0\x01\0\0\0\x01\x01\0a";
        let read = decode_group(&Bytes::from_static(golden)).unwrap();
        let mark = JournalMark { epoch: 0, sequence: 7 };
        assert_eq!(read.head, GroupHead { mark, previous: 0, whole_from: 0 });
        assert_eq!(read.batches[0].changes, [(Bytes::from_static(b"a"), None)]);
    }

    #[test]
    fn the_estimate_of_a_batch_is_never_too_small() {
        let mut batch = Batch::new();
        batch.put("a", "1").put("b", "").delete("c");
        assert!(encode_group(head(), &[(40, &batch)]).len() <= batch_bytes(&batch) + GROUP_BYTES_EXTRA);
    }

    #[test]
    fn a_cut_is_corrupt_and_a_flipped_bit_never_panics() {
        for payload in [group(), piece(), encode_end(7, 3)] {
            for cut in 0..payload.len() {
                let cut = payload.slice(..cut);
                assert_eq!(decode_group(&cut).unwrap_err().kind, ErrorKind::Corrupt);
                assert_eq!(decode_snapshot(&cut).unwrap_err().kind, ErrorKind::Corrupt);
            }
            for bit in 0..payload.len() * 8 {
                let mut flipped = payload.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                drop(decode_group(&Bytes::from(flipped.clone())));
                drop(decode_snapshot(&Bytes::from(flipped)));
            }
        }
    }
}
