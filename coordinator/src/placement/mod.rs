//! Where the shards of a chunk go: a pure function of the chunk, its code and what is known of the nodes, with reasons.
//!
//! What it keeps true:
//! - Every candidate is ranked exactly once, whatever its state: a node in a bad state comes last, it is never left out (I20).
//! - The same chunk, code and candidates give the same ranking, on every machine and in whatever order they are given.
//! - Nodes that are down, whose circuit is open, or that refuse writes come after all others.
//! - Among the others distinct zones come first: no zone gets a second shard before each has its first.
//! - A node's part of the chunks follows its free space, its weight and how busy it is (A4).
//! - When a node leaves, only the chunks that were placed on it move.
//!
//! The ranking decides where *new* shards go. Where a stored shard lies is written in its chunk record and never computed.
//!
//! Weighted rendezvous hashing: each node draws a number `u` in (0, 1) from a hash of chunk and node, and the nodes are ranked
//! by `share / -ln(u)`, highest first. The first place then falls to each node in proportion to its share, and no node's
//! number depends on another node. Sources: Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates",
//! IEEE/ACM Transactions on Networking 6(1), 1998; the weighted form: Schindelhauer and Schomaker, "Weighted Distributed
//! Hash Tables", SPAA 2005 (the logarithmic method).

mod draw;
mod reason;
#[cfg(test)]
mod tests;

pub use reason::Reason;

use crate::code::Code;
use draw::{Draw, draw};
use protocol::{ChunkId, NodeId};
use serde::Serialize;
use std::collections::HashMap;
use std::fmt;

/// The operator's weight of an ordinary node, in percent.
pub const WEIGHT_PERCENT_DEFAULT: u32 = 100;

/// What the last probe and the last calls say of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Its last probe and its last call succeeded.
    Healthy,
    /// Its last probe succeeded, but calls failed since.
    Suspect,
    /// Its last probe failed, it was never seen, or it is not who it should be.
    Down,
}

/// The state of a node's circuit breaker; its `Display` is what people and dashboards see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Circuit {
    /// Calls pass.
    Closed,
    /// A few trial calls pass.
    HalfOpen,
    /// The node failed too often: calls go elsewhere if they can.
    Open,
}

impl fmt::Display for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Circuit::Closed => "CLOSED",
            Circuit::HalfOpen => "HALF_OPEN",
            Circuit::Open => "OPEN",
        })
    }
}

/// What placement knows of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub id: NodeId,
    /// Its failure domain; nodes with the empty string share one, since nothing is known of what they share.
    pub zone: String,
    /// The operator's weight in percent: 100 is ordinary, 50 gets half as much, 0 gets nothing while others can.
    pub weight_percent: u32,
    /// Bytes it would still accept.
    pub free_bytes: u64,
    /// Bytes it may use in all.
    pub capacity_bytes: u64,
    /// How much busier than it should be, in percent: 0 is at ease, 100 gets half of what its space would give it.
    pub load_percent: u32,
    /// What probes and calls say of it.
    pub health: Health,
    /// Its circuit breaker.
    pub circuit: Circuit,
    /// Whether it takes writes (its disk is neither full nor read-only).
    pub accepts_writes: bool,
}

impl Candidate {
    /// Its claim to chunks, relative to the other nodes: free MiB, scaled by weight and load. At least 1.
    fn share(&self) -> u128 {
        let free_mib = u128::from(self.free_bytes >> 20) + 1;
        let claim = free_mib * u128::from(self.weight_percent) * 100 / (100 + u128::from(self.load_percent));
        claim.clamp(1, draw::SHARE_MAX)
    }

    fn standing(&self) -> Standing {
        let out = self.health == Health::Down
            || self.circuit == Circuit::Open
            || !self.accepts_writes
            || self.free_bytes == 0
            || self.weight_percent == 0;
        if out {
            Standing::LastResort
        } else if self.health == Health::Suspect || self.circuit == Circuit::HalfOpen {
            Standing::Doubtful
        } else {
            Standing::Ready
        }
    }
}

/// Whether a node should get new shards; the ranking goes by this first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing speaks against it.
    Ready,
    /// It failed lately, or is on trial.
    Doubtful,
    /// Down, open, full, or taken out by the operator: only when no other node is left.
    LastResort,
}

/// A node in its place of the ranking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankedNode {
    /// Its name.
    pub id: NodeId,
    /// Whether it should get the shard.
    pub standing: Standing,
    /// Where it was in the slice given to [`choose`].
    pub candidate: usize,
    /// How many better nodes of its zone come before it.
    pub zone_rank: usize,
    /// Whether it is among the first `data + parity`.
    pub wanted: bool,
}

impl RankedNode {
    /// Why it stands where it does. `candidates` is the slice that was given to [`choose`].
    pub fn reasons(&self, candidates: &[Candidate]) -> Vec<Reason> {
        let candidate = &candidates[self.candidate];
        assert_eq!(candidate.id, self.id, "the candidates that were ranked");
        reason::collect(candidate, self.standing, self.zone_rank, self.wanted, candidates)
    }
}

/// Every candidate, best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// The nodes in the order in which to try them.
    pub nodes: Vec<RankedNode>,
}

impl Ranked {
    /// The names, best first.
    pub fn ids(&self) -> impl Iterator<Item = &NodeId> {
        self.nodes.iter().map(|node| &node.id)
    }

    /// How many nodes may get a shard without being a last resort; they are the first ones.
    pub fn usable(&self) -> usize {
        self.nodes.iter().take_while(|node| node.standing != Standing::LastResort).count()
    }
}

/// Ranks `nodes` for the shards of `chunk`: the first `data + parity` are where they should go, the rest are spares in order.
pub fn choose(chunk: ChunkId, code: Code, nodes: &[Candidate]) -> Ranked {
    let mut places: Vec<Place> = nodes.iter().enumerate().map(|(index, node)| Place::new(chunk, index, node)).collect();
    places.sort_unstable_by(|a, b| {
        a.standing.cmp(&b.standing).then_with(|| a.draw.cmp(&b.draw)).then_with(|| a.id().cmp(b.id()))
    });
    if rank_within_zones(&mut places) {
        // Stable: within one zone rank the order of the draw stays.
        places.sort_by_key(|place| (place.standing, place.zone_rank));
    }
    let ranked = |(rank, place): (usize, Place)| RankedNode {
        id: place.node.id.clone(),
        standing: place.standing,
        candidate: place.index,
        zone_rank: place.zone_rank,
        wanted: rank < code.shards(),
    };
    Ranked { nodes: places.into_iter().enumerate().map(ranked).collect() }
}

struct Place<'a> {
    node: &'a Candidate,
    index: usize,
    standing: Standing,
    draw: Draw,
    zone_rank: usize,
}

impl<'a> Place<'a> {
    fn new(chunk: ChunkId, index: usize, node: &'a Candidate) -> Place<'a> {
        Place { node, index, standing: node.standing(), draw: draw(chunk, &node.id, node.share()), zone_rank: 0 }
    }

    fn id(&self) -> &'a NodeId {
        &self.node.id
    }
}

/// Counts, for each place, the better ones of the same zone. False if there is but one zone, and so nothing to do.
fn rank_within_zones(places: &mut [Place<'_>]) -> bool {
    let Some(first) = places.first() else { return false };
    let several = places.iter().any(|place| place.node.zone != first.node.zone);
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for place in places {
        let count = seen.entry(place.node.zone.as_str()).or_default();
        place.zone_rank = *count;
        *count += 1;
    }
    several
}
