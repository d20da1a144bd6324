//! What a storage node does for a coordinator. Real nodes speak HTTP behind this trait; simulated ones lie behind it too.

use crate::{ClusterId, Content, DiskId, Error, ErrorKind, JournalNode, NodeId, Result, ShardId};
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The longest shard a node accepts, in bytes: two of the largest chunks fit.
pub const SHARD_BYTES_MAX: usize = 8 << 20;

/// A shard on its way to a node.
#[derive(Clone, Debug)]
pub struct Shard {
    /// Its name, never used before.
    pub id: ShardId,
    /// CRC32 (IEEE) of `data`, computed once by whoever made the bytes.
    pub crc: u32,
    /// The bytes; cheap to clone, so that a retry never sends a drained reader.
    pub data: Bytes,
}

impl Shard {
    /// A shard with its CRC computed.
    pub fn new(id: ShardId, data: Bytes) -> Shard {
        Shard { id, crc: crc32fast::hash(&data), data }
    }

    /// `Corrupt` unless the bytes match the CRC (law 6).
    pub fn verify(&self) -> Result<()> {
        let found = crc32fast::hash(&self.data);
        if found != self.crc {
            return Err(Error::corrupt(format!("shard {}: CRC32 {found:08x}, expected {:08x}", self.id, self.crc)));
        }
        Ok(())
    }
}

/// What became of one shard of a batch. `Ok` means durable: fsynced on that node, by this call or an earlier one.
pub type PutOutcome = std::result::Result<(), ErrorKind>;

/// What a node says of one of the shards that it was asked about.
pub type HeadOutcome = std::result::Result<ShardHead, ErrorKind>;

/// What a node's records say of a shard, without reading its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardHead {
    /// Which shard.
    pub id: ShardId,
    /// Its length in bytes.
    pub length: u32,
    /// CRC32 of its bytes.
    pub crc: u32,
}

/// Where a shard is to be copied from, and what it must turn out to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardCopy {
    /// Base URL of the node that holds it.
    pub source: String,
    /// Its id there.
    pub shard: ShardId,
    /// Its length in bytes.
    pub length: u32,
    /// CRC32 of its bytes.
    pub crc: u32,
    /// What is behind it; `None` where one shard alone cannot prove that.
    pub content: Option<Content>,
}

impl ShardCopy {
    /// `Corrupt` unless these are the bytes that were to be copied.
    pub fn verify(&self, data: &Bytes) -> Result<()> {
        let found = crc32fast::hash(data);
        if found != self.crc || data.len() != self.length as usize {
            return Err(Error::corrupt(format!(
                "shard {} from {}: {} bytes with CRC32 {found:08x}, expected {} with {:08x}",
                self.shard,
                self.source,
                data.len(),
                self.length,
                self.crc
            )));
        }
        self.content.as_ref().map_or(Ok(()), |content| content.unpack(data.clone()).map(drop))
    }
}

/// One of the copies that are asked of a node in one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyOrder {
    /// What the copy is to be called.
    pub id: ShardId,
    /// Where it comes from, and what it must be.
    pub copy: ShardCopy,
}

/// One page of a listing, in id order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardPage {
    /// The shards held; deleted ones do not appear.
    pub shards: Vec<ShardHead>,
    /// Ask again with `after` = this; `None` on the last page. A page may hold few shards, or none, and not be the last.
    pub next: Option<ShardId>,
}

/// Where a scrub goes on: a position in the node's segment files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyCursor {
    /// Segment number, from 0.
    pub segment: u32,
    /// Offset of the next record, in bytes.
    pub offset: u32,
}

/// What a scrub step read and found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Records read and hashed.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Live shards whose bytes did not match; a coordinator repairs them.
    pub corrupt: Vec<ShardId>,
    /// Damaged stretches that name no live shard.
    pub damaged_stretches: u64,
    /// Where to go on; `None` when the end was reached.
    pub next: Option<VerifyCursor>,
}

/// What a node can do right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeStatus {
    /// Reads, writes, deletes.
    Ok,
    /// Above its high-water mark: reads and deletes only; writes answer `Full`.
    Full,
    /// Its disk refuses writes: verified reads only.
    ReadOnly,
}

/// Starts of a node that are told: so many may have been seen by nobody before an older copy of its disk cannot be told from it any more.
const STARTS_TOLD: usize = 256;

/// A start of a node on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Which one, from 1.
    pub number: u64,
    /// Drawn by chance at that start.
    pub id: u32,
}

/// The starts that a disk remembers. A copy of it that was made before one of them does not remember that one: so a disk that was rolled
/// back is told from the disk (faults I21).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starts {
    /// How many there were; 0 where none was ever noted.
    pub number: u64,
    /// The ids of the last of them, in order.
    pub ids: Vec<u32>,
    /// The last one that may have found less than there was before it: segments were damaged or missing, as far as was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubtful: Option<u64>,
}

