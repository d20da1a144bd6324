//! The node's settings, by `process::settings` from file, environment and flags; what each means is said in its help.

use clap::Parser;
use process::logs::Level;
use protocol::routes::base_url;
use protocol::{Error, NodeId};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Keeps immutable shards for a Holdfast cluster.
#[derive(Clone, Debug, Parser)]
#[command(name = "storage-node", version)]
pub struct Config {
    /// Settings file (TOML); flags and environment go before it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address to serve HTTP on
    #[arg(long, env = "HOLDFAST_NODE_LISTEN", default_value = "127.0.0.1:8081")]
    pub listen: SocketAddr,

    /// Data directory; belongs to one node of one cluster for its whole life
    #[arg(long, env = "HOLDFAST_NODE_DATA", value_name = "DIR")]
    pub data: PathBuf,

    /// This node's name in the cluster, such as n1
    #[arg(long, env = "HOLDFAST_NODE_ID", value_name = "NAME")]
    pub node_id: NodeId,

    /// File made by `coordinator new-cluster`: cluster id and secret
    #[arg(long, env = "HOLDFAST_CLUSTER_FILE", value_name = "FILE")]
    pub cluster_file: PathBuf,

    /// Base URL of a coordinator to announce itself to, such as http://127.0.0.1:8080; may be repeated
    #[arg(long, env = "HOLDFAST_NODE_COORDINATORS", value_name = "URL", value_parser = base_url, value_delimiter = ',')]
    pub coordinator: Vec<String>,

    /// Base URL by which coordinators and other nodes reach this one; http:// (https:// with --tls-cert) and --listen if none is given
    #[arg(long, env = "HOLDFAST_NODE_ADVERTISE", value_name = "URL", value_parser = base_url)]
    pub advertise: Option<String>,

    /// Certificate chain (PEM): the node speaks TLS. Read again when it changes
    #[arg(long, env = "HOLDFAST_NODE_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// Private key (PEM) of --tls-cert
    #[arg(long, env = "HOLDFAST_NODE_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Certificates (PEM) of the authorities that nodes and coordinators with https:// URLs are trusted by
    #[arg(long, env = "HOLDFAST_NODE_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,

    /// Failure domain, such as a rack or a datacentre
    #[arg(long, env = "HOLDFAST_NODE_ZONE", default_value = "")]
    pub zone: String,

    /// Bytes it may use in all; 0 = all that the filesystem has
    #[arg(long, env = "HOLDFAST_NODE_CAPACITY_BYTES", value_parser = process::settings::bytes, default_value = "0")]
    pub capacity_bytes: u64,

    /// Bytes kept free for deletes and compaction; 0 = two segments or 1 % of the capacity, whichever is more
    #[arg(long, env = "HOLDFAST_NODE_RESERVE_BYTES", value_parser = process::settings::bytes, default_value = "0")]
    pub reserve_bytes: u64,

    /// Bytes of one segment file; 0 = 64 MiB, less where the capacity is under 4 GiB
    #[arg(long, env = "HOLDFAST_NODE_SEGMENT_BYTES", value_parser = segment_bytes, default_value = "0")]
    pub segment_bytes: u64,

    /// Memory for the index's cache
    #[arg(long, env = "HOLDFAST_NODE_INDEX_CACHE_BYTES", value_parser = process::settings::index_cache_bytes, default_value = "32MiB")]
    pub index_cache_bytes: u64,

    /// Segments of which more than this share is dead are rewritten
    #[arg(long, env = "HOLDFAST_NODE_COMPACT_DEAD_SHARE", value_parser = share, default_value = "0.5")]
    pub compact_dead_share: f64,

    /// Most bytes that compaction reads in a second
    #[arg(long, env = "HOLDFAST_NODE_COMPACT_BYTES_PER_S", value_parser = process::settings::bytes, default_value = "64MiB")]
    pub compact_bytes_per_s: u64,

    /// Most bytes of request bodies held in memory at once; what exceeds it is answered 503
    #[arg(long, env = "HOLDFAST_NODE_IN_FLIGHT_BYTES", value_parser = in_flight_bytes, default_value = "96MiB")]
    pub in_flight_bytes: u64,

    /// A request body that brings no byte for this long is ended
    #[arg(long, env = "HOLDFAST_NODE_BODY_TIMEOUT_S", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=INTERVAL_S_MAX))]
    pub body_timeout_s: u64,

    /// Seconds between two local health checks
    #[arg(long, env = "HOLDFAST_NODE_HEALTH_INTERVAL_S", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=INTERVAL_S_MAX))]
    pub health_interval_s: u64,

    /// HTTP worker threads
    #[arg(long, env = "HOLDFAST_NODE_WORKERS", default_value = "2", value_parser = clap::value_parser!(u16).range(1..=WORKERS_MAX))]
    pub workers: u16,

    /// Start the data directory anew, whatever it holds: all shards in it are removed
    #[arg(long)]
    pub replace: bool,

    /// What is logged
    #[arg(long, env = "HOLDFAST_LOGLEVEL", value_enum, default_value = "error")]
    pub loglevel: Level,

