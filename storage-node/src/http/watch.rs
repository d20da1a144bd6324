//! Stands before every route: who may call, which request this is, how long it took.

use super::Service;
use super::reply::Failure;
use crate::names;
use actix_web::ResponseError;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::HeaderValue;
use actix_web::middleware::Next;
use actix_web::web::Data;
use metrics::SharedString;
use protocol::{Error, routes, secrets_match};
use std::sync::Arc;
use std::time::Instant;
use tracing::Instrument;

/// Routes that need no secret; they tell nothing that needs one.
const OPEN: [&str; 2] = [routes::HEALTH, routes::METRICS];
/// The longest request id that is taken over.
const REQUEST_ID_BYTES_MAX: usize = 512;

pub(super) async fn watch(
    service: Data<Service>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let started = Instant::now();
    let active = metrics::gauge!(names::ACTIVE_CONNECTIONS);
    active.increment(1.0);
    let method = method_name(request.method());
    let request_id = request_id(&request);
    let span = match request_id.as_ref().and_then(|id| id.to_str().ok()) {
        Some(id) => tracing::info_span!("request", request_id = id),
        None => tracing::Span::none(),
    };
    let response = match admit(&service, &request) {
        Err(error) => Ok(request.into_response(Failure::from(error).error_response())),
        Ok(()) => next.call(request).instrument(span.clone()).await.map(ServiceResponse::map_into_boxed_body),
    };
    active.decrement(1.0);
    let mut response = response?;
    if let Some(id) = request_id {
        response.headers_mut().insert(HEADER_REQUEST, id);
    }
    span.in_scope(|| note(&service, &response, method, started));
    Ok(response)
}

const HEADER_REQUEST: actix_web::http::header::HeaderName =
    actix_web::http::header::HeaderName::from_static(routes::HEADER_REQUEST);

/// `Denied` unless the caller knows the secret and means this cluster, and this disk if it names one.
fn admit(service: &Service, request: &ServiceRequest) -> Result<(), Error> {
    if OPEN.contains(&request.path()) {
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

fn request_id(request: &ServiceRequest) -> Option<HeaderValue> {
    let id = request.headers().get(HEADER_REQUEST)?;
    let plain = |byte: &u8| byte.is_ascii_graphic();
    (id.len() <= REQUEST_ID_BYTES_MAX && id.as_bytes().iter().all(plain)).then(|| id.clone())
}

fn note(service: &Service, response: &ServiceResponse, method: &'static str, started: Instant) {
    let endpoint = endpoint(response.request().match_pattern().as_deref());
    let status = response.status();
    let status_code = status_name(status.as_u16());
    let server_id = SharedString::from(Arc::clone(&service.server_id));
    metrics::counter!(
        names::HTTP_REQUESTS,
        "method" => method, "endpoint" => endpoint, "status_code" => status_code.clone(), "server_id" => server_id
    )
    .increment(1);
    let seconds = started.elapsed().as_secs_f64();
    metrics::histogram!(names::HTTP_SECONDS, "method" => method, "endpoint" => endpoint).record(seconds);
    tracing::info!(method, endpoint, status = status.as_u16(), seconds, "request served");
    if status.is_client_error() || status.is_server_error() {
        metrics::counter!(names::HTTP_ERRORS, "endpoint" => endpoint, "status_code" => status_code).increment(1);
    }
}

/// Labels are few and never a client's words.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn endpoint(pattern: Option<&str>) -> &'static str {
    const ENDPOINTS: [&str; 8] = [
        "/shards/{id}",
        "/shards/{id}/copy-from",
        routes::SHARDS,
        routes::SHARDS_BATCH,
        routes::SHARDS_DELETE,
        routes::VERIFY,
        routes::HEALTH,
        routes::METRICS,
    ];
    ENDPOINTS.into_iter().find(|endpoint| Some(*endpoint) == pattern).unwrap_or("unmatched")
}

fn status_name(status: u16) -> SharedString {
    match status {
        200 => "200".into(),
        201 => "201".into(),
        204 => "204".into(),
        206 => "206".into(),
        other => other.to_string().into(),
    }
}
