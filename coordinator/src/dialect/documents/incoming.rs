//! Bodies of documents: all of them in memory, within bounds.
//!
//! What it keeps true: memory for a body that is not short is taken from the budget of uploads before more of it is read, and none of them
//! keeps it for longer than [`BODY_TIME_MAX`] while it comes.

use super::super::Door;
use super::super::intake::{announced_length, never_still, stood_still};
use super::super::reply::Refusal;
use crate::object::budget::Allowance;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use actix_web::{HttpRequest, web};
use bytes::BytesMut;
use futures_util::stream::StreamExt;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The longest change of a document, in bytes: it waits for its turn without an allowance.
pub const CHANGE_BYTES_MAX: usize = 64 << 10;
/// Memory that a body takes, in times its length: as it came, and as it is stored.
const BODY_COST: usize = 2;

/// How long a body may take to come: that of the longest takes a large part of the budget meanwhile.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(300);

/// A body, and the memory that it was promised.
pub struct Incoming {
    /// Its bytes.
    pub bytes: BytesMut,
    /// Kept as long as they are.
    pub held: Option<Allowance>,
}

/// Reads a body of at most `bytes_max`; 413 says `otherwise` for a longer one.
pub async fn whole_body(
    request: &HttpRequest,
    payload: web::Payload,
    door: &Door,
    bytes_max: usize,
    otherwise: &str,
) -> Result<Incoming, Refusal> {
    let larger = || {
        let message = format!("the body has more than {bytes_max} bytes: {otherwise}");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message).headed("Payload Too Large")
    };
    let announced = announced_length(request, door)?;
    let most = announced.map_or(bytes_max, |length| usize::try_from(length).unwrap_or(usize::MAX));
    if most > bytes_max {
        return Err(larger());
    }
    let admit = || door.objects.budget.admit(BODY_COST * most, BODY_COST * most);
    // How long a body without a length is, nobody knows: most of them are short.
    let mut held = match announced.is_some() && most > CHANGE_BYTES_MAX {
        true => Some(admit().await?),
        false => None,
    };
    let stall = door.settings.body_stall;
    let until = Instant::now() + BODY_TIME_MAX;
    let mut body = Box::pin(never_still(payload, stall));
    let mut bytes = BytesMut::with_capacity(announced.map_or(0, |_| most));
    while let Some(piece) = timeout_at(until, body.next()).await.map_err(|_| too_slow())? {
        let broken = |error| {
            let broken = || Refusal::bad_request(format!("the body is broken: {error}"));
            stood_still(&error, stall).unwrap_or_else(broken)
        };
        let piece = piece.map_err(broken)?;
        if bytes.len() + piece.len() > bytes_max {
            return Err(larger());
        }
        if held.is_none() && bytes.len() + piece.len() > CHANGE_BYTES_MAX {
            held = Some(admit().await?);
        }
        bytes.extend_from_slice(&piece);
    }
    door.requests.bytes_in.increment(bytes.len() as u64);
    Ok(Incoming { bytes, held })
}

fn too_slow() -> Refusal {
    let message = format!("the body did not come within {} s", BODY_TIME_MAX.as_secs());
    Refusal::new(StatusCode::REQUEST_TIMEOUT, message)
}

/// 415 unless the body's media type is one of these.
pub fn require_type(request: &HttpRequest, types: &[&str]) -> Result<(), Refusal> {
    // What is packed cannot be looked into, and what says so and is not would be given back as if it were.
    if let Some(coding) = request.headers().get(CONTENT_ENCODING)
        && !coding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        let message = "a document comes as it is: leave Content-Encoding out";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message).headed("Invalid Content-Encoding"));
    }
    let given = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim();
    match types.iter().any(|known| given.eq_ignore_ascii_case(known)) {
        true => Ok(()),
        false => {
            let message = format!("Must be {}", types.join(" or "));
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message).headed("Invalid Content-Type"))
        }
    }
}
