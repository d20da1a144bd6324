//! Whether a cluster says that it is whole: every node healthy, nothing waits for repair, and no worker has anything queued.

use crate::real::Client;
use reqwest::Method;
use serde_json::Value;
use std::time::{Duration, Instant};

/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// Workers that look at everything when they are asked to, in the order in which one finds work for the next.
const LOOKERS: [&str; 2] = ["scrub", "census"];
/// A worker that was idle so often in a row is done: between two passes it is idle for a moment, too.
const IDLE_TIMES: usize = 8;

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

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Nothing waits for repair: one more thing may be lost.
    Mended,
    /// No worker has anything to do. With clients at work that does not last.
    Quiet,
}

/// Waits until the cluster says so; the error says what was missing last.
pub async fn wait_until(until: Until, client: &Client, healing: Healing, within: Duration) -> Result<Duration, String> {
    let begun = Instant::now();
    loop {
        match lacking(until, client, healing).await {
            Ok(()) => return Ok(begun.elapsed()),
            Err(why) if begun.elapsed() > within => return Err(format!("not {until:?} within {within:?}: {why}")),
            Err(_) => tokio::time::sleep(ASK_EVERY).await,
        }
    }
}

/// Has the workers look at everything again, one after the other, and waits until what they found is done.
pub async fn look_again(until: Until, client: &Client, healing: Healing, within: Duration) -> Result<(), String> {
    let deadline = Instant::now() + within;
    let left = || deadline.saturating_duration_since(Instant::now());
    wait_until(until, client, healing, left()).await?;
    if healing == Healing::Workers {
        for worker in LOOKERS {
            pass_of(client, worker, deadline).await?;
            wait_until(until, client, healing, left()).await?;
        }
    }
    Ok(())
}

/// Has a worker make a whole pass from now on, as fast as it can: beside clients it would take its time.
async fn pass_of(client: &Client, worker: &str, deadline: Instant) -> Result<(), String> {
    let before = line(client, worker).await?["items"].as_u64();
    let request = client.request(Method::POST, &format!("/admin/workers/{worker}"));
    let request =
        request.header("content-type", "application/json").body(r#"{"run":true,"bytes_per_s":0,"tranquility":0}"#);
    let reply = client.try_send(request).await.map_err(|failure| failure.reason)?;
    if reply.status >= 300 {
        return Err(format!("worker {worker} cannot be asked to run: {reply}"));
    }
    let mut idle = 0;
    while idle < IDLE_TIMES {
        let line = line(client, worker).await?;
        idle = if line["state"] == "idle" && line["items"].as_u64() > before { idle + 1 } else { 0 };
        if Instant::now() > deadline {
            return Err(format!("worker {worker} is not done: {line}"));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(())
}

async fn line(client: &Client, worker: &str) -> Result<Value, String> {
    let workers = json(client, "/admin/workers").await?;
    let listed = workers["workers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let line = listed.iter().find(|line| line["name"] == worker);
    line.cloned().ok_or_else(|| format!("no worker {worker} in {workers}"))
}

async fn lacking(until: Until, client: &Client, healing: Healing) -> Result<(), String> {
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
    busy(until, &workers).map_or(Ok(()), Err)
}

/// The first worker with something to do.
fn busy(until: Until, workers: &Value) -> Option<String> {
    if workers["safe_mode"]["on"] != false || workers["has_lease"] != true {
        return Some(format!("no lease, or safe mode: {}", workers["safe_mode"]));
    }
    let listed = workers["workers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let counts = |worker: &Value| until == Until::Quiet || worker["name"] == "repair";
    let queued = |worker: &&Value| counts(worker) && worker["queued"].as_u64() > Some(0);
    listed.iter().find(queued).map(Value::to_string)
}

async fn json(client: &Client, path: &str) -> Result<Value, String> {
    let reply = client.try_send(client.request(Method::GET, path)).await.map_err(|failure| failure.reason)?;
    serde_json::from_slice(&reply.body).map_err(|error| format!("{path}: {error}: {reply}"))
}
