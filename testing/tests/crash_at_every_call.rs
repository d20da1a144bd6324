//! Fails every external call of every verb in turn: the process ends before or after the call took effect, the call fails or its
//! answer is lost, or the node called dies. Then the state is the old or the new one, whole (law 3), and the verb can be sent
//! again. A new verb adds a scenario.

use coordinator::metadata::records::{StorageClass, VersionId, Versioning};
use coordinator::object::{Condition, DeleteMode, Deleted, Refused, VersionSelector};
use protocol::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use testing::sim::body::{BLOCK_BYTES, TestBody};
use testing::sim::call::{Fate, Planned};
use testing::sim::check::{Ended, Got, bucket_and_key};
use testing::sim::client::{Client, Sending};
use testing::sim::cluster::{Cluster, Coordinator, Plants};
use testing::sim::failing::{Run, fail_every_call, fail_every_call_after_a_failure};
use testing::sim::runtime::simulate;
use tokio::time::sleep;

const NODES: usize = 4;
const BUCKET: &str = "bucket";
/// Whatever was under way has ended by then.
const REST: Duration = Duration::from_secs(40);

/// A verb and what is there before it.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    name: &'static str,
    /// Bodies that were put under the key before.
    before: &'static [Body],
    /// The kind of bucket that it is in; `None`: the file door's.
    bucket: Option<Versioning>,
    /// Whether the chunks of the body are there already, under another key.
    shared: bool,
    /// How what is put is stored.
    class: StorageClass,
    verb: Verb,
}

#[derive(Clone, Copy, Debug)]
struct Body {
    tag: u64,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
enum Verb {
    Put(Body, When),
    Delete(DeleteMode),
    /// The version with this number, by itself.
    Remove(u64),
    CreateBucket,
    /// That versions be kept.
    KeepVersions,
    DeleteBucket,
    Tag,
}

#[derive(Clone, Copy, Debug)]
enum When {
    Always,
    Absent,
    Present,
}

const STANDARD: StorageClass = StorageClass::Standard;
const SMALL: Body = Body { tag: 1, bytes: 300 };
const OTHER: Body = Body { tag: 2, bytes: 500 };
/// With little budget a batch takes few such blocks, so this makes several.
const LARGE: Body = Body { tag: 3, bytes: 3 * BLOCK_BYTES + 77 };

const LARGE_PUT: Scenario = Scenario {
    name: "large put",
    before: &[OTHER],
    bucket: None,
    shared: false,
    class: STANDARD,
    verb: Verb::Put(LARGE, When::Always),
};
const LARGE_DEDUP: Scenario = Scenario {
    name: "large dedup",
    before: &[OTHER],
    bucket: None,
    shared: true,
    class: STANDARD,
    verb: Verb::Put(LARGE, When::Always),
};

const SMALL_SCENARIOS: [Scenario; 12] = [
    Scenario {
        name: "small put",
        before: &[],
        bucket: None,
        shared: false,
        class: STANDARD,
        verb: Verb::Put(SMALL, When::Always),
    },
    Scenario {
        name: "empty put",
        before: &[],
        bucket: None,
        shared: false,
        class: STANDARD,
        verb: Verb::Put(Body { tag: 4, bytes: 0 }, When::Always),
    },
    Scenario {
        name: "overwrite",
        before: &[OTHER],
        bucket: None,
        shared: false,
        class: STANDARD,
        verb: Verb::Put(SMALL, When::Always),
    },
    Scenario {
        name: "dedup",
        before: &[],
        bucket: None,
        shared: true,
        class: STANDARD,
        verb: Verb::Put(SMALL, When::Always),
    },
    Scenario {
        name: "put if absent",
        before: &[],
        bucket: None,
        shared: false,
        class: STANDARD,
        verb: Verb::Put(SMALL, When::Absent),
    },
    Scenario {
        name: "put if present",
        before: &[OTHER],
        bucket: None,
        shared: false,
        class: STANDARD,
        verb: Verb::Put(SMALL, When::Present),
    },
    Scenario {
        name: "delete",
        before: &[SMALL, OTHER],
        bucket: None,
        shared: false,
        class: STANDARD,
        verb: Verb::Delete(DeleteMode::Mark),
    },
    Scenario {
        name: "purge",
        before: &[SMALL, OTHER],
        bucket: None,
        shared: false,
        class: STANDARD,
        verb: Verb::Delete(DeleteMode::Purge),
    },
    Scenario {
        name: "remove the newest",
        before: &[SMALL, OTHER],
        bucket: None,
        shared: false,
        class: STANDARD,
        verb: Verb::Remove(2),
    },
    Scenario {
        name: "remove an older one",
        before: &[SMALL, OTHER],
        bucket: None,
        shared: false,
        class: STANDARD,
        verb: Verb::Remove(1),
    },
    Scenario {
        name: "remove the only one",
        before: &[SMALL],
        bucket: None,
        shared: false,
        class: STANDARD,
        verb: Verb::Remove(1),
    },
    Scenario {
        name: "delete of nothing",
        before: &[],
        bucket: None,
        shared: false,
        class: STANDARD,
        verb: Verb::Delete(DeleteMode::Mark),
    },
];

const fn in_bucket(name: &'static str, mode: Versioning, before: &'static [Body], verb: Verb) -> Scenario {
    Scenario { name, before, bucket: Some(mode), shared: false, class: STANDARD, verb }
}

const BUCKET_SCENARIOS: [Scenario; 17] = [
    in_bucket("put without versions", Versioning::Off, &[], Verb::Put(SMALL, When::Always)),
    in_bucket("replace without versions", Versioning::Off, &[OTHER], Verb::Put(SMALL, When::Always)),
    in_bucket("put if absent without versions", Versioning::Off, &[], Verb::Put(SMALL, When::Absent)),
    in_bucket("put of known bytes without versions", Versioning::Off, &[SMALL], Verb::Put(SMALL, When::Always)),
    in_bucket("delete without versions", Versioning::Off, &[OTHER], Verb::Delete(DeleteMode::MarkAlways)),
    in_bucket("purge without versions", Versioning::Off, &[OTHER], Verb::Delete(DeleteMode::Purge)),
    in_bucket("remove without versions", Versioning::Off, &[OTHER], Verb::Remove(1)),
    in_bucket("replace the null version", Versioning::Suspended, &[OTHER], Verb::Put(SMALL, When::Always)),
    in_bucket("mark over the null version", Versioning::Suspended, &[OTHER], Verb::Delete(DeleteMode::MarkAlways)),
    in_bucket("remove the null version", Versioning::Suspended, &[OTHER], Verb::Remove(1)),
    in_bucket("mark over nothing", Versioning::Enabled, &[], Verb::Delete(DeleteMode::MarkAlways)),
    in_bucket("tag", Versioning::Enabled, &[SMALL, OTHER], Verb::Tag),
    in_bucket("create a bucket that is there", Versioning::Off, &[], Verb::CreateBucket),
    in_bucket("keep versions from now on", Versioning::Off, &[OTHER], Verb::KeepVersions),
    in_bucket("delete an empty bucket", Versioning::Off, &[], Verb::DeleteBucket),
    in_bucket("delete a bucket that is not empty", Versioning::Off, &[OTHER], Verb::DeleteBucket),
    Scenario {
        name: "create a bucket",
        before: &[],
        bucket: None,
        shared: false,
        class: STANDARD,
        verb: Verb::CreateBucket,
    },
];

impl Scenario {
    fn key(&self) -> &'static str {
        if self.bucket.is_some() { "bucket/key" } else { "key" }
    }
}

