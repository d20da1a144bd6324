//! What HTTP over loopback can do on this machine: bare actix handlers over memory, driven by the same client as ours; and what every
//! byte of ours has to go through besides, a SHA-256.

use crate::body::{Body, PIECE_BYTES, Random, mix};
use crate::http::{Connection, Endpoint, head};
use crate::latency::Samples;
use crate::processes::Processes;
use crate::table::{Quantity, Row, Unit};
use actix_web::body::SizedStream;
use actix_web::dev::ServerHandle;
use actix_web::rt::System;
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, Error, HttpResponse, HttpServer};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use ring::digest::{Context, SHA256};
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long the small requests last.
const SMALL_TIME: Duration = Duration::from_secs(2);
const GIB: f64 = (1u64 << 30) as f64;
/// A small object.
const SMALL_BYTES: usize = 4096;
/// Clients of the small requests.
const SMALL_CLIENTS: usize = 64;

/// What a bare server does at most.
#[derive(Clone, Copy, Debug)]
pub struct LoopbackLimits {
    /// One client downloading, in MB/s.
    pub down_mb_per_s: f64,
    /// One client uploading to a handler that drops what it gets, in MB/s.
    pub up_mb_per_s: f64,
    /// CPU of a download, of server and client together, in seconds per GiB: what a hop between two processes costs.
    pub hop_cpu_s_per_gib: f64,
    /// SHA-256 on one core, in MB/s.
    pub sha256_mb_per_s: f64,
    /// 64 clients downloading 4 KiB, per second.
    pub small_per_s: f64,
    /// One client downloading 4 KiB, p50.
    pub small_p50: Duration,
}

/// Starts the bare server, measures `stream_bytes` each way, and stops it.
pub fn measure(stream_bytes: u64) -> io::Result<LoopbackLimits> {
    let server = BareServer::start(bare_routes)?;
    let (down_mb_per_s, cost) = Processes::default().charge(|| best_of_two(|| down(&server.endpoint, stream_bytes)));
    let limits = LoopbackLimits {
        down_mb_per_s: down_mb_per_s?,
        hop_cpu_s_per_gib: cost.client_cpu.as_secs_f64() / (2 * stream_bytes) as f64 * GIB,
        sha256_mb_per_s: best_of_two(|| Ok(sha256_rate(stream_bytes)))?,
        up_mb_per_s: best_of_two(|| up(&server.endpoint, stream_bytes))?,
        small_per_s: small_rate(&server.endpoint)?,
        small_p50: small_p50(&server.endpoint)?,
    };
    server.stop()?;
    Ok(limits)
}

impl LoopbackLimits {
    /// What all cores together take through two hops, node to coordinator to client, and one SHA-256, in MB/s, if nothing else is done.
    pub fn hashed_down_mb_per_s(&self) -> f64 {
        let cores = thread::available_parallelism().map_or(1, usize::from) as f64;
        let mb_per_gib = GIB / 1e6;
        cores * mb_per_gib / (2.0 * self.hop_cpu_s_per_gib + mb_per_gib / self.sha256_mb_per_s)
    }

    /// The rows that show them.
    pub fn rows(&self) -> Vec<Row> {
        let p50_ms = self.small_p50.as_secs_f64() * 1e3;
        vec![
            Row::figure("limit: bare actix over loopback, down, 1 client", Quantity(self.down_mb_per_s, Unit::MbPerS)),
            Row::figure("limit: bare actix over loopback, up, 1 client", Quantity(self.up_mb_per_s, Unit::MbPerS)),
            Row::figure(
                "limit: bare actix over loopback, down, 1 client: CPU of both sides",
                Quantity(self.hop_cpu_s_per_gib, Unit::CpuSPerGib),
            ),
            Row::figure("limit: SHA-256 on one core", Quantity(self.sha256_mb_per_s, Unit::MbPerS)),
            Row::figure("limit: bare actix, 4 KiB GET, 64 clients", Quantity(self.small_per_s, Unit::PerS)),
            Row::figure("limit: bare actix, 4 KiB GET, 1 client, p50", Quantity(p50_ms, Unit::Ms)),
        ]
    }
}

/// An actix server in a thread of its own.
pub struct BareServer {
    /// Where it listens.
    pub endpoint: Endpoint,
    handle: ServerHandle,
    thread: JoinHandle<io::Result<()>>,
}

impl BareServer {
    /// Starts it with these routes.
    pub fn start(routes: fn(&mut ServiceConfig)) -> io::Result<BareServer> {
        let (sender, receiver) = channel();
        let thread = thread::spawn(move || System::new().block_on(serve(routes, sender)));
        match receiver.recv() {
            Ok((endpoint, handle)) => Ok(BareServer { endpoint, handle, thread }),
            Err(_) => {
                thread.join().expect("the server does not panic")?;
                Err(io::Error::other("the bare server ended before it began"))
            }
        }
    }

    /// Ends it.
    pub fn stop(self) -> io::Result<()> {
        System::new().block_on(self.handle.stop(false));
        self.thread.join().expect("the server does not panic")
    }
}

async fn serve(routes: fn(&mut ServiceConfig), started: Sender<(Endpoint, ServerHandle)>) -> io::Result<()> {
    let app = move || App::new().configure(routes);
    let server = HttpServer::new(app).workers(2).disable_signals().bind(("127.0.0.1", 0))?;
    let endpoint = Endpoint::local(server.addrs()[0].port());
    let server = server.run();
    started.send((endpoint, server.handle())).expect("whoever starts the server waits for it");
    server.await
}

