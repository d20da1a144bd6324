//! What operators and balancers ask: health, nodes, metrics. Answered from local state, so that it stays right during a fault.

use super::reply::{Refusal, only};
use super::{Door, gauges};
use crate::metadata::Serves;
use crate::nodes::NodeReport;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use process::timestamp::rfc3339_ms;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::timeout;

/// How long health waits for what the catalog says of losses.
const LOST_LOOKED_FOR_MAX: Duration = Duration::from_secs(1);

/// The routes of this door.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/health")
                .route(web::get().to(health))
                .route(web::head().to(health))
                .default_service(only("GET, HEAD")),
        )
        .service(
            web::resource("/health/live")
                .route(web::get().to(live))
                .route(web::head().to(live))
                .default_service(only("GET, HEAD")),
        )
        .service(
            web::resource("/health/ready")
                .route(web::get().to(ready))
                .route(web::head().to(ready))
                .default_service(only("GET, HEAD")),
        )
        .service(
            web::resource("/system/health")
                .route(web::get().to(system_health))
                .route(web::head().to(system_health))
                .default_service(only("GET, HEAD")),
        )
        .service(
            web::resource("/system/nodes")
                .route(web::get().to(system_nodes))
                .route(web::head().to(system_nodes))
                .default_service(only("GET, HEAD")),
        )
        .service(web::resource("/node_status").route(web::get().to(node_status)).default_service(only("GET")))
        .service(web::resource("/storage_usage").route(web::get().to(storage_usage)).default_service(only("GET")))
        .service(
            web::resource("/metrics")
                .route(web::get().to(metrics_text))
                .route(web::head().to(metrics_text))
                .default_service(only("GET, HEAD")),
        );
}

/// `GET /health`: one body for every door (contract, *Collisions*). It answers 200 as long as the process lives, and says `degraded`
/// while a node is missed or writes are refused.
async fn health(door: web::Data<Door>) -> HttpResponse {
    let is_whole = missed(&door).is_empty() && gauges::accepts_writes(&door.objects);
    HttpResponse::Ok().json(json!({
        "status": if is_whole { "healthy" } else { "degraded" },
        "service": "api_gateway",
        "hostname": door.settings.hostname,
        "serverID": door.settings.server_id,
        "role": "coordinator",
        "version": env!("CARGO_PKG_VERSION"),
    }))
}

/// `GET /health/live`: this process answers; whoever restarts it when it does not need look no further.
async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

/// `GET /health/ready`: whether clients should be sent here. A coordinator that can read what others wrote is; one that was taken over
/// from, or that no node answers, is not (503).
async fn ready(door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let refusal = |why| Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why));
    if let Serves::Superseded(why) | Serves::Nothing(why) = door.objects.metadata.serves() {
        return refusal(format!("not ready: {why}"));
    }
    if door.objects.nodes.answering().is_empty() {
        return refusal("not ready: no storage node answers".to_owned());
    }
    let accepts_writes = gauges::accepts_writes(&door.objects);
    Ok(HttpResponse::Ok().json(json!({ "status": "ready", "acceptsWrites": accepts_writes })))
}

/// Nodes that should answer. Those that were emptied and switched off are missed by nobody.
pub(super) fn expected(door: &Door) -> Vec<NodeReport> {
    let switched_off = door.objects.nodes.switched_off();
    let mut nodes = door.objects.nodes.status();
    nodes.retain(|node| node.id.as_ref().is_none_or(|id| !switched_off.contains(id)));
    nodes
}

/// Those of them that do not.
fn missed(door: &Door) -> Vec<NodeReport> {
    expected(door).into_iter().filter(|node| !node.healthy).collect()
}

/// `GET /system/health`: `healthy` while every node answers, writes are taken and nothing is lost, else `degraded`, with counts and what that
/// means.
async fn system_health(door: web::Data<Door>) -> HttpResponse {
    let nodes = expected(&door);
    let healthy = nodes.iter().filter(|node| node.healthy).count();
    let accepts_writes = gauges::accepts_writes(&door.objects);
    // How the nodes are is told whether or not the catalog answers.
    let lost = timeout(LOST_LOOKED_FOR_MAX, door.objects.lost_versions()).await;
    let lost = lost.ok().and_then(Result::ok).map(|versions| versions.len());
    let degraded = healthy < nodes.len() || nodes.is_empty() || !accepts_writes || lost != Some(0);
    let code = door.objects.profiles.replication;
    HttpResponse::Ok().json(json!({
        "status": if degraded { "degraded" } else { "healthy" },
        "totalNodes": nodes.len(),
        "healthyNodes": healthy,
        "unhealthyNodes": nodes.len() - healthy,
        "openCircuits": nodes.iter().filter(|node| node.circuit_state == crate::placement::Circuit::Open).count(),
        "acceptsWrites": accepts_writes,
        "lostObjects": lost,
        "code": code.to_string(),
        "bytesUsed": nodes.iter().map(|node| node.used_bytes).sum::<u64>(),
        "bytesFree": nodes.iter().map(|node| node.free_bytes).sum::<u64>(),
    }))
}

/// `GET /system/nodes`: what is known of each node.
async fn system_nodes(door: web::Data<Door>) -> HttpResponse {
    let nodes: Vec<Value> = door.objects.nodes.status().into_iter().map(line).collect();
    HttpResponse::Ok().json(json!({ "nodes": nodes }))
}

/// A node's report as JSON.
pub(super) fn line(report: NodeReport) -> Value {
    let last_seen = report.last_seen_ms.map(rfc3339_ms);
    let mut line = serde_json::to_value(report).unwrap_or_default();
    line["last_seen"] = json!(last_seen);
    line
}

/// `GET /node_status`: each node's URL, and whether it is healthy (contract C13).
async fn node_status(door: web::Data<Door>) -> HttpResponse {
    let nodes = door.objects.nodes.status().into_iter();
    let told = nodes.map(|node| (node.url, Value::from(if node.healthy { "healthy" } else { "unhealthy" })));
    HttpResponse::Ok().json(told.collect::<Map<String, Value>>())
}

/// `GET /storage_usage`: bytes of live shards over all nodes, by their last probe; 0 once everything is deleted and reclaimed (C13). A node
/// that does not answer still has its bytes, as far as is known; it is not active.
async fn storage_usage(door: web::Data<Door>) -> HttpResponse {
    let nodes = door.objects.nodes.status();
    HttpResponse::Ok().json(json!({
        "total_system_size": nodes.iter().map(|node| node.live_bytes).sum::<u64>(),
        "active_nodes_with_data": nodes.iter().filter(|node| node.healthy && node.live_bytes > 0).count(),
        "total_nodes_queried": nodes.len(),
    }))
}

/// `GET /metrics`: Prometheus text.
async fn metrics_text(door: web::Data<Door>) -> HttpResponse {
    let readings = gauges::read(&door).await;
    HttpResponse::Ok().content_type(process::metrics::CONTENT_TYPE).body(door.metrics.render(&readings))
}
