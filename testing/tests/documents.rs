//! Documents in the simulated cluster: what an update stores, what it is refused for, and writers of one key that race. What is read then is
//! one document, whole (law 3), never the hot fields of one with the cold ones of another. That every external call of every verb may
//! fail is tested in `crash_at_every_document_call.rs`.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it says")]

use coordinator::code::Code;
use coordinator::metadata::records::{ChunkList, VersionRecord, Versioning};
use coordinator::object::{
    Attributes, BucketName, Change, Condition, DeleteMode, DeleteRequest, Document, DocumentDone, JSON, MissingBucket,
    ObjectName, Objects, PutTarget, Refused, Strategy, Version, VersionSelector,
};
use futures_util::future::{join, join_all};
use protocol::Result;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use testing::sim::cluster::{Cluster, Plants};
use testing::sim::runtime::simulate;
use testing::sim::workers::Habits;
use tokio::time::sleep;

/// As many as 4+2 needs.
const NODES: usize = 6;
/// The cold part is coded as it is shipped.
const PLANTS: Plants = Plants { bug: None, code: Code::REPLICATION, ec: Some(Code { data: 4, parity: 2 }) };
/// Whatever was under way has ended by then.
const REST: Duration = Duration::from_secs(40);

fn name() -> ObjectName {
    ObjectName::new(BucketName::documents(), "user:1").unwrap()
}

