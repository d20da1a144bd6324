//! Bad networks between coordinator and one node (faults 47–50): slow, silent, one-way, reset, refused. No request fails, and nothing is
//! stored twice for good. And clients that leave too early (fault 75).

use super::{PROGRESS_WAIT, all_is_there};
use std::time::Duration;
use testing::real::{Form, LoadPlan, Plan, RawConnection, Toxic, random_bytes};

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

/// The commit may have been under way: then the version is there once, whole; else nothing is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_after_its_body_has_stored_it_once_or_not_at_all() {
    let mut cluster = Plan::new().start().await;
    let client = cluster.client();
    let bodies: Vec<(String, Vec<u8>)> = (0..12).map(|n| (format!("left/{n:02}"), random_bytes(n, 150_000))).collect();
    for (name, data) in &bodies {
        let form = Form::new().text("filename", name).file("x", data).finish();
        let mut connection = RawConnection::open(cluster.coordinator.port).await;
        let head = format!(
            "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
            Form::content_type(),
            form.len()
        );
        connection.send(head).await;
        connection.send(&form).await;
    }
    // Whatever is under way is finished by an orderly end.
    cluster.stop_all();
    cluster.start_all().await;
    for (name, data) in &bodies {
        let versions = client.try_versions(name).await.expect("versions are told");
        match versions.len() {
            0 => drop(client.download(name, None).await.expect(404)),
            1 => assert!(client.download(name, None).await.expect(200).body == *data, "{name}"),
            more => panic!("{name} was stored {more} times"),
        }
        assert_eq!(client.names(name).await.len(), versions.len());
    }
}
