//! What healers do where storms rarely lead: queues full of what cannot be mended, what is lost for good, writes that never pause.
#![allow(clippy::unwrap_used, reason = "a test may")]

use bytes::Bytes;
use coordinator::metadata::keys;
use coordinator::metadata::records::{NodeRecord, Record, RepairRecord};
use coordinator::object::{
    Availability, BucketName, Condition, DeleteMode, ListRequest, ObjectName, Version, VersionSelector,
};
use coordinator::worker::Pass;
use coordinator::worker::Progress;
use coordinator::worker::census::{REMOVAL_ALLOWED, WITHHELD};
use protocol::{ChunkId, Shard, ShardId};
use std::sync::Arc;
use std::time::Duration;
use testing::sim::body::{BLOCK_BYTES, TestBody};
use testing::sim::check::Ended;
use testing::sim::client::{Client, Sending};
use testing::sim::cluster::{Cluster, Plants};
use testing::sim::node::SimNode;
use testing::sim::runtime::simulate;
use testing::sim::workers::{Crew, Habits};
use tokio::time::sleep;

/// Breakers, probes and stragglers have come to rest by then.
const REST: Duration = Duration::from_secs(45);
/// As the runner rests when a worker waits.
const PAUSE: Duration = Duration::from_millis(500);

struct Stage {
    cluster: Arc<Cluster>,
    client: Client,
}

impl Stage {
    async fn set(nodes: usize) -> Stage {
        let cluster = Cluster::new(11, nodes, Plants::default());
        let coordinator = Arc::new(cluster.watching_coordinator(0));
        sleep(Duration::from_millis(40)).await;
        Stage { client: Client::new(cluster.oracle().clone(), coordinator), cluster }
    }

    fn node(&self, place: usize) -> &SimNode {
        &self.cluster.nodes()[place]
    }

    async fn put(&self, key: &str, tag: u64) {
        let ended = self.client.put(key, &TestBody::new(tag, 300), Condition::None, Sending::Whole).await;
        assert!(matches!(ended, Ended::Answered(Ok(_))), "{key}: {ended:?}");
    }

    fn chunks(&self) -> Vec<ChunkId> {
        let found = self.cluster.oracle().view().scan(&keys::chunks());
        found.iter().map(|(key, _)| keys::parse_chunk(key).unwrap()).collect()
    }

    fn repairs(&self) -> Vec<(u8, RepairRecord)> {
        let found = self.cluster.oracle().view().scan(&keys::repairs());
        let read = |(key, entry): &(bytes::Bytes, coordinator::metadata::Entry)| {
            (keys::parse_repair(key).unwrap().0, RepairRecord::decode(&entry.value).unwrap())
        };
        found.iter().map(read).collect()
    }
}

/// I17: a chunk that cannot be mended now holds nobody up, however many there are of them, and although a node that is away is probed all
/// the time.
#[test]
fn chunks_that_cannot_be_mended_do_not_starve_those_that_can() {
    let (mended, panics) = simulate(async {
        let stage = Stage::set(4).await;
        // The older ones are on 1, 2 and 4, the younger ones on 2, 3 and 4.
        stage.node(2).set_full(true);
        for tag in 0..600 {
            stage.put(&format!("older{tag}"), tag).await;
        }
        stage.node(2).set_full(false);
        stage.node(0).set_full(true);
        sleep(REST).await;
        for tag in 600..640 {
            stage.put(&format!("younger{tag}"), tag).await;
        }
        // 4 is gone, and 3 full: of the older ones no third copy can be made, of the younger ones on 1.
        stage.node(3).crash();
        stage.node(2).set_full(true);
        stage.node(0).set_full(false);
        sleep(REST).await;
        let process = stage.cluster.watching_coordinator(0);
        sleep(REST).await;
        let mut crew = Crew::hired(&process, &Habits::EAGER).await.expect("nobody else works");
        for worker in ["membership", "census"] {
            crew.finish(worker).await;
        }
        let queued = stage.repairs().len();
        assert!(queued > 500, "only {queued} are queued, and nothing is tested");
        for _ in 0..60 {
            drop(crew.step("repair").await);
            sleep(PAUSE).await;
        }
        let younger = &stage.chunks()[600..];
        let left = stage.repairs();
        younger.iter().filter(|chunk| left.iter().all(|(_, repair)| repair.chunk != **chunk)).count()
    });
    assert!(panics.is_empty(), "{panics:#?}");
    assert_eq!(mended, 40, "all that can be mended are");
}

