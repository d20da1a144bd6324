//! Stores a request's whole body as an object: what the doors have in common where the body is the object.

use super::Door;
use super::guard::owner;
use super::intake::{Pump, Pumped, announced_length, never_still, stood_still};
use super::query::{Query, strategy};
use super::reply::Refusal;
use crate::names;
use crate::object::{BodyMessage, PutDone, PutTarget, body_channel, joined};
use actix_web::error::PayloadError;
use actix_web::http::header::CONTENT_RANGE;
use actix_web::{HttpRequest, web};
use futures_util::stream::StreamExt;
use protocol::Error;
use std::time::Duration;

/// How a door says what went wrong.
pub type Words = fn(Error) -> Refusal;

/// Passes the body on and publishes it, with both digests, as the principal's. Whatever ends it early, ends the put: dropping the
/// channel tells it so.
pub async fn store(
    request: &HttpRequest,
    payload: web::Payload,
    door: &Door,
    mut target: PutTarget,
    words: Words,
) -> Result<PutDone, Refusal> {
    refuse_part(request)?;
    target.attributes.owner = owner(request);
    let announced = announced_length(request, door)?;
    door.objects.require_coming(&target, announced).await.map_err(words)?;
    let asked = strategy(&Query::parse(request.query_string())?)?;
    let storage = door.objects.storage_of(target.name.bucket(), asked, announced).await?;
    storage.describe(&mut target.attributes);
    let stall = door.settings.body_stall;
    let mut body = Box::pin(never_still(payload, stall));
    let (sender, pieces) = body_channel();
    let objects = door.objects.clone();
    let put = async move { objects.put_with_md5(storage.code, pieces).await };
    let put = door.objects.tasks.spawn_here(super::with_request_id(put));
    let mut pump = Pump::new(door, &sender);
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| broken(&error, stall, words))?;
        if let Pumped::PutEnded = pump.push(piece).await? {
            let ended = || Error::unavailable("the put ended before its body did");
            return Err(words(joined(put).await.err().unwrap_or_else(ended)));
        }
    }
    pump.end();
    // If this cannot be sent, the put has ended and says why.
    drop(sender.send(BodyMessage::End(Box::new(target))).await);
    let done = joined(put).await.map_err(words)?;
    metrics::counter!(names::FILE_UPLOADS_TOTAL).increment(1);
    Ok(done)
}

/// A part of an object must not take the place of all of it (RFC 9110, 14.5).
fn refuse_part(request: &HttpRequest) -> Result<(), Refusal> {
    match request.headers().contains_key(CONTENT_RANGE) {
        true => Err(Refusal::bad_request(
            "Content-Range: an object is written whole, or by the parts of a multipart upload of S3",
        )),
        false => Ok(()),
    }
}

fn broken(error: &PayloadError, stall: Duration, words: Words) -> Refusal {
    stood_still(error, stall).unwrap_or_else(|| words(Error::invalid(format!("the body is broken: {error}"))))
}
