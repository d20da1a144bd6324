//! Whether a write may lean on a chunk that is there already.
//!
//! What it keeps true: a write that leans on a chunk is as durable as one that stores it (faults I5b). Its holders are asked, and as many as a
//! write needs must say that they have their shard; the receipt counts those that did, and no others. What a record names says nothing of nodes
//! that died, or lost their disks, since they were last heard of.

use super::{Placed, endangered};
use crate::metadata::records::{ChunkRecord, ChunkState, ShardPlace};
use crate::object::Objects;
use crate::object::receipt::Receipt;
use crate::object::write::STRAGGLER_GRACE;
use futures_util::stream::{FuturesUnordered, StreamExt};
use protocol::{ChunkId, ErrorKind, Result, ShardId};
use tokio::time::{Instant, timeout_at};

/// What a holder says of its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// It has it, as it was stored.
    Holds,
    /// It has not, or what it has is something else.
    Lacks,
    /// Nothing that would be about the shard.
    Nothing,
}

impl Objects {
    /// The chunk, if enough of its holders have their shard, and repair does not know better.
    pub(super) async fn reuse(&self, chunk: ChunkId, record: &ChunkRecord, revision: u64) -> Result<Option<Placed>> {
        let proved = self.nodes.proved();
        let places: Vec<&ShardPlace> = record.shards.iter().filter(|place| proved.contains(&place.node)).collect();
        let quorum = record.code.write_quorum();
        if record.state != ChunkState::Live || places.len() < quorum {
            return Ok(None);
        }
        for key in endangered(chunk, record.code) {
            if self.metadata.get(&key).await?.is_some() {
                return Ok(None);
            }
        }
        let said = self.ask_holders(chunk, record, &places).await;
        let count = |wanted| said.iter().filter(|said| **said == wanted).count();
        let (good, lacking) = (count(Said::Holds), count(Said::Lacks));
        if lacking > 0 {
            self.queue_repair_of(chunk, record, lacking, "a write met a damaged or missing shard").await;
        }
        let receipt = Receipt::of(record.code, good as u32);
        Ok((good >= quorum).then_some(Placed::Reused { chunk, revision, receipt }))
    }

    /// Asks all of them at once. Whoever is late once enough have answered has the time that a late replica has.
    async fn ask_holders(&self, chunk: ChunkId, record: &ChunkRecord, places: &[&ShardPlace]) -> Vec<Said> {
        let mut asked: FuturesUnordered<_> = places.iter().map(|place| self.ask_holder(chunk, record, place)).collect();
        let mut said = Vec::new();
        let mut grace_ends = None;
        while !asked.is_empty() {
            let next = match grace_ends {
                Some(end) => timeout_at(end, asked.next()).await.unwrap_or(None),
                None => asked.next().await,
            };
            let Some(next) = next else { break };
            said.push(next);
            let good = said.iter().filter(|said| **said == Said::Holds).count();
            if grace_ends.is_none() && good >= record.code.write_quorum() {
                grace_ends = Some(Instant::now() + STRAGGLER_GRACE);
            }
        }
        said
    }

    async fn ask_holder(&self, chunk: ChunkId, record: &ChunkRecord, place: &ShardPlace) -> Said {
        let Some(member) = self.nodes.member(&place.node) else { return Said::Nothing };
        match member.head(ShardId { chunk, index: place.index }).await {
            Ok(head) if head.crc == place.crc && head.length == record.shard_length() => Said::Holds,
            Ok(_) => Said::Lacks,
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Corrupt) => Said::Lacks,
            Err(_) => Said::Nothing,
        }
    }
}