/// `replication_lag` counts objects, however many chunks of each are short (contract B9).
#[test]
fn an_object_that_waits_for_repair_counts_once() {
    let ((objects, chunks), panics) = simulate(async {
        let stage = Stage::set(3).await;
        stage.put("whole", 1).await;
        stage.node(2).crash();
        sleep(REST).await;
        for (key, tag) in [("small", 2), ("large", 3)] {
            let body = TestBody::new(tag, if key == "large" { 2 << 20 } else { 300 });
            let ended = stage.client.put(key, &body, Condition::None, Sending::Whole).await;
            assert!(matches!(ended, Ended::Answered(Ok(_))), "{key}: {ended:?}");
        }
        sleep(REST).await;
        let objects = stage.cluster.watching_coordinator(0).objects.clone();
        (objects.objects_to_repair().await.unwrap(), objects.repair_queue().await.unwrap().short())
    });
    assert!(panics.is_empty(), "{panics:#?}");
    assert!(objects == 2 && chunks > 4, "{objects} objects of {chunks} chunks");
}

/// What is lost for good stays on record, and keeps no other work from being done.
#[test]
fn a_chunk_that_is_lost_does_not_stop_rebalance() {
    let ((before, after), _) = simulate(async {
        let stage = Stage::set(4).await;
        stage.put("lost", 1).await;
        let chunk = stage.chunks()[0];
        let flipped = |node: &Arc<SimNode>| (0..3).any(|index| node.flip(ShardId { chunk, index }));
        assert_eq!(stage.cluster.nodes().iter().filter(|node| flipped(node)).count(), 3);
        let process = stage.cluster.watching_coordinator(0);
        sleep(REST).await;
        let mut crew = Crew::hired(&process, &Habits::EAGER).await.expect("nobody else works");
        stage.cluster.want("scrub").await;
        crew.finish("scrub").await;
        stage.cluster.want("rebalance").await;
        let before = crew.step("rebalance").await.unwrap();
        crew.finish("repair").await;
        let repairs = stage.repairs();
        assert!(matches!(&repairs[..], [(0, repair)] if repair.lost && repair.chunk == chunk), "{repairs:?}");
        (before, crew.step("rebalance").await.unwrap())
    });
    let waits = |progress: &Progress| matches!(progress, Progress::Waits(why) if why.contains("repair comes first"));
    assert!(waits(&before), "as long as it may be mended: {before:?}");
    assert!(!waits(&after), "{after:?}");
}

/// What is on record as lost is told wherever durability is, and a read that would meet it does not begin.
#[test]
fn a_version_with_a_lost_chunk_is_shown_as_what_it_is() {
    let (_, panics) = simulate(async {
        let stage = Stage::set(4).await;
        let body = TestBody::new(1, 2 << 20);
        stage.client.put("rotten", &body, Condition::None, Sending::Whole).await;
        stage.put("well", 2).await;
        sleep(REST).await;
        let chunks = stage.chunks();
        let chunk = chunks[chunks.len() / 2];
        let flipped = |node: &&Arc<SimNode>| (0..3).any(|index| node.flip(ShardId { chunk, index }));
        assert_eq!(stage.cluster.nodes().iter().filter(flipped).count(), 3);
        let process = stage.cluster.watching_coordinator(0);
        sleep(REST).await;
        let mut crew = Crew::hired(&process, &Habits::EAGER).await.expect("nobody else works");
        stage.cluster.want("scrub").await;
        crew.finish("scrub").await;
        crew.finish("repair").await;
        let objects = &process.objects;
        let name = |key: &str| ObjectName::new(BucketName::files(), key).unwrap();
        let resolved = async |key: &str| match objects.resolve(&name(key), VersionSelector::Latest).await.unwrap() {
            Version::Found(version) => version,
            other => panic!("{key}: {other:?}"),
        };
        for (key, copies, status, lost) in
            [("rotten", 0, Availability::Unavailable, true), ("well", 3, Availability::Available, false)]
        {
            let version = resolved(key).await;
            let standing = objects.standing(&name(key), &version).await.unwrap();
            assert_eq!((standing.receipt.copies, standing.recorded), (copies, 3), "{key}");
            let unreadable = objects.out_of_reach(&name(key), &version, &(0..version.size)).await.unwrap();
            assert_eq!(unreadable.is_some(), lost, "{key}: {unreadable:?}");
            let listing = ListRequest {
                bucket: BucketName::files(),
                prefix: key.to_owned(),
                delimiter: None,
                after: None,
                limit: 1,
                shows_availability: true,
            };
            let listed = objects.list(&listing).await.unwrap();
            assert_eq!(listed.objects[0].availability, Some(status), "{key}");
            assert_eq!(objects.lost_versions().await.unwrap().contains(&version.id), lost, "{key}");
        }
    });
    assert!(panics.is_empty(), "{panics:#?}");
}

