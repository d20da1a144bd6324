//! Versions that are stored otherwise while they stay what they are.

use super::{WORK_WAIT, chunks, plan, upload};
use reqwest::Method;
use std::time::Duration;
use testing::real::{Client, random_bytes};
use tokio::time::{Instant, sleep};

async fn order(client: &Client, query: &str) -> testing::real::Reply {
    client.send(client.request(Method::POST, &format!("/admin/transitions?{query}"))).await
}

/// Waits until nothing is to be stored otherwise.
async fn done(client: &Client) {
    let deadline = Instant::now() + WORK_WAIT;
    loop {
        let waiting = client.get("/admin/transitions").await.expect(200).json();
        if waiting["transitions"].as_array().is_some_and(Vec::is_empty) {
            return;
        }
        assert!(Instant::now() < deadline, "still waiting: {waiting}");
        sleep(Duration::from_millis(100)).await;
    }
}

async fn stored_bytes(client: &Client) -> f64 {
    client.get("/storage_usage").await.expect(200).json()["total_system_size"].as_f64().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_coded_later_and_comes_back_to_copies() {
    let plan = plan(6, "600").coordinator_flag("--trash-window-s", "0");
    let cluster = plan.start().await;
    let client = cluster.client();
    let data = random_bytes(3, 4 << 20);
    let first = upload(&client, "f", "replication", &data).await.expect(201).json();
    for (strategy, code, class, factor) in [("ec", "4+2", Some("STANDARD_IA"), 1.5), ("replication", "1+2", None, 3.0)]
    {
        let query = format!("filename=f&strategy={strategy}");
        let told = order(&client, &query).await.expect(202).json();
        assert_eq!((told["to"].as_str(), told["state"].as_str()), (Some(strategy), Some("queued")));
        done(&client).await;
        assert_eq!(order(&client, &query).await.expect(200).json()["state"], "done");
        assert!(chunks(&client, "f").await.iter().all(|chunk| chunk["code"] == code));
        assert!(client.download("f", None).await.expect(200).body == data);
        let s3 = cluster.s3();
        let head = s3.send(s3.request(Method::HEAD, "/files/f")).await.expect(200);
        assert_eq!(head.headers.get("x-amz-storage-class").and_then(|class| class.to_str().ok()), class);
        let receipt = client.get("/receipt?filename=f").await.expect(200).json();
        assert_eq!(receipt["versionId"], first["versionId"], "{receipt}");
        // The old chunks go when the trash window is over.
        let deadline = Instant::now() + WORK_WAIT;
        while (stored_bytes(&client).await / data.len() as f64 - factor).abs() > 0.02 {
            assert!(Instant::now() < deadline, "{} bytes are stored", stored_bytes(&client).await);
            sleep(Duration::from_millis(200)).await;
        }
    }
    for (query, status) in [
        ("filename=f", 400),
        ("filename=f&strategy=auto", 400),
        ("filename=f&strategy=raid", 422),
        ("filename=g&strategy=ec", 404),
        ("filename=f&version=9&strategy=ec", 404),
        ("strategy=ec", 400),
    ] {
        let refused = order(&client, query).await.expect(status);
        assert!(refused.json()["error"].is_string(), "{query}: {refused}");
    }
    client.get("/admin/transitions?after=x").await.expect(400);
}
