//! `GET /receipt?filename=&version=`, or by `bucket=&key=`: the durability receipt of any version, as things stand now.

use super::super::Door;
use super::super::query::Query;
use super::super::reply::Refusal;
use super::{object_in_query, version_in_query};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

pub(super) async fn receipt(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let query = Query::parse(request.query_string())?;
    let name = object_in_query(&query)?;
    let version = version_in_query(&door, &query, &name).await?;
    let standing = door.objects.standing(&name, &version).await?;
    Ok(HttpResponse::Ok().insert_header(("x-holdfast-durability", standing.receipt.to_header())).json(json!({
        "bucket": name.bucket().as_str(),
        "key": name.key(),
        "version": version.number,
        "versionId": version.id,
        "size": version.size,
        "receipt": standing.receipt,
        "recorded": standing.recorded,
        "chunks": standing.chunks,
        "weakest": standing.weakest,
    })))
}
