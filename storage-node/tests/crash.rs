//! I12: after a power cut or a kill at any instant the node opens, serves every acknowledged record, and shows no deleted one.
//! A workload with deletes and compaction is cut after every call to the disk.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod rig;

use protocol::ErrorKind;
use rig::{compact, id, list, shard};
use segments::sim::{SimDisk, Snapshot};
use std::collections::BTreeMap;
use storage_node::store::{Store, StoreConfig};

/// What had been acknowledged when a call was made: `true` for a put, `false` for a delete.
struct Acknowledged {
    call: u64,
    what: BTreeMap<u64, bool>,
    /// Under way, so that it may be there or not.
    pending: Vec<u64>,
}

const SHARDS: u64 = 64;
/// Eight shards to a segment, so that there are many.
const SEGMENT_BYTES: u64 = 32 << 10;
const LENGTH: usize = 4000;

fn open(disk: SimDisk) -> Store<SimDisk> {
    let config = StoreConfig { segment_bytes: SEGMENT_BYTES, ..rig::config(None) };
    Store::open(disk, config).unwrap()
}

/// Puts, deletes three of four, compacts; returns what was acknowledged before which call.
fn work(disk: &SimDisk) -> Vec<Acknowledged> {
    let store = open(disk.clone());
    let mut history = Vec::new();
    let mut what = BTreeMap::new();
    for group in (0..SHARDS).collect::<Vec<_>>().chunks(4) {
        history.push(Acknowledged { call: disk.calls(), what: what.clone(), pending: group.to_vec() });
        assert!(store.put(group.iter().map(|n| shard(*n, LENGTH, 0)).collect()).iter().all(Result::is_ok));
        what.extend(group.iter().map(|n| (*n, true)));
    }
    for group in (0..SHARDS).filter(|n| n % 4 != 0).collect::<Vec<_>>().chunks(9) {
        history.push(Acknowledged { call: disk.calls(), what: what.clone(), pending: group.to_vec() });
        assert!(store.delete(group.iter().map(|n| id(*n)).collect()).iter().all(Result::is_ok));
        what.extend(group.iter().map(|n| (*n, false)));
    }
    history.push(Acknowledged { call: disk.calls(), what: what.clone(), pending: Vec::new() });
    compact(&store);
    history.push(Acknowledged { call: disk.calls(), what, pending: Vec::new() });
    history
}

fn check(disk: SimDisk, acknowledged: &Acknowledged, when: &str) {
    let store = open(disk);
    let check = |store: &Store<SimDisk>| {
        for (n, live) in acknowledged.what.iter().filter(|(n, _)| !acknowledged.pending.contains(n)) {
            let found = store.get(id(*n));
            match live {
                true => assert_eq!(found.unwrap(), shard(*n, LENGTH, 0).data, "shard {n} {when}"),
                false => assert_eq!(found.unwrap_err().kind, ErrorKind::NotFound, "deleted shard {n} is back {when}"),
            }
        }
        for n in &acknowledged.pending {
            match store.get(id(*n)) {
                Ok(bytes) => assert_eq!(bytes, shard(*n, LENGTH, 0).data),
                Err(error) => assert_eq!(error.kind, ErrorKind::NotFound, "{error}"),
            }
        }
    };
    check(&store);
    compact(&store);
    check(&store);
    let outcomes = store.put(vec![shard(1000, 10, 0)]);
    assert_eq!(outcomes, [Ok(())]);
    assert!(list(&store).contains(&id(1000)));
}

fn cut_everywhere(cut: impl Fn(&Snapshot) -> Vec<SimDisk>) {
    let disk = SimDisk::new(3, u64::MAX, usize::MAX);
    disk.record_snapshots();
    let history = work(&disk);
    let snapshots = disk.take_snapshots();
    assert!(snapshots.len() > 100, "{} calls", snapshots.len());
    let mut compacted = 0;
    for snapshot in &snapshots {
        let next = history.iter().position(|entry| entry.call >= snapshot.call).unwrap_or(history.len() - 1);
        // What was pending at the last entry before this call may be there; what came before it must be.
        let acknowledged = &history[next.saturating_sub(1)];
        compacted += u64::from(next == history.len() - 1);
        for disk in cut(snapshot) {
            check(disk, acknowledged, &format!("after call {}", snapshot.call));
        }
    }
    assert!(compacted > 10, "compaction was cut {compacted} times");
}

#[test]
fn a_kill_after_any_call_loses_nothing() {
    cut_everywhere(|snapshot| vec![snapshot.kill()]);
}

#[test]
fn a_power_cut_after_any_call_loses_nothing() {
    cut_everywhere(|snapshot| {
        let mut coin = snapshot.call;
        let mut toss = || {
            coin = coin.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            coin >> 63 == 1
        };
        let torn = snapshot.power_cut(&mut toss);
        vec![snapshot.power_cut(&mut || false), snapshot.power_cut(&mut || true), torn]
    });
}
