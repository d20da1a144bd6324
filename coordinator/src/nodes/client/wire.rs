//! One request to a node and its answer: deadlines, checksums, and errors sorted by what they say.

use crate::nodes::{Refused, request_id};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use protocol::{
    ByteRange, ClusterFile, DiskId, Error, ErrorKind, FRAME_HEADER_BYTES, PutOutcome, Result, SHARD_BYTES_MAX, Shard,
    decode_outcomes, encode_frame_header, routes,
};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Body, Client, Method, Request, Response, StatusCode, Url};
use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem::take;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

/// How long a call may take that moves no bytes.
pub const DEADLINE_BASE: Duration = Duration::from_secs(2);
/// The slowest rate at which a call's bytes may move before it is given up.
pub const RATE_FLOOR_BYTES_PER_SECOND: u64 = 1 << 20;
/// How long a connection may take to be made.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// How many idle connections are kept to each node.
const IDLE_CONNECTIONS_MAX: usize = 64;
/// Shards up to this size are copied into a batch's body: that costs less than writing them as pieces of their own.
const COPIED_BYTES_MAX: usize = 16 << 10;
/// The longest answer taken, in bytes: a shard, or a page of a listing.
const ANSWER_BYTES_MAX: u64 = SHARD_BYTES_MAX as u64;
/// How much of an error's body is read.
const ERROR_BYTES_MAX: u64 = 4 << 10;

const SECRET: HeaderName = HeaderName::from_static(routes::HEADER_SECRET);
const CLUSTER: HeaderName = HeaderName::from_static(routes::HEADER_CLUSTER);
const DISK: HeaderName = HeaderName::from_static(routes::HEADER_DISK);
const CRC: HeaderName = HeaderName::from_static(routes::HEADER_CRC);
const REQUEST: HeaderName = HeaderName::from_static(routes::HEADER_REQUEST);

/// The pooled client and what every call carries.
#[derive(Clone)]
pub(super) struct Pool {
    http: Client,
    secret: HeaderValue,
    cluster: HeaderValue,
}

impl Pool {
    pub(super) fn new(cluster: &ClusterFile) -> Result<Pool> {
        let http = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build()
            .map_err(|error| Error::caused(ErrorKind::Invalid, "the HTTP client cannot be set up", error))?;
        let mut secret = HeaderValue::from_str(&cluster.secret)
            .map_err(|_| Error::invalid("the cluster secret must be printable characters"))?;
        secret.set_sensitive(true);
        let cluster = HeaderValue::from_str(&cluster.cluster.to_string()).expect("a uuid is a header value");
        Ok(Pool { http, secret, cluster })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Head,
    Put,
    Post,
}

/// What to ask of a node.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) verb: Verb,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) range: Option<ByteRange>,
    pub(super) crc: Option<u32>,
    /// The body in pieces, sent without copying them.
    pub(super) body: Vec<Bytes>,
    /// Bytes the node moves for this call besides those of body and answer; they lengthen the deadline.
    pub(super) work_bytes: u64,
    /// Client requests this call serves, comma-separated.
    pub(super) requests: Option<String>,
    /// Sent without the cluster's secret.
    pub(super) open_to_all: bool,
}

impl Call {
    pub(super) fn new(verb: Verb, path: String) -> Call {
        let requests = request_id::current().map(|id| id.to_string());
        let (query, range, crc, body) = (None, None, None, Vec::new());
        Call { verb, path, query, range, crc, body, work_bytes: 0, requests, open_to_all: false }
    }
}

/// A node's good answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) body: Bytes,
    crc_of_body: u32,
    headers: HeaderMap,
    from: Arc<str>,
}

impl Reply {
    /// `Corrupt` unless the body matches the checksum it came with.
    pub(super) fn check_crc(&self) -> Result<()> {
        let told = self.told_crc()?;
        if told != self.crc_of_body {
            let found = self.crc_of_body;
            return Err(Error::corrupt(format!("{}: CRC32 {found:08x}, its header says {told:08x}", self.from)));
        }
        Ok(())
    }

    /// Length and checksum by the headers, for an answer without a body.
    pub(super) fn length_and_crc(&self) -> Result<(u32, u32)> {
        let length = self.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let length = length.ok_or_else(|| Error::unavailable(format!("{}: answer tells no length", self.from)))?;
        Ok((length, self.told_crc()?))
    }

    fn told_crc(&self) -> Result<u32> {
        let told = self.headers.get(CRC).and_then(|value| routes::crc_from_text(value.to_str().ok()?));
        told.ok_or_else(|| Error::corrupt(format!("{}: answer carries no CRC32", self.from)))
    }
}

