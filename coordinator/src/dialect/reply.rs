//! The one table that maps what went wrong to a status and a body, for the doors that speak JSON errors.

use crate::identity::Denial;
use crate::limits::Refused;
use crate::metadata::FullDisks;
use crate::object;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError, Route, web};
use protocol::{Error, ErrorKind};
use serde::Serialize;
use std::fmt;
use std::future::ready;

/// How a client proves who it is at these doors.
const CHALLENGE: &str = "Bearer realm=\"holdfast\"";
/// Seconds after which a client may try again what was refused for now.
const RETRY_AFTER_S: &str = "1";

/// A request that was refused: what the client is told.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    error: String,
    detail: Option<String>,
    header: Option<(actix_web::http::header::HeaderName, String)>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

impl Refusal {
    /// A refusal with this status and message.
    pub fn new(status: StatusCode, error: impl Into<String>) -> Refusal {
        Refusal { status, error: error.into(), detail: None, header: None }
    }

    /// 400 with a message that says what to change.
    pub fn bad_request(error: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, error)
    }

    /// 404 with a message that names what is missing.
    pub fn not_found(error: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, error)
    }

    /// 416: the range lies beyond the object's `size`.
    pub fn range_beyond(size: u64) -> Refusal {
        let mut refusal = Refusal::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            format!("the range starts beyond the last of {size} bytes"),
        );
        refusal.header = Some((actix_web::http::header::CONTENT_RANGE, format!("bytes */{size}")));
        refusal
    }

    /// 405: the path exists, the method does not.
    pub fn method_not_allowed(allowed: &str) -> Refusal {
        let mut refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, format!("this path takes {allowed} only"));
        refusal = refusal.explained();
        refusal.header = Some((ALLOW, allowed.to_owned()));
        refusal
    }

    /// 409: what is asked for does not go with how things are.
    pub fn conflict(error: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::CONFLICT, error)
    }

    /// 401: nothing proved who it is.
    pub fn unauthenticated(why: &str) -> Refusal {
        let mut refusal = Refusal::new(StatusCode::UNAUTHORIZED, why).headed("Unauthorized");
        refusal.header = Some((WWW_AUTHENTICATE, CHALLENGE.to_owned()));
        refusal
    }

    fn after(retry_after_s: u64, status: StatusCode, headline: &str, why: &str) -> Refusal {
        let mut refusal = Refusal::new(status, why).headed(headline);
        refusal.header = Some((RETRY_AFTER, retry_after_s.to_string()));
        refusal
    }

    /// The same refusal under another headline; what was said before becomes the detail.
    pub fn headed(self, headline: impl Into<String>) -> Refusal {
        Refusal { detail: Some(self.error), error: headline.into(), ..self }
    }

    /// The same refusal with a headline and a detail: what was said without one becomes the detail, under the status's own words.
    pub fn explained(self) -> Refusal {
        match self.detail {
            Some(_) => self,
            None => {
                let reason = self.status.canonical_reason().unwrap_or("Refused");
                self.headed(reason)
            }
        }
    }

    fn builder(&self) -> HttpResponseBuilder {
        let mut builder = HttpResponse::build(self.status);
        if let Some((name, value)) = &self.header {
            builder.insert_header((name.clone(), value.as_str()));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE && self.header.is_none() {
            builder.insert_header((RETRY_AFTER, RETRY_AFTER_S));
        }
        builder
    }
}

/// The route for every method that a path does not take.
pub fn only(methods: &'static str) -> Route {
    web::route().to(move || ready(Err::<(), Refusal>(Refusal::method_not_allowed(methods))))
}

/// Kind → status. A failed condition is the only conflict a client can cause at these doors.
fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::PRECONDITION_FAILED,
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Denied => StatusCode::FORBIDDEN,
        ErrorKind::Unavailable | ErrorKind::Unknown => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Corrupt => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::Full => StatusCode::INSUFFICIENT_STORAGE,
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        if object::Refused::of(&error) == Some(object::Refused::TooFewNodes) {
            let detail = "each shard of a coded chunk has a node of its own: start more nodes, or write with strategy=replication";
            return Refusal::new(status_of(error.kind), detail).headed(error.message);
        }
        let headline = match error.kind {
            ErrorKind::Unavailable => "The storage cluster cannot do this now; retry",
            ErrorKind::Unknown => "The outcome of the write is unknown",
            ErrorKind::Full if FullDisks::of(&error) == Some(FullDisks::Coordinators) => {
                "The coordinator's disk is full; make room on it"
            }
            ErrorKind::Full => "The storage nodes are full; delete something or add a node",
            ErrorKind::Corrupt => "The data cannot be read: no good copy was found",
            _ => return Refusal::new(status_of(error.kind), error.message),
        };
        Refusal { detail: Some(error.message), ..Refusal::new(status_of(error.kind), headline) }
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Refusal {
        match denial {
            Denial::Unauthenticated(why) => Refusal::unauthenticated(why),
            Denial::Forbidden(why) => Refusal::new(StatusCode::FORBIDDEN, why).headed("Forbidden"),
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        match refused {
            Refused::TooOften { retry_after_s } => Refusal::after(
                retry_after_s,
                StatusCode::TOO_MANY_REQUESTS,
                "Too Many Requests",
                "more requests in a minute than are taken of one client",
            ),
            Refused::Busy { retry_after_s } => Refusal::after(
                retry_after_s,
                StatusCode::SERVICE_UNAVAILABLE,
                "SlowDown",
                "more requests at once than are served; retry",
            ),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        self.builder().json(Body { error: &self.error, detail: self.detail.as_deref() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_status() {
        let statuses: Vec<u16> = ErrorKind::ALL.into_iter().map(|kind| status_of(kind).as_u16()).collect();
        assert_eq!(statuses, [404, 412, 400, 403, 503, 500, 507, 503]);
    }
}
