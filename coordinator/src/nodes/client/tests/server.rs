//! A server of a hundred lines that answers as a test says, and remembers what it was asked.

use bytes::Bytes;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) path: String,
    pub(super) body: Bytes,
    headers: HashMap<String, String>,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

pub(super) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    /// Send this many bytes of the body and stall.
    cut: Option<usize>,
    hang_up: bool,
}

impl Answer {
    pub(super) fn ok(body: Bytes) -> Answer {
        Answer { status: 200, headers: Vec::new(), body, cut: None, hang_up: false }
    }

    pub(super) fn status(status: u16) -> Answer {
        Answer { status, ..Answer::ok(Bytes::new()) }
    }

    pub(super) fn error(status: u16, kind: &str, text: &str) -> Answer {
        let body = format!("{{\"error\":{text:?}}}").into();
        Answer { status, ..Answer::ok(body) }.header(protocol::routes::HEADER_ERROR, kind)
    }

    /// Closes the connection instead of answering.
    pub(super) fn hang_up() -> Answer {
        Answer { hang_up: true, ..Answer::ok(Bytes::new()) }
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn cut_after(self, bytes: usize) -> Answer {
        Answer { cut: Some(bytes), ..self }
    }
}

pub(super) struct Server {
    pub(super) url: String,
    seen: Arc<Seen>,
    _tasks: TaskTracker,
}

#[derive(Default)]
struct Seen {
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
}

impl Server {
    /// One that answers each request when a permit is there, as many as it is given and, at first, so many.
    pub(super) async fn gated(
        permits: usize,
        answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> (Server, Arc<Semaphore>) {
        let (gate, answer) = (Arc::new(Semaphore::new(permits)), Arc::new(answer));
        let held = Arc::clone(&gate);
        let start = Server::start(move |asked| {
            let (held, answer) = (Arc::clone(&held), Arc::clone(&answer));
            async move {
                held.acquire().await.unwrap().forget();
                answer(&asked)
            }
        });
        (start.await, gate)
    }

    pub(super) async fn start<F, A>(answer: F) -> Server
    where
        F: Fn(Asked) -> A + Send + Sync + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (seen, tasks, answer) = (Arc::new(Seen::default()), TaskTracker::new(), Arc::new(answer));
        let (told, tracked) = (Arc::clone(&seen), tasks.clone());
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                told.connections.fetch_add(1, Ordering::SeqCst);
                tracked.spawn(serve(stream, Arc::clone(&told), Arc::clone(&answer)));
            }
        });
        Server { url, seen, _tasks: tasks }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.seen.asked.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(super) async fn wait_for(&self, count: usize) {
        for _ in 0..1000 {
            if self.asked().len() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("{} of {count} requests came", self.asked().len());
    }
}

async fn serve<F, A>(mut stream: TcpStream, seen: Arc<Seen>, answer: Arc<F>)
where
    F: Fn(Asked) -> A,
    A: Future<Output = Answer>,
{
    let mut buffer = Vec::new();
    while let Some(asked) = read_request(&mut stream, &mut buffer).await {
        seen.asked.lock().unwrap().push(asked.clone());
        let answer = answer(asked).await;
        if answer.hang_up {
            return;
        }
        let mut head = format!("HTTP/1.1 {} X\r\ncontent-length: {}\r\n", answer.status, answer.body.len());
        for (name, value) in &answer.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let sent = answer.cut.unwrap_or(answer.body.len());
        if stream.write_all(head.as_bytes()).await.is_err() || stream.write_all(&answer.body[..sent]).await.is_err() {
            return;
        }
        if answer.cut.is_some() {
            std::future::pending::<()>().await;
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Asked> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer.drain(..end).collect()).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let (method, target) = (first.next().unwrap().to_owned(), first.next().unwrap().to_owned());
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer.drain(..length).collect::<Vec<u8>>().into();
    let path = target.split('?').next().unwrap().to_owned();
    Some(Asked { method, target, path, body, headers })
}