/// The way to one node.
pub(super) struct Wire {
    base: Url,
    name: Arc<str>,
    pool: Pool,
    runtime: Handle,
    /// The disk that the node named last. Calls carry it: a node that was started on another one meanwhile denies them.
    disk: RwLock<Option<HeaderValue>>,
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Wire {
    pub(super) fn new(url: &str, pool: Pool, runtime: Handle) -> Result<Wire> {
        let base = Url::parse(url).map_err(|error| Error::invalid(format!("node URL {url:?}: {error}")))?;
        if base.scheme() != "http" || !base.has_host() || base.path() != "/" || base.query().is_some() {
            return Err(Error::invalid(format!("node URL {url:?} must read like http://host:port")));
        }
        let name = format!("node {}", base.as_str().trim_end_matches('/'));
        Ok(Wire { base, name: name.into(), pool, runtime, disk: RwLock::default() })
    }

    /// Takes note of the disk that the node says it has.
    pub(super) fn note_disk(&self, disk: DiskId) {
        let value = HeaderValue::from_str(&disk.to_string()).expect("a uuid is a header value");
        let mut known = self.disk.write().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref() != Some(&value) {
            *known = Some(value);
        }
    }

    /// Stores shards in one request. An `Err` says nothing of any of them.
    pub(super) async fn put(&self, shards: &[Shard], requests: Option<&str>) -> Result<Vec<PutOutcome>> {
        let requests = requests.map(str::to_owned);
        if let [shard] = shards {
            return self.put_one(shard, requests).await;
        }
        let mut call = Call { requests, ..Call::new(Verb::Post, routes::SHARDS_BATCH.to_owned()) };
        call.body = frame(shards);
        let reply = self.call(call).await?;
        decode_outcomes(&reply.body, shards.len())
    }

    async fn put_one(&self, shard: &Shard, requests: Option<String>) -> Result<Vec<PutOutcome>> {
        let mut call = Call { requests, ..Call::new(Verb::Put, format!("{}/{}", routes::SHARDS, shard.id)) };
        call.crc = Some(shard.crc);
        call.body = vec![shard.data.clone()];
        match self.call(call).await {
            Ok(_) => Ok(vec![Ok(())]),
            Err(error) => match error.kind {
                ErrorKind::Conflict | ErrorKind::Full | ErrorKind::Corrupt | ErrorKind::Invalid => {
                    Ok(vec![Err(error.kind)])
                }
                ErrorKind::NotFound | ErrorKind::Denied | ErrorKind::Unavailable | ErrorKind::Unknown => Err(error),
            },
        }
    }

    /// Sends a call and waits for its answer, within its deadline. Errors are sorted as the node sorted them.
    pub(super) async fn call(&self, call: Call) -> Result<Reply> {
        // Sockets and connection tasks must outlive the runtime of an HTTP worker that happens to make them.
        let mut answer = pin!(self.exchange(call));
        poll_fn(|context| {
            let _entered = self.runtime.enter();
            answer.as_mut().poll(context)
        })
        .await
    }

    async fn exchange(&self, call: Call) -> Result<Reply> {
        let began = Instant::now();
        let sent_bytes: u64 = call.body.iter().map(|piece| piece.len() as u64).sum();
        let allowed = deadline(sent_bytes.saturating_add(call.work_bytes));
        let late =
            |allowed: Duration| Error::unavailable(format!("{self}: no answer within {} ms", allowed.as_millis()));
        let mut response = timeout_at(began + allowed, self.send(&call)).await.map_err(|_| late(allowed))??;
        let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if call.verb == Verb::Head && response.status().is_success() {
            return Ok(self.reply(take(response.headers_mut()), Bytes::new(), 0));
        }
        let limit = if response.status().is_success() { ANSWER_BYTES_MAX } else { ERROR_BYTES_MAX };
        let allowed = allowed + deadline(length.unwrap_or(limit).min(limit)) - DEADLINE_BASE;
        let (status, headers) = (response.status(), take(response.headers_mut()));
        let collected = timeout_at(began + allowed, self.collect(response, length, limit)).await;
        if !status.is_success() {
            let text = collected.ok().and_then(Result::ok).map(|(body, _)| body).unwrap_or_default();
            return Err(self.refusal(status, &headers, &text));
        }
        let (body, crc) = collected.map_err(|_| late(allowed))??;
        Ok(self.reply(headers, body, crc))
    }

    fn reply(&self, headers: HeaderMap, body: Bytes, crc_of_body: u32) -> Reply {
        Reply { body, crc_of_body, headers, from: Arc::clone(&self.name) }
    }

    /// Sends once, and once more if the connection broke: every call may be repeated, and a kept connection may have been closed
    /// by the node in the moment it was used.
    async fn send(&self, call: &Call) -> Result<Response> {
        let first = self.pool.http.execute(self.request(call)).await;
        let result = match first {
            Err(error) if !error.is_connect() && !error.is_timeout() && !error.is_builder() => {
                self.pool.http.execute(self.request(call)).await
            }
            result => result,
        };
        result.map_err(|error| self.unanswered(&error))
    }

    fn request(&self, call: &Call) -> Request {
        let mut url = self.base.clone();
        url.set_path(&call.path);
        url.set_query(call.query.as_deref());
        let method = match call.verb {
            Verb::Get => Method::GET,
            Verb::Head => Method::HEAD,
            Verb::Put => Method::PUT,
            Verb::Post => Method::POST,
        };
        let mut request = Request::new(method, url);
        let headers = request.headers_mut();
        headers.insert(CLUSTER, self.pool.cluster.clone());
        if !call.open_to_all {
            headers.insert(SECRET, self.pool.secret.clone());
            if let Some(disk) = &*self.disk.read().unwrap_or_else(PoisonError::into_inner) {
                headers.insert(DISK, disk.clone());
            }
        }
        if let Some(value) = call.requests.as_deref().and_then(|ids| HeaderValue::from_str(ids).ok()) {
            headers.insert(REQUEST, value);
        }
        if let Some(crc) = call.crc {
            headers.insert(CRC, HeaderValue::from_str(&routes::crc_to_text(crc)).expect("hex digits"));
        }
        if let Some(range) = &call.range {
            let text = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
            headers.insert(RANGE, HeaderValue::from_str(&text).expect("digits"));
        }
        match call.body.as_slice() {
            [] if call.verb == Verb::Get || call.verb == Verb::Head => {}
            [] => *request.body_mut() = Some(Body::from(Bytes::new())),
            [whole] => *request.body_mut() = Some(Body::from(whole.clone())),
            pieces => {
                let length: usize = pieces.iter().map(Bytes::len).sum();
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
                let pieces: Vec<_> = pieces.iter().cloned().map(Ok::<Bytes, Infallible>).collect();
                *request.body_mut() = Some(Body::wrap_stream(stream::iter(pieces)));
            }
        }
        request
    }

    /// The whole body and its checksum. One piece is passed on as it is; several are copied into one buffer of the told length.
    async fn collect(&self, mut response: Response, length: Option<u64>, limit: u64) -> Result<(Bytes, u32)> {
        if let Some(length) = length.filter(|length| *length > limit) {
            return Err(Error::unavailable(format!("{self}: answer of {length} bytes, at most {limit} are taken")));
        }
        let mut hasher = crc32fast::Hasher::new();
        let mut first = Bytes::new();
        let mut buffer = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.unanswered(&error))? {
            hasher.update(&piece);
            if (first.len() + buffer.len() + piece.len()) as u64 > limit {
                return Err(Error::unavailable(format!("{self}: answer of more than {limit} bytes")));
            }
            if first.is_empty() && buffer.is_empty() {
                first = piece;
                continue;
            }
            if buffer.is_empty() {
                buffer.reserve(length.map_or(first.len() + piece.len(), |length| length as usize));
                buffer.extend_from_slice(&first);
                first = Bytes::new();
            }
            buffer.extend_from_slice(&piece);
        }
        let body = if buffer.is_empty() { first } else { buffer.freeze() };
        Ok((body, hasher.finalize()))
    }

