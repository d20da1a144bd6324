//! The coordinator's process: settings, listeners, catalog, nodes, doors, and an orderly end.
//!
//! Order of the end: doors first (requests under way finish), then workers, then tasks, then the catalog's checkpoint; exit 0.

use anyhow::{Context, Result, bail};
use coordinator::audit::{Audit, AuditConfig};
use coordinator::config::{self, Command, Config, Storage};
use coordinator::dialect::guard::Guard;
use coordinator::dialect::s3::{self, S3Settings};
use coordinator::dialect::{self, Door, DoorSettings};
use coordinator::identity::seal::Sealer;
use coordinator::identity::{FreshKey, Identity, announcement};
use coordinator::limits::Limits;
use coordinator::metadata::journal::Phase;
use coordinator::metadata::sled::{SledMetadata, SledSettings};
use coordinator::metadata::{self, Metadata};
use coordinator::nodes::client::{Connections, HttpNode};
use coordinator::nodes::registry::Registry;
use coordinator::nodes::{MemberConfig, Nodes};
use coordinator::object::budget::Budget;
use coordinator::object::{
    COMPUTE_THREADS, ChunkCache, Clients, Compute, Heat, HotFields, LostVersions, Objects, Profiles, Prover, Tasks,
    Usage,
};
use coordinator::placement::WEIGHT_PERCENT_DEFAULT;
use coordinator::worker::{Running, Tiering, WorkerSettings};
use coordinator::{names, new_cluster, restore_catalog};
use futures_util::future::OptionFuture;
use process::events::Events;
use process::logs::{self, LogConfig, LogTask};
use process::metrics::Metrics;
use process::requests::Requests;
use process::shutdown::Shutdown;
use process::tls::Certificate;
use process::traces::TraceConfig;
use protocol::{Clock, ClusterFile, Error, ErrorKind, Node, SystemClock};
use rustix::net::sockopt::set_tcp_user_timeout;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tikv_jemallocator::Jemalloc;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::{error, info, warn};

/// How long tasks may take to end after the doors are closed.
const TASKS_PATIENCE: Duration = Duration::from_secs(30);
/// How long a start waits for the storage nodes to agree that this catalog is the newest.
const JOURNAL_PATIENCE_AT_START: Duration = Duration::from_secs(3);
/// Holds the key under which secrets are encrypted, where no file is named: the command line would show it to everybody.
const CREDENTIALS_KEY_VARIABLE: &str = "HOLDFAST_CREDENTIALS_KEY";
/// Time between two attempts to make the first key: the catalog takes commits once enough nodes answer.
const FIRST_KEY_RETRY: Duration = Duration::from_secs(1);

/// Not the C library's: a fifth of the CPU of a small put went into it (measured). Not the nodes': where one thread takes what
/// another frees, it kept three times the bytes in use (measured: 377 MiB after small puts, this one 171).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let config = config::load(std::env::args_os()).unwrap_or_else(|mistake| mistake.exit());
    let outcome = match config.command.clone() {
        Some(Command::NewCluster) => make_cluster(&config),
        Some(Command::RestoreCatalog(restore)) => restore_catalog::run(&restore, &config),
        None => run(config),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("coordinator: {failure:#}");
            ExitCode::FAILURE
        }
    }
}

fn make_cluster(config: &Config) -> Result<()> {
    let cluster = new_cluster::make(&config.cluster_file, &SystemClock)?;
    println!("cluster {cluster} made in {}", config.cluster_file.display());
    Ok(())
}

