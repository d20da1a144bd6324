//! GetObject and HeadObject: which version, conditions, ranges and parts, the head of the answer, and the bytes as they come off the nodes.
//!
//! They do not go through the library's own types: those know one ETag in a condition, and no range that is to be passed over.
//!
//! What it keeps true: the first chunk is read and verified before the status is sent; after that, an error cuts the connection, so
//! that no client takes a part for the whole (law 6). A checksum is given with the whole only: clients refuse a part that has it.

use super::access::{Trace, may};
use super::fault::{bad_request, custom, fault, invalid, of_verb};
use super::heads::{METADATA_PREFIX, expected_owner, list};
use super::promise::{kind, part_number, printed, spelled};
use super::route::trace;
use super::target::{Query, Target};
use super::times::http_date;
use super::words;
use crate::dialect::Door;
use crate::dialect::conditions::{Parsed, Validators, Verdict};
use crate::dialect::representation::{ObjectPieces, pieces_of};
use crate::identity::{Action, Principal};
use crate::metadata::records::{Checksum, RetentionMode, StorageClass, VersionRecord, Versioning};
use crate::names;
use crate::object::{BucketName, Found, ObjectName, VersionName};
use futures_util::stream::StreamExt;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPIRES, HeaderName, HeaderValue, LAST_MODIFIED,
};
use hyper::{HeaderMap, Method, StatusCode};
use metrics::counter;
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use std::ops::Range;
use std::sync::Arc;

/// Parameters of a presigned GET that replace headers of its answer.
const REPLACED: [(&str, HeaderName); 6] = [
    ("response-content-type", CONTENT_TYPE),
    ("response-content-language", CONTENT_LANGUAGE),
    ("response-expires", EXPIRES),
    ("response-cache-control", CACHE_CONTROL),
    ("response-content-disposition", CONTENT_DISPOSITION),
    ("response-content-encoding", CONTENT_ENCODING),
];

/// Answers a GET or HEAD of an object.
pub async fn answer(door: &Door, request: &S3Request<Body>) -> S3Result<S3Response<Body>> {
    let query = Query::parse(request.uri.query());
    let name = object_name(&request.extensions.get::<Target>().cloned().unwrap_or_default())?;
    refuse_customer_keys(&request.headers)?;
    let number = query.get("partNumber").map(part_number).transpose()?;
    let (version, versioning) = found_for(door, request, &name, query.get("versionId")).await?;
    let etag = format!("\"{}\"", version.etag_text());
    let validators = Validators { etag, modified_ms: version.created_ms };
    let text = |header: &str| list(&request.headers, header);
    let mut head = head_of(&version, versioning, &validators.etag)?;
    match validators.judge(&text) {
        Verdict::Proceed => {}
        Verdict::NotModified => return Ok(not_modified(head)),
        Verdict::Failed(condition) => return Err(condition_failed(condition)),
    }
    let part = part(door, &name, &version, &validators, &request.headers, number).await?;
    let range = part.as_ref().map_or(0..version.size, |part| part.range.clone());
    let mut status = StatusCode::OK;
    if let Some(part) = &part {
        status = StatusCode::PARTIAL_CONTENT;
        if !part.range.is_empty() {
            let (start, end) = (part.range.start, part.range.end - 1);
            put(&mut head, CONTENT_RANGE, &format!("bytes {start}-{end}/{}", version.size))?;
        }
        if let Some(parts) = part.count {
            head.insert("x-amz-mp-parts-count", parts.into());
        }
    }
    if text("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("ENABLED")) {
        let of_part = part.and_then(|part| part.checksum);
        let of_whole = || version.checksum.as_ref().filter(|_| range == (0..version.size));
        if let Some(told) = of_part.as_ref().or_else(of_whole) {
            checksum(&mut head, told);
        }
    }
    replace(&mut head, request, &query)?;
    head.insert(CONTENT_LENGTH, (range.end - range.start).into());
    let body = match request.method == Method::HEAD {
        true => Body::empty(),
        false => body(pieces_of(&door.objects, &name, &version, range).await.map_err(|unread| of_verb(unread.into()))?),
    };
    counter!(names::FILE_DOWNLOADS_TOTAL).increment(1);
    let mut response = S3Response::with_headers(body, head);
    response.status = Some(status);
    Ok(response)
}

/// The object that a target names.
pub fn object_name(target: &Target) -> S3Result<ObjectName> {
    let bucket = bucket_name(&target.bucket)?;
    ObjectName::new(bucket, target.key.clone()).map_err(of_verb)
}

/// The bucket of this name.
pub fn bucket_name(text: &str) -> S3Result<BucketName> {
    BucketName::parse(text).map_err(|error| fault(S3ErrorCode::InvalidBucketName, error.message))
}

