//! Alerts fired by machines that are slow, full, broken or wrong: disks, clocks, and what waits for them.

use super::alerts::{FIRES_WITHIN, at_once};
use super::prometheus::{Prometheus, program};
use std::time::Duration;
use testing::real::{Client, Cluster, FailingCalls, LoadPlan, Plan, random_bytes, skipped, test_tool};

/// What makes a disk.
const WRITES: &str = "pwrite64,pwritev,pwritev2,ftruncate,fallocate";
const FSYNCS: &str = "fsync,fdatasync";

/// Two weeks without a scrub are 14 seconds, and a thousand groups a hundred.
fn soon(alerts: String) -> String {
    let shorter = [("> 14 * 86400", "> 14"), ("(metadata_journal_lag) > 1000", "(metadata_journal_lag) > 100")];
    let shorten = |alerts: String, (shipped, here): (&str, &str)| {
        assert!(alerts.contains(shipped), "no {shipped} in {alerts}");
        alerts.replace(shipped, here)
    };
    at_once(shorter.into_iter().fold(alerts, shorten))
}

async fn order(client: &Client, worker: &str, order: &'static str) {
    let request = client.request(reqwest::Method::POST, &format!("/admin/workers/{worker}")).body(order);
    client.send(request).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_clocks_disks_that_fill_and_a_scrub_that_rests_fire_their_alerts() {
    let test = "wrong_clocks_disks_that_fill_and_a_scrub_that_rests_fire_their_alerts";
    if let Err(why) = program() {
        return skipped(test, &why);
    }
    let Some(faketime) = test_tool("libfaketime.so.1") else {
        return skipped(test, "libfaketime is not there; scripts/install-test-deps.sh gets it");
    };
    let plan = Plan::new().coordinator_flag("--probe-interval-s", "1").coordinator_flag("--audit-log", "/dev/full");
    let mut cluster = Cluster::lay_out(plan.node_flag("--capacity-bytes", "128MiB")).await;
    let preload = format!("LD_PRELOAD={}", faketime.display());
    cluster.node(1).by(&["env", &preload, "FAKETIME=-1h", "FAKETIME_DONT_FAKE_MONOTONIC=1"]);
    cluster.start_all().await;
    let client = cluster.client();
    order(&client, "scrub", r#"{"paused":true}"#).await;
    let prometheus = Prometheus::watch(&cluster, None, soon).await;
    prometheus.fires("ClockSkew", FIRES_WITHIN).await;
    // What it says of time is wrong; what it keeps is not.
    let files: Vec<String> = (0..40).map(|number| format!("file {number}")).collect();
    for (number, name) in files.iter().enumerate() {
        client.upload(name, &random_bytes(number as u64, 10_000)).await;
    }
    prometheus.fires("AuditLinesDropped", FIRES_WITHIN).await;
    for (number, name) in files.iter().enumerate() {
        assert!(client.download(name, None).await.expect(200).body == random_bytes(number as u64, 10_000), "{name}");
    }
    prometheus.fires("ScrubOverdue", FIRES_WITHIN).await;
    // Three quarters of every file lie on each node: it takes a dozen to fill half of it.
    for number in 100..112 {
        client.upload(&format!("file {number}"), &random_bytes(number, 6 << 20)).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    prometheus.fires("DiskFilling", FIRES_WITHIN).await;
    let log = cluster.coordinator.log();
    assert_eq!(log.matches("the audit log cannot be written").count(), 1, "it is told once, not with every line");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disks_that_fail_or_are_slow_fire_their_alerts() {
    let test = "disks_that_fail_or_are_slow_fire_their_alerts";
    if let Err(why) = program() {
        return skipped(test, &why);
    }
    let plan = Plan::new().coordinator_flag("--probe-interval-s", "1").coordinator_flag("--trash-window-s", "0");
    let mut cluster = plan.one_node_flag(3, "--in-flight-bytes", "16MiB").start().await;
    let client = cluster.client();
    let prometheus = Prometheus::watch(&cluster, None, soon).await;
    if let Err(why) = FailingCalls::delay(cluster.coordinator.pid(), FSYNCS, Duration::ZERO) {
        return skipped(test, &why);
    }

    client.upload("file", &random_bytes(1, 1_000_000)).await;
    let load = LoadPlan::new(611).begin(&client);
    a_slow_catalog(&cluster, &prometheus).await;
    a_slow_node(&cluster, &prometheus).await;
    a_node_that_cannot_write(&cluster, &prometheus).await;
    load.end().await.assert_all_served("a disk failed, two were slow");
    workers_that_cannot_commit(&mut cluster, &prometheus).await;
}

/// The coordinator's disk takes 0.7 s to sync.
async fn a_slow_catalog(cluster: &Cluster, prometheus: &Prometheus) {
    let slow = FailingCalls::delay(cluster.coordinator.pid(), FSYNCS, Duration::from_millis(700));
    prometheus.fires("CommitSlow", FIRES_WITHIN).await;
    drop(slow);
}

/// n3's disk takes two seconds to sync, and bodies wait for it.
async fn a_slow_node(cluster: &Cluster, prometheus: &Prometheus) {
    let slow = FailingCalls::delay(cluster.nodes[2].pid(), FSYNCS, Duration::from_secs(2));
    let mut uploads = tokio::task::JoinSet::new();
    for number in 0..8 {
        let client = cluster.client();
        uploads.spawn(async move {
            for turn in 0.. {
                let body = random_bytes(1000 + number * 100 + turn, 4 << 20);
                // Some may be refused.
                client.try_send(client.upload_request(&format!("slow {number}"), &body)).await.ok();
                client.try_send(client.delete_request(&format!("slow {number}"), true)).await.ok();
            }
        });
    }
    prometheus.fires("QueueNearlyFull", FIRES_WITHIN).await;
    drop((slow, uploads));
}

/// n4 answers, but nothing can be written there: what it held unsynced does not count, and its copy of the catalog falls behind.
async fn a_node_that_cannot_write(cluster: &Cluster, prometheus: &Prometheus) {
    let failing = FailingCalls::attach(cluster.nodes[3].pid(), &format!("{WRITES},{FSYNCS}"), "EIO");
    prometheus.fires("DiskFailing", FIRES_WITHIN).await;
    prometheus.fires("CatalogCopyBehind", Duration::from_secs(120)).await;
    // That the node answers, and obeys, does not say that its disk takes groups again.
    let (log, url) = (cluster.coordinator.log(), cluster.nodes[3].url());
    let tells = |line: &&str| line.contains("catalog journal does not take groups") && line.contains(&url);
    assert_eq!(log.lines().filter(tells).count(), 1, "it is told once, as long as nothing is written");
    drop(failing);
}

/// One node is left, which is too few for a commit, and there is garbage to be collected.
async fn workers_that_cannot_commit(cluster: &mut Cluster, prometheus: &Prometheus) {
    let client = cluster.client();
    order(&client, "collect", r#"{"paused":true}"#).await;
    client.send(client.delete_request("file", true)).await.expect(200);
    (1..=3).for_each(|node| cluster.node(node).kill());
    order(&client, "collect", r#"{"paused":false}"#).await;
    prometheus.fires("WorkerFailing", FIRES_WITHIN).await;
}