fn run(config: Config) -> Result<()> {
    // This one is for all cores, unlike those of the doors.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime =
        runtime.enable_all().max_blocking_threads(cores.max(COMPUTE_THREADS)).build().context("no runtime")?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> Result<()> {
    let server_id = config.server_name();
    let events = Events::new("coordinator");
    let sending = start_log(&config, &server_id, &events)?;
    let shutdown = Shutdown::listen()?;
    let metrics = install_metrics()?;
    let cluster = process::cluster_file::read(&config.cluster_file)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let start = Start {
        certificate: certificate(&config)?,
        sealer: sealer(&config, &cluster)?,
        listeners: bind(&config)?,
        s3_listener: listen_on(config.s3_listen, config.body_stall())?,
        audit: audit(&config)?,
        server_id,
        events,
        sending,
        shutdown,
        metrics,
        cluster,
        clock,
    };
    let metadata = catalog(&config, &start.cluster, start.clock.clone())?;
    // Its threads need this runtime: they end before it does, however it went.
    let served = serve_catalog(&config, metadata.clone(), start).await;
    let stopped = metadata.stop().await;
    info!("coordinator stopped");
    served?;
    Ok(stopped?)
}

/// What a start needs besides the catalog: all that can be wrong without it, so that nothing is claimed by a start that is refused.
struct Start {
    server_id: String,
    events: Events,
    sending: Option<LogTask>,
    shutdown: Shutdown,
    metrics: Metrics,
    cluster: ClusterFile,
    clock: Arc<dyn Clock>,
    certificate: Option<Certificate>,
    sealer: Sealer,
    audit: Option<Audit>,
    listeners: Vec<TcpListener>,
    s3_listener: TcpListener,
}

async fn serve_catalog(config: &Config, metadata: Arc<SledMetadata>, start: Start) -> Result<()> {
    let tasks = Tasks::new(Handle::current());
    let nodes = connect(config, &start.cluster, metadata.clone(), start.clock.clone(), &tasks)?;
    let objects = objects(config, metadata.clone(), nodes.clone(), start.clock, &tasks);
    nodes.refresh().await?;
    let identity = Identity::new(metadata.clone(), objects.clock.clone(), start.sealer, config.trusts_all());
    let guard = Arc::new(Guard { identity, limits: Limits::new(&config.access), audit: start.audit });
    // Before the catalog is claimed: with another credentials key it is not to be served.
    guard.identity.refresh().await?;
    begin_journal(&metadata, nodes.clone()).await?;
    nodes.probe_all().await;
    let running = Running::start(&objects, &worker_settings(config, &start.server_id));
    let workers = running.workers.clone();
    guard.identity.refresh().await?;
    let settings = door_settings(config, start.server_id, start.cluster);
    let door = Door {
        objects,
        workers,
        requests: Arc::new(Requests::new(&settings.server_id)),
        settings,
        metrics: start.metrics.clone(),
        guard: guard.clone(),
        events: start.events.clone(),
    };
    let tls = start.certificate.as_ref().map(Certificate::server);
    let s3 = s3::serve(door.clone(), &start.s3_listener, s3_settings(config), tls.clone())?;
    let server = dialect::serve(door, start.listeners, tls)?;
    info!(listen = ?config.listen, s3_listen = %config.s3_listen, nodes = nodes.members().len(), "coordinator ready");
    let doors = server.handle();
    let serving = tasks.spawn(server);
    let background = async {
        tokio::join!(
            nodes.watch(config.probe_interval()),
            nodes.follow_records(),
            start.metrics.upkeep(),
            keys(&guard, config),
            follow(start.certificate.as_ref()),
            OptionFuture::from(start.sending),
        )
    };
    let mut unfit = None;
    tokio::select! {
        () = start.shutdown.requested() => info!("stop requested"),
        ended = serving => error!(?ended, "the doors closed by themselves"),
        why = metadata.unfit() => unfit = Some(why),
        _ = background => {}
    }
    start.events.close();
    tokio::join!(doors.stop(true), s3.stop());
    running.stop().await;
    if !tasks.join(TASKS_PATIENCE).await {
        warn!(seconds = TASKS_PATIENCE.as_secs(), "some tasks did not end in time; what they left is on record");
    }
    guard.stop();
    match unfit {
        Some(why) => bail!("this catalog cannot be served any more: {why}"),
        None => Ok(()),
    }
}

fn install_metrics() -> Result<Metrics> {
    let metrics = Metrics::install()?;
    names::describe_all();
    metadata::names::describe_all();
    segments::names::describe_all();
    Ok(metrics)
}

/// Starts the log; what sends lines and traces elsewhere, if they are wanted there.
fn start_log(config: &Config, server_id: &str, events: &Events) -> Result<Option<LogTask>> {
    Ok(logs::start(LogConfig {
        service: "coordinator",
        server_id: server_id.to_owned(),
        level: config.loglevel,
        loki: config.loki.clone(),
        traces: config.otlp.clone().map(|url| TraceConfig { url, percent: config.otlp_percent }),
        events: Some(events.clone()),
    })?)
}

fn catalog(config: &Config, cluster: &ClusterFile, clock: Arc<dyn Clock>) -> Result<Arc<SledMetadata>> {
    let settings = SledSettings {
        index_cache_bytes: config.index_cache_bytes,
        journalled: Some(cluster.cluster),
        ..SledSettings::default()
    };
    let metadata = SledMetadata::open(&config.data, cluster.cluster, clock, settings);
    Ok(Arc::new(metadata.with_context(|| format!("cannot open the catalog in {}", config.data.display()))?))
}

/// Begins to keep the catalog's journal. A directory that is not the newest is refused here, where that is found out in time; nodes
/// that are not up yet are not waited for.
async fn begin_journal(metadata: &SledMetadata, nodes: Arc<Nodes>) -> Result<()> {
    metadata.keep_journal(nodes, Handle::current())?;
    match timeout(JOURNAL_PATIENCE_AT_START, metadata.journal_settled()).await {
        Ok(Phase::Claimed(claim)) => info!(%claim, "the catalog's journal is kept"),
        Ok(Phase::Refused(why)) => bail!("this catalog cannot be served: {why}"),
        Ok(Phase::Unclaimed(why)) => warn!(reason = why, "the catalog's journal is not kept yet: reads only"),
        Err(_) => warn!("too few storage nodes answer to keep the catalog's journal: reads only, until they do"),
    }
    Ok(())
}

/// What secrets of keys are sealed with.
fn sealer(config: &Config, cluster: &ClusterFile) -> Result<Sealer> {
    let given = match &config.access.credentials_key_file {
        Some(path) => {
            let read = std::fs::read_to_string(path);
            Some(read.with_context(|| format!("cannot read the credentials key in {}", path.display()))?)
        }
        None => process::settings::secret(CREDENTIALS_KEY_VARIABLE).map_err(anyhow::Error::msg)?,
    };
    Ok(given.map_or_else(|| Ok(Sealer::of_cluster(cluster)), |key| Sealer::of_key(&key))?)
}

/// The audit log, if the settings ask for one.
fn audit(config: &Config) -> Result<Option<Audit>> {
    let access = &config.access;
    let (file_bytes, files) = (access.audit_file_bytes, access.audit_files);
    let start = |path| Audit::start(AuditConfig { path, file_bytes, files });
    Ok(access.audit_log.clone().map(start).transpose()?)
}

/// Takes what the files of the certificate become.
async fn follow(certificate: Option<&Certificate>) {
    if let Some(certificate) = certificate {
        certificate.follow().await;
    }
}

fn certificate(config: &Config) -> Result<Option<Certificate>> {
    let (Some(certificate), Some(key)) = (&config.access.tls_cert, &config.access.tls_key) else { return Ok(None) };
    Ok(Some(Certificate::load(certificate, key)?))
}

/// Makes the first key as soon as the catalog takes commits, and reads the keys again and again.
async fn keys(guard: &Guard, config: &Config) {
    let show = |key: &FreshKey| {
        let mut stdout = std::io::stdout().lock();
        let written = writeln!(stdout, "{}", announcement(&key.token)).and_then(|()| stdout.flush());
        written.map_err(|error| Error::caused(ErrorKind::Unavailable, "standard output is closed", error))
    };
    if !guard.identity.trusts_all() {
        while let Err(error) = guard.identity.begin(config.access.reset_admin_key, show).await {
            warn!(%error, "the admin key cannot be made yet");
            tokio::time::sleep(FIRST_KEY_RETRY).await;
        }
    }
    guard.identity.follow().await;
}

fn bind(config: &Config) -> Result<Vec<TcpListener>> {
    config.listen.iter().map(|address| listen_on(*address, config.body_stall())).collect()
}

/// How many times longer than a body may stand still an answer may: to the kernel a client that reads slowly looks as if it read nothing for as
/// long as it has less room than the next segment needs, which was over a minute at 25 KB/s (curl, Linux 6.18).
const UNREAD_STALLS: u32 = 20;

/// Connections inherit from the listener that the kernel ends them when their client has not taken a byte for [`UNREAD_STALLS`] times `stall`: a
/// client that asks and does not read would keep its connection, and nothing in the process runs that could notice (faults row 76). What memory
/// its answer has others are given before.
fn listen_on(address: SocketAddr, stall: Duration) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    let stall_ms = u32::try_from((stall * UNREAD_STALLS).as_millis()).unwrap_or(u32::MAX);
    set_tcp_user_timeout(&listener, stall_ms).context("the kernel knows no time limit for unread answers")?;
    Ok(listener)
}

