//! Real processes: nodes join, are emptied, killed meanwhile, replaced, taken out; everything stays readable and whole.

#![expect(clippy::disallowed_methods, reason = "removes data behind the backs of processes it started")]

mod census;
mod drain;
mod join;
mod replace;

use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use testing::real::{Client, Cluster, Plan, Reply, eventually, random_bytes};

/// How long the workers may take for what they have here, on a slow machine with a debug build.
const WORK_WAIT: Duration = Duration::from_secs(40);

/// Nodes are looked at often, and one that is silent for so many seconds is lost.
fn plan(lost_after_s: &str) -> Plan {
    Plan::new()
        .coordinator_flag("--probe-interval-s", "1")
        .coordinator_flag("--cache-bytes", "0")
        .coordinator_flag("--node-lost-after-s", lost_after_s)
        .coordinator_flag("--orphan-grace-s", "2")
}

/// Files of incompressible bytes, `of_bytes` each.
struct Files {
    of_bytes: usize,
    count: u64,
}

impl Files {
    async fn upload(cluster: &Cluster, count: u64, of_bytes: usize) -> Files {
        let client = cluster.client();
        for n in 0..count {
            client.upload(&format!("file {n}"), &random_bytes(n, of_bytes)).await;
        }
        Files { of_bytes, count }
    }

    async fn assert_readable(&self, cluster: &Cluster) {
        let client = cluster.client();
        for n in 0..self.count {
            let reply = client.download(&format!("file {n}"), None).await.expect(200);
            assert!(reply.body == random_bytes(n, self.of_bytes), "file {n}");
        }
    }
}

async fn post(client: &Client, path: &str, body: Value) -> Reply {
    client.send(client.request(Method::POST, path).body(body.to_string())).await
}

/// Orders something of a node, which must be done.
async fn order(client: &Client, node: &str, what: &str) -> Value {
    post(client, &format!("/admin/nodes/{node}/{what}"), json!({})).await.expect(200).json()
}

async fn take_out(client: &Client, node: &str) -> Reply {
    client.send(client.request(Method::DELETE, &format!("/admin/nodes/{node}"))).await
}

async fn node(client: &Client, node: &str) -> Value {
    client.get(&format!("/admin/nodes/{node}")).await.expect(200).json()
}

async fn wait_state(client: &Client, name: &str, state: &str) {
    eventually(&format!("{name} is {state}"), WORK_WAIT, || async {
        let told = node(client, name).await;
        if told["state"] == state { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
}

/// Waits until `count` nodes are members, and all of them answer.
async fn wait_members(client: &Client, count: usize) {
    eventually(&format!("{count} nodes are healthy"), WORK_WAIT, || async {
        let told = client.get("/system/health").await.expect(200).json();
        if told["healthyNodes"] == count && told["totalNodes"] == count { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
}
