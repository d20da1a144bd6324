//! What is to go wrong and when: drawn from the seed before anything begins, so that it can be printed and drawn again.
//!
//! What it keeps true:
//! - The same seed, letters and number of nodes give the same steps; a longer run begins with those of a shorter one.
//! - Every kind that was asked for is drawn before any is drawn again, so a short run leaves none out for long.
//! - Steps that lose a disk or a copy for good are marked, so that the nemesis can wait until the one before is mended (fault model: one
//!   permanent loss at a time).

use crate::real::Toxic;
use serde::Serialize;
use std::collections::BTreeSet;

/// Kinds of faults, by letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `k`: kill -9 of one process or two.
    Kill,
    /// `a`: kill -9 of all processes.
    KillAll,
    /// `t`: SIGTERM and a new start.
    Terminate,
    /// `s`: SIGSTOP, later SIGCONT, of one process or two.
    Stop,
    /// `p`: a node's connections slow, silent, one-way, reset or refused.
    Partition,
    /// `d`: a node's disk is full.
    Disk,
    /// `w`: a node's directory is removed; it comes back with `--replace`.
    Wipe,
    /// `r`: bits flip in the sealed segments of one node.
    Rot,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 8] =
        [Kind::Kill, Kind::KillAll, Kind::Terminate, Kind::Stop, Kind::Partition, Kind::Disk, Kind::Wipe, Kind::Rot];

    /// Its letter.
    pub fn letter(self) -> char {
        match self {
            Kind::Kill => 'k',
            Kind::KillAll => 'a',
            Kind::Terminate => 't',
            Kind::Stop => 's',
            Kind::Partition => 'p',
            Kind::Disk => 'd',
            Kind::Wipe => 'w',
            Kind::Rot => 'r',
        }
    }

    /// Whether it loses something for good.
    pub fn is_permanent(self) -> bool {
        matches!(self, Kind::Wipe | Kind::Rot)
    }

    /// The kinds that these letters name.
    pub fn parse(letters: &str) -> Result<BTreeSet<Kind>, String> {
        let kinds = letters.chars().map(|letter| {
            let kind = Kind::ALL.into_iter().find(|kind| kind.letter() == letter);
            kind.ok_or_else(|| format!("scenario {letter:?}: must be letters of {:?}", letters_of(Kind::ALL)))
        });
        kinds.collect::<Result<BTreeSet<Kind>, String>>().and_then(|kinds| match kinds.is_empty() {
            true => Err("a scenario has at least one letter".to_owned()),
            false => Ok(kinds),
        })
    }
}

/// The letters of kinds.
pub fn letters_of(kinds: impl IntoIterator<Item = Kind>) -> String {
    kinds.into_iter().map(Kind::letter).collect()
}

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The coordinator.
    Coordinator,
    /// A node, from 1.
    Node(usize),
}

/// One thing that goes wrong, and is put right again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// What.
    pub kind: Kind,
    /// To whom.
    pub targets: Vec<Target>,
    /// What is done to a node's connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toxic: Option<Toxic>,
    /// How many bits flip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flips: Option<usize>,
    /// How long after the step before was put right, in milliseconds.
    pub pause_ms: u64,
    /// How long it lasts, in milliseconds.
    pub lasts_ms: u64,
}

/// Steps without end.
#[derive(Clone, Debug)]
pub struct Schedule {
    chance: u64,
    kinds: Vec<Kind>,
    nodes: usize,
    disk_node: usize,
    bag: Vec<Kind>,
}

impl Schedule {
    /// The steps of a seed. Disks that fill up are those of `disk_node`.
    pub fn new(seed: u64, kinds: &BTreeSet<Kind>, nodes: usize, disk_node: usize) -> Schedule {
        let kinds = kinds.iter().copied().collect();
        Schedule { chance: crate::real::mix(seed ^ 0x5EED), kinds, nodes, disk_node, bag: Vec::new() }
    }

