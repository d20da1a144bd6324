//! Keys for operators: `/admin/keys`.
//!
//! What it keeps true: the secrets of a key are in the answer that made them, and in no other.

use super::Door;
use super::query::body_json;
use super::reply::{Refusal, only};
use crate::identity::{ANY, Action, FreshKey, NewKey};
use crate::metadata::records::{CredentialRecord, GrantRecord};
use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{self, Data, Path, Payload};
use process::timestamp::rfc3339_ms;
use protocol::{Error, ErrorKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::info;

/// The longest time until a key expires that can be asked for, in seconds: a hundred years.
const EXPIRES_IN_S_MAX: u64 = 100 * 366 * 86_400;

/// The routes of this door.
pub fn routes(config: &mut web::ServiceConfig) {
    let below = |path: &str| web::resource(format!("/admin/keys{path}"));
    config
        .service(below("").route(web::get().to(list)).route(web::post().to(create)).default_service(only("GET, POST")))
        .service(
            below("/{id}")
                .route(web::get().to(show))
                .route(web::delete().to(delete))
                .default_service(only("GET, DELETE")),
        )
        .service(below("/{id}/disable").route(web::post().to(disable)).default_service(only("POST")))
        .service(below("/{id}/enable").route(web::post().to(enable)).default_service(only("POST")))
        .service(below("/{id}/rotate").route(web::post().to(rotate)).default_service(only("POST")))
        .service(below("/{id}/expire").route(web::post().to(expire)).default_service(only("POST")))
        .service(below("/{id}/policy").route(web::post().to(set_policy)).default_service(only("POST")));
}

/// A grant, as it is written.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Grant {
    buckets: Vec<String>,
    actions: Vec<String>,
    #[serde(default)]
    any_owner: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Wanted {
    #[serde(default)]
    name: String,
    owner: Option<String>,
    policy: Option<Vec<Grant>>,
    expires_in_s: Option<u64>,
}

/// `POST /admin/keys`: makes a key, and shows its secrets this once.
async fn create(door: Data<Door>, payload: Payload) -> Result<HttpResponse, Refusal> {
    let wanted: Wanted = body_json(payload, door.settings.body_stall).await?;
    let grants = match wanted.policy {
        Some(policy) => grants(policy)?,
        None => everything_of_its_own(),
    };
    if wanted.expires_in_s == Some(0) {
        return Err(Refusal::bad_request(
            "expires_in_s 0 makes a key that lets nobody in; leave it out for one without an end",
        ));
    }
    let expires_ms = wanted.expires_in_s.map(|seconds| expiry(&door, seconds)).transpose()?.unwrap_or(0);
    let new = NewKey { name: wanted.name, owner: wanted.owner, grants, expires_ms };
    let fresh = door.guard.identity.create(new).await.map_err(refused)?;
    info!(key = fresh.record.id, name = fresh.record.name, "a key was made");
    Ok(HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(with_secrets(&fresh)))
}

/// `GET /admin/keys`.
async fn list(door: Data<Door>) -> Result<HttpResponse, Refusal> {
    let keys: Vec<Value> = door.guard.identity.keys().await?.iter().map(present).collect();
    Ok(HttpResponse::Ok().json(json!({ "keys": keys, "count": keys.len() })))
}

/// `GET /admin/keys/{id}`.
async fn show(door: Data<Door>, id: Path<String>) -> Result<HttpResponse, Refusal> {
    Ok(HttpResponse::Ok().json(present(&door.guard.identity.key(&id).await?)))
}

/// `DELETE /admin/keys/{id}`: it is refused from now on, and forgotten. Its buckets stay.
async fn delete(door: Data<Door>, id: Path<String>) -> Result<HttpResponse, Refusal> {
    door.guard.identity.delete(&id).await.map_err(refused)?;
    info!(key = %id, "a key was deleted");
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /admin/keys/{id}/disable`.
async fn disable(door: Data<Door>, id: Path<String>) -> Result<HttpResponse, Refusal> {
    changed(door.guard.identity.set_disabled(&id, true).await, "disabled")
}

/// `POST /admin/keys/{id}/enable`.
async fn enable(door: Data<Door>, id: Path<String>) -> Result<HttpResponse, Refusal> {
    changed(door.guard.identity.set_disabled(&id, false).await, "enabled")
}

/// `POST /admin/keys/{id}/rotate`: fresh secrets, shown this once; the old ones are refused from now on.
async fn rotate(door: Data<Door>, id: Path<String>) -> Result<HttpResponse, Refusal> {
    let fresh = door.guard.identity.rotate(&id).await.map_err(refused)?;
    info!(key = %id, "a key was rotated");
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(with_secrets(&fresh)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Expiry {
    /// It must be there: nothing is no `null`.
    #[serde(deserialize_with = "Option::deserialize")]
    expires_in_s: Option<u64>,
}

/// `POST /admin/keys/{id}/expire` with `{"expires_in_s":N}`; `{"expires_in_s":null}` takes the expiry back.
async fn expire(door: Data<Door>, id: Path<String>, payload: Payload) -> Result<HttpResponse, Refusal> {
    let Expiry { expires_in_s } = body_json(payload, door.settings.body_stall).await?;
    let expires_ms = expires_in_s.map(|seconds| expiry(&door, seconds)).transpose()?.unwrap_or(0);
    changed(door.guard.identity.set_expiry(&id, expires_ms).await, "given another expiry")
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Policy {
    policy: Vec<Grant>,
}

/// `POST /admin/keys/{id}/policy` with `{"policy":[…]}`.
async fn set_policy(door: Data<Door>, id: Path<String>, payload: Payload) -> Result<HttpResponse, Refusal> {
    let Policy { policy } = body_json(payload, door.settings.body_stall).await?;
    changed(door.guard.identity.set_grants(&id, grants(policy)?).await, "given another policy")
}

fn changed(outcome: protocol::Result<CredentialRecord>, what: &str) -> Result<HttpResponse, Refusal> {
    let record = outcome.map_err(refused)?;
    info!(key = record.id, "a key was {what}");
    Ok(HttpResponse::Ok().json(present(&record)))
}

/// A conflict at this door is one with the other keys, not with a condition of the client's.
fn refused(error: Error) -> Refusal {
    match error.kind {
        ErrorKind::Conflict => Refusal::conflict(error.message),
        _ => error.into(),
    }
}

fn expiry(door: &Door, seconds: u64) -> Result<u64, Refusal> {
    if seconds > EXPIRES_IN_S_MAX {
        return Err(Refusal::bad_request(format!("expires_in_s {seconds} must be at most {EXPIRES_IN_S_MAX}")));
    }
    Ok(door.objects.clock.now_ms() + seconds * 1_000)
}

/// What a key may that nobody said more of: everything but to administer, in buckets of its own.
fn everything_of_its_own() -> Vec<GrantRecord> {
    let actions = Action::ALL_BITS & !(Action::Admin as u8);
    vec![GrantRecord { buckets: vec![ANY.to_owned()], actions, any_owner: false }]
}

fn grants(policy: Vec<Grant>) -> Result<Vec<GrantRecord>, Refusal> {
    let bits = |names: &[String]| {
        names.iter().try_fold(0, |bits, name| match Action::parse(name) {
            Some(action) => Ok(bits | action as u8),
            None => Err(Refusal::bad_request(format!("action {name:?} is none of read, write, list, delete, admin"))),
        })
    };
    let record = |grant: Grant| {
        let actions = bits(&grant.actions)?;
        Ok(GrantRecord { buckets: grant.buckets, actions, any_owner: grant.any_owner })
    };
    policy.into_iter().map(record).collect()
}

fn present(record: &CredentialRecord) -> Value {
    let policy: Vec<Grant> = record.grants.iter().map(written).collect();
    json!({
        "id": record.id,
        "name": record.name,
        "owner": record.owner,
        "policy": policy,
        "state": if record.disabled { "disabled" } else { "enabled" },
        "created": rfc3339_ms(record.created_ms),
        "rotated": rfc3339_ms(record.rotated_ms),
        "expires": (record.expires_ms != 0).then(|| rfc3339_ms(record.expires_ms)),
    })
}

fn written(grant: &GrantRecord) -> Grant {
    let named = Action::ALL.into_iter().filter(|action| grant.actions & *action as u8 != 0);
    Grant {
        buckets: grant.buckets.clone(),
        actions: named.map(|action| action.as_str().to_owned()).collect(),
        any_owner: grant.any_owner,
    }
}

fn with_secrets(fresh: &FreshKey) -> Value {
    let mut shown = present(&fresh.record);
    shown["api_key"] = fresh.token.reveal().into();
    shown["access_key_id"] = fresh.record.id.as_str().into();
    shown["secret_access_key"] = fresh.signing.reveal().into();
    shown
}
