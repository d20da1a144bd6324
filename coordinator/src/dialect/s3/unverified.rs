//! Requests whose signature is not looked at: those of everybody where authentication is off, and those that have none.
//!
//! Where authentication is off, requests signed with any key, or none, are served. No key is known then, so there is nothing to verify
//! with: the signature is taken off, and the library sees an unsigned request. What needs no key is still verified: that the date is
//! not off by more than a quarter of an hour, that a presigned URL has not expired, that the body has the SHA-256 that it was signed
//! with.

use super::fault::{bad_request, fault};
use super::signature::{Signed, date_of, not_expired, not_skewed, presigned_in_time};
use super::target::Query;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Uri};
use s3s::{S3ErrorCode, S3Result};
use url::form_urlencoded;

/// Parameters that sign a request.
const SIGNING: [&str; 10] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
    "AWSAccessKeyId",
    "Signature",
    "Expires",
];

/// Takes the signature off. Refused is what is out of date.
pub fn take_signature_off(head: &mut Parts, query: &Query, now_ms: u64) -> S3Result<()> {
    let now_s = now_ms / 1_000;
    if query.has("X-Amz-Signature") {
        presigned_in_time(query, now_s)?;
    } else if query.has("Signature") && query.has("AWSAccessKeyId") {
        let expires = query.get("Expires").and_then(|text| text.parse::<u64>().ok());
        let expires = expires.ok_or_else(|| fault(S3ErrorCode::AccessDenied, "Expires must be a time in seconds"))?;
        not_expired(expires, now_s)?;
    } else if head.headers.contains_key(AUTHORIZATION) {
        if let Some(then_s) = date_of(&head.headers) {
            not_skewed(then_s, now_s)?;
        }
        head.headers.remove(AUTHORIZATION);
        return Ok(());
    } else {
        return Ok(());
    }
    head.uri = without_signature(&head.uri)?;
    Ok(())
}

fn without_signature(uri: &Uri) -> S3Result<Uri> {
    let mut rest = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if !SIGNING.contains(&name.as_ref()) {
            rest.append_pair(&name, &value);
        }
    }
    let rest = rest.finish();
    let path = uri.path();
    let text = if rest.is_empty() { path.to_owned() } else { format!("{path}?{rest}") };
    text.parse().map_err(|_| fault(S3ErrorCode::InvalidURI, "the URI cannot be parsed"))
}

/// How the body of a request that is not verified is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// Not at all, and this is its SHA-256.
    Hashed([u8; 32]),
    /// In chunks; so many bytes of content.
    Chunks(u64),
}

/// How the body is packed. `signed` says whether the request had a signature: what it then says of the body must be something.
pub fn packing(headers: &HeaderMap, signed: Signed) -> S3Result<Packing> {
    let Some(told) = headers.get("x-amz-content-sha256").and_then(|value| value.to_str().ok()) else {
        return Ok(Packing::Plain);
    };
    if told.starts_with("STREAMING-") {
        let length = headers.get("x-amz-decoded-content-length").and_then(|value| value.to_str().ok());
        let missing = || fault(S3ErrorCode::MissingContentLength, "x-amz-decoded-content-length is missing");
        let length = length.ok_or_else(missing)?.parse();
        return length.map(Packing::Chunks).map_err(|_| bad_request("x-amz-decoded-content-length must be a number"));
    }
    let mut sha256 = [0; 32];
    match hex::decode_to_slice(told, &mut sha256) {
        Ok(()) => Ok(Packing::Hashed(sha256)),
        Err(_) if told == "UNSIGNED-PAYLOAD" || signed == Signed::No => Ok(Packing::Plain),
        Err(_) => Err(super::fault::invalid(
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
             STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
        )),
    }
}

