//! How operations are spelled for a server: the file dialect of contract A8–A11 now; an S3 endpoint would be one variant more.
//!
//! What it keeps true:
//! - An operation counts only if the server said yes and, for a get, its bytes are those that were put.

use crate::body::{Body, BodyReader, PIECE_BYTES, Random, Verify};
use crate::http::{Connection, Endpoint, Reply, head};
use std::io;

/// Separates the fields of a form. Bodies are random, so it never occurs in one.
const BOUNDARY: &str = "holdfast-bench-7d1c5e0b9a3f4826";
/// How much of an error reply is kept.
const MESSAGE_BYTES_MAX: usize = 300;

/// The dialect, and where it is spoken.
#[derive(Clone, Debug)]
pub enum Driver {
    /// `POST /upload`, `GET /download`.
    Native(Endpoint),
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
    connection: Option<Connection>,
    buffer: Vec<u8>,
}

impl Session {
    /// A client that is not yet connected.
    pub fn new(driver: Driver) -> Session {
        Session { driver, connection: None, buffer: Vec::with_capacity(2 * PIECE_BYTES) }
    }

    /// Stores a body under a name.
    pub fn put(&mut self, name: &str, body: &Body) -> io::Result<()> {
        let Driver::Native(endpoint) = &self.driver;
        let form = form_start(Some(name), Some(name));
        self.buffer = upload_head(endpoint, form.len() as u64 + body.length_bytes(), &form);
        self.exchange(Some(body.open()?), &[200, 201], |_| ())?;
        Ok(())
    }

    /// Reads what is stored under a name and compares it with what was put.
    pub fn get(&mut self, name: &str, expected: Random, verify: Verify) -> io::Result<()> {
        let mut offset = 0;
        let mut same = true;
        self.download(&format!("filename={}", plain(name)), 200, |piece| {
            same &= expected.matches(offset, piece, verify);
            offset += piece.len() as u64;
        })?;
        if offset != expected.length_bytes || !same {
            let put = expected.length_bytes;
            return Err(io::Error::other(format!("{name}: other bytes than were put ({offset} of {put} came)")));
        }
        Ok(())
    }

    /// Sends a request that must be refused; an error unless it is, and as it should be.
    pub fn refuse(&mut self, bad: BadRequest) -> io::Result<()> {
        let Driver::Native(endpoint) = &self.driver;
        let form = match bad {
            BadRequest::MissingFile => return self.download("filename=bench-never-stored", bad.status(), |_| ()),
            BadRequest::BadVersion => return self.download("filename=bench&version=one", bad.status(), |_| ()),
            BadRequest::NoFile => form_start(Some("bench"), None),
            BadRequest::EmptyName => form_start(Some(""), Some("bench")),
        };
        self.buffer = upload_head(endpoint, form.len() as u64, &form);
        let nothing = Body::Random(Random { seed: 0, length_bytes: 0 }).open()?;
        self.exchange(Some(nothing), &[bad.status()], |_| ())?;
        Ok(())
    }

    fn download(&mut self, query: &str, status: u16, take: impl FnMut(&[u8])) -> io::Result<()> {
        let Driver::Native(endpoint) = &self.driver;
        self.buffer = head("GET", &format!("/download?{query}"), endpoint, "", 0);
        self.exchange(None, &[status], take)?;
        Ok(())
    }

