//! Bad networks between coordinator and one node (faults 47–50): slow, silent, one-way, reset, refused. No request fails, and nothing is
//! stored twice for good.

use super::{PROGRESS_WAIT, all_is_there};
use std::time::Duration;
use testing::real::{LoadPlan, Plan, Toxic};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_behind_a_bad_network_fails_no_request() {
    let cluster = Plan::new().proxied().coordinator_flag("--cache-bytes", "0").start().await;
    let load = LoadPlan::new(1313).begin(&cluster.client());
    load.more(20, PROGRESS_WAIT).await;
    let toxics = [
        Toxic::Delay(200),
        Toxic::Drip(20_000),
        Toxic::Blackhole,
        Toxic::AnswersLost,
        Toxic::RequestsLost,
        Toxic::ResetAfter(20_000),
        Toxic::Refuse,
    ];
    for (number, toxic) in toxics.into_iter().enumerate() {
        let valve = cluster.proxies[number % 4].valve();
        valve.set(toxic);
        load.more(20, PROGRESS_WAIT).await;
        valve.set(Toxic::None);
        load.more(5, PROGRESS_WAIT).await;
        load.ledger.assert_all_served(&format!("n{} had {toxic:?}", number % 4 + 1));
    }
    cluster.wait_healthy().await;
    let ledger = load.end().await;
    ledger.assert_all_served("the end");
    all_is_there(&cluster, &ledger, 100).await;
}

/// All links at once: writes may be refused meanwhile, nothing is lost, and it passes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_of_everything_ends_well() {
    let cluster = Plan::new().proxied().start().await;
    let load = LoadPlan::new(1414).begin(&cluster.client());
    load.more(20, PROGRESS_WAIT).await;
    for toxic in [Toxic::AnswersLost, Toxic::Blackhole, Toxic::ResetAfter(3_000)] {
        cluster.proxies.iter().for_each(|proxy| proxy.valve().set(toxic));
        tokio::time::sleep(Duration::from_secs(2)).await;
        cluster.proxies.iter().for_each(|proxy| proxy.valve().set(Toxic::None));
        load.more(10, PROGRESS_WAIT).await;
    }
    cluster.wait_healthy().await;
    let ledger = load.end().await;
    all_is_there(&cluster, &ledger, 40).await;
}
