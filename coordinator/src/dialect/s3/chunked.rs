//! Unpacks `aws-chunked` bodies: `<hex size>[;chunk-signature=…]\r\n<bytes>\r\n`, a chunk of size 0, then trailers.
//!
//! It is for requests whose signature is not looked at (authentication is off, or nothing is signed); where signatures count, the
//! library unpacks, and verifies each chunk, which it holds in memory: the chunks that it gets are short.
//!
//! What it keeps true: what it keeps of a head or trailers has a bound; content is passed on without a copy; a body that ends early,
//! or has another length than announced, is a fault.

use super::fault::BodyFault;
use bytes::{Bytes, BytesMut};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use std::collections::VecDeque;

/// The longest line of a chunk's head.
const HEAD_BYTES_MAX: usize = 1 << 10;
/// The most bytes of all trailers.
const TRAILERS_BYTES_MAX: usize = 16 << 10;

/// Where in the framing the next byte lies.
enum At {
    /// In the line that says how long the next chunk is.
    Head,
    /// In a chunk, of which so many bytes are to come.
    Data(u64),
    /// In the line break behind a chunk.
    Break,
    /// In the trailers, which the end of the body ends: clients put empty lines before, between and behind them.
    Trailers,
}

/// The state of one body.
pub struct Unpacker {
    at: At,
    line: BytesMut,
    trailers: HeaderMap,
    trailers_bytes: usize,
    length: u64,
    seen: u64,
    chunk_bytes_max: u64,
}

impl Unpacker {
    /// A body whose content has `length` bytes.
    pub fn new(length: u64) -> Unpacker {
        let (line, trailers) = (BytesMut::new(), HeaderMap::new());
        Unpacker { at: At::Head, line, trailers, trailers_bytes: 0, length, seen: 0, chunk_bytes_max: u64::MAX }
    }

    /// The same, and none of its chunks has more than so many bytes.
    pub fn of_chunks(self, chunk_bytes_max: u64) -> Unpacker {
        Unpacker { chunk_bytes_max, ..self }
    }

