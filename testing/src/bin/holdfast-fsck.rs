//! `holdfast-fsck`: counts copies from the segment files, offline; what it keeps true is said in [`testing::fsck`].
//!
//! Exit code: 0 clean, 1 something was found, 2 it could not look.

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use testing::fsck::{Options, SAMPLE_DEFAULT, check};

/// Counts the copies of every chunk from the segment files of storage nodes, and compares them with a catalog.
///
/// Nothing is changed or locked: nodes may run. A catalog must be a stopped coordinator's, or a copy.
/// Exit code: 0 clean, 1 something was found, 2 could not look.
#[derive(Debug, Parser)]
#[command(name = "holdfast-fsck", version)]
struct Arguments {
    /// Data directories of storage nodes; all of the cluster's, or copies will be missed
    #[arg(required = true, value_name = "DIR")]
    nodes: Vec<PathBuf>,

    /// The coordinator's data directory: compare with its records, both ways
    #[arg(long, value_name = "DIR")]
    catalog: Option<PathBuf>,

    /// Nodes that should hold each chunk, where no catalog says it
    #[arg(long, value_name = "N", default_value_t = 3)]
    copies: usize,

    /// Compare the SHA-256 of every copy with the catalog's, not of one chunk in 16
    #[arg(long, requires = "catalog")]
    deep: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        nodes: arguments.nodes,
        catalog: arguments.catalog,
        copies: arguments.copies,
        sample: if arguments.deep { 1 } else { SAMPLE_DEFAULT },
    };
    let report = match check(&options) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("holdfast-fsck: {error}");
            return ExitCode::from(2);
        }
    };
    if arguments.json {
        println!("{:#}", report.to_json());
    } else {
        print!("{report}");
    }
    if report.findings().is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
