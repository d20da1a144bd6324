//! Real processes: who is let in, how much of it, over what, and what is told of it.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it says")]

mod audit;
mod keys;
mod limits;
mod quota;
mod s3;
mod tls;

use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use testing::real::{Client, Cluster, Plan, Reply};

/// What may take a while: a file that is looked at each second, a key that is read anew each five.
const WAIT: Duration = Duration::from_secs(20);

fn plan() -> Plan {
    Plan::new().coordinator_flag("--auth", "on")
}

async fn start(plan: Plan) -> Cluster {
    let mut cluster = Cluster::lay_out(plan).await;
    cluster.start_with_keys().await;
    cluster
}

async fn post(client: &Client, path: &str, body: Value) -> Reply {
    client.send(client.request(Method::POST, path).body(body.to_string())).await
}

async fn put(client: &Client, path: &str, data: &str) -> Reply {
    client.send(client.request(Method::PUT, path).body(data.to_owned())).await
}

/// A client with a key of its own that may do these things in buckets of this pattern.
async fn client_with(cluster: &Cluster, buckets: &str, actions: &[&str]) -> (Client, Value) {
    let policy = json!([{ "buckets": [buckets], "actions": actions }]);
    let key = cluster.make_key(json!({ "name": buckets, "policy": policy })).await;
    (cluster.client().with_key(key["api_key"].as_str().expect("a fresh key shows itself")), key)
}
