//! Crashes the log at every disk call, in every way the simulated disk knows, and looks at what a restart finds.
//!
//! `HOLDFAST_CRASH_STATES=5000000 cargo test -p segments --test crash` looks at more states than the default.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod model;
mod workload;

use model::{Expected, Model, Verdict};
use segments::sim::{Chance, EIO, ENOSPC, EROFS, SimDisk, Snapshot};
use segments::{Mutation, Purpose};
use workload::{Script, run};

const STATES_DEFAULT: u64 = 200_000;
/// Within this many states every planted bug must be found.
const STATES_TO_FIND_A_BUG: u64 = 100_000;
/// Random outcomes looked at after each call.
const OUTCOMES_PER_CALL: u64 = 5;
/// Where a crash asks no more questions than this, every answer is looked at.
const CHOICES_ENUMERATED_MAX: usize = 3;

/// How a crash leaves the disk.
#[derive(Clone, Copy, Debug)]
enum Crash {
    /// The process dies, the machine goes on.
    Kill,
    /// A power cut; bit `n` says whether choice `n` is kept.
    Chosen(u64),
    /// A power cut; this many of 8 choices are kept, by chance.
    Random { seed: u64, of_8: u64 },
}

impl Crash {
    fn apply(self, snapshot: &Snapshot) -> SimDisk {
        match self {
            Crash::Kill => snapshot.kill(),
            Crash::Chosen(mut mask) => snapshot.power_cut(&mut || {
                let keep = mask & 1 == 1;
                mask = mask.rotate_right(1);
                keep
            }),
            Crash::Random { seed, of_8 } => {
                let mut chance = Chance::new(seed);
                snapshot.power_cut(&mut || chance.below(8) < of_8)
            }
        }
    }
}

/// The ways to crash that are looked at after one call.
fn crashes(snapshot: &Snapshot, chance: &mut Chance) -> Vec<Crash> {
    let choices = snapshot.choices();
    let mut crashes = vec![Crash::Kill];
    if choices <= CHOICES_ENUMERATED_MAX {
        crashes.extend((0..1 << choices).map(Crash::Chosen));
    } else {
        crashes.extend([Crash::Chosen(0), Crash::Chosen(u64::MAX)]);
        let random = |_| Crash::Random { seed: chance.next_u64(), of_8: 1 + 2 * chance.below(4) };
        crashes.extend((0..OUTCOMES_PER_CALL).map(random));
    }
    crashes
}

/// Counts states and looks at them until there are enough or one is bad.
struct Enumeration {
    mutation: Option<Mutation>,
    states: u64,
    states_max: u64,
}

impl Enumeration {
    /// The first bad state, in words.
    fn run(&mut self) -> Option<String> {
        let mut round = 0;
        while self.states < self.states_max {
            for script in Script::fixed().into_iter().chain([Script::random(round)]) {
                let mut chance = Chance::new(round);
                let faults = Faults::draw(&script, round, &mut chance);
                if let Err(what) = self.script(&script, &faults, &mut chance) {
                    return Some(format!("round {round}, {} with {faults:?}: {what}", script.name));
                }
                if self.states >= self.states_max {
                    break;
                }
            }
            round += 1;
        }
        None
    }

    fn script(&mut self, script: &Script, faults: &Faults, chance: &mut Chance) -> Verdict<()> {
        let disk = SimDisk::new(chance.next_u64(), u64::MAX, usize::MAX);
        disk.record_snapshots();
        faults.plant(&disk);
        let model = run(script, &disk, self.mutation)?;
        for snapshot in disk.take_snapshots().iter().filter(|snapshot| snapshot.call >= faults.first_call()) {
            let expected = model.expected_at(snapshot.call);
            for crash in crashes(snapshot, chance) {
                let look = |flip| format!("after call {}, {crash:?}, flip {flip:?}", snapshot.call);
                self.state(&model, &expected, &crash.apply(snapshot), 0, chance)
                    .map_err(|what| format!("{}: {what}", look(None)))?;
                if chance.below(4) == 0 {
                    let damaged = crash.apply(snapshot);
                    let flipped = flip_some_bit(&damaged, chance);
                    self.state(&model, &expected, &damaged, 1, chance)
                        .map_err(|what| format!("{}: {what}", look(flipped)))?;
                }
            }
        }
        Ok(())
    }

