//! `PATCH /documents/{key}`: a JSON merge patch (RFC 7396), with `If-Match` if the client wants.

use super::super::guard::owner;
use super::super::intake::condition;
use super::super::reply::Refusal;
use super::super::{Door, with_request_id};
use super::incoming::{CHANGE_BYTES_MAX, Incoming, require_type, whole_body};
use super::told::{Told, told};
use super::{document_in_path, refusal_for};
use crate::names;
use crate::object::{Change, DocumentDone, JSON, ObjectName, joined};
use actix_web::{HttpRequest, HttpResponse, web};
use tokio::time::Instant;

pub const MERGE_PATCH: &str = "application/merge-patch+json";

pub(super) async fn patch(
    request: HttpRequest,
    payload: web::Payload,
    door: web::Data<Door>,
) -> Result<HttpResponse, Refusal> {
    let began = Instant::now();
    let name = document_in_path(&request)?;
    require_type(&request, &[MERGE_PATCH, JSON])?;
    let otherwise = "write the whole document instead";
    let Incoming { bytes, .. } = whole_body(&request, payload, &door, CHANGE_BYTES_MAX, otherwise).await?;
    let patch = Change::patch(&bytes).map_err(|error| refusal_for(name.key(), error))?;
    let done = change(&request, &door, &name, patch).await?;
    metrics::counter!(names::FILE_UPLOADS_TOTAL).increment(1);
    Ok(told(&door, &Told { key: name.key(), done: &done, began }))
}

/// Makes the change, in a task of its own: a client that goes away ends its request, and not a write half way.
pub(super) async fn change(
    request: &HttpRequest,
    door: &Door,
    name: &ObjectName,
    change: Change,
) -> Result<DocumentDone, Refusal> {
    let (objects, condition, owner) = (door.objects.clone(), condition(request)?, owner(request));
    let named = name.clone();
    let work = async move { objects.change_document(&named, change, &condition, &owner).await };
    let changed = joined(door.objects.tasks.spawn_here(with_request_id(work))).await;
    changed.map_err(|error| refusal_for(name.key(), error))
}
