//! What operators say of a bucket: whose it is, who may read it, how much it may hold, how it stores: `/admin/buckets/{bucket}`.

use super::Door;
use super::guard::Subject;
use super::query::{body_json, decode};
use super::reply::{Refusal, only};
use crate::metadata::keys;
use crate::metadata::records::{BucketRecord, Quota, Record, Strategy, UsageRecord};
use crate::object::BucketName;
use actix_web::web::{self, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use process::timestamp::rfc3339_ms;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

const PREFIX: &str = "/admin/buckets/";

/// The routes of this door.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/admin/buckets/{bucket}")
                .route(web::get().to(show))
                .route(web::post().to(change))
                .default_service(only("GET, POST")),
        )
        .service(
            web::resource("/admin/buckets/{bucket}/public-read")
                .route(web::put().to(open))
                .route(web::delete().to(close))
                .default_service(only("DELETE, PUT")),
        );
}

/// Which bucket a request to this door is about.
pub fn subject(request: &HttpRequest) -> Result<Subject, Refusal> {
    let rest = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
    let bucket = BucketName::parse(&decode(rest.split('/').next().unwrap_or_default())?)?;
    Ok(Subject { bucket: bucket.as_str().to_owned(), key: None })
}

/// What is to be changed; what is not named stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Wanted {
    owner: Option<String>,
    public_read: Option<bool>,
    /// `null` takes the quota away.
    #[serde(default, deserialize_with = "given")]
    quota: Option<Option<WantedQuota>>,
    /// `null` takes it away.
    #[serde(default, deserialize_with = "given")]
    strategy: Option<Option<String>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct WantedQuota {
    bytes: Option<u64>,
    objects: Option<u64>,
}

/// Tells `null` from nothing.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(text: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(text).map(Some)
}

/// `GET /admin/buckets/{bucket}`.
async fn show(door: Data<Door>, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let name = BucketName::parse(&subject(&request)?.bucket)?;
    let record = door.objects.require_bucket(&name).await?;
    present(&door, &name, &record).await
}

/// `POST /admin/buckets/{bucket}` with any of `{"owner":…,"public_read":…,"quota":{"bytes":…,"objects":…},"strategy":…}`.
async fn change(door: Data<Door>, request: HttpRequest, payload: Payload) -> Result<HttpResponse, Refusal> {
    let name = BucketName::parse(&subject(&request)?.bucket)?;
    let wanted: Wanted = body_json(payload, door.settings.body_stall).await?;
    if let Some(owner) = wanted.owner.as_deref().filter(|owner| !owner.is_empty()) {
        door.guard.identity.key(owner).await.map_err(|error| Refusal::bad_request(error.message))?;
    }
    let strategy = wanted.strategy.map(|strategy| strategy.map(|text| text.parse::<Strategy>()).transpose());
    let strategy = strategy.transpose()?;
    let change = |record: &mut BucketRecord| {
        record.strategy = strategy.unwrap_or(record.strategy);
        record.owner = wanted.owner.clone().unwrap_or_else(|| record.owner.clone());
        record.public_read = wanted.public_read.unwrap_or(record.public_read);
        if let Some(quota) = wanted.quota {
            let quota = quota.map(|WantedQuota { bytes, objects }| Quota { bytes, objects });
            record.quota = quota.filter(|quota| quota.bytes.is_some() || quota.objects.is_some());
        }
        Ok(())
    };
    let record = door.objects.change_bucket(&name, change).await?;
    if record.quota.is_some() {
        door.objects.usage.press(&name);
    }
    present(&door, &name, &record).await
}

/// `PUT /admin/buckets/{bucket}/public-read`: anybody may read its objects.
async fn open(door: Data<Door>, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    set_public_read(&door, &request, true).await
}

/// `DELETE /admin/buckets/{bucket}/public-read`.
async fn close(door: Data<Door>, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    set_public_read(&door, &request, false).await
}

async fn set_public_read(door: &Door, request: &HttpRequest, public_read: bool) -> Result<HttpResponse, Refusal> {
    let name = BucketName::parse(&subject(request)?.bucket)?;
    let change = |record: &mut BucketRecord| {
        record.public_read = public_read;
        Ok(())
    };
    let record = door.objects.change_bucket(&name, change).await?;
    present(door, &name, &record).await
}

async fn present(door: &Door, name: &BucketName, record: &BucketRecord) -> Result<HttpResponse, Refusal> {
    let counted = door.objects.metadata.get(&keys::usage(name.as_str())).await?;
    let counted = counted.map(|entry| UsageRecord::decode(&entry.value)).transpose()?;
    let usage = counted
        .filter(|_| record.quota.is_some())
        .map(|usage| json!({ "bytes": usage.bytes, "objects": usage.objects, "counted": rfc3339_ms(usage.ended_ms) }));
    let quota: Option<Value> =
        record.quota.map(|Quota { bytes, objects }| json!({ "bytes": bytes, "objects": objects }));
    Ok(HttpResponse::Ok().json(json!({
        "bucket": name.as_str(),
        "owner": record.owner,
        "created": rfc3339_ms(record.created_ms),
        "public_read": record.public_read,
        "quota": quota,
        "strategy": record.strategy.unwrap_or(Strategy::Replication).as_str(),
        "usage": usage,
    })))
}
