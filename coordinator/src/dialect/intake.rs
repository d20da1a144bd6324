//! What the doors that take bytes in have in common: what the head alone condemns, bodies that stand still, conditions.
//!
//! What it keeps true: no body is waited for without a bound, and none larger than the operator allows is read to its end.

use super::Door;
use super::conditions::{contents, date, text};
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
use tokio::time::{Instant, timeout};

/// The length that the head announces, if it does; 413 where that is more than is taken.
///
/// A request of HTTP/1.1 that has neither length nor chunks has no body, and there are clients that send empty ones so (RFC 9112, 6.3).
/// In HTTP/1.0 it may be one whose bytes end with the connection, which nobody reads: it is 411 (RFC 1945, 8.3), and not answered by an
/// empty object in place of what was there.
pub fn announced_length(request: &HttpRequest, door: &Door) -> Result<Option<u64>, Refusal> {
    let length = told_length(request);
    match length {
        Some(length) => refuse_larger(length, door)?,
        None if request.version() < Version::HTTP_11 => return Err(length_required()),
        None => {}
    }
    Ok(length)
}

/// What `Content-Length` says.
pub fn told_length(request: &HttpRequest) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok())
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
    let headers = request.headers();
    match (text(headers, IF_NONE_MATCH.as_str()), text(headers, IF_MATCH.as_str())) {
        // RFC 9110, 13.1.4: what is no date is ignored, and so is any date beside If-Match.
        (None, None) => {
            let date = text(headers, IF_UNMODIFIED_SINCE.as_str()).and_then(|text| date(&text));
            let second = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs());
            Ok(second.map_or(Condition::None, Condition::UnmodifiedSince))
        }
        (Some(tag), None) if tag.trim() == "*" => Ok(Condition::Absent),
        (None, Some(tags)) if tags.trim() == "*" => Ok(Condition::Matches(Vec::new())),
        (None, Some(tags)) => Ok(Condition::Matches(contents(&tags, content_tag))),
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

/// Whoever brings less than this in [`SLOW_WINDOW`] holds a connection and little else (faults I19), in bytes.
const SLOW_BYTES_MIN: u64 = 1 << 10;
/// The shortest time for that; no shorter than a body may stand still.
const SLOW_WINDOW: Duration = Duration::from_secs(30);

/// How a body comes in. Only the wait for the client counts, not what is done with the bytes.
pub struct Pace {
    stall: Duration,
    /// Since [`SLOW_BYTES_MIN`] were there,
    waited: Duration,
    /// and what has come since.
    bytes: u64,
}

impl Pace {
    /// Of a body that may stand still for `stall`.
    pub fn new(stall: Duration) -> Pace {
        Pace { stall, waited: Duration::ZERO, bytes: 0 }
    }

    /// What comes next; `None` if nothing came for too long, or too little.
    pub async fn wait<T>(&mut self, coming: impl Future<Output = T>) -> Option<T> {
        let began = Instant::now();
        let patience = self.stall.max(SLOW_WINDOW).saturating_sub(self.waited);
        let came = timeout(patience.min(self.stall), coming).await.ok()?;
        self.waited += began.elapsed();
        Some(came)
    }

    /// So many bytes have come.
    pub fn count(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.bytes >= SLOW_BYTES_MIN {
            *self = Pace::new(self.stall);
        }
    }
}

/// The body, ended by an error once it brings too little for `stall`. The bound is on bytes, not on pieces of the file: a line
/// between two parts may take many reads.
pub fn never_still(body: Payload, stall: Duration) -> impl Stream<Item = Result<Bytes, PayloadError>> {
    stream::unfold(Some((body, Pace::new(stall))), |state| async move {
        let (mut body, mut pace) = state?;
        match pace.wait(body.next()).await {
            Some(Some(piece)) => {
                pace.count(piece.as_ref().map_or(0, Bytes::len));
                Some((piece, Some((body, pace))))
            }
            Some(None) => None,
            None => Some((Err(PayloadError::Io(ErrorKind::TimedOut.into())), None)),
        }
    })
    .fuse()
}

/// 408 for a body that [`never_still`] ended; `None` for any other error.
pub fn stood_still(error: &PayloadError, stall: Duration) -> Option<Refusal> {
    match error {
        PayloadError::Io(error) if error.kind() == ErrorKind::TimedOut => {
            let message =
                format!("next to nothing of the body arrived for {} s; the upload was given up", stall.as_secs());
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    /// How many pieces of so many bytes, that come after so long a time each, are waited for; 100 are all.
    async fn taken(stall_s: u64, bytes: usize, every_s: u64) -> usize {
        let mut pace = Pace::new(Duration::from_secs(stall_s));
        for number in 0..100 {
            if pace.wait(sleep(Duration::from_secs(every_s))).await.is_none() {
                return number;
            }
            pace.count(bytes);
        }
        100
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_or_trickles_is_not_waited_for() {
        assert_eq!(taken(2, 1 << 20, 3).await, 0);
        assert_eq!(taken(2, 1, 1).await, 30);
        assert_eq!((taken(30, 1, 10).await, taken(30, 341, 10).await, taken(30, 342, 10).await), (3, 3, 100));
        assert_eq!(taken(300, 1, 100).await, 3);
        assert_eq!(taken(300, 1 << 10, 299).await, 100);
    }
}
