//! The bucket door (contract D3–D6, E2–E5) to the letter, against real processes.

mod buckets;
mod cors;
mod document;
mod keys;
mod listing;
mod objects;
mod settings;

use reqwest::Method;
use serde_json::json;
use testing::real::{Client, Cluster, Plan, Reply};

/// A cluster that asks for keys.
async fn with_keys(plan: Plan) -> Cluster {
    let mut cluster = Cluster::lay_out(plan.coordinator_flag("--auth", "on")).await;
    cluster.start_with_keys().await;
    cluster
}

/// PUT of an object; it must be stored.
async fn put(client: &Client, path: &str, data: &[u8]) -> Reply {
    client.send(client.request(Method::PUT, path).body(data.to_vec())).await.expect(201)
}

async fn delete(client: &Client, path: &str) -> Reply {
    client.send(client.request(Method::DELETE, path)).await
}

async fn create(client: &Client, name: &str) -> Reply {
    client.send(client.request(Method::POST, "/buckets").body(json!({ "bucket_name": name }).to_string())).await
}

/// Panics unless it is this refusal, with a detail.
#[track_caller]
fn refused(reply: Reply, status: u16, error: &str) {
    let reply = reply.expect_error(status, error);
    assert!(reply.json()["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{reply}");
}
