//! The suite can fail: each planted bug is caught by the storm, within a bounded number of seeds. `BUG=NodeAcksNothing` plants that one
//! only.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it says")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use testing::planted::{BUGS, Bug};
use testing::sim::storm::{Weather, storm};

/// A bug that needs more seeds than this would slip through a run of the suite.
const SEEDS_MAX: u64 = 4_000;

/// A seed whose storm catches the bug, and what it says. All threads look for one bug after the other: some take a thousand times as many seeds as
/// others.
fn caught(bug: Bug) -> Option<(u64, String)> {
    let weather = Weather { plants: bug.plants(), ..Weather::default() };
    let (next, found) = (AtomicU64::new(0), Mutex::new(None));
    let look = || {
        while found.lock().unwrap().is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= SEEDS_MAX {
                return;
            }
            if let Some(violation) = storm(seed, weather).violations.first() {
                found.lock().unwrap().get_or_insert((seed, violation.clone()));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(look);
        }
    });
    found.into_inner().unwrap()
}

#[test]
fn every_planted_bug_is_caught() {
    let only = std::env::var("BUG").ok();
    let bugs = BUGS.into_iter().filter(|bug| only.as_ref().is_none_or(|only| format!("{bug:?}") == *only));
    let bugs: Vec<Bug> = bugs.collect();
    assert!(!bugs.is_empty(), "{only:?} is no bug");
    let mut missed = Vec::new();
    for bug in bugs {
        match caught(bug) {
            Some((seed, violation)) => println!("{bug:?}: seed {seed}, {violation}"),
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not caught within {SEEDS_MAX} seeds: {missed:?}");
}
