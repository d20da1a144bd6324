//! PUT, GET, HEAD and DELETE of one object.

use super::super::Door;
use super::super::guard::principal;
use super::super::intake::{Pump, Pumped, announced_length, condition, never_still, sha256_tag, stood_still};
use super::super::query::Query;
use super::super::reply::Refusal;
use super::super::representation::{self, Dress};
use super::{etag, listing, not_found, object_in_path, refusal, unreadable, version_id};
use crate::metadata::records::{VersionId, Versioning};
use crate::names;
use crate::object::{
    Attributes, BodyMessage, ContentTag, DeleteMode, Deleted, MissingBucket, PutDone, PutTarget, Receipt, Version,
    VersionSelector, body_channel, joined,
};
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::stream::StreamExt;
use protocol::Error;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const MEDIA_TYPE_DEFAULT: &str = "application/octet-stream";
const CONTENT_MD5: &str = "content-md5";

/// `PUT /s3/{bucket}/{key}`: the body, as it comes, is the object.
pub(super) async fn put(
    request: HttpRequest,
    payload: web::Payload,
    door: web::Data<Door>,
) -> Result<HttpResponse, Refusal> {
    let target = target(&request)?;
    announced_length(request.headers(), &door)?;
    let done = receive(payload, &door, target).await?;
    metrics::counter!(names::FILE_UPLOADS_TOTAL).increment(1);
    let etag = etag(done.etag, done.sha256);
    Ok(HttpResponse::Ok()
        .insert_header((ETAG, format!("\"{etag}\"")))
        .insert_header(("x-holdfast-version", done.number))
        .insert_header(("x-holdfast-version-id", done.version.to_string()))
        .insert_header(("x-holdfast-durability", done.receipt.to_header()))
        .json(Uploaded {
            message: "Uploaded",
            version_id: done.version,
            version: done.number,
            size: done.size,
            etag,
            sha256: done.sha256.map(hex::encode),
            chunks: done.chunks,
            stored_bytes: done.stored_bytes,
            receipt: done.receipt,
        }))
}

/// The answer to a PUT: the contract's two fields, and what more there is to say.
#[derive(Serialize)]
struct Uploaded {
    message: &'static str,
    #[serde(rename = "versionId")]
    version_id: VersionId,
    version: u64,
    size: u64,
    etag: String,
    sha256: Option<String>,
    chunks: u64,
    stored_bytes: u64,
    receipt: Receipt,
}

fn target(request: &HttpRequest) -> Result<PutTarget, Refusal> {
    let name = object_in_path(request)?;
    if Query::parse(request.query_string())?.get("versionId").is_some() {
        return Err(refusal(Error::invalid("a version is never replaced: leave versionId out to write a new one")));
    }
    let headers = request.headers();
    let condition = condition(request, |tag| match tag.try_into() {
        Ok(md5) => Some(ContentTag::Md5(md5)),
        Err(_) => sha256_tag(tag),
    })?;
    Ok(PutTarget {
        name,
        content_type: media_type(headers)?,
        metadata: BTreeMap::new(),
        condition,
        md5: content_md5(headers)?,
        attributes: Attributes { owner: principal(request).owner().to_owned(), ..Attributes::default() },
        missing_bucket: MissingBucket::Make(Versioning::Enabled),
    })
}

fn media_type(headers: &HeaderMap) -> Result<String, Refusal> {
    match headers.get(CONTENT_TYPE).map(|value| value.to_str()) {
        None => Ok(MEDIA_TYPE_DEFAULT.to_owned()),
        Some(Ok(text)) => Ok(text.to_owned()),
        Some(Err(_)) => Err(refusal(Error::invalid("Content-Type must be of visible ASCII characters"))),
    }
}

/// The 16 bytes that `Content-MD5` spells in base64 (RFC 1864).
fn content_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>, Refusal> {
    let Some(value) = headers.get(CONTENT_MD5) else {
        return Ok(None);
    };
    match value.to_str().ok().and_then(base64_md5) {
        Some(md5) => Ok(Some(md5)),
        None => Err(refusal(Error::invalid("Content-MD5 must be 16 bytes in base64"))),
    }
}

