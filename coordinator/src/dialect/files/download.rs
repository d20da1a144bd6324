//! `GET|HEAD /download?filename=&version=` and `/files/{filename}?version=`: any version, whole or a range, conditionally.

use super::super::Door;
use super::super::query::{Query, selector};
use super::super::reply::Refusal;
use super::super::representation::{self, Dress};
use super::{file_in_path, query_and_file};
use crate::object::{ObjectName, Version};
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::{HttpRequest, HttpResponse, web};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use protocol::{Error, ErrorKind};

/// What RFC 8187 wants encoded in `filename*`: all but its `attr-char`.
const NOT_ATTR_CHAR: &AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');
/// What cannot stand in a quoted string.
const NOT_QUOTABLE: &AsciiSet = &CONTROLS.add(b'"').add(b'\\').add(b'%');

/// `GET /download?filename=&version=`.
pub(super) async fn by_query(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let (query, name) = query_and_file(&request)?;
    download(&request, &door, &query, &name).await
}

/// `GET /files/{filename}?version=`.
pub(super) async fn by_path(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let query = Query::parse(request.query_string())?;
    let name = file_in_path(&request)?;
    download(&request, &door, &query, &name).await
}

async fn download(
    request: &HttpRequest,
    door: &Door,
    query: &Query,
    name: &ObjectName,
) -> Result<HttpResponse, Refusal> {
    let selector = selector(query)?;
    let version = match door.objects.resolve(name, selector).await.map_err(unavailable)? {
        Version::Found(version) => version,
        Version::NoObject => return Err(Refusal::not_found(format!("File '{}' does not exist", name.key()))),
        Version::NoVersion => {
            let number = query.get("version").unwrap_or("latest");
            return Err(Refusal::not_found(format!("Version {number} of file '{}' does not exist", name.key())));
        }
    };
    let dress = Dress {
        etag: format!("\"{}\"", version.sha256.map_or_else(|| version.etag_text(), hex::encode)),
        headers: vec![(CONTENT_DISPOSITION, disposition(name.key()))],
        refused: Refusal::from,
        unreadable: unavailable,
    };
    representation::answer(request, door, name, &version, dress).await
}

/// The contract's words (A9) for bytes that cannot be had now.
fn unavailable(error: Error) -> Refusal {
    match error.kind {
        ErrorKind::Unavailable | ErrorKind::Corrupt => {
            let headline = "File is currently unavailable due to storage node failures";
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.message).headed(headline)
        }
        _ => error.into(),
    }
}

/// `attachment` with the name twice: for old clients, and exactly (RFC 6266, 8187). Nothing in a name can end the header.
fn disposition(name: &str) -> String {
    let quoted: String = utf8_percent_encode(name, NOT_QUOTABLE).to_string();
    format!("attachment; filename=\"{quoted}\"; filename*=UTF-8''{}", utf8_percent_encode(name, NOT_ATTR_CHAR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_break_out_of_its_header() {
        let text = disposition("a\"b\r\nSet-Cookie: x\\é.txt");
        assert!(!text.contains('\r') && !text.contains('\n'));
        assert!(text.starts_with("attachment; filename=\"a%22b%0D%0ASet-Cookie: x%5C%C3%A9.txt\""), "{text}");
        assert!(text.ends_with("filename*=UTF-8''a%22b%0D%0ASet-Cookie%3A%20x%5C%C3%A9.txt"), "{text}");
    }
}
