//! Answers a GET or HEAD of a version: conditions, ranges, and the bytes as they come off the nodes. How it is dressed is the
//! door's matter.
//!
//! What it keeps true: the first chunk is read and verified before the status is sent; after that, an error cuts the connection,
//! so that no client takes a part for the whole (law 6).

use super::Door;
use super::conditions::{Validators, Verdict};
use super::described::given_back;
use super::reply::Refusal;
use crate::metadata::records::VersionRecord;
use crate::names;
use crate::object::{ObjectName, ObjectReader, Objects, UNCOUNTED_BYTES_MAX, VersionName};
use actix_web::body::{BoxBody, SizedStream};
use actix_web::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPIRES, HeaderName, LAST_MODIFIED,
};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use protocol::Error;
use std::ops::Range;
use tracing::warn;

/// How a door shows a version.
pub struct Dress {
    /// Its ETag, with the quotes.
    pub etag: String,
    /// Headers that only this door has.
    pub headers: Vec<(HeaderName, String)>,
    /// What the client is told when the read cannot begin.
    pub refused: fn(Error) -> Refusal,
    /// What the client is told when the bytes cannot be had.
    pub unreadable: fn(Error) -> Refusal,
}

/// The answer to this request for this version of `name`.
pub async fn answer(
    request: &HttpRequest,
    door: &Door,
    name: &ObjectName,
    version: &VersionRecord,
    dress: Dress,
) -> Result<HttpResponse, Refusal> {
    let validators = Validators { etag: dress.etag.clone(), modified_ms: version.created_ms };
    if validators.evaluate(request.headers())? == Verdict::NotModified {
        let mut response = HttpResponse::NotModified();
        response.insert_header((ETAG, validators.etag.as_str()));
        // Who keeps it learns how long it may be kept on (RFC 9110, 15.4.5).
        for header in given_back(version).into_iter().filter(|(name, _)| [CACHE_CONTROL, EXPIRES].contains(name)) {
            response.insert_header(header);
        }
        return Ok(response.finish());
    }
    // Ranges are GET's (RFC 9110, 14.2).
    let is_head = *request.method() == Method::HEAD;
    let part = if is_head { None } else { validators.range(request.headers(), version.size)? };
    let range = part.clone().unwrap_or(0..version.size);
    let body = match is_head {
        true => no_body(range.end - range.start),
        false => body(door, name, version, range, &dress).await?,
    };
    metrics::counter!(names::FILE_DOWNLOADS_TOTAL).increment(1);
    Ok(head(version, &validators, part, dress.headers).body(body))
}

fn head(
    version: &VersionRecord,
    validators: &Validators,
    part: Option<Range<u64>>,
    headers: Vec<(HeaderName, String)>,
) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    if let Some(part) = part {
        response.status(StatusCode::PARTIAL_CONTENT);
        response.insert_header((CONTENT_RANGE, format!("bytes {}-{}/{}", part.start, part.end - 1, version.size)));
    }
    response
        .insert_header((ETAG, validators.etag.as_str()))
        .insert_header((LAST_MODIFIED, validators.last_modified()))
        .insert_header((ACCEPT_RANGES, "bytes"))
        .insert_header((CONTENT_TYPE, version.content_type.as_str()))
        .insert_header(("x-holdfast-version", version.number))
        .insert_header(("x-holdfast-version-id", VersionName::of(version).to_string()));
    for header in given_back(version) {
        response.insert_header(header);
    }
    // The door has the last word.
    for header in headers {
        response.insert_header(header);
    }
    response
}

fn no_body(length: u64) -> BoxBody {
    BoxBody::new(SizedStream::new(length, stream::empty::<Result<Bytes, std::io::Error>>()))
}

async fn body(
    door: &Door,
    name: &ObjectName,
    version: &VersionRecord,
    range: Range<u64>,
    dress: &Dress,
) -> Result<BoxBody, Refusal> {
    let length = range.end - range.start;
    match pieces_of(&door.objects, name, version, range).await {
        Ok(ObjectPieces::All(bytes)) => Ok(BoxBody::new(bytes)),
        Ok(ObjectPieces::Stream(rest)) => Ok(BoxBody::new(SizedStream::new(length, rest))),
        Err(Unread::Refused(error)) => Err((dress.refused)(error)),
        Err(Unread::Unreadable(error)) => Err((dress.unreadable)(error)),
    }
}

/// Bytes of a version on their way out, the first of which have been read and verified.
pub enum ObjectPieces {
    /// All of them.
    All(Bytes),
    /// Piece by piece; an error ends them.
    Stream(BoxStream<'static, Result<Bytes, std::io::Error>>),
}

/// Why there are no bytes.
pub enum Unread {
    /// The read cannot begin.
    Refused(Error),
    /// The first chunk cannot be had, or one of those behind it.
    Unreadable(Error),
}

impl From<Unread> for Error {
    fn from(unread: Unread) -> Error {
        match unread {
            Unread::Refused(error) | Unread::Unreadable(error) => error,
        }
    }
}

/// Reads `range` of a version of `name`.
pub async fn pieces_of(
    objects: &Objects,
    name: &ObjectName,
    version: &VersionRecord,
    range: Range<u64>,
) -> Result<ObjectPieces, Unread> {
    let length = range.end - range.start;
    if let Some(error) = objects.out_of_reach(name, version, &range).await.map_err(Unread::Refused)? {
        return Err(Unread::Unreadable(error));
    }
    let mut reader = objects.open(name, version, range).await.map_err(Unread::Refused)?;
    let first_bytes = match reader.ready().await {
        None => return Ok(ObjectPieces::All(Bytes::new())),
        Some(ready) => ready.map_err(Unread::Unreadable)?,
    };
    // What is longer goes out as a stream, and the reader with its allowance stays until the client has taken it.
    if first_bytes as u64 == length && first_bytes <= UNCOUNTED_BYTES_MAX {
        let first = reader.next().await.unwrap_or_else(|| Ok(Bytes::new()));
        return first.map(ObjectPieces::All).map_err(Unread::Unreadable);
    }
    Ok(ObjectPieces::Stream(stream::unfold(Some(reader), send_next).boxed()))
}

async fn send_next(reader: Option<ObjectReader>) -> Option<(Result<Bytes, std::io::Error>, Option<ObjectReader>)> {
    let mut reader = reader?;
    match reader.next_piece().await? {
        Ok(piece) => Some((Ok(piece), Some(reader))),
        Err(error) => {
            warn!(target: "degradation", %error, "download cut off: a chunk cannot be read");
            Some((Err(std::io::Error::other(error)), None))
        }
    }
}
