//! A Loki that takes `POST /loki/api/v1/push` strictly: method, path, headers, snappy, and a protobuf without a field too many. It can
//! hang, refuse, and take again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How it behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Take,
    /// Takes the bytes and does not answer.
    Hang,
    Answer(&'static str),
}

/// A line that it took.
#[derive(Clone, Debug)]
pub struct Line {
    pub labels: String,
    pub line: String,
}

pub struct FakeLoki {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    mode: Mutex<Mode>,
    lines: Mutex<Vec<Line>>,
    refused: AtomicUsize,
}

impl FakeLoki {
    pub async fn start(mode: Mode) -> FakeLoki {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Shared { mode: Mutex::new(mode), lines: Mutex::default(), refused: AtomicUsize::new(0) };
        let shared = Arc::new(shared);
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        FakeLoki { url, shared }
    }

    pub fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    pub fn lines(&self) -> Vec<Line> {
        self.shared.lines.lock().unwrap().clone()
    }

    /// Pushes that it refused.
    pub fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::Relaxed)
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut request = Vec::new();
    let body = loop {
        let mut piece = vec![0; 64 << 10];
        let length = stream.read(&mut piece).await.unwrap();
        assert!(length > 0, "a push was cut short");
        request.extend_from_slice(&piece[..length]);
        if let Some(body) = whole(&request) {
            break body;
        }
    };
    let mode = *shared.mode.lock().unwrap();
    let status = match mode {
        Mode::Take => {
            let decoded = decode(body);
            shared.lines.lock().unwrap().extend(decoded);
            "204 No Content"
        }
        Mode::Hang => {
            // Until the other side has had enough.
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
            return;
        }
        Mode::Answer(status) => {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            status
        }
    };
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
}

/// The body, once all of it is there. Heads are checked.
fn whole(request: &[u8]) -> Option<&[u8]> {
    let end = request.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&request[..end]).unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("POST /loki/api/v1/push HTTP/1.1"));
    let header = |wanted: &str| head.lines().find_map(|line| line.strip_prefix(wanted));
    assert!(header("host: ").is_some(), "{head}");
    assert_eq!(header("content-type: "), Some("application/x-protobuf"));
    let length: usize = header("content-length: ").unwrap().parse().unwrap();
    let body = &request[end + 4..];
    assert!(body.len() <= length, "more than was announced");
    (body.len() == length).then_some(body)
}

/// A message's fields: number, then a number or bytes.
enum Field<'a> {
    Number(u64, u64),
    Bytes(u64, &'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (first, rest) = bytes.split_first().expect("a number ends");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        shift += 7;
        if first & 0x80 == 0 {
            return value;
        }
    }
}

fn fields(mut bytes: &[u8]) -> Vec<Field<'_>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        match tag & 7 {
            0 => found.push(Field::Number(tag >> 3, varint(&mut bytes))),
            2 => {
                let length = varint(&mut bytes) as usize;
                let (field, rest) = bytes.split_at(length);
                found.push(Field::Bytes(tag >> 3, field));
                bytes = rest;
            }
            kind => panic!("no field of a push has wire type {kind}"),
        }
    }
    found
}

fn decode(body: &[u8]) -> Vec<Line> {
    let request = snap::raw::Decoder::new().decompress_vec(body).expect("snappy, without frames");
    let mut lines = Vec::new();
    for stream in fields(&request) {
        let Field::Bytes(1, stream) = stream else { panic!("a push holds streams") };
        let mut labels = None;
        for field in fields(stream) {
            match field {
                Field::Bytes(1, text) => labels = Some(String::from_utf8(text.to_vec()).unwrap()),
                Field::Bytes(2, entry) => {
                    let labels = labels.clone().expect("labels come before entries");
                    lines.push(Line { labels, line: line_of(entry) });
                }
                _ => panic!("a stream holds labels and entries"),
            }
        }
    }
    lines
}

fn line_of(entry: &[u8]) -> String {
    let found = fields(entry);
    let [Field::Bytes(1, timestamp), Field::Bytes(2, line)] = found[..] else { panic!("an entry holds time and line") };
    let time = fields(timestamp);
    let [Field::Number(1, seconds), Field::Number(2, nanos)] = time[..] else {
        panic!("a time holds seconds and nanos")
    };
    assert!(seconds > 1_600_000_000 && nanos < 1_000_000_000, "{seconds} {nanos}");
    String::from_utf8(line.to_vec()).unwrap()
}