impl Starts {
    /// Adds one.
    pub fn begin(&mut self, id: u32) {
        self.number += 1;
        self.ids.push(id);
        self.ids.drain(..self.ids.len().saturating_sub(STARTS_TOLD));
    }

    /// The last one.
    pub fn last(&self) -> Option<Start> {
        self.ids.last().map(|id| Start { number: self.number, id: *id })
    }

    /// Whether one after `seen` may have found less than there was.
    pub fn doubtful_since(&self, seen: Option<Start>) -> bool {
        self.doubtful.is_some_and(|number| seen.is_none_or(|seen| number > seen.number))
    }

    /// Whether this may be the disk that had that start, as far as it is told.
    pub fn may_remember(&self, start: Start) -> bool {
        let Some(ago) = self.number.checked_sub(start.number) else { return false };
        let told = usize::try_from(ago).ok().and_then(|ago| self.ids.iter().rev().nth(ago));
        told.is_none_or(|id| *id == start.id)
    }
}

/// A node's answer to `GET /health`. Open to all: it holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeHealth {
    /// The operator's name for it.
    pub node: NodeId,
    /// The cluster its disk belongs to.
    pub cluster: ClusterId,
    /// Its data directory's life.
    pub disk: DiskId,
    /// Whether the operator said with `--replace` that this disk starts anew.
    pub replaced: bool,
    /// What it can do right now.
    pub status: NodeStatus,
    /// Failure domain; the empty string where none was given.
    pub zone: String,
    /// Bytes it may use in all.
    pub capacity_bytes: u64,
    /// Bytes of segment files that hold records.
    pub used_bytes: u64,
    /// Bytes it would still accept.
    pub free_bytes: u64,
    /// Live shards.
    pub shards: u64,
    /// Their bytes.
    pub live_bytes: u64,
    /// Segment files.
    pub segments: u64,
    /// Segments whose fsync failed (law 12).
    pub poisoned_segments: u64,
    /// Moving average of one append and fsync, in microseconds.
    pub fsync_us: u64,
    /// Its software version.
    pub version: String,
    /// Its starts on this disk; none from a node of before.
    #[serde(default)]
    pub starts: Starts,
}

/// A storage node: a place for immutable shards, addressed by id. Contract of every implementation:
///
/// - `put`: when it answers `Ok` for a shard, that shard is fsynced (law 1). Putting an id again with the same bytes is
///   `Ok`; with other bytes, or after a delete of that id, `Conflict` (law 2). A call that fails as a whole says nothing
///   about any shard: each may or may not be stored.
/// - `get`, `head`: `NotFound` means this node holds no such shard (three-valued: an error of another kind is *unknown*, never
///   *absent*). Bytes returned were checked against the stored CRC; a mismatch is `Corrupt`.
/// - `delete`: leaves a tombstone, also where nothing was stored, and works on a full disk. `Ok` is durable.
/// - Every call ends within a bound.
#[async_trait]
pub trait Node: Send + Sync + 'static {
    /// Stores shards; one outcome each, in order.
    async fn put(&self, shards: Vec<Shard>) -> Result<Vec<PutOutcome>>;

    /// The bytes of a shard.
    async fn get(&self, id: ShardId) -> Result<Bytes>;

    /// Length and CRC of a shard.
    async fn head(&self, id: ShardId) -> Result<ShardHead>;

    /// Deletes shards; one outcome each, in order.
    async fn delete(&self, ids: Vec<ShardId>) -> Result<Vec<PutOutcome>>;

    /// At most `limit` live shards with ids after `after`.
    async fn list(&self, after: Option<ShardId>, limit: usize) -> Result<ShardPage>;

    /// Reads and checks records from `cursor` on, at least one and about `limit_bytes`.
    async fn verify(&self, cursor: VerifyCursor, limit_bytes: u64) -> Result<VerifyReport>;

    /// Pulls a shard from another node, verifies it and stores it as `id`; `Ok` is durable. `Conflict` if `id` holds other bytes
    /// here, or was deleted.
    async fn copy_from(&self, id: ShardId, copy: &ShardCopy) -> Result<()>;

    /// What it can do right now.
    async fn health(&self) -> Result<NodeHealth>;

    /// It is who it should be, with this disk: from now on calls are for that disk, and fail on any other.
    fn admitted(&self, disk: DiskId) {
        let _ = disk;
    }

    /// Its catalog journal; `None` if it keeps none.
    fn journal(&self) -> Option<&dyn JournalNode> {
        None
    }
}
