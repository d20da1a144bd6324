//! The store against a map: random puts, deletes, gets, restarts, lost indexes, flipped bits, checkpoints and compaction.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod rig;

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use protocol::{ErrorKind, VerifyCursor};
use rig::{compact, id, list, shard};
use segments::sim::SimDisk;
use std::collections::BTreeMap;
use std::path::Path;
use storage_node::store::Store;

/// Ids used; few, so that they meet again.
const IDS: u64 = 40;

#[derive(Clone, Debug)]
enum Op {
    Put { n: u64, length: usize, salt: u8 },
    Delete { n: u64 },
    Get { n: u64 },
    Save,
    Close,
    Kill,
    DropIndex,
    Distrust,
    Compact,
    FlipBit { at: u64 },
}

/// What the model knows of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Live {
        length: usize,
        salt: u8,
    },
    /// Live, and damaged by a flipped bit. It may be read again for a while: by another copy of its record, which compaction
    /// left with the damaged one, or because an append writes the last block of the log anew.
    Rotten {
        length: usize,
        salt: u8,
    },
    Deleted,
}

fn op(flips: u32) -> impl Strategy<Value = Op> {
    let n = 0..IDS;
    prop_oneof![
        12 => (n.clone(), 0usize..3000, 0u8..2).prop_map(|(n, length, salt)| Op::Put { n, length, salt }),
        6 => n.clone().prop_map(|n| Op::Delete { n }),
        6 => n.prop_map(|n| Op::Get { n }),
        2 => Just(Op::Save),
        1 => Just(Op::Close),
        2 => Just(Op::Kill),
        1 => Just(Op::DropIndex),
        1 => Just(Op::Distrust),
        2 => Just(Op::Compact),
        flips => any::<u64>().prop_map(|at| Op::FlipBit { at }),
    ]
}

struct World {
    disk: SimDisk,
    index: tempfile::TempDir,
    store: Option<Store<SimDisk>>,
    model: BTreeMap<u64, State>,
    /// Bit rot may have taken tombstones and records that no index knows; then absence proves nothing.
    rotten: bool,
}

fn open(disk: &SimDisk, index: &Path) -> Store<SimDisk> {
    rig::settled(Store::open(disk.clone(), rig::config(Some(&index.join("index")))).unwrap())
}

impl World {
    fn new() -> World {
        let (disk, index) = (SimDisk::new(7, u64::MAX, usize::MAX), tempfile::tempdir().unwrap());
        let store = Some(open(&disk, index.path()));
        World { disk, index, store, model: BTreeMap::new(), rotten: false }
    }

    fn store(&self) -> &Store<SimDisk> {
        self.store.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(open(&self.disk, self.index.path()));
        if self.rotten {
            self.forget_rot();
        }
    }

