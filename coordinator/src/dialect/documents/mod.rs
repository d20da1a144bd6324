//! The document door (contract C8–C13): `/write`, `/read/{key}`, `/delete/{key}`, `PATCH /documents/{key}`, and which fields are hot.
//!
//! What it keeps true:
//! - Its errors are the contract's, to the letter; what more there is to say stands in `detail`.
//! - Documents are the objects of the bucket `documents`, which every other door reads as it reads any.

mod change;
mod delete;
mod hot;
mod incoming;
mod read;
mod told;
mod write;

pub use change::MERGE_PATCH;

use super::guard::Subject;
use super::query::{Query, decode};
use super::reply::{Refusal, only};
use crate::object::{BucketName, DOCUMENTS_BUCKET, ObjectName, Refused};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use protocol::{Error, ErrorKind};

/// The routes of this door.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/write").route(web::post().to(write::write)).default_service(only("POST")))
        .service(web::resource("/read/{key:.*}").route(web::get().to(read::read)).default_service(only("GET")))
        .service(
            web::resource("/delete/{key:.*}").route(web::delete().to(delete::delete)).default_service(only("DELETE")),
        )
        .service(
            web::resource("/documents/{key:.*}").route(web::patch().to(change::patch)).default_service(only("PATCH")),
        )
        .service(
            web::resource("/admin/documents/hot-fields")
                .route(web::get().to(hot::hot_fields))
                .default_service(only("GET")),
        );
}

/// What a request to this door is about: always the bucket `documents`.
pub fn subject(request: &HttpRequest) -> Result<Subject, Refusal> {
    let key = match key_in_path(request) {
        Some(key) => decode(key)?,
        None => Query::parse(request.query_string())?.get("key").unwrap_or_default().to_owned(),
    };
    Ok(Subject { bucket: DOCUMENTS_BUCKET.to_owned(), key: Some(key).filter(|key| !key.is_empty()) })
}

/// The key that the rest of the path is, as it is spelt there: decoded by ourselves, the framework would replace what is not UTF-8.
fn key_in_path(request: &HttpRequest) -> Option<&str> {
    let path = request.uri().path();
    ["/read/", "/delete/", "/documents/"].into_iter().find_map(|prefix| path.strip_prefix(prefix))
}

/// The document that the path names.
fn document_in_path(request: &HttpRequest) -> Result<ObjectName, Refusal> {
    document(&decode(key_in_path(request).unwrap_or_default())?)
}

fn document(key: &str) -> Result<ObjectName, Refusal> {
    ObjectName::new(BucketName::documents(), key).map_err(|error| refusal_for(key, error))
}

fn not_found(key: &str) -> Refusal {
    Refusal::not_found(format!("Metadata not found for key '{key}'")).headed("Not Found")
}

fn unprocessable(headline: &str, why: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, why).headed(headline)
}

/// The contract's words for what went wrong with a document (C12).
fn refusal_for(key: &str, error: Error) -> Refusal {
    match (Refused::of(&error), error.kind) {
        (Some(Refused::NoSuchKey), _) => not_found(key),
        (_, ErrorKind::Invalid) => unprocessable("Invalid document", error.message),
        _ => Refusal::from(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::ResponseError;
    use actix_web::body::to_bytes;

    async fn shown(refusal: Refusal) -> (u16, serde_json::Value) {
        let response = refusal.error_response();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body()).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[actix_web::test]
    async fn the_errors_are_the_contract_s() {
        let (status, body) = shown(not_found("a")).await;
        assert_eq!((status, &body["detail"]), (404, &"Metadata not found for key 'a'".into()));
        let (status, body) = shown(refusal_for("a", Error::invalid("why"))).await;
        assert_eq!((status, &body["detail"]), (422, &"why".into()));
        let (status, _) = shown(refusal_for("a", Refused::NoSuchKey.error("gone"))).await;
        assert_eq!(status, 404);
        let (status, _) = shown(refusal_for("a", Refused::ConditionFailed.error("changed"))).await;
        assert_eq!(status, 412);
    }
}