    /// Restarts on one crashed disk, appends, cuts the power again in the worst way, and now and then at every call between.
    fn state(
        &mut self,
        model: &Model,
        expected: &Expected,
        disk: &SimDisk,
        losses: usize,
        chance: &mut Chance,
    ) -> Verdict<()> {
        self.states += 1;
        let deep = chance.below(32) == 0;
        if deep {
            disk.record_snapshots();
        }
        let (mut log, visited) = model.check(expected, disk, self.mutation, losses)?;
        let recovered_at = disk.calls();
        let mut after = model.successor();
        let mut found = Expected { must: visited.into_iter().collect(), may: Default::default() };
        if losses > 0 {
            // A record with a flipped bit may be shown by a recovery that reads headers only; its bytes are refused.
            found.may = expected.must.keys().chain(&expected.may).copied().collect();
        }
        let records = after.make_records(&[600, 33], chance);
        let appended = after.append(&mut log, disk, &records, Purpose::Data)?;
        appended.map_err(|kind| format!("the log does not accept appends any more: {kind:?}"))?;
        let expected_at = |call: u64| {
            let mut now = after.expected_at(call);
            let base = if call < recovered_at { expected } else { &found };
            now.must.extend(&base.must);
            now.may.extend(&base.may);
            now
        };
        for snapshot in disk.take_snapshots().iter().chain([&disk.snapshot()]) {
            for crash in [Crash::Chosen(0), Crash::Random { seed: chance.next_u64(), of_8: 4 }] {
                self.states += 1;
                after
                    .check(&expected_at(snapshot.call), &crash.apply(snapshot), self.mutation, losses)
                    .map_err(|what| format!("second crash, after call {}, {crash:?}: {what}", snapshot.call))?;
            }
        }
        Ok(())
    }
}

fn flip_some_bit(disk: &SimDisk, chance: &mut Chance) -> Option<(String, u64)> {
    let files: Vec<(String, u64)> = disk.files().into_iter().filter(|(_, length)| *length > 0).collect();
    let (name, length) = files.get(chance.below(files.len() as u64) as usize)?;
    // Most bits of a file are zeros behind its records: look where the records are, too.
    let bound = if chance.coin() { *length } else { (*length).min(2048) };
    let bit = chance.below(bound * 8);
    disk.flip_bit(name, bit);
    Some((name.clone(), bit))
}

/// What the disk refuses during a run.
#[derive(Debug)]
struct Faults {
    once: Vec<(u64, i32)>,
    from: Option<(u64, i32)>,
}

impl Faults {
    /// None in the first round; later one, two, or a disk that takes no more writes.
    fn draw(script: &Script, round: u64, chance: &mut Chance) -> Faults {
        let calls = script.calls_without_faults().max(1);
        let mut draw = || (1 + chance.below(calls), if chance.coin() { EIO } else { ENOSPC });
        match round % 8 {
            0 => Faults { once: Vec::new(), from: None },
            7 => Faults { once: Vec::new(), from: Some((draw().0, EROFS)) },
            6 => Faults { once: vec![draw(), draw()], from: None },
            _ => Faults { once: vec![draw()], from: None },
        }
    }

    fn plant(&self, disk: &SimDisk) {
        self.once.iter().for_each(|(call, errno)| disk.fail_call(*call, *errno));
        if let Some((call, errno)) = self.from {
            disk.fail_from(call, errno);
        }
    }

    /// Before it the run is like one without faults, which round 0 looks at.
    fn first_call(&self) -> u64 {
        self.once.iter().chain(&self.from).map(|(call, _)| *call).min().unwrap_or(0)
    }
}

/// Law 1: an acknowledged write is durable. Law 12: after a failed fsync nothing of that append counts.
#[test]
fn no_crash_loses_or_invents_a_record() {
    let wanted = std::env::var("HOLDFAST_CRASH_STATES").ok().map(|text| text.parse().expect("a number of states"));
    let mut enumeration = Enumeration { mutation: None, states: 0, states_max: wanted.unwrap_or(STATES_DEFAULT) };
    assert_eq!(enumeration.run(), None);
    println!("{} crash states, none bad", enumeration.states);
}

#[test]
fn every_planted_bug_is_found() {
    for mutation in Mutation::ALL {
        let mut enumeration = Enumeration { mutation: Some(mutation), states: 0, states_max: STATES_TO_FIND_A_BUG };
        let found = enumeration.run();
        println!("{mutation:?}: {} states, {found:?}", enumeration.states);
        assert!(found.is_some(), "{mutation:?} was not found in {STATES_TO_FIND_A_BUG} states");
    }
}
