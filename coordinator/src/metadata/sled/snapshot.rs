//! Snapshots bound the log: once it has grown long, the state is written into it again, and what came before is removed.
//!
//! Piece by piece, each in the append of the next group, right before it: the piece is the state at exactly that place, no copy
//! of the state is held, and the log, which grows only by groups, cannot outrun it. In order:
//! 1. Pieces in key order, each durable with its group.
//! 2. The end record. From now on the log from the first piece's segment on gives the whole state.
//! 3. The index's checkpoint passes that segment (a restart must never replay from a segment that is gone).
//! 4. Older segments are removed, the oldest first.
//!
//! A crash before 2 leaves pieces that say nothing new; after it, old segments that the next snapshot removes.

use super::state::State;
use crate::metadata::commit_log::{encode_end, encode_piece};
use crate::metadata::{KEY_BYTES_MAX, SCAN_ENTRIES_MAX, keys};
use bytes::Bytes;
use protocol::Result;

/// A snapshot under way.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// The sequence of the group that its first piece went before.
    id: u64,
    /// The segment that its first piece went to, once it did.
    begin: Option<u32>,
    next_key: Bytes,
    pieces: u64,
    bytes: u64,
}

/// What goes into the log next.
#[derive(Debug)]
pub(super) struct Piece {
    pub payload: Bytes,
    /// Where the piece after it begins; `None` if this is the end record.
    next_key: Option<Bytes>,
    snapshot: u64,
}

impl Piece {
    /// With the end record the log is whole from the snapshot's first group on.
    pub fn whole_from(&self) -> Option<u64> {
        self.next_key.is_none().then_some(self.snapshot)
    }
}

/// A snapshot that is whole and durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finished {
    /// Segments before this one are no longer needed.
    pub begin: u32,
    /// The bytes of its pieces.
    pub bytes: u64,
}

impl Snapshot {
    pub fn begin(sequence_next: u64) -> Snapshot {
        Snapshot { id: sequence_next, begin: None, next_key: Bytes::from_static(b"\0"), pieces: 0, bytes: 0 }
    }

    /// The next piece, of about `bytes`, of the state as it is now.
    pub fn next_piece(&self, state: &State, bytes: usize) -> Result<Piece> {
        let past_all = [u8::MAX; KEY_BYTES_MAX + 1];
        let entries = state.scan(&self.next_key, &past_all, SCAN_ENTRIES_MAX, bytes)?;
        let last = entries.last().map(|(key, _)| keys::after(key));
        if let Some(next_key) = last {
            let payload = encode_piece(self.id, self.pieces, &entries);
            return Ok(Piece { payload, next_key: Some(next_key), snapshot: self.id });
        }
        if self.pieces == 0 {
            // A piece marks where a snapshot begins, also that of nothing.
            let payload = encode_piece(self.id, 0, &[]);
            let next_key = Some(Bytes::copy_from_slice(&past_all));
            return Ok(Piece { payload, next_key, snapshot: self.id });
        }
        Ok(Piece { payload: encode_end(self.id, self.pieces), next_key: None, snapshot: self.id })
    }

    /// Notes that the piece is durable, in `segment`. `Some` if the snapshot is whole.
    pub fn appended(&mut self, piece: Piece, segment: u32) -> Option<Finished> {
        let begin = *self.begin.get_or_insert(segment);
        let Some(next_key) = piece.next_key else {
            return Some(Finished { begin, bytes: self.bytes });
        };
        self.next_key = next_key;
        self.pieces += 1;
        self.bytes += piece.payload.len() as u64;
        None
    }
}
