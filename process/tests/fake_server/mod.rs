//! A server that keeps what is posted to it, whole, for the test to decode. It can hang, refuse, and take again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How it behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "the tests of Loki and of traces each meet some of them")]
pub enum Mode {
    Take,
    /// Takes the bytes and does not answer.
    Hang,
    /// Answers that it is ready, and then does not answer what is posted.
    HangPosts,
    /// Answers every request so.
    Answer(&'static str),
    /// Answers so what is posted, and is ready for more.
    Refuse(&'static str),
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// The only header of that name.
    pub fn header(&self, wanted: &str) -> &str {
        let found: Vec<&str> =
            self.headers.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_str()).collect();
        let [value] = found[..] else { panic!("{wanted}: {found:?}") };
        value
    }
}

pub struct FakeServer {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    mode: Mutex<Mode>,
    taken: Mutex<Vec<Request>>,
    refused: AtomicUsize,
}

impl FakeServer {
    pub async fn start(mode: Mode) -> FakeServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared { mode: Mutex::new(mode), taken: Mutex::default(), refused: AtomicUsize::new(0) });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        FakeServer { url, shared }
    }

    pub fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// The posts that it took.
    pub fn taken(&self) -> Vec<Request> {
        self.shared.taken.lock().unwrap().clone()
    }

    /// Requests that it refused.
    pub fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::Relaxed)
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut bytes = Vec::new();
    let request = loop {
        if let Some(request) = whole(&bytes) {
            break request;
        }
        let mut piece = vec![0; 64 << 10];
        match stream.read(&mut piece).await {
            Ok(length) if length > 0 => bytes.extend_from_slice(&piece[..length]),
            _ => return,
        }
    };
    let is_post = request.line.starts_with("POST ");
    let mode = *shared.mode.lock().unwrap();
    let status = match mode {
        Mode::Take if is_post => {
            shared.taken.lock().unwrap().push(request);
            "204 No Content"
        }
        Mode::Take => "200 OK",
        Mode::HangPosts | Mode::Refuse(_) if !is_post => "200 OK",
        Mode::Hang | Mode::HangPosts => {
            // Until the other side has had enough.
            stream.read_exact(&mut [0; 1]).await.ok();
            return;
        }
        Mode::Answer(status) | Mode::Refuse(status) => {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            status
        }
    };
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    // Whoever asked may have gone.
    stream.write_all(answer.as_bytes()).await.ok();
}

/// The request, once all of it is there.
fn whole(bytes: &[u8]) -> Option<Request> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.lines();
    let line = lines.next().unwrap().to_owned();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, text)| text.parse().unwrap());
    let body = &bytes[end + 4..];
    (body.len() >= length).then(|| Request { line, headers, body: body.to_vec() })
}