fn connect(
    config: &Config,
    cluster: &ClusterFile,
    metadata: Arc<dyn Metadata>,
    clock: Arc<dyn Clock>,
    tasks: &Tasks,
) -> Result<Arc<Nodes>> {
    let connections = Connections::new(cluster, tasks.tracker().clone(), Handle::current())?;
    let connections = connections.trusting(config.access.tls_ca.as_deref())?;
    let mut members: Vec<(MemberConfig, Arc<dyn Node>)> = Vec::new();
    for url in &config.node {
        let node = HttpNode::new(url, &connections)?;
        let member = MemberConfig { url: url.clone(), id: None, weight_percent: WEIGHT_PERCENT_DEFAULT };
        members.push((member, Arc::new(node)));
    }
    let registry = Arc::new(Registry::new(metadata, clock.clone()));
    let connect = move |url: &str| Ok(Arc::new(HttpNode::new(url, &connections)?) as Arc<dyn Node>);
    Ok(Arc::new(Nodes::new(members, cluster.cluster, registry, clock).connecting(Box::new(connect))))
}

fn objects(
    config: &Config,
    metadata: Arc<dyn Metadata>,
    nodes: Arc<Nodes>,
    clock: Arc<dyn Clock>,
    tasks: &Tasks,
) -> Objects {
    let Storage { ec, ec_fallback, auto_ec_bytes, .. } = config.storage;
    let (budget, read_budget) = Budget::of(config.memory_bytes);
    Objects {
        metadata,
        nodes,
        clock,
        tasks: tasks.clone(),
        compute: Compute::Threads,
        prover: Prover::default(),
        budget,
        read_budget,
        clients: Clients::default(),
        cache: ChunkCache::new(config.cache_bytes),
        usage: Usage::default(),
        heat: Heat::default(),
        hot_fields: HotFields::new(config.hot_field.iter().cloned()),
        profiles: Profiles { ec, ec_fallback, auto_ec_bytes, ..Profiles::DEFAULT },
        lost: LostVersions::default(),
    }
}

