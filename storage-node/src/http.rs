//! The node's HTTP interface: routes of [`protocol::routes`], each parsed, bounded, handed to one call of the store, printed.
//! Nothing outside this directory names actix.
//!
//! What it keeps true:
//! - All but health and metrics need the cluster's secret and id; what lacks them is refused before anything of it is read.
//! - Shard bytes are checked against their CRC32 while they arrive; what does not match is not stored.
//! - Bodies are bounded: each (`body`), all together (`gate`), and in time.
//! - No name from a request ever becomes a path: ids are parsed, everything else is refused.

mod batch;
mod body;
mod gate;
mod journal;
mod reply;
mod route;
mod watch;

use crate::committer::Committer;
use crate::journal::Journal;
use crate::names;
use crate::peer::Peers;
use crate::store::{LIST_LIMIT_MAX, Store};
use actix_web::dev::Server;
use actix_web::http::{KeepAlive, Method};
use actix_web::web::{self, Data, Payload, Query};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, ResponseError};
use body::Body;
use gate::Gate;
use process::metrics::Metrics;
use process::readings::Readings;
use process::requests::Requests;
use process::tls::ServerConfig;
use protocol::{ClusterFile, Error, PutOutcome, SHARD_BYTES_MAX, Shard, ShardId, VerifyCursor};
use reply::{Failure, ShardBody};
use route::Route;
use segments::RealDisk;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument;

/// Idle connections of peers are kept this long.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// A request's head must be there after this long.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long requests under way may take to finish after a stop was asked for.
const SHUTDOWN_SECONDS: u64 = 20;
/// Threads of each worker that wait for the disk.
const DISK_THREADS_PER_WORKER: usize = 8;

/// What the handlers share.
pub struct Service {
    store: Arc<Store<RealDisk>>,
    committer: Arc<Committer>,
    journal: Arc<Journal<RealDisk>>,
    peers: Peers,
    cluster: ClusterFile,
    cluster_text: String,
    disk_text: String,
    requests: Requests,
    metrics: Metrics,
    gate: Arc<Gate>,
    body_timeout: Duration,
}

/// What a service is made of.
pub struct ServiceParts {
    /// The shards.
    pub store: Arc<Store<RealDisk>>,
    /// The way to change them.
    pub committer: Arc<Committer>,
    /// The catalog journal.
    pub journal: Arc<Journal<RealDisk>>,
    /// Whose calls are served.
    pub cluster: ClusterFile,
    /// The way to other nodes.
    pub peers: Peers,
    /// What `/metrics` prints.
    pub metrics: Metrics,
    /// Bytes of bodies in memory at most.
    pub in_flight_bytes: u64,
    /// How long a body may bring nothing.
    pub body_timeout: Duration,
}

impl Service {
    /// A service of these parts.
    pub fn new(parts: ServiceParts) -> protocol::Result<Service> {
        let ServiceParts { store, committer, journal, cluster, peers, metrics, in_flight_bytes, body_timeout } = parts;
        Ok(Service {
            peers,
            cluster_text: cluster.cluster.to_string(),
            disk_text: store.health().disk.to_string(),
            requests: Requests::new(store.health().node.as_str()),
            gate: Arc::new(Gate::new(in_flight_bytes)),
            store,
            committer,
            journal,
            cluster,
            metrics,
            body_timeout,
        })
    }
}

/// Serves on `listener`, over TLS where there are settings for it, until its handle stops it. Requests under way are finished then.
pub fn serve(listener: TcpListener, service: Service, workers: usize, tls: Option<ServerConfig>) -> io::Result<Server> {
    let service = Data::new(service);
    let app = move || App::new().app_data(service.clone()).default_service(web::to(answer));
    let server = HttpServer::new(app)
        .workers(workers.max(1))
        .worker_max_blocking_threads(DISK_THREADS_PER_WORKER)
        .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
        .client_request_timeout(HEAD_TIMEOUT)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .tcp_nodelay(true)
        .disable_signals();
    let server = match tls {
        Some(tls) => server.listen_rustls_0_23(listener, tls)?,
        None => server.listen(listener)?,
    };
    Ok(server.run())
}

/// Every request comes through here.
async fn answer(request: HttpRequest, payload: Payload, service: Data<Service>) -> HttpResponse {
    let (_under_way, began) = (service.requests.begin(), Instant::now());
    let route = Route::of(request.path());
    let request_id = watch::request_id(&request);
    let span = match request_id.as_ref().and_then(|id| id.to_str().ok()) {
        Some(id) => {
            let endpoint = route.endpoint();
            tracing::info_span!("request", request_id = id, endpoint, traceparent = watch::traceparent(&request))
        }
        None => tracing::Span::none(),
    };
    let answered = async {
        watch::admit(&service, &request, route)?;
        dispatch(route, &request, payload, &service).await
    };
    let answered = answered.instrument(span.clone()).await;
    span.in_scope(|| {
        let mut response = answered.unwrap_or_else(|failure| failure.error_response());
        if let Some(id) = request_id {
            response.headers_mut().insert(watch::HEADER_REQUEST, id);
        }
        watch::tell(&service.requests, began, request.method(), route, response.status());
        response
    })
}

