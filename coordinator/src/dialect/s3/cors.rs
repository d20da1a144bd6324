//! Cross-origin requests: what a page of another origin may do with a bucket, as the bucket's rules say.
//!
//! What it keeps true: a preflight is answered without a signature, since no browser signs one; it says nothing of what is in the bucket.

use super::fault::{custom, of_verb};
use super::settings::CORS_METHODS;
use super::target::Target;
use crate::dialect::Door;
use crate::metadata::records::CorsRule;
use crate::object::BucketName;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::{HeaderMap, Method, Response, StatusCode};
use s3s::{Body, S3Result};

const VARIES: &str = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";

/// Answers an OPTIONS request.
pub async fn preflight(door: &Door, target: &Target, headers: &HeaderMap) -> S3Result<Response<Body>> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let bad = |why| custom("BadRequest", StatusCode::BAD_REQUEST, why);
    let origin = text(ORIGIN).filter(|origin| !origin.is_empty());
    let origin = origin.ok_or_else(|| bad("Insufficient information. Origin request header needed."))?;
    let method =
        text(ACCESS_CONTROL_REQUEST_METHOD).filter(|method| CORS_METHODS.contains(method)).ok_or_else(|| {
            bad("Insufficient information. Access-Control-Request-Method must name a method that rules have.")
        })?;
    let wanted: Vec<&str> = text(ACCESS_CONTROL_REQUEST_HEADERS)
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    let bucket = BucketName::parse(&target.bucket).map_err(of_verb)?;
    let record = door.objects.require_bucket(&bucket).await.map_err(of_verb)?;
    let denied = |why| custom("AccessForbidden", StatusCode::FORBIDDEN, why);
    if record.cors.is_empty() {
        return Err(denied("CORSResponse: CORS is not enabled for this bucket."));
    }
    let Some(rule) = record.cors.iter().find(|rule| allows(rule, origin, method, &wanted)) else {
        return Err(denied(
            "CORSResponse: This CORS request is not allowed. This is usually because the evaluation of \
                           Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers \
                           are not whitelisted by the resource's CORS spec.",
        ));
    };
    let mut response = Response::new(Body::empty());
    say(rule, origin, response.headers_mut());
    if !wanted.is_empty() {
        insert(response.headers_mut(), ACCESS_CONTROL_ALLOW_HEADERS, &wanted.join(", "));
    }
    if let Some(seconds) = rule.max_age_s {
        response.headers_mut().insert(ACCESS_CONTROL_MAX_AGE, seconds.into());
    }
    Ok(response)
}

/// Says to the browser that the page may see this answer, if a rule allows it.
pub async fn dress(door: &Door, target: &Target, origin: &HeaderValue, method: &Method, headers: &mut HeaderMap) {
    let Ok(bucket) = BucketName::parse(&target.bucket) else { return };
    let (Ok(Some(record)), Ok(origin)) = (door.objects.bucket(&bucket).await, origin.to_str()) else { return };
    if let Some(rule) = record.cors.iter().find(|rule| allows(rule, origin, method.as_str(), &[])) {
        say(rule, origin, headers);
    }
}

fn say(rule: &CorsRule, origin: &str, headers: &mut HeaderMap) {
    let any = rule.origins.iter().any(|pattern| pattern == "*");
    insert(headers, ACCESS_CONTROL_ALLOW_ORIGIN, if any { "*" } else { origin });
    if !any {
        insert(headers, ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
    insert(headers, ACCESS_CONTROL_ALLOW_METHODS, &rule.methods.join(", "));
    if !rule.exposed.is_empty() {
        insert(headers, ACCESS_CONTROL_EXPOSE_HEADERS, &rule.exposed.join(", "));
    }
    insert(headers, VARY, VARIES);
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn allows(rule: &CorsRule, origin: &str, method: &str, headers: &[&str]) -> bool {
    rule.origins.iter().any(|pattern| is_like(pattern, origin))
        && rule.methods.iter().any(|allowed| allowed == method)
        && headers.iter().all(|name| {
            rule.headers.iter().any(|pattern| is_like(&pattern.to_ascii_lowercase(), &name.to_ascii_lowercase()))
        })
}

/// Whether `text` is like a pattern with one `*` at most.
fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_allows_what_it_names() {
        let rule = CorsRule {
            origins: vec!["https://*.example".to_owned()],
            methods: vec!["GET".to_owned(), "PUT".to_owned()],
            headers: vec!["x-amz-*".to_owned(), "Content-Type".to_owned()],
            ..CorsRule::default()
        };
        assert!(allows(&rule, "https://www.example", "PUT", &["X-Amz-Date", "content-type"]));
        assert!(!allows(&rule, "https://example", "GET", &[]), "there must be something for the star, and the dot");
        assert!(!allows(&rule, "https://www.example", "DELETE", &[]));
        assert!(!allows(&rule, "https://www.example", "GET", &["authorization"]));
        assert!(is_like("*", "http://x") && is_like("a*a", "aa") && !is_like("a*a", "a"));
    }
}
