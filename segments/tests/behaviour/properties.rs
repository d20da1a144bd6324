//! Random histories of a log, compared with a map.

use super::{Opened, id, noise, open, record};
use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};
use proptest::test_runner::Config;
use protocol::ErrorKind;
use segments::sim::{Chance, SimDisk};
use segments::{Location, Position, Purpose};
use std::collections::BTreeMap;

const SEGMENT_BYTES: u64 = 8192;

#[derive(Clone, Debug)]
enum Op {
    /// Appends records of these lengths at once.
    Append(Vec<usize>),
    Seal,
    /// Stops without a word and starts again.
    Restart,
    /// Starts again from the last end seen: only what came after is shown.
    RestartFromCheckpoint,
    /// Cuts the power; what was not synced is kept or not, by this seed.
    PowerCut(u64),
    /// Flips a bit of some record's payload.
    Flip(u64),
    RemoveOldest,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let lengths = prop::collection::vec(prop_oneof![4 => 0..300_usize, 1 => 0..7900_usize], 1..5);
    let op = prop_oneof![
        6 => lengths.prop_map(Op::Append),
        1 => prop_oneof![any::<u64>().prop_map(|_| Op::Seal)],
        2 => any::<u64>().prop_map(|_| Op::Restart),
        1 => any::<u64>().prop_map(|_| Op::RestartFromCheckpoint),
        2 => any::<u64>().prop_map(Op::PowerCut),
        1 => any::<u64>().prop_map(Op::Flip),
        1 => any::<u64>().prop_map(|_| Op::RemoveOldest),
    ];
    prop::collection::vec(op, 1..40)
}

struct Run {
    disk: SimDisk,
    opened: Opened<SimDisk>,
    /// Acknowledged records, by number: length, location, whether a bit of it was flipped.
    map: BTreeMap<u64, (usize, Location, bool)>,
    next_number: u64,
    checkpoint: Position,
}

impl Run {
    fn new() -> Run {
        let disk = SimDisk::new(3, u64::MAX, usize::MAX);
        let opened = open(disk.clone(), SEGMENT_BYTES, None);
        Run { disk, checkpoint: opened.log.end(), opened, map: BTreeMap::new(), next_number: 1 }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Append(lengths) => self.append(&lengths),
            Op::Seal => self.opened.log.seal().unwrap(),
            Op::Restart => self.restart(None),
            Op::RestartFromCheckpoint => self.restart(Some(self.checkpoint)),
            Op::PowerCut(seed) => {
                let mut chance = Chance::new(seed);
                self.disk = self.disk.snapshot().power_cut(&mut || chance.coin());
                self.restart(None);
            }
            Op::Flip(seed) => self.flip(seed),
            Op::RemoveOldest => self.remove_oldest(),
        }
    }

    fn append(&mut self, lengths: &[usize]) {
        let numbered: Vec<(u64, usize)> = (self.next_number..).zip(lengths.iter().copied()).collect();
        let records: Vec<_> = numbered.iter().map(|(number, length)| record(*number, *length)).collect();
        let locations = self.opened.log.append(&records, Purpose::Data).unwrap();
        for ((number, length), location) in numbered.into_iter().zip(locations) {
            self.map.insert(number, (length, location, false));
        }
        self.next_number += lengths.len() as u64;
    }

    fn restart(&mut self, from: Option<Position>) {
        self.checkpoint = self.opened.log.end();
        self.opened = open(self.disk.clone(), SEGMENT_BYTES, from);
        let from = from.unwrap_or_default();
        let found: BTreeMap<_, _> = self.opened.found.iter().map(|found| (found.id, found.location)).collect();
        assert_eq!(found.len(), self.opened.found.len(), "nothing is shown twice");
        let expected: BTreeMap<_, _> = (self.map.iter().filter(|(_, (_, location, _))| location.position >= from))
            .map(|(number, (_, location, flipped))| (id(*number), (*location, *flipped)))
            .collect();
        for (id, (location, flipped)) in &expected {
            assert!(*flipped || found.get(id) == Some(location), "an acknowledged record is not shown");
        }
        assert!(found.keys().all(|id| expected.contains_key(id)), "a record is shown that nobody appended");
    }

    fn flip(&mut self, seed: u64) {
        let mut chance = Chance::new(seed);
        let target = chance.below(self.map.len() as u64) as usize;
        let Some((_, (length, location, flipped))) = self.map.iter_mut().nth(target) else { return };
        if *length == 0 {
            return;
        }
        let byte = u64::from(location.position.offset) + 64 + chance.below(*length as u64);
        self.disk.flip_bit(&format!("{:010}.seg", location.position.segment), byte * 8 + chance.below(8));
        *flipped = true;
    }

    fn remove_oldest(&mut self) {
        let segments = self.opened.log.segments();
        let Some(oldest) = segments.first() else { return };
        let answer = self.opened.log.remove_segment(oldest.number);
        assert_eq!(answer.is_ok(), oldest.sealed && segments.len() > 1);
        if answer.is_ok() {
            self.map.retain(|_, (_, location, _)| location.position.segment != oldest.number);
        }
    }

    /// Every record is there with its bytes, or known to be damaged.
    fn check(&self) {
        let reader = self.opened.log.reader();
        for (number, (length, location, flipped)) in &self.map {
            match reader.read(*location, &id(*number)) {
                Ok(data) => assert_eq!(data, noise(*number, *length)),
                Err(error) => assert!(*flipped && error.kind == ErrorKind::Corrupt, "{error}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 300, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_log_is_a_map_that_survives(history in ops()) {
        let mut run = Run::new();
        for op in history {
            run.apply(op);
            run.check();
        }
        run.restart(None);
        run.check();
    }
}
