//! Documents in the simulated cluster: every external call of every verb fails in turn, and writers of one key race. What is read then is
//! the old document or the new one, whole (law 3), never the hot fields of one with the cold ones of another.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it says")]

use coordinator::code::Code;
use coordinator::metadata::records::{ChunkList, VersionRecord, Versioning};
use coordinator::object::{
    Attributes, BucketName, Change, Condition, DeleteMode, DeleteRequest, Document, DocumentDone, JSON, MissingBucket,
    ObjectName, Objects, PutTarget, Refused, Strategy, Version, VersionSelector,
};
use futures_util::future::join_all;
use protocol::Result;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use testing::sim::call::{Fate, Planned};
use testing::sim::cluster::{Cluster, Coordinator, Plants};
use testing::sim::failing::{Run, fail_every_call, fail_every_call_after_a_failure};
use testing::sim::runtime::simulate;
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
    let mut reader = objects.open(version, 0..version.size).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(String::from_utf8(bytes).unwrap())
}

/// A verb, and the document that is there before it.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    name: &'static str,
    before: bool,
    verb: Verb,
}

#[derive(Clone, Copy, Debug)]
enum Verb {
    Write(Strategy, u32, u32),
    Patch(&'static str),
    HotOnly(&'static str),
    Delete,
}

const SCENARIOS: [Scenario; 8] = [
    Scenario { name: "first write", before: false, verb: Verb::Write(Strategy::FieldHybrid, 1, 1) },
    Scenario { name: "pure hot update", before: true, verb: Verb::Write(Strategy::FieldHybrid, 2, 1) },
    Scenario { name: "mixed update", before: true, verb: Verb::Write(Strategy::FieldHybrid, 2, 2) },
    Scenario { name: "coded over hybrid", before: true, verb: Verb::Write(Strategy::Ec, 2, 2) },
    Scenario { name: "hot patch", before: true, verb: Verb::Patch(r#"{"view_count":7}"#) },
    Scenario { name: "cold patch", before: true, verb: Verb::Patch(r#"{"k":7,"view_count":7}"#) },
    Scenario { name: "hot only", before: true, verb: Verb::HotOnly(r#"{"view_count":7,"k":9}"#) },
    Scenario { name: "delete", before: true, verb: Verb::Delete },
];

impl Verb {
    /// What is there once it has happened.
    fn after(self) -> Option<String> {
        match self {
            Verb::Write(_, views, k) => Some(text(views, k)),
            Verb::Patch(patch) if patch.contains("\"k\"") => Some(text(7, 1).replace("\"k\":1,", "\"k\":7,")),
            Verb::Patch(_) | Verb::HotOnly(_) => Some(text(7, 1)),
            Verb::Delete => None,
        }
    }

    async fn act(self, objects: &Objects) -> Result<()> {
        match self {
            Verb::Write(strategy, views, k) => write(objects, strategy, &text(views, k)).await.map(drop),
            Verb::Patch(patch) => change(objects, Change::patch(patch.as_bytes())?).await.map(drop),
            Verb::HotOnly(fields) => change(objects, Change::hot_only(fields.as_bytes())?).await.map(drop),
            Verb::Delete => {
                let request = DeleteRequest::from(DeleteMode::Purge);
                objects.delete_document(&name(), &request).await.map(drop)
            }
        }
    }
}

fn run(scenario: Scenario, plan: &[Planned]) -> Run {
    let (mut run, panics) = simulate(play(scenario, plan.to_vec()));
    run.violations.extend(panics);
    run
}

async fn play(scenario: Scenario, plan: Vec<Planned>) -> Run {
    let cluster = Cluster::new(7, NODES, PLANTS);
    let coordinator = Arc::new(cluster.coordinator().await);
    let before = scenario.before.then(|| text(1, 1));
    if let Some(before) = &before {
        write(&coordinator.objects, Strategy::FieldHybrid, before).await.unwrap();
    }
    coordinator.calls.arm(&plan);
    let succeeded = tokio::select! {
        biased;
        outcome = scenario.verb.act(&coordinator.objects) => outcome.is_ok(),
        () = coordinator.calls.died() => false,
    };
    sleep(REST).await;
    let targets = coordinator.calls.disarm();
    let coordinator = if coordinator.calls.is_dead() { restarted(&cluster, &coordinator).await } else { coordinator };
    let states = [before, scenario.verb.after()];
    let possible = if succeeded { &states[1..] } else { &states[..] };
    for place in coordinator.calls.nodes_died() {
        check(&cluster, &coordinator, possible, "with the node down").await;
        cluster.nodes()[place].start();
    }
    sleep(REST).await;
    coordinator.objects.nodes.probe_all().await;
    check(&cluster, &coordinator, possible, "after it").await;
    if let Err(error) = scenario.verb.act(&coordinator.objects).await {
        cluster.oracle().violated(format!("the verb cannot be sent again: {error}"));
    }
    sleep(REST).await;
    let fresh = restarted(&cluster, &coordinator).await;
    check(&cluster, &fresh, &states[1..], "at the end").await;
    cluster.oracle().census();
    Run { targets, violations: cluster.oracle().violations(), succeeded }
}

async fn restarted(cluster: &Arc<Cluster>, coordinator: &Coordinator) -> Arc<Coordinator> {
    coordinator.crash();
    Arc::new(cluster.coordinator().await)
}

/// The newest document is one of these, and every older version can be read.
async fn check(cluster: &Arc<Cluster>, coordinator: &Coordinator, possible: &[Option<String>], when: &str) {
    let objects = &coordinator.objects;
    let newest = newest(objects).await;
    for number in 1..=newest.as_ref().map_or(0, |version| version.number) {
        if let Ok(Version::Found(version)) = objects.resolve(&name(), VersionSelector::Number(number)).await
            && let Err(error) = read(objects, &version).await
        {
            cluster.oracle().violated(format!("{when}: version {number} cannot be read: {error}"));
        }
    }
    let found = match &newest {
        Some(version) => read(objects, version).await.map(Some),
        None => Ok(None),
    };
    if !found.as_ref().is_ok_and(|found| possible.contains(found)) {
        cluster.oracle().violated(format!("{when}: {found:?} is none of {possible:?}"));
    }
}

#[test]
fn a_document_survives_the_failure_of_each_call_of_each_verb() {
    for scenario in SCENARIOS {
        fail_every_call(scenario.name, |plan| run(scenario, plan));
    }
}

#[test]
fn a_document_whose_commit_was_not_answered_survives_the_failure_of_each_call_that_follows() {
    let lost = [Fate::FailBefore(protocol::ErrorKind::Unknown), Fate::FailAfter(protocol::ErrorKind::Unknown)];
    for scenario in [SCENARIOS[1], SCENARIOS[4]] {
        fail_every_call_after_a_failure(scenario.name, &lost, |plan| run(scenario, plan));
    }
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
        assert!(
            change(objects, Change::Patch(r#"{"view_count":3}"#.to_owned())).await.is_err(),
            "a reuse is as durable as a write"
        );
        write(objects, Strategy::Replication, &text(2, 2)).await.unwrap();
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
