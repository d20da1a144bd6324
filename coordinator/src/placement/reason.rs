//! Why a node stands where it does in a ranking, in words for people.

use super::{Candidate, Circuit, Health, Standing, WEIGHT_PERCENT_DEFAULT};
use std::fmt;

/// One thing that speaks for or against a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is among the nodes the shards go to.
    Chosen,
    /// It comes after those: used when one of them fails.
    Spare,
    /// Its part of the free space of all candidates.
    FreeSpace {
        /// Its own free bytes.
        free_bytes: u64,
        /// Its part of the free space of all candidates, in percent.
        percent: u64,
    },
    /// The operator gave it a weight of its own.
    Weight {
        /// In percent of an ordinary node.
        percent: u32,
    },
    /// It is busier than it should be and gets less.
    Busy {
        /// What it still gets, in percent of what its space would give it.
        percent: u32,
    },
    /// It is the best of its zone.
    FirstOfZone {
        /// The zone.
        zone: String,
    },
    /// Better nodes of its zone come before it.
    ZoneTaken {
        /// The zone.
        zone: String,
        /// How many of them.
        before: usize,
    },
    /// Its last probe failed, or it was never seen.
    Down,
    /// Calls to it failed since its last good probe.
    Suspect,
    /// Its circuit breaker lets only trial calls pass.
    HalfOpen,
    /// Its circuit breaker is open.
    Open,
    /// It has no room left.
    Full,
    /// It takes no writes now: above its high-water mark, or its disk refuses writes.
    RefusesWrites,
    /// The operator gave it the weight 0.
    TakenOut,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Chosen => f.write_str("chosen for a shard"),
            Reason::Spare => f.write_str("spare, should a better one fail"),
            Reason::FreeSpace { free_bytes, percent } => {
                write!(f, "{} MiB free, {percent} % of the cluster's free space", free_bytes >> 20)
            }
            Reason::Weight { percent } => write!(f, "weight {percent} % by the operator"),
            Reason::Busy { percent } => write!(f, "busy: gets {percent} % of what its space would give it"),
            Reason::FirstOfZone { zone } => write!(f, "best of zone {zone:?}"),
            Reason::ZoneTaken { zone, before: 1 } => write!(f, "a better node of zone {zone:?} comes first"),
            Reason::ZoneTaken { zone, before } => write!(f, "{before} better nodes of zone {zone:?} come first"),
            Reason::Down => f.write_str("down"),
            Reason::Suspect => f.write_str("calls to it failed lately"),
            Reason::HalfOpen => f.write_str("circuit HALF_OPEN: on trial"),
            Reason::Open => f.write_str("circuit OPEN: it failed too often"),
            Reason::Full => f.write_str("full"),
            Reason::RefusesWrites => f.write_str("refuses writes: above its high-water mark or read-only"),
            Reason::TakenOut => f.write_str("taken out by the operator: weight 0"),
        }
    }
}

/// All that is to say of `candidate`, the decisive first.
pub(super) fn collect(
    candidate: &Candidate,
    standing: Standing,
    zone_rank: usize,
    wanted: bool,
    all: &[Candidate],
) -> Vec<Reason> {
    let mut reasons = Vec::with_capacity(6);
    reasons.push(if wanted && standing != Standing::LastResort { Reason::Chosen } else { Reason::Spare });
    let mut say = |applies: bool, reason: Reason| {
        if applies {
            reasons.push(reason);
        }
    };
    say(candidate.health == Health::Down, Reason::Down);
    say(candidate.health == Health::Suspect, Reason::Suspect);
    say(candidate.circuit == Circuit::Open, Reason::Open);
    say(candidate.circuit == Circuit::HalfOpen, Reason::HalfOpen);
    say(candidate.free_bytes == 0, Reason::Full);
    say(!candidate.accepts_writes && candidate.free_bytes > 0, Reason::RefusesWrites);
    say(candidate.weight_percent == 0, Reason::TakenOut);
    let weighted = candidate.weight_percent != WEIGHT_PERCENT_DEFAULT && candidate.weight_percent > 0;
    say(weighted, Reason::Weight { percent: candidate.weight_percent });
    say(candidate.load_percent > 0, Reason::Busy { percent: 10_000 / candidate.load_percent.saturating_add(100) });
    let zones = all.iter().any(|other| other.zone != candidate.zone);
    let zone = || candidate.zone.clone();
    say(zones && zone_rank == 0, Reason::FirstOfZone { zone: zone() });
    say(zones && zone_rank > 0, Reason::ZoneTaken { zone: zone(), before: zone_rank });
    say(candidate.free_bytes > 0, free_space(candidate, all));
    reasons
}

fn free_space(candidate: &Candidate, all: &[Candidate]) -> Reason {
    let total: u128 = all.iter().map(|other| u128::from(other.free_bytes)).sum();
    let percent = u128::from(candidate.free_bytes) * 100 / total.max(1);
    let percent = u64::try_from(percent).expect("a part is at most 100 % of the whole");
    Reason::FreeSpace { free_bytes: candidate.free_bytes, percent }
}
