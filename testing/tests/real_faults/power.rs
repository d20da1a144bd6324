//! Power cuts (faults 11, 13, 14, 29): ext4 is shut down under running processes, so that whatever was not made durable is gone.
//! `HOLDFAST_POWER_CUTS=50` cuts more often.

use super::{PROGRESS_WAIT, all_is_there, number_from_environment};
use testing::real::{Cluster, LoadPlan, Plan, random_bytes};

const DISK_BYTES: u64 = 3 << 30;

/// Cuts the power of some of the disks, kills who was on them, and starts them again.
async fn cut(cluster: &mut Cluster, disks: &[usize]) {
    disks.iter().for_each(|number| cluster.loops[*number].cut());
    for number in disks {
        match number {
            0 => cluster.coordinator.kill(),
            node => cluster.node(*node).kill(),
        }
    }
    disks.iter().for_each(|number| cluster.loops[*number].power_on());
    cluster.start_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_lose_nothing_acknowledged() {
    let plan = Plan::new().coordinator_flag("--cache-bytes", "0").loop_disks(DISK_BYTES);
    let Some(mut cluster) = plan.start_or_skip("power_cuts_lose_nothing_acknowledged").await else { return };
    let load = LoadPlan::new(1818).begin(&cluster.client());
    // All at once, one node, the coordinator alone, in turn.
    let victims: [&[usize]; 4] = [&[0, 1, 2, 3, 4], &[2], &[0], &[1, 3]];
    for round in 0..number_from_environment("HOLDFAST_POWER_CUTS").unwrap_or(5) {
        load.more(12 + (round % 5) * 7, PROGRESS_WAIT).await;
        cut(&mut cluster, victims[round % victims.len()]).await;
    }
    load.more(20, PROGRESS_WAIT).await;
    let ledger = load.end().await;
    all_is_there(&cluster, &ledger, 60).await;
    // And once more, from what the disks alone have.
    cut(&mut cluster, &[0, 1, 2, 3, 4]).await;
    all_is_there(&cluster, &ledger, 60).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_device_cannot_be_read_is_passed_over() {
    let plan = Plan::new().coordinator_flag("--cache-bytes", "0").loop_disks(DISK_BYTES);
    let test = "a_node_whose_device_cannot_be_read_is_passed_over";
    let Some(cluster) = plan.start_or_skip(test).await else { return };
    let client = cluster.client();
    let files: Vec<(String, u64)> = (0..24).map(|n| (format!("eio/{n}"), 900 + n)).collect();
    for (name, seed) in &files {
        client.upload(name, &random_bytes(*seed, 400_000)).await;
    }
    // What the filesystem keeps of itself lies in front; what the node keeps lies behind it.
    if let Err(why) = cluster.loops[1].lose_all_after(64 << 20) {
        return testing::real::skipped(test, &why);
    }
    for (name, seed) in &files {
        assert!(client.download(name, None).await.expect(200).body == random_bytes(*seed, 400_000), "{name}");
    }
    let metrics = cluster.node_client(1).get("/metrics").await;
    let errors = String::from_utf8_lossy(&metrics.body)
        .lines()
        .find_map(|line| line.strip_prefix("storage_errors ")?.parse::<f64>().ok());
    assert!(errors > Some(0.0), "no read failed: nothing was tested: {errors:?}");
    for n in 0..10 {
        client.upload(&format!("afterwards/{n}"), &random_bytes(n, 50_000)).await;
    }
}
