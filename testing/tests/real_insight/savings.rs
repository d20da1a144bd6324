//! `GET /admin/savings`: what buckets hold, what that takes on nodes, and what is saved of it.

use super::settled;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use testing::real::{Client, Plan, eventually, random_bytes};

const COUNTED_WITHIN: Duration = Duration::from_secs(30);

async fn savings(client: &Client, query: &str) -> Value {
    client.get(&format!("/admin/savings{query}")).await.expect(200).json()
}

async fn put(client: &Client, path: &str, data: Vec<u8>) {
    client.send(client.request(Method::PUT, path).body(data)).await.expect(200);
}

/// Has the worker count until `field` of `bucket` is this.
async fn counted(client: &Client, bucket: &str, field: &str, bytes: u64) -> Value {
    // After a kill it takes some seconds until the lease is free.
    eventually("a count is ordered", COUNTED_WITHIN, || async {
        let run = client.request(Method::POST, "/admin/workers/savings").body(r#"{"run":true}"#);
        let reply = client.send(run).await;
        if reply.status == 200 { Ok(()) } else { Err(reply.to_string()) }
    })
    .await;
    eventually(&format!("{bytes} {field} of {bucket} are counted"), COUNTED_WITHIN, || async {
        let told = savings(client, "").await;
        let lines = told["buckets"].as_array().cloned().unwrap_or_default();
        let line = lines.iter().find(|line| line["bucket"] == bucket).cloned().unwrap_or_default();
        // The total is that of a whole pass, which ends after the last bucket.
        let sum: u64 = lines.iter().filter_map(|line| line[field].as_u64()).sum();
        if line[field] == bytes && told["total"][field] == sum { Ok(told) } else { Err(told.to_string()) }
    })
    .await
}

fn without_times(mut line: Value) -> Value {
    for time in ["began", "ended"] {
        assert!(line[time].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
        line.as_object_mut().expect("an object").remove(time);
    }
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buckets_tell_what_they_hold_and_what_is_saved() {
    let mut cluster = Plan::new().nodes(6).coordinator_flag("--probe-interval-s", "1").start().await;
    let client = cluster.client();
    let shared = random_bytes(1, 10_000);
    client.upload("shared", &shared).await;
    put(&client, "/s3/other/again", shared).await;
    put(&client, "/s3/other/coded?strategy=ec", random_bytes(2, 10_001)).await;
    settled(&client, "shared").await;
    eventually("six shards are on record", COUNTED_WITHIN, || async {
        let receipt = client.get("/receipt?bucket=other&key=coded").await.expect(200).json();
        if receipt["recorded"] == 6 { Ok(()) } else { Err(receipt.to_string()) }
    })
    .await;

    let told = counted(&client, "other", "logical_bytes", 20_001).await;
    let line = |bucket: &str| {
        let lines = told["buckets"].as_array().expect("buckets are listed");
        without_times(lines.iter().find(|line| line["bucket"] == bucket).expect("it is listed").clone())
    };
    let files = json!({
        "bucket": "files", "versions": 1, "logical_bytes": 10_000, "unique_bytes": 10_000, "stored_bytes": 10_000, "node_bytes": 30_000,
        "saved_by_dedup_bytes": 0, "saved_by_compression_bytes": 0, "saved_by_coding_bytes": 0,
    });
    assert_eq!(line("files"), files);
    let other = json!({
        "bucket": "other", "versions": 2, "logical_bytes": 20_001, "unique_bytes": 10_001, "stored_bytes": 10_001, "node_bytes": 6 * 2_502,
        "saved_by_dedup_bytes": 10_000, "saved_by_compression_bytes": 0, "saved_by_coding_bytes": 3 * 10_001 - 6 * 2_502,
    });
    assert_eq!(line("other"), other);
    let total = without_times(told["total"].clone());
    assert_eq!((&total["versions"], &total["node_bytes"]), (&json!(3), &json!(30_000 + 6 * 2_502)));

    let first = savings(&client, "?limit=1").await;
    assert_eq!((&first["buckets"][0]["bucket"], &first["next"]), (&json!("documents"), &json!("documents")));
    let second = savings(&client, "?limit=1&after=files").await;
    assert_eq!((&second["buckets"][0]["bucket"], &second["next"]), (&json!("other"), &json!(null)));
    let only = savings(&client, "?bucket=other").await;
    assert_eq!((only["buckets"].as_array().map(Vec::len), &only["total"]), (Some(1), &told["total"]));
    client
        .get("/admin/savings?bucket=no-such-bucket")
        .await
        .expect_error(404, "bucket 'no-such-bucket' does not exist");
    for bad in ["limit=0", "limit=1001", "limit=x", "bucket=No", "after=%00"] {
        let refused = client.get(&format!("/admin/savings?{bad}")).await.expect(400);
        assert!(!refused.error().is_empty(), "{refused}");
    }
    let metrics = client.get("/metrics").await.expect(200);
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    for line in [
        "savings_logical_bytes 30001",
        "savings_saved_bytes{by=\"dedup\"} 10000",
        "savings_saved_bytes{by=\"coding\"} 14991",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in {metrics}");
    }

    // What was shared counts for the other bucket now, and what was counted outlasts the process.
    client.send(client.delete_request("shared", true)).await.expect(200);
    cluster.coordinator.kill();
    cluster.start_coordinator().await;
    cluster.wait_healthy().await;
    let client = cluster.client();
    assert_eq!(savings(&client, "?bucket=other").await["buckets"], only["buckets"]);
    let told = counted(&client, "files", "logical_bytes", 0).await;
    assert_eq!(told["total"]["versions"], 2, "{told}");
}