/// 22 digits of base64 and two `=` are 16 bytes; the last digit's lower four bits must be 0, or one MD5 had several spellings.
fn base64_md5(text: &str) -> Option<[u8; 16]> {
    let digits = text.strip_suffix("==")?;
    if digits.len() != 22 {
        return None;
    }
    let mut bits: u128 = 0;
    for (place, digit) in digits.bytes().enumerate() {
        let digit = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = match place {
            21 if digit & 0x0f != 0 => return None,
            21 => bits << 2 | u128::from(digit >> 4),
            _ => bits << 6 | u128::from(digit),
        };
    }
    Some(bits.to_be_bytes())
}

/// Passes the body on and publishes it. Whatever ends it early, ends the put: dropping the channel tells it so.
async fn receive(payload: web::Payload, door: &Door, target: PutTarget) -> Result<PutDone, Refusal> {
    let stall = door.settings.body_stall;
    let mut body = Box::pin(never_still(payload, stall));
    let (sender, pieces) = body_channel();
    let objects = door.objects.clone();
    let put = async move { objects.put_with_md5(pieces).await };
    let put = door.objects.tasks.spawn_here(super::super::with_request_id(put));
    let mut pump = Pump::new(door, &sender);
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| broken(&error, stall))?;
        if let Pumped::PutEnded = pump.push(piece).await? {
            let ended = || Error::unavailable("the put ended before its body did");
            return Err(refusal(joined(put).await.err().unwrap_or_else(ended)));
        }
    }
    pump.end();
    // If this cannot be sent, the put has ended and says why.
    drop(sender.send(BodyMessage::End(Box::new(target))).await);
    joined(put).await.map_err(refusal)
}

fn broken(error: &PayloadError, stall: Duration) -> Refusal {
    stood_still(error, stall).unwrap_or_else(|| refusal(Error::invalid(format!("the body is broken: {error}"))))
}

/// `GET|HEAD /s3/{bucket}/{key}?versionId=`, and `?versions`; with an empty key, the bucket's listing.
pub(super) async fn get(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let query = Query::parse(request.query_string())?;
    if request.uri().path().ends_with('/') && super::bucket_and_key(&request)?.1.is_empty() {
        return listing::objects(request, door).await;
    }
    let name = object_in_path(&request)?;
    if query.get("versions").is_some() {
        return listing::versions(&door, &query, &name).await;
    }
    let version = match query.get("versionId") {
        None => door.objects.resolve(&name, VersionSelector::Latest).await,
        Some(id) => door.objects.resolve_id(&name, version_id(id)?).await,
    };
    let Version::Found(version) = version.map_err(refusal)? else {
        return Err(not_found());
    };
    let dress = Dress {
        etag: format!("\"{}\"", etag(version.etag, version.sha256)),
        // Whoever stored it chose the type; a page of theirs must not act as one of ours.
        headers: vec![(X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()), (CONTENT_SECURITY_POLICY, "sandbox".to_owned())],
        refused: refusal,
        unreadable,
    };
    representation::answer(&request, &door, &version, dress).await
}

/// `DELETE /s3/{bucket}/{key}`: a marker, older versions stay; with `?versionId=` the end of that one version or marker.
pub(super) async fn delete(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let name = object_in_path(&request)?;
    let query = Query::parse(request.query_string())?;
    let deleted = match query.get("versionId") {
        None => door.objects.delete(&name, DeleteMode::Mark).await,
        Some(id) => door.objects.remove_version(&name, version_id(id)?).await,
    };
    match deleted.map_err(refusal)? {
        Deleted::Nothing => Err(not_found()),
        Deleted::Done => {
            metrics::counter!(names::FILE_DELETIONS_TOTAL).increment(1);
            Ok(HttpResponse::Ok().json(json!({ "message": "Deleted" })))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_md5_has_one_spelling_in_base64() {
        let md5 = base64_md5("kAFQmDzST7DWlj99KOF/cg==").unwrap();
        assert_eq!(hex::encode(md5), "900150983cd24fb0d6963f7d28e17f72"); // RFC 1321, A.5
        for bad in [
            "",
            "==",
            "kAFQmDzST7DWlj99KOF/ch==",
            "kAFQmDzST7DWlj99KOF/cg=",
            "kAFQmDzST7DWlj99KOF/cgA=",
            "kAFQmDzST7DWlj99KOF-cg==",
            "900150983cd24fb0d6963f7d28e17f72",
        ] {
            assert!(base64_md5(bad).is_none(), "{bad}");
        }
    }
}
