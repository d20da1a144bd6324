//! Census: compares what the nodes hold with what the records say, both ways, a window of chunk ids at a time. What is missing is
//! queued for repair; what nothing names goes, when it is old enough.
//!
//! What it keeps true:
//! - A pass begins only while every registered node answers or is recorded as lost; a node that stops answering meanwhile says nothing
//!   in its windows, and another pass is wanted.
//! - What it finds missing is looked at again by repair; what it finds superfluous goes only by a commit that fails if anyone has named
//!   it, or was about to (`docs/decisions/0003-fenced-fast-path.md`).
//! - A pass removes no more than its part ([`judge::Guard`]), and the next ones nothing, until the operator says so: more likely the catalog is
//!   wrong than the disks. What is missing is found and queued all the same.
//! - It holds one window in memory, whatever the cluster's size.

mod judge;
mod window;

use super::{Backlog, Pass, Progress, Work, Worker};
use crate::metadata::records::{NodeRecord, NodeState, Record, WantedRecord};
use crate::metadata::{Batch, Expect, SCAN_ENTRIES_MAX, keys};
use crate::nodes::registry::CENSUS;
use async_trait::async_trait;
use judge::{Guard, Judge};
use protocol::{NodeId, Result};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{error, info, warn};
use window::Window;

/// A count of a pass: places found on a node that is being drained.
fn drains(node: &NodeId) -> String {
    format!("left on {node}")
}

/// A count of a pass: shards that should be on a node and are not.
fn lacks(node: &NodeId) -> String {
    format!("missing on {node}")
}

/// A count of a pass: it began when this disk had not been looked at since this start of its node.
fn proves(node: &NodeRecord) -> String {
    let start = node.start.map_or(0, |start| start.number);
    format!("proves {} {} {start}", node.node, node.disk)
}

/// A count of a pass: shards that no record names and that were kept, because they are too many.
pub const WITHHELD: &str = "withheld";
/// A count of a pass: an earlier one withheld shards, and nobody has allowed yet that they go.
const CLOSED: &str = "removes nothing";
/// What a pass removes.
const REMOVED: [&str; 3] = ["orphans", "unnamed", "unreferenced"];

/// The reason of a wanted pass by which the operator lets it remove as much again.
pub const REMOVAL_ALLOWED: &str = "the operator allows removal";

/// A pass that a node did not answer is repeated after this; each time that happens again, after twice as long,
const PATIENCE_MIN: Duration = Duration::from_millis(500);
/// up to this.
const PATIENCE_MAX: Duration = Duration::from_secs(60);

/// The worker.
pub struct Census {
    interval: Duration,
    grace: Duration,
    /// Of the pass that is under way, if this process has begun it or gone on with it.
    guard: Option<Guard>,
    /// How long the next pass waits after one that a node did not answer, and until when.
    patience: Duration,
    not_before: Option<Instant>,
}

impl Census {
    /// Begins a pass `interval` after the last one ended; leaves alone what is younger than `grace`.
    pub fn new(interval: Duration, grace: Duration) -> Census {
        Census { interval, grace, guard: None, patience: PATIENCE_MIN, not_before: None }
    }

    async fn begin(&mut self, work: &Work, pass: &mut Pass) -> Result<Progress> {
        let is_closed = pass.counted(WITHHELD) > 0;
        if !pass.is_due(work, self.interval).await? {
            return Ok(if is_closed { Progress::Waits(withheld(pass)) } else { Progress::Idle });
        }
        let is_closed = is_closed && !removal_is_allowed(work).await?;
        let answering = work.objects.nodes.answering();
        let registered = registered(work).await?;
        // A drained node may be switched off, and a lost one is gone.
        let expected = registered.iter().filter(|node| matches!(node.state, NodeState::Active | NodeState::Draining));
        let silent: Vec<&str> =
            expected.filter(|node| !answering.contains(&node.node)).map(|node| node.node.as_str()).collect();
        if !silent.is_empty() {
            return Ok(Progress::Waits(format!("a census waits for {} to answer", silent.join(", "))));
        }
        if self.not_before.is_some_and(|then| Instant::now() < then) {
            return Ok(Progress::Waits(
                "a node did not answer during the last census, which is repeated in a while".to_owned(),
            ));
        }
        let draining = registered.iter().filter(|node| node.state == NodeState::Draining);
        let unproved = registered.iter().filter(|node| node.unproved);
        let counts = draining.map(|node| (drains(&node.node), 0)).chain(unproved.map(|node| (proves(node), 1)));
        let counts = counts.chain(is_closed.then(|| (CLOSED.to_owned(), 1))).collect();
        if pass.begin_with(work, counts).await? {
            self.guard = None;
        }
        Ok(Progress::Did { items: 0, bytes: 0 })
    }

    /// The guard of the pass that is under way; what it has removed and withheld so far is known whoever did it.
    fn guard_of(&mut self, work: &Work, pass: &Pass) -> &mut Guard {
        self.guard.get_or_insert_with(|| {
            let shards = work.objects.nodes.status().iter().map(|node| node.shards).sum();
            match pass.counted(CLOSED) + pass.counted(WITHHELD) > 0 {
                true => Guard::closed(),
                false => Guard::new(shards, REMOVED.iter().map(|what| pass.counted(what)).sum()),
            }
        })
    }

