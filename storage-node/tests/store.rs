//! The contract of `protocol::Node`, on a real directory.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod rig;

use protocol::{ErrorKind, NodeStatus, VerifyCursor};
use rig::{SEGMENT_BYTES, compact, config, id, list, open, settled, shard};
use segments::RealDisk;
use segments::sim::SimDisk;
use storage_node::store::Store;

#[test]
fn what_was_put_is_got_listed_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let shards: Vec<_> = (0..20).map(|n| shard(n, n as usize * 700, 0)).collect();
    assert!(store.put(shards.clone()).iter().all(Result::is_ok));
    for shard in &shards {
        assert_eq!(store.get(shard.id).unwrap(), shard.data);
        let head = store.head(shard.id).unwrap();
        assert_eq!((head.length as usize, head.crc), (shard.data.len(), shard.crc));
    }
    assert_eq!(list(&store), (0..20).map(id).collect::<Vec<_>>());
    assert_eq!(store.health().shards, 20);

    assert_eq!(store.delete(vec![id(3), id(99)]), [Ok(()), Ok(())]);
    assert_eq!(store.get(id(3)).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(store.head(id(3)).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(list(&store).len(), 19);
    assert_eq!(store.health().shards, 19);
}

/// Law 2: shards are immutable; a shard id is never reused; a delete leaves a tombstone, so that a late write of that id is
/// refused.
#[test]
fn an_id_is_never_reused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(store.put(vec![shard(1, 10, 0)]), [Ok(())]);
    assert_eq!(store.put(vec![shard(1, 10, 0)]), [Ok(())], "the same bytes again are stored already");
    assert_eq!(store.put(vec![shard(1, 10, 1)]), [Err(ErrorKind::Conflict)], "other bytes");
    assert_eq!(store.put(vec![shard(1, 11, 0)]), [Err(ErrorKind::Conflict)], "another length");
    assert_eq!(store.delete(vec![id(1), id(2)]), [Ok(()), Ok(())]);
    assert_eq!(store.delete(vec![id(1)]), [Ok(())], "again");
    for n in [1, 2] {
        assert_eq!(store.put(vec![shard(n, 10, 0)]), [Err(ErrorKind::Conflict)], "late write of {n}");
    }
    drop(store);
    let store = open(dir.path());
    for n in [1, 2] {
        assert_eq!(store.put(vec![shard(n, 10, 0)]), [Err(ErrorKind::Conflict)], "after a restart, {n}");
    }
}

#[test]
fn duplicates_in_one_group_are_decided_like_duplicates_in_two() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let outcomes = store.put(vec![shard(1, 10, 0), shard(1, 10, 0), shard(1, 10, 1), shard(2, 5, 0)]);
    assert_eq!(outcomes, [Ok(()), Ok(()), Err(ErrorKind::Conflict), Ok(())]);
    assert_eq!(store.get(id(1)).unwrap(), shard(1, 10, 0).data);
    assert_eq!(store.delete(vec![id(1), id(1)]), [Ok(()), Ok(())]);
}

#[test]
fn a_shard_that_does_not_match_its_crc_is_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut bad = shard(1, 10, 0);
    bad.crc ^= 1;
    assert_eq!(store.put(vec![bad, shard(2, 10, 0)]), [Err(ErrorKind::Corrupt), Ok(())]);
    assert_eq!(list(&store), [id(2)]);
}

/// Law 6: wrong bytes are never served; and a put of the same shard repairs.
#[test]
fn a_rotten_shard_is_reported_and_repaired_by_a_put() {
    let disk = SimDisk::new(1, u64::MAX, usize::MAX);
    let store = Store::open(disk.clone(), config(None)).unwrap();
    let shards: Vec<_> = (0..5).map(|n| shard(n, 5000, 0)).collect();
    store.put(shards.clone());
    let (name, _) = disk.files().into_iter().find(|(name, _)| name.ends_with(".seg")).unwrap();
    disk.flip_bit(&name, 8 * 12_000);
    let rotten: Vec<_> = (0..5).filter(|n| store.get(id(*n)).is_err()).collect();
    assert_eq!(rotten.len(), 1, "one flipped bit costs one shard");
    assert_eq!(store.get(id(rotten[0])).unwrap_err().kind, ErrorKind::Corrupt);
    let report = store.verify(VerifyCursor::default(), 1 << 20).unwrap();
    assert_eq!((report.corrupt, report.next), (vec![id(rotten[0])], None));
    assert_eq!(store.put(vec![shards[rotten[0] as usize].clone()]), [Ok(())]);
    assert_eq!(store.get(id(rotten[0])).unwrap(), shards[rotten[0] as usize].data);
    let report = store.verify(VerifyCursor::default(), 1 << 20).unwrap();
    assert_eq!((report.corrupt.len(), report.damaged_stretches), (0, 1));
}

