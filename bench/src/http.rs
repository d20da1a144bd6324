//! A lean HTTP/1.1 client over one keep-alive connection: on two cores every microsecond the client takes is one the servers
//! lack. Blocking, one thread per client; bodies pass through one reused buffer.
//!
//! What it keeps true:
//! - Small requests leave in one segment at once (TCP_NODELAY).
//! - A connection is used again only after a reply was read to its end and the server did not say `close`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::str::{self, FromStr};
use std::time::Duration;

/// How long a read or a write may make no progress.
const STALL_MAX: Duration = Duration::from_secs(120);
/// The longest reply head, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Length of the read buffer: the longest piece of a body given out at once.
const READ_BYTES: usize = 256 << 10;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port`, as connected to and as named in `Host`.
    pub authority: String,
}

impl Endpoint {
    /// A port of this machine.
    pub fn local(port: u16) -> Endpoint {
        Endpoint { authority: format!("127.0.0.1:{port}") }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(url: &str) -> Result<Endpoint, String> {
        let authority = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
        let port = authority.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>()));
        match port {
            Some(Ok(_)) if !authority.contains('/') => Ok(Endpoint { authority: authority.to_owned() }),
            _ => Err(format!("{url:?} is not http://HOST:PORT")),
        }
    }
}

/// A reply whose body has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// How many bytes of body came.
    pub body_bytes: u64,
    /// Whether the connection may carry another request.
    pub keep_alive: bool,
    /// What the server calls the object's state, with its quotes.
    pub etag: Option<String>,
}

/// What a reply's head says.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    framing: Framing,
    keep_alive: bool,
    etag: Option<String>,
}

/// How a reply's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Connection {
    /// Connects.
    pub fn open(endpoint: &Endpoint) -> io::Result<Connection> {
        let stream = TcpStream::connect(&endpoint.authority)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STALL_MAX))?;
        stream.set_write_timeout(Some(STALL_MAX))?;
        Ok(Connection { stream, buffer: vec![0; READ_BYTES], start: 0, end: 0 })
    }

    /// Sends bytes of a request: its head, its body, or both.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads one reply, giving its body out piece by piece with the status it came under.
    pub fn receive(&mut self, mut take: impl FnMut(u16, &[u8])) -> io::Result<Reply> {
        let Head { status, framing, keep_alive, etag } = self.receive_head()?;
        let mut body_bytes = 0;
        let mut take = |piece: &[u8]| {
            body_bytes += piece.len() as u64;
            take(status, piece);
        };
        match framing {
            Framing::Length(length) => self.receive_bytes(length, &mut take)?,
            Framing::Chunked => self.receive_chunks(&mut take)?,
        }
        Ok(Reply { status, body_bytes, keep_alive, etag })
    }

    fn receive_head(&mut self) -> io::Result<Head> {
        loop {
            let head = self.read_through(b"\r\n\r\n")?;
            let parsed =
                parse_head(str::from_utf8(&self.buffer[head]).map_err(|_| invalid("a head that is not text"))?)?;
            if parsed.status != 100 {
                return Ok(parsed);
            }
        }
    }

    fn receive_bytes(&mut self, length: u64, take: &mut impl FnMut(&[u8])) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            if self.start == self.end {
                self.fill()?;
            }
            let piece = &self.buffer[self.start..self.end];
            let piece = &piece[..piece.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            take(piece);
            left -= piece.len() as u64;
            self.start += piece.len();
        }
        Ok(())
    }

    fn receive_chunks(&mut self, take: &mut impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            let line = self.read_through(b"\r\n")?;
            let length = chunk_length(&self.buffer[line])?;
            if length == 0 {
                while self.read_through(b"\r\n")?.len() > 2 {}
                return Ok(());
            }
            self.receive_bytes(length, take)?;
            if self.read_through(b"\r\n")?.len() != 2 {
                return Err(invalid("a chunk longer than it said"));
            }
        }
    }

    /// Consumes the bytes up to and with `end`; they stay in the buffer until the next read.
    fn read_through(&mut self, end: &[u8]) -> io::Result<std::ops::Range<usize>> {
        loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some(at) = unread.windows(end.len()).position(|window| window == end) {
                let range = self.start..self.start + at + end.len();
                self.start = range.end;
                return Ok(range);
            }
            if unread.len() > HEAD_BYTES_MAX {
                return Err(invalid("a head that does not end"));
            }
            self.fill()?;
        }
    }

    /// Reads more, behind what is unread.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let length = self.stream.read(&mut self.buffer[self.end..])?;
        if length == 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        self.end += length;
        Ok(())
    }
}

/// One request with a small body, its reply collected: for questions beside the load.
pub fn call(endpoint: &Endpoint, method: &str, target: &str, headers: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let mut connection = Connection::open(endpoint)?;
    let mut request = head(method, target, endpoint, headers, body.len() as u64);
    request.extend_from_slice(body);
    connection.send(&request)?;
    let mut answer = Vec::new();
    let reply = connection.receive(|_, piece| answer.extend_from_slice(piece))?;
    Ok((reply.status, answer))
}

/// A request's head. `headers` are whole lines with their line ends.
pub fn head(method: &str, target: &str, endpoint: &Endpoint, headers: &str, body_bytes: u64) -> Vec<u8> {
    assert!(target.bytes().all(|byte| byte.is_ascii_graphic()), "a target is encoded by its maker");
    let host = &endpoint.authority;
    let length =
        if body_bytes == 0 && method != "POST" { String::new() } else { format!("content-length: {body_bytes}\r\n") };
    format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n{headers}{length}\r\n").into_bytes()
}

fn parse_head(head: &str) -> io::Result<Head> {
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let Some(status) = status else { return Err(invalid("not an HTTP/1.1 reply")) };
    let mut framing = None;
    let mut keep_alive = true;
    let mut etag = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            framing = Some(Framing::Length(value.parse().map_err(|_| invalid("a content-length that is no number"))?));
        } else if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            framing = Some(Framing::Chunked);
        } else if name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close") {
            keep_alive = false;
        } else if name.eq_ignore_ascii_case("etag") {
            etag = Some(value.to_owned());
        }
    }
    let bodiless = matches!(status, 100..=199 | 204 | 304);
    let framing = if bodiless { Some(Framing::Length(0)) } else { framing };
    let framing = framing.ok_or_else(|| invalid("a reply without a length"))?;
    Ok(Head { status, framing, keep_alive, etag })
}

fn chunk_length(line: &[u8]) -> io::Result<u64> {
    let text = str::from_utf8(line).ok().and_then(|line| line.trim_end().split(';').next());
    text.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).ok_or_else(|| invalid("a chunk without a length"))
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// A connection to a server that says these pieces, whatever it is asked, and closes.
    fn connection_to(replies: &'static [&'static str]) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::local(listener.local_addr().unwrap().port());
        thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            for piece in replies {
                stream.write_all(piece.as_bytes()).unwrap();
                thread::sleep(Duration::from_millis(5));
            }
        });
        Connection::open(&endpoint).unwrap()
    }

    fn body_of(connection: &mut Connection) -> io::Result<(Reply, String)> {
        let mut body = String::new();
        let reply = connection.receive(|_, piece| body.push_str(str::from_utf8(piece).unwrap()))?;
        Ok((reply, body))
    }

    #[test]
    fn replies_are_told_apart_wherever_they_are_cut() {
        let mut connection = connection_to(&[
            "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Le",
            "ngth: 5\r\n\r\nhel",
            "loHTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r",
            "\n",
        ]);
        let (reply, body) = body_of(&mut connection).unwrap();
        assert_eq!(
            (reply, body.as_str()),
            (Reply { status: 200, body_bytes: 5, keep_alive: true, etag: Some("\"e\"".to_owned()) }, "hello")
        );
        let (reply, body) = body_of(&mut connection).unwrap();
        assert_eq!((reply, body.as_str()), (Reply { status: 404, body_bytes: 0, keep_alive: false, etag: None }, ""));
        assert!(body_of(&mut connection).is_err());
    }

    #[test]
    fn chunked_replies_are_joined() {
        let mut connection = connection_to(&[
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab",
            "c\r\nA;x=y\r\n0123456789\r\n0\r\nt: 1\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        ]);
        assert_eq!(body_of(&mut connection).unwrap().1, "abc0123456789");
        assert_eq!(body_of(&mut connection).unwrap().0.status, 204);
    }

    #[test]
    fn what_is_not_http_is_an_error() {
        for text in ["SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"] {
            assert!(parse_head(text).is_err(), "{text:?}");
        }
        assert!(chunk_length(b"xyz\r\n").is_err());
    }

    #[test]
    fn endpoints_are_urls_with_a_port() {
        assert_eq!("http://127.0.0.1:8080/".parse(), Ok(Endpoint::local(8080)));
        for text in ["http://localhost", "localhost:x", "http://a:1/path", ":80"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
