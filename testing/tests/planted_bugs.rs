//! The suite can fail: each planted bug is caught by the storm, within a bounded number of seeds. `BUG=NodeAcksNothing` plants that one
//! only.

use std::thread;
use testing::planted::{BUGS, Bug};
use testing::sim::storm::{Weather, storm};

/// A bug that needs more seeds than this would slip through a run of the suite.
const SEEDS_MAX: u64 = 2_000;

/// The first seed whose storm catches the bug, and what it says.
fn caught(bug: Bug) -> Option<(u64, String)> {
    let weather = Weather { plants: bug.plants(), ..Weather::default() };
    (0..SEEDS_MAX).find_map(|seed| storm(seed, weather).violations.first().map(|violation| (seed, violation.clone())))
}

#[test]
fn every_planted_bug_is_caught() {
    let only = std::env::var("BUG").ok();
    let bugs = BUGS.into_iter().filter(|bug| only.as_ref().is_none_or(|only| format!("{bug:?}") == *only));
    let bugs: Vec<Bug> = bugs.collect();
    assert!(!bugs.is_empty(), "{only:?} is no bug");
    let next = std::sync::atomic::AtomicUsize::new(0);
    let missed = std::sync::Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(bug) = bugs.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    match caught(*bug) {
                        Some((seed, violation)) => println!("{bug:?}: seed {seed}, {violation}"),
                        None => missed.lock().unwrap().push(*bug),
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "not caught within {SEEDS_MAX} seeds: {missed:?}");
}
