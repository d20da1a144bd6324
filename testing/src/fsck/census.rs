//! Over all nodes: how many distinct nodes hold each chunk, by equal CRC32s.

use super::node::{Copy, NodeReport};
use super::report::{Listed, Report};
use protocol::{ChunkId, ShardId};
use serde::Serialize;
use std::collections::BTreeMap;

/// A chunk with too few copies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShortChunk {
    /// Which.
    pub chunk: ChunkId,
    /// Nodes that hold a good copy.
    pub nodes: Vec<String>,
}

/// Copies of one chunk, of all its shards.
pub(super) fn chunks(copies: &[Copy]) -> impl Iterator<Item = (ChunkId, &[Copy])> {
    copies
        .chunk_by(|one, other| one.shard[..16] == other.shard[..16])
        .map(|group| (ShardId::from_bytes(group[0].shard).chunk, group))
}

/// The report of what lies on the nodes alone. With `judge`, chunks with fewer than `wanted` copies are listed; otherwise a catalog will say how many each should have.
pub(super) fn of_copies(nodes: Vec<NodeReport>, copies: &[Copy], wanted: usize, judge: bool) -> Report {
    let mut report = Report {
        copies_wanted: wanted,
        chunks: 0,
        chunks_by_copies: BTreeMap::new(),
        short: Listed::default(),
        differing: Listed::default(),
        catalog: None,
        nodes,
    };
    for (chunk, group) in chunks(copies) {
        let alike = most_alike(group);
        report.chunks += 1;
        *report.chunks_by_copies.entry(alike.len()).or_default() += 1;
        if judge && alike.len() < wanted {
            let nodes = alike.iter().map(|node| report.nodes[usize::from(*node)].node.to_string()).collect();
            report.short.add(ShortChunk { chunk, nodes });
        }
        if judge && group.iter().any(|copy| copy.crc != group[0].crc) {
            report.differing.add(chunk);
        }
    }
    report
}

/// The nodes that agree with most others on a chunk's CRC32.
fn most_alike(group: &[Copy]) -> Vec<u16> {
    let mut by_crc: BTreeMap<u32, Vec<u16>> = BTreeMap::new();
    for copy in group {
        let nodes = by_crc.entry(copy.crc).or_default();
        if !nodes.contains(&copy.node) {
            nodes.push(copy.node);
        }
    }
    by_crc.into_values().max_by_key(Vec::len).unwrap_or_default()
}
