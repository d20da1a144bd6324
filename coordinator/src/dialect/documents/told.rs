//! What a write or delete of a document is answered (contract C12).

use super::super::Door;
use crate::nodes::request_id;
use crate::object::{DocumentDone, GoneDocument, Strategy};
use actix_web::HttpResponse;
use actix_web::http::header::ETAG;
use protocol::NodeId;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tokio::time::Instant;

/// A write to be told of.
pub struct Told<'a> {
    /// The document's key.
    pub key: &'a str,
    /// What became of it.
    pub done: &'a DocumentDone,
    /// When the request came.
    pub began: Instant,
}

/// The answer to a write.
pub fn told(door: &Door, told: &Told<'_>) -> HttpResponse {
    let Told { key, done, began } = told;
    let put = &done.put;
    let etag = put.etag.text(put.sha256.as_ref());
    let mut body = json!({
        "status": "ok",
        "strategy": done.strategy.as_str(),
        "key": key,
        "latency_ms": latency_ms(*began),
        "version": put.number,
        "versionId": put.version_name.to_string(),
        "size": put.size,
        "etag": etag,
        "receipt": put.receipt,
    });
    match done.strategy {
        Strategy::Replication => body["nodes_written"] = json!(urls(door, &done.holders)),
        Strategy::Ec => {
            body["chunks_written"] = json!(done.cold_shards);
            body["total_chunks"] = json!(done.cold_shards_wanted);
        }
        Strategy::FieldHybrid => {
            body["trace_id"] = json!(request_id::current().as_deref().unwrap_or("none"));
            body["is_pure_hot_update"] = json!(done.is_pure_hot_update);
            body["hot_nodes_written"] = json!(done.hot_copies);
            body["cold_chunks_written"] = json!(done.cold_shards);
            body["operation_type"] = json!(if done.is_pure_hot_update { "Pure Hot Update" } else { "Cold Update" });
            if !done.ignored_fields.is_empty() {
                body["ignored_fields"] = json!(done.ignored_fields);
            }
        }
    }
    HttpResponse::Ok()
        .insert_header((ETAG, format!("\"{etag}\"")))
        .insert_header(("x-holdfast-version", put.number))
        .insert_header(("x-holdfast-version-id", put.version_name.to_string()))
        .insert_header(("x-holdfast-durability", put.receipt.to_header()))
        .json(body)
}

/// The answer to a delete.
pub fn told_gone(door: &Door, key: &str, gone: Option<&GoneDocument>, began: Instant) -> Value {
    let Some(gone) = gone else {
        return json!({
            "status": "ok",
            "strategy": "blind_delete",
            "key": key,
            "latency_ms": latency_ms(began),
            "detail": "key_not_found_or_zombie_cleaned",
        });
    };
    let mut body = json!({
        "status": "ok",
        "strategy": gone.strategy.as_str(),
        "key": key,
        "latency_ms": latency_ms(began),
    });
    match gone.strategy {
        Strategy::Replication => body["nodes_deleted"] = json!(urls(door, &gone.holders)),
        Strategy::Ec => body["chunks_deleted"] = json!(gone.cold_shards),
        Strategy::FieldHybrid => {
            body["hot_nodes_deleted"] = json!(gone.hot_copies);
            body["cold_chunks_deleted"] = json!(gone.cold_shards);
        }
    }
    body
}

fn urls(door: &Door, nodes: &BTreeSet<NodeId>) -> Vec<String> {
    let known = door.objects.nodes.status().into_iter();
    known.filter(|node| node.id.as_ref().is_some_and(|id| nodes.contains(id))).map(|node| node.url).collect()
}

/// To the microsecond.
fn latency_ms(began: Instant) -> f64 {
    began.elapsed().as_micros() as f64 / 1_000.0
}
