//! `GET /s3/{bucket}`, `GET /s3/{bucket}?versions` and `GET /s3/{bucket}/{key}?versions`: what there is, a page at a time.

use super::super::Door;
use super::super::query::{Query, without_nul};
use super::super::reply::Refusal;
use super::{bucket_and_key, etag, not_found, refusal};
use crate::metadata::records::VersionState;
use crate::object::{
    BucketName, HistoryEntry, ListRequest, ListVersionsRequest, ListedObject, ListedVersion, ObjectName, VersionName,
};
use actix_web::{HttpRequest, HttpResponse, web};
use process::timestamp::rfc3339_ms;
use protocol::Error;
use serde_json::{Value, json};

/// Entries in a page, if the client does not say.
const LIMIT_DEFAULT: usize = 1_000;
const LIMIT_MAX: usize = 1_000;

/// `GET /s3/{bucket}`: its objects; with `?versions` all versions of them.
pub(super) async fn bucket(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let query = Query::parse(request.query_string())?;
    let (bucket, _) = bucket_and_key(&request)?;
    match query.get("versions") {
        None => objects(&door, &query, bucket).await,
        Some(_) => all_versions(&door, &query, bucket).await,
    }
}

fn delimiter(query: &Query) -> Result<Option<String>, Refusal> {
    query.get("delimiter").filter(|delimiter| !delimiter.is_empty()).map(without_nul).transpose()
}

/// `?prefix=&delimiter=&limit=&after=`, sorted by key; `next` goes into `after` for the next page.
async fn objects(door: &Door, query: &Query, bucket: BucketName) -> Result<HttpResponse, Refusal> {
    let wanted = ListRequest {
        bucket,
        prefix: without_nul(query.get("prefix").unwrap_or_default())?,
        delimiter: delimiter(query)?,
        after: query.get("after").map(without_nul).transpose()?,
        limit: query.number("limit", LIMIT_DEFAULT, 1, LIMIT_MAX)?,
        shows_availability: true,
    };
    let page = door.objects.list(&wanted).await.map_err(refusal)?;
    if page.last.is_none() && door.objects.bucket(&wanted.bucket).await.map_err(refusal)?.is_none() {
        return Err(not_found());
    }
    let objects: Vec<Value> = page.objects.into_iter().map(object_line).collect();
    Ok(HttpResponse::Ok().json(json!({
        "bucket": wanted.bucket.as_str(),
        "prefix": wanted.prefix,
        "objects": objects,
        "prefixes": page.prefixes,
        "count": objects.len(),
        "next": page.last.filter(|_| page.more),
    })))
}

/// `?versions&prefix=&delimiter=&limit=&after=&after_version=`: sorted by key, the newest version of each first, markers included. For
/// the next page `next` goes into `after`, and `next_version`, where there is one, into `after_version`.
async fn all_versions(door: &Door, query: &Query, bucket: BucketName) -> Result<HttpResponse, Refusal> {
    let after_version = query.get("after_version").map(str::parse).transpose().map_err(refusal)?;
    let wanted = ListVersionsRequest {
        bucket,
        prefix: without_nul(query.get("prefix").unwrap_or_default())?,
        delimiter: delimiter(query)?,
        after_key: query.get("after").map(without_nul).transpose()?,
        after_version,
        limit: query.number("limit", LIMIT_DEFAULT, 1, LIMIT_MAX)?,
    };
    let page = door.objects.list_versions(&wanted).await.map_err(refusal)?;
    if page.last.is_none() && door.objects.bucket(&wanted.bucket).await.map_err(refusal)?.is_none() {
        return Err(not_found());
    }
    let (next, next_version) =
        page.last.filter(|_| page.more).map_or((None, None), |(key, marker)| (Some(key), marker));
    let versions: Vec<Value> = page.entries.iter().map(listed_line).collect();
    Ok(HttpResponse::Ok().json(json!({
        "bucket": wanted.bucket.as_str(),
        "prefix": wanted.prefix,
        "versions": versions,
        "prefixes": page.prefixes,
        "next": next,
        "next_version": next_version.map(|marker| marker.to_string()),
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

fn listed_line(listed: &ListedVersion) -> Value {
    let mut line = json!({
        "key": listed.key,
        "versionId": listed.version_name.to_string(),
        "version": listed.number,
        "last_modified": rfc3339_ms(listed.modified_ms),
        "is_latest": listed.is_newest,
        "is_delete_marker": listed.is_marker,
    });
    if !listed.is_marker {
        line["size"] = json!(listed.size);
        line["etag"] = json!(etag(listed.etag, listed.sha256));
    }
    line
}

fn version_line(entry: &HistoryEntry) -> Value {
    let version = &entry.version;
    let marker = version.state == VersionState::Marker;
    let mut line = json!({
        "versionId": VersionName::of(version).to_string(),
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