fn run(scenario: Scenario, plan: &[Planned]) -> Run {
    let (mut run, panics) = simulate(play(scenario, plan.to_vec()));
    run.violations.extend(panics);
    run
}

async fn play(scenario: Scenario, plan: Vec<Planned>) -> Run {
    let cluster = Cluster::new(7, NODES, Plants::default());
    let coordinator = Arc::new(cluster.coordinator().await);
    let client = Client::new(cluster.oracle().clone(), coordinator.clone()).storing_as(scenario.class);
    let mut ids = Vec::new();
    if let Some(mode) = scenario.bucket {
        must(client.create_bucket(BUCKET, mode).await);
    }
    for body in scenario.before {
        ids.push(must(put(&client, scenario.key(), *body, When::Always).await).version);
    }
    if let (true, Verb::Put(body, _)) = (scenario.shared, scenario.verb) {
        must(put(&client, "elsewhere", body, When::Always).await);
    }
    coordinator.calls.arm(&plan);
    let succeeded = act(&client, scenario, &ids).await;
    sleep(REST).await;
    let targets = coordinator.calls.disarm();
    let client = match coordinator.calls.is_dead() {
        true => restarted(&cluster, &coordinator).await.storing_as(scenario.class),
        false => client,
    };
    for place in coordinator.calls.nodes_died() {
        check_state(&cluster, &client, scenario, "with the node down").await;
        cluster.nodes()[place].start();
    }
    check_state(&cluster, &client, scenario, "after it").await;
    let again = act(&client, scenario, &ids).await;
    // What was under a condition may have happened the first time.
    let may_conflict = matches!(scenario.verb, Verb::Put(_, When::Absent));
    if !again && !may_conflict {
        cluster.oracle().violated("the verb cannot be sent again");
    }
    sleep(REST).await;
    let fresh = restarted(&cluster, &coordinator).await;
    check_state(&cluster, &fresh, scenario, "at the end").await;
    cluster.oracle().census();
    Run { targets, violations: cluster.oracle().violations(), succeeded }
}

async fn restarted(cluster: &Arc<Cluster>, coordinator: &Coordinator) -> Client {
    coordinator.crash();
    Client::new(cluster.oracle().clone(), Arc::new(cluster.coordinator().await))
}

async fn put(client: &Client, key: &str, body: Body, when: When) -> Ended<coordinator::object::PutDone> {
    let condition = match when {
        When::Always => Condition::None,
        When::Absent => Condition::Absent,
        When::Present => Condition::Matches(Vec::new()),
    };
    client.put(key, &TestBody::new(body.tag, body.bytes), condition, Sending::Whole).await
}

