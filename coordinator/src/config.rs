//! The coordinator's settings, from file, environment and flags ([`process::settings`]); what each means is said in its help.
//!
//! What it keeps true: a `Config` that [`load`] returned has been checked as a whole, and every refusal names flag and value.

mod access;
mod storage;

pub use access::{Access, Auth, RATE_PER_IP};
pub use storage::Storage;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use process::logs::Level;
use process::settings::{self, bytes, index_cache_bytes};
use protocol::routes::base_url;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The least `--upload-expires-s`: uploads show life three times as often, and some of that may be lost or late.
pub const UPLOAD_EXPIRES_S_MIN: u64 = 15;
/// The least `--memory-bytes`: two of the largest shards, so that one upload and one download can always go on.
const MEMORY_BYTES_MIN: u64 = 2 * protocol::SHARD_BYTES_MAX as u64;
/// The longest interval accepted, in seconds: a day.
const INTERVAL_S_MAX: u64 = 86_400;
/// The longest `--server-id`, in bytes.
const SERVER_ID_BYTES_MAX: usize = 64;
/// The most `--workers`.
const WORKERS_MAX: usize = 256;

/// Fields of documents that are hot if nothing else is said (contract C2).
pub const HOT_FIELDS: [&str; 4] = ["view_count", "like_count", "inventory_count", "update_count"];
/// The most fields of `--hot-field`: no document has more hot ones.
pub const HOT_FIELDS_MAX: usize = 16;

/// Splits files into chunks, places them on storage nodes, and keeps the versioned catalog.
#[derive(Clone, Debug, Parser)]
#[command(name = "coordinator", version)]
pub struct Config {
    /// Settings file (TOML, one key per flag); environment and flags go before it
    #[arg(long, env = "HOLDFAST_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address to serve HTTP on; may be repeated [default: 127.0.0.1 and --port]
    #[arg(long, env = "HOLDFAST_LISTEN", value_name = "ADDRESS", value_delimiter = ',')]
    pub listen: Vec<SocketAddr>,

    /// Port of 127.0.0.1 to serve HTTP on, where no --listen is given
    #[arg(long, env = "PORT", value_name = "PORT", default_value_t = 8_080)]
    pub port: u16,

    /// This process's name in logs, metrics, leases and /health; another one for each [default: coordinator- and its first port]
    #[arg(long, env = "NODE_ID", value_name = "NAME")]
    pub server_id: Option<String>,

    /// Origin, scheme and host, whose pages may use the native doors from a browser; * = any. May be repeated
    #[arg(long, env = "HOLDFAST_CORS_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub cors_origin: Vec<String>,

    /// Address to serve the S3 protocol on
    #[arg(long, env = "HOLDFAST_S3_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:9000")]
    pub s3_listen: SocketAddr,

    /// Domain below which a host name is a bucket's: with s3.example, the host photos.s3.example is the bucket photos
    #[arg(long, env = "HOLDFAST_S3_DOMAIN", value_name = "DOMAIN")]
    pub s3_domain: Option<String>,

    /// Accept the old signatures of version 2, too
    #[arg(long, env = "HOLDFAST_S3_SIGV2")]
    pub s3_sigv2: bool,

    /// Directory of the catalog
    #[arg(long, env = "HOLDFAST_DATA", value_name = "DIR", default_value = "./data/coordinator")]
    pub data: PathBuf,

