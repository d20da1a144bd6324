//! What is wrong with a cluster, in words: from what is known, no questions asked. Pure, so that every sentence can be tested.
//!
//! What it keeps true: a finding says what is wrong, since when, what is being done about it, and what a person should do; the worst
//! comes first; and it names the alert whose section in `docs/operating.md` says more.

use crate::metadata::{FullDisks, Serves};
use crate::nodes::NodeReport;
use crate::nodes::registry::CENSUS;
use crate::object::{RepairQueue, WriteOutlook};
use crate::placement::Circuit;
use crate::worker::{State, WorkerStatus};
use protocol::NodeStatus;
use serde::Serialize;

/// What is known.
pub(super) struct Scene {
    /// Nodes that should answer.
    pub(super) nodes: Vec<NodeReport>,
    pub(super) writes: WriteOutlook,
    pub(super) catalog: Serves,
    /// What waits for repair; or why that cannot be told.
    pub(super) queue: Result<RepairQueue, String>,
    pub(super) workers: Vec<WorkerStatus>,
    pub(super) has_lease: bool,
    /// Nodes that safe mode waits for; empty when it is over.
    pub(super) waits_for: Vec<String>,
}

/// How soon a person should act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Urgency {
    /// At once, at night too.
    Now,
    /// Today.
    Soon,
    /// It is good to know.
    Note,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) urgency: Urgency,
    /// The alert that tells of it, and the section of `docs/operating.md`.
    pub(super) alert: &'static str,
    pub(super) what: String,
    /// Since when, in milliseconds since 1970, where that is known.
    pub(super) since_ms: Option<u64>,
    pub(super) being_done: String,
    pub(super) to_do: String,
}

/// Everything that is wrong, the worst first.
pub(super) fn findings(scene: &Scene) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &scene.queue {
        Ok(queue) => {
            lost(queue.lost, &mut findings);
            short(scene, queue, &mut findings);
        }
        Err(why) => findings.push(Finding {
            urgency: Urgency::Now,
            alert: "ErrorRate",
            what: format!("The catalog cannot be read: {why}."),
            since_ms: None,
            being_done: "Nothing; requests that need it fail.".to_owned(),
            to_do: "Look at the coordinator's log and at its disk.".to_owned(),
        }),
    }
    catalog(scene, &mut findings);
    writes(scene, &mut findings);
    scene.nodes.iter().for_each(|node| of_node(node, &mut findings));
    held_back(scene, &mut findings);
    workers(scene, &mut findings);
    findings.sort_by_key(|finding| finding.urgency);
    findings
}

fn name(node: &NodeReport) -> &str {
    node.id.as_ref().map_or(node.url.as_str(), |id| id.as_str())
}

fn worker<'a>(scene: &'a Scene, name: &str) -> Option<&'a WorkerStatus> {
    scene.workers.iter().find(|worker| worker.name == name)
}

fn chunks(count: usize) -> String {
    if count == 1 { "1 chunk".to_owned() } else { format!("{count} chunks") }
}

fn lost(lost: usize, findings: &mut Vec<Finding>) {
    if lost > 0 {
        findings.push(Finding {
            urgency: Urgency::Now,
            alert: "DataLost",
            what: format!(
                "Too few good shards of {} are left on the nodes that held them: each has answered, or counts as lost.",
                chunks(lost)
            ),
            since_ms: None,
            being_done: "Repair looks again every few seconds, in case a disk with a copy comes back.".to_owned(),
            to_do: "Start the nodes that count as lost, and bring back every disk that was replaced, wiped or taken out lately. /admin/verify names the files concerned; upload \
                    those again from elsewhere."
                .to_owned(),
        });
    }
}

