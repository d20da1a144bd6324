//! Disks of one process that fail, fill or are slow in ways of their own (faults 21, 22, 27, 29, 30, 45).

use super::{PROGRESS_WAIT, all_is_there};
use std::time::Duration;
use testing::real::{FailingCalls, LoadPlan, Plan, eventually, random_bytes, skipped};

const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_inodes_is_passed_over() {
    let plan = Plan::new().few_files(1, 30).node_flag("--segment-bytes", "16MiB");
    let Some(mut cluster) = plan.start_or_skip("a_node_without_inodes_is_passed_over").await else { return };
    let client = cluster.client();
    // What is left of them, behind the node's back.
    let taken =
        (0..30).filter(|n| std::fs::File::create(cluster.data("n1").join(format!("ballast-{n}"))).is_ok()).count();
    assert!(taken < 30, "the disk has room for more files than it should");
    let files: Vec<(String, u64)> = (0..16).map(|n| (format!("inodes/{n}"), 500 + n)).collect();
    for (name, seed) in &files {
        client.upload(name, &random_bytes(*seed, 4 << 20)).await;
    }
    for (name, seed) in &files {
        assert!(client.download(name, None).await.expect(200).body == random_bytes(*seed, 4 << 20), "{name}");
    }
    cluster.node(1).kill();
    cluster.start_node(1).await;
    cluster.wait_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_without_room_commits_nothing_and_goes_on_when_there_is_room() {
    let test = "a_coordinator_without_room_commits_nothing_and_goes_on_when_there_is_room";
    let Some(mut cluster) = Plan::new().small_disk(0, 400 * MIB).start_or_skip(test).await else { return };
    let client = cluster.client();
    client.upload("before", b"content").await;
    cluster.disks[&0].squeeze();
    let mut refused = None;
    for n in 0..2_000 {
        let name = format!("full/{n}");
        let reply = client.send(client.upload_request(&name, &random_bytes(n, 64))).await;
        if reply.status != 201 {
            assert!(matches!(reply.status, 503 | 507), "{reply}");
            refused = Some(name);
            break;
        }
    }
    // A log that was preallocated takes some more; then it is full.
    if let Some(name) = &refused {
        client.download(name, None).await.expect(404);
        assert!(!client.names("full/").await.contains(name), "what was refused is listed");
    }
    assert_eq!(client.download("before", None).await.expect(200).body, "content");
    cluster.disks[&0].resize(800 * MIB);
    eventually("writes resume", Duration::from_secs(40), || async {
        let reply = client.send(client.upload_request("after", b"content")).await;
        if reply.status == 201 { Ok(()) } else { Err(reply.to_string()) }
    })
    .await;
    let before = client.names("").await;
    cluster.coordinator.kill();
    cluster.start_coordinator().await;
    assert_eq!(client.names("").await, before, "a half commit is none");
}

/// Faults 2.4, rule 6: a disk that takes no writes serves what it has, also what its index had in memory only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_turns_read_only_is_read_on() {
    let plan = Plan::new().nodes(3).coordinator_flag("--cache-bytes", "0").loop_disks(3 << 30);
    let Some(mut cluster) = plan.start_or_skip("a_disk_that_turns_read_only_is_read_on").await else { return };
    let client = cluster.client();
    let files: Vec<(String, u64)> = (0..20).map(|n| (format!("read-only/{n}"), 700 + n)).collect();
    // Longer than a node waits before it saves its index.
    let saved = || tokio::time::sleep(Duration::from_secs(8));
    for (number, (name, seed)) in files.iter().enumerate() {
        if number == 15 {
            saved().await;
        }
        client.upload(name, &random_bytes(*seed, 100_000)).await;
    }
    eventually("every file is on all three", Duration::from_secs(20), || async {
        for (name, _) in &files {
            let receipt = client.get(&format!("/receipt?filename={name}")).await.json();
            if receipt["receipt"]["copies"] != 3 && receipt["copies"] != 3 {
                return Err(format!("{name}: {receipt}"));
            }
        }
        Ok(())
    })
    .await;
    cluster.loops[3].turn_read_only();
    saved().await;
    cluster.node(1).kill();
    cluster.node(2).kill();
    for (name, seed) in &files {
        assert!(client.download(name, None).await.expect(200).body == random_bytes(*seed, 100_000), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_calls_fail_or_are_slow_fails_no_request() {
    let mut cluster = Plan::new().coordinator_flag("--cache-bytes", "0").start().await;
    let load = LoadPlan::new(1515).begin(&cluster.client());
    load.more(30, PROGRESS_WAIT).await;
    let faults = [
        ("pwrite64,pwritev,pwritev2", Some("EIO")),
        ("pread64,preadv2", Some("EIO")),
        ("pwrite64", Some("EROFS")),
        ("fdatasync", None),
    ];
    for (number, (calls, errno)) in faults.into_iter().enumerate() {
        let node = number % 4 + 1;
        let pid = cluster.node(node).pid();
        let attached = match errno {
            Some(errno) => FailingCalls::attach(pid, calls, errno),
            None => FailingCalls::delay(pid, calls, Duration::from_millis(300)),
        };
        let failing = match attached {
            Ok(failing) => failing,
            Err(why) => return skipped("a_node_whose_calls_fail_or_are_slow_fails_no_request", &why),
        };
        load.more(30, PROGRESS_WAIT).await;
        load.ledger.assert_all_served(&format!("{calls} of n{node}: {errno:?}"));
        drop(failing);
        cluster.node(node).kill();
        cluster.start_node(node).await;
        cluster.wait_healthy().await;
        load.more(10, PROGRESS_WAIT).await;
    }
    let ledger = load.end().await;
    ledger.assert_all_served("the end");
    all_is_there(&cluster, &ledger, 60).await;
}
