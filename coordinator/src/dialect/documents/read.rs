//! `GET /read/{key}?version=` (contract C8): the JSON that was written, however it is stored.
//!
//! What it keeps true: what is not JSON is shown as JSON, `{"binary_data":"…"}`, and as it is read: memory does not grow with it.

use super::super::Door;
use super::super::conditions::{Validators, Verdict};
use super::super::query::{Query, selector};
use super::super::reply::Refusal;
use super::super::representation::{self, Dress, ObjectPieces, pieces_of};
use super::{document_in_path, not_found, refusal_for};
use crate::metadata::records::VersionRecord;
use crate::names;
use crate::object::{BINARY_FIELD, JSON, ObjectName, Objects, Strategy, Version};
use actix_web::body::SizedStream;
use actix_web::http::header::{ETAG, HeaderName, LAST_MODIFIED};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use protocol::Error;

const STRATEGY: HeaderName = HeaderName::from_static("x-holdfast-strategy");

pub(super) async fn read(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let name = document_in_path(&request)?;
    let selector = selector(&Query::parse(request.query_string())?)?;
    let found = door.objects.resolve(&name, selector).await.map_err(|error| refusal_for(name.key(), error))?;
    let Version::Found(version) = found else { return Err(not_found(name.key())) };
    let etag = format!("\"{}\"", version.etag_text());
    let strategy = Strategy::of(&version).as_str().to_owned();
    if !Objects::is_json(&version) {
        return binary(&request, &door, &name, &version, etag, strategy).await;
    }
    let headers = vec![(STRATEGY, strategy)];
    let dress = Dress { etag, headers, refused: Refusal::from, unreadable: Refusal::from };
    representation::answer(&request, &door, &name, &version, dress).await
}

/// Bytes, in a document of one field.
async fn binary(
    request: &HttpRequest,
    door: &Door,
    name: &ObjectName,
    version: &VersionRecord,
    etag: String,
    strategy: String,
) -> Result<HttpResponse, Refusal> {
    let validators = Validators { etag, modified_ms: version.created_ms };
    if validators.evaluate(request.headers())? == Verdict::NotModified {
        return Ok(HttpResponse::NotModified().insert_header((ETAG, validators.etag)).finish());
    }
    let pieces = match pieces_of(&door.objects, name, version, 0..version.size).await {
        Ok(ObjectPieces::All(bytes)) => stream::iter([Ok(bytes)]).boxed(),
        Ok(ObjectPieces::Stream(pieces)) => pieces,
        Err(unread) => return Err(Error::from(unread).into()),
    };
    metrics::counter!(names::FILE_DOWNLOADS_TOTAL).increment(1);
    let (open, close) = (format!("{{\"{BINARY_FIELD}\":\""), "\"}");
    let length = open.len() as u64 + version.size.div_ceil(3) * 4 + close.len() as u64;
    let open = stream::iter([Ok(Bytes::from(open))]);
    let body = open.chain(in_base64(pieces)).chain(stream::iter([Ok(Bytes::from_static(close.as_bytes()))]));
    Ok(HttpResponse::Ok()
        .insert_header((ETAG, validators.etag.as_str()))
        .insert_header((LAST_MODIFIED, validators.last_modified()))
        .insert_header((STRATEGY, strategy))
        .insert_header(("x-holdfast-version", version.number))
        .content_type(JSON)
        .body(SizedStream::new(length, body)))
}

type Pieces = BoxStream<'static, Result<Bytes, std::io::Error>>;

/// Encodes what comes, three bytes to four; what is left of a piece goes before the next.
fn in_base64(pieces: Pieces) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> {
    stream::unfold(Some((pieces, Vec::new())), |state| async move {
        let (mut pieces, mut left) = state?;
        match pieces.next().await {
            Some(Ok(piece)) => {
                left.extend_from_slice(&piece);
                let rest = left.split_off(left.len() / 3 * 3);
                Some((Ok(STANDARD.encode(&left).into()), Some((pieces, rest))))
            }
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((Ok(STANDARD.encode(&left).into()), None)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_of_any_length_are_one_text() {
        let bytes: Vec<u8> = (0..=255).collect();
        for length in [1, 2, 3, 7, 100, 256] {
            let pieces: Vec<_> = bytes.chunks(length).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            let text: Vec<Bytes> = in_base64(stream::iter(pieces).boxed()).map(Result::unwrap).collect().await;
            assert_eq!(text.concat(), STANDARD.encode(&bytes).as_bytes());
        }
    }
}