/// Whether each chunk of a body in chunks is signed.
pub fn has_signed_chunks(headers: &HeaderMap) -> bool {
    headers.get("x-amz-content-sha256").is_some_and(|told| told.as_bytes() != b"STREAMING-UNSIGNED-PAYLOAD-TRAILER")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    const NOW_S: u64 = 1_767_323_045; // 2026-01-02T03:04:05Z

    fn stripped(uri: &str, headers: &[(&str, &str)]) -> Result<(String, bool), String> {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        let query = Query::parse(head.uri.query());
        let outcome = take_signature_off(&mut head, &query, NOW_S * 1_000);
        outcome.map_err(|fault| fault.code().as_str().to_owned())?;
        Ok((head.uri.to_string(), head.headers.contains_key(AUTHORIZATION)))
    }

    #[test]
    fn a_signature_of_any_key_goes_unless_it_is_out_of_date() {
        let header =
            |date| stripped("/b/k?versionId=x", &[("authorization", "AWS4-HMAC-SHA256 …"), ("x-amz-date", date)]);
        assert_eq!(header("20260102T030405Z"), Ok(("/b/k?versionId=x".to_owned(), false)));
        assert_eq!(header("20260102T031905Z"), Ok(("/b/k?versionId=x".to_owned(), false)));
        assert_eq!(header("20260102T031906Z"), Err("RequestTimeTooSkewed".to_owned()));
        assert_eq!(header("20260102T024904Z"), Err("RequestTimeTooSkewed".to_owned()));
        let url = |date: &str, lasts: &str| {
            let query = format!(
                "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=K%2F20260102%2Fus-east-1%2Fs3%2Faws4_request\
                 &X-Amz-Date={date}&X-Amz-Expires={lasts}&X-Amz-SignedHeaders=host&response-content-type=a%2Fb&X-Amz-Signature=00"
            );
            stripped(&format!("/b/k?{query}"), &[])
        };
        assert_eq!(url("20260102T030000Z", "300"), Ok(("/b/k?response-content-type=a%2Fb".to_owned(), false)));
        assert_eq!(url("20260102T030000Z", "60"), Err("AccessDenied".to_owned()));
        assert_eq!(url("20260102T040000Z", "60"), Err("AccessDenied".to_owned()));
        assert_eq!(url("20260102T030000Z", "604801"), Err("AuthorizationQueryParametersError".to_owned()));
        assert_eq!(url("yesterday", "60"), Err("AuthorizationQueryParametersError".to_owned()));
        let old = |expires: u64| stripped(&format!("/b/k?AWSAccessKeyId=K&Signature=s%3D&Expires={expires}"), &[]);
        assert_eq!(old(NOW_S), Ok(("/b/k".to_owned(), false)));
        assert_eq!(old(NOW_S - 1), Err("AccessDenied".to_owned()));
    }

    #[test]
    fn packings_are_told_apart() {
        let of = |told: &'static str, length: Option<&'static str>, signed| {
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-content-sha256", hyper::header::HeaderValue::from_static(told));
            if let Some(length) = length {
                headers.insert("x-amz-decoded-content-length", hyper::header::HeaderValue::from_static(length));
            }
            packing(&headers, signed).map_err(|fault| fault.code().as_str().to_owned())
        };
        assert_eq!(of("UNSIGNED-PAYLOAD", None, Signed::V4), Ok(Packing::Plain));
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert!(matches!(of(empty, None, Signed::V4), Ok(Packing::Hashed(_))));
        assert!(matches!(of(empty, None, Signed::No), Ok(Packing::Hashed(_))), "it is a promise, whoever gives it");
        assert_eq!(of("nonsense", None, Signed::No), Ok(Packing::Plain));
        for kind in ["STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"] {
            assert_eq!(of(kind, Some("7"), Signed::V4), Ok(Packing::Chunks(7)));
            assert_eq!(of(kind, None, Signed::No), Err("MissingContentLength".to_owned()));
        }
        assert_eq!(of("nonsense", None, Signed::V4), Err("InvalidArgument".to_owned()));
    }
}
