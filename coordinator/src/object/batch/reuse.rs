//! Whether a write may lean on a chunk that is there already.
//!
//! What it keeps true: a write that leans on a chunk is as durable as one that stores it (faults I5b). Its holders are asked, and as many as a
//! write needs must answer; the receipt counts those that did, and no others. What a record names says nothing of nodes that died, or lost
//! their disks, since they were last heard of.
//!
//! A node is asked once for all of a batch, for one of its shards: a node with another disk denies the call, and what the disk that answers
//! lost besides is what scrub, census and reads look for. (Asking for each shard took a third more CPU of a GiB that was there already.)

use super::{Placed, endangered};
use crate::metadata::records::{ChunkRecord, ChunkState, ShardPlace};
use crate::object::Objects;
use crate::object::receipt::Receipt;
use crate::object::write::STRAGGLER_GRACE;
use futures_util::stream::{FuturesUnordered, StreamExt};
use protocol::{ChunkId, ErrorKind, NodeId, Result, ShardId};
use std::collections::BTreeMap;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

/// The nodes that may hold what a batch leans on, and whether they answered.
pub(super) struct Holders {
    answers: BTreeMap<NodeId, OnceCell<bool>>,
}

impl Objects {
    /// All that are worth asking.
    pub(super) fn holders(&self) -> Holders {
        Holders { answers: self.nodes.proved().into_iter().map(|node| (node, OnceCell::new())).collect() }
    }

    /// The chunk, if enough of its holders answer, and repair does not know better.
    pub(super) async fn reuse(
        &self,
        chunk: ChunkId,
        record: &ChunkRecord,
        revision: u64,
        holders: &Holders,
    ) -> Result<Option<Placed>> {
        let asked = record.shards.iter().filter(|place| holders.answers.contains_key(&place.node)).count();
        let quorum = record.code.write_quorum();
        if record.state != ChunkState::Live || asked < quorum {
            return Ok(None);
        }
        for key in endangered(chunk, record.code) {
            if self.metadata.get(&key).await?.is_some() {
                return Ok(None);
            }
        }
        let good = self.answering(chunk, record, holders).await;
        let receipt = Receipt::of(record.code, good as u32);
        Ok((good >= quorum).then_some(Placed::Reused { chunk, revision, receipt }))
    }

    /// How many of the chunk's holders answer. Whoever is late once enough have answered has the time that a late replica has.
    async fn answering(&self, chunk: ChunkId, record: &ChunkRecord, holders: &Holders) -> usize {
        let known = record.shards.iter().filter_map(|place| Some((place, holders.answers.get(&place.node)?)));
        let mut asked: FuturesUnordered<_> =
            known.map(|(place, answer)| answer.get_or_init(move || self.holds(chunk, record, place))).collect();
        let (mut good, mut grace_ends) = (0, None);
        loop {
            let next = match grace_ends {
                Some(end) => timeout_at(end, asked.next()).await.unwrap_or(None),
                None => asked.next().await,
            };
            let Some(answers) = next else { return good };
            good += usize::from(*answers);
            if grace_ends.is_none() && good >= record.code.write_quorum() {
                grace_ends = Some(Instant::now() + STRAGGLER_GRACE);
            }
        }
    }

    /// Whether the node says that it has its shard, as it was stored. What is missing or damaged is looked after.
    async fn holds(&self, chunk: ChunkId, record: &ChunkRecord, place: &ShardPlace) -> bool {
        let Some(member) = self.nodes.member(&place.node) else { return false };
        let lacks = match member.head(ShardId { chunk, index: place.index }).await {
            Ok(head) => head.crc != place.crc || head.length != record.shard_length(),
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Corrupt) => true,
            Err(_) => return false,
        };
        if lacks {
            self.queue_repair_of(chunk, record, 1, "a write met a damaged or missing shard").await;
        }
        !lacks
    }
}