/// A document whose cold field `k` stands between two hot ones.
fn text(views: u32, k: u32) -> String {
    let note = format!("note {k} ").repeat(200);
    format!(r#"{{"view_count":{views},"k":{k},"note":"{note}","like_count":0.10}}"#)
}

async fn write(objects: &Objects, strategy: Strategy, text: &str) -> Result<DocumentDone> {
    let target = PutTarget {
        name: name(),
        content_type: JSON.to_owned(),
        metadata: BTreeMap::new(),
        condition: Condition::None,
        md5: None,
        attributes: Attributes::default(),
        missing_bucket: MissingBucket::Make(Versioning::Enabled),
    };
    objects.put_document(&Document::parse(strategy, text.as_bytes())?, &target).await
}

async fn change(objects: &Objects, change: Change) -> Result<DocumentDone> {
    objects.change_document(&name(), change, &Condition::None, "").await
}

async fn newest(objects: &Objects) -> Option<Box<VersionRecord>> {
    match objects.resolve(&name(), VersionSelector::Latest).await.unwrap() {
        Version::Found(version) => Some(version),
        Version::NoObject | Version::NoVersion => None,
    }
}

async fn read(objects: &Objects, version: &VersionRecord) -> Result<String> {
    let mut reader = objects.open(&name(), version, 0..version.size).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(String::from_utf8(bytes).unwrap())
}

fn in_cluster<F: Future<Output = ()>>(nodes: usize, test: impl FnOnce(Arc<Cluster>) -> F) {
    let (cluster, panics) = simulate(async move {
        let cluster = Cluster::new(3, nodes, PLANTS);
        test(cluster.clone()).await;
        cluster
    });
    assert!(panics.is_empty(), "{panics:?}");
    assert_eq!(cluster.oracle().violations(), Vec::<String>::new());
}

/// The shards of all nodes.
fn shards(cluster: &Cluster) -> usize {
    cluster.nodes().iter().map(|node| node.inventory().len()).sum()
}

#[test]
fn a_pure_hot_update_writes_no_shard_of_the_cold_part() {
    in_cluster(NODES, |cluster| async move {
        let coordinator = cluster.coordinator().await;
        let objects = &coordinator.objects;
        let first = write(objects, Strategy::FieldHybrid, &text(1, 1)).await.unwrap();
        assert_eq!((first.is_pure_hot_update, first.hot_copies, first.cold_shards), (false, 3, 6));
        sleep(REST).await;
        let cold = |version: &VersionRecord| match &version.chunks {
            ChunkList::Document { cold, .. } => cold.iter().map(|entry| entry.chunk).collect::<Vec<_>>(),
            other => panic!("{other:?} has no two parts"),
        };
        let (kept, before) = (cold(&newest(objects).await.unwrap()), shards(&cluster));
        let second = write(objects, Strategy::FieldHybrid, &text(20_000, 1)).await.unwrap();
        let third = change(objects, Change::Patch(r#"{"view_count":3}"#.to_owned())).await.unwrap();
        for done in [&second, &third] {
            assert_eq!((done.is_pure_hot_update, done.hot_copies, done.cold_shards), (true, 3, 0));
        }
        sleep(REST).await;
        let version = newest(objects).await.unwrap();
        assert_eq!(cold(&version), kept, "the cold part is named again, and is the same");
        assert_eq!(shards(&cluster), before + 2 * 3, "three copies of the hot run that changed, twice");
        assert_eq!(read(objects, &version).await.unwrap(), text(3, 1));
        let mixed = write(objects, Strategy::FieldHybrid, &text(4, 2)).await.unwrap();
        assert_eq!((mixed.is_pure_hot_update, mixed.cold_shards), (false, 6));
    });
}

#[test]
fn too_few_nodes_for_a_code_are_said_and_leave_no_trace() {
    in_cluster(NODES, |cluster| async move {
        let coordinator = cluster.coordinator().await;
        let objects = &coordinator.objects;
        write(objects, Strategy::FieldHybrid, &text(1, 1)).await.unwrap();
        sleep(REST).await;
        cluster.nodes()[0].stop();
        cluster.nodes()[1].stop();
        for _ in 0..4 {
            objects.nodes.probe_all().await;
        }
        let refused = write(objects, Strategy::FieldHybrid, &text(2, 2)).await.unwrap_err();
        assert!(refused.message.contains("Insufficient EC nodes (need 6)"), "{refused}");
        assert_eq!(newest(objects).await.unwrap().number, 1, "no trace");
        let before = shards(&cluster);
        let refused = change(objects, Change::Patch(r#"{"view_count":3}"#.to_owned())).await.unwrap_err();
        assert!(
            refused.message.contains("Insufficient EC nodes (need 6)"),
            "a reuse is as durable as a write: {refused}"
        );
        sleep(REST).await;
        assert_eq!(shards(&cluster), before, "no trace");
        write(objects, Strategy::Replication, &text(2, 2)).await.unwrap();
    });
}

/// Two of six, which is what 4+2 bears, and one of three copies more than a read needs.
#[test]
fn a_document_is_read_whole_while_any_two_nodes_are_away() {
    in_cluster(NODES, |cluster| async move {
        let coordinator = cluster.coordinator().await;
        let objects = &coordinator.objects;
        let strategies = [Strategy::FieldHybrid, Strategy::Ec, Strategy::Replication];
        for (strategy, n) in strategies.into_iter().zip(1..) {
            write(objects, strategy, &text(n, n)).await.unwrap();
        }
        sleep(REST).await;
        for (one, other) in (0..NODES).flat_map(|one| (one + 1..NODES).map(move |other| (one, other))) {
            cluster.nodes()[one].crash();
            cluster.nodes()[other].crash();
            for n in 1..=3 {
                let found = objects.resolve(&name(), VersionSelector::Number(n)).await.unwrap();
                let Version::Found(version) = found else { panic!("version {n} is not there") };
                assert_eq!(read(objects, &version).await.unwrap(), text(n as u32, n as u32), "{one} and {other} away");
            }
            cluster.nodes()[one].start();
            cluster.nodes()[other].start();
        }
    });
}

/// However little a write comes before a delete of what was not there yet: who takes it away says so.
#[test]
fn a_delete_that_ended_a_document_does_not_say_that_there_was_none() {
    for late_ms in 0..30 {
        in_cluster(NODES, |cluster| async move {
            let coordinator = cluster.coordinator().await;
            let objects = &coordinator.objects;
            let delete = async {
                sleep(Duration::from_millis(late_ms)).await;
                objects.delete_document(&name(), &DeleteRequest::from(DeleteMode::Purge)).await.unwrap()
            };
            let (written, gone) = join(write(objects, Strategy::FieldHybrid, &text(1, 1)), delete).await;
            written.unwrap();
            let is_there = newest(objects).await.is_some();
            assert_eq!(gone.is_some(), !is_there, "a delete {late_ms} ms late: {gone:?}");
        });
    }
}

/// Its text goes while it is read, hot run by hot run, to be changed.
#[test]
fn a_change_of_what_is_deleted_and_collected_meanwhile_finds_no_document() {
    in_cluster(NODES, |cluster| async move {
        let coordinator = cluster.coordinator().await;
        let objects = &coordinator.objects;
        write(objects, Strategy::FieldHybrid, &text(1, 1)).await.unwrap();
        sleep(REST).await;
        let workers = cluster.worker_process(0, &Habits { rest_ms_max: 20, ..Habits::EAGER });
        sleep(REST).await;
        cluster.nodes().iter().for_each(|node| node.set_slow(Duration::from_secs(3)));
        let delete = async {
            sleep(Duration::from_millis(20)).await;
            objects.delete_document(&name(), &DeleteRequest::from(DeleteMode::Purge)).await.unwrap()
        };
        let hot = Change::Patch(r#"{"view_count":3}"#.to_owned());
        let (changed, gone) = join(change(objects, hot), delete).await;
        let error = changed.unwrap_err();
        assert_eq!((Refused::of(&error), gone.is_some()), (Some(Refused::NoSuchKey), true), "{error}");
        workers.crash();
    });
}

#[test]
fn writers_that_race_never_mix_their_fields() {
    in_cluster(NODES, |cluster| async move {
        let coordinator = cluster.coordinator().await;
        let objects = &coordinator.objects;
        write(objects, Strategy::FieldHybrid, &text(1, 1)).await.unwrap();
        let writes = (2..=9)
            .map(|n| async move { write(objects, Strategy::FieldHybrid, &text(n, n)).await.unwrap().put.number });
        let patches = (1_000..1_008).map(|n| async move {
            change(objects, Change::Patch(format!("{{\"view_count\":{n}}}"))).await.unwrap().put.number
        });
        let numbers = join_all(
            writes.map(futures_util::FutureExt::boxed_local).chain(patches.map(futures_util::FutureExt::boxed_local)),
        )
        .await;
        assert_eq!(numbers.len(), 16);
        let mut before = None;
        for number in 1..=17 {
            let Version::Found(version) = objects.resolve(&name(), VersionSelector::Number(number)).await.unwrap()
            else {
                panic!("version {number} is not there");
            };
            let found: serde_json::Value = serde_json::from_str(&read(objects, &version).await.unwrap()).unwrap();
            let (views, k) = (found["view_count"].as_u64().unwrap() as u32, found["k"].as_u64().unwrap() as u32);
            assert_eq!(read(objects, &version).await.unwrap(), text(views, k));
            match views {
                1_000.. => assert_eq!(Some(k), before, "a patch changes the version before it"),
                _ => assert_eq!(views, k, "a write is whole"),
            }
            before = Some(k);
        }
    });
}

#[test]
fn changes_are_refused_where_they_mean_nothing() {
    in_cluster(NODES, |cluster| async move {
        let coordinator = cluster.coordinator().await;
        let objects = &coordinator.objects;
        let hot = || Change::hot_only(br#"{"view_count":5}"#).unwrap();
        assert_eq!(Refused::of(&change(objects, hot()).await.unwrap_err()), Some(Refused::NoSuchKey));
        write(objects, Strategy::Replication, "{\"view_count\": 1.0}").await.unwrap();
        assert!(change(objects, hot()).await.unwrap_err().message.contains("stored as replication"));
        let patched = change(objects, Change::Patch(r#"{"a":1e400}"#.to_owned())).await.unwrap();
        assert_eq!(patched.strategy, Strategy::Replication);
        assert_eq!(read(objects, &newest(objects).await.unwrap()).await.unwrap(), r#"{"view_count":1.0,"a":1e400}"#);
        write(objects, Strategy::Ec, r#"{"binary_data":"aGk="}"#).await.unwrap();
        let binary = change(objects, Change::Patch("{}".to_owned())).await.unwrap_err();
        assert!(binary.message.contains("holds bytes"), "{binary}");
        write(objects, Strategy::FieldHybrid, &text(1, 1)).await.unwrap();
        let cold = change(objects, Change::hot_only(br#"{"k":5}"#).unwrap()).await.unwrap_err();
        assert!(cold.message.contains("like_count, view_count"), "{cold}");
        let done =
            change(objects, Change::hot_only(br#"{"k":5,"update_count":1,"view_count":null}"#).unwrap()).await.unwrap();
        assert_eq!(done.ignored_fields, ["k"]);
        let expected =
            text(1, 1).replace("\"view_count\":1", "\"view_count\":null").replace("0.10}", "0.10,\"update_count\":1}");
        assert_eq!(read(objects, &newest(objects).await.unwrap()).await.unwrap(), expected);
        assert!(done.is_pure_hot_update, "a hot field that comes to be takes nothing from the cold ones");
        let stale = Condition::Current(coordinator::metadata::records::VersionId(uuid::Uuid::nil()));
        let stale = objects.change_document(&name(), hot(), &stale, "").await.unwrap_err();
        assert_eq!(Refused::of(&stale), Some(Refused::ConditionFailed));
    });
}

#[test]
fn a_field_that_changes_most_of_the_time_becomes_hot() {
    in_cluster(NODES, |cluster| async move {
        let coordinator = cluster.coordinator().await;
        let objects = &coordinator.objects;
        let text = |n: u32| format!(r#"{{"id":1,"note":"{}","seen":{n}}}"#, "a note that stays ".repeat(50));
        let mut kinds = Vec::new();
        for n in 0..8 {
            kinds.push(write(objects, Strategy::FieldHybrid, &text(n)).await.unwrap().is_pure_hot_update);
        }
        assert!(kinds[..5].iter().all(|pure| !pure), "{kinds:?}");
        assert!(kinds[7], "{kinds:?}");
        let (_, keys) = objects.hot_fields.observed();
        assert_eq!((keys.len(), keys[0].field.as_str()), (1, "seen"));
        // Another process has seen nothing, and leaves the split as it is.
        let other = cluster.coordinator().await;
        assert!(write(&other.objects, Strategy::FieldHybrid, &text(9)).await.unwrap().is_pure_hot_update);
        assert_eq!(read(objects, &newest(objects).await.unwrap()).await.unwrap(), text(9));
    });
}