    /// The error for a call that got no answer.
    fn unanswered(&self, error: &reqwest::Error) -> Error {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
        let mut last = error.to_string();
        while let Some(inner) = cause {
            if inner.downcast_ref::<io::Error>().is_some_and(|inner| inner.kind() == io::ErrorKind::ConnectionRefused) {
                return Error::caused(ErrorKind::Unavailable, format!("{self}: {Refused}"), Refused);
            }
            last = inner.to_string();
            cause = inner.source();
        }
        let what = if error.is_connect() { "cannot connect" } else { "connection broke" };
        Error::unavailable(format!("{self}: {what}: {last}"))
    }

    /// The error that the node answered.
    fn refusal(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
        let named = headers.get(routes::HEADER_ERROR).and_then(|value| {
            let name = value.to_str().ok()?;
            ErrorKind::ALL.into_iter().find(|kind| kind.as_str() == name)
        });
        let kind = named.unwrap_or(match status.as_u16() {
            404 => ErrorKind::NotFound,
            409 => ErrorKind::Conflict,
            401 | 403 => ErrorKind::Denied,
            507 => ErrorKind::Full,
            400..=499 => ErrorKind::Invalid,
            _ => ErrorKind::Unavailable,
        });
        let told: Option<serde_json::Value> = serde_json::from_slice(body).ok();
        let told = told.as_ref().and_then(|told| told.get("error")?.as_str());
        Error::new(kind, format!("{self}: {}", told.unwrap_or(status.as_str())))
    }
}

/// How long a call may take that moves this many bytes.
pub(super) fn deadline(bytes: u64) -> Duration {
    DEADLINE_BASE + Duration::from_millis(bytes.saturating_mul(1000) / RATE_FLOOR_BYTES_PER_SECOND)
}

/// The pieces of a batch's body: small shards are copied together with the frame headers, large ones are shared.
fn frame(shards: &[Shard]) -> Vec<Bytes> {
    let is_small = |shard: &Shard| shard.data.len() <= COPIED_BYTES_MAX;
    let copied: usize = shards.iter().filter(|shard| is_small(shard)).map(|shard| shard.data.len()).sum();
    let mut buffer = BytesMut::with_capacity(copied + shards.len() * FRAME_HEADER_BYTES);
    let mut pieces = Vec::new();
    for shard in shards {
        buffer.extend_from_slice(&encode_frame_header(shard));
        if is_small(shard) {
            buffer.extend_from_slice(&shard.data);
        } else {
            pieces.push(buffer.split().freeze());
            pieces.push(shard.data.clone());
        }
    }
    if !buffer.is_empty() {
        pieces.push(buffer.freeze());
    }
    pieces
}
