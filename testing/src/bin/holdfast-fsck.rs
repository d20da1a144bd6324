//! `holdfast-fsck`: counts copies from the segment files, offline; what it keeps true is said in [`testing::fsck`].
//!
//! Exit code: 0 clean, 1 something was found, 2 it could not look.

use clap::Parser;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use testing::fsck::{Options, SAMPLE_DEFAULT, check};

/// Copies of a chunk that nobody asked to be in another code.
const COPIES_DEFAULT: usize = 3;

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

    /// Nodes that should hold each chunk, where no catalog says it [default: 3, or all that are given]
    #[arg(long, value_name = "N")]
    copies: Option<usize>,

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
        copies: arguments.copies.unwrap_or(COPIES_DEFAULT.min(arguments.nodes.len())),
        nodes: arguments.nodes,
        catalog: arguments.catalog,
        sample: if arguments.deep { 1 } else { SAMPLE_DEFAULT },
    };
    let report = match check(&options) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("holdfast-fsck: {error}");
            return ExitCode::from(2);
        }
    };
    let text = if arguments.json { format!("{:#}\n", report.to_json()) } else { report.to_string() };
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever reads it has read enough; what was found is found.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => {
            eprintln!("holdfast-fsck: cannot print the report: {error}");
            return ExitCode::from(2);
        }
        Ok(()) => {}
    }
    if report.findings().is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
