//! Bare TCP, for requests that no client library would send.

use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer is waited for.
const ANSWER_WAIT: Duration = Duration::from_secs(20);
/// Heads longer than this are not expected.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A connection to a server.
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub struct RawReply {
    /// Its status.
    pub status: u16,
    /// Its head, without the empty line.
    pub head: String,
    /// Its body: as long as announced, or up to the end of the connection.
    pub body: Vec<u8>,
}

impl RawConnection {
    /// Connects to a port of this machine.
    pub async fn open(port: u16) -> RawConnection {
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        RawConnection { stream: stream.unwrap_or_else(|error| panic!("cannot connect to port {port}: {error}")) }
    }

    /// Sends bytes; a server that hung up already is not an error, as its answer tells.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.ok();
    }

    /// Sends bytes; false if the server has hung up.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// The next answer; `None` if the connection ends without one.
    pub async fn reply(&mut self) -> Option<RawReply> {
        let head = self.head().await?;
        let status = status_of(&head);
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let mut body = Vec::new();
        let mut whole = (&mut self.stream).take(length.unwrap_or(usize::MAX) as u64);
        let read = timeout(ANSWER_WAIT, whole.read_to_end(&mut body)).await.expect("a body comes in time");
        if let (Err(error), Some(length)) = (read, length) {
            panic!("{} of {length} bytes of a body came: {error}", body.len());
        }
        Some(RawReply { status, head, body })
    }

    /// The answer to a HEAD, which has no body whatever length it tells.
    pub async fn head_reply(&mut self) -> RawReply {
        let head = self.head().await.expect("a request is answered before the connection is closed");
        RawReply { status: status_of(&head), head, body: Vec::new() }
    }

    /// Whether the server hangs up within the bound, whatever it sends before.
    pub async fn hangs_up(&mut self, within: Duration) -> bool {
        self.rest(within).await.is_some()
    }

    /// How many bytes come until the server hangs up; `None` if it does not within the bound.
    pub async fn rest(&mut self, within: Duration) -> Option<usize> {
        let mut rest = Vec::new();
        // A reset ends it as well, and leaves what had come.
        timeout(within, self.stream.read_to_end(&mut rest)).await.ok().map(|_| rest.len())
    }

    async fn head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = timeout(ANSWER_WAIT, self.stream.read_u8()).await.expect("an answer comes in time");
            match byte {
                Ok(byte) => head.push(byte),
                Err(_) if head.is_empty() => return None,
                Err(error) => panic!("a head broke off: {error}: {}", String::from_utf8_lossy(&head)),
            }
            assert!(head.len() < HEAD_BYTES_MAX, "a head without end");
        }
        head.truncate(head.len() - 4);
        Some(String::from_utf8_lossy(&head).into_owned())
    }
}

fn status_of(head: &str) -> u16 {
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("not an HTTP answer: {head}"))
}

impl RawReply {
    /// Sends one request on a connection of its own.
    pub async fn to(port: u16, request: impl AsRef<[u8]>) -> RawReply {
        let mut connection = RawConnection::open(port).await;
        connection.send(request).await;
        connection.reply().await.expect("a request is answered before the connection is closed")
    }
}
