//! `DELETE /delete/{key}` (contract C9, C12): every version of a document, and its bytes when the collector comes by.

use super::super::Door;
use super::super::guard::owner;
use super::super::intake::condition;
use super::super::query::Query;
use super::super::reply::Refusal;
use super::told::told_gone;
use super::{document_in_path, refusal_for};
use crate::names;
use crate::object::{DeleteMode, DeleteRequest};
use actix_web::{HttpRequest, HttpResponse, web};
use tokio::time::Instant;

pub(super) async fn delete(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let began = Instant::now();
    let name = document_in_path(&request)?;
    Query::parse(request.query_string())?.versions_by(None)?;
    let delete = DeleteRequest { mode: DeleteMode::Purge, condition: condition(&request)?, owner: owner(&request) };
    let gone = door.objects.delete_document(&name, &delete).await;
    let gone = gone.map_err(|error| refusal_for(name.key(), error))?;
    metrics::counter!(names::FILE_DELETIONS_TOTAL).increment(u64::from(gone.is_some()));
    Ok(HttpResponse::Ok().json(told_gone(&door, name.key(), gone.as_ref(), began)))
}
