//! Fails each external call of something in turn, and each that follows a first failure; what is run says what must hold then.

use super::call::{Fate, Planned, Target};

/// What became of one run.
pub struct Run {
    /// The calls it made.
    pub targets: Vec<Target>,
    /// What was violated.
    pub violations: Vec<String>,
    /// Whether what was asked for was acknowledged.
    pub succeeded: bool,
}

/// Failures found, and runs made.
#[derive(Default)]
struct Tally {
    runs: usize,
    failed: Vec<String>,
}

impl Tally {
    fn run(&mut self, run: impl Fn(&[Planned]) -> Run, plan: &[Planned]) -> Run {
        let run = run(plan);
        self.runs += 1;
        if !run.violations.is_empty() {
            self.failed.push(format!("{plan:?}: {:#?}", run.violations));
        }
        run
    }

    fn end(self, name: &str) {
        println!("{name}: {} runs", self.runs);
        assert!(
            self.failed.is_empty(),
            "{name}: {} of {} runs failed: {}",
            self.failed.len(),
            self.runs,
            self.failed.join("\n")
        );
    }
}

/// Each of the calls in turn, with each of its fates. Panics with all that was violated.
pub fn fail_every_call(name: &str, run: impl Fn(&[Planned]) -> Run) {
    let mut tally = Tally::default();
    let healthy = tally.run(&run, &[]);
    assert!(healthy.succeeded && !healthy.targets.is_empty(), "{name} does something");
    for (at, target) in healthy.targets.iter().enumerate() {
        for fate in Fate::ALL.into_iter().filter(|fate| fate.is_possible(*target)) {
            tally.run(&run, &[Planned { at: at as u64, fate }]);
        }
    }
    tally.end(name);
}

/// After a `first` failure that it goes on from, each of the calls that follow.
pub fn fail_every_call_after_a_failure(name: &str, first: &[Fate], run: impl Fn(&[Planned]) -> Run) {
    let mut tally = Tally::default();
    let healthy = tally.run(&run, &[]);
    for (at, target) in healthy.targets.iter().enumerate() {
        for fate in first.iter().copied().filter(|fate| fate.is_possible(*target)) {
            let first = Planned { at: at as u64, fate };
            let targets = tally.run(&run, &[first]).targets;
            for (then, target) in targets.iter().enumerate().skip(at + 1) {
                // Two of four nodes down is another test's.
                let second = |fate: &Fate| *fate != Fate::NodeDies && fate.is_possible(*target);
                for fate in Fate::ALL.into_iter().filter(second) {
                    tally.run(&run, &[first, Planned { at: then as u64, fate }]);
                }
            }
        }
    }
    tally.end(name);
}