    /// Sends the request begun in the buffer and reads its reply. A status that is not wanted is an error that quotes it.
    fn exchange(
        &mut self,
        upload: Option<BodyReader>,
        wanted: &[u16],
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<Reply> {
        let Driver::Native(endpoint) = &self.driver;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(endpoint)?,
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

/// Sends what is in the buffer, then the file and the end of the form; small ones leave as one.
fn send(connection: &mut Connection, buffer: &mut Vec<u8>, upload: Option<BodyReader>) -> io::Result<()> {
    if let Some(mut reader) = upload {
        while reader.append_piece(buffer)? {
            if buffer.len() >= PIECE_BYTES {
                connection.send(buffer)?;
                buffer.clear();
            }
        }
        buffer.extend_from_slice(form_end().as_bytes());
    }
    connection.send(buffer)
}

/// An upload's head and the beginning of its form; file and end of the form follow.
fn upload_head(endpoint: &Endpoint, form_bytes: u64, form: &str) -> Vec<u8> {
    let content_type = format!("content-type: multipart/form-data; boundary={BOUNDARY}\r\n");
    let mut request = head("POST", "/upload", endpoint, &content_type, form_bytes + form_end().len() as u64);
    request.extend_from_slice(form.as_bytes());
    request
}

/// The form up to the file's first byte: the `filename` field, then the part that carries the file, where there are such.
fn form_start(name: Option<&str>, file: Option<&str>) -> String {
    let mut form = String::new();
    if let Some(name) = name {
        form += &format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"filename\"\r\n\r\n{}", plain(name));
    }
    if let Some(file) = file {
        let file = plain(file);
        form += &format!(
            "\r\n--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{file}\"\r\n\
             content-type: application/octet-stream\r\n\r\n"
        );
    }
    form
}

fn form_end() -> String {
    format!("\r\n--{BOUNDARY}--\r\n")
}

/// A name that stands for itself in a URL and in a form.
fn plain(name: &str) -> &str {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    assert!(name.bytes().all(is_plain), "bench makes plain names, not {name:?}");
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    /// A server for one connection that answers each request, of the length given, with the reply beside it, and hands
    /// back what it was sent.
    fn server(exchanges: Vec<(usize, String)>) -> (Driver, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let driver = Driver::Native(Endpoint::local(listener.local_addr().unwrap().port()));
        let server = thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut requests = Vec::new();
            for (length, reply) in exchanges {
                let mut request = vec![0; length];
                stream.read_exact(&mut request).unwrap();
                requests.push(String::from_utf8_lossy(&request).into_owned());
                stream.write_all(reply.as_bytes()).unwrap();
            }
            requests
        });
        (driver, server)
    }

    fn reply(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    fn request_bytes(driver: &Driver, form: &str, file_bytes: usize) -> usize {
        let Driver::Native(endpoint) = driver;
        upload_head(endpoint, (form.len() + file_bytes) as u64, form).len() + file_bytes + form_end().len()
    }

    #[test]
    fn an_upload_is_a_form_whose_length_is_what_its_head_says() {
        let length =
            request_bytes(&Driver::Native(Endpoint::local(10_000)), &form_start(Some("a"), Some("a")), 300_000);
        let (driver, server) = server(vec![(length, reply("201 Created", "{}"))]);
        let Driver::Native(Endpoint { authority }) = &driver;
        assert_eq!(authority.len(), "127.0.0.1:10000".len(), "the length above counts on a port of five digits");
        let body = Body::Random(Random { seed: 1, length_bytes: 300_000 });
        Session::new(driver).put("a", &body).unwrap();
        let request = server.join().unwrap().remove(0);
        let (head, form) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /upload HTTP/1.1\r\nhost: 127.0.0.1:"));
        let stated: usize = head.rsplit_once("content-length: ").unwrap().1.parse().unwrap();
        assert_eq!(stated, length - head.len() - 4);
        assert!(form.starts_with(&form_start(Some("a"), Some("a"))));
        assert!(form.ends_with(&form_end()));
    }

    #[test]
    fn a_form_is_spelled_as_rfc_7578_says() {
        let expected = "--B\r\ncontent-disposition: form-data; name=\"filename\"\r\n\r\nx.bin\r\n\
             --B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"x.bin\"\r\n\
             content-type: application/octet-stream\r\n\r\n";
        assert_eq!(form_start(Some("x.bin"), Some("x.bin")), expected.replace("--B", &format!("--{BOUNDARY}")));
    }

    #[test]
    fn other_bytes_than_were_put_are_an_error() {
        let expected = Random { seed: 1, length_bytes: 5 };
        for (body, good) in [("five!", false), ("more than five", false)] {
            let length = head("GET", "/download?filename=a", &Endpoint::local(10_000), "", 0).len();
            let (driver, _server) = server(vec![(length, reply("200 OK", body))]);
            assert_eq!(Session::new(driver).get("a", expected, Verify::Full).is_ok(), good);
        }
    }

    #[test]
    fn a_refusal_is_quoted_and_the_connection_goes_on() {
        let get = head("GET", "/download?filename=a", &Endpoint::local(10_000), "", 0).len();
        let missing = head("GET", "/download?filename=bench-never-stored", &Endpoint::local(10_000), "", 0).len();
        let (driver, server) = server(vec![
            (get, reply("503 Service Unavailable", "two nodes are down")),
            (missing, reply("404 Not Found", "{}")),
            (missing, reply("200 OK", "")),
        ]);
        let mut session = Session::new(driver);
        let nothing = Random { seed: 1, length_bytes: 0 };
        let error = session.get("a", nothing, Verify::Sampled).unwrap_err();
        assert_eq!(error.to_string(), "status 503: two nodes are down");
        session.refuse(BadRequest::MissingFile).unwrap();
        assert!(session.refuse(BadRequest::MissingFile).is_err(), "what must be refused was not");
        server.join().unwrap();
    }
}
