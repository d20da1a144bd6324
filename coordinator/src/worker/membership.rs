//! Membership: what the nodes' answers and their silence mean for the cluster, written down.
//!
//! What it keeps true:
//! - A node that was silent for too long is recorded as lost, and a census finds what to repair elsewhere; one that answers again is
//!   recorded as what it was, and a census finds what it still has. Short silence changes nothing, so a node that flaps costs nothing (faults
//!   row 66).
//! - Silence is measured on this process's own time, from when it is first asked in vain, by this process.
//! - A node that is being drained is looked through again until a census finds nothing on it, one with a new disk until it finds nothing
//!   missing.

use super::rebalance::REBALANCE;
use super::{Progress, Work, Worker};
use crate::metadata::keys::KeyRange;
use crate::metadata::records::{NodeRecord, NodeState, Record, RepairRecord, SEVERITY_DRAIN, WantedRecord};
use crate::metadata::{Batch, Entry, Expect, Reserve, SCAN_ENTRIES_MAX, keys};
use crate::nodes::registry::CENSUS;
use async_trait::async_trait;
use protocol::{NodeId, Result};
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The worker.
pub struct Membership {
    lost_after: Duration,
    looked: Option<Instant>,
    /// The nodes that took part when it last looked: a new one may take over some of what the others hold.
    active: Option<Vec<NodeId>>,
}

impl Membership {
    /// Takes a node for lost when it was silent for `lost_after`.
    pub fn new(lost_after: Duration) -> Membership {
        Membership { lost_after, looked: None, active: None }
    }
}

#[async_trait]
impl Worker for Membership {
    fn name(&self) -> &'static str {
        "membership"
    }

    async fn step(&mut self, work: &Work) -> Result<Progress> {
        let now = Instant::now();
        if self.looked.is_some_and(|then| now.duration_since(then) < LOOK_EVERY) {
            return Ok(Progress::Idle);
        }
        self.looked = Some(now);
        let (mut records, mut changed) = (Vec::new(), 0);
        for (_, entry) in work.scan(&keys::nodes(), SCAN_ENTRIES_MAX).await? {
            let mut record = NodeRecord::decode(&entry.value)?;
            if let Some((state, what)) = self.change(work, &record)
                && set_state(work, &entry, &record, state, what).await?
            {
                changed += 1;
                record.state = state;
            }
            records.push(record);
        }
        if records.iter().any(|record| record.unproved) {
            look_through_again(work, &keys::shortages(), "a node may lack some of what it should have").await?;
        }
        if records.iter().any(|record| record.state == NodeState::Draining) {
            look_through_again(work, &keys::repairs_from(SEVERITY_DRAIN), "a node is being drained").await?;
        }
        work.objects.nodes.refresh().await?;
        let active = records.into_iter().filter(|record| record.state == NodeState::Active);
        let active: Vec<NodeId> = active.map(|record| record.node).collect();
        if let Some(before) = self.active.replace(active.clone())
            && active.iter().any(|node| !before.contains(node))
        {
            work.want(REBALANCE, "a node joined").await?;
        }
        Ok(if changed > 0 { Progress::Did { items: changed, bytes: 0 } } else { Progress::Idle })
    }
}

impl Membership {
    /// The state that a node should have, and why, if it is another one.
    fn change(&self, work: &Work, record: &NodeRecord) -> Option<(NodeState, &'static str)> {
        let reachable = work.objects.nodes.answering().contains(&record.node);
        let silent = match work.objects.nodes.member(&record.node) {
            Some(member) => member.silent_for(),
            // Never heard of since the process began.
            None => work.objects.nodes.age(),
        };
        match record.state {
            NodeState::Active | NodeState::Draining if !reachable && silent >= self.lost_after => {
                Some((NodeState::Lost, "was silent for too long and counts as lost"))
            }
            NodeState::Lost if reachable && record.decommissioned => {
                Some((NodeState::Draining, "was lost, is back, and is drained on"))
            }
            NodeState::Lost if reachable => Some((NodeState::Active, "was lost and is back")),
            NodeState::Active | NodeState::Draining | NodeState::Drained | NodeState::Lost => None,
        }
    }
}

/// Records the new state of a node, and that a census is wanted, in one commit.
async fn set_state(work: &Work, entry: &Entry, record: &NodeRecord, state: NodeState, what: &str) -> Result<bool> {
    let now_ms = work.objects.clock.now_ms();
    let key = keys::node(&record.node);
    let now = NodeRecord { state, state_since_ms: now_ms, ..record.clone() };
    let wanted = WantedRecord { since_ms: now_ms, reason: format!("node {} {what}", record.node) };
    let mut commit = Batch::new();
    commit.check(key.clone(), Expect::Revision(entry.revision)).put(key, now.encode());
    commit.put(keys::wanted(CENSUS, work.objects.clock.fresh_id()), wanted.encode()).use_reserve(Reserve::Half);
    let done = work.commit(commit).await?;
    if done {
        warn!(target: "degradation", node = %record.node, "node {what}");
    }
    Ok(done)
}

/// Has a census look once more when all that the last one found is done.
async fn look_through_again(work: &Work, found: &KeyRange, reason: &str) -> Result<()> {
    let pass = super::Pass::read(work, CENSUS).await?;
    let busy = pass.is_under_way()
        || !work.scan(&keys::wanted_of(CENSUS), 1).await?.is_empty()
        || is_anything_to_do(work, found).await?;
    if busy { Ok(()) } else { work.want(CENSUS, reason).await }
}

/// Whether one of these repairs can still be done; those of what is lost for good stay.
async fn is_anything_to_do(work: &Work, found: &KeyRange) -> Result<bool> {
    let mut range = found.clone();
    loop {
        let entries = work.scan(&range, SCAN_ENTRIES_MAX / 8).await?;
        for (_, entry) in &entries {
            if !RepairRecord::decode(&entry.value)?.lost {
                return Ok(true);
            }
        }
        match entries.last() {
            Some((last, _)) if entries.len() == SCAN_ENTRIES_MAX / 8 => range.from = keys::after(last),
            _ => return Ok(false),
        }
    }
}
