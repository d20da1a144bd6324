//! Load generator and benchmarks. Never shipped. `bench load` drives one load, `bench limits` measures the machine,
//! `bench suite` measures a running cluster against both and prints the table, `bench s3` makes its S3 rows for any server,
//! `bench list` reads pages of a bucket of many keys.

mod body;
mod cluster;
mod driver;
mod http;
mod latency;
mod limits;
mod load;
mod loopback;
mod machine;
mod processes;
mod report;
mod suite;
mod table;

use crate::body::{PIECE_BYTES, Verify};
use crate::cluster::Cluster;
use crate::driver::{Bucket, Driver, Keys, Payload, Session};
use crate::http::Endpoint;
use crate::load::{Load, Objects, Operation, Stop};
use crate::processes::Processes;
use crate::suite::listing::Listing;
use crate::suite::s3::S3Suite;
use crate::suite::{Options, Part};
use crate::table::Row;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// What each stream writes and what goes over loopback, for the limits.
const LIMIT_STREAM_BYTES: u64 = 512 << 20;

#[derive(Parser)]
#[command(about = "Load generator and benchmarks of Holdfast")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One load: N clients in a closed loop.
    Load(LoadArgs),
    /// What this machine's disk and loopback can do.
    Limits(LimitsArgs),
    /// The whole table, on a cluster that scripts/cluster.sh started.
    Suite(SuiteArgs),
    /// The rows of S3, on any server that speaks it.
    S3(S3Args),
    /// Pages of a bucket of many keys, from everywhere in it, on any server that speaks S3.
    List(ListArgs),
}

#[derive(Args)]
struct LoadArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// The protocol it speaks.
    #[arg(long, value_enum, default_value = "native")]
    protocol: Protocol,
    /// Objects are put in parts of this size, a multiple of 256KiB (S3).
    #[arg(long, value_parser = parse_part_size, conflicts_with = "bad_percent")]
    part_size: Option<usize>,
    /// How many clients.
    #[arg(long, default_value_t = 1)]
    clients: usize,
    /// Sizes of the objects, chosen among by chance: 4096, 4KiB, 1MiB,64MiB …
    #[arg(long, value_delimiter = ',', value_parser = parse_size, default_value = "4KiB")]
    size: Vec<u64>,
    /// What the clients do.
    #[arg(long, value_enum, default_value = "put")]
    operation: OperationArg,
    /// Share of downloads in a mixed load.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    get_percent: u8,
    /// How long, in seconds.
    #[arg(long, conflicts_with = "count", default_value_t = 10.0)]
    seconds: f64,
    /// How many requests in all, instead of a time.
    #[arg(long)]
    count: Option<u64>,
    /// How many objects are put beforehand, to be downloaded, listed or deleted.
    #[arg(long, default_value_t = 256)]
    objects: u64,
    /// Share of requests that must be refused: a missing file, a bad version, an upload without a file or without a name (native).
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    bad_percent: u8,
    /// How closely downloads are compared.
    #[arg(long, value_enum, default_value = "sampled")]
    verify: Verify,
    /// More errors than this make the exit status 1.
    #[arg(long, default_value_t = 0)]
    errors_max: u64,
}

/// A server, and how it is seen.
#[derive(Args)]
struct ServerArgs {
    /// The server, as http://HOST:PORT.
    #[arg(long)]
    endpoint: Endpoint,
    /// The bucket that objects are put into; it is made if it is missing (S3).
    #[arg(long, default_value = "bench")]
    bucket: String,
    /// The access key (S3).
    #[arg(long, env = "AWS_ACCESS_KEY_ID", default_value = "bench")]
    access_key: String,
    /// Its secret (S3).
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", default_value = "bench", hide_env_values = true)]
    secret_key: String,
    /// The region that signatures are for (S3).
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    region: String,
    /// Whether signatures cover the bodies (S3).
    #[arg(long, value_enum, default_value = "unsigned")]
    payload: Payload,
    /// Its processes, whose CPU and memory are told.
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
    /// A directory with their NAME.pid files, instead.
    #[arg(long, conflicts_with = "pids")]
    run_dir: Option<PathBuf>,
}