fn catalog(scene: &Scene, findings: &mut Vec<Finding>) {
    let (what, being_done, to_do) = match &scene.catalog {
        Serves::All => return,
        Serves::DeletesOnly(FullDisks::Coordinators, why) => (
            format!("The coordinator's disk is full: {why}."),
            "Reads and deletes go on, and what is deleted is cleaned up, as long as its reserve lasts.",
            "Make room on the disk of the coordinator's directory; it goes on by itself.",
        ),
        Serves::DeletesOnly(FullDisks::Nodes, why) => (
            format!("The storage nodes' disks have no room for the catalog's journal: {why}."),
            "Reads and deletes go on, and what is deleted is cleaned up, as long as their reserve lasts.",
            "Purge what is not needed, add nodes, or give the nodes larger disks; it goes on by itself.",
        ),
        Serves::ReadsOnly(why) => (
            format!("The catalog takes no commits: {why}."),
            "The coordinator asks the nodes again every second or two.",
            "Start the storage nodes that are down, or do what the reason says. All but one must answer where no epoch is held.",
        ),
        Serves::Nothing(why) => (
            format!("The catalog cannot be read: {why}."),
            "The coordinator asks the nodes again every second or two; with an index that has failed it ends.",
            "Start the storage nodes that are down; have the coordinator started again where nothing does that by itself.",
        ),
        Serves::Superseded(why) => (
            format!("Another coordinator has taken this catalog over: {why}."),
            "This coordinator refuses every write and ends by itself: what it reads grows old.",
            "Send clients to the other one.",
        ),
    };
    let (being_done, to_do) = (being_done.to_owned(), to_do.to_owned());
    findings.push(Finding { urgency: Urgency::Now, alert: "WritesRefused", what, since_ms: None, being_done, to_do });
}

fn writes(scene: &Scene, findings: &mut Vec<Finding>) {
    let WriteOutlook { nodes, answering, accepting, now, after_one_failure, .. } = scene.writes;
    if !now {
        let silent = scene.nodes.iter().filter(|node| !node.healthy).filter_map(|node| node.last_seen_ms);
        findings.push(Finding {
            urgency: Urgency::Now,
            alert: "WritesRefused",
            what: format!(
                "Every write is refused: of {nodes} nodes {answering} answer and {accepting} of them take writes. More than half must \
                 answer, and enough take writes for a quorum."
            ),
            since_ms: silent.max(),
            being_done: "The nodes are asked again and again; writes go on by themselves once enough answer.".to_owned(),
            to_do: "Start the nodes that are down, or give those that are full more room.".to_owned(),
        });
    } else if !after_one_failure {
        findings.push(Finding {
            urgency: Urgency::Soon,
            alert: "WritesRefused",
            what: "Writes are accepted, but would not be after one more node fails.".to_owned(),
            since_ms: None,
            being_done: "Nothing is needed for reads and writes now.".to_owned(),
            to_do: "Bring back what is down; with fewer than four nodes, add one.".to_owned(),
        });
    }
}

fn short(scene: &Scene, queue: &RepairQueue, findings: &mut Vec<Finding>) {
    let classes = [
        (queue.last_copy, Urgency::Now, "DataAtRisk", "can lose no further copy"),
        (queue.degraded, Urgency::Soon, "RepairStalled", "must get more copies, and can lose another"),
    ];
    for (count, urgency, alert, what) in classes {
        if count > 0 {
            findings.push(Finding {
                urgency,
                alert,
                what: format!("{} {what}.", chunks(count)),
                since_ms: queue.oldest_ms,
                being_done: repairing(scene, queue),
                to_do: "Nothing while repair advances. Otherwise start the nodes that are down, or add one, so that there is where to \
                        copy to."
                    .to_owned(),
            });
        }
    }
}

/// What repair does about it.
fn repairing(scene: &Scene, queue: &RepairQueue) -> String {
    if !scene.has_lease {
        return match scene.catalog {
            Serves::All => "Another coordinator's workers repair; ask that one how far they are.".to_owned(),
            _ => "Nothing: the catalog takes no commits.".to_owned(),
        };
    }
    let Some(repair) = worker(scene, "repair") else { return "Nothing: there is no repair worker.".to_owned() };
    let reason = repair.reason.as_deref().unwrap_or("no reason given");
    match repair.state {
        State::Working => {
            let eta = repair.eta_s.map_or_else(String::new, |eta| format!(", done in about {eta} s"));
            let rate = repair.bytes_per_s;
            format!("Repair copies the most urgent first: about {} bytes to go, {rate} a second{eta}.", queue.bytes)
        }
        State::Idle => "Repair is about to begin.".to_owned(),
        State::Waiting => format!("Repair cannot go on: {reason}."),
        State::Failing => format!("Repair fails and tries again: {reason}."),
        State::Paused => "Nothing: an operator paused repair.".to_owned(),
        State::SafeMode => format!("Nothing yet: repair {reason}."),
        State::NoLease => "Repair waits for its lease.".to_owned(),
    }
}

