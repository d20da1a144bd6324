//! What is said of a cluster in trouble.

use super::*;
use crate::placement::Health;
use crate::worker::Tuning;

fn node(name: &str) -> NodeReport {
    NodeReport {
        id: Some(name.parse().unwrap()),
        url: format!("http://{name}:8081"),
        healthy: true,
        circuit_state: Circuit::Closed,
        health: Health::Healthy,
        status: Some(NodeStatus::Ok),
        error: None,
        used_bytes: 0,
        free_bytes: 10,
        capacity_bytes: 100,
        shards: 0,
        live_bytes: 0,
        last_seen_ms: Some(1_000),
        read_latency_us: 0,
        write_latency_us: 0,
        in_flight: 0,
        zone: String::new(),
        version: String::new(),
    }
}

fn repair(state: State, reason: Option<&str>) -> WorkerStatus {
    WorkerStatus {
        name: "repair",
        state,
        reason: reason.map(str::to_owned),
        steps: 0,
        items: 0,
        bytes: 0,
        bytes_per_s: 500,
        items_per_s: 0.0,
        queued: None,
        queued_bytes: None,
        eta_s: Some(20),
        tuning: Tuning { paused: false, bytes_per_s: 0, tranquility: 0 },
    }
}

fn whole() -> Scene {
    Scene {
        nodes: ["n1", "n2", "n3", "n4"].map(node).into(),
        writes: WriteOutlook::of(4, 4, 4, 2),
        catalog: Serves::All,
        queue: Ok(RepairQueue::default()),
        workers: vec![repair(State::Idle, None)],
        has_lease: true,
        waits_for: Vec::new(),
    }
}

fn told(scene: &Scene) -> Vec<(Urgency, &'static str, Option<u64>)> {
    findings(scene).iter().map(|finding| (finding.urgency, finding.alert, finding.since_ms)).collect()
}

#[test]
fn nothing_is_said_of_a_cluster_that_is_whole() {
    assert_eq!(told(&whole()), []);
}

#[test]
fn a_node_that_is_down_is_named_with_its_last_answer_and_what_follows() {
    let mut scene = whole();
    let down = &mut scene.nodes[2];
    (down.healthy, down.health, down.error) = (false, Health::Down, Some("connection refused".to_owned()));
    scene.writes = WriteOutlook::of(4, 3, 3, 2);
    scene.queue = Ok(RepairQueue { degraded: 3, bytes: 10_000, oldest_ms: Some(2_000), ..RepairQueue::default() });
    scene.workers = vec![repair(State::Working, None)];
    assert_eq!(
        told(&scene),
        [
            (Urgency::Now, "NodeDown", Some(1_000)),
            (Urgency::Soon, "RepairStalled", Some(2_000)),
            (Urgency::Soon, "WritesRefused", None),
        ]
    );
    let findings = findings(&scene);
    assert!(findings[0].what.contains("n3") && findings[0].what.contains("connection refused"), "{findings:#?}");
    assert!(
        findings[1].being_done.contains("about 10000 bytes to go, 500 a second, done in about 20 s"),
        "{findings:#?}"
    );
}

#[test]
fn what_endangers_data_and_writes_comes_first() {
    let mut scene = whole();
    scene.writes = WriteOutlook::of(4, 2, 2, 2);
    scene.nodes[0].status = Some(NodeStatus::Full);
    scene.nodes[1].status = Some(NodeStatus::ReadOnly);
    scene.waits_for = vec!["n4".to_owned()];
    scene.queue = Ok(RepairQueue { lost: 2, last_copy: 1, ..RepairQueue::default() });
    scene.workers = vec![repair(State::Failing, Some("no room"))];
    let expected = [
        (Urgency::Now, "DataLost"),
        (Urgency::Now, "DataAtRisk"),
        (Urgency::Now, "WritesRefused"),
        (Urgency::Now, "DiskFull"),
        (Urgency::Now, "DiskFailing"),
        (Urgency::Soon, "RepairHeldBack"),
        (Urgency::Soon, "WorkerFailing"),
    ];
    let found: Vec<_> = told(&scene).into_iter().map(|(urgency, alert, _)| (urgency, alert)).collect();
    assert_eq!(found, expected);
    let at_risk = findings(&scene)[1].clone();
    assert_eq!(at_risk.what, "1 chunk can lose no further copy.");
    assert_eq!(at_risk.being_done, "Repair fails and tries again: no room.");
}

#[test]
fn a_catalog_that_takes_no_commits_says_why() {
    for (catalog, what) in [
        (Serves::ReadsOnly("two nodes are silent".to_owned()), "takes no commits: two nodes are silent"),
        (Serves::DeletesOnly(FullDisks::Coordinators, "no room".to_owned()), "coordinator's disk is full: no room"),
        (Serves::DeletesOnly(FullDisks::Nodes, "no room".to_owned()), "storage nodes' disks have no room"),
        (Serves::Nothing("its index failed".to_owned()), "cannot be read: its index failed"),
        (Serves::Superseded("epoch 7 is held elsewhere".to_owned()), "taken this catalog over: epoch 7"),
    ] {
        let scene = Scene { catalog, ..whole() };
        let findings = findings(&scene);
        assert!(findings.len() == 1 && findings[0].what.contains(what), "{findings:#?}");
    }
    let mut stopped = repair(State::Waiting, Some("POST {\"allow_removal\":true}"));
    stopped.name = CENSUS;
    let scene = Scene { workers: vec![stopped], ..whole() };
    assert!(findings(&scene)[0].what.starts_with("The census removes nothing"), "nobody else would say so");
    let scene = Scene { queue: Err("the index is damaged".to_owned()), ..whole() };
    assert!(findings(&scene)[0].what.contains("the index is damaged"));
}
