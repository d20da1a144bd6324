//! A run of chunk ids: the records in it, and what each node lists in it.
//!
//! What it keeps true: the window ends before the first id of which any source may have more to tell, so within it everything was
//! listed; both sides are bounded by a page.

use crate::metadata::records::{ChunkRecord, NodeRecord, NodeState, Record};
use crate::metadata::{Entry, keys};
use crate::worker::Work;
use bytes::Bytes;
use futures_util::future::join_all;
use protocol::{ChunkId, Error, NodeId, Result, ShardHead, ShardId, ShardPage};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Chunk records of one window.
const RECORDS_MAX: usize = 256;
/// Shards of one window on one node.
const SHARDS_MAX: usize = 1_000;

/// A chunk in a window: its record with its revision, and the shards that nodes list.
#[derive(Default)]
pub(super) struct Found {
    pub(super) record: Option<(ChunkRecord, u64)>,
    /// Whether the record was the same before the nodes were asked: only then do their lists tell what is missing.
    pub(super) is_steady: bool,
    pub(super) listed: Vec<(NodeId, ShardHead)>,
}

/// A window.
pub(super) struct Window {
    pub(super) chunks: BTreeMap<ChunkId, Found>,
    /// Nodes that did not answer: in this window nothing is known of what they hold.
    pub(super) silent: BTreeSet<NodeId>,
    /// Where the next one begins; `None` after the last.
    pub(super) next: Option<ChunkId>,
}

impl Window {
    /// Reads the window that begins at `position`, a chunk id or nothing. The records are read before the nodes are asked,
    /// and again after that.
    pub(super) async fn read(work: &Work, position: &[u8], nodes: &[NodeRecord]) -> Result<Window> {
        let start = match position {
            [] => ChunkId(Uuid::nil()),
            bytes => {
                ChunkId(Uuid::from_slice(bytes).map_err(|_| Error::corrupt("the census's position cannot be read"))?)
            }
        };
        let mut window = Window { chunks: BTreeMap::new(), silent: BTreeSet::new(), next: None };
        let before: BTreeMap<Bytes, u64> =
            window.records(work, start).await?.into_iter().map(|(key, entry)| (key, entry.revision)).collect();
        let asked = nodes.iter().filter(|node| node.state != NodeState::Lost);
        let listings =
            join_all(asked.map(|node| async { (node.state, node.node.clone(), list(work, &node.node, start).await) }))
                .await;
        for (state, node, listing) in listings {
            let Ok(page) = listing else {
                // One that was drained may be switched off; nothing is missed by that.
                if state != NodeState::Drained {
                    window.silent.insert(node);
                }
                continue;
            };
            if let Some(last) = page.next {
                window.end_before(last.chunk);
            }
            for shard in page.shards {
                window.chunks.entry(shard.id.chunk).or_default().listed.push((node.clone(), shard));
            }
        }
        for (key, entry) in window.records(work, start).await? {
            let record = ChunkRecord::decode(&entry.value)?;
            let found = window.chunks.entry(keys::parse_chunk(&key)?).or_default();
            found.record = Some((record, entry.revision));
            found.is_steady = before.get(&key) == Some(&entry.revision);
        }
        if let Some(end) = window.next {
            drop(window.chunks.split_off(&end));
        }
        Ok(window)
    }

    /// A page of chunk records; the window ends before the last of a full one.
    async fn records(&mut self, work: &Work, start: ChunkId) -> Result<Vec<(Bytes, Entry)>> {
        let records = work.objects.metadata.scan(&keys::chunk(start), &keys::chunks().to, RECORDS_MAX).await?;
        if let (RECORDS_MAX, Some((last, _))) = (records.len(), records.last()) {
            self.end_before(keys::parse_chunk(last)?);
        }
        Ok(records)
    }

    /// How many chunks are in it.
    pub(super) fn len(&self) -> usize {
        self.chunks.len()
    }

    fn end_before(&mut self, chunk: ChunkId) {
        self.next = Some(self.next.map_or(chunk, |next| next.min(chunk)));
    }
}

/// Shards of `node` from `start` on.
async fn list(work: &Work, node: &NodeId, start: ChunkId) -> Result<ShardPage> {
    let Some(member) = work.objects.nodes.member(node) else {
        return Err(Error::unavailable(format!("node {node} has not answered yet")));
    };
    let before = start.0.as_u128().checked_sub(1);
    let after = before.map(|before| ShardId { chunk: ChunkId(Uuid::from_u128(before)), index: u8::MAX });
    member.list(after, SHARDS_MAX).await
}
