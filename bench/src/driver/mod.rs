//! How operations are spelled for a server: the file dialect of contract A8–A11, or S3.
//!
//! What it keeps true:
//! - An operation counts only if the server said yes and, for a get, its bytes are those that were put, for a page, its keys are
//!   those that are there.

mod native;
mod s3;
mod signature;

pub use s3::{Bucket, Payload};
pub use signature::Keys;

use crate::body::{Body, BodyReader, PIECE_BYTES, Random, Verify};
use crate::http::{Connection, Endpoint, Reply};
use s3::Requests;
use std::io;

/// How much of an error reply is kept.
const MESSAGE_BYTES_MAX: usize = 300;

/// The dialect, and where it is spoken.
#[derive(Clone, Debug)]
pub enum Driver {
    /// `POST /upload`, `GET /download`.
    Native(Endpoint),
    /// S3, in a bucket.
    S3(Bucket),
}

impl Driver {
    /// Where it is.
    pub fn endpoint(&self) -> &Endpoint {
        match self {
            Driver::Native(endpoint) => endpoint,
            Driver::S3(bucket) => &bucket.endpoint,
        }
    }
}

/// Requests that must be refused (contract A8, A9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequest {
    /// A download of a file that was never there.
    MissingFile,
    /// A download of a version that is no number.
    BadVersion,
    /// An upload without a file.
    NoFile,
    /// An upload whose name is empty.
    EmptyName,
}

impl BadRequest {
    /// Every kind, to be taken in turn.
    pub const ALL: [BadRequest; 4] =
        [BadRequest::MissingFile, BadRequest::BadVersion, BadRequest::NoFile, BadRequest::EmptyName];

    /// The status it must be answered with.
    fn status(self) -> u16 {
        match self {
            BadRequest::MissingFile => 404,
            BadRequest::BadVersion | BadRequest::NoFile | BadRequest::EmptyName => 400,
        }
    }
}

/// One client: its connection and its buffer.
pub struct Session {
    driver: Driver,
    s3: Option<Requests>,
    connection: Option<Connection>,
    buffer: Vec<u8>,
}

impl Session {
    /// A client that is not yet connected.
    pub fn new(driver: Driver) -> Session {
        let s3 = match &driver {
            Driver::Native(_) => None,
            Driver::S3(bucket) => Some(Requests::new(bucket.clone())),
        };
        Session { driver, s3, connection: None, buffer: Vec::with_capacity(2 * PIECE_BYTES) }
    }

    /// Makes what objects are put into, where the dialect wants that: a bucket, unless it is there.
    pub fn prepare(&mut self) -> io::Result<()> {
        if let Some(s3) = &mut self.s3 {
            self.buffer = s3.make_bucket();
            self.exchange(None, &[200, 409], |_| ())?;
        }
        Ok(())
    }

    /// Stores a body under a name.
    pub fn put(&mut self, name: &str, body: &Body) -> io::Result<()> {
        let (request, end) = match &mut self.s3 {
            None => (native::upload(self.driver.endpoint(), name, body.length_bytes()), native::form_end()),
            Some(s3) => (s3.put(name, body)?, String::new()),
        };
        self.buffer = request;
        self.exchange(Some((body.open()?, &end)), &[200, 201], |_| ())?;
        Ok(())
    }

    /// Stores a body in parts of this size, a multiple of [`PIECE_BYTES`], one after the other; S3 alone knows that.
    pub fn put_in_parts(&mut self, name: &str, body: &Body, part_bytes: usize) -> io::Result<()> {
        self.buffer = self.requests()?.begin_upload(name);
        let answer = self.answer()?;
        let upload = s3::element(&answer, "UploadId").ok_or_else(|| io::Error::other("an upload without an id"))?;
        let (mut reader, mut etags, mut part) = (body.open()?, Vec::new(), Vec::with_capacity(part_bytes));
        loop {
            part.clear();
            while part.len() < part_bytes && reader.append_piece(&mut part)? {}
            if part.is_empty() && !etags.is_empty() {
                break;
            }
            self.buffer = self.requests()?.put_part(name, upload, etags.len() + 1, &part);
            self.buffer.extend_from_slice(&part);
            let reply = self.exchange(None, &[200], |_| ())?;
            etags.push(reply.etag.ok_or_else(|| io::Error::other("a part without an ETag"))?);
        }
        self.buffer = self.requests()?.complete_upload(name, upload, &etags);
        let answer = self.answer()?;
        // S3 begins a long answer before it knows how it ends.
        s3::element(&answer, "ETag").map(|_| ()).ok_or_else(|| io::Error::other(format!("not completed: {answer}")))
    }

