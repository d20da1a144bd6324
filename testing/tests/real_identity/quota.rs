//! A bucket takes what its quota says, across overwrites, deletes and restarts.

use super::{WAIT, post, put};
use reqwest::Method;
use serde_json::{Value, json};
use testing::real::{Client, Cluster, Plan, eventually};

const SETTINGS: &str = "/admin/buckets/full";

async fn usage(client: &Client) -> Value {
    client.get(SETTINGS).await.expect(200).json()["usage"].clone()
}

async fn wait_usage(client: &Client, bytes: u64, objects: u64) {
    eventually(&format!("{bytes} bytes in {objects} versions are counted"), WAIT, || async {
        // A refusal asks for a count.
        put(client, "/s3/full/refused", &"x".repeat(2_000)).await.expect(403);
        let told = usage(client).await;
        if told["bytes"] == bytes && told["objects"] == objects { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_takes_what_its_quota_says() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client();
    put(&client, "/s3/full/before", &"b".repeat(300)).await.expect(200);
    let told = post(&client, SETTINGS, json!({ "quota": { "bytes": 1_000 } })).await.expect(200).json();
    assert_eq!(told["quota"]["bytes"], 1_000);
    wait_usage(&client, 300, 1).await;

    let stored = put(&client, "/s3/full/a", &"a".repeat(600)).await.expect(200).json();
    let refused = put(&client, "/s3/full/b", &"b".repeat(101)).await.expect(403);
    assert!(refused.json()["detail"].as_str().unwrap().contains("may hold 1000 bytes; it holds 900"), "{refused}");
    client.get("/s3/full/b").await.expect(404);
    put(&client, "/s3/full/b", &"b".repeat(100)).await.expect(200);
    wait_usage(&client, 1_000, 3).await;

    cluster.coordinator.kill();
    cluster.start_coordinator().await;
    cluster.wait_healthy().await;
    put(&client, "/s3/full/c", "c").await.expect(403);
    wait_usage(&client, 1_000, 3).await;

    // A marker frees nothing: the version below it is still there. Removing that does.
    client.send(client.request(Method::DELETE, "/s3/full/a")).await.expect(200);
    wait_usage(&client, 1_000, 3).await;
    let version = stored["versionId"].as_str().expect("a version has an id");
    client.send(client.request(Method::DELETE, &format!("/s3/full/a?versionId={version}"))).await.expect(200);
    wait_usage(&client, 400, 2).await;
    put(&client, "/s3/full/a", &"a".repeat(600)).await.expect(200);
    post(&client, SETTINGS, json!({ "quota": null })).await.expect(200);
    put(&client, "/s3/full/d", &"d".repeat(3_000)).await.expect(200);
    assert_eq!(usage(&client).await, Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_race_do_not_exceed_it_together() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    put(&client, "/s3/full/first", "x").await.expect(200);
    post(&client, SETTINGS, json!({ "quota": { "objects": 5 } })).await.expect(200);
    eventually("it is counted", WAIT, || async {
        let told = usage(&client).await;
        if told["objects"] == 1 { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
    let racing = (0..20).map(|number| {
        let client = client.clone();
        async move { put(&client, &format!("/s3/full/{number}"), "x").await.status }
    });
    let statuses = futures_util::future::join_all(racing).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 4, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 403).count(), 16, "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_purged_takes_no_room_while_its_records_wait_in_the_trash() {
    let cluster = Plan::new().coordinator_flag("--trash-window-s", "86400").start().await;
    let client = cluster.client();
    client.upload("old", &[1; 600]).await;
    client.upload("kept", &[2; 300]).await;
    post(&client, "/admin/buckets/files", json!({ "quota": { "bytes": 1_000 } })).await.expect(200);
    eventually("it is counted", WAIT, || async {
        let told = client.get("/admin/buckets/files").await.expect(200).json()["usage"].clone();
        if told["bytes"] == 900 { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
    client.send(client.upload_request("new", &[3; 600])).await.expect(403);
    client.send(client.delete_request("old", true)).await.expect(200);
    eventually("the purged version's room is free", WAIT, || async {
        // A refusal asks for a count.
        let reply = client.send(client.upload_request("new", &[3; 600])).await;
        if reply.status == 200 || reply.status == 201 { Ok(()) } else { Err(reply.to_string()) }
    })
    .await;
    client.send(client.upload_request("more", &[4; 200])).await.expect(403);
}