impl ServerArgs {
    fn processes(&self) -> io::Result<Processes> {
        match &self.run_dir {
            Some(dir) => Processes::of_directory(dir),
            None => Ok(Processes::of_pids(&self.pids)),
        }
    }

    fn bucket(&self) -> Bucket {
        let (access_key, secret_key) = (self.access_key.clone(), self.secret_key.clone());
        let keys = Keys { access_key, secret_key, region: self.region.clone() };
        Bucket { endpoint: self.endpoint.clone(), name: self.bucket.clone(), keys, payload: self.payload }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// Files, as in the README.
    Native,
    /// S3, path style, signature version 4.
    S3,
}

#[derive(Clone, Copy, ValueEnum)]
enum OperationArg {
    Put,
    Get,
    Mixed,
    /// Pages of 1,000 keys (S3).
    List,
    /// Each object once.
    Delete,
}

#[derive(Args)]
struct S3Args {
    #[command(flatten)]
    server: ServerArgs,
    /// The same server's native dialect, to be measured beside it.
    #[arg(long)]
    native: Option<Endpoint>,
    /// Four times as long.
    #[arg(long)]
    full: bool,
    /// Writes the table as Markdown to this file, too.
    #[arg(long)]
    markdown: Option<PathBuf>,
}

#[derive(Args)]
struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// How many keys.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    keys: u64,
    /// They are in the bucket from an earlier run.
    #[arg(long)]
    filled: bool,
    /// Pages read at each position.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pages: u64,
    /// Writes the table as Markdown to this file, too.
    #[arg(long)]
    markdown: Option<PathBuf>,
}

#[derive(Args)]
struct LimitsArgs {
    /// A directory on the filesystem in question.
    #[arg(long)]
    dir: PathBuf,
}

#[derive(Args)]
struct SuiteArgs {
    /// The cluster's data directory, as given to scripts/cluster.sh.
    #[arg(long)]
    data: PathBuf,
    /// Longer runs, a 4 GiB upload, a node with a million shards.
    #[arg(long)]
    full: bool,
    /// Measures these parts of the table alone.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// A directory with a directory for each package, in it plain tars of its successive releases.
    #[arg(long)]
    releases: Option<PathBuf>,
    /// The storage node's program, for the restarts; by default the one beside this program.
    #[arg(long)]
    storage_node: Option<PathBuf>,
    /// Writes the table as Markdown to this file, too.
    #[arg(long)]
    markdown: Option<PathBuf>,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Load(args) => load_once(&args),
        Command::Limits(args) => print_limits(&args),
        Command::Suite(args) => print_suite(args),
        Command::S3(args) => print_s3(&args),
        Command::List(args) => print_list(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("bench: {error}");
        ExitCode::FAILURE
    })
}

