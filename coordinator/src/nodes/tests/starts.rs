//! Starts of nodes: an older copy of a disk is refused, and what could not be recorded is recorded later.

use super::{Still, cluster_of_known, healthy, id};
use crate::metadata::memory::MemoryMetadata;
use crate::metadata::{Batch, Entry, Metadata, keys};
use crate::nodes::KnownNodes;
use crate::nodes::registry::{CENSUS, Registry};
use async_trait::async_trait;
use bytes::Bytes;
use protocol::{Error, ErrorKind, NodeHealth, Result, Start, Starts};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A catalog that takes commits only when it may.
#[derive(Default)]
struct Stubborn {
    metadata: MemoryMetadata,
    refuses: AtomicBool,
}

#[async_trait]
impl Metadata for Stubborn {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.metadata.get(key).await
    }
    async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Entry)>> {
        self.metadata.scan(from, to, limit).await
    }
    async fn commit(&self, batch: Batch) -> Result<()> {
        match self.refuses.load(Ordering::Relaxed) {
            true => Err(Error::unavailable("reads only")),
            false => self.metadata.commit(batch).await,
        }
    }
}

fn started(ids: &[u32]) -> NodeHealth {
    let mut starts = Starts::default();
    ids.iter().for_each(|id| starts.begin(*id));
    NodeHealth { starts, ..healthy("n1") }
}

async fn seen(registry: &Registry) -> Option<Start> {
    registry.recorded().await.unwrap().pop().unwrap().start
}

#[tokio::test]
async fn a_disk_that_does_not_remember_a_start_that_was_seen_is_refused() {
    let registry = Registry::new(Arc::new(MemoryMetadata::default()), Arc::new(Still));
    let admit = async |health: &NodeHealth| registry.admit(health, "http://n1").await;
    assert!(admit(&started(&[1])).await.unwrap());
    assert!(admit(&started(&[1, 2, 3])).await.unwrap(), "nobody saw the second");
    assert_eq!(seen(&registry).await, Some(Start { number: 3, id: 3 }));
    for copy in [&[1][..], &[1, 2], &[1, 2, 9], &[1, 2, 9, 10]] {
        let refused = admit(&started(copy)).await.unwrap_err();
        assert!(refused.kind == ErrorKind::Denied && refused.message.contains("older copy"), "{copy:?}: {refused}");
    }
    assert!(admit(&started(&[1, 2, 3, 4])).await.unwrap(), "the disk itself is taken");
    assert!(admit(&started(&[])).await.unwrap(), "a node of before says nothing of its starts");
    assert_eq!(seen(&registry).await, Some(Start { number: 4, id: 4 }));
    let replaced = NodeHealth { disk: healthy("n22").disk, replaced: true, ..started(&[7]) };
    assert!(admit(&replaced).await.unwrap());
    assert_eq!(seen(&registry).await, Some(Start { number: 1, id: 7 }), "another disk has starts of its own");
}

/// Told until it is on record, however often the node starts meanwhile; then not again.
#[tokio::test]
async fn a_start_that_may_have_found_less_is_unproved_and_wants_a_census_once() {
    let metadata = Arc::new(Stubborn::default());
    let registry = Registry::new(metadata.clone(), Arc::new(Still));
    let doubtful = |ids: &[u32], since: Option<u64>| {
        let mut health = started(ids);
        health.starts.doubtful = since;
        health
    };
    let told = async |health: &NodeHealth| {
        let is_on_record = registry.admit(health, "http://n1").await.unwrap();
        let unproved = registry.recorded().await.unwrap().pop().unwrap().unproved;
        let range = keys::wanted_of(CENSUS);
        (is_on_record, unproved, metadata.scan(&range.from, &range.to, 10).await.unwrap().len())
    };
    assert_eq!(told(&doubtful(&[1], None)).await, (true, false, 0));
    metadata.refuses.store(true, Ordering::Relaxed);
    assert_eq!(told(&doubtful(&[1, 2], Some(2))).await, (false, false, 0));
    metadata.refuses.store(false, Ordering::Relaxed);
    assert_eq!(told(&doubtful(&[1, 2, 3], Some(2))).await, (true, true, 1), "it was the start before");
    assert_eq!(told(&doubtful(&[1, 2, 3], Some(2))).await, (true, true, 1));
    assert_eq!(told(&doubtful(&[1, 2, 3, 4], Some(2))).await, (true, true, 1), "that is known by then");
}

#[tokio::test(start_paused = true)]
async fn a_start_that_could_not_be_recorded_keeps_nobody_out_and_is_recorded_later() {
    let metadata = Arc::new(Stubborn::default());
    let registry = Arc::new(Registry::new(metadata.clone(), Arc::new(Still)));
    let (nodes, fakes) = cluster_of_known(registry.clone(), &["?"]);
    let restart = |ids: &[u32]| fakes[0].0.lock().unwrap().health = started(ids);
    restart(&[1]);
    nodes.probe_all().await;
    metadata.refuses.store(true, Ordering::Relaxed);
    restart(&[1, 2]);
    nodes.probe_all().await;
    assert_eq!(nodes.answering().into_iter().collect::<Vec<_>>(), [id("n1")], "reads go on");
    assert_eq!(seen(&registry).await, Some(Start { number: 1, id: 1 }));
    fakes[0].0.lock().unwrap().health = NodeHealth { zone: "elsewhere".to_owned(), ..started(&[1, 2]) };
    nodes.probe_all().await;
    assert_eq!(nodes.answering().into_iter().collect::<Vec<_>>(), [id("n1")], "it has what it had");
    metadata.refuses.store(false, Ordering::Relaxed);
    nodes.probe_all().await;
    assert_eq!(registry.recorded().await.unwrap()[0].zone, "elsewhere");
    assert_eq!(seen(&registry).await, Some(Start { number: 2, id: 2 }), "nothing but the catalog has changed");
}

#[test]
fn so_many_starts_are_told_and_those_before_are_taken_on_trust() {
    let mut starts = Starts::default();
    (0..1_000).for_each(|id| starts.begin(id));
    assert_eq!((starts.number, starts.last()), (1_000, Some(Start { number: 1_000, id: 999 })));
    assert!(starts.may_remember(Start { number: 800, id: 799 }));
    assert!(!starts.may_remember(Start { number: 800, id: 7 }));
    assert!(starts.may_remember(Start { number: 5, id: 123 }), "too long ago to be told");
    assert!(!starts.may_remember(Start { number: 1_001, id: 1 }));
}