fn bare_routes(config: &mut ServiceConfig) {
    config
        .route("/small", web::get().to(async || HttpResponse::Ok().body(Bytes::from_static(&[7; SMALL_BYTES]))))
        .route("/down/{bytes}", web::get().to(stream_memory))
        .route("/up", web::post().to(drop_body));
}

async fn stream_memory(bytes: web::Path<u64>) -> HttpResponse {
    let piece = Bytes::from(vec![7; PIECE_BYTES]);
    let pieces = *bytes / PIECE_BYTES as u64;
    let body = stream::iter(0..pieces).map(move |_| Ok::<Bytes, Error>(piece.clone()));
    HttpResponse::Ok().body(SizedStream::new(pieces * PIECE_BYTES as u64, body))
}

async fn drop_body(mut payload: web::Payload) -> Result<HttpResponse, Error> {
    let mut total = 0;
    while let Some(piece) = payload.next().await {
        total += piece?.len();
    }
    Ok(HttpResponse::Ok().body(total.to_string()))
}

fn down(endpoint: &Endpoint, bytes: u64) -> io::Result<f64> {
    let mut connection = Connection::open(endpoint)?;
    let begun = Instant::now();
    connection.send(&head("GET", &format!("/down/{bytes}"), endpoint, "", 0))?;
    let reply = connection.receive(|_, _| ())?;
    Ok(reply.body_bytes as f64 / 1e6 / begun.elapsed().as_secs_f64())
}

fn up(endpoint: &Endpoint, bytes: u64) -> io::Result<f64> {
    let mut connection = Connection::open(endpoint)?;
    let mut body = Body::Random(Random { seed: mix(bytes), length_bytes: bytes }).open()?;
    let mut piece = Vec::new();
    let begun = Instant::now();
    connection.send(&head("POST", "/up", endpoint, "", bytes))?;
    while body.append_piece(&mut piece)? {
        connection.send(&piece)?;
        piece.clear();
    }
    connection.receive(|_, _| ())?;
    Ok(bytes as f64 / 1e6 / begun.elapsed().as_secs_f64())
}

fn small_p50(endpoint: &Endpoint) -> io::Result<Duration> {
    let mut samples = Samples::default();
    let mut connection = Connection::open(endpoint)?;
    let begun = Instant::now();
    while begun.elapsed() < SMALL_TIME / 2 {
        let asked = Instant::now();
        get_small(&mut connection, endpoint)?;
        samples.record(asked.elapsed());
    }
    Ok(samples.summary().p50)
}

fn small_rate(endpoint: &Endpoint) -> io::Result<f64> {
    let begun = Instant::now();
    let client = || {
        let mut connection = Connection::open(endpoint)?;
        let mut count = 0u64;
        while begun.elapsed() < SMALL_TIME {
            get_small(&mut connection, endpoint)?;
            count += 1;
        }
        io::Result::Ok(count)
    };
    let total = thread::scope(|scope| {
        let clients: Vec<_> = (0..SMALL_CLIENTS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().expect("a client does not panic")).sum::<io::Result<u64>>()
    })?;
    Ok(total as f64 / begun.elapsed().as_secs_f64())
}

fn get_small(connection: &mut Connection, endpoint: &Endpoint) -> io::Result<()> {
    connection.send(&head("GET", "/small", endpoint, "", 0))?;
    let reply = connection.receive(|_, _| ())?;
    assert_eq!(reply.body_bytes, SMALL_BYTES as u64, "the bare server answers what it was built for");
    Ok(())
}

/// As the chunks of an upload are hashed: by ring, from memory that was just written.
fn sha256_rate(bytes: u64) -> f64 {
    let piece = vec![7; PIECE_BYTES];
    let mut context = Context::new(&SHA256);
    let begun = Instant::now();
    for _ in 0..bytes / PIECE_BYTES as u64 {
        context.update(&piece);
    }
    std::hint::black_box(context.finish());
    bytes as f64 / 1e6 / begun.elapsed().as_secs_f64()
}

fn best_of_two(measure: impl Fn() -> io::Result<f64>) -> io::Result<f64> {
    Ok(measure()?.max(measure()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hashed_comes_down_no_faster_than_all_cores_can_carry_it() {
        let limits = LoopbackLimits {
            down_mb_per_s: 4000.0,
            up_mb_per_s: 4000.0,
            hop_cpu_s_per_gib: 0.25,
            sha256_mb_per_s: GIB / 1e6 / 0.5,
            small_per_s: 1e5,
            small_p50: Duration::from_micros(70),
        };
        let cores = thread::available_parallelism().unwrap().get() as f64;
        assert!((limits.hashed_down_mb_per_s() - cores * GIB / 1e6).abs() < 1.0);
    }

    #[test]
    fn a_bare_server_answers_every_way_and_stops() {
        let server = BareServer::start(bare_routes).unwrap();
        assert!(down(&server.endpoint, 1 << 20).unwrap() > 0.0);
        assert!(up(&server.endpoint, 1 << 20).unwrap() > 0.0);
        assert!(sha256_rate(1 << 20) > 0.0);
        get_small(&mut Connection::open(&server.endpoint).unwrap(), &server.endpoint).unwrap();
        let endpoint = server.endpoint.clone();
        server.stop().unwrap();
        assert!(Connection::open(&endpoint).is_err());
    }
}
