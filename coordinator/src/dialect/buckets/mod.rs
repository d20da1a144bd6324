//! The bucket door (contract D3, D4, E3–E5): `/buckets…` and `/objects`, for clients of content-addressed gateways and of REST object
//! stores alike.
//!
//! What it keeps true:
//! - One reply has the fields of both designs; every error has `error` and `detail`.
//! - An object's ETag here is its SHA-256; its MD5 is stored with it, for S3. What was put together from parts has no SHA-256, and
//!   keeps the ETag that S3 gave it.
//! - A listing holds one page in memory, however long it is.

mod bucket;
mod listing;
mod object;
mod stream;

use super::guard::Subject;
use super::query::decode;
use super::reply::{Refusal, only};
use crate::metadata::records::{ETag, Sha256};
use crate::object::{BucketName, ObjectName, Refused};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use protocol::{Error, ErrorKind};

/// The routes of this door.
pub fn routes(config: &mut web::ServiceConfig) {
    let objects = |path| web::resource(path).route(web::get().to(listing::objects)).default_service(only("GET"));
    config
        .service(
            web::resource("/buckets")
                .route(web::get().to(bucket::list))
                .route(web::post().to(bucket::create))
                .default_service(only("GET, POST")),
        )
        .service(
            web::resource("/buckets/{bucket}")
                .route(web::get().to(bucket::show))
                .route(web::head().to(bucket::show))
                .route(web::delete().to(bucket::delete))
                .default_service(only("DELETE, GET, HEAD")),
        )
        .service(objects("/buckets/{bucket}/objects"))
        .service(objects("/buckets/{bucket}/objects/"))
        .service(
            web::resource("/buckets/{bucket}/objects/{key:.*}")
                .route(web::put().to(object::put))
                .route(web::get().to(object::get))
                .route(web::head().to(object::get))
                .route(web::delete().to(object::delete))
                .default_service(only("DELETE, GET, HEAD, PUT")),
        )
        .service(web::resource("/objects").route(web::get().to(stream::objects)).default_service(only("GET")));
}

/// What a request below `/buckets/` is about.
pub fn subject(request: &HttpRequest) -> Result<Subject, Refusal> {
    let (bucket, key) = bucket_and_key(request)?;
    Ok(Subject { bucket: bucket.as_str().to_owned(), key: Some(key).filter(|key| !key.is_empty()) })
}

/// Bucket and key as the path spells them: `/buckets/<bucket>/objects/<key>`.
fn bucket_and_key(request: &HttpRequest) -> Result<(BucketName, String), Refusal> {
    let mut parts = request.uri().path().splitn(5, '/').skip(2);
    let bucket = bucket_named(&decode(parts.next().unwrap_or_default())?)?;
    Ok((bucket, decode(parts.nth(1).unwrap_or_default())?))
}

fn bucket_named(text: &str) -> Result<BucketName, Refusal> {
    BucketName::parse(text)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.message).headed("Invalid bucket name"))
}

fn bucket_in_path(request: &HttpRequest) -> Result<BucketName, Refusal> {
    Ok(bucket_and_key(request)?.0)
}

fn object_in_path(request: &HttpRequest) -> Result<ObjectName, Refusal> {
    let (bucket, key) = bucket_and_key(request)?;
    ObjectName::new(bucket, key).map_err(|error| Refusal::bad_request(error.message).headed("Invalid object name"))
}

/// The ETag of a version at this door, without quotes.
fn etag(etag: ETag, sha256: Option<Sha256>) -> String {
    sha256.map_or_else(|| etag.text(None), hex::encode)
}

/// The contract's words for what went wrong.
fn refusal(error: Error) -> Refusal {
    let (status, headline) = match (Refused::of(&error), error.kind) {
        (Some(Refused::NoSuchBucket), _) => (StatusCode::NOT_FOUND, "Bucket not found"),
        (Some(Refused::BucketExists), _) => (StatusCode::CONFLICT, "Bucket already exists"),
        (Some(Refused::BucketNotEmpty), _) => (StatusCode::CONFLICT, "Bucket not empty"),
        (Some(Refused::ConditionFailed), _) => (StatusCode::PRECONDITION_FAILED, "Precondition failed"),
        (_, ErrorKind::NotFound) => (StatusCode::NOT_FOUND, NO_OBJECT),
        (_, ErrorKind::Conflict) => (StatusCode::CONFLICT, "Conflict"),
        (_, ErrorKind::Invalid) => (StatusCode::BAD_REQUEST, "Bad request"),
        (_, ErrorKind::Denied) => (StatusCode::FORBIDDEN, "Forbidden"),
        (_, ErrorKind::Unavailable) => (StatusCode::SERVICE_UNAVAILABLE, "Service unavailable"),
        (_, ErrorKind::Unknown) => (StatusCode::SERVICE_UNAVAILABLE, "The outcome of the write is unknown"),
        (_, ErrorKind::Corrupt) => (StatusCode::INTERNAL_SERVER_ERROR, "Data unavailable"),
        (_, ErrorKind::Full) => (StatusCode::INSUFFICIENT_STORAGE, "Insufficient storage"),
    };
    Refusal::new(status, error.message).headed(headline)
}

const NO_OBJECT: &str = "Object not found";

fn no_object(name: &ObjectName) -> Refusal {
    let detail = format!("there is no object '{}' in bucket '{}'", name.key(), name.bucket().as_str());
    Refusal::not_found(detail).headed(NO_OBJECT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::ResponseError;
    use actix_web::test::TestRequest;

    #[test]
    fn keys_are_what_stands_behind_the_second_word() {
        let cases = [
            ("/buckets/test/objects/hello.txt", "hello.txt"),
            ("/buckets/test/objects/folder//file.txt", "folder//file.txt"),
            ("/buckets/test/objects//lead", "/lead"),
            ("/buckets/test/objects/a%2Fb%20c+%C3%A9", "a/b c+é"),
            ("/buckets/test/%6Fbjects/objects/x", "objects/x"),
            ("/buckets/test/objects/", ""),
            ("/buckets/test/objects", ""),
            ("/buckets/test", ""),
        ];
        for (path, key) in cases {
            let (bucket, found) = bucket_and_key(&TestRequest::with_uri(path).to_http_request()).unwrap();
            assert_eq!((bucket.as_str(), found.as_str()), ("test", key), "{path}");
        }
        for bad in ["/buckets/Test/objects/k", "/buckets/te/objects/k", "/buckets/test/objects/%ff"] {
            assert!(bucket_and_key(&TestRequest::with_uri(bad).to_http_request()).is_err(), "{bad}");
        }
    }

    #[test]
    fn reasons_have_the_contract_s_statuses() {
        for (error, status, headline) in [
            (Refused::NoSuchBucket.error("x"), 404, "Bucket not found"),
            (Refused::BucketExists.error("x"), 409, "Bucket already exists"),
            (Refused::BucketNotEmpty.error("x"), 409, "Bucket not empty"),
            (Refused::ConditionFailed.error("x"), 412, "Precondition failed"),
            (Error::unavailable("x"), 503, "Service unavailable"),
            (Error::invalid("x"), 400, "Bad request"),
        ] {
            let refusal = refusal(error);
            assert_eq!((refusal.status_code().as_u16(), refusal.to_string().as_str()), (status, headline));
        }
    }
}
