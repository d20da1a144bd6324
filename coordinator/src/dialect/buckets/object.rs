//! PUT, GET, HEAD and DELETE of one object.

use super::super::Door;
use super::super::described::Described;
use super::super::guard::owner;
use super::super::intake::condition;
use super::super::query::{Query, version_named};
use super::super::reply::Refusal;
use super::super::representation::{self, Dress};
use super::super::whole;
use super::{etag, no_object, object_in_path, refusal};
use crate::metadata::records::Versioning;
use crate::names;
use crate::object::{
    Attributes, DeleteMode, DeleteRequest, Deleted, Found, MissingBucket, ObjectName, PutDone, PutTarget, Receipt,
    RemoveRequest,
};
use actix_web::http::header::{CONTENT_SECURITY_POLICY, ETAG, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpRequest, HttpResponse, web};
use process::timestamp::rfc3339_ms;
use protocol::Error;
use serde::Serialize;
use serde_json::json;

/// Where the bytes are: on storage nodes of our own.
const STORAGE: &str = "nodes";

/// `PUT /buckets/{bucket}/objects/{key}`: the body, as it comes, is the object; the bucket springs into being.
pub(super) async fn put(
    request: HttpRequest,
    payload: web::Payload,
    door: web::Data<Door>,
) -> Result<HttpResponse, Refusal> {
    store(&request, payload, &door).await.map_err(Refusal::explained)
}

async fn store(request: &HttpRequest, payload: web::Payload, door: &Door) -> Result<HttpResponse, Refusal> {
    let target = target(request)?;
    let (name, content_type) = (target.name.clone(), target.content_type.clone());
    let done = whole::store(request, payload, door, target, refusal).await?;
    let etag = etag(done.etag, done.sha256);
    Ok(HttpResponse::Created()
        .insert_header((ETAG, format!("\"{etag}\"")))
        .insert_header(("x-holdfast-version", done.number))
        .insert_header(("x-holdfast-version-id", done.version_name.to_string()))
        .insert_header(("x-holdfast-durability", done.receipt.to_header()))
        .json(uploaded(request.uri().path(), &name, &content_type, etag, done)))
}

/// The answer to a PUT: the fields of both designs (contract, *Collisions*), and what more there is to say.
#[derive(Serialize)]
struct Uploaded<'a> {
    message: &'static str,
    path: &'a str,
    etag: String,
    storage: &'static str,
    object_id: String,
    bucket_name: &'a str,
    object_name: &'a str,
    size_bytes: u64,
    created_at: String,
    content_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    md5: Option<String>,
    version: u64,
    #[serde(rename = "versionId")]
    version_id: String,
    receipt: Receipt,
}

fn uploaded<'a>(
    path: &'a str,
    name: &'a ObjectName,
    content_type: &'a str,
    etag: String,
    done: PutDone,
) -> Uploaded<'a> {
    Uploaded {
        message: "Upload successful",
        path,
        etag,
        storage: STORAGE,
        object_id: done.version.to_string(),
        bucket_name: name.bucket().as_str(),
        object_name: name.key(),
        size_bytes: done.size,
        created_at: rfc3339_ms(done.modified_ms),
        content_type,
        md5: done.etag.md5().map(hex::encode),
        version: done.number,
        version_id: done.version_name.to_string(),
        receipt: done.receipt,
    }
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
        missing_bucket: MissingBucket::Make(Versioning::Off),
    })
}

/// `GET|HEAD /buckets/{bucket}/objects/{key}?versionId=`.
pub(super) async fn get(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    read(&request, &door).await.map_err(Refusal::explained)
}

async fn read(request: &HttpRequest, door: &Door) -> Result<HttpResponse, Refusal> {
    let name = object_in_path(request)?;
    let version = version_named(&Query::parse(request.query_string())?)?;
    let version = match door.objects.find(&name, version).await.map_err(refusal)? {
        Found::Version(version) => version,
        Found::Marker(_) | Found::NoVersion | Found::NoKey | Found::NoBucket => return Err(no_object(&name)),
    };
    let dress = Dress {
        etag: format!("\"{}\"", etag(version.etag, version.sha256)),
        // Whoever stored it chose the type; a page of theirs must not act as one of ours.
        headers: vec![(X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()), (CONTENT_SECURITY_POLICY, "sandbox".to_owned())],
        refused: refusal,
        unreadable: refusal,
    };
    representation::answer(request, door, &name, &version, dress).await
}

/// `DELETE /buckets/{bucket}/objects/{key}`; with `?versionId=` the end of that one version or marker.
pub(super) async fn delete(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    remove(&request, &door).await.map_err(Refusal::explained)
}

async fn remove(request: &HttpRequest, door: &Door) -> Result<HttpResponse, Refusal> {
    let name = object_in_path(request)?;
    let condition = condition(request)?;
    let deleted = match version_named(&Query::parse(request.query_string())?)? {
        None => {
            let delete = DeleteRequest { mode: DeleteMode::Mark, condition, owner: owner(request) };
            door.objects.delete_as(&name, &delete).await.map_err(refusal)?.deleted
        }
        Some(version) => {
            let remove = RemoveRequest { version, condition, bypass_governance: false, unless_newest: false };
            door.objects.remove_as(&name, &remove).await.map_err(refusal)?.deleted
        }
    };
    match deleted {
        Deleted::Nothing => Err(no_object(&name)),
        Deleted::Done => {
            metrics::counter!(names::FILE_DELETIONS_TOTAL).increment(1);
            Ok(HttpResponse::Ok().json(json!({ "message": "Delete successful" })))
        }
    }
}
