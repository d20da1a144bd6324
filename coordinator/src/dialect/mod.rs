//! The doors: HTTP in, verbs called, answers out. A door may parse, authorise, call one verb, print; it may not decide.
//!
//! What it keeps true:
//! - Every answer carries a request id, which travels to the nodes and into every log line of the request.
//! - Endpoint labels of metrics are route patterns, never names of clients' files.
//! - Every request ends: slow heads by the framework's limit, slow bodies by `body_stall`, slow nodes by their deadlines.

mod bucket_settings;
mod buckets;
mod conditions;
mod cors;
mod described;
mod documents;
mod files;
mod gateway;
mod gauges;
pub mod guard;
mod head;
mod html;
mod insight;
mod intake;
mod keys;
mod nodes;
mod openapi;
mod query;
mod reply;
pub mod representation;
pub mod s3;
mod system;
mod watch;
mod whole;
mod workers;

use crate::nodes::REQUEST_ID;
use crate::object::{COMPUTE_THREADS, Objects};
use crate::worker::Workers;
use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use process::requests::Requests;
use process::tls::ServerConfig;
use protocol::ClusterFile;
use reply::Refusal;
use std::future::Future;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tracing::{Instrument, Span};

/// How long a client may take for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a client that was answered before all of its body was read may go on sending it: whoever closes at once makes its machine throw
/// the answer away (RFC 9112, 9.6). It is as long for one that has fallen silent, so it is short.
const LINGER: Duration = Duration::from_secs(10);
/// How long requests under way may take after a stop was asked for, in seconds.
const STOP_PATIENCE_S: u64 = 30;
/// Connections per worker; beyond them clients wait to be accepted.
const CONNECTIONS_PER_WORKER_MAX: usize = 4_096;

/// What the doors need to know of the settings.
#[derive(Clone, Debug)]
pub struct DoorSettings {
    /// How long a body may stand still.
    pub body_stall: Duration,
    /// The largest upload, in bytes; `None` for any.
    pub upload_bytes_max: Option<u64>,
    /// This machine's name.
    pub hostname: String,
    /// This process's name in logs, metrics and `/health`.
    pub server_id: String,
    /// Threads that serve connections.
    pub workers: usize,
    /// Cluster and secret, by which a node that joins is known.
    pub cluster: ClusterFile,
    /// Origins whose pages may use the doors from a browser; `*` is any.
    pub cors_origins: Vec<String>,
}

/// What every route can reach.
#[derive(Clone)]
pub struct Door {
    /// The verbs.
    pub objects: Objects,
    /// What happens later.
    pub workers: Workers,
    /// The settings.
    pub settings: DoorSettings,
    /// The process's metrics.
    pub metrics: process::metrics::Metrics,
    /// Those of requests.
    pub requests: Arc<Requests>,
    /// Who may come in, and how much.
    pub guard: Arc<guard::Guard>,
    /// Events of degradation, for those who watch.
    pub events: process::events::Events,
}

/// Serves the native doors on `listeners`, over TLS where there are settings for it, until it is stopped.
pub fn serve(door: Door, listeners: Vec<TcpListener>, tls: Option<ServerConfig>) -> std::io::Result<Server> {
    let workers = door.settings.workers;
    let data = web::Data::new(door);
    let mut server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .wrap(from_fn(guard::admit))
            .wrap(from_fn(cors::share))
            .wrap(from_fn(head::as_get))
            .wrap(from_fn(watch::watch))
            .configure(every_route)
            .default_service(web::route().to(no_such_path))
    })
    .workers(workers)
    .worker_max_blocking_threads(COMPUTE_THREADS)
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(HEAD_TIMEOUT)
    .client_disconnect_timeout(LINGER)
    .max_connections(CONNECTIONS_PER_WORKER_MAX)
    .tcp_nodelay(true)
    .shutdown_timeout(STOP_PATIENCE_S)
    .disable_signals();
    for listener in listeners {
        server = match &tls {
            Some(tls) => server.listen_rustls_0_23(listener, tls.clone())?,
            None => server.listen(listener)?,
        };
    }
    Ok(server.run())
}

/// The routes of every door. What each needs is said in [`guard::access`].
fn every_route(config: &mut web::ServiceConfig) {
    config
        .configure(files::routes)
        .configure(gateway::routes)
        .configure(buckets::routes)
        .configure(documents::routes)
        .configure(insight::routes)
        .configure(system::routes)
        .configure(workers::routes)
        .configure(nodes::routes)
        .configure(keys::routes)
        .configure(bucket_settings::routes)
        .configure(openapi::routes);
}

async fn no_such_path() -> Result<(), Refusal> {
    Err(Refusal::not_found("no such path; see the README for what there is"))
}

/// Hands the id of the request being served, and its span, on to work that goes on in another task.
fn with_request_id<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let id = crate::nodes::request_id::current().unwrap_or_else(|| "none".into());
    REQUEST_ID.scope(id, work.instrument(Span::current()))
}