    /// Reads what is stored under a name and compares it with what was put.
    pub fn get(&mut self, name: &str, expected: Random, verify: Verify) -> io::Result<()> {
        self.buffer = match &mut self.s3 {
            None => native::download(self.driver.endpoint(), name),
            Some(s3) => s3.get(name),
        };
        let mut offset = 0;
        let mut same = true;
        self.exchange(None, &[200], |piece| {
            same &= expected.matches(offset, piece, verify);
            offset += piece.len() as u64;
        })?;
        if offset != expected.length_bytes || !same {
            let put = expected.length_bytes;
            return Err(io::Error::other(format!("{name}: other bytes than were put ({offset} of {put} came)")));
        }
        Ok(())
    }

    /// Deletes what is stored under a name.
    pub fn delete(&mut self, name: &str) -> io::Result<()> {
        self.buffer = match &mut self.s3 {
            None => native::delete(self.driver.endpoint(), name),
            Some(s3) => s3.delete(name),
        };
        self.exchange(None, &[200, 204], |_| ())?;
        Ok(())
    }

    /// Reads the page of keys with a prefix that come after a name, and compares them; S3 alone knows that.
    pub fn list(&mut self, prefix: &str, after: &str, expected: &[String]) -> io::Result<()> {
        self.buffer = self.requests()?.list(prefix, after, false);
        let answer = self.answer()?;
        same_names(s3::keys(&answer).collect(), after, expected)
    }

    /// Reads the page of folders with a prefix that come after a name, and compares them; S3 alone knows that.
    pub fn list_folders(&mut self, prefix: &str, after: &str, expected: &[String]) -> io::Result<()> {
        self.buffer = self.requests()?.list(prefix, after, true);
        let answer = self.answer()?;
        same_names(s3::keys(&answer).chain(s3::folders(&answer)).collect(), after, expected)
    }

    /// Sends a request that must be refused; an error unless it is, and as it should be. The file dialect alone has such.
    pub fn refuse(&mut self, bad: BadRequest) -> io::Result<()> {
        let Driver::Native(endpoint) = &self.driver else {
            return Err(io::Error::other("bad requests are spelled in the native protocol"));
        };
        let (request, end) = native::bad_request(endpoint, bad);
        self.buffer = request;
        self.buffer.extend_from_slice(end.as_bytes());
        self.exchange(None, &[bad.status()], |_| ())?;
        Ok(())
    }

    fn requests(&mut self) -> io::Result<&mut Requests> {
        self.s3.as_mut().ok_or_else(|| io::Error::other("the native protocol has no such request"))
    }

    /// Sends the request in the buffer and collects its answer's text.
    fn answer(&mut self) -> io::Result<String> {
        let mut answer = Vec::new();
        self.exchange(None, &[200], |piece| answer.extend_from_slice(piece))?;
        String::from_utf8(answer).map_err(|_| io::Error::other("an answer that is not text"))
    }

    /// Sends the request begun in the buffer and reads its reply. A status that is not wanted is an error that quotes it.
    fn exchange(
        &mut self,
        upload: Option<(BodyReader, &str)>,
        wanted: &[u16],
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<Reply> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.driver.endpoint())?,
        };
        let sent = send(&mut connection, &mut self.buffer, upload);
        let mut message = Vec::new();
        let received = connection.receive(|status, piece| match wanted.contains(&status) {
            true => take(piece),
            false => message.extend_from_slice(&piece[..piece.len().min(MESSAGE_BYTES_MAX - message.len())]),
        });
        // A server that refuses early may answer and close before it has read everything: its answer says more.
        let reply = match (sent, received) {
            (Ok(()), Ok(reply)) => {
                self.connection = reply.keep_alive.then_some(connection);
                reply
            }
            (Err(_), Ok(reply)) if !wanted.contains(&reply.status) => reply,
            (Err(error), _) | (Ok(()), Err(error)) => return Err(error),
        };
        if wanted.contains(&reply.status) {
            return Ok(reply);
        }
        Err(io::Error::other(format!("status {}: {}", reply.status, String::from_utf8_lossy(&message).trim())))
    }
}

fn same_names(got: Vec<&str>, after: &str, expected: &[String]) -> io::Result<()> {
    if got.iter().eq(expected.iter()) {
        return Ok(());
    }
    let (got, wanted) = (got.len(), expected.len());
    Err(io::Error::other(format!("after {after:?}: other names than are there ({got} came, {wanted} were expected)")))
}

/// Sends what is in the buffer, then the body and what ends it; small ones leave as one.
fn send(connection: &mut Connection, buffer: &mut Vec<u8>, upload: Option<(BodyReader, &str)>) -> io::Result<()> {
    if let Some((mut reader, end)) = upload {
        while reader.append_piece(buffer)? {
            if buffer.len() >= PIECE_BYTES {
                connection.send(buffer)?;
                buffer.clear();
            }
        }
        buffer.extend_from_slice(end.as_bytes());
    }
    connection.send(buffer)
}

#[cfg(test)]
mod tests;
