//! The journal's protocol, whole and in one process: coordinators that die at every step, nodes that lose power, answers and disks, copies of
//! a directory that start beside it, and restores (law 11; faults I9, I14, I16). `SEED=n` replays one; `HOLDFAST_JOURNAL_SEEDS=n`
//! runs more.
//!
//! What must hold: whenever all but one of the nodes answer, a restore from them gives every acknowledged id, once, in order, and none
//! that was refused.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it says")]

mod engine;
mod keeper;
mod machine;
mod storm;

use keeper::Bug;
use storm::{Counts, storm};

const SEEDS_DEFAULT: u64 = 300;
/// In this many seeds every planted bug is found.
const SEEDS_TO_FIND: u64 = 200;

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    match number("SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("HOLDFAST_JOURNAL_SEEDS").unwrap_or(SEEDS_DEFAULT)).collect(),
    }
}

#[test]
fn a_restore_gives_what_was_acknowledged_and_nothing_that_was_refused() {
    let mut sum = Counts::default();
    for seed in seeds() {
        let (counts, violations) = storm(seed, Bug::None);
        assert!(violations.is_empty(), "SEED={seed}: {violations:#?}");
        sum.add(&counts);
    }
    println!("{sum:?}");
    if std::env::var_os("SEED").is_none() {
        sum.require_all_happened();
    }
}

#[test]
fn the_same_seed_gives_the_same_storm() {
    assert_eq!(storm(7, Bug::None), storm(7, Bug::None));
}

#[test]
fn planted_bugs_are_found() {
    for bug in [Bug::AckBeforeQuorum, Bug::NoEpochCheck, Bug::TrimBeforeWhole] {
        let found = (1..=SEEDS_TO_FIND).find(|seed| !storm(*seed, bug).1.is_empty());
        let seed = found.unwrap_or_else(|| panic!("{bug:?} was not found in {SEEDS_TO_FIND} seeds"));
        println!("{bug:?}: SEED={seed}: {:?}", storm(seed, bug).1.first());
    }
}