    async fn end(&mut self, work: &Work, pass: &mut Pass) -> Result<Progress> {
        if pass.counted("unanswered") > 0 {
            work.want(CENSUS, "a node did not answer during the last one").await?;
            // It answers when it is asked how it is, so it is not waited for; it may never answer this.
            self.not_before = Some(Instant::now() + self.patience);
            self.patience = (2 * self.patience).min(PATIENCE_MAX);
        } else {
            (self.patience, self.not_before) = (PATIENCE_MIN, None);
        }
        for node in registered(work).await? {
            let left = pass.record.counts.get(&drains(&node.node)).copied();
            if node.state == NodeState::Draining && left == Some(0) && pass.counted("unanswered") == 0 {
                set_drained(work, &node.node).await?;
            }
            if node.state == NodeState::Drained && left.is_some_and(|left| left > 0) {
                back_to_draining(work, &node.node).await?;
            }
            let proved = pass.counted(&lacks(&node.node)) == 0 && pass.counted("unanswered") == 0;
            if node.unproved && proved && pass.counted(&proves(&node)) > 0 {
                let is_other = |record: &NodeRecord| (record.disk, record.start) != (node.disk, node.start);
                change_node(work, &node.node, |record| record.unproved &= is_other(record)).await?;
            }
        }
        if pass.counted(WITHHELD) > 0 {
            error!(target: "degradation", reason = withheld(pass), "the census removes nothing");
        }
        let found: Vec<String> = pass.record.counts.iter().map(|(what, count)| format!("{what}: {count}")).collect();
        let found = found.join(", ");
        if ["missing"].iter().chain(&REMOVED).any(|what| pass.counted(what) > 0) {
            info!(target: "degradation", found, "census done");
        } else {
            info!(found, "census done");
        }
        pass.finish(work).await?;
        Ok(Progress::Did { items: 0, bytes: 0 })
    }
}

#[async_trait]
impl Worker for Census {
    fn name(&self) -> &'static str {
        CENSUS
    }

    async fn step(&mut self, work: &Work) -> Result<Progress> {
        let mut pass = Pass::read(work, CENSUS).await?;
        if !pass.is_under_way() {
            return self.begin(work, &mut pass).await;
        }
        let registered = registered(work).await?;
        let window = Window::read(work, &pass.record.position, &registered).await?;
        let grace = self.grace;
        let guard = self.guard_of(work, &pass);
        let before = guard.withheld;
        let mut judge = Judge::new(work, &registered, grace, guard);
        let items = window.len() as u64;
        judge.all(&window).await?;
        for (what, more) in judge.counts() {
            pass.count(&what, more);
        }
        pass.count("unanswered", window.silent.len() as u64);
        let more = guard.withheld - before;
        if more > 0 {
            pass.count(WITHHELD, more);
        }
        match window.next {
            Some(next) => {
                pass.record.position = next.0.as_bytes().to_vec();
                pass.save(work).await?;
                Ok(Progress::Did { items, bytes: 0 })
            }
            None => self.end(work, &mut pass).await,
        }
    }

    async fn backlog(&self, work: &Work) -> Result<Backlog> {
        let pass = Pass::read(work, CENSUS).await?;
        if !pass.is_under_way() {
            let wanted = work.scan(&keys::wanted_of(CENSUS), SCAN_ENTRIES_MAX).await?.len() as u64;
            return Ok(Backlog { items: Some(wanted), bytes: None });
        }
        let shards: u64 = work.objects.nodes.status().iter().map(|node| node.shards).sum();
        Ok(Backlog { items: Some(shards.saturating_sub(pass.counted("shards")).max(1)), bytes: None })
    }
}

/// What the operator is told of a pass that kept what it would have removed.
fn withheld(pass: &Pass) -> String {
    format!(
        "it would remove {} shards that no record names, of {} in all: see that this is the right catalog, then POST \
         {{\"allow_removal\":true}} to /admin/workers/census to let a part of them go",
        pass.counted(WITHHELD),
        pass.counted("shards")
    )
}

/// Whether the operator has said that the next pass may remove.
async fn removal_is_allowed(work: &Work) -> Result<bool> {
    for (_, entry) in work.scan(&keys::wanted_of(CENSUS), SCAN_ENTRIES_MAX).await? {
        if WantedRecord::decode(&entry.value)?.reason == REMOVAL_ALLOWED {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Every node that is registered.
pub(super) async fn registered(work: &Work) -> Result<Vec<NodeRecord>> {
    let entries = work.scan(&keys::nodes(), SCAN_ENTRIES_MAX).await?;
    entries.iter().map(|(_, entry)| NodeRecord::decode(&entry.value)).collect()
}

/// Nothing is left on the node: the operator may switch it off.
async fn set_drained(work: &Work, node: &NodeId) -> Result<()> {
    if !work.scan(&keys::trash_of(node), 1).await?.is_empty() {
        return Ok(());
    }
    let now_ms = work.objects.clock.now_ms();
    let drained = |record: &mut NodeRecord| (record.state, record.state_since_ms) = (NodeState::Drained, now_ms);
    if change_node(work, node, drained).await? {
        warn!(target: "degradation", node = %node, "node is drained: nothing is left on it");
    }
    Ok(())
}

/// What slept while its node was drained was named there after all.
async fn back_to_draining(work: &Work, node: &NodeId) -> Result<()> {
    let now_ms = work.objects.clock.now_ms();
    let draining = |record: &mut NodeRecord| (record.state, record.state_since_ms) = (NodeState::Draining, now_ms);
    if change_node(work, node, draining).await? {
        warn!(target: "degradation", node = %node, "node is not drained: shards on it are needed");
    }
    Ok(())
}

/// False if the node is gone, or someone else changed its record at the same time.
async fn change_node(work: &Work, node: &NodeId, change: impl FnOnce(&mut NodeRecord)) -> Result<bool> {
    let Some(entry) = work.objects.metadata.get(&keys::node(node)).await? else { return Ok(false) };
    let mut record = NodeRecord::decode(&entry.value)?;
    change(&mut record);
    let mut commit = Batch::new();
    commit.check(keys::node(node), Expect::Revision(entry.revision)).put(keys::node(node), record.encode());
    work.commit(commit).await
}
