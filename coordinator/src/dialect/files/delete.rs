//! `DELETE /delete?filename=[&purge=true]`: a marker, or with `purge` the end of every version.

use super::super::Door;
use super::super::guard::owner;
use super::super::intake::condition;
use super::super::reply::Refusal;
use super::query_and_file;
use crate::names;
use crate::object::{DeleteMode, DeleteRequest, Deleted};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

pub(super) async fn delete(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let (query, name) = query_and_file(&request)?;
    if query.get("version").is_some() {
        return Err(Refusal::bad_request(
            "a delete is of the file, not of a version: without version= it keeps the older ones, and purge=true ends them all",
        ));
    }
    query.versions_by(None)?;
    let mode = if query.flag("purge")? { DeleteMode::Purge } else { DeleteMode::Mark };
    let delete = DeleteRequest { mode, condition: condition(&request)?, owner: owner(&request) };
    let message = match door.objects.delete_as(&name, &delete).await?.deleted {
        Deleted::Done => {
            metrics::counter!(names::FILE_DELETIONS_TOTAL).increment(1);
            format!("{} deleted successfully", name.key())
        }
        Deleted::Nothing => format!("{} not found or already deleted", name.key()),
    };
    Ok(HttpResponse::Ok().json(json!({ "message": message, "filename": name.key() })))
}
