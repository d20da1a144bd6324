//! B8: what the gateway says while nodes fail.

use super::put;
use reqwest::Method;
use std::time::Duration;
use testing::real::{Plan, eventually, random_bytes};

#[tokio::test]
async fn without_a_quorum_writes_are_503_and_with_no_replica_reads_are_500() {
    let mut cluster = Plan::new().coordinator_flag("--cache-bytes", "0").start().await;
    let client = cluster.client();
    let data = random_bytes(1, 200_000);
    put(&client, "/s3/refusals/there", &data).await;
    cluster.node(1).kill();
    cluster.node(2).kill();
    let reply = eventually("writes are refused", Duration::from_secs(10), || async {
        let request = client.request(Method::PUT, "/s3/refusals/new").body(random_bytes(2, 1_000));
        let reply = client.send(request).await;
        if reply.status == 503 { Ok(reply) } else { Err(reply.to_string()) }
    })
    .await;
    assert_eq!(reply.error(), "Service Unavailable - Quorum Failed");
    assert!(!reply.header("retry-after").is_empty() && reply.json()["detail"].is_string(), "{reply}");
    assert!(client.get("/s3/refusals/there").await.expect(200).body == data, "one replica is enough to read");
    cluster.node(3).kill();
    cluster.node(4).kill();
    let reply = client.get("/s3/refusals/there").await;
    reply.expect_error(500, "Data unavailable (all replicas failed or corrupted)");
    client.head("/s3/refusals/there").await.expect(200);
    for number in 1..=4 {
        cluster.start_node(number).await;
    }
    cluster.wait_healthy().await;
    assert!(client.get("/s3/refusals/there").await.expect(200).body == data);
}
