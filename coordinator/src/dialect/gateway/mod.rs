//! The gateway door (contract B4, B7, B8): `/s3/{bucket}/{key}`, objects by plain PUT, GET and DELETE. It speaks no S3: that has a
//! port of its own.
//!
//! What it keeps true:
//! - Its errors are the contract's, to the letter; what more there is to say stands in `detail`.
//! - An object's ETag here is its MD5, as S3 clients know it. What came in by a door that computes none has its SHA-256 instead,
//!   which no client takes for an MD5.
//! - Names are opaque, as behind every door; `files` is the file door's bucket, and the same objects are in it.

mod listing;
mod object;

use super::guard::Subject;
use super::query::decode;
use super::reply::{Refusal, only};
use crate::metadata::records::{ETag, Sha256};
use crate::object::{BucketName, ObjectName};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use protocol::{Error, ErrorKind};

const PREFIX: &str = "/s3/";

/// The routes of this door.
pub fn routes(config: &mut web::ServiceConfig) {
    let bucket = |path| web::resource(path).route(web::get().to(listing::bucket)).default_service(only("GET"));
    config.service(bucket("/s3/{bucket}")).service(bucket("/s3/{bucket}/")).service(
        web::resource("/s3/{bucket}/{key:.*}")
            .route(web::put().to(object::put))
            .route(web::get().to(object::get))
            .route(web::head().to(object::get))
            .route(web::delete().to(object::delete))
            .default_service(only("DELETE, GET, HEAD, PUT")),
    );
}

/// What a request to this door is about.
pub fn subject(request: &HttpRequest) -> Result<Subject, Refusal> {
    let (bucket, key) = bucket_and_key(request)?;
    Ok(Subject { bucket: bucket.as_str().to_owned(), key: Some(key).filter(|key| !key.is_empty()) })
}

/// Bucket and key as the path spells them, decoded by ourselves: the framework would replace what is not UTF-8.
fn bucket_and_key(request: &HttpRequest) -> Result<(BucketName, String), Refusal> {
    let rest = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    let bucket = BucketName::parse(&decode(bucket)?).map_err(refusal)?;
    Ok((bucket, decode(key)?))
}

/// The object that the path names.
fn object_in_path(request: &HttpRequest) -> Result<ObjectName, Refusal> {
    let (bucket, key) = bucket_and_key(request)?;
    ObjectName::new(bucket, key).map_err(refusal)
}

/// The ETag of a version at this door, without quotes.
fn etag(etag: ETag, sha256: Option<Sha256>) -> String {
    match (etag, sha256) {
        (ETag::None, Some(sha256)) => hex::encode(sha256),
        (etag, sha256) => etag.text(sha256.as_ref()),
    }
}

fn not_found() -> Refusal {
    Refusal::not_found("Not Found")
}

/// The contract's words for what went wrong (B8).
fn refusal(error: Error) -> Refusal {
    let (status, headline) = match error.kind {
        ErrorKind::NotFound => return not_found(),
        ErrorKind::Unavailable | ErrorKind::Unknown => {
            (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable - Quorum Failed")
        }
        ErrorKind::Corrupt => (StatusCode::INTERNAL_SERVER_ERROR, UNREADABLE),
        ErrorKind::Conflict => (StatusCode::PRECONDITION_FAILED, "Precondition Failed"),
        ErrorKind::Invalid => (StatusCode::BAD_REQUEST, "Bad Request"),
        ErrorKind::Denied => (StatusCode::FORBIDDEN, "Forbidden"),
        ErrorKind::Full => (StatusCode::INSUFFICIENT_STORAGE, "Insufficient Storage"),
    };
    Refusal::new(status, error.message).headed(headline)
}

const UNREADABLE: &str = "Data unavailable (all replicas failed or corrupted)";

/// Every replica of some chunk failed, one way or the other.
fn unreadable(error: Error) -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.message).headed(UNREADABLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::ResponseError;

    #[test]
    fn the_errors_are_the_contract_s() {
        for (kind, status, text) in [
            (ErrorKind::NotFound, 404, "Not Found"),
            (ErrorKind::Unavailable, 503, "Service Unavailable - Quorum Failed"),
            (ErrorKind::Unknown, 503, "Service Unavailable - Quorum Failed"),
            (ErrorKind::Corrupt, 500, "Data unavailable (all replicas failed or corrupted)"),
            (ErrorKind::Conflict, 412, "Precondition Failed"),
            (ErrorKind::Invalid, 400, "Bad Request"),
            (ErrorKind::Full, 507, "Insufficient Storage"),
        ] {
            let refusal = refusal(Error::new(kind, "why"));
            assert_eq!((refusal.status_code().as_u16(), refusal.to_string().as_str()), (status, text));
        }
        let unreadable = unreadable(Error::unavailable("no node answers"));
        assert_eq!(unreadable.status_code().as_u16(), 500);
    }
}