async fn dispatch(
    route: Route<'_>,
    request: &HttpRequest,
    payload: Payload,
    service: &Service,
) -> Result<HttpResponse, Failure> {
    match (route, request.method()) {
        (Route::Shard(id), &Method::PUT) => put(request, parse_id(id)?, payload, service).await,
        (Route::Shard(id), &Method::GET) => get(request, parse_id(id)?, service).await,
        (Route::Shard(id), &Method::HEAD) => Ok(reply::head(service.store.head(parse_id(id)?)?)),
        (Route::Shard(id), &Method::DELETE) => delete(parse_id(id)?, service).await,
        (Route::Shards, &Method::GET) => list(query(request)?, service).await,
        (Route::Batch, &Method::POST) => batch::put(request, payload, service).await,
        (Route::Delete, &Method::POST) => batch::delete(request, payload, service).await,
        (Route::Head, &Method::POST) => batch::head(request, payload, service).await,
        (Route::Read, &Method::POST) => batch::read(request, payload, service).await,
        (Route::Copy, &Method::POST) => batch::copy(request, payload, service).await,
        (Route::Verify, &Method::POST) => verify(query(request)?, service).await,
        (Route::Journal, &Method::GET) => journal::state(service).await,
        (Route::Journal, &Method::POST) => journal::append(request, payload, service).await,
        (Route::JournalClaim, &Method::POST) => journal::claim(request, service).await,
        (Route::JournalEntries, &Method::GET) => journal::entries(request, service).await,
        (Route::Health, &Method::GET) => Ok(reply::health(&service.store.health(), &service.store.index_state())),
        (Route::Metrics, &Method::GET) => Ok(metrics(service)),
        (Route::Unknown, _) => Err(Error::not_found("no such route").into()),
        _ => Err(reply::wrong_method()),
    }
}

async fn put(request: &HttpRequest, id: ShardId, payload: Payload, service: &Service) -> Result<HttpResponse, Failure> {
    let told = body::crc_header(request)?;
    let mut body = Body::open(request, payload, service, SHARD_BYTES_MAX as u64)?;
    let (mut hasher, mut data) = (crc32fast::Hasher::new(), Vec::with_capacity(body.told_bytes()));
    while let Some(piece) = body.next().await? {
        hasher.update(&piece);
        data.extend_from_slice(&piece);
    }
    let crc = hasher.finalize();
    if crc != told {
        return Err(Error::invalid(format!("shard {id}: body has CRC32 {crc:08x}, its header says {told:08x}")).into());
    }
    let outcomes = service.committer.put(vec![Shard { id, crc, data: data.into() }]).await?;
    settled(&outcomes, id)?;
    Ok(HttpResponse::Created().finish())
}

async fn get(request: &HttpRequest, id: ShardId, service: &Service) -> Result<HttpResponse, Failure> {
    let shard = match service.store.get_shard_cached(id) {
        Some(found) => found?,
        None => {
            let store = Arc::clone(&service.store);
            on_disk_thread(move || store.get_shard(id)).await?
        }
    };
    let permit = service.gate.admit(shard.data.len() as u64)?;
    service.requests.bytes_out.increment(shard.data.len() as u64);
    reply::shard(request, shard.crc, ShardBody::new(shard.data, permit))
}

async fn delete(id: ShardId, service: &Service) -> Result<HttpResponse, Failure> {
    settled(&service.committer.delete(vec![id]).await?, id)?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    after: Option<ShardId>,
    limit: Option<usize>,
}

async fn list(query: ListQuery, service: &Service) -> Result<HttpResponse, Failure> {
    let ListQuery { after, limit } = query;
    let store = Arc::clone(&service.store);
    let page = on_disk_thread(move || store.list(after, limit.unwrap_or(LIST_LIMIT_MAX))).await?;
    Ok(HttpResponse::Ok().json(page))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VerifyQuery {
    segment: u32,
    offset: u32,
    limit_bytes: u64,
}

async fn verify(query: VerifyQuery, service: &Service) -> Result<HttpResponse, Failure> {
    let VerifyQuery { segment, offset, limit_bytes } = query;
    let store = Arc::clone(&service.store);
    let report = on_disk_thread(move || store.verify(VerifyCursor { segment, offset }, limit_bytes)).await?;
    Ok(HttpResponse::Ok().json(report))
}

fn metrics(service: &Service) -> HttpResponse {
    service.store.publish_gauges();
    let (waiting, waiting_max) = service.committer.waiting_and_most();
    let mut readings = Readings::default();
    readings.add(&names::IN_FLIGHT_BYTES, &[], service.gate.held_bytes() as f64);
    readings.add(&names::IN_FLIGHT_BYTES_MAX, &[], service.gate.bytes_max() as f64);
    readings.add(&names::QUEUE_CALLS, &[], waiting as f64);
    readings.add(&names::QUEUE_CALLS_MAX, &[], waiting_max as f64);
    HttpResponse::Ok().content_type(process::metrics::CONTENT_TYPE).body(service.metrics.render(&readings))
}

fn parse_id(text: &str) -> Result<ShardId, Failure> {
    Ok(text.parse::<ShardId>()?)
}

fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, Failure> {
    let parsed = Query::<T>::from_query(request.query_string());
    Ok(parsed.map_err(|error| Error::invalid(format!("query: {error}")))?.into_inner())
}

/// The outcome of a call for one shard, as an error that says what it was about.
fn settled(outcomes: &[PutOutcome], id: ShardId) -> Result<(), Failure> {
    let [outcome] = *outcomes else { panic!("one outcome for one shard") };
    outcome.map_err(|kind| reply::refused(kind, id).into())
}

/// Waits for the disk where waiting holds up nobody else.
async fn on_disk_thread<T: Send + 'static>(
    call: impl FnOnce() -> protocol::Result<T> + Send + 'static,
) -> protocol::Result<T> {
    web::block(call).await.map_err(|_| Error::unavailable("the node is shutting down"))?
}
