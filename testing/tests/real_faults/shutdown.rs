//! SIGTERM: what is under way is finished, nothing is lost, and the process exits 0 in time (fault 85).

use super::{PROGRESS_WAIT, all_is_there};
use std::time::{Duration, Instant};
use testing::real::{Cluster, Form, LoadPlan, RawConnection, random_bytes};

/// Requests under way get 30 s.
const STOP_WAIT: Duration = Duration::from_secs(35);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_end_under_load_loses_nothing() {
    let mut cluster = Cluster::start().await;
    let load = LoadPlan::new(1010).begin(&cluster.client());
    load.more(30, PROGRESS_WAIT).await;
    for number in [1, 3] {
        let status = cluster.node(number).stop(STOP_WAIT);
        assert!(status.success(), "n{number} ended with {status}");
        load.more(20, PROGRESS_WAIT).await;
        cluster.start_node(number).await;
        cluster.wait_healthy().await;
        load.ledger.assert_all_served("a node was stopped and started");
    }
    let status = cluster.coordinator.stop(STOP_WAIT);
    assert!(status.success(), "the coordinator ended with {status}");
    cluster.start_coordinator().await;
    cluster.wait_healthy().await;
    load.more(20, PROGRESS_WAIT).await;
    let ledger = load.end().await;
    all_is_there(&cluster, &ledger, 40).await;
    cluster.stop_all();
    cluster.start_all().await;
    all_is_there(&cluster, &ledger, 40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_under_way_is_finished_before_the_coordinator_ends() {
    let mut cluster = Cluster::start().await;
    let data = random_bytes(5, 2_000_000);
    let form = Form::new().text("filename", "under way.bin").file("x", &data).finish();
    let mut connection = RawConnection::open(cluster.coordinator.port).await;
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
        Form::content_type(),
        form.len()
    );
    connection.send(head).await;
    connection.send(&form[..form.len() / 2]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    cluster.coordinator.terminate();
    tokio::time::sleep(Duration::from_millis(500)).await;
    connection.send(&form[form.len() / 2..]).await;
    let reply = connection.reply().await.expect("an upload under way is answered");
    assert_eq!(reply.status, 201, "{}", String::from_utf8_lossy(&reply.body));
    drop(connection);
    let status = cluster.coordinator.wait(STOP_WAIT).expect("it ends in time");
    assert!(status.success(), "{status}");
    cluster.start_coordinator().await;
    cluster.wait_healthy().await;
    assert!(cluster.client().download("under way.bin", None).await.expect(200).body == data);
}

/// Calls that are still under way after their put was answered end with the coordinator, and not in a panic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_while_a_node_hangs_is_orderly() {
    let mut cluster = Cluster::start().await;
    let load = LoadPlan::new(1212).begin(&cluster.client());
    load.more(20, PROGRESS_WAIT).await;
    cluster.node(2).freeze();
    // Few enough that the node still counts as one to write to.
    load.more(6, PROGRESS_WAIT).await;
    let status = cluster.coordinator.stop(STOP_WAIT);
    assert!(status.success(), "the coordinator ended with {status}");
    let log = cluster.coordinator.log();
    assert!(!log.contains("panicked"), "{log}");
    cluster.node(2).thaw();
    cluster.start_coordinator().await;
    cluster.wait_healthy().await;
    let ledger = load.end().await;
    all_is_there(&cluster, &ledger, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_processes_end_at_once() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client();
    client.upload("a", b"content").await;
    // A client that keeps its connection open does not hold the end up.
    let _idle = RawConnection::open(cluster.coordinator.port).await;
    let begun = Instant::now();
    cluster.stop_all();
    println!("five processes ended within {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}
