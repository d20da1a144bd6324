//! One request to a node and its answer: deadlines, checksums, and errors sorted by what they say.

use super::call::{Call, Verb};
use super::connection::Connection;
use super::head::Head;
use super::pool::Pool;
use super::secure::Secured;
use crate::nodes::{Refused, home};
use bytes::Bytes;
use process::tls::ClientConfig;
use process::traces;
use protocol::{ClusterFile, DiskId, Error, ErrorKind, Result, SHARD_BYTES_MAX, routes};
use std::fmt::{self, Write};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};
use url::{Host, Position, Url};

/// How long a call may take that moves no bytes.
pub const DEADLINE_BASE: Duration = Duration::from_secs(2);
/// The slowest rate at which a call's bytes may move before it is given up.
pub const RATE_FLOOR_BYTES_PER_SECOND: u64 = 1 << 20;
/// How long a connection may take to be made.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// The longest answer taken, in bytes: a shard, or a page of a listing.
const ANSWER_BYTES_MAX: u64 = SHARD_BYTES_MAX as u64;
/// How much of an error's body is read.
const ERROR_BYTES_MAX: u64 = 4 << 10;
/// About the length of a request's head.
const HEAD_BYTES: usize = 512;

/// What every call of a cluster carries, as header lines.
#[derive(Clone)]
pub(super) struct Credentials {
    cluster: Arc<str>,
    secret: Arc<str>,
}

impl Credentials {
    pub(super) fn new(cluster: &ClusterFile) -> Result<Credentials> {
        if !is_printable(&cluster.secret) {
            return Err(Error::invalid("the cluster secret must be printable characters"));
        }
        let line = |name: &str, value: &str| format!("{name}: {value}\r\n").into();
        Ok(Credentials {
            cluster: line(routes::HEADER_CLUSTER, &cluster.cluster.to_string()),
            secret: line(routes::HEADER_SECRET, &cluster.secret),
        })
    }
}

/// Whether it can stand in a header.
fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// A node's good answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) body: Bytes,
    crc_of_body: u32,
    head: Head,
    from: Arc<str>,
}

impl Reply {
    /// `Corrupt` unless the body matches the checksum it came with.
    pub(super) fn check_crc(&self) -> Result<()> {
        let told = self.head.crc.ok_or_else(|| Error::corrupt(format!("{}: answer carries no CRC32", self.from)))?;
        if told != self.crc_of_body {
            let found = self.crc_of_body;
            return Err(Error::corrupt(format!("{}: CRC32 {found:08x}, its header says {told:08x}", self.from)));
        }
        Ok(())
    }
}