fn of_node(node: &NodeReport, findings: &mut Vec<Finding>) {
    let (name, url) = (name(node), &node.url);
    let error = node.error.as_deref().unwrap_or("its circuit breaker is open");
    if !node.healthy {
        let breaker = if node.circuit_state == Circuit::Open { "is open" } else { "lets trials pass" };
        findings.push(Finding {
            urgency: Urgency::Now,
            alert: "NodeDown",
            what: format!("Storage node {name} ({url}) is down: {error}."),
            since_ms: node.last_seen_ms,
            being_done: format!(
                "Reads and writes go to the others, and its breaker {breaker}. After --node-lost-after-s of silence it counts as lost, \
                 and what it held is copied from the others."
            ),
            to_do: "Look at the machine and its log, and start it again. If its disk is gone, start it on an empty one with --replace; if \
                    it will not come back, see 'A node is lost' in docs/operating.md."
                .to_owned(),
        });
        return;
    }
    let (alert, what, to_do) = match node.status {
        None | Some(NodeStatus::Ok) => return,
        Some(NodeStatus::Full) => (
            "DiskFull",
            format!(
                "Storage node {name} ({url}) is full: {} of {} bytes are free.",
                node.free_bytes, node.capacity_bytes
            ),
            "Add a node, give this one a larger disk, or delete something; space comes back after the trash window.",
        ),
        Some(NodeStatus::ReadOnly) => (
            "DiskFailing",
            format!("The disk of storage node {name} ({url}) refuses writes."),
            "Look at the machine's kernel log, and replace the disk: decommission the node if it still reads, then start it with --replace.",
        ),
    };
    let being_done = "It serves reads and deletes; writes go to the others.".to_owned();
    let to_do = to_do.to_owned();
    findings.push(Finding { urgency: Urgency::Now, alert, what, since_ms: None, being_done, to_do });
}

fn held_back(scene: &Scene, findings: &mut Vec<Finding>) {
    if !scene.waits_for.is_empty() {
        findings.push(Finding {
            urgency: Urgency::Soon,
            alert: "RepairHeldBack",
            what: format!(
                "Nothing is repaired or deleted since the coordinator started: {} has not answered it yet.",
                scene.waits_for.join(", ")
            ),
            since_ms: None,
            being_done: "It waits, because what seems to be missing may be there.".to_owned(),
            to_do: "Start these nodes. If they will not come back: DELETE /admin/safe-mode.".to_owned(),
        });
    }
}

fn workers(scene: &Scene, findings: &mut Vec<Finding>) {
    for worker in &scene.workers {
        let reason = worker.reason.as_deref().unwrap_or("no reason given");
        let (urgency, what, being_done, to_do) = match worker.state {
            State::Failing => (
                Urgency::Soon,
                format!("The worker '{}' fails: {reason}.", worker.name),
                "It tries again, every 30 s at least.",
                "If that lasts longer than a few minutes, look at the coordinator's log.",
            ),
            State::Paused => (
                Urgency::Note,
                format!("The worker '{}' is paused by an operator.", worker.name),
                "Nothing, until it is resumed or the coordinator starts again.",
                "POST {\"paused\":false} to /admin/workers/<name> when it may go on.",
            ),
            State::Waiting if worker.name == CENSUS && reason.contains("allow_removal") => (
                Urgency::Soon,
                format!("The census removes nothing of what is left over: {reason}."),
                "Nothing, until an operator says so.",
                "See that this is the right catalog: was it restored, or did writes fail for long? Then allow it as it says.",
            ),
            State::NoLease | State::SafeMode | State::Idle | State::Working | State::Waiting => continue,
        };
        let (being_done, to_do) = (being_done.to_owned(), to_do.to_owned());
        findings.push(Finding { urgency, alert: "WorkerFailing", what, since_ms: None, being_done, to_do });
    }
}

#[cfg(test)]
mod tests;