    /// Takes the next bytes of the body, and puts what is content into `ready`.
    pub fn push(&mut self, mut piece: Bytes, ready: &mut VecDeque<Bytes>) -> Result<(), BodyFault> {
        while !piece.is_empty() {
            match self.at {
                At::Data(left) => {
                    let data = piece.split_to(piece.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
                    let left = left - data.len() as u64;
                    ready.push_back(data);
                    self.at = if left == 0 { At::Break } else { At::Data(left) };
                }
                At::Head | At::Break | At::Trailers => {
                    if let Some(line) = self.take_line(&mut piece)? {
                        self.take(&line)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The trailers of a body that has come to its end.
    pub fn finish(&mut self) -> Result<HeaderMap, BodyFault> {
        let ended = matches!(self.at, At::Trailers) && self.line.is_empty();
        match ended && self.seen == self.length {
            true => Ok(std::mem::take(&mut self.trailers)),
            false => Err(BodyFault::Incomplete),
        }
    }

    /// The next line without its break, once all of it is there.
    fn take_line(&mut self, piece: &mut Bytes) -> Result<Option<Bytes>, BodyFault> {
        let end = piece.iter().position(|byte| *byte == b'\n');
        let part = piece.split_to(end.map_or(piece.len(), |end| end + 1));
        if self.line.len() + part.len() > HEAD_BYTES_MAX {
            return Err(BodyFault::Framing("a line is too long"));
        }
        self.line.extend_from_slice(&part);
        if end.is_none() {
            return Ok(None);
        }
        let line = self.line.split().freeze();
        // Among trailers a line may end with LF alone: those of minio-go do.
        let ended_by = if matches!(self.at, At::Trailers) && !line.ends_with(b"\r\n") { &b"\n"[..] } else { b"\r\n" };
        match line.strip_suffix(ended_by) {
            Some(text) => Ok(Some(line.slice_ref(text))),
            None => Err(BodyFault::Framing("a line must end with CR LF")),
        }
    }

    fn take(&mut self, line: &[u8]) -> Result<(), BodyFault> {
        match self.at {
            At::Break if line.is_empty() => self.at = At::Head,
            At::Break => return Err(BodyFault::Framing("a chunk is longer than its head says")),
            At::Head => self.begin_chunk(line)?,
            At::Trailers if line.is_empty() => {}
            At::Trailers => self.take_trailer(line)?,
            At::Data(_) => unreachable!("lines are looked for elsewhere"),
        }
        Ok(())
    }

    fn begin_chunk(&mut self, line: &[u8]) -> Result<(), BodyFault> {
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
        let size = std::str::from_utf8(digits).ok().filter(|_| hex).and_then(|text| u64::from_str_radix(text, 16).ok());
        let Some(size) = size else { return Err(BodyFault::Framing("a chunk's size must be in hex digits")) };
        if size > self.chunk_bytes_max {
            return Err(BodyFault::Framing("a signed chunk has more than 1 MiB; sign less at a time"));
        }
        self.seen = self.seen.saturating_add(size);
        if self.seen > self.length {
            return Err(BodyFault::Incomplete);
        }
        self.at = if size == 0 { At::Trailers } else { At::Data(size) };
        Ok(())
    }

    fn take_trailer(&mut self, line: &[u8]) -> Result<(), BodyFault> {
        self.trailers_bytes += line.len();
        if self.trailers_bytes > TRAILERS_BYTES_MAX {
            return Err(BodyFault::Framing("the trailers are too long"));
        }
        let malformed = || BodyFault::Framing("a trailer must be name:value");
        let colon = line.iter().position(|byte| *byte == b':').ok_or_else(malformed)?;
        let name = HeaderName::from_bytes(line[..colon].trim_ascii()).map_err(|_| malformed())?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).map_err(|_| malformed())?;
        self.trailers.insert(name, value);
        Ok(())
    }
}

/// A chunk of this content.
pub fn framed(data: Bytes) -> [Bytes; 3] {
    [Bytes::from(format!("{:x}\r\n", data.len())), data, Bytes::from_static(b"\r\n")]
}

/// The chunk that ends a body, and its trailers.
pub fn last_chunk(trailers: &HeaderMap) -> Bytes {
    let mut end = b"0\r\n".to_vec();
    for (name, value) in trailers {
        for part in [name.as_str().as_bytes(), b":", value.as_bytes(), b"\r\n"] {
            end.extend_from_slice(part);
        }
    }
    end.extend_from_slice(b"\r\n");
    end.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED: &str = "5;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\nhello\r\n\
                          6\r\n world\r\n0;chunk-signature=b6c6\r\nx-amz-checksum-crc32:AAAAAA==\r\n\
                          x-amz-trailer-signature:63bd\r\n\r\n";

    fn unpack(text: &str, length: u64, piece_bytes: usize) -> Result<(Vec<u8>, HeaderMap), BodyFault> {
        let mut unpacker = Unpacker::new(length);
        let mut ready = VecDeque::new();
        for piece in text.as_bytes().chunks(piece_bytes) {
            unpacker.push(Bytes::copy_from_slice(piece), &mut ready)?;
        }
        let trailers = unpacker.finish()?;
        Ok((ready.into_iter().flatten().collect(), trailers))
    }

    #[test]
    fn content_and_trailers_come_out_however_the_bytes_arrive() {
        for piece_bytes in 1..SIGNED.len() {
            let (content, trailers) = unpack(SIGNED, 11, piece_bytes).unwrap();
            assert_eq!(content, b"hello world", "in pieces of {piece_bytes}");
            assert_eq!(trailers["x-amz-checksum-crc32"], "AAAAAA==");
        }
        assert_eq!(unpack("0\r\n\r\n", 0, 9).unwrap().0, b"");
        assert_eq!(unpack("1\r\nx\r\n0\r\n", 1, 9).unwrap().0, b"x");
    }

    /// As minio-go writes them, signed and not.
    #[test]
    fn trailers_may_have_empty_lines_and_end_theirs_with_a_line_feed() {
        for text in [
            "1\r\nx\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\n\r\nx-amz-trailer-signature:63bd\r\n\r\n",
            "1\r\nx\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\n\r\n\r\n",
        ] {
            for piece_bytes in 1..text.len() {
                let (content, trailers) = unpack(text, 1, piece_bytes).unwrap();
                assert_eq!(content, b"x", "{text:?}");
                assert_eq!(trailers["x-amz-checksum-crc32"], "AAAAAA==", "{text:?}");
            }
        }
    }

    #[test]
    fn whatever_is_cut_off_or_wrong_is_a_fault() {
        let short = "5\r\nhello\r\n0\r\n\r\n";
        for end in 0..short.len() - 2 {
            assert!(unpack(&short[..end], 5, 100).is_err(), "{:?}", &short[..end]);
        }
        for (text, length) in [
            (short, 4),
            (short, 6),
            ("5\r\nhello!\r\n0\r\n\r\n", 5),
            ("5\nhello\r\n0\r\n\r\n", 5),
            ("+5\r\nhello\r\n0\r\n\r\n", 5),
            ("\r\n", 0),
            ("fffffffffffffffff\r\n", 5),
            ("0\r\n\r\nmore", 0),
            ("0\r\nno trailer\r\n\r\n", 0),
        ] {
            assert!(unpack(text, length, 100).is_err(), "{text:?}");
        }
        let mut short = Unpacker::new(11).of_chunks(5);
        let outcome = short.push(Bytes::from_static(SIGNED.as_bytes()), &mut VecDeque::new());
        assert!(matches!(outcome, Err(BodyFault::Framing(_))), "the second chunk has six bytes");
        let endless = "1".repeat(HEAD_BYTES_MAX + 1);
        assert!(unpack(&endless, 5, 100).is_err());
    }
}
