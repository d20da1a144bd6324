//! The engine on disk against the engine in memory: the same calls give the same answers and revisions, whatever restarts, lost
//! indexes and reboots lie between them.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it says")]

mod metadata_support;

use coordinator::metadata::memory::MemoryMetadata;
use coordinator::metadata::sled::SledMetadata;
use coordinator::metadata::{Batch, Expect, Metadata};
use metadata_support::{Dir, everything, remove_tree, wait_until_free};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};

/// Few keys, so that they meet.
const KEYS: u8 = 12;

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Change>),
    Get(u8),
    Scan(u8, u8, usize),
    /// An orderly stop, and a start.
    Restart,
    /// An end without any order, and a start.
    Kill,
    /// The same, with the machine.
    Reboot,
    /// A kill after which the index is gone.
    DropIndex,
}

#[derive(Clone, Debug)]
enum Change {
    /// Put with a check: as the model sees it, or wrongly.
    Put {
        key: u8,
        value: u16,
        checked: bool,
        wrongly: bool,
    },
    Delete {
        key: u8,
        checked: bool,
    },
}

fn change() -> impl Strategy<Value = Change> {
    let put = (0..KEYS, any::<u16>(), any::<bool>(), prop::bool::weighted(0.1))
        .prop_map(|(key, value, checked, wrongly)| Change::Put { key, value, checked, wrongly });
    let delete = (0..KEYS, any::<bool>()).prop_map(|(key, checked)| Change::Delete { key, checked });
    prop_oneof![3 => put, 1 => delete]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => prop::collection::vec(change(), 0..6).prop_map(Step::Commit),
        10 => (0..KEYS).prop_map(Step::Get),
        5 => (0..KEYS, 0..KEYS, 0usize..20).prop_map(|(from, to, limit)| Step::Scan(from, to, limit)),
        1 => Just(Step::Restart),
        1 => Just(Step::Kill),
        1 => Just(Step::Reboot),
        1 => Just(Step::DropIndex),
    ]
}

fn name(key: u8) -> Vec<u8> {
    format!("key/{key:03}").into_bytes()
}

async fn batch(changes: &[Change], model: &MemoryMetadata) -> Batch {
    let mut batch = Batch::new();
    for change in changes {
        match change {
            Change::Put { key, value, checked, wrongly } => {
                let seen = model.get(&name(*key)).await.unwrap();
                let expect = match (Expect::unchanged(seen.as_ref()), *wrongly) {
                    (Expect::Absent, true) => Expect::Revision(u64::from(*value)),
                    (_, true) if value % 2 == 0 => Expect::Absent,
                    (_, true) => Expect::Revision(u64::MAX),
                    (Expect::Revision(_), false) if value % 3 == 0 => Expect::Present,
                    (expect, false) => expect,
                };
                if *checked {
                    batch.check(name(*key), expect);
                }
                batch.put(name(*key), vec![*key; usize::from(*value) % 300]);
            }
            Change::Delete { key, checked } => {
                let seen = model.get(&name(*key)).await.unwrap();
                if *checked {
                    batch.check(name(*key), Expect::unchanged(seen.as_ref()));
                }
                batch.delete(name(*key));
            }
        }
    }
    batch
}

async fn start_again(dir: &mut Dir, engine: SledMetadata, step: &Step, number: usize) -> SledMetadata {
    if matches!(step, Step::Restart) {
        engine.stop().await.unwrap();
    }
    drop(engine);
    wait_until_free(dir).await;
    match step {
        Step::Reboot => dir.settings.boot = Some(format!("boot {number}")),
        Step::DropIndex => remove_tree(&dir.index()),
        _ => {}
    }
    dir.open()
}

async fn same_as_the_model(mut dir: Dir, steps: Vec<Step>) {
    let model = MemoryMetadata::new();
    let mut engine = dir.open();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Commit(changes) => {
                let batch = batch(changes, &model).await;
                let expected = model.commit(batch.clone()).await.map_err(|error| (error.kind, error.message));
                let found = engine.commit(batch).await.map_err(|error| (error.kind, error.message));
                assert_eq!(found, expected, "step {number}");
            }
            Step::Get(key) => {
                assert_eq!(engine.get(&name(*key)).await.unwrap(), model.get(&name(*key)).await.unwrap());
            }
            Step::Scan(from, to, limit) => {
                let (from, to) = (name(*from), name(*to));
                let expected = model.scan(&from, &to, *limit).await.unwrap();
                assert_eq!(engine.scan(&from, &to, *limit).await.unwrap(), expected, "step {number}");
            }
            Step::Restart | Step::Kill | Step::Reboot | Step::DropIndex => {
                engine = start_again(&mut dir, engine, step, number).await;
                assert_eq!(everything(&engine).await, everything(&model).await, "step {number}: {step:?}");
            }
        }
    }
    assert_eq!(everything(&engine).await, everything(&model).await);
}

fn run(dir: Dir, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(same_as_the_model(dir, steps));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_disk_is_as_the_memory(steps in prop::collection::vec(step(), 1..80)) {
        run(Dir::new(), steps);
    }

    #[test]
    fn the_disk_is_as_the_memory_while_it_moves_and_cuts_down_its_log(steps in prop::collection::vec(step(), 1..120)) {
        run(Dir::new().with_small_tables().with_short_log(), steps);
    }
}
