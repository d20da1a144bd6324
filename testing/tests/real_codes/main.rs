//! Real processes: redundancy chosen for each object, read with nodes away, rebuilt when one is lost.

mod choice;
mod losses;
mod transitions;

use reqwest::Method;
use serde_json::Value;
use std::time::Duration;
use testing::real::{Client, Form, Plan, Reply, encode};

/// How long the workers may take for what they have here, on a slow machine with a debug build.
const WORK_WAIT: Duration = Duration::from_secs(60);

/// So many nodes that are looked at often; one that is silent for so many seconds is lost.
fn plan(nodes: usize, lost_after_s: &str) -> Plan {
    Plan::new()
        .nodes(nodes)
        .coordinator_flag("--probe-interval-s", "1")
        .coordinator_flag("--cache-bytes", "0")
        .coordinator_flag("--node-lost-after-s", lost_after_s)
}

/// Uploads a file as `strategy`.
async fn upload(client: &Client, name: &str, strategy: &str, data: &[u8]) -> Reply {
    let path = format!("/upload?strategy={strategy}");
    let form = Form::new().text("filename", name).file(name, data);
    let request = client.request(Method::POST, &path).header("content-type", Form::content_type());
    client.send(request.body(form.finish())).await
}

/// What is known of each chunk of a file.
async fn chunks(client: &Client, name: &str) -> Vec<Value> {
    let path = format!("/admin/explain?bucket=files&key={}&limit=200", encode(name.as_bytes()));
    let page = client.get(&path).await.expect(200).json();
    page["chunks"].as_array().expect("chunks are listed").clone()
}