/// A census beside writes finds nothing missing that is not, and so a replaced disk is proved while clients go on.
#[test]
fn a_census_is_not_misled_by_writes_that_go_on() {
    let (false_alarms, panics) = simulate(async {
        let stage = Stage::set(4).await;
        for tag in 0..40 {
            stage.put(&format!("first{tag}"), tag).await;
        }
        stage.node(0).wipe();
        stage.node(0).start();
        sleep(REST).await;
        let worker = stage.cluster.worker_process(0, &Habits { rest_ms_max: 20, ..Habits::EAGER });
        let mut false_alarms = 0;
        for tag in 1_000..4_000 {
            stage.put(&format!("more{tag}"), tag).await;
            false_alarms += stage.repairs().iter().filter(|(severity, _)| *severity == 0).count();
            sleep(Duration::from_millis(15)).await;
        }
        let nodes = stage.cluster.oracle().view().scan(&keys::nodes());
        let unproved = |record: &NodeRecord| record.unproved;
        assert!(
            !nodes.iter().any(|(_, entry)| unproved(&NodeRecord::decode(&entry.value).unwrap())),
            "the new disk is proved although writes never paused"
        );
        worker.crash();
        false_alarms
    });
    assert!(panics.is_empty(), "{panics:#?}");
    assert_eq!(false_alarms, 0, "nothing was in danger");
}

/// Law 8: a shard that is missing stays queued while the node that lacks it is silent.
#[test]
fn what_was_found_missing_is_not_forgotten_while_its_node_is_silent() {
    let ((silent, after), panics) = simulate(async {
        let stage = Stage::set(4).await;
        for tag in 0..8 {
            stage.put(&format!("key{tag}"), tag).await;
        }
        let process = stage.cluster.watching_coordinator(0);
        sleep(REST).await;
        // A segment of it is damaged: it does not know of these shards any more.
        let holder = stage.node(0);
        let held = holder.inventory();
        assert!(!held.is_empty());
        holder.delete(held.clone()).await.unwrap().unwrap();
        let mut crew = Crew::hired(&process, &Habits::EAGER).await.expect("nobody else works");
        stage.cluster.want("census").await;
        crew.finish("census").await;
        assert_eq!(stage.repairs().len(), held.len());
        holder.crash();
        sleep(REST).await;
        crew.finish("repair").await;
        let silent = stage.repairs().len();
        holder.start();
        sleep(REST).await;
        crew.finish("repair").await;
        ((silent, held.len()), stage.repairs().len())
    });
    assert!(panics.is_empty(), "{panics:#?}");
    assert_eq!((silent.0, after), (silent.1, 0));
}

/// Faults 2.3: what a census must not remove keeps it from nothing else.
#[test]
fn a_census_that_may_remove_nothing_finds_what_is_missing_all_the_same() {
    let ((kept, missing, again, allowed), panics) = simulate(async {
        let stage = Stage::set(4).await;
        let now_ms = 1_000;
        let early = |n: u128| ShardId { chunk: ChunkId(uuid::Uuid::from_u128(now_ms << 80 | 7 << 76 | n)), index: 0 };
        let strange = |n| Shard { id: early(n), crc: crc32fast::hash(b"x"), data: Bytes::from_static(b"x") };
        for n in 0..12_u128 {
            stage.node(3).put((0..100).map(|m| strange(n * 100 + m)).collect()).await.unwrap().unwrap();
        }
        for tag in 0..8 {
            stage.put(&format!("key{tag}"), tag).await;
        }
        let process = stage.cluster.watching_coordinator(0);
        sleep(REST).await;
        let held = stage.node(0).inventory();
        stage.node(0).delete(held.clone()).await.unwrap().unwrap();
        let mut crew = Crew::hired(&process, &Habits::EAGER).await.expect("nobody else works");
        let strangers = |stage: &Stage| stage.chunks().len() - 8;
        stage.cluster.want("census").await;
        crew.finish("census").await;
        let (kept, missing) = (1_200 - strangers(&stage), (stage.repairs().len(), held.len()));
        // The next pass has no thousand more.
        stage.cluster.want("census").await;
        crew.finish("census").await;
        let again = 1_200 - strangers(&stage);
        let told = matches!(crew.step("census").await.unwrap(), Progress::Waits(why) if why.contains("allow_removal"));
        crew.work().want("census", REMOVAL_ALLOWED).await.unwrap();
        crew.finish("census").await;
        (kept, missing, (again, told), 1_200 - strangers(&stage))
    });
    assert!(panics.is_empty(), "{panics:#?}");
    assert_eq!((kept, again), (200, (200, true)));
    assert_eq!(missing.0, missing.1);
    assert_eq!(allowed, 0);
}