/// The version that a client calls so.
pub fn version_name(text: &str) -> S3Result<VersionName> {
    text.parse().map_err(|_| invalid("Invalid version id specified"))
}

/// The version that a request asks for, as [`found`] has it.
pub async fn found_for<T>(
    door: &Door,
    request: &S3Request<T>,
    name: &ObjectName,
    version_id: Option<&str>,
) -> S3Result<(Box<VersionRecord>, Versioning)> {
    found(door, name, version_id, &request.headers, &trace(&request.extensions).principal()).await
}

/// The version that `principal` asks for, and what its bucket does with versions. Whether there is such a key is told to those who may list
/// the bucket (AWS's GetObject).
pub async fn found(
    door: &Door,
    name: &ObjectName,
    version_id: Option<&str>,
    headers: &HeaderMap,
    principal: &Principal,
) -> S3Result<(Box<VersionRecord>, Versioning)> {
    let version = version_id.map(version_name).transpose()?;
    let found = door.objects.find(name, version).await.map_err(of_verb)?;
    let bucket = door.objects.require_bucket(name.bucket()).await.map_err(of_verb)?;
    expected_owner(headers, &bucket.owner)?;
    let missing = match found {
        Found::Version(version) => return Ok((version, bucket.versioning)),
        Found::Marker(marker) => is_marker(&marker, version.is_some()),
        Found::NoVersion => fault(S3ErrorCode::NoSuchVersion, "The specified version does not exist."),
        Found::NoKey if version.is_some() => fault(S3ErrorCode::NoSuchVersion, "The specified version does not exist."),
        Found::NoKey => fault(S3ErrorCode::NoSuchKey, "The specified key does not exist."),
        Found::NoBucket => fault(S3ErrorCode::NoSuchBucket, "The specified bucket does not exist"),
    };
    if missing.code() == &S3ErrorCode::NoSuchKey {
        may(door, principal, Action::List, name.bucket().as_str(), false).await?;
    }
    Err(missing)
}

/// A marker has no bytes: 404 where it is the newest, 405 where it was asked for by name.
fn is_marker(marker: &VersionRecord, by_name: bool) -> S3Error {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
    if let Ok(version) = HeaderValue::from_str(&VersionName::of(marker).to_string()) {
        headers.insert("x-amz-version-id", version);
    }
    let mut error = match by_name {
        false => fault(S3ErrorCode::NoSuchKey, "The specified key does not exist."),
        true => {
            headers.insert(ALLOW, HeaderValue::from_static("DELETE"));
            if let Ok(modified) = HeaderValue::from_str(&http_date(marker.created_ms)) {
                headers.insert(LAST_MODIFIED, modified);
            }
            fault(S3ErrorCode::MethodNotAllowed, "The specified method is not allowed against this resource.")
        }
    };
    error.set_headers(headers);
    error
}

/// 412, in S3's words.
pub fn condition_failed(condition: &str) -> S3Error {
    fault(
        S3ErrorCode::PreconditionFailed,
        format!("At least one of the pre-conditions you specified did not hold: {condition}"),
    )
}

fn refuse_customer_keys(headers: &HeaderMap) -> S3Result<()> {
    match headers.keys().any(|name| name.as_str().starts_with("x-amz-server-side-encryption")) {
        true => Err(bad_request("The encryption parameters are not applicable to this object.")),
        false => Ok(()),
    }
}

fn not_modified(mut head: HeaderMap) -> S3Response<Body> {
    for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_DISPOSITION] {
        head.remove(name);
    }
    let mut response = S3Response::with_headers(Body::empty(), head);
    response.status = Some(StatusCode::NOT_MODIFIED);
    response
}

/// A part of a version, by range or by number.
struct Part {
    range: Range<u64>,
    /// How many parts there are, where it was asked for by number.
    count: Option<u16>,
    /// The checksum that it was uploaded with, likewise.
    checksum: Option<Checksum>,
}

async fn part(
    door: &Door,
    name: &ObjectName,
    version: &VersionRecord,
    validators: &Validators,
    headers: &HeaderMap,
    number: Option<u16>,
) -> S3Result<Option<Part>> {
    if let Some(number) = number {
        if headers.contains_key("range") {
            return Err(bad_request("Cannot specify both Range header and partNumber query parameter"));
        }
        return numbered(door, name, version, number).await.map(Some);
    }
    let text = |header: &str| list(headers, header);
    match validators.part(&text, version.size) {
        Parsed::Part(range) => Ok(Some(Part { range, count: None, checksum: None })),
        Parsed::Ignored => Ok(None),
        Parsed::Beyond => {
            let mut error = fault(S3ErrorCode::InvalidRange, "The requested range is not satisfiable");
            let mut headers = HeaderMap::new();
            put(&mut headers, CONTENT_RANGE, &format!("bytes */{}", version.size))?;
            error.set_headers(headers);
            Err(error)
        }
    }
}

