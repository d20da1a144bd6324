//! Processes that are given little (I18; faults 46, 76, 81, 82): file descriptors, memory, processor; and clients that take their time.

use super::{PROGRESS_WAIT, all_is_there};
use std::time::Duration;
use testing::real::{Client, Cluster, Limit, LoadPlan, Plan, RawConnection, eventually, random_bytes, skipped};
use tokio::task::JoinSet;

const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_out_of_descriptors_lives_and_recovers() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client();
    client.upload("before", b"content").await;
    cluster.coordinator.kill();
    cluster.coordinator.by(&["prlimit", "--nofile=200"]);
    cluster.start_coordinator().await;
    cluster.wait_healthy().await;
    let mut idle = Vec::new();
    for _ in 0..400 {
        // The kernel's queue takes them even where the process cannot.
        idle.push(RawConnection::open(cluster.coordinator.port).await);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(
        cluster.coordinator.is_running(),
        "it ended when it had no descriptors left\n{}",
        cluster.coordinator.log_tail()
    );
    drop(idle);
    let fresh = Client::new(&cluster.coordinator.url());
    eventually("it serves again", Duration::from_secs(30), || async {
        let reply = fresh.try_download("before", None).await.map_err(|failure| failure.reason)?;
        if reply.status == 200 { Ok(()) } else { Err(reply.to_string()) }
    })
    .await;
    fresh.upload("after", &random_bytes(1, 300_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_uploads_stay_within_the_memory_that_there_is() {
    let mut cluster = Cluster::start().await;
    let limit = match Limit::memory(cluster.coordinator.pid(), 256 * MIB) {
        Ok(limit) => limit,
        Err(why) => return skipped("many_large_uploads_stay_within_the_memory_that_there_is", &why),
    };
    let client = cluster.client();
    let mut uploads = JoinSet::new();
    for n in 0..32 {
        let client = client.clone();
        uploads.spawn(async move {
            let request = client.upload_request(&format!("large/{n}"), &random_bytes(n, 8 << 20));
            client.try_send(request).await.map(|reply| (n, reply))
        });
    }
    let mut stored = Vec::new();
    while let Some(done) = uploads.join_next().await {
        let (n, reply) = done.expect("an upload does not panic").expect("every upload is answered");
        assert!(matches!(reply.status, 201 | 429 | 503), "{reply}");
        if reply.status == 201 {
            stored.push(n);
        }
    }
    assert!(cluster.coordinator.is_running(), "it was killed: it took more than 256 MiB");
    assert!(!stored.is_empty(), "at least some fit");
    for n in stored.into_iter().take(4) {
        assert!(client.download(&format!("large/{n}"), None).await.expect(200).body == random_bytes(n, 8 << 20));
    }
    drop(limit);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_on_a_tenth_of_a_processor_fails_no_request() {
    let cluster = Cluster::start().await;
    let load = LoadPlan::new(1616).begin(&cluster.client());
    load.more(20, PROGRESS_WAIT).await;
    let limit = match Limit::cpu(cluster.nodes[2].pid(), 10) {
        Ok(limit) => limit,
        Err(why) => return skipped("a_node_on_a_tenth_of_a_processor_fails_no_request", &why),
    };
    load.more(40, PROGRESS_WAIT).await;
    drop(limit);
    cluster.wait_healthy().await;
    let ledger = load.end().await;
    ledger.assert_all_served("n3 had a tenth of a processor");
    all_is_there(&cluster, &ledger, 40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_are_ended() {
    let plan = Plan::new().coordinator_flag("--cache-bytes", "0").coordinator_flag("--body-stall-s", "2");
    let mut cluster = plan.start().await;
    let client = cluster.client();
    let data = random_bytes(1, 12 << 20);
    client.upload("large", &data).await;
    // So many that they hold all of the bytes in flight for downloads.
    let mut slow = Vec::new();
    for (port, path) in [(cluster.coordinator.port, "/download?filename=large"), (cluster.s3_port(), "/files/large")] {
        for _ in 0..60 {
            let mut connection = RawConnection::open(port).await;
            connection.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
            slow.push(connection);
        }
    }
    let load = LoadPlan::new(1717).begin(&client);
    load.more(40, PROGRESS_WAIT).await;
    let ledger = load.end().await;
    ledger.assert_all_served("sixty clients of each door do not read");
    assert!(client.download("large", None).await.expect(200).body == data);
    let resident = resident_bytes(cluster.coordinator.pid());
    assert!(resident < 400 * MIB, "{} MiB for clients that do not read", resident / MIB);
    tokio::time::sleep(Duration::from_secs(45)).await;
    for mut connection in slow {
        let taken = connection.rest(Duration::from_secs(30)).await;
        assert!(taken.is_some_and(|taken| taken < data.len()), "it was not ended: it took {taken:?} bytes");
    }
    assert!(cluster.coordinator.is_running());
    all_is_there(&cluster, &ledger, 20).await;
}

fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}