/// Its window may be over by then.
#[test]
fn what_is_purged_while_clients_read_it_is_read_to_its_end() {
    let (garbage, panics) = simulate(async {
        let stage = Stage::set(4).await;
        let process = stage.cluster.watching_coordinator(0);
        sleep(REST).await;
        let (objects, name) = (&process.objects, ObjectName::new(BucketName::files(), "large").unwrap());
        let body = TestBody::new(5, 60 * BLOCK_BYTES);
        let ended = stage.client.put("large", &body, Condition::None, Sending::Whole).await;
        assert!(matches!(ended, Ended::Answered(Ok(_))), "{ended:?}");
        let Version::Found(version) = objects.resolve(&name, VersionSelector::Latest).await.unwrap() else {
            panic!("it was put")
        };
        assert!(version.chunk_count > 1);
        let mut crew = Crew::hired(&process, &Habits::EAGER).await.expect("nobody else works");
        let garbage = || stage.cluster.oracle().view().scan(&keys::garbages()).len();
        let mut told = Vec::new();
        let (mut one, other) = (
            objects.open(&name, &version, 0..version.size).await.unwrap(),
            objects.open(&name, &version, 0..1).await.unwrap(),
        );
        let mut all = one.next().await.unwrap().unwrap().to_vec();
        objects.delete(&name, DeleteMode::Purge).await.unwrap();
        crew.finish("collect").await;
        told.push(garbage());
        drop(other);
        crew.finish("collect").await;
        told.push(garbage());
        while let Some(piece) = one.next().await {
            all.extend_from_slice(&piece.unwrap());
        }
        assert!(all == body.data);
        drop(one);
        crew.finish("collect").await;
        told.push(garbage());
        told
    });
    assert!(panics.is_empty(), "{panics:#?}");
    assert_eq!(garbage, [1, 1, 0]);
}

/// What is in the trash of a node that was away is no find: no guard minds it.
#[test]
fn a_census_takes_nothing_in_the_trash_for_left_over() {
    let (withheld, panics) = simulate(async {
        let stage = Stage::set(4).await;
        for tag in 0..1_800 {
            stage.put(&format!("key{tag}"), tag).await;
        }
        let process = stage.cluster.watching_coordinator(0);
        sleep(REST).await;
        stage.node(0).crash();
        for tag in 0..1_800 {
            let ended = stage.client.delete(&format!("key{tag}"), DeleteMode::Purge).await;
            assert!(matches!(ended, Ended::Answered(Ok(_))), "{ended:?}");
        }
        let mut crew = Crew::hired(&process, &Habits::EAGER).await.expect("nobody else works");
        crew.finish("collect").await;
        stage.node(0).start();
        sleep(REST).await;
        stage.cluster.want("census").await;
        crew.finish("census").await;
        let trash = stage.cluster.oracle().view().scan(&keys::trash_of(stage.node(0).id()));
        assert!(trash.len() > 1_000, "or the guard would not mind");
        assert_eq!(trash.len(), stage.node(0).inventory().len(), "nobody has deleted it yet");
        let pass = Pass::read(crew.work(), "census").await.unwrap();
        assert_eq!(pass.counted("shards"), trash.len() as u64, "it has looked: {:?}", pass.record);
        pass.counted(WITHHELD)
    });
    assert!(panics.is_empty(), "{panics:#?}");
    assert_eq!(withheld, 0);
}

/// A disk in the place of another is proved once it holds all that can still be had, and no census is wanted for ever.
#[test]
fn a_replaced_disk_is_proved_although_a_chunk_is_lost_for_good() {
    let (unproved, _) = simulate(async {
        let stage = Stage::set(4).await;
        for tag in 0..8 {
            stage.put(&format!("key{tag}"), tag).await;
        }
        stage.put("lost", 99).await;
        let chunk = *stage.chunks().last().unwrap();
        let holders: Vec<&Arc<SimNode>> = stage.cluster.nodes().iter().collect();
        let flipped = |node: &Arc<SimNode>| (0..3).any(|index| node.flip(ShardId { chunk, index }));
        let holders: Vec<&Arc<SimNode>> = holders.into_iter().filter(|node| flipped(node)).collect();
        assert_eq!(holders.len(), 3);
        holders[0].wipe();
        holders[0].start();
        let process = stage.cluster.watching_coordinator(0);
        sleep(REST).await;
        let mut crew = Crew::hired(&process, &Habits::EAGER).await.expect("nobody else works");
        stage.cluster.want("scrub").await;
        crew.finish("scrub").await;
        for _ in 0..4 {
            sleep(REST).await;
            for worker in ["membership", "census", "repair"] {
                crew.finish(worker).await;
            }
        }
        assert!(stage.repairs().iter().any(|(_, repair)| repair.lost && repair.chunk == chunk));
        let nodes = stage.cluster.oracle().view().scan(&keys::nodes());
        nodes.iter().filter(|(_, entry)| NodeRecord::decode(&entry.value).unwrap().unproved).count()
    });
    assert_eq!(unproved, 0);
}
