//! The doors for those who want to know: what became of a version (`/receipt`), why it lies where it does (`/admin/explain`),
//! what is wrong now (`/admin/diagnose`), what breaks and is mended (`/admin/events`), whether every copy is what it should be (`/admin/verify`),
//! what is to be stored otherwise (`/admin/transitions`),
//! what buckets hold and save (`/admin/savings`).

mod diagnose;
mod diagnosis;
mod events;
mod explain;
mod receipt;
mod report;
mod savings;
mod transitions;
mod verify;

use super::Door;
use super::guard::Subject;
use super::query::{Query, selector};
use super::reply::{Refusal, only};
use crate::metadata::records::VersionRecord;
use crate::object::{BucketName, ObjectName, Version};
use actix_web::{HttpRequest, web};

/// The routes of these doors.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/receipt").route(web::get().to(receipt::receipt)).default_service(only("GET")))
        .service(web::resource("/admin/explain").route(web::get().to(explain::explain)).default_service(only("GET")))
        .service(web::resource("/admin/diagnose").route(web::get().to(diagnose::diagnose)).default_service(only("GET")))
        .service(web::resource("/admin/events").route(web::get().to(events::events)).default_service(only("GET")))
        .service(web::resource("/admin/savings").route(web::get().to(savings::savings)).default_service(only("GET")))
        .service(
            web::resource("/admin/transitions")
                .route(web::post().to(transitions::order))
                .route(web::get().to(transitions::list))
                .default_service(only("GET, POST")),
        )
        .service(
            web::resource("/admin/verify")
                .route(web::post().to(verify::begin))
                .route(web::get().to(verify::list))
                .default_service(only("GET, POST")),
        )
        .service(web::resource("/admin/verify/{id}").route(web::get().to(verify::report)).default_service(only("GET")));
}

/// The object that a request's query names.
pub fn subject(request: &HttpRequest) -> Result<Subject, Refusal> {
    let name = object_in_query(&Query::parse(request.query_string())?)?;
    Ok(Subject { bucket: name.bucket().as_str().to_owned(), key: Some(name.key().to_owned()) })
}

/// The object that a query names: by `bucket` and `key`, or by `filename` for one of the file door's.
fn object_in_query(query: &Query) -> Result<ObjectName, Refusal> {
    match (query.get("filename"), query.get("bucket"), query.get("key")) {
        (Some(filename), None, None) => Ok(ObjectName::new(BucketName::files(), filename)?),
        (None, Some(bucket), Some(key)) => Ok(ObjectName::new(BucketName::parse(bucket)?, key)?),
        _ => Err(Refusal::bad_request("say which object: filename=, or bucket= and key=")),
    }
}

/// The version that a query asks for.
async fn version_in_query(door: &Door, query: &Query, name: &ObjectName) -> Result<Box<VersionRecord>, Refusal> {
    match door.objects.resolve(name, selector(query)?).await? {
        Version::Found(version) => Ok(version),
        Version::NoObject => Err(Refusal::not_found(format!("'{name}' does not exist"))),
        Version::NoVersion => {
            let number = query.get("version").unwrap_or("latest");
            Err(Refusal::not_found(format!("version {number} of '{name}' does not exist")))
        }
    }
}