async fn numbered(door: &Door, name: &ObjectName, version: &VersionRecord, number: u16) -> S3Result<Part> {
    let beyond = || {
        let (status, why) = (StatusCode::RANGE_NOT_SATISFIABLE, "The requested partnumber is not satisfiable");
        custom("InvalidPartNumber", status, why)
    };
    if version.parts.is_none() {
        // What was put in one piece is its own first part.
        let whole = Part { range: 0..version.size, count: None, checksum: None };
        return if number == 1 { Ok(whole) } else { Err(beyond()) };
    }
    let part = door.objects.object_part(name, version, number).await.map_err(of_verb)?.ok_or_else(beyond)?;
    Ok(Part { range: part.range, count: version.parts, checksum: part.checksum })
}

fn put(head: &mut HeaderMap, name: impl hyper::header::IntoHeaderName, value: &str) -> S3Result<()> {
    let value = HeaderValue::from_bytes(value.as_bytes())
        .map_err(|_| fault(S3ErrorCode::InternalError, "a header of the object cannot be sent"))?;
    head.insert(name, value);
    Ok(())
}

/// What an answer says of a version, whatever part of it is sent.
fn head_of(version: &VersionRecord, versioning: Versioning, etag: &str) -> S3Result<HeaderMap> {
    let mut head = HeaderMap::new();
    put(&mut head, ETAG, etag)?;
    put(&mut head, LAST_MODIFIED, &http_date(version.created_ms))?;
    head.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    put(&mut head, CONTENT_TYPE, &version.content_type)?;
    let kept = &version.headers;
    for (name, value) in [
        (CACHE_CONTROL, &kept.cache_control),
        (CONTENT_DISPOSITION, &kept.content_disposition),
        (CONTENT_ENCODING, &kept.content_encoding),
        (CONTENT_LANGUAGE, &kept.content_language),
        (EXPIRES, &kept.expires),
    ] {
        if let Some(value) = value {
            put(&mut head, name, value)?;
        }
    }
    for (name, value) in &version.metadata {
        // What another door stored may have names that no header can have.
        if let Ok(name) = HeaderName::from_bytes(format!("{METADATA_PREFIX}{name}").as_bytes()) {
            put(&mut head, name, &words::encoded(value))?;
        }
    }
    if versioning != Versioning::Off {
        put(&mut head, "x-amz-version-id", &VersionName::of(version).to_string())?;
    }
    // As S3: the standard class goes without saying.
    if version.storage_class != StorageClass::Standard {
        head.insert("x-amz-storage-class", HeaderValue::from_static(version.storage_class.as_str()));
    }
    if !version.tags.is_empty() {
        head.insert("x-amz-tagging-count", version.tags.len().into());
    }
    if let Some(retention) = &version.retention {
        let mode = match retention.mode {
            RetentionMode::Governance => "GOVERNANCE",
            RetentionMode::Compliance => "COMPLIANCE",
        };
        head.insert("x-amz-object-lock-mode", HeaderValue::from_static(mode));
        let until = process::timestamp::rfc3339_ms(retention.until_ms);
        put(&mut head, "x-amz-object-lock-retain-until-date", &until)?;
    }
    if let Some(held) = version.legal_hold {
        head.insert("x-amz-object-lock-legal-hold", HeaderValue::from_static(if held { "ON" } else { "OFF" }));
    }
    Ok(head)
}

/// Says a checksum.
fn checksum(head: &mut HeaderMap, checksum: &Checksum) {
    let (_, header) = spelled(checksum.algorithm);
    if let Ok(value) = HeaderValue::from_str(&printed(checksum)) {
        head.insert(header, value);
        head.insert("x-amz-checksum-type", HeaderValue::from_static(kind(checksum.kind)));
    }
}

/// Headers that the request asks to be others.
fn replace(head: &mut HeaderMap, request: &S3Request<Body>, query: &Query) -> S3Result<()> {
    for (parameter, header) in REPLACED {
        let Some(value) = query.get(parameter) else { continue };
        let trace = request.extensions.get::<Arc<Trace>>();
        if trace.is_some_and(|trace| matches!(trace.principal(), Principal::Anonymous)) {
            return Err(bad_request("Request specific response headers cannot be used for anonymous GET requests."));
        }
        let value =
            HeaderValue::from_str(value).map_err(|_| invalid(format!("{parameter} cannot be sent in a header")))?;
        head.insert(header, value);
    }
    Ok(())
}

fn body(pieces: ObjectPieces) -> Body {
    match pieces {
        ObjectPieces::All(bytes) => Body::from(bytes),
        ObjectPieces::Stream(stream) => {
            Body::http_body_unsync(StreamBody::new(stream.map(|piece| piece.map(Frame::data))))
        }
    }
}
