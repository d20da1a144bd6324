//! `holdfast-fsck`: counts the copies of every chunk from the segment files themselves, offline, without the API (design law 11, I14, I17).
//! Operators run it on what a disaster left; tests use it as the census that no server can talk them out of.
//!
//! What it keeps true:
//! - Nothing is written, locked or synced in the directories it is shown; a catalog is judged by a copy of its log.
//! - A copy counts only if its payload was read and matched its CRC32; no index, footer or record is believed instead.
//! - Copies on one node count once.
//! - Memory: about 48 bytes for each shard and tombstone of the node being read, 32 for each live shard of all nodes, 16 for each
//!   version of a catalog; the catalog itself stays on disk. What is listed one by one is bounded by [`LISTED_MAX`].

mod catalog;
mod census;
mod manifests;
mod node;
mod report;

pub use catalog::CatalogReport;
pub use census::ShortChunk;
pub use node::NodeReport;
pub use report::{LISTED_MAX, Listed, Report};

use catalog::Catalog;
use protocol::{Error, Result};
use std::path::PathBuf;

/// Of how many chunks one is hashed where not all are.
pub const SAMPLE_DEFAULT: u64 = 16;

/// What is to be looked at, and how closely.
#[derive(Clone, Debug)]
pub struct Options {
    /// Data directories of nodes, of running or stopped ones.
    pub nodes: Vec<PathBuf>,
    /// The data directory of the coordinator, stopped, or a copy of it.
    pub catalog: Option<PathBuf>,
    /// Copies that a chunk should have where no catalog says how many.
    pub copies: usize,
    /// Of so many chunks the SHA-256 of one is compared with the catalog's; 1 = of all.
    pub sample: u64,
}

/// Looks. An error says why it could not: a directory is missing or unreadable, belongs to another cluster, or has a newer format.
pub fn check(options: &Options) -> Result<Report> {
    if options.nodes.is_empty() {
        return Err(Error::invalid("no node's directory is given"));
    }
    let identities = options.nodes.iter().map(|path| node::identity(path)).collect::<Result<Vec<_>>>()?;
    for (number, identity) in identities.iter().enumerate() {
        if identity.cluster != identities[0].cluster {
            let (path, first) = (options.nodes[number].display(), options.nodes[0].display());
            return Err(Error::denied(format!("{path} and {first} belong to different clusters")));
        }
        if identities[..number].iter().any(|other| other.node == identity.node) {
            return Err(Error::invalid(format!("two directories say that they are node {}", identity.node)));
        }
    }
    let catalog = match &options.catalog {
        Some(path) => Some(Catalog::open(path, identities[0].cluster)?),
        None => None,
    };
    let mut copies = Vec::new();
    let mut nodes = Vec::new();
    for (number, (path, identity)) in options.nodes.iter().zip(&identities).enumerate() {
        let number = u16::try_from(number).map_err(|_| Error::invalid("too many nodes"))?;
        nodes.push(node::read(path, identity, number, catalog.as_ref(), options.sample, &mut copies)?);
    }
    copies.sort_unstable_by_key(|copy| (copy.shard, copy.node));
    let mut report = census::of_copies(nodes, &copies, options.copies, catalog.is_none());
    if let Some(catalog) = catalog {
        report.catalog = Some(catalog.compare(&report.nodes, &copies)?);
    }
    Ok(report)
}