fn load_once(args: &LoadArgs) -> io::Result<ExitCode> {
    let servers = args.server.processes()?;
    if args.protocol == Protocol::S3 && args.bad_percent > 0 {
        return Err(io::Error::other("--bad-percent goes with --protocol native"));
    }
    let driver = match args.protocol {
        Protocol::Native => Driver::Native(args.server.endpoint.clone()),
        Protocol::S3 => Driver::S3(args.server.bucket()),
    };
    Session::new(driver.clone()).prepare()?;
    let operation = match args.operation {
        OperationArg::Put => Operation::Put,
        OperationArg::Get => Operation::Get,
        OperationArg::Mixed => Operation::Mixed { get_percent: args.get_percent },
        OperationArg::List => Operation::List,
        OperationArg::Delete => Operation::Delete,
    };
    let objects = Objects::new(args.size.clone());
    let mut load = Load {
        driver,
        clients: args.clients,
        operation: Operation::Put,
        stop: Stop::Count(args.objects),
        objects: &objects,
        stored: 0,
        part_bytes: args.part_size,
        bad_percent: 0,
        verify: args.verify,
        servers: &servers,
    };
    if operation != Operation::Put {
        let outcome = load::run(&load);
        if outcome.errors() > 0 {
            return Err(io::Error::other(format!("objects not be put beforehand: {}", outcome.messages.join("; "))));
        }
        load.stored = args.objects;
    }
    load.operation = operation;
    load.stop = args.count.map_or(Stop::After(Duration::from_secs_f64(args.seconds)), Stop::Count);
    load.bad_percent = args.bad_percent;
    servers.reset_peaks();
    let outcome = load::run(&load);
    report::lines(&outcome, &servers).iter().for_each(|line| println!("{line}"));
    Ok(if outcome.errors() > args.errors_max { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print_limits(args: &LimitsArgs) -> io::Result<ExitCode> {
    let mut rows = limits::measure(&args.dir, LIMIT_STREAM_BYTES)?.rows();
    rows.extend(loopback::measure(LIMIT_STREAM_BYTES)?.rows());
    print!("{}", table::to_text(&rows));
    Ok(ExitCode::SUCCESS)
}

fn print_suite(args: SuiteArgs) -> io::Result<ExitCode> {
    let storage_node = match args.storage_node {
        Some(program) => program,
        None => env::current_exe()?.with_file_name("storage-node"),
    };
    let machine = machine::describe(&args.data);
    let options = Options { full: args.full, only: args.only, releases: args.releases, storage_node };
    let rows = suite::run(&Cluster::of_directory(&args.data)?, &options)?;
    print_table(&machine, &rows, args.markdown.as_deref())
}

fn print_s3(args: &S3Args) -> io::Result<ExitCode> {
    let (bucket, servers) = (args.server.bucket(), args.server.processes()?);
    let native = args.native.clone().map(Driver::Native);
    let rows = suite::s3::measure(S3Suite { bucket, native, servers: &servers, full: args.full });
    print_table(&machine::describe(&env::current_dir()?), &rows, args.markdown.as_deref())
}

fn print_list(args: &ListArgs) -> io::Result<ExitCode> {
    let (bucket, servers) = (args.server.bucket(), args.server.processes()?);
    let listing = Listing { bucket, keys: args.keys, filled: args.filled, pages: args.pages, servers: &servers };
    let rows = suite::listing::measure(&listing)?;
    print_table(&machine::describe(&env::current_dir()?), &rows, args.markdown.as_deref())
}

fn print_table(machine: &str, rows: &[Row], markdown: Option<&Path>) -> io::Result<ExitCode> {
    println!("{machine}\n\n{}", table::to_text(rows));
    if let Some(path) = markdown {
        File::create(path)?.write_all(format!("{machine}\n\n{}", table::to_markdown(rows)).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A number of bytes, with or without KiB, MiB or GiB.
fn parse_size(text: &str) -> Result<u64, String> {
    let units = [("KiB", 1u64 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let (digits, unit) =
        units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit))).unwrap_or((text, 1));
    let number: Option<u64> = digits.parse().ok();
    number
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| format!("{text:?} is no size; say 4096, 4KiB, 1MiB"))
}

/// A size of parts: bodies are made in pieces, and a part has whole ones.
fn parse_part_size(text: &str) -> Result<usize, String> {
    let size = parse_size(text)?;
    let whole = size > 0 && size.is_multiple_of(PIECE_BYTES as u64);
    usize::try_from(size).ok().filter(|_| whole).ok_or_else(|| format!("{text} is no multiple of 256KiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(
            ["0", "4096", "4KiB", "1MiB", "2GiB"].map(parse_size),
            [Ok(0), Ok(4096), Ok(4096), Ok(1 << 20), Ok(2 << 30)]
        );
        for text in ["", "KiB", "-1", "1.5MiB", "99999999999GiB"] {
            assert!(parse_size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn arguments_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
