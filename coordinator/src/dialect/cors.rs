//! Requests from pages of other origins (contract D4): those named by `--cors-origin` may use the native doors from a browser.
//!
//! What it keeps true:
//! - Without the flag no answer says a word about origins, and OPTIONS is a method like any other.
//! - A preflight is answered before anybody is asked for a key, since browsers send none with it; it tells what may be sent, no more. The
//!   limits count it like any other request.
//! - Cookies are never allowed: a page that has a key sends it itself.

use super::Door;
use super::guard::admit_preflight;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, ResponseError, web};

/// Any origin.
const ANY: &str = "*";
const METHODS: &str = "DELETE, GET, HEAD, PATCH, POST, PUT";
/// Seconds that a browser may remember the answer to a preflight.
const MAX_AGE_S: &str = "600";

/// The middleware.
pub async fn share<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let door = request.app_data::<web::Data<Door>>().cloned().expect("every application has its door");
    let origins = &door.settings.cors_origins;
    let allowed = allowed(origins, request.headers());
    let is_preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match (is_preflight, &allowed) {
        (true, Some(_)) => match admit_preflight(&door, &request) {
            Ok(_admission) => preflight(request).map_into_right_body(),
            Err(refusal) => request.into_response(refusal.error_response()).map_into_right_body(),
        },
        _ => next.call(request).await?.map_into_left_body(),
    };
    if let Some(origin) = allowed {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.headers_mut().insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(ANY));
    }
    if !origins.is_empty() && !origins.iter().any(|origin| origin == ANY) {
        response.headers_mut().append(VARY, HeaderValue::from_static("Origin"));
    }
    Ok(response)
}

/// What the answer calls the origin of a request, if that may see it.
pub fn allowed(origins: &[String], headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    if origins.iter().any(|allowed| allowed == ANY) {
        return Some(HeaderValue::from_static(ANY));
    }
    origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
}

fn preflight(request: ServiceRequest) -> ServiceResponse {
    let mut response = HttpResponse::NoContent();
    response.insert_header((ACCESS_CONTROL_ALLOW_METHODS, METHODS)).insert_header((ACCESS_CONTROL_MAX_AGE, MAX_AGE_S));
    if let Some(headers) = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS) {
        response.insert_header((ACCESS_CONTROL_ALLOW_HEADERS, headers.clone()));
    }
    request.into_response(response.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_origins_that_were_named_are_let_in() {
        let asked = |origins: &[&str], origin: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
            let origins: Vec<String> = origins.iter().map(|origin| (*origin).to_owned()).collect();
            allowed(&origins, &headers).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(asked(&[], "https://a.example"), None);
        assert_eq!(asked(&["*"], "https://a.example").as_deref(), Some("*"));
        assert_eq!(asked(&["https://a.example"], "https://a.example").as_deref(), Some("https://a.example"));
        for other in ["https://a.example.evil", "http://a.example", "https://a.example:8443", "null"] {
            assert_eq!(asked(&["https://a.example"], other), None, "{other}");
        }
        assert_eq!(allowed(&["*".to_owned()], &HeaderMap::new()), None);
    }
}
