//! What operators and balancers ask: health, nodes, metrics. Answered from local state, so that it stays right during a fault.

use super::Door;
use super::reply::only;
use crate::names;
use crate::nodes::NodeReport;
use actix_web::{HttpResponse, web};
use process::timestamp::rfc3339_ms;
use serde_json::{Map, Value, json};

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

/// `GET /health`: this process lives; one body for every door (contract, *Collisions*).
async fn health(door: web::Data<Door>) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "status": "healthy",
        "service": "api_gateway",
        "hostname": door.settings.hostname,
        "serverID": door.settings.server_id,
        "role": "coordinator",
        "version": env!("CARGO_PKG_VERSION"),
    }))
}

/// `GET /system/health`: `healthy` while every node answers, else `degraded`, with counts and what that means.
async fn system_health(door: web::Data<Door>) -> HttpResponse {
    // Nodes that were emptied and switched off are missed by nobody.
    let switched_off = door.objects.nodes.switched_off();
    let mut nodes = door.objects.nodes.status();
    nodes.retain(|node| node.id.as_ref().is_none_or(|id| !switched_off.contains(id)));
    let healthy = nodes.iter().filter(|node| node.healthy).count();
    let degraded = healthy < nodes.len() || nodes.is_empty();
    let code = door.objects.profiles.replication;
    let writable = 2 * healthy > nodes.len() && healthy >= code.write_quorum();
    HttpResponse::Ok().json(json!({
        "status": if degraded { "degraded" } else { "healthy" },
        "totalNodes": nodes.len(),
        "healthyNodes": healthy,
        "unhealthyNodes": nodes.len() - healthy,
        "openCircuits": nodes.iter().filter(|node| node.circuit_state == crate::placement::Circuit::Open).count(),
        "acceptsWrites": writable,
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

/// `GET /storage_usage`: bytes of live shards over all nodes, by their last probe; 0 once everything is deleted and reclaimed (C13).
async fn storage_usage(door: web::Data<Door>) -> HttpResponse {
    let nodes = door.objects.nodes.status();
    HttpResponse::Ok().json(json!({
        "total_system_size": nodes.iter().map(|node| node.live_bytes).sum::<u64>(),
        "active_nodes_with_data": nodes.iter().filter(|node| node.live_bytes > 0).count(),
        "total_nodes_queried": nodes.len(),
    }))
}

/// `GET /metrics`: Prometheus text. Gauges of the nodes are brought up to date first.
async fn metrics_text(door: web::Data<Door>) -> HttpResponse {
    let nodes = door.objects.nodes.status();
    let mut healthy = 0u32;
    for node in &nodes {
        let name = node.id.as_ref().map_or_else(|| node.url.clone(), ToString::to_string);
        healthy += u32::from(node.healthy);
        metrics::gauge!(names::NODE_AVAILABILITY, "node" => name.clone()).set(f64::from(u8::from(node.healthy)));
        metrics::gauge!(names::STORAGE_USED_BYTES, "node" => name).set(node.used_bytes as f64);
    }
    let score = if nodes.is_empty() { 0.0 } else { f64::from(healthy) * 100.0 / nodes.len() as f64 };
    metrics::gauge!(names::CLUSTER_HEALTH_SCORE).set(score);
    if let Ok(waiting) = door.objects.repairs_waiting().await {
        metrics::gauge!(names::REPLICATION_LAG).set(waiting as f64);
    }
    HttpResponse::Ok().content_type(process::metrics::CONTENT_TYPE).body(door.metrics.render())
}
