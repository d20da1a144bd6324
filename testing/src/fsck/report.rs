//! What was found, for programs (JSON) and for people.

use super::catalog::CatalogReport;
use super::census::ShortChunk;
use super::node::NodeReport;
use protocol::ChunkId;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

/// Finds of one kind that are named; all are counted.
pub const LISTED_MAX: usize = 100;

/// Finds of one kind: how many, and the first of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed<T> {
    /// How many there are.
    pub count: u64,
    /// The first [`LISTED_MAX`].
    pub first: Vec<T>,
}

impl<T> Default for Listed<T> {
    fn default() -> Listed<T> {
        Listed { count: 0, first: Vec::new() }
    }
}

impl<T> Listed<T> {
    /// Notes one.
    pub fn add(&mut self, item: T) {
        self.count += 1;
        if self.first.len() < LISTED_MAX {
            self.first.push(item);
        }
    }
}

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Node by node.
    pub nodes: Vec<NodeReport>,
    /// Distinct nodes that should hold each chunk, where no catalog says it.
    pub copies_wanted: usize,
    /// Chunks of which anything was found.
    pub chunks: u64,
    /// How many of them have so many good copies on distinct nodes.
    pub chunks_by_copies: BTreeMap<usize, u64>,
    /// Without a catalog: those with too few.
    pub short: Listed<ShortChunk>,
    /// Without a catalog: those whose copies differ, each of them whole.
    pub differing: Listed<ChunkId>,
    /// What a comparison with the catalog found.
    pub catalog: Option<CatalogReport>,
}

impl Report {
    /// What is not as it should be, one line each; none = clean.
    pub fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        for node in &self.nodes {
            let name = &node.node;
            let counts = [
                (node.lost.count, "shards of which only damaged records are left"),
                (node.damaged_stretches, "stretches of segments hold no record"),
                (node.footers_wrong, "segments hold other records than their footers say"),
                (node.foreign_files, "files among the segments are no segments"),
            ];
            findings.extend(present(counts).map(|(count, what)| format!("{name}: {count} {what}")));
        }
        let counts = [
            (self.short.count, format!("chunks on fewer than {} nodes", self.copies_wanted)),
            (self.differing.count, "chunks whose copies differ".to_owned()),
        ];
        findings.extend(present(counts).map(|(count, what)| format!("{count} {what}")));
        findings.extend(self.catalog.iter().flat_map(CatalogReport::findings));
        findings
    }

    /// The same as JSON, with `findings` and `clean`.
    pub fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::to_value(self).expect("a report is plain data");
        let findings = self.findings();
        json["clean"] = findings.is_empty().into();
        json["findings"] = findings.into();
        json
    }
}

/// Those that were counted at all.
pub(super) fn present<T>(counts: impl IntoIterator<Item = (u64, T)>) -> impl Iterator<Item = (u64, T)> {
    counts.into_iter().filter(|(count, _)| *count > 0)
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            writeln!(
                f,
                "{}  {} shards, {} bytes, {} tombstones in {} segments ({} open, {} poisoned); {} corrupt records, {} damaged \
                 stretches, {} torn tails  {}",
                node.node,
                node.shards,
                node.bytes,
                node.tombstones,
                node.segments,
                node.segments_open,
                node.segments_poisoned,
                node.corrupt,
                node.damaged_stretches,
                node.torn_tails,
                node.directory.display(),
            )?;
            list(f, "damaged here", &node.lost)?;
        }
        let copies: Vec<String> =
            self.chunks_by_copies.iter().rev().map(|(copies, chunks)| format!("{chunks} on {copies}")).collect();
        writeln!(f, "{} chunks; nodes that hold a good copy: {}", self.chunks, copies.join(", "))?;
        let short = |chunk: &ShortChunk| format!("{} on {}", chunk.chunk, chunk.nodes.join(" "));
        let named = self.short.first.iter().map(short).collect();
        list(f, "too few copies", &Listed { count: self.short.count, first: named })?;
        list(f, "copies differ", &self.differing)?;
        if let Some(catalog) = &self.catalog {
            write!(f, "{catalog}")?;
        }
        let findings = self.findings();
        if findings.is_empty() {
            return writeln!(f, "clean");
        }
        findings.iter().try_for_each(|finding| writeln!(f, "FOUND {finding}"))
    }
}

/// The finds of one kind, indented under a heading; nothing where there are none.
pub(super) fn list<T: Display>(f: &mut Formatter<'_>, what: &str, listed: &Listed<T>) -> fmt::Result {
    for item in &listed.first {
        writeln!(f, "    {what}: {item}")?;
    }
    match listed.count - listed.first.len() as u64 {
        0 => Ok(()),
        more => writeln!(f, "    {what}: and {more} more"),
    }
}
