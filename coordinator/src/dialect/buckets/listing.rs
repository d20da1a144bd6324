//! `GET /buckets/{bucket}/objects?prefix=&delimiter=&limit=&after=` (contract E3, E4): a page of what is in a bucket.

use super::super::Door;
use super::super::query::{Query, without_nul};
use super::super::reply::Refusal;
use super::{bucket_in_path, etag, refusal};
use crate::object::{ListRequest, ListedObject};
use actix_web::{HttpRequest, HttpResponse, web};
use process::timestamp::rfc3339_ms;
use serde_json::{Value, json};

/// Objects in a page, if the client does not say.
const LIMIT_DEFAULT: usize = 1_000;
const LIMIT_MAX: usize = 1_000;

/// Sorted by name; `next` goes into `after` for the next page.
pub(super) async fn objects(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    page(&request, &door).await.map_err(Refusal::explained)
}

async fn page(request: &HttpRequest, door: &Door) -> Result<HttpResponse, Refusal> {
    let query = Query::parse(request.query_string())?;
    let wanted = ListRequest {
        bucket: bucket_in_path(request)?,
        prefix: without_nul(query.get("prefix").unwrap_or_default())?,
        delimiter: query.get("delimiter").filter(|delimiter| !delimiter.is_empty()).map(without_nul).transpose()?,
        after: query.get("after").map(without_nul).transpose()?,
        limit: query.number("limit", LIMIT_DEFAULT, 1, LIMIT_MAX)?,
        shows_availability: false,
    };
    door.objects.require_bucket(&wanted.bucket).await.map_err(refusal)?;
    let page = door.objects.list(&wanted).await.map_err(refusal)?;
    let objects: Vec<Value> = page.objects.iter().map(line).collect();
    Ok(HttpResponse::Ok().json(json!({
        "bucket_name": wanted.bucket.as_str(),
        "prefix": wanted.prefix,
        "objects": objects,
        "prefixes": page.prefixes,
        "count": objects.len(),
        "next": page.last.filter(|_| page.more),
    })))
}

fn line(object: &ListedObject) -> Value {
    json!({
        "object_id": object.id,
        "object_name": object.key,
        "size_bytes": object.size,
        "content_type": object.content_type,
        "etag": etag(object.etag, object.sha256),
        "created_at": rfc3339_ms(object.modified_ms),
        "versionId": object.version_name.to_string(),
    })
}