/// The way to one node.
pub(super) struct Wire {
    name: Arc<str>,
    host: String,
    port: u16,
    host_line: String,
    secured: Option<Secured>,
    credentials: Credentials,
    pool: Pool,
    runtime: Handle,
    /// The disk that the node named last. Calls carry it: a node that was started on another one meanwhile denies them.
    disk: RwLock<Option<DiskId>>,
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Wire {
    pub(super) fn new(
        url: &str,
        credentials: Credentials,
        trust: Option<Arc<ClientConfig>>,
        runtime: Handle,
    ) -> Result<Wire> {
        let base = Url::parse(url).map_err(|error| Error::invalid(format!("node URL {url:?}: {error}")))?;
        let plain = matches!(base.scheme(), "http" | "https") && base.path() == "/" && base.query().is_none();
        let host = match base.host() {
            Some(Host::Domain(name)) => Some(name.to_owned()),
            Some(Host::Ipv4(address)) => Some(address.to_string()),
            Some(Host::Ipv6(address)) => Some(address.to_string()),
            None => None,
        };
        let (Some(host), Some(port), true) = (host, base.port_or_known_default(), plain) else {
            return Err(Error::invalid(format!("node URL {url:?} must read like http://host:port")));
        };
        let secured = match base.scheme() {
            "https" => Some(Secured::new(url, &host, trust)?),
            _ => None,
        };
        let name = format!("node {}", base.as_str().trim_end_matches('/')).into();
        let host_line = format!("host: {}\r\n", &base[Position::BeforeHost..Position::AfterPort]);
        let (pool, disk) = (Pool::default(), RwLock::default());
        Ok(Wire { name, host, port, host_line, secured, credentials, pool, runtime, disk })
    }

    /// The node's base URL, for people.
    pub(super) fn url(&self) -> &str {
        self.name.trim_start_matches("node ")
    }

    /// Takes note of the disk that the node says it has.
    pub(super) fn note_disk(&self, disk: DiskId) {
        let mut known = self.disk.write().unwrap_or_else(PoisonError::into_inner);
        if *known != Some(disk) {
            *known = Some(disk);
        }
    }

    /// Sends a call and waits for its answer, within its deadline. Errors are sorted as the node sorted them.
    pub(super) async fn call(&self, call: Call) -> Result<Reply> {
        if home::here().is_some() {
            return self.exchange(call).await;
        }
        // Sockets must outlive the runtime of a thread that happens to make them.
        let mut answer = pin!(self.exchange(call));
        poll_fn(|context| {
            let _entered = self.runtime.enter();
            answer.as_mut().poll(context)
        })
        .await
    }

    async fn exchange(&self, call: Call) -> Result<Reply> {
        let sent_bytes: u64 = call.body.iter().map(|piece| piece.len() as u64).sum();
        let allowed = deadline(sent_bytes.saturating_add(call.work_bytes));
        let late =
            |allowed: Duration| Error::unavailable(format!("{self}: no answer within {} ms", allowed.as_millis()));
        // Whether the node is there at all is asked past those who wait for it.
        let _place = match call.open_to_all {
            true => None,
            false => Some(timeout(allowed, self.pool.place()).await.map_err(|_| late(allowed))?),
        };
        // The wait for other calls is none of the node's: what it takes counts from here.
        let began = Instant::now();
        let asked = timeout_at(began + allowed, self.send(&call));
        let (mut connection, head) = asked.await.map_err(|_| late(allowed))??;
        let limit = if head.is_success() { ANSWER_BYTES_MAX } else { ERROR_BYTES_MAX };
        let allowed = allowed + deadline(head.length.unwrap_or(limit).min(limit)) - DEADLINE_BASE;
        let collected = timeout_at(began + allowed, self.collect(&mut connection, &head, limit)).await;
        if !matches!(collected, Ok(Ok(_))) {
            drop(connection);
        } else {
            self.pool.give_back(connection);
        }
        if !head.is_success() {
            let text = collected.ok().and_then(Result::ok).map(|(body, _)| body).unwrap_or_default();
            return Err(self.refusal(&head, &text));
        }
        let (body, crc) = collected.map_err(|_| late(allowed))??;
        Ok(self.reply(head, body, crc))
    }

    fn reply(&self, head: Head, body: Bytes, crc_of_body: u32) -> Reply {
        Reply { body, crc_of_body, head, from: Arc::clone(&self.name) }
    }

    /// Sends once, and once more if the connection broke: every call may be repeated, and a kept connection may have been closed
    /// by the node in the moment it was used.
    async fn send(&self, call: &Call) -> Result<(Connection, Head)> {
        let head = self.request_head(call);
        let mut pieces = Vec::with_capacity(1 + call.body.len());
        pieces.push(head.as_bytes());
        pieces.extend(call.body.iter().map(|piece| &piece[..]));
        let mut first = match self.pool.take() {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        if let Ok(head) = first.ask(&pieces).await {
            return Ok((first, head));
        }
        self.pool.clear();
        let mut second = self.connect().await?;
        let head = second.ask(&pieces).await;
        let head = head.map_err(|error| Error::unavailable(format!("{self}: connection broke: {error}")))?;
        Ok((second, head))
    }

    async fn connect(&self) -> Result<Connection> {
        match timeout(CONNECT_TIMEOUT, Connection::open(&self.host, self.port, self.secured.as_ref())).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Err(Error::caused(ErrorKind::Unavailable, format!("{self}: {Refused}"), Refused))
            }
            Ok(Err(error)) => Err(Error::unavailable(format!("{self}: cannot connect: {error}"))),
            Err(_) => {
                let ms = CONNECT_TIMEOUT.as_millis();
                Err(Error::unavailable(format!("{self}: cannot connect: no answer within {ms} ms")))
            }
        }
    }

