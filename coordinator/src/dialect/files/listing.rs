//! `GET /files` and `GET /versions`: what there is, a page at a time.

use super::super::Door;
use super::super::query::{Query, without_nul};
use super::super::reply::Refusal;
use super::query_and_file;
use crate::metadata::records::VersionState;
use crate::object::{Availability, BucketName, HistoryEntry, ListRequest, ListedObject};
use actix_web::{HttpRequest, HttpResponse, web};
use process::timestamp::rfc3339_ms;
use serde::Serialize;
use serde_json::{Value, json};

/// Entries in a page, if the client does not say.
const LIMIT_DEFAULT: usize = 1_000;
const LIMIT_MAX: usize = 1_000;

#[derive(Serialize)]
struct FileLine {
    filename: String,
    size: u64,
    last_modified: String,
    version: u64,
    availability_status: Option<Availability>,
}

impl From<ListedObject> for FileLine {
    fn from(object: ListedObject) -> FileLine {
        FileLine {
            filename: object.key,
            size: object.size,
            last_modified: rfc3339_ms(object.modified_ms),
            version: object.number,
            availability_status: object.availability,
        }
    }
}

/// `GET /files?prefix=&limit=&after=`, sorted by name; `next` goes into `after` for the next page.
pub(super) async fn files(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let query = Query::parse(request.query_string())?;
    let wanted = ListRequest {
        bucket: BucketName::files(),
        prefix: without_nul(query.get("prefix").unwrap_or_default())?,
        delimiter: None,
        after: query.get("after").map(without_nul).transpose()?,
        limit: query.number("limit", LIMIT_DEFAULT, 1, LIMIT_MAX)?,
        shows_availability: true,
    };
    let page = door.objects.list(&wanted).await?;
    let next = if page.more { page.objects.last().map(|object| object.key.clone()) } else { None };
    let files: Vec<FileLine> = page.objects.into_iter().map(FileLine::from).collect();
    Ok(HttpResponse::Ok().json(json!({ "files": files, "count": files.len(), "next": next })))
}

/// `GET /versions?filename=&limit=&after=`, oldest first; `next` goes into `after` for the next page.
pub(super) async fn versions(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let (query, name) = query_and_file(&request)?;
    let after = match query.get("after") {
        None => 0,
        Some(text) => text.parse().map_err(|_| Refusal::bad_request("Invalid version number format"))?,
    };
    let limit = query.number("limit", LIMIT_DEFAULT, 1, LIMIT_MAX)?;
    let Some(page) = door.objects.versions(&name, after, limit).await? else {
        return Err(Refusal::not_found(format!("File '{}' does not exist", name.key())));
    };
    let next = if page.more { page.entries.last().map(|entry| entry.version.number) } else { None };
    let versions: Vec<Value> = page.entries.iter().map(version_line).collect();
    Ok(HttpResponse::Ok().json(json!({ "filename": name.key(), "versions": versions, "next": next })))
}

fn version_line(entry: &HistoryEntry) -> Value {
    let version = &entry.version;
    let created = rfc3339_ms(version.created_ms);
    match version.state {
        VersionState::Marker => json!({
            "version": version.number,
            "versionId": version.id,
            "created": created,
            "current": false,
            "deleted": true,
        }),
        VersionState::Live => json!({
            "version": version.number,
            "versionId": version.id,
            "created": created,
            "current": entry.current,
            "deleted": false,
            "size": version.size,
            "sha256": version.sha256.map(hex::encode),
            "content_type": version.content_type,
            "chunks": version.chunk_count,
            "shared_bytes": version.shared_bytes,
            "stored_bytes": version.stored_bytes,
        }),
    }
}
