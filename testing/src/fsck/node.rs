//! One node's directory: what its segments hold once tombstones are applied.

use super::catalog::Catalog;
use super::report::Listed;
use protocol::{Error, ErrorKind, NodeId, Result, ShardId};
use segments::{Inspection, Kind, Position, Scanned, Stamp, durable, inspect};
use serde::Serialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use storage_node::identity::Identity;

/// Whether a copy's bytes gave back the chunk's SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    Unchecked,
    Good,
    Bad,
}

/// A live shard on a node, whose payload matched its CRC32.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    pub shard: [u8; ShardId::BYTES],
    pub node: u16,
    pub crc: u32,
    pub plain: Plain,
}

/// What one node holds.
#[derive(Clone, Debug, Serialize)]
pub struct NodeReport {
    /// The directory.
    pub directory: PathBuf,
    /// Whose it is.
    pub node: NodeId,
    /// Live shards found whole.
    pub shards: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Records with whole headers and damaged payloads.
    pub corrupt: u64,
    /// Shards of which only damaged records are left here.
    pub lost: Listed<String>,
    /// Stretches in which no record stands, between records.
    pub damaged_stretches: u64,
    /// Footers that vouch for other records than were found.
    pub footers_wrong: u64,
    /// Ends of segments that hold pieces of an append that was never acknowledged: no damage.
    pub torn_tails: u64,
    /// Segment files.
    pub segments: u64,
    /// Those given up after a failed write or fsync: no damage, what counts of them was read.
    pub segments_poisoned: u64,
    /// Those without a footer: one on a running node; on a stopped one what a crash left.
    pub segments_open: u64,
    /// Files that are no part of a log.
    pub foreign_files: u64,
}

/// What the log says last of a shard id.
struct Latest {
    live: bool,
    position: Position,
    length: u32,
    crc: u32,
    plain: Plain,
}

/// Whose directory this is.
pub(super) fn identity(path: &Path) -> Result<Identity> {
    let file = path.join("identity");
    let text = durable::read_file(&file).map_err(|error| {
        Error::caused(error.kind, format!("{} is no node's directory: {}", path.display(), error.message), error)
    })?;
    serde_json::from_slice(&text).map_err(|error| {
        Error::caused(ErrorKind::Corrupt, format!("{} cannot be read: {error}", file.display()), error)
    })
}

/// Reads the node's segments; its live shards go to `copies`.
pub(super) fn read(
    path: &Path,
    identity: &Identity,
    number: u16,
    catalog: Option<&Catalog>,
    sample: u64,
    copies: &mut Vec<Copy>,
) -> Result<NodeReport> {
    let stamp = Stamp { cluster: identity.cluster, log: identity.disk };
    let mut latest: HashMap<[u8; ShardId::BYTES], Latest> = HashMap::new();
    let mut damaged: Vec<[u8; ShardId::BYTES]> = Vec::new();
    let mut failed = Ok(());
    let found = inspect(&path.join("segments"), stamp, &mut |found| match found {
        Scanned::Record { kind: Kind::SHARD, id, location, data } => {
            let plain = match catalog.filter(|_| is_sampled(&id, sample)) {
                Some(catalog) => catalog.plain(ShardId::from_bytes(id), data).unwrap_or_else(|error| {
                    failed = Err(error);
                    Plain::Unchecked
                }),
                None => Plain::Unchecked,
            };
            let (position, length, crc) = (location.position, location.length, location.crc);
            prevail(&mut latest, id, Latest { live: true, position, length, crc, plain });
        }
        Scanned::Record { kind: Kind::TOMBSTONE, id, location, .. } => {
            let position = location.position;
            prevail(&mut latest, id, Latest { live: false, position, length: 0, crc: 0, plain: Plain::Unchecked });
        }
        Scanned::BadPayload { kind: Kind::SHARD, id, .. } => damaged.push(id),
        _ => {}
    })?;
    failed?;
    let mut report = NodeReport::new(path, identity, &found);
    damaged.sort_unstable();
    damaged.dedup();
    for id in damaged.into_iter().filter(|id| !latest.contains_key(id)) {
        report.lost.add(ShardId::from_bytes(id).to_string());
    }
    for (shard, last) in latest {
        if last.live {
            report.shards += 1;
            report.bytes += u64::from(last.length);
            copies.push(Copy { shard, node: number, crc: last.crc, plain: last.plain });
        } else {
            report.tombstones += 1;
        }
    }
    Ok(report)
}

/// Law 2: a tombstone wins over every record of its id; of two shards the later one counts, as compaction moves forward.
fn prevail(latest: &mut HashMap<[u8; ShardId::BYTES], Latest>, id: [u8; ShardId::BYTES], new: Latest) {
    let stays = latest.get(&id).is_some_and(|old| match (old.live, new.live) {
        (false, true) => true,
        (true, false) => false,
        _ => old.position > new.position,
    });
    if !stays {
        latest.insert(id, new);
    }
}

/// Whether a chunk is among those hashed: all copies of one are, or none.
fn is_sampled(shard: &[u8; ShardId::BYTES], sample: u64) -> bool {
    u64::from(crc32fast::hash(&shard[..16])).is_multiple_of(sample.max(1))
}

impl NodeReport {
    fn new(path: &Path, identity: &Identity, found: &Inspection) -> NodeReport {
        NodeReport {
            directory: path.to_owned(),
            node: identity.node.clone(),
            shards: 0,
            bytes: 0,
            tombstones: 0,
            corrupt: found.corrupt,
            lost: Listed::default(),
            damaged_stretches: found.damaged_stretches,
            footers_wrong: found.footers_wrong,
            torn_tails: found.torn_tails,
            segments: found.segments,
            segments_poisoned: found.segments_poisoned,
            segments_open: found.segments_open,
            foreign_files: found.foreign_files,
        }
    }
}
