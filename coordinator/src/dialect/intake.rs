//! What the doors that take bytes in have in common: what the head alone condemns, bodies that stand still, conditions.
//!
//! What it keeps true: no body is waited for without a bound, and none larger than the operator allows is read to its end.

use super::Door;
use super::reply::Refusal;
use crate::object::{BodyMessage, Condition, ContentTag};
use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use actix_web::http::{StatusCode, Version};
use actix_web::web::Payload;
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use std::io::ErrorKind;
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::mpsc::Sender;

/// The length that the head announces, if it does; 413 where that is more than is taken.
///
/// A request of HTTP/1.1 that has neither length nor chunks has no body, and there are clients that send empty ones so (RFC 9112, 6.3).
/// In HTTP/1.0 it may be one whose bytes end with the connection, which nobody reads: it is 411 (RFC 1945, 8.3), and not answered by an
/// empty object in place of what was there.
pub fn announced_length(request: &HttpRequest, door: &Door) -> Result<Option<u64>, Refusal> {
    let told = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length = told.and_then(|text| text.parse().ok());
    match length {
        Some(length) => refuse_larger(length, door)?,
        None if request.version() < Version::HTTP_11 => return Err(length_required()),
        None => {}
    }
    Ok(length)
}

/// The refusal of a request that has neither a length nor chunks.
pub fn length_required() -> Refusal {
    Refusal::new(StatusCode::LENGTH_REQUIRED, "the request has neither Content-Length nor chunks")
}

/// 413 once so many bytes are more than is taken.
pub fn refuse_larger(bytes: u64, door: &Door) -> Result<(), Refusal> {
    match door.settings.upload_bytes_max {
        Some(most) if bytes > most => {
            let message = format!("the upload has {bytes} bytes or more, at most {most} are accepted");
            Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message))
        }
        _ => Ok(()),
    }
}

/// The condition of a write or delete: `If-None-Match: *` creates only, `If-Match` changes only what has one of these ETags,
/// `If-Unmodified-Since` nothing that is younger. An object has several ETags, by door; each of them names its content.
pub fn condition(request: &HttpRequest) -> Result<Condition, Refusal> {
    let text = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or_default().trim().to_owned());
    match (text(IF_NONE_MATCH), text(IF_MATCH)) {
        // RFC 9110, 13.1.4: what is no date is ignored, and so is any date beside If-Match.
        (None, None) => {
            let date = text(IF_UNMODIFIED_SINCE).and_then(|text| httpdate::parse_http_date(&text).ok());
            let second = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs());
            Ok(second.map_or(Condition::None, Condition::UnmodifiedSince))
        }
        (Some(tag), None) if tag == "*" => Ok(Condition::Absent),
        (None, Some(tags)) if tags == "*" => Ok(Condition::Matches(Vec::new())),
        (None, Some(tags)) => Ok(Condition::Matches(tags.split(',').map(|tag| content_tag(tag.trim())).collect())),
        _ => Err(Refusal::bad_request("a change takes If-None-Match: * or If-Match with ETags, not both")),
    }
}

/// What an ETag in a condition names. A weak one names nothing: `If-Match` compares strongly (RFC 9110, 13.1.1).
fn content_tag(tag: &str) -> ContentTag {
    let text = tag.trim_matches('"');
    let bytes = hex::decode(text).unwrap_or_default();
    match (<[u8; 32]>::try_from(bytes.as_slice()), <[u8; 16]>::try_from(bytes.as_slice())) {
        (Ok(sha256), _) => ContentTag::Sha256(sha256),
        (_, Ok(md5)) => ContentTag::Md5(md5),
        _ => ContentTag::ETag(text.to_owned()),
    }
}

/// The body, ended by an error once it brings nothing for `stall`. The bound is on bytes, not on pieces of the file: a line
/// between two parts may take many reads.
pub fn never_still(body: Payload, stall: Duration) -> impl Stream<Item = Result<Bytes, PayloadError>> {
    stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        match tokio::time::timeout(stall, body.next()).await {
            Ok(Some(bytes)) => Some((bytes, Some(body))),
            Ok(None) => None,
            Err(_) => Some((Err(PayloadError::Io(ErrorKind::TimedOut.into())), None)),
        }
    })
    .fuse()
}

/// 408 for a body that [`never_still`] ended; `None` for any other error.
pub fn stood_still(error: &PayloadError, stall: Duration) -> Option<Refusal> {
    match error {
        PayloadError::Io(error) if error.kind() == ErrorKind::TimedOut => {
            let message = format!("no byte of the body arrived for {} s; the upload was given up", stall.as_secs());
            Some(Refusal::new(StatusCode::REQUEST_TIMEOUT, message))
        }
        _ => None,
    }
}

/// What became of a body on its way to the put.
pub enum Pumped {
    /// All of it is there.
    All,
    /// The put has ended, and says why.
    PutEnded,
}

/// Counts pieces on their way to the put.
pub struct Pump<'a> {
    door: &'a Door,
    sender: &'a Sender<BodyMessage>,
    bytes: u64,
}

impl<'a> Pump<'a> {
    /// Nothing has passed yet.
    pub fn new(door: &'a Door, sender: &'a Sender<BodyMessage>) -> Pump<'a> {
        Pump { door, sender, bytes: 0 }
    }

    /// Sends one piece on; 413 if the whole becomes too large.
    pub async fn push(&mut self, piece: Bytes) -> Result<Pumped, Refusal> {
        self.bytes += piece.len() as u64;
        refuse_larger(self.bytes, self.door)?;
        let sent = self.sender.send(BodyMessage::Piece(piece)).await;
        Ok(if sent.is_ok() { Pumped::All } else { Pumped::PutEnded })
    }

    /// All pieces have passed.
    pub fn end(self) {
        self.door.requests.bytes_in.increment(self.bytes);
    }
}
