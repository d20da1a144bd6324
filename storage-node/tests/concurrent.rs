//! Puts, deletes, reads, listings, checkpoints and compaction at the same time, then an end without a goodbye.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod rig;

use protocol::ErrorKind;
use rig::{id, list, open, shard};
use segments::RealDisk;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use storage_node::committer::Committer;
use storage_node::store::Store;
use tokio::runtime::Builder;

const WRITERS: u64 = 4;
const SHARDS_PER_WRITER: u64 = 150;
const LENGTH: usize = 1200;

/// Puts its shards one by one and deletes every third at once; reads back what it put.
fn write(store: &Store<RealDisk>, committer: &Committer, writer: u64) {
    let runtime = Builder::new_current_thread().build().unwrap();
    for n in (0..SHARDS_PER_WRITER).map(|n| n * WRITERS + writer) {
        let shard = shard(n, LENGTH, 0);
        assert_eq!(runtime.block_on(committer.put(vec![shard.clone()])).unwrap(), [Ok(())]);
        assert_eq!(store.get(shard.id).unwrap(), shard.data);
        if n % 3 == 0 {
            assert_eq!(runtime.block_on(committer.delete(vec![shard.id])).unwrap(), [Ok(())]);
            assert_eq!(store.get(shard.id).unwrap_err().kind, ErrorKind::NotFound);
        }
    }
}

fn check(store: &Store<RealDisk>) {
    let live = |n: &u64| !n.is_multiple_of(3);
    for n in 0..WRITERS * SHARDS_PER_WRITER {
        match live(&n) {
            true => assert_eq!(store.get(id(n)).unwrap(), shard(n, LENGTH, 0).data),
            false => assert_eq!(store.put(vec![shard(n, LENGTH, 0)]), [Err(ErrorKind::Conflict)], "{n} came back"),
        }
    }
    let expected: Vec<_> = (0..WRITERS * SHARDS_PER_WRITER).filter(live).map(id).collect();
    assert_eq!(list(store), expected);
    assert_eq!(store.health().shards, expected.len() as u64);
}

#[test]
fn everything_at_once_loses_nothing() {
    for _ in 0..2 {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(open(dir.path()));
        let committer = Committer::start(Arc::clone(&store)).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let repeat = |step: fn(&Store<RealDisk>)| {
                let (store, done) = (&store, &done);
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        step(store);
                    }
                });
            };
            repeat(|store| store.save_index().unwrap());
            repeat(|store| assert!(store.compact_step().is_ok()));
            repeat(|store| drop(list(store)));
            let writers: Vec<_> = (0..WRITERS)
                .map(|n| {
                    scope.spawn({
                        let (store, committer) = (&store, &committer);
                        move || write(store, committer, n)
                    })
                })
                .collect();
            let ends: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
            done.store(true, Ordering::Relaxed);
            ends.into_iter().for_each(|end| end.unwrap());
        });
        committer.stop();
        drop(committer);
        check(&store);
        drop(store);
        check(&open(dir.path()));
        segments::durable::remove_dir_all(dir.path().join("index")).unwrap();
        check(&open(dir.path()));
    }
}
