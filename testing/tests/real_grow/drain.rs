//! Nodes are emptied, whatever dies meanwhile.

use super::{Files, WORK_WAIT, node, order, plan, post, take_out, wait_members, wait_state};
use crate::census::{assert_whole, holders, wait_clean};
use serde_json::json;
use testing::real::{Cluster, eventually};

/// Moves take so long that something can happen between them.
async fn slowly(cluster: &Cluster) {
    let slow = json!({ "bytes_per_s": 12 << 20 });
    post(&cluster.client(), "/admin/workers/repair", slow).await.expect(200);
}

/// Waits until a node has given away some of what it held.
async fn wait_partly_empty(cluster: &Cluster, number: usize) {
    let shards = async || {
        let health = cluster.node_client(number).get("/health").await.expect(200).json();
        health["shards"].as_u64().expect("a number")
    };
    let before = shards().await;
    assert!(before > 40, "{before} shards are too few to be interrupted");
    eventually("it has given something away", WORK_WAIT, || async {
        let now = shards().await;
        if now < before { Ok(()) } else { Err(format!("{now} of {before}")) }
    })
    .await;
    // On a busy machine what it gave away may go all at once; as long as it is draining it is not done with.
    let told = cluster.client().get(&format!("/admin/nodes/n{number}")).await.expect(200).json();
    assert_eq!(told["state"], "draining", "it is empty already: the test tests nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_emptied_although_the_coordinator_is_killed_and_then_taken_out() {
    let mut cluster = plan("3").nodes(5).start().await;
    let files = Files::upload(&cluster, 60, 1 << 20).await;
    let chunks = holders(&mut cluster).await.len();
    slowly(&cluster).await;
    let client = cluster.client();
    take_out(&client, "n5").await.expect(409);
    assert_eq!(order(&client, "n5", "decommission").await["state"], "draining");
    wait_partly_empty(&cluster, 5).await;
    cluster.coordinator.kill();
    // Nothing moves now. I15: no chunk has fewer copies than before.
    assert_whole(&holders(&mut cluster).await);
    cluster.start_coordinator().await;
    let client = cluster.client();
    wait_state(&client, "n5", "drained").await;
    wait_clean(&mut cluster, chunks, &["n5"]).await;
    assert_eq!(cluster.node_client(5).get("/health").await.json()["shards"], 0);

    order(&client, "n1", "decommission").await;
    let refusal = post(&client, "/admin/nodes/n2/decommission", json!({})).await.expect(409);
    assert!(refusal.error().contains("every chunk needs 3"), "{refusal}");
    order(&client, "n1", "recommission").await;
    let refusal = take_out(&client, "n5").await.expect(409);
    assert!(refusal.error().contains("stop it first"), "{refusal}");
    cluster.node(5).kill();
    take_out(&client, "n5").await.expect(200);
    wait_members(&client, 4).await;
    client.get("/admin/nodes/n5").await.expect(404);
    files.assert_readable(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_while_it_is_emptied_is_lost_and_goes_on_when_it_is_back() {
    let mut cluster = plan("3").nodes(5).start().await;
    let files = Files::upload(&cluster, 60, 1 << 20).await;
    let chunks = holders(&mut cluster).await.len();
    slowly(&cluster).await;
    let client = cluster.client();
    order(&client, "n4", "decommission").await;
    wait_partly_empty(&cluster, 4).await;
    cluster.node(4).kill();
    post(&client, "/admin/workers/repair", json!({ "bytes_per_s": 0 })).await.expect(200);
    wait_state(&client, "n4", "lost").await;
    wait_clean(&mut cluster, chunks, &["n4"]).await;
    files.assert_readable(&cluster).await;

    // It still wants to be emptied.
    cluster.start_node(4).await;
    wait_state(&client, "n4", "drained").await;
    wait_clean(&mut cluster, chunks, &["n4"]).await;
    // Switched off, it is missed by nobody: censuses, health and writes go on without it.
    cluster.node(4).kill();
    wait_members(&client, 4).await;
    post(&client, "/admin/workers/census", json!({ "run": true })).await.expect(200);
    eventually("a census ends without it", WORK_WAIT, || async {
        let told = client.get("/admin/workers").await.expect(200).json();
        let census = told["workers"].as_array().and_then(|all| all.iter().find(|worker| worker["name"] == "census"));
        let census = census.expect("there is a census");
        if census["state"] == "idle" && census["queued"] == 0 { Ok(()) } else { Err(census.to_string()) }
    })
    .await;
    take_out(&client, "n4").await.expect(200);
    assert_eq!(node(&client, "n1").await["state"], "active");
    files.assert_readable(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_lost_for_good_is_taken_out_when_nothing_names_it() {
    let mut cluster = plan("3").start().await;
    let files = Files::upload(&cluster, 20, 300_000).await;
    let chunks = holders(&mut cluster).await.len();
    let client = cluster.client();
    cluster.node(3).kill();
    wait_state(&client, "n3", "lost").await;
    eventually("nothing names it any more", WORK_WAIT, || async {
        let reply = take_out(&client, "n3").await;
        if reply.status == 200 { Ok(()) } else { Err(reply.to_string()) }
    })
    .await;
    wait_clean(&mut cluster, chunks, &["n3"]).await;
    wait_members(&client, 3).await;
    client.upload("afterwards", b"with three of three").await;
    files.assert_readable(&cluster).await;
}