fn worker_settings(config: &Config, server_id: &str) -> WorkerSettings {
    WorkerSettings {
        process: server_id.to_owned(),
        trash_window: Duration::from_secs(config.trash_window_s),
        orphan_grace: Duration::from_secs(config.orphan_grace_s),
        upload_expires: Duration::from_secs(config.upload_expires_s),
        node_lost_after: Duration::from_secs(config.node_lost_after_s),
        scrub_interval: Duration::from_secs(config.scrub_interval_s),
        census_interval: Duration::from_secs(config.census_interval_s),
        scrub_bytes_per_s: config.scrub_bytes_per_s,
        repair_bytes_per_s: config.repair_bytes_per_s,
        tiering: tiering(&config.storage),
    }
}

fn tiering(storage: &Storage) -> Tiering {
    Tiering {
        interval: Duration::from_secs(storage.tiering_interval_s),
        cold_after: Duration::from_secs(storage.cold_after_s),
        half_life: Duration::from_secs(storage.heat_half_life_s),
        hot_reads: storage.hot_reads,
    }
}

fn s3_settings(config: &Config) -> S3Settings {
    S3Settings { domain: config.s3_domain.clone(), takes_v2: config.s3_sigv2 }
}

fn door_settings(config: &Config, server_id: String, cluster: ClusterFile) -> DoorSettings {
    DoorSettings {
        body_stall: config.body_stall(),
        upload_bytes_max: (config.upload_bytes_max > 0).then_some(config.upload_bytes_max),
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        server_id,
        workers: config.worker_count(),
        cluster,
        cors_origins: config.cors_origin.clone(),
    }
}