    /// Cluster id and secret; `coordinator new-cluster` makes it
    #[arg(
        long,
        env = "HOLDFAST_CLUSTER_FILE",
        value_name = "FILE",
        default_value = "./data/cluster.json",
        global = true
    )]
    pub cluster_file: PathBuf,

    /// Base URL of a storage node, such as http://127.0.0.1:8081; repeated for each. Nodes that join by themselves need not be named
    #[arg(long, env = "HOLDFAST_NODES", value_name = "URL", value_parser = base_url, value_delimiter = ',')]
    pub node: Vec<String>,

    /// Seconds between two health checks of every node
    #[arg(long, env = "HOLDFAST_PROBE_INTERVAL_S", value_name = "SECONDS", default_value_t = 30)]
    pub probe_interval_s: u64,

    /// A request body that brings no byte for this many seconds is ended (or less than 1 KiB in the longer of these and 30), and, after twenty times as many, an answer of which the client takes none
    #[arg(long, env = "HOLDFAST_BODY_STALL_S", value_name = "SECONDS", default_value_t = 30)]
    pub body_stall_s: u64,

    /// The largest upload taken; 0 = any size
    #[arg(long, env = "HOLDFAST_UPLOAD_BYTES_MAX", value_name = "BYTES", value_parser = bytes, default_value = "0")]
    pub upload_bytes_max: u64,

    /// Memory for bytes on their way, of all requests together
    #[arg(long, env = "HOLDFAST_MEMORY_BYTES", value_name = "BYTES", value_parser = bytes, default_value = "32MiB")]
    pub memory_bytes: u64,

    /// Memory for the cache of small chunks read lately; 0 = none
    #[arg(long, env = "HOLDFAST_CACHE_BYTES", value_name = "BYTES", value_parser = bytes, default_value = "16MiB")]
    pub cache_bytes: u64,

    /// Memory for the cache of the catalog's index
    #[arg(long, env = "HOLDFAST_INDEX_CACHE_BYTES", value_name = "BYTES", value_parser = index_cache_bytes, default_value = "16MiB")]
    pub index_cache_bytes: u64,

    /// Field of documents that changes often and is kept in copies, apart from the others; may be repeated
    #[arg(
        long,
        env = "HOLDFAST_HOT_FIELDS",
        value_name = "FIELD",
        value_delimiter = ',',
        default_values = HOT_FIELDS
    )]
    pub hot_field: Vec<String>,

    /// HTTP worker threads; 0 = one per core
    #[arg(long, env = "HOLDFAST_WORKERS", value_name = "N", default_value_t = 0)]
    pub workers: usize,

    /// Seconds that deleted versions are kept before their bytes go
    #[arg(long, env = "HOLDFAST_TRASH_WINDOW_S", value_name = "SECONDS", default_value_t = 86_400)]
    pub trash_window_s: u64,

    /// A shard that no record names goes when it is older than this many seconds
    #[arg(long, env = "HOLDFAST_ORPHAN_GRACE_S", value_name = "SECONDS", default_value_t = 3_600)]
    pub orphan_grace_s: u64,

    /// An upload that shows no life for this many seconds is given up
    #[arg(long, env = "HOLDFAST_UPLOAD_EXPIRES_S", value_name = "SECONDS", default_value_t = 300)]
    pub upload_expires_s: u64,

    /// What a node held is repaired elsewhere when it was silent for this many seconds
    #[arg(long, env = "HOLDFAST_NODE_LOST_AFTER_S", value_name = "SECONDS", default_value_t = 600)]
    pub node_lost_after_s: u64,

    /// Seconds between two scrubs, which read every record of every node
    #[arg(long, env = "HOLDFAST_SCRUB_INTERVAL_S", value_name = "SECONDS", default_value_t = 604_800)]
    pub scrub_interval_s: u64,

    /// Most bytes that a scrub reads in a second; 0 = any
    #[arg(long, env = "HOLDFAST_SCRUB_BYTES_PER_S", value_name = "BYTES", value_parser = bytes, default_value = "32MiB")]
    pub scrub_bytes_per_s: u64,

    /// Seconds between two censuses, which compare what nodes hold with the catalog
    #[arg(long, env = "HOLDFAST_CENSUS_INTERVAL_S", value_name = "SECONDS", default_value_t = 86_400)]
    pub census_interval_s: u64,

    /// Most bytes that repair copies in a second; 0 = any
    #[arg(long, env = "HOLDFAST_REPAIR_BYTES_PER_S", value_name = "BYTES", value_parser = bytes, default_value = "0")]
    pub repair_bytes_per_s: u64,

    /// What is logged; degradation always is
    #[arg(long, env = "HOLDFAST_LOGLEVEL", value_enum, default_value = "error")]
    pub loglevel: Level,

    /// Base URL of a Loki to push the log to as well
    #[arg(long, env = "HOLDFAST_LOKI", value_name = "URL")]
    pub loki: Option<String>,

    /// How chunks are encoded.
    #[command(flatten)]
    pub storage: Storage,

    /// Base URL of a collector of OpenTelemetry traces (OTLP over HTTP), such as http://127.0.0.1:4318
    #[arg(long, env = "HOLDFAST_OTLP", value_name = "URL")]
    pub otlp: Option<String>,

    /// Of a hundred traces that begin here, so many are sent
    #[arg(long, env = "HOLDFAST_OTLP_PERCENT", value_name = "PERCENT", default_value_t = 100,
          value_parser = clap::value_parser!(u8).range(0..=100))]
    pub otlp_percent: u8,

    /// Who may come in, and how much.
    #[command(flatten)]
    pub access: Access,

    /// Something else than to serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program does instead of serving.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Makes the cluster file, with a fresh id and secret; refuses to replace one
    NewCluster,
    /// Makes a new catalog directory from the journals that the storage nodes keep, and fences the coordinator that had the old one
    RestoreCatalog(RestoreCatalog),
}