fn must<T: std::fmt::Debug>(ended: Ended<T>) -> T {
    match ended {
        Ended::Answered(Ok(done)) => done,
        _ => panic!("without faults nothing fails: {ended:?}"),
    }
}

/// Sends the verb; true if it was acknowledged.
async fn act(client: &Client, scenario: Scenario, ids: &[VersionId]) -> bool {
    match scenario.verb {
        Verb::Put(body, when) => matches!(put(client, scenario.key(), body, when).await, Ended::Answered(Ok(_))),
        Verb::CreateBucket => match client.create_bucket(BUCKET, Versioning::Off).await {
            Ended::Answered(Ok(())) => true,
            Ended::Answered(Err(error)) => Refused::of(&error) == Some(Refused::BucketExists),
            Ended::Died => false,
        },
        Verb::KeepVersions => {
            matches!(client.set_versioning(BUCKET, Versioning::Enabled).await, Ended::Answered(Ok(())))
        }
        Verb::DeleteBucket => match client.delete_bucket(BUCKET).await {
            Ended::Answered(Ok(())) => scenario.before.is_empty(),
            Ended::Answered(Err(error)) => match Refused::of(&error) {
                Some(Refused::BucketNotEmpty) => !scenario.before.is_empty(),
                refused => scenario.before.is_empty() && refused == Some(Refused::NoSuchBucket),
            },
            Ended::Died => false,
        },
        Verb::Tag => client.set_tags(scenario.key()).await,
        Verb::Delete(mode) => {
            matches!(client.delete(scenario.key(), mode).await, Ended::Answered(Ok(Deleted::Done | Deleted::Nothing)))
        }
        Verb::Remove(number) => {
            let ended = client.remove(scenario.key(), ids[number as usize - 1]).await;
            matches!(ended, Ended::Answered(Ok(Deleted::Done | Deleted::Nothing)))
        }
    }
}

/// The oracle judges what is read; what it cannot judge is a read that should have succeeded and did not.
async fn check_state(cluster: &Arc<Cluster>, client: &Client, scenario: Scenario, when: &str) {
    let mut reads = vec![client.get(scenario.key(), VersionSelector::Latest).await];
    // Where no versions are kept numbers may start anew, and tell nothing.
    let numbers = if scenario.bucket == Some(Versioning::Off) { 0 } else { scenario.before.len() as u64 + 2 };
    for number in 1..=numbers {
        reads.push(client.get(scenario.key(), VersionSelector::Number(number)).await);
    }
    if scenario.shared {
        reads.push(client.get("elsewhere", VersionSelector::Latest).await);
    }
    for read in reads {
        if !matches!(read, Ended::Answered(Ok(Got::Version(..) | Got::NoObject | Got::NoVersion))) {
            cluster.oracle().violated(format!("{when}: a read failed: {read:?}"));
        }
    }
    let (bucket, _) = bucket_and_key(scenario.key());
    if !matches!(client.list_bucket(bucket).await, Ended::Answered(Ok(_))) {
        cluster.oracle().violated(format!("{when}: the listing failed"));
    }
}

fn fail_each(scenarios: &[Scenario]) {
    for scenario in scenarios.iter().copied() {
        fail_every_call(scenario.name, |plan| run(scenario, plan));
    }
}

#[test]
fn a_small_verb_survives_the_failure_of_each_of_its_calls() {
    fail_each(&SMALL_SCENARIOS);
}

#[test]
fn a_verb_in_a_bucket_survives_the_failure_of_each_of_its_calls() {
    fail_each(&BUCKET_SCENARIOS);
}

#[test]
fn a_large_put_survives_the_failure_of_each_of_its_calls() {
    fail_each(&[LARGE_PUT]);
}

#[test]
fn a_large_put_of_known_chunks_survives_the_failure_of_each_of_its_calls() {
    fail_each(&[LARGE_DEDUP]);
}

/// With four nodes, 2+1: an acknowledgement needs three of them.
#[test]
fn a_coded_put_survives_the_failure_of_each_of_its_calls() {
    let coded = |scenario: Scenario| Scenario { class: StorageClass::StandardIa, ..scenario };
    fail_each(&[SMALL_SCENARIOS[0], SMALL_SCENARIOS[2], SMALL_SCENARIOS[3], LARGE_PUT].map(coded));
}

#[test]
fn a_commit_whose_answer_is_lost_survives_the_failure_of_each_call_that_follows() {
    let lost = [Fate::FailBefore(ErrorKind::Unknown), Fate::FailAfter(ErrorKind::Unknown)];
    for scenario in SMALL_SCENARIOS.into_iter().chain(BUCKET_SCENARIOS) {
        fail_every_call_after_a_failure(scenario.name, &lost, |plan| run(scenario, plan));
    }
}

#[test]
fn a_put_that_lost_a_node_survives_the_failure_of_each_call_that_follows() {
    let (scenario, lost) = (SMALL_SCENARIOS[2], [Fate::NodeDies, Fate::FailAfter(ErrorKind::Unavailable)]);
    fail_every_call_after_a_failure(scenario.name, &lost, |plan| run(scenario, plan));
}
