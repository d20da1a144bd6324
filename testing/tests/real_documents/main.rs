//! The document door (contract C8–C13) against real processes: a coordinator and six nodes.

mod hybrid;
mod refusals;
mod strategies;

use reqwest::Method;
use serde_json::Value;
use testing::real::{Client, Cluster, Plan, Reply};

const NODES: usize = 6;

async fn cluster() -> Cluster {
    plan().start().await
}

fn plan() -> Plan {
    Plan::new().nodes(NODES).coordinator_flag("--probe-interval-s", "1").coordinator_flag("--trash-window-s", "0")
}

/// `POST /write` with this query.
async fn write(client: &Client, query: &str, body: &str) -> Reply {
    let request = client.request(Method::POST, &format!("/write?{query}"));
    client.send(request.header("content-type", "application/json").body(body.to_owned())).await
}

/// The same; it must succeed.
async fn written(client: &Client, query: &str, body: &str) -> Value {
    let told = write(client, query, body).await.expect(200).json();
    assert_eq!(told["status"], "ok");
    assert!(told["latency_ms"].as_f64().is_some_and(|ms| ms >= 0.0), "{told}");
    told
}

/// What `GET /read/{key}` gives, as text.
async fn read(client: &Client, key: &str) -> String {
    let reply = client.get(&format!("/read/{key}")).await.expect(200);
    assert_eq!(reply.header("content-type"), "application/json");
    String::from_utf8(reply.body.to_vec()).expect("JSON is UTF-8")
}

async fn delete(client: &Client, key: &str) -> Value {
    client.send(client.request(Method::DELETE, &format!("/delete/{key}"))).await.expect(200).json()
}

async fn patch(client: &Client, key: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut request = client.request(Method::PATCH, &format!("/documents/{key}"));
    request = request.header("content-type", "application/merge-patch+json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    client.send(request.body(body.to_owned())).await
}
