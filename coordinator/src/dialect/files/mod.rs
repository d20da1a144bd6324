//! The file door (contract A8–A12): upload, download, list, versions, delete. It parses, calls one verb, prints.

mod delete;
mod download;
mod listing;
mod part_bytes;
mod upload;

use super::guard::Subject;
use super::query::{Query, decode};
use super::reply::{Refusal, only};
use crate::object::{BucketName, FILES_BUCKET, ObjectName};
use actix_multipart::MultipartConfig;
use actix_web::{HttpRequest, web};

/// The routes of this door.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/upload")
                .app_data(MultipartConfig::default().buffer_limit(upload::PARSER_BYTES_MAX))
                .route(web::post().to(upload::upload))
                .default_service(only("POST")),
        )
        .service(
            web::resource("/download")
                .route(web::get().to(download::by_query))
                .route(web::head().to(download::by_query))
                .default_service(only("GET, HEAD")),
        )
        .service(web::resource("/files").route(web::get().to(listing::files)).default_service(only("GET")))
        .service(
            web::resource("/files/{filename:.*}")
                .route(web::get().to(download::by_path))
                .route(web::head().to(download::by_path))
                .default_service(only("GET, HEAD")),
        )
        .service(web::resource("/versions").route(web::get().to(listing::versions)).default_service(only("GET")))
        .service(web::resource("/delete").route(web::delete().to(delete::delete)).default_service(only("DELETE")));
}

/// What a request to this door is about: always the bucket `files`; a file that is not named well is refused by the door itself.
pub fn subject(request: &HttpRequest) -> Result<Subject, Refusal> {
    let named = match request.uri().path().strip_prefix("/files/") {
        Some(rest) => decode(rest)?,
        None => Query::parse(request.query_string())?.get("filename").unwrap_or_default().to_owned(),
    };
    let key = Some(named).filter(|key| !key.is_empty());
    Ok(Subject { bucket: FILES_BUCKET.to_owned(), key })
}

fn file(key: &str) -> Result<ObjectName, Refusal> {
    Ok(ObjectName::new(BucketName::files(), key)?)
}

/// The query of a request, and the file that its `filename` names.
fn query_and_file(request: &HttpRequest) -> Result<(Query, ObjectName), Refusal> {
    let query = Query::parse(request.query_string())?;
    let Some(filename) = query.get("filename") else {
        return Err(Refusal::bad_request("the query lacks filename=; say which file"));
    };
    let name = file(filename)?;
    Ok((query, name))
}

/// The file that the rest of the path names, decoded by ourselves: the framework would replace what is not UTF-8.
fn file_in_path(request: &HttpRequest) -> Result<ObjectName, Refusal> {
    let rest = request.uri().path().strip_prefix("/files/").unwrap_or_default();
    file(&decode(rest)?)
}
