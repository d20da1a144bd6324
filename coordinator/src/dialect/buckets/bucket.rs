//! Buckets: list, make, look at, delete.

use super::super::Door;
use super::super::guard::{Subject, owner, permit, principal};
use super::super::query::{Query, body_or_422, without_nul};
use super::super::reply::Refusal;
use super::{bucket_in_path, bucket_named, refusal};
use crate::identity::Action;
use crate::metadata::records::{BucketRecord, Versioning};
use crate::object::{BucketName, NewBucket};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use process::timestamp::rfc3339_ms;
use serde::Deserialize;
use serde_json::{Value, json};

/// Buckets in a page, if the client does not say.
const LIMIT_DEFAULT: usize = 1_000;
const LIMIT_MAX: usize = 1_000;

/// `GET /buckets?prefix=&limit=&after=`: those that the key may list, sorted by name; `next` goes into `after` for the next page.
pub(super) async fn list(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    page(&request, &door).await.map_err(Refusal::explained)
}

async fn page(request: &HttpRequest, door: &Door) -> Result<HttpResponse, Refusal> {
    let query = Query::parse(request.query_string())?;
    let prefix = without_nul(query.get("prefix").unwrap_or_default())?;
    let after = query.get("after").map(bucket_named).transpose()?;
    let limit = query.number("limit", LIMIT_DEFAULT, 1, LIMIT_MAX)?;
    let page = door.objects.buckets(&prefix, after.as_ref(), limit).await.map_err(refusal)?;
    let next = page.more.then(|| page.buckets.last().map(|(name, _)| name.as_str().to_owned())).flatten();
    let who = principal(request);
    let shown =
        page.buckets.iter().filter(|(name, record)| permit(&who, Action::List, name, Some(record), false).is_ok());
    let buckets: Vec<Value> = shown.map(|(name, record)| line(name, record)).collect();
    Ok(HttpResponse::Ok().json(json!({ "buckets": buckets, "count": buckets.len(), "next": next })))
}

fn line(name: &BucketName, record: &BucketRecord) -> Value {
    json!({
        "bucket_name": name.as_str(),
        "created_at": rfc3339_ms(record.created_ms),
        "owner": record.owner,
        "versioning": match record.versioning {
            Versioning::Off => "off",
            Versioning::Enabled => "enabled",
            Versioning::Suspended => "suspended",
        },
    })
}

#[derive(Deserialize)]
struct Wanted {
    bucket_name: String,
}

/// `POST /buckets` with `{"bucket_name":…}`: 201; it belongs to whoever makes it.
pub(super) async fn create(
    request: HttpRequest,
    payload: web::Payload,
    door: web::Data<Door>,
) -> Result<HttpResponse, Refusal> {
    make(&request, payload, &door).await.map_err(Refusal::explained)
}

async fn make(request: &HttpRequest, payload: web::Payload, door: &Door) -> Result<HttpResponse, Refusal> {
    let Wanted { bucket_name } = body_or_422(payload, door.settings.body_stall).await?;
    let name = bucket_named(&bucket_name)?;
    if name.is_dotted() {
        let why = format!("bucket name {bucket_name:?} must be 3 to 63 of a-z, 0-9 and '-'");
        return Err(Refusal::bad_request(why).headed("Invalid bucket name"));
    }
    request.extensions_mut().insert(Subject { bucket: bucket_name, key: None });
    permit(&principal(request), Action::Write, &name, None, false)?;
    let new = NewBucket { owner: owner(request), ..NewBucket::default() };
    let record = door.objects.create_bucket(&name, new).await.map_err(refusal)?;
    let mut made = line(&name, &record);
    made["message"] = json!("Bucket created");
    Ok(HttpResponse::Created().json(made))
}

/// `GET|HEAD /buckets/{bucket}`.
pub(super) async fn show(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let name = bucket_in_path(&request).map_err(Refusal::explained)?;
    let record = door.objects.require_bucket(&name).await.map_err(refusal)?;
    Ok(HttpResponse::Ok().json(line(&name, &record)))
}

/// `DELETE /buckets/{bucket}`: 204; 409 while anything is in it.
pub(super) async fn delete(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let name = bucket_in_path(&request).map_err(Refusal::explained)?;
    door.objects.delete_bucket(&name).await.map_err(refusal)?;
    Ok(HttpResponse::NoContent().finish())
}