    /// After rot and a new look at the log a damaged shard may be gone instead of corrupt, and a lost tombstone may let its
    /// shard come back; both are what one bad copy may cost (the other nodes have theirs). Wrong bytes never.
    fn forget_rot(&mut self) {
        let store = self.store.as_ref().unwrap();
        self.model.retain(|n, state| {
            let found = store.head(id(*n)).is_ok();
            match *state {
                State::Rotten { .. } => found,
                State::Deleted => !found,
                State::Live { .. } => true,
            }
        });
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Put { n, length, salt } => self.put(n, length, salt),
            Op::Delete { n } => {
                assert_eq!(self.store().delete(vec![id(n)]), [Ok(())]);
                self.model.insert(n, State::Deleted);
            }
            Op::Get { n } => self.check(n),
            Op::Save => self.store().save_index().unwrap(),
            Op::Close => {
                self.store().close().unwrap();
                self.reopen();
            }
            Op::Kill => self.reopen(),
            Op::DropIndex => {
                self.store = None;
                segments::durable::remove_dir_all(self.index.path().join("index")).unwrap();
                self.reopen();
            }
            Op::Distrust => {
                self.store().distrust_index("a test says so");
                self.store().settle_index().unwrap();
                if self.rotten {
                    self.forget_rot();
                }
            }
            Op::Compact => compact(self.store()),
            Op::FlipBit { at } => self.flip_bit(at),
        }
    }

    fn put(&mut self, n: u64, length: usize, salt: u8) {
        let readable = self.store().get(id(n)).is_ok();
        let outcome = self.store().put(vec![shard(n, length, salt)])[0];
        let same = |state: State| match state {
            State::Live { length: l, salt: s } | State::Rotten { length: l, salt: s } => {
                shard(n, l, s).data == shard(n, length, salt).data
            }
            State::Deleted => false,
        };
        match self.model.get(&n).copied() {
            Some(State::Deleted) if self.rotten && outcome.is_ok() => {
                self.model.insert(n, State::Live { length, salt });
            }
            Some(state) if !same(state) => assert_eq!(outcome, Err(ErrorKind::Conflict), "{n} {state:?}"),
            // Nothing was written.
            Some(State::Rotten { .. }) if readable => assert_eq!(outcome, Ok(()), "{n}"),
            // An id of which rot has taken all that was known may hold anything that was ever put.
            None if self.rotten && outcome.is_err() => {}
            _ => {
                assert_eq!(outcome, Ok(()), "{n}");
                self.model.insert(n, State::Live { length, salt });
            }
        }
    }

    fn check(&self, n: u64) {
        let found = self.store().get(id(n));
        match self.model.get(&n).copied() {
            Some(State::Live { length, salt }) => assert_eq!(found.unwrap(), shard(n, length, salt).data, "{n}"),
            Some(State::Rotten { length, salt }) => match found {
                Ok(data) => assert_eq!(data, shard(n, length, salt).data, "{n}"),
                Err(error) => assert_eq!(error.kind, ErrorKind::Corrupt, "{n}"),
            },
            Some(State::Deleted) => assert_eq!(found.unwrap_err().kind, ErrorKind::NotFound, "{n}"),
            None if self.rotten => {}
            None => assert_eq!(found.unwrap_err().kind, ErrorKind::NotFound, "{n}"),
        }
    }

    fn flip_bit(&mut self, at: u64) {
        let files: Vec<_> =
            self.disk.files().into_iter().filter(|(name, length)| name != "reserve" && *length > 0).collect();
        let Some((name, length)) = files.get(at as usize % files.len().max(1)).cloned() else { return };
        self.disk.flip_bit(&name, (at >> 8) % (length * 8));
        self.rotten = true;
        let store = self.store.as_ref().unwrap();
        for (n, state) in &mut self.model {
            *state = match (*state, store.get(id(*n))) {
                (State::Live { length, salt }, Err(error)) => {
                    assert_eq!(error.kind, ErrorKind::Corrupt);
                    State::Rotten { length, salt }
                }
                (state, _) => state,
            };
        }
    }

    fn check_all(&self) {
        (0..IDS).for_each(|n| self.check(n));
        let listed = list(self.store());
        let live = |n: &u64| matches!(self.model.get(n), Some(State::Live { .. } | State::Rotten { .. }));
        let expected: Vec<_> = (0..IDS).filter(live).map(id).collect();
        if self.rotten {
            assert!(expected.iter().all(|id| listed.contains(id)));
        } else {
            assert_eq!(listed, expected);
            assert_eq!(self.store().health().shards, expected.len() as u64);
        }
        let mut cursor = Some(VerifyCursor::default());
        let mut corrupt = Vec::new();
        while let Some(at) = cursor {
            let report = self.store().verify(at, 20_000).unwrap();
            corrupt.extend(report.corrupt);
            cursor = report.next;
        }
        let is_corrupt = |n: &u64| self.store().get(id(*n)).is_err_and(|error| error.kind == ErrorKind::Corrupt);
        for n in (0..IDS).filter(is_corrupt) {
            assert!(corrupt.contains(&id(n)), "scrub does not name {n}: {corrupt:?}");
        }
        assert!(self.rotten || corrupt.is_empty(), "{corrupt:?}");
    }
}

fn run(ops: &[Op]) {
    let mut world = World::new();
    ops.iter().for_each(|op| world.apply(op));
    world.check_all();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 500, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_a_map_whatever_happens_to_it(ops in prop::collection::vec(op(0), 1..120)) {
        run(&ops);
    }

    #[test]
    fn bit_rot_costs_what_it_hits_and_never_yields_wrong_bytes(ops in prop::collection::vec(op(2), 1..120)) {
        run(&ops);
    }
}

#[test]
fn a_bit_flipped_in_the_last_block_of_the_log_is_mended_by_the_next_append() {
    let mut world = World::new();
    world.apply(&Op::Put { n: 1, length: 3000, salt: 0 });
    world.apply(&Op::FlipBit { at: (2000 * 8) << 8 });
    assert_eq!(world.store().get(id(1)).unwrap_err().kind, ErrorKind::Corrupt);
    world.apply(&Op::Put { n: 2, length: 10, salt: 0 });
    assert_eq!(world.store().get(id(1)).unwrap(), shard(1, 3000, 0).data);
    world.check_all();
}
