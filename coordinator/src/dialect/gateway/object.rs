//! PUT, GET, HEAD and DELETE of one object.

use super::super::Door;
use super::super::described::Described;
use super::super::guard::owner;
use super::super::intake::condition;
use super::super::query::{Query, version_named};
use super::super::reply::Refusal;
use super::super::representation::{self, Dress};
use super::super::whole;
use super::{etag, listing, not_found, object_in_path, refusal, unreadable};
use crate::metadata::records::Versioning;
use crate::names;
use crate::object::{
    Attributes, DeleteMode, DeleteRequest, Deleted, Found, MissingBucket, PutTarget, Receipt, RemoveRequest,
};
use actix_web::http::header::{CONTENT_SECURITY_POLICY, ETAG, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpRequest, HttpResponse, web};
use protocol::Error;
use serde::Serialize;
use serde_json::json;

/// `PUT /s3/{bucket}/{key}`: the body, as it comes, is the object.
pub(super) async fn put(
    request: HttpRequest,
    payload: web::Payload,
    door: web::Data<Door>,
) -> Result<HttpResponse, Refusal> {
    let target = target(&request)?;
    let done = whole::store(&request, payload, &door, target, refusal).await?;
    let etag = etag(done.etag, done.sha256);
    Ok(HttpResponse::Ok()
        .insert_header((ETAG, format!("\"{etag}\"")))
        .insert_header(("x-holdfast-version", done.number))
        .insert_header(("x-holdfast-version-id", done.version_name.to_string()))
        .insert_header(("x-holdfast-durability", done.receipt.to_header()))
        .json(Uploaded {
            message: "Uploaded",
            version_id: done.version_name.to_string(),
            version: done.number,
            size: done.size,
            etag,
            sha256: done.sha256.map(hex::encode),
            chunks: done.chunks,
            stored_bytes: done.stored_bytes,
            strategy: done.storage_class.strategy(),
            receipt: done.receipt,
        }))
}

/// The answer to a PUT: the contract's two fields, and what more there is to say.
#[derive(Serialize)]
struct Uploaded {
    message: &'static str,
    #[serde(rename = "versionId")]
    version_id: String,
    version: u64,
    size: u64,
    etag: String,
    sha256: Option<String>,
    chunks: u64,
    stored_bytes: u64,
    strategy: &'static str,
    receipt: Receipt,
}

fn target(request: &HttpRequest) -> Result<PutTarget, Refusal> {
    let name = object_in_path(request)?;
    if Query::parse(request.query_string())?.get("versionId").is_some() {
        return Err(refusal(Error::invalid("a version is never replaced: leave versionId out to write a new one")));
    }
    let described = Described::parse(request.headers()).map_err(refusal)?;
    Ok(PutTarget {
        name,
        content_type: described.content_type,
        metadata: described.metadata,
        condition: condition(request)?,
        md5: described.md5,
        attributes: Attributes { headers: described.headers, ..Attributes::default() },
        missing_bucket: MissingBucket::Make(Versioning::Enabled),
    })
}

/// `GET|HEAD /s3/{bucket}/{key}?versionId=`, and `?versions`.
pub(super) async fn get(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let query = Query::parse(request.query_string())?;
    let name = object_in_path(&request)?;
    if query.get("versions").is_some() {
        return listing::versions(&door, &query, &name).await;
    }
    let Found::Version(version) = door.objects.find(&name, version_named(&query)?).await.map_err(refusal)? else {
        return Err(not_found());
    };
    let dress = Dress {
        etag: format!("\"{}\"", etag(version.etag, version.sha256)),
        // Whoever stored it chose the type; a page of theirs must not act as one of ours.
        headers: vec![(X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()), (CONTENT_SECURITY_POLICY, "sandbox".to_owned())],
        refused: refusal,
        unreadable,
    };
    representation::answer(&request, &door, &name, &version, dress).await
}

/// `DELETE /s3/{bucket}/{key}`: a marker, older versions stay; with `?versionId=` the end of that one version or marker.
pub(super) async fn delete(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let name = object_in_path(&request)?;
    let condition = condition(&request)?;
    let deleted = match version_named(&Query::parse(request.query_string())?)? {
        None => {
            let delete = DeleteRequest { mode: DeleteMode::Mark, condition, owner: owner(&request) };
            door.objects.delete_as(&name, &delete).await.map_err(refusal)?.deleted
        }
        Some(version) => {
            let remove = RemoveRequest { version, condition, bypass_governance: false, unless_newest: false };
            door.objects.remove_as(&name, &remove).await.map_err(refusal)?.deleted
        }
    };
    match deleted {
        Deleted::Nothing => Err(not_found()),
        Deleted::Done => {
            metrics::counter!(names::FILE_DELETIONS_TOTAL).increment(1);
            Ok(HttpResponse::Ok().json(json!({ "message": "Deleted" })))
        }
    }
}
