//! `kill -9` of each process under load (laws 1, 3, 7; faults I1, I3, I6). `HOLDFAST_KILLS=200` kills more often.

use super::{PROGRESS_WAIT, all_is_there, number_from_environment};
use std::time::Duration;
use testing::real::{Cluster, LoadPlan, Plan};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_each_node_in_turn_fails_no_request() {
    let mut cluster = Cluster::start().await;
    let load = LoadPlan::new(101).begin(&cluster.client());
    load.more(30, PROGRESS_WAIT).await;
    for number in 1..=4 {
        cluster.node(number).kill();
        load.more(30, PROGRESS_WAIT).await;
        cluster.start_node(number).await;
        cluster.wait_healthy().await;
        load.more(15, PROGRESS_WAIT).await;
        load.ledger.assert_all_served(&format!("n{number} was killed and came back"));
    }
    let ledger = load.end().await;
    ledger.assert_all_served("the end");
    all_is_there(&cluster, &ledger, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_coordinator_loses_nothing_it_acknowledged() {
    let mut cluster = Cluster::start().await;
    let load = LoadPlan::new(202).begin(&cluster.client());
    for round in 0..5 {
        load.more(25 + 7 * round, PROGRESS_WAIT).await;
        cluster.coordinator.kill();
        cluster.start_coordinator().await;
    }
    cluster.wait_healthy().await;
    load.more(20, PROGRESS_WAIT).await;
    let ledger = load.end().await;
    assert!(!ledger.take_unserved().is_empty(), "five kills under load were not noticed: nothing was tested");
    all_is_there(&cluster, &ledger, 100).await;
    // And once more, by a coordinator that has nothing in memory.
    cluster.coordinator.kill();
    cluster.start_coordinator().await;
    cluster.wait_healthy().await;
    all_is_there(&cluster, &ledger, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_everything_at_once_loses_nothing_acknowledged() {
    let mut cluster = Cluster::start().await;
    let load = LoadPlan::new(303).begin(&cluster.client());
    for _ in 0..3 {
        load.more(40, PROGRESS_WAIT).await;
        cluster.kill_all();
        cluster.start_all().await;
    }
    load.more(20, PROGRESS_WAIT).await;
    let ledger = load.end().await;
    all_is_there(&cluster, &ledger, 100).await;
    cluster.kill_all();
    cluster.start_all().await;
    all_is_there(&cluster, &ledger, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_again_and_again_keeps_what_it_fsynced() {
    // Reads are forced to the nodes, and to every node: only then is it seen what each of them kept.
    let mut cluster = Plan::new().coordinator_flag("--cache-bytes", "0").start().await;
    let load = LoadPlan::new(404).begin(&cluster.client());
    for round in 0..6 {
        load.more(10, PROGRESS_WAIT).await;
        cluster.node(1).kill();
        tokio::time::sleep(Duration::from_millis(50 * round)).await;
        cluster.start_node(1).await;
    }
    cluster.wait_healthy().await;
    load.more(30, PROGRESS_WAIT).await;
    let ledger = load.end().await;
    ledger.assert_all_served("n1 was killed six times");
    // Of three replicas on four nodes, one is on n1 or on n2.
    cluster.node(3).kill();
    cluster.node(4).kill();
    all_is_there(&cluster, &ledger, 50).await;
}

/// Whoever comes next in turn is killed at another moment each time, and two are away at once now and then (B5).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_without_end_lose_nothing_acknowledged() {
    let mut cluster = Cluster::start().await;
    let load = LoadPlan::new(1919).begin(&cluster.client());
    for round in 0..number_from_environment("HOLDFAST_KILLS").unwrap_or(10) {
        load.more(3 + round % 7, PROGRESS_WAIT).await;
        match round % 5 {
            0 => {
                cluster.coordinator.kill();
                cluster.start_coordinator().await;
            }
            node => {
                cluster.node(node).kill();
                if round % 3 == 0 {
                    cluster.coordinator.kill();
                    cluster.start_coordinator().await;
                }
                cluster.start_node(node).await;
            }
        }
    }
    cluster.wait_healthy().await;
    load.more(10, PROGRESS_WAIT).await;
    let ledger = load.end().await;
    all_is_there(&cluster, &ledger, 30).await;
    cluster.kill_all();
    cluster.start_all().await;
    all_is_there(&cluster, &ledger, 30).await;
}
