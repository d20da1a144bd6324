//! What happens later, for operators: `/admin/workers` shows, tunes and starts it; `/admin/safe-mode` ends waiting for nodes.

use super::Door;
use super::query::body_json;
use super::reply::{Refusal, only};
use crate::nodes::registry::CENSUS;
use crate::worker::census::REMOVAL_ALLOWED;
use actix_web::web::{self, Data, Path, Payload};
use actix_web::{HttpResponse, Responder};
use serde::Deserialize;
use serde_json::json;
use tracing::info;

/// The routes of this door.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/admin/workers").route(web::get().to(workers)).default_service(only("GET")))
        .service(web::resource("/admin/workers/{name}").route(web::post().to(tune)).default_service(only("POST")))
        .service(
            web::resource("/admin/safe-mode")
                .route(web::get().to(safe_mode))
                .route(web::delete().to(leave_safe_mode))
                .default_service(only("GET, DELETE")),
        );
}

/// `GET /admin/workers`: what each worker does, how much is left, and what may be set.
async fn workers(door: Data<Door>) -> impl Responder {
    let waits_for = door.workers.safe_mode().waits_for();
    HttpResponse::Ok().json(json!({
        "has_lease": door.workers.has_lease(),
        "safe_mode": { "on": !door.workers.safe_mode().is_over(), "waits_for": waits_for },
        "workers": door.workers.status(),
    }))
}

/// What an operator may say to a worker; everything is optional.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Order {
    paused: Option<bool>,
    bytes_per_s: Option<u64>,
    tranquility: Option<u32>,
    run: bool,
    allow_removal: bool,
}

/// `POST /admin/workers/{name}` with `{"paused":…,"bytes_per_s":…,"tranquility":…,"run":true}`.
async fn tune(door: Data<Door>, name: Path<String>, payload: Payload) -> Result<HttpResponse, Refusal> {
    let order: Order = body_json(payload, door.settings.body_stall).await?;
    if order.allow_removal && *name != CENSUS {
        return Err(Refusal::bad_request("allow_removal is for the worker 'census' only"));
    }
    let status = door.workers.tune(&name, |tuning| {
        tuning.paused = order.paused.unwrap_or(tuning.paused);
        tuning.bytes_per_s = order.bytes_per_s.unwrap_or(tuning.bytes_per_s);
        tuning.tranquility = order.tranquility.unwrap_or(tuning.tranquility);
    })?;
    info!(target: "degradation", worker = status.name, ?order, "the operator tuned a worker");
    if order.allow_removal {
        door.workers.run_now(&door.objects, &name, REMOVAL_ALLOWED).await?;
    } else if order.run {
        door.workers.run_now(&door.objects, &name, "the operator asked").await?;
    }
    Ok(HttpResponse::Ok().json(status))
}

/// `GET /admin/safe-mode`: whether repairs and deletes wait, and for whom.
async fn safe_mode(door: Data<Door>) -> impl Responder {
    let safe_mode = door.workers.safe_mode();
    HttpResponse::Ok().json(json!({ "on": !safe_mode.is_over(), "waits_for": safe_mode.waits_for() }))
}

/// `DELETE /admin/safe-mode`: repair and delete although not every node has answered.
async fn leave_safe_mode(door: Data<Door>) -> impl Responder {
    door.workers.safe_mode().leave();
    safe_mode(door).await
}
