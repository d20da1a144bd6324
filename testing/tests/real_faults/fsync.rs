//! fsyncs that fail (law 12; I11): nothing that depends on one is acknowledged, and what was acknowledged stays.

use super::{PROGRESS_WAIT, all_is_there};
use std::time::{Duration, Instant};
use testing::real::{Cluster, FailingCalls, LoadPlan, Plan, eventually, random_bytes, skipped};

const FSYNCS: &str = "fsync,fdatasync";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_fsyncs_fail_is_passed_over_and_keeps_what_it_had() {
    let mut cluster = Plan::new().coordinator_flag("--cache-bytes", "0").start().await;
    let load = LoadPlan::new(1111).begin(&cluster.client());
    load.more(40, PROGRESS_WAIT).await;
    let failing = match FailingCalls::attach(cluster.nodes[0].pid(), FSYNCS, "EIO") {
        Ok(failing) => failing,
        Err(why) => return skipped("a_node_whose_fsyncs_fail_is_passed_over_and_keeps_what_it_had", &why),
    };
    load.more(60, PROGRESS_WAIT).await;
    let node = cluster.node_client(1);
    eventually("a failed fsync is not passed over in silence", PROGRESS_WAIT, || async {
        let health = node.get("/health").await.json();
        let noticed = health["status"] != "ok" || health["poisoned_segments"].as_u64() > Some(0);
        if noticed { Ok(()) } else { Err(health.to_string()) }
    })
    .await;
    load.ledger.assert_all_served("fsyncs of n1 failed");
    drop(failing);
    cluster.node(1).kill();
    cluster.start_node(1).await;
    cluster.wait_healthy().await;
    load.more(40, PROGRESS_WAIT).await;
    let ledger = load.end().await;
    ledger.assert_all_served("n1 was started again");
    // Of three replicas on four nodes, one is on n1 or on n2.
    cluster.node(3).kill();
    cluster.node(4).kill();
    all_is_there(&cluster, &ledger, 60).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_whose_fsyncs_fail_acknowledges_nothing() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client();
    let load = LoadPlan::new(1212).begin(&client);
    load.more(40, PROGRESS_WAIT).await;
    let failing = match FailingCalls::attach(cluster.coordinator.pid(), FSYNCS, "EIO") {
        Ok(failing) => failing,
        Err(why) => return skipped("a_coordinator_whose_fsyncs_fail_acknowledges_nothing", &why),
    };
    eventually("writes are refused", Duration::from_secs(10), || async {
        let reply = client.send(client.upload_request("refused", b"content")).await;
        if reply.status == 503 { Ok(()) } else { Err(reply.to_string()) }
    })
    .await;
    // Replies of what was fsynced before may still be on their way.
    let refused = Instant::now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let tried = load.ledger.begun_after(refused);
    assert!(!tried.is_empty(), "clients went on");
    let acknowledged: Vec<_> = tried.iter().filter(|attempt| attempt.is_acknowledged()).collect();
    assert!(acknowledged.is_empty(), "acknowledged and not fsynced: {acknowledged:?}");
    // What is there can be read all the same.
    client.get("/files").await.expect(200);
    drop(failing);
    cluster.coordinator.kill();
    cluster.start_coordinator().await;
    cluster.wait_healthy().await;
    load.more(20, PROGRESS_WAIT).await;
    let ledger = load.end().await;
    all_is_there(&cluster, &ledger, 30).await;
    client.upload("again", &random_bytes(1, 10_000)).await;
}
