//! `POST /admin/transitions?bucket=&key=&version=&strategy=` has a version stored otherwise than it is, while it is read and without a new
//! version; `GET /admin/transitions` says what waits for that, and why.

use super::super::Door;
use super::super::query::{Query, strategy};
use super::super::reply::Refusal;
use super::{object_in_query, version_in_query};
use crate::metadata::records::{ChunkList, StorageClass, Strategy, VersionId};
use actix_web::{HttpRequest, HttpResponse, web};
use process::timestamp::rfc3339_ms;
use serde_json::{Value, json};
use uuid::Uuid;

/// Versions in a page, if the client does not say, and at most.
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// `POST /admin/transitions`: 202, or 200 if there is nothing to do.
pub(super) async fn order(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let query = Query::parse(request.query_string())?;
    let name = object_in_query(&query)?;
    let class = match strategy(&query)? {
        Some(Strategy::Replication) => StorageClass::Standard,
        Some(Strategy::Ec) => StorageClass::StandardIa,
        Some(Strategy::Auto) | None => {
            return Err(Refusal::bad_request("say how it is to be stored: strategy=replication or strategy=ec"));
        }
    };
    let version = version_in_query(&door, &query, &name).await?;
    if matches!(version.chunks, ChunkList::Document { .. }) {
        let message = "a document by its fields is in two codes; write it anew with another strategy";
        return Err(Refusal::bad_request(message));
    }
    door.objects.code_of(class)?;
    let is_done = version.storage_class == class;
    door.objects.order_transition(&name, &version, class, "an operator asked for it".to_owned()).await?;
    let told = json!({
        "bucket": name.bucket().as_str(),
        "key": name.key(),
        "version": version.number,
        "versionId": version.id,
        "from": version.storage_class.strategy(),
        "to": class.strategy(),
        "state": if is_done { "done" } else { "queued" },
    });
    Ok(if is_done { HttpResponse::Ok().json(told) } else { HttpResponse::Accepted().json(told) })
}

/// `GET /admin/transitions?after=&limit=`.
pub(super) async fn list(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let query = Query::parse(request.query_string())?;
    let limit = query.number("limit", LIMIT_DEFAULT, 1, LIMIT_MAX)?;
    let after = query.get("after").map(Uuid::try_parse).transpose();
    let after = after.map_err(|_| Refusal::bad_request("after must be a version id: a UUID"))?.map(VersionId);
    let mut waiting = door.objects.transitions(after, limit + 1).await?;
    let more = waiting.len() > limit;
    waiting.truncate(limit);
    let next = waiting.last().filter(|_| more).map(|(id, _)| *id);
    let lines = waiting.into_iter().map(|(id, record)| {
        json!({
            "bucket": record.bucket,
            "key": record.key,
            "version": record.number,
            "versionId": id,
            "to": record.class.strategy(),
            "size": record.size,
            "reason": record.reason,
            "since": rfc3339_ms(record.since_ms),
        })
    });
    Ok(HttpResponse::Ok().json(json!({ "transitions": lines.collect::<Vec<Value>>(), "next": next })))
}
