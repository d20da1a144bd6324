//! The head of a node's answer: the few fields of it that mean something here.

use bytes::{Buf, BytesMut};
use httparse::{EMPTY_HEADER, Response, Status};
use protocol::{ErrorKind, routes};
use std::io;

/// Fields in a head at most.
const FIELDS_MAX: usize = 32;

/// What a head says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Bytes of the body; `None` if that is not told.
    pub(super) length: Option<u64>,
    /// CRC32 of the body.
    pub(super) crc: Option<u32>,
    /// The kind of error that the node named.
    pub(super) error: Option<ErrorKind>,
    /// Whether the node closes the connection after this answer.
    pub(super) closes: bool,
}

impl Head {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Takes a head from the front of `bytes`; `None` if it is not whole yet, `InvalidData` if it is none.
pub(super) fn parse_head(bytes: &mut BytesMut) -> io::Result<Option<Head>> {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut response = Response::new(&mut fields);
    let parsed = response.parse(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let Status::Complete(length) = parsed else { return Ok(None) };
    let status = response.code.unwrap_or_default();
    let mut head = Head { status, closes: response.version != Some(1), ..Head::default() };
    for field in response.headers.iter() {
        let value = str::from_utf8(field.value).unwrap_or_default().trim();
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            head.length = value.parse().ok();
        } else if is(routes::HEADER_CRC) {
            head.crc = routes::crc_from_text(value);
        } else if is(routes::HEADER_ERROR) {
            head.error = ErrorKind::ALL.into_iter().find(|kind| kind.as_str() == value);
        } else if is("connection") {
            head.closes |= value.eq_ignore_ascii_case("close");
        }
    }
    // No body, and no length told, by RFC 9110.
    if status == 204 || status == 304 {
        head.length = Some(0);
    }
    bytes.advance(length);
    Ok(Some(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_taken_whole_or_not_at_all_and_what_follows_stays() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nX-Holdfast-Crc32: 0000beef\r\n\r\nbody";
        let text = text.replace("X-Holdfast-Crc32", routes::HEADER_CRC);
        let end = text.len() - "body".len();
        for cut in 0..end {
            let mut part = BytesMut::from(&text.as_bytes()[..cut]);
            assert_eq!(parse_head(&mut part).unwrap(), None);
            assert_eq!(part.len(), cut);
        }
        let mut bytes = BytesMut::from(text.as_bytes());
        let head = parse_head(&mut bytes).unwrap().unwrap();
        assert_eq!((head.status, head.length, head.crc, head.closes), (200, Some(12), Some(0xbeef), false));
        assert_eq!(&bytes[..], b"body");
    }

    #[test]
    fn closing_errors_and_what_is_no_head_are_told() {
        let text = format!("HTTP/1.1 503 X\r\nconnection: close\r\n{}: unavailable\r\n\r\n", routes::HEADER_ERROR);
        let head = parse_head(&mut BytesMut::from(text.as_bytes())).unwrap().unwrap();
        assert_eq!((head.error, head.closes, head.length), (Some(ErrorKind::Unavailable), true, None));
        assert!(parse_head(&mut BytesMut::from(&b"SSH-2.0-x\r\n\r\n"[..])).is_err());
    }
}
