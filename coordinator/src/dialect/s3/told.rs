//! What is told of each request: a line in the log, the metrics, the audit log.

use super::access::Trace;
use super::target::Target;
use crate::audit::Line;
use crate::dialect::Door;
use hyper::header::CONTENT_LENGTH;
use hyper::{Method, Response};
use process::timestamp::rfc3339_ms;
use s3s::Body;
use std::net::IpAddr;
use tokio::time::Instant;
use tracing::info;

/// A request as it came.
pub struct Seen {
    /// Its method.
    pub method: Method,
    /// Who sent it.
    pub peer: IpAddr,
    /// When its head was there.
    pub began: Instant,
}

/// Tells of a request and its answer.
pub fn tell(door: &Door, response: &Response<Body>, seen: &Seen, trace: &Trace, target: Option<&Target>, id: &str) {
    let status = response.status();
    let seconds = seen.began.elapsed().as_secs_f64();
    let operation = trace.operation();
    // An operation's name is one of a hundred; keys and buckets are never labels.
    door.requests.answered(seen.method.as_str(), &format!("s3:{operation}"), status.as_u16(), seconds);
    let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if seen.method != Method::HEAD {
        door.requests.bytes_out.increment(length.unwrap_or(0));
    }
    info!(operation, status = status.as_u16(), seconds, "request served");
    let Some(audit) = &door.guard.audit else { return };
    let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    let (bucket, key) = target.map_or((None, None), |target| (named(&target.bucket), named(&target.key)));
    audit.tell(&Line {
        time: rfc3339_ms(door.objects.clock.now_ms()),
        request_id: id,
        who: trace.who().as_str(),
        // What is no key's id may be anything, a secret in the wrong place too.
        claimed_key: trace.claimed_key().filter(|id| door.guard.identity.is_key(id)),
        from: &seen.peer.to_string(),
        door: "s3",
        method: seen.method.as_str(),
        operation,
        action: trace.action(),
        bucket: bucket.as_deref(),
        key: key.as_deref(),
        status: status.as_u16(),
        ms: u64::try_from(seen.began.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
}
