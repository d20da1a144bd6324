//! What happens around every request: an id, a span, a line in the log, the metrics, and an answer that its HTTP version has.

use super::Door;
use crate::nodes::{self, home};
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, Version};
use actix_web::middleware::Next;
use actix_web::{Error, web};
use process::traces::{self, TRACEPARENT};
use protocol::routes::HEADER_REQUEST;
use std::sync::Arc;
use tokio::time::Instant;
use tracing::{Instrument, info, info_span};

/// The longest request id taken from a client; a longer or stranger one is replaced.
const REQUEST_ID_BYTES_MAX: usize = 64;
const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static(HEADER_REQUEST);
/// Requests to paths that no route has share one label.
const UNMATCHED: &str = "unmatched";

/// The middleware.
pub async fn watch(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    home::settle();
    let began = Instant::now();
    let door = request.app_data::<web::Data<Door>>().cloned();
    let id: Arc<str> = request_id(&request, door.as_ref().map(|door| door.get_ref())).into();
    let (method, version) = (request.method().clone(), request.version());
    let endpoint = request.match_pattern().unwrap_or_else(|| UNMATCHED.to_owned());
    let place = request.headers().get(TRACEPARENT).and_then(|value| traces::accepted(value.to_str().ok()?));
    let span = info_span!("request", request_id = %id, method = %method, endpoint = %endpoint, traceparent = place);
    let outcome = nodes::REQUEST_ID.scope(id.clone(), next.call(request).instrument(span.clone())).await;
    let mut response = outcome?;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID_HEADER, value);
    }
    if version < Version::HTTP_11 && response.response().body().size() == BodySize::Stream {
        end_by_closing(&mut response);
    }
    let status = response.status();
    let seconds = began.elapsed().as_secs_f64();
    if let Some(door) = &door {
        door.requests.answered(method.as_str(), &endpoint, status.as_u16(), seconds);
        // The answer to HEAD tells a length and has no bytes.
        if method != Method::HEAD
            && let BodySize::Sized(bytes) = response.response().body().size()
        {
            door.requests.bytes_out.increment(bytes);
        }
    }
    span.in_scope(|| info!(status = status.as_u16(), seconds, "request served"));
    Ok(response)
}

/// HTTP/1.0 has no chunks: what has no length ends with the connection (RFC 9112, 6.1 and 6.3).
fn end_by_closing(response: &mut ServiceResponse<impl MessageBody>) {
    let head = response.response_mut().head_mut();
    head.no_chunking(true);
    head.set_connection_type(ConnectionType::Close);
}

/// The client's own id if it is plain and short, else a fresh one.
fn request_id(request: &ServiceRequest, door: Option<&Door>) -> String {
    let given = request.headers().get(HEADER_REQUEST).and_then(|value| value.to_str().ok());
    let plain = |text: &&str| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    match given.filter(plain) {
        Some(id) => id.to_owned(),
        None => door.map_or_else(String::new, |door| format!("{:016x}", door.objects.clock.random() as u64)),
    }
}