    /// Base URL of a Loki to push logs to as well
    #[arg(long, env = "HOLDFAST_LOKI", value_name = "URL")]
    pub loki: Option<String>,

    /// Base URL of a collector of OpenTelemetry traces (OTLP over HTTP); those that the coordinator has begun are sent there
    #[arg(long, env = "HOLDFAST_OTLP", value_name = "URL")]
    pub otlp: Option<String>,
}

/// The shortest segment: the longest shard fits well.
const SEGMENT_BYTES_MIN: u64 = 2 * protocol::SHARD_BYTES_MAX as u64;
/// The longest: positions within one are 32 bits.
const SEGMENT_BYTES_MAX: u64 = 2 << 30;

/// The longest interval accepted, in seconds: a day.
const INTERVAL_S_MAX: u64 = 86_400;
/// The most `--workers`.
const WORKERS_MAX: i64 = 256;
/// The least `--in-flight-bytes`: two of the longest shards at a time.
const IN_FLIGHT_BYTES_MIN: u64 = 2 * protocol::SHARD_BYTES_MAX as u64;

fn in_flight_bytes(text: &str) -> Result<u64, String> {
    process::settings::at_least(IN_FLIGHT_BYTES_MIN, process::settings::bytes(text)?)
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "must be from 0 to 1".to_owned())
}

fn segment_bytes(text: &str) -> Result<u64, String> {
    let bytes = process::settings::bytes(text)?;
    if bytes != 0 && !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) {
        return Err(format!("must be 0 or from {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}

impl Config {
    /// How long a request body may bring nothing.
    pub fn body_timeout(&self) -> Duration {
        Duration::from_secs(self.body_timeout_s)
    }

    /// Where others reach a node that listens on `listen`. `Invalid` if that is every address and none was named.
    pub fn advertised(&self, listen: SocketAddr) -> Result<String, Error> {
        match &self.advertise {
            Some(url) => Ok(url.clone()),
            None if listen.ip().is_unspecified() => Err(Error::invalid(format!(
                "--listen {listen} is no address that others can reach: say with --advertise URL how they do"
            ))),
            None => Ok(format!("{}://{listen}", if self.tls_cert.is_some() { "https" } else { "http" })),
        }
    }

    /// Time between two local health checks.
    pub fn health_interval(&self) -> Duration {
        Duration::from_secs(self.health_interval_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn load(args: &[&str]) -> Result<Config, clap::Error> {
        let program = ["storage-node", "--data", "d", "--node-id", "n1", "--cluster-file", "c"];
        process::settings::load(program.iter().chain(args).map(OsString::from))
    }

    #[test]
    fn defaults_are_as_printed_and_the_single_dash_works() {
        let config = load(&["-loglevel", "info", "--capacity-bytes", "2GiB"]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8081");
        assert_eq!(config.loglevel, Level::Info);
        assert_eq!(config.capacity_bytes, 2 << 30);
        assert_eq!(config.index_cache_bytes, 32 << 20);
    }

    #[test]
    fn a_node_that_listens_everywhere_must_say_how_it_is_reached() {
        let advertised = |args: &[&str]| {
            let config = load(args).unwrap();
            config.advertised(config.listen).map_err(|error| error.message)
        };
        assert_eq!(advertised(&[]).as_deref(), Ok("http://127.0.0.1:8081"));
        assert!(advertised(&["--listen", "0.0.0.0:81"]).unwrap_err().contains("--advertise"));
        let named = advertised(&["--listen", "[::]:81", "--advertise", "http://n1.example:81/"]);
        assert_eq!(named.as_deref(), Ok("http://n1.example:81"));
        assert!(load(&["--coordinator", "n1"]).is_err());
        let secure = advertised(&["--tls-cert", "c.pem", "--tls-key", "k.pem"]);
        assert_eq!(secure.as_deref(), Ok("https://127.0.0.1:8081"));
        assert!(load(&["--tls-cert", "c.pem"]).is_err());
    }

    #[test]
    fn a_node_name_that_could_be_a_path_is_refused() {
        assert!(load(&["--node-id", "../n1"]).is_err());
        for wrong in ["many", "8MiB", "3GiB"] {
            assert!(load(&["--segment-bytes", wrong]).is_err(), "{wrong}");
        }
        assert_eq!(load(&["--segment-bytes", "16MiB"]).unwrap().segment_bytes, 16 << 20);
    }

    #[test]
    fn what_could_not_work_is_refused_at_the_start() {
        for (flag, wrong, right) in [
            ("--index-cache-bytes", &["0", "256"][..], "1MiB"),
            ("--in-flight-bytes", &["0", "1MiB"], "32MiB"),
            ("--compact-dead-share", &["2", "-1", "NaN", "half"], "1"),
            ("--body-timeout-s", &["0", "86401"], "86400"),
            ("--health-interval-s", &["0"], "1"),
            ("--workers", &["0", "257"], "256"),
        ] {
            for value in wrong {
                assert!(load(&[&format!("{flag}={value}")]).is_err(), "{flag} {value}");
            }
            assert!(load(&[flag, right]).is_ok(), "{flag} {right}");
        }
    }
}
