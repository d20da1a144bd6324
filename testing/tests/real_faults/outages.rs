//! Nodes that are frozen or away: what goes on, and what is refused and why (B9, I19, I20; decision 0004).

use super::{PROGRESS_WAIT, all_is_there};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testing::real::{Cluster, LoadPlan, Plan, eventually, random_bytes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_node_fails_no_request() {
    let cluster = Cluster::start().await;
    let load = LoadPlan::new(505).begin(&cluster.client());
    load.more(30, PROGRESS_WAIT).await;
    for number in [0, 2] {
        let frozen = Instant::now();
        cluster.nodes[number].freeze();
        load.more(60, PROGRESS_WAIT).await;
        // Longer than a call's deadline, so that calls that hang are met by their end.
        tokio::time::sleep(Duration::from_secs(4).saturating_sub(frozen.elapsed())).await;
        cluster.nodes[number].thaw();
        cluster.wait_healthy().await;
        load.more(20, PROGRESS_WAIT).await;
        load.ledger.assert_all_served("a node was frozen and thawed");
    }
    let ledger = load.end().await;
    ledger.assert_all_served("the end");
    all_is_there(&cluster, &ledger, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_away_for_long_fails_no_request() {
    let mut cluster = Cluster::start().await;
    cluster.node(2).kill();
    let load = LoadPlan::new(606).begin(&cluster.client());
    load.more(150, PROGRESS_WAIT).await;
    let ledger = load.end().await;
    ledger.assert_all_served("n2 was away");
    all_is_there(&cluster, &ledger, 50).await;
    cluster.start_node(2).await;
    cluster.wait_healthy().await;
    // What was written meanwhile is on three others; any two of them may go.
    cluster.node(1).kill();
    all_is_there(&cluster, &ledger, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_two_of_four_down_everything_is_read_and_writes_say_why_not() {
    let mut cluster = Plan::new().coordinator_flag("--cache-bytes", "0").start().await;
    let client = cluster.client();
    let load = LoadPlan::new(707).begin(&client);
    load.more(60, PROGRESS_WAIT).await;
    let ledger = load.end().await;
    ledger.assert_all_served("all nodes are up");
    client.upload("known", b"known bytes").await;
    for (one, other) in [(1, 2), (3, 4)] {
        cluster.node(one).kill();
        cluster.node(other).kill();
        let refusal = eventually("writes are refused", Duration::from_secs(10), || async {
            let data = random_bytes(Instant::now().elapsed().as_nanos() as u64 ^ one as u64, 5_000);
            let reply = client.send(client.upload_request("refused", &data)).await;
            if reply.status == 503 { Ok(reply) } else { Err(reply.to_string()) }
        })
        .await;
        let detail = refusal.json()["detail"].as_str().unwrap_or_default().to_owned();
        let names_them = detail.contains(&format!("n{one}")) && detail.contains(&format!("n{other}"));
        assert!(names_them && detail.contains("more than half"), "the reason: {refusal}");
        assert!(!refusal.header("retry-after").is_empty());
        for size in [1, 70_000, 3 << 20] {
            let request = client.upload_request("refused too", &random_bytes(size as u64, size));
            client.send(request).await.expect(503);
        }
        // Nothing of it would be written anywhere.
        client.send(client.upload_request("refused too", b"known bytes")).await.expect(503);
        client.send(client.upload_request("refused too", b"")).await.expect(503);
        let system = client.get("/system/health").await.expect(200).json();
        assert_eq!((&system["status"], &system["acceptsWrites"]), (&"degraded".into(), &false.into()), "{system}");
        all_is_there(&cluster, &ledger, 40).await;
        cluster.start_all().await;
        client.download("refused too", None).await.expect(404);
    }
    client.upload("refused too", b"now it works").await;
    assert_eq!(client.versions("refused too").await.len(), 1, "refused uploads take no number");
}

/// Faults I5b: a receipt counts what holders said right then, not what a record names; nobody has called the dead nodes before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_there_already_are_asked_for_before_they_are_acknowledged() {
    let mut cluster = Plan::new().coordinator_flag("--probe-interval-s", "10").start().await;
    let client = cluster.client();
    client.upload("first", b"precious bytes").await;
    let explained = client.get("/admin/explain?filename=first").await.expect(200).json();
    let copies = explained["chunks"][0]["copies"].as_array().expect("copies are listed").clone();
    let holder = |copy: &Value| copy["node"].as_str().and_then(|name| name.strip_prefix('n')?.parse().ok());
    let holders: Vec<usize> = copies.iter().filter_map(holder).collect();
    assert_eq!(holders.len(), 3, "{explained}");
    cluster.node(holders[0]).kill();
    let receipt = client.upload("second", b"precious bytes").await["receipt"].clone();
    assert_eq!((&receipt["copies"], &receipt["survives"]), (&json!(2), &json!(1)), "{receipt}");
    cluster.node(holders[1]).kill();
    client.send(client.upload_request("third", b"precious bytes")).await.expect(503);
    cluster.start_all().await;
    assert_eq!(client.download("second", None).await.expect(200).body, "precious bytes");
    client.download("third", None).await.expect(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_copy_left_is_503_and_comes_back() {
    let mut cluster = Plan::new().coordinator_flag("--cache-bytes", "0").start().await;
    let client = cluster.client();
    let data = random_bytes(1, 3 << 20);
    client.upload("away.bin", &data).await;
    for number in 1..=4 {
        cluster.node(number).kill();
    }
    let reply = client.download("away.bin", None).await.expect(503);
    assert_eq!(reply.error(), "File is currently unavailable due to storage node failures");
    assert!(reply.json()["detail"].is_string(), "{reply}");
    // What needs no node is answered all the same.
    client.head("/download?filename=away.bin").await.expect(200);
    assert_eq!(client.names("").await, ["away.bin"]);
    // What the nodes must remember waits for them (law 11).
    client.send(client.delete_request("away.bin", false)).await.expect(503);
    cluster.start_all().await;
    assert!(client.download("away.bin", Some(1)).await.expect(200).body == data);
}

/// Chunks lie on three of four nodes, so one of four is out of reach while three are away: a read of one that comes later is refused, too,
/// instead of being cut off in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_would_be_cut_off_is_503_before_it_begins() {
    let mut cluster =
        Plan::new().coordinator_flag("--cache-bytes", "4MiB").coordinator_flag("--probe-interval-s", "1").start().await;
    let client = cluster.client();
    let data = random_bytes(2, 12 << 20);
    client.upload("thinned.bin", &data).await;
    // These chunks are in memory, and readable whatever happens; the ones behind them are not.
    client.get_with("/download?filename=thinned.bin", &[("range", "bytes=0-1048575")]).await.expect(206);
    for number in 1..=3 {
        cluster.node(number).kill();
    }
    eventually("they count as away", Duration::from_secs(10), || async {
        let listed = client.get("/files").await.expect(200).json();
        let status = listed["files"][0]["availability_status"].clone();
        if status == "unavailable" { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    for from in (0..6).map(|number| number << 20) {
        let range = format!("bytes={from}-");
        let reply = client.get_with("/download?filename=thinned.bin", &[("range", &range)]).await.expect(503);
        assert_eq!(reply.error(), "File is currently unavailable due to storage node failures", "{range}");
    }
    // What is on the last node is read all the same.
    let mut read = 0;
    for from in (0..12 << 20).step_by(1 << 18) {
        let reply = client.get_with("/files/thinned.bin", &[("range", &format!("bytes={from}-{from}"))]).await;
        read += usize::from(reply.status == 206 && reply.body == data[from..=from]);
    }
    assert!(read > 12, "three of four chunks have a copy on the last node, {read} of 48 bytes were read");
    cluster.start_all().await;
    assert!(client.download("thinned.bin", None).await.expect(200).body == data);
}
