//! What happens later, for operators: `/admin/workers` shows, tunes and starts it; `/admin/safe-mode` ends waiting for nodes.

use super::Door;
use super::query::body_json;
use super::reply::{Refusal, only};
use crate::metadata::records::WorkerRecord;
use crate::nodes::registry::CENSUS;
use crate::worker::census::REMOVAL_ALLOWED;
use crate::worker::{WorkerStatus, pass_of};
use actix_web::web::{self, Data, Path, Payload};
use actix_web::{HttpResponse, Responder};
use process::timestamp::rfc3339_ms;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
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

/// `GET /admin/workers`: what each worker does, how much is left, what its passes found, and what may be set.
async fn workers(door: Data<Door>) -> Result<HttpResponse, Refusal> {
    let waits_for = door.workers.safe_mode().waits_for();
    let mut workers = Vec::new();
    for status in door.workers.status() {
        workers.push(line(&door, status).await?);
    }
    Ok(HttpResponse::Ok().json(json!({
        "has_lease": door.workers.has_lease(),
        "safe_mode": { "on": !door.workers.safe_mode().is_over(), "waits_for": waits_for },
        "workers": workers,
    })))
}

/// A worker, and the pass that is under way or was the last.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    status: WorkerStatus,
    pass: Option<PassLine>,
}

/// A pass: both times are `None` before the first, `began` where none is under way.
#[derive(Serialize)]
struct PassLine {
    began: Option<String>,
    ended: Option<String>,
    counts: BTreeMap<String, u64>,
}

async fn line(door: &Door, status: WorkerStatus) -> Result<Line, Refusal> {
    let time = |ms: u64| (ms > 0).then(|| rfc3339_ms(ms));
    let pass =
        pass_of(&door.objects, status.name).await?.map(|WorkerRecord { started_ms, finished_ms, counts, .. }| {
            PassLine { began: time(started_ms), ended: time(finished_ms), counts }
        });
    Ok(Line { status, pass })
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
    Ok(HttpResponse::Ok().json(line(&door, status).await?))
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
