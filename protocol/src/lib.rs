//! What coordinator and storage node agree on, and nothing else: ids, error kinds, the [`Node`] trait, [`Clock`], routes and
//! frames. There is no I/O here, so both sides and the simulated cluster can share it.
//!
//! What it keeps true:
//! - Shards are immutable; a shard id names the same bytes for ever (law 2).
//! - Bytes carry their CRC32 on every hop (law 6): [`Shard::verify`] is called by whoever receives them.
//! - An error says what the caller should do ([`ErrorKind`]), not where it came from.

mod clock;
mod cluster;
mod content;
mod error;
mod frame;
mod ids;
mod journal;
mod node;
pub mod routes;
mod sha256;

pub use clock::{Clock, SystemClock};
pub use cluster::{ClusterFile, secrets_match};
pub use content::Content;
pub use error::{Error, ErrorKind, Result};
pub use frame::{
    FRAME_HEADER_BYTES, FrameDecoder, FrameHeader, decode_heads, decode_ids, decode_outcomes, encode_frame_header,
    encode_heads, encode_ids, encode_outcomes,
};
pub use ids::{ChunkId, ClusterId, DiskId, NodeId, ShardId};
pub use journal::{
    JOURNAL_APPEND_BYTES_MAX, JOURNAL_ENTRY_BYTES_MAX, JOURNAL_HEAD_BYTES, JOURNAL_READ_BYTES_MAX, JournalAppend,
    JournalAppended, JournalClaim, JournalEntry, JournalMark, JournalNode, JournalRoom, JournalState,
};
pub use node::{
    CopyOrder, HeadOutcome, Node, NodeHealth, NodeStatus, PutOutcome, SHARD_BYTES_MAX, Shard, ShardCopy, ShardHead,
    ShardPage, Start, Starts, VerifyCursor, VerifyReport,
};
pub use sha256::{Sha256, sha256, sha256_of_each};
