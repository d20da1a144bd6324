//! Deletes shards that nothing needs: the node confirms its tombstone, then the record goes. A node that does not answer keeps its
//! records; it is asked again.
//!
//! What it keeps true: a shard put into the trash is never named again, because its index lies behind its chunk's fence or its chunk has
//! no record any more; so deleting it late, twice, or after years is right.

use crate::metadata::records::{NodeRecord, NodeState, Record, TrashRecord};
use crate::metadata::{Batch, Expect, SCAN_ENTRIES_MAX, keys};
use crate::worker::{Progress, Work};
use protocol::{NodeId, PutOutcome, Result, ShardId};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Shards of one call and one commit.
const SHARDS_MAX: usize = 512;
/// After a failure a node is left alone for this long.
const NODE_RESTS: Duration = Duration::from_secs(2);

/// Puts a shard into the trash.
pub(crate) fn put_trash(commit: &mut Batch, node: &NodeId, shard: ShardId, since_ms: u64) {
    commit.put(keys::trash(node, shard), TrashRecord { since_ms }.encode());
}

/// Which nodes are left alone for now.
#[derive(Default)]
pub(super) struct Trash {
    resting: BTreeMap<NodeId, Instant>,
}

impl Trash {
    /// Deletes some shards of each node that has any.
    pub(super) async fn empty(&mut self, work: &Work) -> Result<Progress> {
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        let (mut items, mut waits_for) = (0, Vec::new());
        let range = keys::nodes();
        for (_, entry) in work.scan(&range, SCAN_ENTRIES_MAX).await? {
            let node = NodeRecord::decode(&entry.value)?;
            let shards = shards_of(work, &node.node).await?;
            if shards.is_empty() {
                continue;
            }
            if self.resting.contains_key(&node.node) {
                waits_for.push(node.node.to_string());
                continue;
            }
            match delete(work, &node, &shards).await? {
                0 => {
                    self.resting.insert(node.node.clone(), now + NODE_RESTS);
                    waits_for.push(node.node.to_string());
                }
                deleted => items += deleted,
            }
        }
        items += forget_the_gone(work).await?;
        Ok(match (items, waits_for.is_empty()) {
            (0, true) => Progress::Idle,
            (0, false) => Progress::Waits(format!(
                "shards are to be deleted on {}, which does not answer or takes no writes",
                waits_for.join(", ")
            )),
            (items, _) => Progress::Did { items, bytes: 0 },
        })
    }
}

/// Of a node that is not registered any more nothing is left to be deleted: how many shards of such a node were forgotten.
async fn forget_the_gone(work: &Work) -> Result<u64> {
    let (every, mut forgotten) = (keys::all_trash(), 0);
    let mut from = every.from;
    while let Some((key, _)) = work.objects.metadata.scan(&from, &every.to, 1).await?.into_iter().next() {
        let (node, _) = keys::parse_trash(&key)?;
        let range = keys::trash_of(&node);
        if work.objects.metadata.get(&keys::node(&node)).await?.is_none() {
            let mut commit = Batch::new();
            commit.check(keys::node(&node), Expect::Absent).reclaim();
            let entries = work.scan(&range, SHARDS_MAX).await?;
            forgotten += entries.len() as u64;
            for (key, _) in entries {
                commit.delete(key);
            }
            work.commit(commit).await?;
        }
        from = range.to;
    }
    Ok(forgotten)
}

async fn shards_of(work: &Work, node: &NodeId) -> Result<Vec<ShardId>> {
    let entries = work.scan(&keys::trash_of(node), SHARDS_MAX).await?;
    entries.iter().map(|(key, _)| Ok(keys::parse_trash(key)?.1)).collect()
}

/// How many of the shards are gone now.
async fn delete(work: &Work, node: &NodeRecord, shards: &[ShardId]) -> Result<u64> {
    let Some(member) = work.objects.nodes.member(&node.node) else { return Ok(0) };
    if node.state == NodeState::Lost {
        return Ok(0);
    }
    let Ok(outcomes) = member.delete(shards.to_vec()).await else { return Ok(0) };
    let gone: Vec<ShardId> = shards
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome): &(_, &PutOutcome)| outcome.is_ok())
        .map(|(id, _)| *id)
        .collect();
    let mut commit = Batch::new();
    for shard in &gone {
        commit.delete(keys::trash(&node.node, *shard));
    }
    commit.reclaim();
    work.commit(commit).await?;
    Ok(gone.len() as u64)
}
