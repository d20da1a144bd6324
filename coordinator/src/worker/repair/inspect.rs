//! What is there of a chunk: each shard that its record names, as its node tells it right now.

use crate::metadata::keys;
use crate::metadata::records::{ChunkRecord, NodeRecord, NodeState, Record, ShardPlace};
use crate::nodes::Nodes;
use crate::worker::Work;
use futures_util::future::join_all;
use protocol::{ChunkId, ErrorKind, NodeId, Result, ShardId};

/// What a node's answer, or its silence, says of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Condition {
    /// It is there, as it was stored.
    Good,
    /// It is there, and damaged.
    Bad,
    /// The node answers, and has no such shard.
    Absent,
    /// The node does not answer: nothing is known.
    Unknown,
    /// The node is recorded as lost, or not registered any more: what it held counts as gone.
    Gone,
}

/// A shard and what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Inspected {
    pub(super) place: ShardPlace,
    pub(super) condition: Condition,
    /// Whether its node is being emptied.
    pub(super) drains: bool,
    /// Whether it is to be elsewhere, for that or because it is to move.
    pub(super) leaving: bool,
}

/// Asks all nodes that are named. With `check_bytes` each reads its shard whole.
pub(super) async fn inspect(
    work: &Work,
    chunk: ChunkId,
    record: &ChunkRecord,
    away_from: Option<&NodeId>,
    check_bytes: bool,
) -> Result<Vec<Inspected>> {
    let each = record.shards.iter().map(|place| async move {
        let state = node_state(work, &place.node).await?;
        let condition = match state {
            None | Some(NodeState::Lost) => Condition::Gone,
            Some(_) => ask(&work.objects.nodes, chunk, record, place, check_bytes).await,
        };
        let drains = matches!(state, Some(NodeState::Draining | NodeState::Drained));
        let leaving = drains || away_from == Some(&place.node);
        Ok(Inspected { place: place.clone(), condition, drains, leaving })
    });
    join_all(each).await.into_iter().collect()
}

async fn node_state(work: &Work, node: &NodeId) -> Result<Option<NodeState>> {
    let entry = work.objects.metadata.get(&keys::node(node)).await?;
    Ok(entry.map(|entry| NodeRecord::decode(&entry.value)).transpose()?.map(|record| record.state))
}

async fn ask(nodes: &Nodes, chunk: ChunkId, record: &ChunkRecord, place: &ShardPlace, check_bytes: bool) -> Condition {
    let Some(member) = nodes.member(&place.node) else { return Condition::Unknown };
    let shard = ShardId { chunk, index: place.index };
    let head = match member.head(shard).await {
        Ok(head) => head,
        Err(error) => return condition_of(error.kind),
    };
    if head.crc != place.crc || head.length != record.shard_length() {
        return Condition::Bad;
    }
    if !check_bytes {
        return Condition::Good;
    }
    match member.get(shard).await {
        Ok(data) if crc32fast::hash(&data) == place.crc => Condition::Good,
        Ok(_) => Condition::Bad,
        Err(error) => condition_of(error.kind),
    }
}

/// Three-valued: only an answer about the shard says anything about it (faults S7).
fn condition_of(kind: ErrorKind) -> Condition {
    match kind {
        ErrorKind::NotFound => Condition::Absent,
        ErrorKind::Corrupt => Condition::Bad,
        ErrorKind::Conflict
        | ErrorKind::Invalid
        | ErrorKind::Denied
        | ErrorKind::Unavailable
        | ErrorKind::Full
        | ErrorKind::Unknown => Condition::Unknown,
    }
}
