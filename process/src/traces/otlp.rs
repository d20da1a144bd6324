//! Spans as OpenTelemetry's protocol has them: `ExportTraceServiceRequest` in JSON.
//!
//! What it keeps true: ids are lowercase hexadecimal and 64-bit numbers texts, as OTLP's JSON encoding wants them (protobuf's own mapping
//! would make ids base64).

use super::Position;
use crate::logs::Fields;
use serde_json::{Value, json};

/// Where spans are posted to, below the collector's base URL.
pub(super) const PATH: &str = "/v1/traces";
pub(super) const CONTENT_TYPE: &str = "application/json";
/// OTLP's number for a span that answers a request, and for one inside.
pub(super) const KIND_SERVER: u32 = 2;
pub(super) const KIND_INTERNAL: u32 = 1;
/// About what a span takes in memory beside its attributes.
const SPAN_BYTES: usize = 256;

/// A span that has ended.
pub(super) struct Ended {
    pub(super) name: &'static str,
    pub(super) kind: u32,
    pub(super) position: Position,
    pub(super) parent: Option<u64>,
    pub(super) began_ns: u128,
    pub(super) ended_ns: u128,
    pub(super) fields: Fields,
}

impl Ended {
    /// About what it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        SPAN_BYTES + self.fields.bytes()
    }
}

/// Who sends.
pub(super) fn resource(service: &str, server_id: &str) -> Value {
    let (name, instance) =
        (attribute("service.name", &json!(service)), attribute("service.instance.id", &json!(server_id)));
    json!({ "attributes": [name, instance] })
}

fn attribute(name: &str, value: &Value) -> Value {
    let value = match value {
        Value::String(text) => json!({ "stringValue": text }),
        Value::Bool(flag) => json!({ "boolValue": flag }),
        Value::Number(number) if number.is_f64() => json!({ "doubleValue": number }),
        // 64-bit numbers are texts in JSON (protobuf's mapping).
        other => json!({ "intValue": other.to_string() }),
    };
    json!({ "key": name, "value": value })
}

/// `ExportTraceServiceRequest` as JSON.
pub(super) fn encode(resource: &Value, batch: &[Ended]) -> Vec<u8> {
    let spans: Vec<Value> = batch.iter().map(span).collect();
    let scope = json!({ "scope": { "name": "holdfast", "version": env!("CARGO_PKG_VERSION") }, "spans": spans });
    json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [scope] }] }).to_string().into_bytes()
}

fn span(ended: &Ended) -> Value {
    let attributes: Vec<Value> = ended.fields.iter().map(|(name, value)| attribute(name, value)).collect();
    let mut span = json!({
        "traceId": format!("{:032x}", ended.position.trace),
        "spanId": format!("{:016x}", ended.position.span),
        "name": ended.name,
        "kind": ended.kind,
        "startTimeUnixNano": ended.began_ns.to_string(),
        "endTimeUnixNano": ended.ended_ns.to_string(),
        "attributes": attributes,
    });
    if let Some(parent) = ended.parent {
        span["parentSpanId"] = json!(format!("{parent:016x}"));
    }
    span
}
