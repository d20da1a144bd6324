//! The storage node's process: settings, data directory, store, HTTP, and an orderly end.
//!
//! Order of the end: requests under way finish, then waiting writes, then upkeep, then the index is saved; exit 0.

use mimalloc::MiMalloc;
use process::logs::{self, LogConfig};
use process::metrics::Metrics;
use process::shutdown::Shutdown;
use process::tls::{self, Certificate};
use process::traces::TraceConfig;
use protocol::{ClusterFile, Error, ErrorKind, Result, SystemClock};
use rustix::net::sockopt::set_tcp_user_timeout;
use rustix::thread::disable_transparent_huge_pages;
use segments::{RealDisk, Stamp};
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use storage_node::announce::announce;
use storage_node::committer::Committer;
use storage_node::config::Config;
use storage_node::http::{Service, ServiceParts, serve};
use storage_node::identity::{DataDir, Owner};
use storage_node::journal::{Journal, JournalConfig, SEGMENT_BYTES};
use storage_node::names;
use storage_node::peer::Peers;
use storage_node::store::{Store, StoreConfig};
use storage_node::upkeep::{Upkeep, UpkeepConfig};

/// A fifth of the CPU of a small put went into the C library's allocator (measured); this one takes a third of that.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let config: Config = process::settings::load(std::env::args_os()).unwrap_or_else(|mistake| mistake.exit());
    // The allocator asks for huge pages, and clearing them was an eighth of the CPU of the first large upload (decision 0098). A kernel
    // that cannot forgo them has none, or gives them as before.
    disable_transparent_huge_pages(true).unwrap_or_default();
    match actix_web::rt::System::new().block_on(run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the node ends");
            eprintln!("storage-node: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> Result<()> {
    let loki = logs::start(LogConfig {
        service: "storage-node",
        server_id: config.node_id.to_string(),
        level: config.loglevel,
        loki: config.loki.clone(),
        // Traces begin at the coordinator, which decides whether they are sent; one that begins here is nobody's.
        traces: config.otlp.clone().map(|url| TraceConfig { url, percent: 0 }),
        events: None,
    })?;
    let shutdown = Shutdown::listen()?;
    let metrics = Metrics::install()?;
    names::describe_all();
    segments::names::describe_all();
    let cluster = process::cluster_file::read(&config.cluster_file)?;
    let owner = Owner { cluster: cluster.cluster, node: config.node_id.clone() };
    let mut directory = DataDir::open(&config.data, &owner, config.replace, &SystemClock)?;
    let store = open_store(&config, &cluster, &directory)?;
    directory.note_starts(&store.health().starts);
    if let Err(error) = store.settle_index() {
        tracing::error!(%error, "the index cannot be rebuilt now; upkeep goes on trying");
    }
    let journal = Arc::new(open_journal(&config, &cluster, &directory)?);
    let certificate = certificate(&config)?;
    // Bound only now: whoever can connect is answered.
    let listener = bind(&config)?;
    let listen = listener.local_addr().unwrap_or(config.listen);
    let committer = Arc::new(Committer::start(Arc::clone(&store))?);
    let upkeep = Upkeep::start(
        &store,
        UpkeepConfig { compact_bytes_per_s: config.compact_bytes_per_s, health_interval: config.health_interval() },
    )?;
    announce_to_all(&config, &cluster, listen)?;
    let trust = tls::client(config.tls_ca.as_deref())?;
    let service = Service::new(ServiceParts {
        peers: Peers::new(&cluster, trust)?,
        store: Arc::clone(&store),
        committer: Arc::clone(&committer),
        journal: Arc::clone(&journal),
        cluster,
        metrics: metrics.clone(),
        in_flight_bytes: config.in_flight_bytes,
        body_timeout: config.body_timeout(),
    })?;
    let server = serve(listener, service, usize::from(config.workers), certificate.as_ref().map(Certificate::server))
        .map_err(|error| Error::caused(ErrorKind::Unavailable, format!("cannot serve: {error}"), error))?;
    let handle = server.handle();
    tracing::info!(%listen, disk = %directory.identity.disk, "serving");
    actix_web::rt::spawn(metrics.upkeep());
    if let Some(certificate) = certificate {
        actix_web::rt::spawn(async move { certificate.follow().await });
    }
    if let Some(task) = loki {
        actix_web::rt::spawn(task);
    }
    actix_web::rt::spawn(async move {
        shutdown.requested().await;
        tracing::info!("stopping");
        handle.stop(true).await;
    });
    let served = server.await;
    committer.stop();
    upkeep.stop();
    store.close()?;
    journal.close()?;
    tracing::info!("stopped");
    served.map_err(|error| Error::caused(ErrorKind::Unavailable, format!("the server ended: {error}"), error))
}

/// Its first call may come before this node can answer the coordinator's probe; it is repeated soon.
fn announce_to_all(config: &Config, cluster: &ClusterFile, listen: SocketAddr) -> Result<()> {
    for coordinator in &config.coordinator {
        let peers = Peers::new(cluster, tls::client(config.tls_ca.as_deref())?)?;
        actix_web::rt::spawn(announce(peers, coordinator.clone(), config.advertised(listen)?));
    }
    Ok(())
}

fn open_store(config: &Config, cluster: &ClusterFile, directory: &DataDir) -> Result<Arc<Store<RealDisk>>> {
    let store_config = StoreConfig {
        node: config.node_id.clone(),
        cluster: cluster.cluster,
        disk: directory.identity.disk,
        replaced: directory.identity.replaced,
        starts: directory.starts.clone(),
        zone: config.zone.clone(),
        index_directory: Some(directory.index()),
        index_cache_bytes: config.index_cache_bytes,
        capacity_bytes: config.capacity_bytes,
        reserve_bytes: config.reserve_bytes,
        segment_bytes: config.segment_bytes,
        compact_dead_share: config.compact_dead_share,
        clock: Arc::new(SystemClock),
    };
    Ok(Arc::new(Store::open(RealDisk::open(directory.segments())?, store_config)?))
}

fn open_journal(config: &Config, cluster: &ClusterFile, directory: &DataDir) -> Result<Journal<RealDisk>> {
    let stamp = Stamp { cluster: cluster.cluster, log: directory.identity.disk };
    let config = JournalConfig { node: config.node_id.clone(), stamp, segment_bytes: SEGMENT_BYTES };
    Journal::open(RealDisk::open(directory.journal())?, config)
}

fn certificate(config: &Config) -> Result<Option<Certificate>> {
    let (Some(certificate), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
    Ok(Some(Certificate::load(certificate, key)?))
}

/// Connections inherit from the listener that the kernel ends them when their peer has not taken a byte for so long: one that is stopped, or
/// gone with its machine, would hold what memory its answer has (faults row 76).
fn bind(config: &Config) -> Result<TcpListener> {
    let failed = |error: std::io::Error| {
        Error::caused(ErrorKind::Unavailable, format!("cannot listen on {}: {error}", config.listen), error)
    };
    let listener = TcpListener::bind(config.listen).map_err(failed)?;
    let stall_ms = u32::try_from(config.body_timeout().as_millis()).unwrap_or(u32::MAX);
    set_tcp_user_timeout(&listener, stall_ms).map_err(|error| failed(error.into()))?;
    Ok(listener)
}