#[test]
fn scrub_names_shards_whose_headers_or_files_are_gone() {
    let disk = SimDisk::new(1, u64::MAX, usize::MAX);
    let store = Store::open(disk.clone(), config(None)).unwrap();
    for n in 0..60 {
        store.put(vec![shard(n, 3000, 0)]);
    }
    let segments: Vec<_> = disk.files().into_iter().filter(|(name, _)| name.ends_with(".seg")).collect();
    assert!(segments.len() >= 3, "{segments:?}");
    disk.flip_bit(&segments[0].0, 8 * 88 + 3);
    let kept = disk.content(&segments[1].0)[..20_000].to_vec();
    drop(store);
    disk.set_content(&segments[1].0, &kept);
    let store = Store::open(disk, config(None)).unwrap();
    // Rebuilt from what is there, the index does not know what is lost; the listing tells the coordinator.
    assert!(list(&store).len() < 60);
    let mut cursor = Some(VerifyCursor::default());
    let mut corrupt = Vec::new();
    while let Some(at) = cursor {
        let report = store.verify(at, 10_000).unwrap();
        corrupt.extend(report.corrupt);
        cursor = report.next;
    }
    assert_eq!(corrupt, []);
}

#[test]
fn scrub_names_shards_that_the_index_still_knows() {
    let disk = SimDisk::new(1, u64::MAX, usize::MAX);
    let store = Store::open(disk.clone(), config(None)).unwrap();
    for n in 0..60 {
        store.put(vec![shard(n, 3000, 0)]);
    }
    let name = disk.files().into_iter().map(|(name, _)| name).find(|name| name.ends_with(".seg")).unwrap();
    disk.flip_bit(&name, 8 * 88 + 3);
    let mut cursor = Some(VerifyCursor::default());
    let mut corrupt = Vec::new();
    while let Some(at) = cursor {
        let report = store.verify(at, 10_000).unwrap();
        corrupt.extend(report.corrupt);
        cursor = report.next;
    }
    assert_eq!(corrupt, [id(0)]);
}

#[test]
fn a_full_node_refuses_puts_serves_reads_and_deletes_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(None);
    config.capacity_bytes = 20 * SEGMENT_BYTES;
    let store = Store::open(RealDisk::open(dir.path()).unwrap(), config).unwrap();
    let mut stored = 0;
    let refused = loop {
        match store.put(vec![shard(stored, 9000, 0)])[0] {
            Ok(()) => stored += 1,
            Err(kind) => break kind,
        }
    };
    assert_eq!(refused, ErrorKind::Full);
    assert!(stored * 9064 > 17 * SEGMENT_BYTES, "only the reserve is kept back: {stored}");
    assert_eq!(store.health().status, NodeStatus::Full);
    assert_eq!(store.get(id(0)).unwrap(), shard(0, 9000, 0).data);
    assert!(store.delete((0..stored / 2).map(id).collect()).iter().all(Result::is_ok));
    compact(&store);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(store.put(vec![shard(5000, 9000, 0)]), [Ok(())], "room is found again");
    store.check_disk();
    assert_eq!(store.health().status, NodeStatus::Ok);
    assert_eq!(list(&store).len() as u64, stored - stored / 2 + 1);
}

#[test]
fn a_disk_without_room_refuses_puts_and_takes_deletes() {
    let disk = SimDisk::new(1, 12 * SEGMENT_BYTES, 100);
    let store = Store::open(disk, config(None)).unwrap();
    let mut stored = 0;
    while store.put(vec![shard(stored, 9000, 0)])[0].is_ok() {
        stored += 1;
    }
    for n in 0..stored {
        assert_eq!(store.delete(vec![id(n)]), [Ok(())], "delete {n} of {stored}");
    }
    compact(&store);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(store.put(vec![shard(5000, 9000, 0)]), [Ok(())]);
}

