//! What `GET /system/nodes` tells of each node.

use super::{Member, Nodes};
use crate::placement::{Circuit, Health};
use protocol::{NodeId, NodeStatus};
use serde::Serialize;
use tokio::time::Instant;

/// One node, for people and dashboards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeReport {
    /// Its name; absent until it was heard of.
    pub id: Option<NodeId>,
    /// Its base URL.
    pub url: String,
    /// Whether its last probe succeeded and its breaker is not open.
    pub healthy: bool,
    /// Its breaker.
    #[serde(rename = "circuitState")]
    pub circuit_state: Circuit,
    /// What its last probe and calls say of it.
    pub health: Health,
    /// What it says it can do; absent until it was heard of.
    pub status: Option<NodeStatus>,
    /// What went wrong last, while it is wrong.
    pub error: Option<String>,
    /// Bytes of its segment files that hold records.
    pub used_bytes: u64,
    /// Bytes it would still accept.
    pub free_bytes: u64,
    /// Bytes it may use in all.
    pub capacity_bytes: u64,
    /// Its live shards.
    pub shards: u64,
    /// Their bytes.
    pub live_bytes: u64,
    /// Its last answer, in milliseconds since 1970; absent until it was heard of.
    pub last_seen_ms: Option<u64>,
    /// Moving average of its reads, in microseconds; 0 if there were none.
    pub read_latency_us: u64,
    /// Moving average of its writes, in microseconds; 0 if there were none.
    pub write_latency_us: u64,
    /// Calls under way.
    pub in_flight: u32,
    /// Its failure domain.
    pub zone: String,
    /// Its software version.
    pub version: String,
}

impl Nodes {
    /// All nodes, in the order in which they became members.
    pub fn status(&self) -> Vec<NodeReport> {
        let (now, now_ms) = (Instant::now(), self.clock.now_ms());
        self.members().iter().map(|member| report(member, now, now_ms)).collect()
    }
}

fn report(member: &Member, now: Instant, now_ms: u64) -> NodeReport {
    let vitals = member.vitals();
    let health = vitals.health.as_ref();
    let circuit_state = vitals.breaker.circuit(now);
    let seen_ms = |answer: Instant| now_ms.saturating_sub(now.duration_since(answer).as_millis() as u64);
    NodeReport {
        id: member.id().cloned(),
        url: member.url().to_owned(),
        healthy: vitals.health() != Health::Down && circuit_state != Circuit::Open,
        circuit_state,
        health: vitals.health(),
        status: health.map(|health| if vitals.full { NodeStatus::Full } else { health.status }),
        error: vitals.error(),
        used_bytes: health.map_or(0, |health| health.used_bytes),
        free_bytes: health.map_or(0, |health| member.free_bytes(health)),
        capacity_bytes: health.map_or(0, |health| health.capacity_bytes),
        shards: health.map_or(0, |health| health.shards),
        live_bytes: health.map_or(0, |health| health.live_bytes),
        last_seen_ms: vitals.last_answer.map(seen_ms),
        read_latency_us: vitals.reads.us(now),
        write_latency_us: vitals.writes.us(now),
        in_flight: member.in_flight(),
        zone: health.map_or_else(String::new, |health| health.zone.clone()),
        version: health.map_or_else(String::new, |health| health.version.clone()),
    }
}
