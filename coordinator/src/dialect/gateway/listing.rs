//! `GET /s3/{bucket}` and `GET /s3/{bucket}/{key}?versions`: what there is, a page at a time.

use super::super::Door;
use super::super::query::{Query, without_nul};
use super::super::reply::Refusal;
use super::{bucket_and_key, etag, not_found, refusal};
use crate::metadata::records::VersionState;
use crate::object::{HistoryEntry, ListRequest, ListedObject, ObjectName};
use actix_web::{HttpRequest, HttpResponse, web};
use process::timestamp::rfc3339_ms;
use protocol::Error;
use serde_json::{Value, json};

/// Entries in a page, if the client does not say.
const LIMIT_DEFAULT: usize = 1_000;
const LIMIT_MAX: usize = 1_000;

/// `GET /s3/{bucket}?prefix=&limit=&after=`, sorted by key; `next` goes into `after` for the next page.
pub(super) async fn objects(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let query = Query::parse(request.query_string())?;
    let (bucket, _) = bucket_and_key(&request)?;
    let wanted = ListRequest {
        bucket,
        prefix: without_nul(query.get("prefix").unwrap_or_default())?,
        delimiter: None,
        after: query.get("after").map(without_nul).transpose()?,
        limit: query.number("limit", LIMIT_DEFAULT, 1, LIMIT_MAX)?,
    };
    let page = door.objects.list(&wanted).await.map_err(refusal)?;
    if page.objects.is_empty() && !door.objects.bucket_was_used(&wanted.bucket).await.map_err(refusal)? {
        return Err(not_found());
    }
    let next = if page.more { page.objects.last().map(|object| object.key.clone()) } else { None };
    let objects: Vec<Value> = page.objects.into_iter().map(object_line).collect();
    Ok(HttpResponse::Ok().json(json!({
        "bucket": wanted.bucket.as_str(),
        "prefix": wanted.prefix,
        "objects": objects,
        "count": objects.len(),
        "next": next,
    })))
}

fn object_line(object: ListedObject) -> Value {
    json!({
        "key": object.key,
        "size": object.size,
        "last_modified": rfc3339_ms(object.modified_ms),
        "version": object.number,
        "content_type": object.content_type,
        "sha256": object.sha256.map(hex::encode),
        "availability_status": object.availability,
    })
}

/// `?versions&limit=&after=`, oldest first, markers included; `next` goes into `after` for the next page.
pub(super) async fn versions(door: &Door, query: &Query, name: &ObjectName) -> Result<HttpResponse, Refusal> {
    let after = query.get("after").unwrap_or("0").parse();
    let after = after.map_err(|_| refusal(Error::invalid("after must be the number of a version")))?;
    let limit = query.number("limit", LIMIT_DEFAULT, 1, LIMIT_MAX)?;
    let Some(page) = door.objects.versions(name, after, limit).await.map_err(refusal)? else {
        return Err(not_found());
    };
    let next = if page.more { page.entries.last().map(|entry| entry.version.number) } else { None };
    let versions: Vec<Value> = page.entries.iter().map(version_line).collect();
    Ok(HttpResponse::Ok().json(json!({
        "bucket": name.bucket().as_str(),
        "key": name.key(),
        "versions": versions,
        "next": next,
    })))
}

fn version_line(entry: &HistoryEntry) -> Value {
    let version = &entry.version;
    let marker = version.state == VersionState::Marker;
    let mut line = json!({
        "versionId": version.id,
        "version": version.number,
        "last_modified": rfc3339_ms(version.created_ms),
        "is_latest": entry.newest,
        "is_delete_marker": marker,
    });
    if !marker {
        line["size"] = json!(version.size);
        line["etag"] = json!(etag(version.etag, version.sha256));
        line["content_type"] = json!(version.content_type);
    }
    line
}
