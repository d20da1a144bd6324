//! `rm -rf` of the coordinator's directory loses nothing.

use super::{PROGRESS_WAIT, complaint, report, restore};
use serde_json::Value;
use std::collections::BTreeMap;
use testing::real::{Client, Cluster, LoadPlan, Plan, read_back, sha256};

/// Versions written by the large test.
const VERSIONS: usize = 1_000;
/// Names they are spread over.
const NAMES: usize = 250;

/// Everything that can be seen of every file: its line in the listing, all its versions, and the hash of each version's bytes.
async fn everything(client: &Client) -> BTreeMap<String, (Value, Vec<(Value, String)>)> {
    let mut all = BTreeMap::new();
    for name in client.names("").await {
        let listed = client.get(&format!("/files?prefix={name}&limit=1")).await.expect(200).json()["files"][0].clone();
        let mut versions = Vec::new();
        for version in client.versions(&name).await {
            let number = version["version"].as_u64();
            let reply = client.download(&name, number).await;
            versions.push((version, format!("{} {}", reply.status, sha256(&reply.body))));
        }
        all.insert(name, (listed, versions));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_of_a_thousand_versions_is_restored_identical() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client();
    for n in 0..VERSIONS {
        client.upload(&format!("file-{:03}", n % NAMES), format!("version {n} of a file").repeat(20).as_bytes()).await;
    }
    for n in 0..20 {
        client.delete(&format!("file-{n:03}")).await;
        client.send(client.delete_request(&format!("file-{:03}", 20 + n), true)).await.expect(200);
    }
    let before = everything(&client).await;
    cluster.coordinator.kill();
    std::fs::remove_dir_all(cluster.data("coordinator")).unwrap();

    let said = Cluster::refusal_of(&mut cluster.coordinator);
    assert!(said.contains("restore-catalog"), "an empty directory is refused, and it is said what to do: {said}");
    std::fs::remove_dir_all(cluster.data("coordinator")).unwrap();
    let report = report(&restore(&cluster, "restored", &[1, 2, 3, 4]));
    assert_eq!(report["versions"].as_u64().unwrap(), (VERSIONS + 20) as u64, "{report}");
    assert!(complaint(&restore(&cluster, "restored", &[1, 2, 3, 4])).contains("not empty"));

    let restored = cluster.data("restored").display().to_string();
    cluster.coordinator.change_flag("--data", restored);
    cluster.start_coordinator().await;
    cluster.wait_healthy().await;
    assert_eq!(everything(&client).await, before);
    client.upload("afterwards", b"and it goes on").await;
    cluster.stop_all();
}

/// Fault row 10: the coordinator's disk and one node are lost under load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_coordinators_disk_and_a_node_are_lost_under_load() {
    let mut cluster = Cluster::start().await;
    let load = LoadPlan::new(611).begin(&cluster.client());
    load.more(60, PROGRESS_WAIT).await;
    cluster.node(2).kill();
    load.more(60, PROGRESS_WAIT).await;
    cluster.coordinator.kill();
    let ledger = load.end().await;
    std::fs::remove_dir_all(cluster.data("coordinator")).unwrap();

    let said = complaint(&restore(&cluster, "restored", &[1, 3]));
    assert!(said.contains("n4") && said.contains("3 are needed"), "two of four do not suffice: {said}");
    assert!(!cluster.data("restored").exists(), "a directory that may lack something is not left behind");
    report(&restore(&cluster, "restored", &[1, 2, 3, 4]));
    let restored = cluster.data("restored").display().to_string();
    cluster.coordinator.change_flag("--data", restored);
    cluster.start_coordinator().await;
    let read = read_back(&cluster.client(), &ledger).await;
    assert!(read.versions >= 50, "only {} versions: nothing was tested", read.versions);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_nothing_to_restore_where_nothing_was_committed() {
    let mut cluster = Plan::new().start().await;
    cluster.kill_all();
    let said = complaint(&restore(&cluster, "restored", &[1, 2]));
    assert!(said.contains("none of 2 nodes"), "{said}");
}
