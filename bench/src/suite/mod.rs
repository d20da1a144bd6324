//! The whole table: every figure the project promises, measured on a running cluster, beside its limit or target.
//!
//! What it keeps true:
//! - Limits and figures come from the same run on the same machine.
//! - What could not be measured has a row that says why.

mod dedup;
mod documents;
mod large;
pub mod listing;
mod restart;
pub mod s3;
mod small;
mod watching;

use crate::body::Verify;
use crate::cluster::Cluster;
use crate::driver::{Bucket, Keys, Payload};
use crate::limits::{self, DiskLimits};
use crate::load::{self, Load, Objects, Operation, Outcome, Stop};
use crate::loopback::{self, LoopbackLimits};
use crate::table::{Quantity, Row, Unit};
use clap::ValueEnum;
use std::io;
use std::path::PathBuf;

/// Copies of every chunk.
const COPIES: u64 = 3;
/// One GiB.
const GIB: u64 = 1 << 30;

/// A part of the table that can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// 4 KiB.
    Small,
    /// 1 MiB and 64 MiB.
    Medium,
    /// 1 GiB.
    Large,
    /// The coordinator's peaks.
    Memory,
    /// The S3 protocol.
    S3,
    /// Hot updates of documents, on six nodes.
    Documents,
    /// Successive releases of packages.
    Releases,
    /// Metrics.
    Watching,
    /// Starts of a node.
    Restarts,
}

/// What to measure.
pub struct Options {
    /// These parts alone; all if there are none.
    pub only: Vec<Part>,
    /// Longer runs, the 4 GiB upload and a node with a million shards as well.
    pub full: bool,
    /// A directory for each package, in it plain tars of its successive releases, in the order of their names.
    pub releases: Option<PathBuf>,
    /// The storage node's program, for the restarts.
    pub storage_node: PathBuf,
}

/// A table being made.
struct Suite<'a> {
    cluster: &'a Cluster,
    options: &'a Options,
    disk: DiskLimits,
    loopback: LoopbackLimits,
    rows: Vec<Row>,
}

/// Measures everything.
pub fn run(cluster: &Cluster, options: &Options) -> io::Result<Vec<Row>> {
    tell("raw limits of this machine");
    let stream_bytes = if options.full { GIB } else { GIB / 2 };
    let disk = limits::measure(&cluster.data, stream_bytes)?;
    let loopback = loopback::measure(stream_bytes)?;
    let rows = [disk.rows(), loopback.rows()].concat();
    let mut suite = Suite { cluster, options, disk, loopback, rows };
    // A part that fails does not take the others along.
    for part in Part::value_variants().iter().filter(|part| options.only.is_empty() || options.only.contains(part)) {
        suite.measure(*part);
    }
    Ok(suite.rows)
}

impl Suite<'_> {
    /// Measures a part of the table, and says why should it end early.
    fn measure(&mut self, part: Part) {
        let measured = match part {
            Part::Small => self.small_objects(),
            Part::Medium => self.medium_objects(),
            Part::Large => self.large_objects(),
            Part::Memory => self.memory(),
            Part::S3 => self.s3(),
            Part::Documents => self.documents(),
            Part::Releases => self.releases(),
            Part::Watching => self.watching(),
            Part::Restarts => self.restarts(),
        };
        if let Err(error) = measured {
            self.add(Row::skipped(format!("the rest of: {part:?}"), error.to_string()));
        }
    }

    /// Runs one load and shows its errors, should there be any.
    fn load(
        &mut self,
        what: &str,
        objects: &Objects,
        stored: u64,
        clients: usize,
        operation: Operation,
        stop: Stop,
    ) -> Outcome {
        tell(what);
        let outcome = load::run(&Load {
            driver: self.cluster.driver.clone(),
            clients,
            operation,
            stop,
            objects,
            stored,
            part_bytes: None,
            bad_percent: 0,
            verify: Verify::Sampled,
            servers: &self.cluster.servers,
        });
        self.rows.extend(failures(what, &outcome));
        outcome
    }

    /// The S3 protocol of the cluster, which asks for no keys: on loopback any will do.
    fn s3(&mut self) -> io::Result<()> {
        let keys =
            Keys { access_key: "bench".to_owned(), secret_key: "bench".to_owned(), region: "us-east-1".to_owned() };
        let bucket =
            Bucket { endpoint: self.cluster.s3.clone(), name: "bench".to_owned(), keys, payload: Payload::Unsigned };
        let (native, servers) = (Some(self.cluster.driver.clone()), &self.cluster.servers);
        self.rows.extend(s3::measure(s3::S3Suite { bucket, native, servers, full: self.options.full }));
        Ok(())
    }

    /// Runs one load and answers by how many bytes it made the nodes' records grow, for one byte in three copies.
    fn load_and_growth(
        &mut self,
        what: &str,
        objects: &Objects,
        clients: usize,
        stop: Stop,
    ) -> io::Result<(Outcome, f64)> {
        let before = self.cluster.settled_used_bytes()?;
        let outcome = self.load(what, objects, 0, clients, Operation::Put, stop);
        let growth = self.cluster.settled_used_bytes()?.saturating_sub(before);
        let copies_bytes = (outcome.bytes() * COPIES).max(1);
        Ok((outcome, growth as f64 / copies_bytes as f64))
    }

    fn add(&mut self, row: Row) {
        self.rows.push(row);
    }
}

/// A row that tells of a load's errors, should there be any, and their messages on the terminal.
fn failures(what: &str, outcome: &Outcome) -> Option<Row> {
    outcome.messages.iter().for_each(|message| eprintln!("error: {message}"));
    let (errors, none) = (Quantity(outcome.errors() as f64, Unit::Count), Quantity(0.0, Unit::Count));
    (outcome.errors() > 0).then(|| Row::at_most(format!("{what}: failed requests"), errors, none, ""))
}

/// Says on the terminal what is being measured: the table comes minutes later.
fn tell(what: &str) {
    eprintln!("measuring: {what}");
}