    /// The head of the request, with its length. Paths, queries and ids are ours and plain; a request's own id that is not is
    /// left out.
    fn request_head(&self, call: &Call) -> String {
        let mut head = String::with_capacity(HEAD_BYTES);
        head.push_str(call.verb.as_str());
        head.push(' ');
        head.push_str(&call.path);
        if let Some(query) = &call.query {
            head.push('?');
            head.push_str(query);
        }
        head.push_str(" HTTP/1.1\r\n");
        head.push_str(&self.host_line);
        head.push_str(&self.credentials.cluster);
        let mut line = |name: &str, value: fmt::Arguments<'_>| {
            write!(head, "{name}: {value}\r\n").expect("a String takes all that is written");
        };
        if let Some(place) = &call.origin.traceparent {
            line(traces::TRACEPARENT, format_args!("{place}"));
        }
        if let Some(ids) = call.origin.requests.as_deref().filter(|ids| is_printable(ids)) {
            line(routes::HEADER_REQUEST, format_args!("{ids}"));
        }
        if let Some(crc) = call.crc {
            line(routes::HEADER_CRC, format_args!("{}", routes::crc_to_text(crc)));
        }
        if matches!(call.verb, Verb::Put | Verb::Post) {
            let length: usize = call.body.iter().map(Bytes::len).sum();
            line("content-length", format_args!("{length}"));
        }
        if !call.open_to_all {
            let disk = *self.disk.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(disk) = disk.filter(|_| call.for_disk) {
                line(routes::HEADER_DISK, format_args!("{disk}"));
            }
            head.push_str(&self.credentials.secret);
        }
        head.push_str("\r\n");
        head
    }

    /// The whole body and its checksum.
    async fn collect(&self, connection: &mut Connection, head: &Head, limit: u64) -> Result<(Bytes, u32)> {
        let length = head.length.ok_or_else(|| Error::unavailable(format!("{self}: answer tells no length")))?;
        if length > limit {
            return Err(Error::unavailable(format!("{self}: answer of {length} bytes, at most {limit} are taken")));
        }
        let body = connection.read_body(length as usize).await;
        body.map_err(|error| Error::unavailable(format!("{self}: connection broke: {error}")))
    }

    /// The error that the node answered.
    fn refusal(&self, head: &Head, body: &[u8]) -> Error {
        let kind = head.error.unwrap_or(match head.status {
            404 => ErrorKind::NotFound,
            409 => ErrorKind::Conflict,
            401 | 403 => ErrorKind::Denied,
            507 => ErrorKind::Full,
            400..=499 => ErrorKind::Invalid,
            _ => ErrorKind::Unavailable,
        });
        let told: Option<serde_json::Value> = serde_json::from_slice(body).ok();
        match told.as_ref().and_then(|told| told.get("error")?.as_str()) {
            Some(told) => Error::new(kind, format!("{self}: {told}")),
            None => Error::new(kind, format!("{self}: status {}", head.status)),
        }
    }
}

/// How long a call may take that moves this many bytes.
pub(super) fn deadline(bytes: u64) -> Duration {
    DEADLINE_BASE + Duration::from_millis(bytes.saturating_mul(1000) / RATE_FLOOR_BYTES_PER_SECOND)
}
