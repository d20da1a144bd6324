//! A node joins by starting, is found again, and gets its part.

use super::{Files, WORK_WAIT, node, plan, post, wait_members};
use crate::census::{assert_whole, holders, wait_clean};
use serde_json::{Value, json};
use std::time::Duration;
use testing::real::{Client, Cluster, eventually, new_cluster_file, random_bytes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_grows_from_nothing_and_is_known_again() {
    let mut cluster = plan("3").lay_out_joining().await;
    cluster.start_coordinator().await;
    let client = cluster.client();
    let refusal = client.send(client.upload_request("early", b"x")).await.expect(503);
    assert!(refusal.json()["detail"].as_str().is_some_and(|why| why.contains("start more nodes")), "{refusal}");
    cluster.start_all().await;
    wait_members(&client, 4).await;
    let files = Files::upload(&cluster, 5, 200_000).await;

    // Known again, although nobody says so: the nodes' next announcement is half a minute away.
    cluster.coordinator.kill();
    cluster.start_coordinator().await;
    wait_members(&cluster.client(), 4).await;
    files.assert_readable(&cluster).await;

    // A node that moved is followed.
    let port = cluster.spare_port();
    let coordinator = cluster.coordinator.url();
    let moved = cluster.node(2);
    moved.kill();
    moved.change_flag("--listen", format!("127.0.0.1:{port}"));
    moved.port = port;
    cluster.start_node(2).await;
    let client = Client::new(&coordinator);
    eventually("n2 is known where it is", WORK_WAIT, || async {
        let told = node(&client, "n2").await;
        let there = told["url"].as_str().is_some_and(|url| url.ends_with(&format!(":{port}")));
        if there && told["report"]["healthy"] == true { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
    wait_members(&client, 4).await;
    files.assert_readable(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_belong_does_not_join() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client();
    let announce = |url: String| post(&client, "/admin/nodes", json!({ "url": url }));
    assert_eq!(announce(cluster.nodes[0].url()).await.expect(200).json()["id"], "n1", "a known one may say it again");
    announce(format!("http://127.0.0.1:{}", cluster.spare_port())).await.expect(503);
    announce("file:///etc".to_owned()).await.expect(400);
    let body = json!({ "url": cluster.nodes[0].url() }).to_string();
    let wrong = client.request(reqwest::Method::POST, "/admin/nodes").body(body).header("x-holdfast-secret", "guess");
    client.send(wrong).await.expect(403);

    let other = cluster.root().join("other-cluster.json");
    new_cluster_file(&other);
    let number = cluster.add_node();
    cluster.node(number).change_flag("--cluster-file", other.display());
    cluster.start_node(number).await;
    let refusal = announce(cluster.nodes[number - 1].url()).await.expect(409);
    assert!(refusal.error().contains("belongs to cluster"), "{refusal}");
    let told = eventually("the stranger says that it is not taken", Duration::from_secs(10), || async {
        let log = cluster.nodes[number - 1].log();
        if log.contains("does not take this node") { Ok(log) } else { Err(log) }
    })
    .await;
    assert_eq!(told.matches("does not take this node").count(), 1, "once");
    wait_members(&client, 4).await;
}

/// What a node holds by its own account.
async fn live_bytes(cluster: &Cluster, number: usize) -> u64 {
    cluster.node_client(number).get("/health").await.expect(200).json()["live_bytes"].as_u64().expect("a number")
}

fn worker(told: &Value, name: &str) -> Value {
    let workers = told["workers"].as_array().expect("workers are listed");
    workers.iter().find(|worker| worker["name"] == name).expect("it is there").clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_joins_gets_its_part_and_then_all_is_quiet() {
    let mut cluster = plan("3").start().await;
    let files = Files::upload(&cluster, 60, 2 << 20).await;
    let chunks = holders(&mut cluster).await.len();
    assert!(chunks > 100, "some hundred chunks: {chunks}");
    wait_clean(&mut cluster, chunks, &[]).await;
    let number = cluster.add_node();
    cluster.start_node(number).await;
    let client = cluster.client();
    wait_members(&client, 5).await;
    // What it should hold, within what the rebalance tolerates and one chunk of the largest.
    let part = 60 * 3 * (2u64 << 20) / 5;
    let tolerated = part / 10 + (8 << 20) + (2 << 20);
    eventually("all hold about the same", WORK_WAIT, || async {
        let mut held = Vec::new();
        for number in 1..=5 {
            held.push(live_bytes(&cluster, number).await);
        }
        let even = held.iter().all(|live| live.abs_diff(part) <= tolerated);
        if even { Ok(()) } else { Err(format!("{held:?}, the part is {part}")) }
    })
    .await;
    wait_clean(&mut cluster, chunks, &[]).await;
    let before = holders(&mut cluster).await;
    assert_whole(&before);
    // Another pass finds nothing to move.
    let finished = || async { worker(&client.get("/admin/workers").await.expect(200).json(), "rebalance") };
    let steps = finished().await["steps"].as_u64();
    post(&client, "/admin/workers/rebalance", json!({ "run": true })).await.expect(200);
    eventually("the rebalance looked again", WORK_WAIT, || async {
        let now = finished().await;
        if now["steps"].as_u64() > steps.map(|steps| steps + 2) && now["state"] == "idle" {
            Ok(())
        } else {
            Err(now.to_string())
        }
    })
    .await;
    assert_eq!(holders(&mut cluster).await, before, "nothing moves back and forth");
    // Any two nodes may be away.
    cluster.node(1).kill();
    cluster.node(3).kill();
    files.assert_readable(&cluster).await;
    let reply = client.send(client.upload_request("with three of five", &random_bytes(9_000, 10))).await;
    assert_eq!(reply.status, 201, "more than half is there: {reply}");
}
