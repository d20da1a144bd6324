//! Which disk belongs to which node, kept in the metadata: an emptied, swapped or foreign disk is noticed before it is used (I21).

use super::KnownNodes;
use crate::metadata::records::{NodeRecord, NodeState, Record, WantedRecord};
use crate::metadata::{Batch, Expect, Metadata, SCAN_ENTRIES_MAX, keys};
use async_trait::async_trait;
use protocol::{Clock, Error, NodeHealth, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tracing::{debug, info, warn};

/// The worker that compares what nodes hold with what the records say. It looks at everything when a node is not what it was.
pub const CENSUS: &str = "census";
/// The worker that has chunks move to where placement wants them.
pub const REBALANCE: &str = "rebalance";
/// How long the note of a node's start may take: less than a probe.
const NOTE_START_WAIT: Duration = Duration::from_secs(1);
/// An ordinary node's weight.
const WEIGHT_DEFAULT: u32 = 100;

/// The record of nodes, over the metadata.
pub struct Registry {
    pub(super) metadata: Arc<dyn Metadata>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Registry {
    /// The record of nodes in `metadata`.
    pub fn new(metadata: Arc<dyn Metadata>, clock: Arc<dyn Clock>) -> Registry {
        Registry { metadata, clock }
    }
}

/// Refuses a disk that is another one, unless the operator said that it is.
fn refuse_another(known: &NodeRecord, health: &NodeHealth) -> Result<()> {
    match known.disk != health.disk && !health.replaced {
        true => Err(Error::denied(format!(
            "node {} shows disk {}, but its data is on disk {}: mount that one, or start the node with --replace if it is lost",
            health.node, health.disk, known.disk
        ))),
        false => Ok(()),
    }
}

/// Refuses a disk that does not remember a start that was seen of it: an older copy of it lacks what was acknowledged since.
fn refuse_rolled_back(known: &NodeRecord, health: &NodeHealth) -> Result<()> {
    let seen = known.start.filter(|_| known.disk == health.disk && health.starts.number > 0);
    match seen {
        Some(seen) if !health.starts.may_remember(seen) => Err(Error::denied(format!(
            "node {} shows disk {} as it was before its start {}: an older copy is in its place, and lacks what was written since. Put the \
             right disk back; if it is lost, empty the directory and start the node with --replace, and it is filled again",
            health.node, health.disk, seen.number
        ))),
        _ => Ok(()),
    }
}

/// Why a node may not have what the records say.
fn may_lack(known: &NodeRecord, health: &NodeHealth) -> Option<&'static str> {
    match known.disk == health.disk {
        false => Some("has a new disk"),
        true => health.starts.doubtful_since(known.start).then_some("may have lost some of what it had"),
    }
}

#[async_trait]
impl KnownNodes for Registry {
    async fn admit(&self, health: &NodeHealth, url: &str) -> Result<bool> {
        let key = keys::node(&health.node);
        let entry = self.metadata.get(&key).await?;
        let known = entry.as_ref().map(|entry| NodeRecord::decode(&entry.value)).transpose()?;
        if let Some(known) = &known {
            refuse_another(known, health)?;
            refuse_rolled_back(known, health)?;
        }
        let same_disk = known.as_ref().filter(|known| known.disk == health.disk);
        let start = health.starts.last().or(same_disk.and_then(|known| known.start));
        let is_known = same_disk.is_some_and(|known| known.url == url && known.zone == health.zone);
        if is_known && same_disk.is_some_and(|known| known.start == start) {
            return Ok(true);
        }
        let now_ms = self.clock.now_ms();
        let lacks = known.as_ref().and_then(|known| may_lack(known, health));
        let state = known.as_ref().map_or(NodeState::Active, |known| known.state);
        let record = NodeRecord {
            node: health.node.clone(),
            url: url.to_owned(),
            zone: health.zone.clone(),
            disk: health.disk,
            weight: known.as_ref().map_or(WEIGHT_DEFAULT, |known| known.weight),
            known_since_ms: known.as_ref().map_or(now_ms, |known| known.known_since_ms),
            state,
            state_since_ms: known.as_ref().map_or(now_ms, |known| known.state_since_ms),
            decommissioned: known.as_ref().is_some_and(|known| known.decommissioned),
            unproved: lacks.is_some() || known.as_ref().is_some_and(|known| known.unproved),
            start,
        };
        let mut commit = Batch::new();
        commit.check(key.clone(), Expect::unchanged(entry.as_ref()));
        // A node brings room.
        commit.put(key, record.encode()).reclaim();
        if let Some(lacks) = lacks {
            warn!(target: "degradation", node = %health.node, "the node {lacks}; a census finds what is to be repaired");
            let wanted = WantedRecord { since_ms: now_ms, reason: format!("node {} {lacks}", health.node) };
            commit.put(keys::wanted(CENSUS, self.clock.fresh_id()), wanted.encode());
        }
        if same_disk.is_none() {
            self.metadata.commit(commit).await?;
        } else {
            // The node has what it had, wherever it is now: reads need not wait until the catalog takes commits.
            let noted = timeout(NOTE_START_WAIT, self.metadata.commit(commit)).await;
            let why = match noted {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.message),
                Err(_) => Some("the commit takes long".to_owned()),
            };
            if let Some(why) = why {
                debug!(node = %health.node, why, "what is new of the node is not on record yet");
                return Ok(false);
            }
        }
        if is_known {
            return Ok(true);
        }
        match known {
            None => info!(node = %health.node, url, disk = %health.disk, "node recorded"),
            Some(_) => {
                info!(target: "degradation", node = %health.node, url, disk = %health.disk, "what is known of the node has changed")
            }
        }
        Ok(true)
    }

    async fn recorded(&self) -> Result<Vec<NodeRecord>> {
        let range = keys::nodes();
        let entries = self.metadata.scan(&range.from, &range.to, SCAN_ENTRIES_MAX).await?;
        entries.iter().map(|(_, entry)| NodeRecord::decode(&entry.value)).collect()
    }
}