/// Law 12: what a failed fsync was to make durable is not acknowledged; after repeated failures the node is read-only.
#[test]
fn a_disk_that_fails_writes_makes_the_node_read_only_until_it_heals() {
    let disk = SimDisk::new(1, u64::MAX, usize::MAX);
    let store = Store::open(disk.clone(), config(None)).unwrap();
    assert_eq!(store.put(vec![shard(0, 100, 0)]), [Ok(())]);
    disk.fail_from(disk.calls() + 1, 5);
    for n in 1..10 {
        let outcome = store.put(vec![shard(n, 100, 0)])[0];
        assert!(matches!(outcome, Err(ErrorKind::Unavailable | ErrorKind::Unknown)), "{outcome:?}");
    }
    assert_eq!(store.health().status, NodeStatus::ReadOnly);
    assert_eq!(store.get(id(0)).unwrap(), shard(0, 100, 0).data);
    disk.heal();
    assert_eq!(store.put(vec![shard(1, 100, 0)]), [Err(ErrorKind::Unavailable)], "not tried at every call");
    let store = Store::open(disk, config(None)).unwrap();
    let found = list(&store);
    assert_eq!(found[0], id(0));
    assert!(found.len() <= 2, "only the first failure had a segment to leave something in: {found:?}");
    assert_eq!(store.put(vec![shard(1, 100, 0)]), [Ok(())]);
}

#[test]
fn one_failed_fsync_costs_that_write_only() {
    let disk = SimDisk::new(1, u64::MAX, usize::MAX);
    let store = Store::open(disk.clone(), config(None)).unwrap();
    store.put(vec![shard(0, 100, 0)]);
    disk.fail_call(disk.calls() + 2, 5);
    assert_eq!(store.put(vec![shard(1, 100, 0)]), [Err(ErrorKind::Unavailable)]);
    assert_eq!(store.put(vec![shard(1, 100, 0)]), [Ok(())], "again, in another segment");
    store.check_disk();
    assert_eq!(store.health().poisoned_segments, 1);
    assert_eq!(store.get(id(0)).unwrap(), shard(0, 100, 0).data);
}

#[test]
fn compaction_gives_room_back_and_keeps_what_lives_and_what_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for n in 0..200 {
        store.put(vec![shard(n, 2000, 0)]);
    }
    store.check_disk();
    let before = store.health().used_bytes;
    let dead = |n: &u64| !n.is_multiple_of(4);
    store.delete((0..200).filter(dead).map(id).collect());
    compact(&store);
    store.check_disk();
    let after = store.health().used_bytes;
    assert!(after < before * 45 / 100, "{before} bytes before, {after} after");
    let check = |store: &Store<RealDisk>| {
        for n in 0..200 {
            match dead(&n) {
                true => assert_eq!(store.put(vec![shard(n, 2000, 0)]), [Err(ErrorKind::Conflict)], "{n} came back"),
                false => assert_eq!(store.get(id(n)).unwrap(), shard(n, 2000, 0).data),
            }
        }
    };
    check(&store);
    drop(store);
    segments::durable::remove_dir_all(dir.path().join("index")).unwrap();
    check(&open(dir.path()));
}

#[test]
fn segments_of_tombstones_and_dead_shards_are_given_back_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for n in 0..200 {
        store.put(vec![shard(n, 2000, 0)]);
        store.delete(vec![id(n)]);
    }
    compact(&store);
    store.check_disk();
    let used = store.health().used_bytes;
    assert!(used < 2 * SEGMENT_BYTES, "{used} bytes for 200 tombstones");
    for n in 0..200 {
        assert_eq!(store.put(vec![shard(n, 2000, 0)]), [Err(ErrorKind::Conflict)], "{n} came back");
    }
}

