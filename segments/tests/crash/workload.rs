//! Small scripts that take a log through everything it does.

use crate::model::{Model, SEGMENT_BYTES, Verdict};
use segments::sim::{Chance, SimDisk};
use segments::{Mutation, Purpose};

#[derive(Clone, Debug)]
pub enum Step {
    Data(Vec<usize>),
    Reclaim(Vec<usize>),
    Seal,
    RemoveOldest,
    /// The process is killed and started again.
    Restart,
    /// Room for so many segments, in so many files.
    Room {
        segments: u64,
        files: usize,
    },
}

use Step::{Data, Reclaim, RemoveOldest, Restart, Room, Seal};

pub struct Script {
    pub name: String,
    steps: Vec<Step>,
}

impl Script {
    pub fn fixed() -> Vec<Script> {
        let one = |length: usize| Data(vec![length]);
        let scripts = [
            ("single appends", vec![one(0), one(40), one(300), one(1000), one(7)]),
            // Headers that lie across sectors and blocks: 88 + 64 + 296 = 448, and 64 more bytes end a sector.
            ("odd boundaries", vec![one(296), one(8), one(3400), one(16), one(100)]),
            ("batches", vec![Data(vec![100, 700, 0, 1500]), Data(vec![30, 2000, 10]), Data(vec![5, 5, 5])]),
            ("rotation", vec![one(3000), one(3000), one(3000), one(5000), one(200)]),
            ("one append over three segments", vec![one(500), Data(vec![3000; 6]), one(100)]),
            ("a record as long as a segment", vec![one(100), one(7900), one(100)]),
            ("seal", vec![one(100), Seal, one(100), Seal, Seal, one(3000)]),
            ("restarts", vec![one(100), Restart, Data(vec![900, 20]), Restart, Restart, one(60)]),
            ("removal", vec![one(6000), one(6000), RemoveOldest, one(6000), RemoveOldest, Restart, one(10)]),
            ("compaction", vec![one(6000), Data(vec![1000, 10]), one(4000), Reclaim(vec![1000, 10]), RemoveOldest]),
            ("full disk", full(Room { segments: 3, files: 99 })),
            ("no inodes", full(Room { segments: 99, files: 3 })),
        ];
        scripts.map(|(name, steps)| Script { name: name.to_owned(), steps }).into()
    }

    pub fn random(seed: u64) -> Script {
        let mut chance = Chance::new(seed);
        let steps = (0..3 + chance.below(6)).map(|_| random_step(&mut chance)).collect();
        Script { name: format!("random script {seed}"), steps }
    }

    pub fn calls_without_faults(&self) -> u64 {
        let disk = SimDisk::new(0, u64::MAX, usize::MAX);
        run(self, &disk, None).expect("works without faults");
        disk.calls()
    }
}

/// Fills a disk, makes room the way an owner would, fills it again.
fn full(room: Step) -> Vec<Step> {
    let big = || Data(vec![6000]);
    let plenty = Room { segments: 99, files: 99 };
    vec![room, big(), big(), big(), Reclaim(vec![50]), Reclaim(vec![6000]), RemoveOldest, big(), plenty, big()]
}

fn random_step(chance: &mut Chance) -> Step {
    let mut lengths = |count_max: u64, length_max: u64| -> Vec<usize> {
        (0..1 + chance.below(count_max)).map(|_| chance.below(length_max) as usize).collect()
    };
    let (small, large, one) = (lengths(6, 900), lengths(4, 6000), lengths(1, 600));
    match chance.below(12) {
        0..=3 => Data(small),
        4..=5 => Data(large),
        6 => Reclaim(one),
        7 => Seal,
        8 => RemoveOldest,
        9..=10 => Restart,
        _ => Room { segments: 2 + chance.below(4), files: 2 + chance.below(6) as usize },
    }
}

/// Runs a script; what came of it. `Err` if something is wrong already without a crash.
pub fn run(script: &Script, disk: &SimDisk, mutation: Option<Mutation>) -> Verdict<Model> {
    let mut chance = Chance::new(7);
    let mut model = Model::default();
    let (mut log, _) = model.check(&model.expected_at(0), disk, mutation, 0)?;
    for step in &script.steps {
        match step {
            Data(lengths) | Reclaim(lengths) => {
                let records = model.make_records(lengths, &mut chance);
                let purpose = if matches!(step, Data(_)) { Purpose::Data } else { Purpose::Reclaim };
                // Whether it may be refused is checked at the end: here any answer that is kept to is a good one.
                let _answer = model.append(&mut log, disk, &records, purpose)?;
            }
            Seal => log.seal().unwrap_or_default(), // a failed seal costs a footer
            RemoveOldest => model.remove_oldest(&mut log, disk),
            Restart => {
                drop(log);
                let (restarted, visited) = model.check(&model.expected_at(disk.calls()), disk, mutation, 0)?;
                log = restarted;
                model.adopt(&visited, disk.calls());
            }
            Room { segments, files } => disk.set_room(segments * SEGMENT_BYTES, *files),
        }
    }
    disk.heal();
    disk.set_room(u64::MAX, usize::MAX);
    let last = model.make_records(&[100], &mut chance);
    let answer = model.append(&mut log, disk, &last, Purpose::Data)?;
    answer.map_err(|kind| format!("the log is wedged: {kind:?}"))?;
    Ok(model)
}
