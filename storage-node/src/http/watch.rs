//! Stands before every route: who may call, which request this is, how long it took.

use super::Service;
use super::route::Route;
use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use process::requests::{Requests, method_name};
use process::traces::{self, TRACEPARENT};
use protocol::{Error, routes, secrets_match};
use std::time::Instant;

/// The longest request id that is taken over.
const REQUEST_ID_BYTES_MAX: usize = 512;

/// The header that carries request ids.
pub(super) const HEADER_REQUEST: HeaderName = HeaderName::from_static(routes::HEADER_REQUEST);

/// Tells of a request that was answered.
pub(super) fn tell(requests: &Requests, began: Instant, method: &Method, route: Route<'_>, status: StatusCode) {
    let (method, endpoint) = (method_name(method.as_str()), route.endpoint());
    let (status, seconds) = (status.as_u16(), began.elapsed().as_secs_f64());
    requests.answered(method, endpoint, status, seconds);
    tracing::info!(method, endpoint, status, seconds, "request served");
}

/// `Denied` unless the caller knows the secret and means this cluster, and this disk if it names one.
pub(super) fn admit(service: &Service, request: &HttpRequest, route: Route<'_>) -> Result<(), Error> {
    if route.is_open() {
        return Ok(());
    }
    let header = |name: &str| request.headers().get(name).map(HeaderValue::as_bytes).unwrap_or_default();
    if !secrets_match(header(routes::HEADER_SECRET), service.cluster.secret.as_bytes()) {
        return Err(Error::denied("the cluster secret is missing or wrong"));
    }
    if header(routes::HEADER_CLUSTER) != service.cluster_text.as_bytes() {
        return Err(Error::denied(format!("this node belongs to cluster {}", service.cluster_text)));
    }
    let disk = header(routes::HEADER_DISK);
    if !disk.is_empty() && disk != service.disk_text.as_bytes() {
        return Err(Error::denied(format!("this node has disk {} now, not the one called for", service.disk_text)));
    }
    Ok(())
}

/// The request's id, if it is one that can be shown and sent back.
pub(super) fn request_id(request: &HttpRequest) -> Option<HeaderValue> {
    let id = request.headers().get(HEADER_REQUEST)?;
    let plain = |byte: &u8| byte.is_ascii_graphic();
    (id.len() <= REQUEST_ID_BYTES_MAX && id.as_bytes().iter().all(plain)).then(|| id.clone())
}

/// The span of the caller that the request belongs to, where traces are collected.
pub(super) fn traceparent(request: &HttpRequest) -> Option<&str> {
    request.headers().get(TRACEPARENT).and_then(|value| traces::accepted(value.to_str().ok()?))
}