/// Law 2: a tombstone that could not be read once, when the index was made, is not thrown away by compaction.
#[test]
fn a_tombstone_that_was_overlooked_holds_again_once_it_is_read() {
    const KEPT: u64 = 0x1234_5678_9abc;
    let disk = SimDisk::new(1, u64::MAX, usize::MAX);
    let store = Store::open(disk.clone(), config(None)).unwrap();
    store.put(vec![shard(KEPT, 2000, 0)]);
    for n in 0..80 {
        store.put(vec![shard(n, 2000, 0)]);
    }
    store.delete(vec![id(KEPT)]);
    for n in 80..160 {
        store.put(vec![shard(n, 2000, 0)]);
    }
    drop(store);
    let key = id(KEPT).to_bytes();
    let places = disk.files().into_iter().filter_map(|(name, _)| {
        let found = disk.content(&name).windows(key.len()).rposition(|window| window == key)?;
        Some((name, found))
    });
    let (name, at) = places.max().expect("the tombstone is there");
    let flip = || disk.flip_bit(&name, at as u64 * 8);
    flip();
    let store = Store::open(disk.clone(), config(None)).unwrap();
    assert!(store.get(id(KEPT)).is_ok(), "nothing says that it was deleted");
    flip();
    assert!(store.delete((0..160).map(id).collect()).iter().all(Result::is_ok));
    compact(&store);
    assert!(!disk.files().iter().any(|(file, _)| *file == name), "its segment went");
    assert_eq!(store.get(id(KEPT)).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(store.put(vec![shard(KEPT, 2000, 0)]), [Err(ErrorKind::Conflict)]);
}

/// Law 10: a listing does not look at all tombstones at once, and comes to the end of them.
#[test]
fn a_page_among_many_tombstones_ends_before_they_do() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for batch in 0..80 {
        store.delete((batch * 1000..(batch + 1) * 1000).map(id).collect());
    }
    store.put(vec![shard(90_000, 10, 0)]);
    store.save_index().unwrap();
    let first = store.list(None, 1000).unwrap();
    assert!(first.shards.is_empty() && first.next.is_some(), "{first:?}");
    let second = store.list(first.next, 1000).unwrap();
    assert_eq!(second.shards.iter().map(|head| head.id).collect::<Vec<_>>(), [id(90_000)]);
    assert_eq!(second.next, None);
}

/// A start says so when it finds less than there was, and only then.
#[test]
#[expect(clippy::disallowed_methods, reason = "removes files behind the store's back")]
fn a_start_with_less_than_there_was_is_doubtful() {
    let dir = tempfile::tempdir().unwrap();
    let segments = dir.path().join("segments");
    let mut number = 0;
    let mut start = || {
        number += 1;
        std::fs::create_dir_all(&segments).unwrap();
        let mut config = config(Some(&dir.path().join("index")));
        config.starts.begin(number);
        config.starts.number = number.into();
        Store::open(RealDisk::open(&segments).unwrap(), config).unwrap()
    };
    let doubtful = |store: &Store<RealDisk>| store.health().starts.doubtful;
    assert_eq!(doubtful(&start()), None, "the first");
    let store = start();
    assert_eq!(doubtful(&store), None, "nothing was stored yet");
    for n in 0..200 {
        store.put(vec![shard(n, 2000, 0)]);
    }
    store.save_index().unwrap();
    drop(store);
    let store = start();
    assert_eq!((doubtful(&store), store.health().shards), (None, 200));
    drop(store);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let store = start();
    assert_eq!((doubtful(&store), store.health().shards), (None, 200), "an index loses nothing");
    store.save_index().unwrap();
    drop(store);
    let files = std::fs::read_dir(&segments).unwrap().map(|entry| entry.unwrap().path());
    let last = files.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).max().unwrap();
    let kept = std::fs::read(&last).unwrap();
    std::fs::remove_file(&last).unwrap();
    assert_eq!(doubtful(&start()), Some(5), "a segment is gone");
    assert_eq!(doubtful(&start()), Some(6), "a start that was killed before it noted that has not hidden it");
    std::fs::write(&last, kept).unwrap();
    assert_eq!(doubtful(&settled(start())), None);
    std::fs::remove_file(segments.join("0000000002.seg")).unwrap();
    assert_eq!(doubtful(&start()), Some(8), "another one is gone");
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    assert_eq!(doubtful(&start()), Some(9), "and the index, which would know");
    std::fs::remove_dir_all(&segments).unwrap();
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    assert_eq!(doubtful(&start()), Some(10), "all of them");
}
