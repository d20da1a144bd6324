//! Whether a cluster says that it is whole: every node healthy, nothing waits for repair, no worker has anything queued.

use crate::real::Client;
use reqwest::Method;
use serde_json::Value;
use std::time::{Duration, Instant};

/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// Workers that are asked to look at everything once more, in this order, before a cluster is believed.
const LOOKERS: [&str; 4] = ["scrub", "census", "repair", "collect"];

/// Whether the cluster under test mends itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Healing {
    /// It has workers, and tells of them.
    Workers,
    /// It has none: what is lost stays lost, so nothing may be lost for good.
    None,
}

impl Healing {
    /// Asks the coordinator whether it has workers.
    pub async fn of(client: &Client) -> Healing {
        if client.get("/admin/workers").await.status == 200 { Healing::Workers } else { Healing::None }
    }
}

/// Waits until the cluster says that it is whole; the error says what was missing last.
pub async fn wait_whole(client: &Client, healing: Healing, within: Duration) -> Result<Duration, String> {
    let begun = Instant::now();
    loop {
        match lacking(client, healing).await {
            Ok(()) => return Ok(begun.elapsed()),
            Err(why) if begun.elapsed() > within => return Err(format!("not whole within {within:?}: {why}")),
            Err(_) => tokio::time::sleep(ASK_EVERY).await,
        }
    }
}

/// Asks every worker to look at everything again, one after the other, and waits until nothing is left to do.
pub async fn look_again(client: &Client, healing: Healing, within: Duration) -> Result<(), String> {
    let deadline = Instant::now() + within;
    let left = || deadline.saturating_duration_since(Instant::now());
    if healing == Healing::None {
        return wait_whole(client, healing, left()).await.map(drop);
    }
    for worker in LOOKERS {
        let request = client
            .request(Method::POST, &format!("/admin/workers/{worker}"))
            .header("content-type", "application/json")
            .body(r#"{"run":true}"#);
        let reply = client.try_send(request).await.map_err(|failure| failure.reason)?;
        if reply.status >= 300 {
            return Err(format!("worker {worker} cannot be asked to run: {reply}"));
        }
        wait_whole(client, healing, left()).await?;
    }
    Ok(())
}

async fn lacking(client: &Client, healing: Healing) -> Result<(), String> {
    let health = json(client, "/system/health").await?;
    if health["status"] != "healthy" {
        return Err(format!("health: {health}"));
    }
    if healing == Healing::None {
        return Ok(());
    }
    let metrics = client.try_send(client.request(Method::GET, "/metrics")).await.map_err(|failure| failure.reason)?;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    let lag = metrics.lines().find_map(|line| line.strip_prefix("replication_lag "));
    if lag.and_then(|lag| lag.trim().parse::<f64>().ok()) != Some(0.0) {
        return Err(format!("replication_lag: {lag:?}"));
    }
    let workers = json(client, "/admin/workers").await?;
    busy(&workers).map_or(Ok(()), Err)
}

/// The first worker with something to do.
fn busy(workers: &Value) -> Option<String> {
    if workers["safe_mode"] == true {
        return Some("safe mode".to_owned());
    }
    let listed = workers["workers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let queued = |worker: &&Value| worker["queued"].as_u64() > Some(0);
    listed.iter().find(queued).map(Value::to_string)
}

async fn json(client: &Client, path: &str) -> Result<Value, String> {
    let reply = client.try_send(client.request(Method::GET, path)).await.map_err(|failure| failure.reason)?;
    serde_json::from_slice(&reply.body).map_err(|error| format!("{path}: {error}: {reply}"))
}
