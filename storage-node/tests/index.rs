//! I13: the index is a cache. Deleting, damaging or exchanging it loses nothing, and a stale entry never yields wrong bytes.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod rig;

use protocol::ErrorKind;
use rig::{id, list, open, shard};
use segments::durable;
use std::path::Path;

/// Puts 0..60 in small groups, deletes 10..20, with a checkpoint in between; leaves as `kill -9` does.
fn fill(root: &Path, checkpoint: bool) {
    let store = open(root);
    for n in 0..60 {
        assert_eq!(store.put(vec![shard(n, 1500, 0)]), [Ok(())]);
        if n == 30 && checkpoint {
            store.save_index().unwrap();
        }
    }
    store.delete((10..20).map(id).collect());
}

fn check(root: &Path) {
    let store = open(root);
    for n in 0..60 {
        if (10..20).contains(&n) {
            assert_eq!(store.get(id(n)).unwrap_err().kind, ErrorKind::NotFound);
            assert_eq!(store.put(vec![shard(n, 1500, 0)]), [Err(ErrorKind::Conflict)], "{n} came back");
        } else {
            assert_eq!(store.get(id(n)).unwrap(), shard(n, 1500, 0).data, "shard {n}");
        }
    }
    assert_eq!(list(&store).len(), 50);
    assert_eq!(store.health().shards, 50);
}

fn copy(from: &Path, to: &Path) {
    durable::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[test]
fn a_restart_replays_what_the_checkpoint_does_not_cover() {
    for checkpoint in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), checkpoint);
        check(dir.path());
        check(dir.path());
    }
}

#[test]
fn an_orderly_stop_replays_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), true);
    let store = open(dir.path());
    store.close().unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.index_state(), "ok");
    drop(store);
    check(dir.path());
}

#[test]
fn a_deleted_index_is_rebuilt() {
    for part in ["index", "index/sled", "index/checkpoint"] {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), true);
        let path = dir.path().join(part);
        if path.is_dir() { durable::remove_dir_all(path) } else { durable::remove_file(path) }.unwrap();
        let store = open(dir.path());
        assert!(store.index_state().starts_with("rebuilt at start"), "{part}: {}", store.index_state());
        drop(store);
        check(dir.path());
    }
}

#[test]
fn an_older_index_put_back_is_noticed_or_brought_up_to_date() {
    for part in ["index", "index/sled", "index/checkpoint"] {
        let dir = tempfile::tempdir().unwrap();
        let old = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        store.put((0..5).map(|n| shard(n, 1500, 0)).collect());
        store.close().unwrap();
        drop(store);
        copy(&dir.path().join("index"), &old.path().join("index"));

        fill(dir.path(), true);
        let store = open(dir.path());
        rig::compact(&store);
        store.close().unwrap();
        drop(store);
        let (from, to) = (old.path().join(part), dir.path().join(part));
        if from.is_dir() {
            durable::remove_dir_all(&to).unwrap();
            copy(&from, &to);
        } else {
            std::fs::copy(from, to).unwrap();
        }
        check(dir.path());
    }
}

#[test]
fn a_damaged_index_is_rebuilt_at_start_or_when_it_is_found_out() {
    for seed in 0..12_u64 {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), true);
        let store = open(dir.path());
        store.close().unwrap();
        drop(store);
        let path = dir.path().join("index/sled/db");
        let mut bytes = durable::read_file(&path).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        match seed {
            0 => bytes.truncate(used / 2),
            1 => bytes.fill(0xff),
            seed => {
                let at = (seed as usize * 7919 * 131) % used;
                bytes[at..(at + 40).min(used)].iter_mut().for_each(|byte| *byte ^= 0x55);
            }
        }
        durable::write_file(&path, &bytes).unwrap();
        let store = open(dir.path());
        for n in 0..60 {
            match store.get(id(n)) {
                Ok(bytes) => assert_eq!(bytes, shard(n, 1500, 0).data),
                Err(error) if error.kind == ErrorKind::Unavailable => store.settle_index().unwrap(),
                Err(error) => assert!((10..20).contains(&n), "seed {seed}, shard {n}: {error}"),
            }
        }
        store.settle_index().unwrap();
        drop(store);
        check(dir.path());
    }
}

#[test]
fn an_index_that_knows_more_than_the_segments_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), true);
    let old = tempfile::tempdir().unwrap();
    copy(dir.path(), old.path());
    let store = open(dir.path());
    store.put((100..200).map(|n| shard(n, 1500, 0)).collect());
    store.close().unwrap();
    drop(store);
    durable::remove_dir_all(dir.path().join("segments")).unwrap();
    copy(&old.path().join("segments"), &dir.path().join("segments"));
    check(dir.path());
}

#[test]
fn an_index_that_breaks_while_running_says_unknown_and_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), true);
    let store = open(dir.path());
    store.save_index().unwrap();
    store.distrust_index("a test says so");
    assert_eq!(store.get(id(1)).unwrap_err().kind, ErrorKind::Unavailable, "unknown, never absent");
    assert_eq!(store.put(vec![shard(70, 10, 0)]), [Err(ErrorKind::Unavailable)]);
    assert_eq!(store.delete(vec![id(59)]), [Ok(())], "a tombstone is right whatever is there");
    store.settle_index().unwrap();
    assert_eq!(store.get(id(1)).unwrap(), shard(1, 1500, 0).data);
    assert_eq!(store.get(id(59)).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(store.put(vec![shard(70, 10, 0)]), [Ok(())]);
    assert_eq!(store.health().shards, 50);
}
