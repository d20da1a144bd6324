//! C13: `GET /node_status` and `GET /storage_usage`.

use serde_json::json;
use std::time::Duration;
use testing::real::{Plan, eventually, random_bytes};

#[tokio::test]
async fn node_status_names_each_node_by_its_url() {
    let mut cluster = Plan::new().coordinator_flag("--probe-interval-s", "1").start().await;
    let client = cluster.client();
    let urls: Vec<String> = cluster.nodes.iter().map(|node| node.url()).collect();
    let healthy = client.get("/node_status").await.expect(200).json();
    assert_eq!(healthy.as_object().map(serde_json::Map::len), Some(4), "{healthy}");
    assert!(urls.iter().all(|url| healthy[url] == "healthy"), "{healthy}");
    cluster.node(2).kill();
    eventually("n2 is unhealthy", Duration::from_secs(15), || async {
        let status = client.get("/node_status").await.expect(200).json();
        if status[&urls[1]] == "unhealthy" { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn storage_usage_counts_live_bytes_on_all_nodes() {
    let cluster = Plan::new().coordinator_flag("--probe-interval-s", "1").start().await;
    let client = cluster.client();
    let empty = client.get("/storage_usage").await.expect(200).json();
    assert_eq!(empty, json!({"total_system_size": 0, "active_nodes_with_data": 0, "total_nodes_queried": 4}));
    client.upload("u.bin", &random_bytes(1, 1 << 20)).await;
    eventually("three copies are counted", Duration::from_secs(15), || async {
        let usage = client.get("/storage_usage").await.expect(200).json();
        match usage["total_system_size"] == 3 << 20 && usage["active_nodes_with_data"].as_u64() >= Some(3) {
            true => Ok(()),
            false => Err(usage.to_string()),
        }
    })
    .await;
}

#[tokio::test]
async fn usage_falls_to_zero_once_everything_is_deleted_and_reclaimed() {
    let plan = Plan::new().coordinator_flag("--probe-interval-s", "1").coordinator_flag("--trash-window-s", "0");
    let cluster = plan.start().await;
    let client = cluster.client();
    client.upload("u.bin", &random_bytes(1, 1 << 20)).await;
    client.upload("u.bin", &random_bytes(2, 1 << 20)).await;
    let put = client.request(reqwest::Method::PUT, "/s3/other/v").body(random_bytes(3, 3 << 20));
    let id = client.send(put).await.expect(200).json()["versionId"].as_str().expect("an id").to_owned();
    client.send(client.delete_request("u.bin", true)).await.expect(200);
    let remove = client.request(reqwest::Method::DELETE, &format!("/s3/other/v?versionId={id}"));
    client.send(remove).await.expect(200);
    eventually("no live byte is left", Duration::from_secs(60), || async {
        let usage = client.get("/storage_usage").await.expect(200).json();
        let zero = usage["total_system_size"] == 0 && usage["active_nodes_with_data"] == 0;
        if zero { Ok(()) } else { Err(usage.to_string()) }
    })
    .await;
}