/// What to restore a catalog from, and to where.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct RestoreCatalog {
    /// Read the journals of the nodes named with --node; there is no other source
    #[arg(long, required = true)]
    pub from_nodes: bool,

    /// Base URL of a storage node; repeated for each: all but one of the cluster's nodes must answer
    #[arg(long, value_name = "URL", value_parser = base_url, value_delimiter = ',', required = true)]
    pub node: Vec<String>,

    /// Directory to be made; must be empty or missing
    #[arg(long, value_name = "NEW_DIR")]
    pub data: PathBuf,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// Settings that have been checked. On an error, or for `--help`, `main` calls [`clap::Error::exit`].
pub fn load(args: impl Iterator<Item = OsString>) -> Result<Config, clap::Error> {
    let config: Config = settings::load(args)?;
    let config = config.completed();
    match config.mistake() {
        Some(mistake) => Err(Config::command().error(ErrorKind::ValueValidation, mistake)),
        None => Ok(config),
    }
}

impl Config {
    /// With what follows from other settings.
    fn completed(mut self) -> Config {
        if self.listen.is_empty() {
            self.listen.push((Ipv4Addr::LOCALHOST, self.port).into());
        }
        self
    }

    /// This process's name.
    pub fn server_name(&self) -> String {
        let by_port = || format!("coordinator-{}", self.listen.first().map_or(0, SocketAddr::port));
        self.server_id.clone().unwrap_or_else(by_port)
    }

    /// HTTP worker threads to start.
    pub fn worker_count(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        if self.workers == 0 { cores().min(WORKERS_MAX) } else { self.workers }
    }

    /// Time between two health checks of a node.
    pub fn probe_interval(&self) -> Duration {
        Duration::from_secs(self.probe_interval_s)
    }

    /// How long a request body may bring nothing.
    pub fn body_stall(&self) -> Duration {
        Duration::from_secs(self.body_stall_s)
    }

    /// Whether whoever reaches a listener may do anything.
    pub fn trusts_all(&self) -> bool {
        match self.access.auth {
            Auth::On => false,
            Auth::Auto => self.access.insecure_no_auth || self.listeners().all(|address| address.ip().is_loopback()),
        }
    }

    /// Every address that is served, whatever is spoken there.
    pub fn listeners(&self) -> impl Iterator<Item = SocketAddr> {
        self.listen.iter().copied().chain([self.s3_listen])
    }

    /// The first thing that cannot work, in words for the operator.
    fn mistake(&self) -> Option<String> {
        if self.command.is_some() {
            return None; // It uses the cluster file's path, and what it is given itself.
        }
        self.listen_mistake()
            .or_else(|| self.access.mistake())
            .or_else(|| self.storage.mistake())
            .or_else(|| self.node_mistake())
            .or_else(|| self.bound_mistake())
            .or_else(|| self.name_mistake())
            .or_else(|| self.origin_mistake())
            .or_else(|| self.domain_mistake())
            .or_else(|| self.hot_mistake())
    }