    /// The steps that fit a time.
    pub fn within(self, milliseconds: u64) -> Vec<Step> {
        let mut passed = 0;
        self.take_while(|step| {
            passed += step.pause_ms + step.lasts_ms;
            passed <= milliseconds
        })
        .collect()
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.chance = crate::real::mix(self.chance);
        self.chance % below
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.draw(most - least + 1)
    }

    fn kind(&mut self) -> Kind {
        if self.bag.is_empty() {
            self.bag.clone_from(&self.kinds);
        }
        let at = self.draw(self.bag.len() as u64) as usize;
        self.bag.swap_remove(at)
    }

    fn node(&mut self) -> Target {
        Target::Node(1 + self.draw(self.nodes as u64) as usize)
    }

    /// The coordinator as often as two nodes.
    fn process(&mut self) -> Target {
        if self.draw(self.nodes as u64 + 2) < 2 { Target::Coordinator } else { self.node() }
    }

    /// One, and seldom two.
    fn processes(&mut self) -> Vec<Target> {
        let count = if self.draw(4) == 0 { 2 } else { 1 };
        let targets: BTreeSet<Target> = (0..count).map(|_| self.process()).collect();
        targets.into_iter().collect()
    }

    fn toxic(&mut self) -> Toxic {
        match self.draw(7) {
            0 => Toxic::Delay(self.between(20, 400)),
            1 => Toxic::Blackhole,
            2 => Toxic::AnswersLost,
            3 => Toxic::RequestsLost,
            4 => Toxic::ResetAfter(self.between(100, 200_000)),
            5 => Toxic::Drip(self.between(2_000, 200_000)),
            _ => Toxic::Refuse,
        }
    }
}

impl Iterator for Schedule {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let kind = self.kind();
        let targets = match kind {
            Kind::Kill | Kind::Stop => self.processes(),
            Kind::Terminate => vec![self.process()],
            Kind::KillAll => [Target::Coordinator].into_iter().chain((1..=self.nodes).map(Target::Node)).collect(),
            Kind::Disk => vec![Target::Node(self.disk_node)],
            Kind::Partition | Kind::Wipe | Kind::Rot => vec![self.node()],
        };
        let toxic = (kind == Kind::Partition).then(|| self.toxic());
        let flips = (kind == Kind::Rot).then(|| self.between(1, 20) as usize);
        let lasts_ms = match kind {
            Kind::Stop | Kind::Partition => self.between(500, 6_000),
            Kind::Disk => self.between(1_000, 5_000),
            _ => self.between(50, 3_000),
        };
        Some(Step { kind, targets, toxic, flips, pause_ms: self.between(200, 2_500), lasts_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(seed: u64, seconds: u64) -> Vec<Step> {
        let all = Kind::ALL.into_iter().collect();
        Schedule::new(seed, &all, 4, 2).within(seconds * 1_000)
    }

    #[test]
    fn a_seed_gives_the_same_steps_and_a_longer_run_more() {
        assert_eq!(steps(7, 100), steps(7, 100));
        assert_ne!(steps(7, 100), steps(8, 100));
        let (short, long) = (steps(7, 50), steps(7, 100));
        assert!(short.len() < long.len() && long.starts_with(&short));
    }

    #[test]
    fn every_kind_comes_before_any_comes_again() {
        for seed in 0..20 {
            let first: BTreeSet<Kind> = steps(seed, 600).iter().take(8).map(|step| step.kind).collect();
            assert_eq!(first.len(), 8);
        }
        let all = steps(1, 3_600);
        let toxics: BTreeSet<String> = all
            .iter()
            .filter_map(|step| step.toxic)
            .map(|toxic| format!("{toxic:?}").chars().take(6).collect())
            .collect();
        assert!(toxics.len() >= 7, "{toxics:?}");
        assert!(all.iter().filter(|step| step.kind == Kind::Disk).all(|step| step.targets == [Target::Node(2)]));
    }

    #[test]
    fn letters_name_kinds() {
        assert_eq!(letters_of(Kind::parse("wak").unwrap()), "kaw");
        assert!(Kind::parse("x").unwrap_err().contains("katspdwr"));
        assert!(Kind::parse("").is_err());
    }
}
