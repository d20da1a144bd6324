//! Stands before every route: who may call, which request this is, how long it took.

use super::Service;
use super::route::Route;
use crate::names;
use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use metrics::{Counter, Gauge, Histogram, SharedString};
use process::traces::{self, TRACEPARENT};
use protocol::{Error, routes, secrets_match};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

/// The longest request id that is taken over.
const REQUEST_ID_BYTES_MAX: usize = 512;

/// The header that carries request ids.
pub(super) const HEADER_REQUEST: HeaderName = HeaderName::from_static(routes::HEADER_REQUEST);

/// The metrics of requests. Their handles are kept: looking one up costs more than using it.
pub(super) struct Meters {
    pub(super) bytes_in: Counter,
    pub(super) bytes_out: Counter,
    active: Gauge,
    server_id: Arc<str>,
    served: RwLock<HashMap<Kind, Served>>,
}

/// Method, endpoint, status: all of them few.
type Kind = (&'static str, &'static str, u16);

#[derive(Clone)]
struct Served {
    requests: Counter,
    errors: Option<Counter>,
    seconds: Histogram,
}

/// One request being served.
pub(super) struct Watched<'a> {
    meters: &'a Meters,
    started: Instant,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.meters.active.decrement(1.0);
    }
}

impl Meters {
    pub(super) fn new(server_id: &str) -> Meters {
        Meters {
            bytes_in: metrics::counter!(names::TRANSFER_BYTES, "direction" => "in"),
            bytes_out: metrics::counter!(names::TRANSFER_BYTES, "direction" => "out"),
            active: metrics::gauge!(names::ACTIVE_CONNECTIONS),
            server_id: server_id.into(),
            served: RwLock::default(),
        }
    }

    pub(super) fn begin(&self) -> Watched<'_> {
        self.active.increment(1.0);
        Watched { meters: self, started: Instant::now() }
    }

    fn served(&self, kind: Kind) -> Served {
        if let Some(served) = self.served.read().unwrap_or_else(PoisonError::into_inner).get(&kind) {
            return served.clone();
        }
        let (method, endpoint, status) = kind;
        let status_code = SharedString::from(status.to_string());
        let server_id = SharedString::from(Arc::clone(&self.server_id));
        let is_error = status >= StatusCode::BAD_REQUEST.as_u16();
        let errors =
            || metrics::counter!(names::HTTP_ERRORS, "endpoint" => endpoint, "status_code" => status_code.clone());
        let served = Served {
            errors: is_error.then(errors),
            seconds: metrics::histogram!(names::HTTP_SECONDS, "method" => method, "endpoint" => endpoint),
            requests: metrics::counter!(
                names::HTTP_REQUESTS,
                "method" => method, "endpoint" => endpoint, "status_code" => status_code, "server_id" => server_id
            ),
        };
        self.served.write().unwrap_or_else(PoisonError::into_inner).insert(kind, served.clone());
        served
    }
}

impl Watched<'_> {
    /// The request was answered.
    pub(super) fn end(self, method: &Method, route: Route<'_>, status: StatusCode) {
        let (method, endpoint) = (method_name(method), route.endpoint());
        let served = self.meters.served((method, endpoint, status.as_u16()));
        let seconds = self.started.elapsed().as_secs_f64();
        served.requests.increment(1);
        served.seconds.record(seconds);
        if let Some(errors) = served.errors {
            errors.increment(1);
        }
        tracing::info!(method, endpoint, status = status.as_u16(), seconds, "request served");
    }
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