    fn listen_mistake(&self) -> Option<String> {
        if self.listen.contains(&self.s3_listen) && self.s3_listen.port() != 0 {
            return Some(format!("--s3-listen {}: is a --listen, too", self.s3_listen));
        }
        first_repeated(&self.listen).map(|twice| format!("--listen {twice} is given twice"))
    }

    /// It is a label of metrics and a field of records.
    fn name_mistake(&self) -> Option<String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let is_plain = |name: &&String| (1..=SERVER_ID_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain);
        let name = self.server_id.as_ref().filter(|name| !is_plain(name))?;
        Some(format!("--server-id {name}: must be 1 to {SERVER_ID_BYTES_MAX} of letters, digits, '-', '_' and '.'"))
    }

    /// Browsers send an origin without a path; one with a path would never match.
    fn origin_mistake(&self) -> Option<String> {
        let is_origin = |origin: &&String| {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            *origin == "*" || host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', ' ']))
        };
        let origin = self.cors_origin.iter().find(|origin| !is_origin(origin))?;
        Some(format!("--cors-origin {origin}: must be * or an origin such as https://app.example, without a path"))
    }

    /// Host names are compared with it.
    fn domain_mistake(&self) -> Option<String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        let is_domain =
            |domain: &&String| domain.bytes().all(plain) && domain.split('.').all(|label| !label.is_empty());
        let domain = self.s3_domain.as_ref().filter(|domain| !is_domain(domain))?;
        Some(format!("--s3-domain {domain:?}: must be a domain such as s3.example"))
    }

    /// Each may cut a document twice, and one commit names all pieces.
    fn hot_mistake(&self) -> Option<String> {
        if self.hot_field.iter().any(String::is_empty) {
            return Some("--hot-field \"\": must name a field".to_owned());
        }
        let fields = self.hot_field.len();
        (fields > HOT_FIELDS_MAX)
            .then(|| format!("--hot-field: {fields} are given, at most {HOT_FIELDS_MAX} are taken"))
    }

    /// None need be named: the catalog knows those that joined, and others may join.
    fn node_mistake(&self) -> Option<String> {
        first_repeated(&self.node).map(|twice| format!("--node {twice} is given twice"))
    }

    fn bound_mistake(&self) -> Option<String> {
        let intervals = [("--probe-interval-s", self.probe_interval_s), ("--body-stall-s", self.body_stall_s)];
        let pauses = [("--scrub-interval-s", self.scrub_interval_s), ("--census-interval-s", self.census_interval_s)];
        if let Some((flag, _)) = pauses.into_iter().find(|(_, value)| *value == 0) {
            return Some(format!("{flag} 0: must be at least 1"));
        }
        if let Some((flag, value)) = intervals.into_iter().find(|(_, value)| !(1..=INTERVAL_S_MAX).contains(value)) {
            return Some(format!("{flag} {value}: must be from 1 to {INTERVAL_S_MAX}"));
        }
        if self.node_lost_after_s == 0 {
            return Some("--node-lost-after-s 0: must be at least 1".to_owned());
        }
        if self.upload_expires_s < UPLOAD_EXPIRES_S_MIN {
            return Some(format!(
                "--upload-expires-s {}: must be at least {UPLOAD_EXPIRES_S_MIN}",
                self.upload_expires_s
            ));
        }
        if self.memory_bytes < MEMORY_BYTES_MIN {
            return Some(format!("--memory-bytes {}: must be at least {MEMORY_BYTES_MIN}", self.memory_bytes));
        }
        if self.workers > WORKERS_MAX {
            return Some(format!("--workers {}: must be at most {WORKERS_MAX}", self.workers));
        }
        None
    }
}

fn first_repeated<T: PartialEq>(values: &[T]) -> Option<&T> {
    values.iter().enumerate().find(|(index, value)| values[..*index].contains(value)).map(|(_, value)| value)
}
