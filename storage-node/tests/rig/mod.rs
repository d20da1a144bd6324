//! What the tests of the store share: shards by number, and stores on a real directory or a simulated disk.
#![allow(dead_code, reason = "each test file uses a part of it")]

use bytes::Bytes;
use protocol::{ChunkId, ClusterId, DiskId, Shard, ShardId, SystemClock};
use segments::{Disk, RealDisk};
use std::path::Path;
use std::sync::Arc;
use storage_node::store::{Store, StoreConfig};
use uuid::Uuid;

/// Segments in these tests: small, so that there are many.
pub const SEGMENT_BYTES: u64 = 64 << 10;

pub fn id(n: u64) -> ShardId {
    ShardId { chunk: ChunkId(Uuid::from_u128(u128::from(n) + 1)), index: 0 }
}

/// Shard `n`, of `length` bytes that name it; `salt` makes other bytes for the same id.
pub fn shard(n: u64, length: usize, salt: u8) -> Shard {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(salt);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    Shard::new(id(n), Bytes::from((0..length).map(|_| next()).collect::<Vec<u8>>()))
}

pub fn config(index: Option<&Path>) -> StoreConfig {
    StoreConfig {
        node: "n1".parse().unwrap(),
        cluster: ClusterId(Uuid::from_u128(1)),
        disk: DiskId(Uuid::from_u128(2)),
        replaced: false,
        starts: Default::default(),
        zone: String::new(),
        index_directory: index.map(Path::to_owned),
        index_cache_bytes: 1 << 20,
        capacity_bytes: 0,
        reserve_bytes: 0,
        segment_bytes: SEGMENT_BYTES,
        compact_dead_share: 0.5,
        clock: Arc::new(SystemClock),
    }
}

/// A store as it serves: its index is one to be believed.
pub fn settled<D: Disk>(store: Store<D>) -> Store<D> {
    store.settle_index().unwrap();
    store
}

/// The store of the directory `root`.
pub fn open(root: &Path) -> Store<RealDisk> {
    segments::durable::create_dir_all(root.join("segments")).unwrap();
    settled(Store::open(RealDisk::open(root.join("segments")).unwrap(), config(Some(&root.join("index")))).unwrap())
}

/// Flips a bit of these bytes where they lie in a segment file of the store in `root`.
#[expect(clippy::disallowed_methods, reason = "damages a file behind the store's back")]
pub fn damage(root: &Path, data: &[u8]) {
    for file in std::fs::read_dir(root.join("segments")).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(data.len()).position(|window| window == data) {
            bytes[at + data.len() / 2] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            return;
        }
    }
    panic!("no segment holds these bytes");
}

/// Every shard of a store, by listing.
pub fn list<D: Disk>(store: &Store<D>) -> Vec<ShardId> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = store.list(after, 7).unwrap();
        found.extend(page.shards.iter().map(|head| head.id));
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

/// Compacts until nothing is left to do.
pub fn compact<D: Disk>(store: &Store<D>) {
    for _ in 0..10_000 {
        if store.compact_step().unwrap() == storage_node::compaction::CompactStep::Idle {
            return;
        }
    }
    panic!("compaction does not come to an end");
}
