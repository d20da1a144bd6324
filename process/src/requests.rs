//! The metrics of requests, alike in every process. Their handles are kept: looking one up costs more than using it.
//!
//! What it keeps true: label sets are bounded, whatever clients send. An endpoint is a route or an operation, never a client's word, and a
//! method that is none of HTTP's is `other`.

use metrics::{Counter, Gauge, Histogram, SharedString, counter, gauge, histogram};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Requests answered; counter, labels `method`, `endpoint`, `status_code`, `server_id`.
pub const HTTP_REQUESTS_TOTAL: &str = "http_requests_total";
/// Seconds from a request's head to its answer; histogram, labels `method`, `endpoint`.
pub const HTTP_REQUEST_DURATION_SECONDS: &str = "http_request_duration_seconds";
/// The same measurement, without labels (contract B9).
pub const HTTP_REQUEST_DURATION: &str = "http_request_duration";
/// Requests answered 4xx or 5xx; counter, labels `method`, `endpoint`, `status_code`.
pub const HTTP_ERRORS_TOTAL: &str = "http_errors_total";
/// Requests whose answer has not begun; gauge.
pub const ACTIVE_CONNECTIONS: &str = "active_connections";
/// Bytes of bodies; counter, label `direction`: `in` or `out`.
pub const DATA_TRANSFER_BYTES_TOTAL: &str = "data_transfer_bytes_total";

/// The handles, made where the process's recorder is installed.
pub struct Requests {
    /// Bytes of the bodies that came.
    pub bytes_in: Counter,
    /// Bytes of the bodies that went.
    pub bytes_out: Counter,
    under_way: Gauge,
    seconds: Histogram,
    server_id: Arc<str>,
    /// By endpoint.
    answered: RwLock<HashMap<String, HashMap<Kind, Answered>>>,
}

/// Method and status.
type Kind = (&'static str, u16);

#[derive(Clone)]
struct Answered {
    requests: Counter,
    errors: Option<Counter>,
    seconds: Histogram,
}

/// A request under way, for as long as this lives.
pub struct UnderWay(Gauge);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl Requests {
    /// Of the process that calls itself `server_id`.
    pub fn new(server_id: &str) -> Requests {
        Requests {
            bytes_in: counter!(DATA_TRANSFER_BYTES_TOTAL, "direction" => "in"),
            bytes_out: counter!(DATA_TRANSFER_BYTES_TOTAL, "direction" => "out"),
            under_way: gauge!(ACTIVE_CONNECTIONS),
            seconds: histogram!(HTTP_REQUEST_DURATION),
            server_id: server_id.into(),
            answered: RwLock::default(),
        }
    }

    /// Counts a request among those under way.
    pub fn begin(&self) -> UnderWay {
        self.under_way.increment(1.0);
        UnderWay(self.under_way.clone())
    }

    /// A request to `endpoint` was answered with `status`, `seconds` after its head.
    pub fn answered(&self, method: &str, endpoint: &str, status: u16, seconds: f64) {
        let handles = self.handles(method_name(method), endpoint, status);
        handles.requests.increment(1);
        handles.seconds.record(seconds);
        self.seconds.record(seconds);
        if let Some(errors) = handles.errors {
            errors.increment(1);
        }
    }

    fn handles(&self, method: &'static str, endpoint: &str, status: u16) -> Answered {
        let kind = (method, status);
        let known = self.answered.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(handles) = known.get(endpoint).and_then(|kinds| kinds.get(&kind)) {
            return handles.clone();
        }
        drop(known);
        let labels = (SharedString::from(endpoint.to_owned()), SharedString::from(status.to_string()));
        let errors = || {
            let (endpoint, status) = labels.clone();
            counter!(HTTP_ERRORS_TOTAL, "method" => method, "endpoint" => endpoint, "status_code" => status)
        };
        let errors = (status >= 400).then(errors);
        let seconds = histogram!(HTTP_REQUEST_DURATION_SECONDS, "method" => method, "endpoint" => labels.0.clone());
        let server_id = SharedString::from(Arc::clone(&self.server_id));
        let requests = counter!(
            HTTP_REQUESTS_TOTAL,
            "method" => method, "endpoint" => labels.0, "status_code" => labels.1, "server_id" => server_id
        );
        let handles = Answered { requests, errors, seconds };
        let mut known = self.answered.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(endpoint.to_owned()).or_default().insert(kind, handles.clone());
        handles
    }
}

/// The method's name, or `other`.
pub fn method_name(method: &str) -> &'static str {
    let names = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"];
    names.into_iter().find(|name| *name == method).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics_exporter_prometheus::PrometheusBuilder;

    #[test]
    fn what_clients_send_makes_no_labels() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let page = metrics::with_local_recorder(&recorder, || {
            let requests = Requests::new("n1");
            let _under_way = requests.begin();
            for number in 0..100 {
                requests.answered(&format!("METHOD{number}"), "/files", 405, 0.01);
            }
            requests.answered("GET", "/files", 200, 0.01);
            recorder.handle().render()
        });
        let series = r#"{method="other",endpoint="/files",status_code="405""#;
        assert!(page.contains(&format!("http_requests_total{series},server_id=\"n1\"}} 100\n")), "{page}");
        assert!(page.contains(&format!("http_errors_total{series}}} 100\n")), "{page}");
        assert!(page.contains("active_connections 1\n") && !page.contains("METHOD"), "{page}");
    }
}
