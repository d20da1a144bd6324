//! Fails every external call of every verb of documents in turn. Then what is read is the old document or the new one, whole (law 3), never
//! the hot fields of one with the cold ones of another; the verb can be sent again; the cluster comes to rest, with nothing unnamed and
//! nothing short (law 4); and when the document is deleted nothing is left of either half. A new verb adds a scenario.

use coordinator::code::Code;
use coordinator::metadata::records::ETag;
use coordinator::object::{Condition, DOCUMENTS_BUCKET, Deleted, Refused, Strategy, VersionSelector};
use protocol::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use testing::sim::call::{Fate, Planned};
use testing::sim::check::{Ended, Got};
use testing::sim::client::Client;
use testing::sim::cluster::{Cluster, Coordinator, Plants};
use testing::sim::document::{FieldChanges, text};
use testing::sim::failing::{Run, fail_every_call, fail_every_call_after_a_failure};
use testing::sim::reckoning::come_to_rest;
use testing::sim::runtime::simulate;
use testing::sim::workers::Habits;
use tokio::time::sleep;

/// As many as 4+2 needs.
const NODES: usize = 6;
/// The cold part is coded as it is shipped.
const PLANTS: Plants = Plants { bug: None, code: Code::REPLICATION, ec: Some(Code { data: 4, parity: 2 }) };
const KEY: &str = "documents/user:1";
/// Whatever was under way has ended by then.
const REST: Duration = Duration::from_secs(40);

/// A verb, and how the document is stored that is there before it, if there is one.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    name: &'static str,
    before: Option<Strategy>,
    verb: Verb,
}

#[derive(Clone, Copy, Debug)]
enum Verb {
    /// A document with so many views and this `k`, a cold field.
    Write(Strategy, u64, u64),
    /// A merge patch of a hot field, of a cold one too if it says so, of the version that is there if it says so.
    Patch {
        cold: bool,
        if_match: bool,
    },
    HotOnly,
    Delete,
}

const HYBRID: Strategy = Strategy::FieldHybrid;
const SCENARIOS: [Scenario; 10] = [
    Scenario { name: "first write", before: None, verb: Verb::Write(HYBRID, 2, 1) },
    Scenario { name: "pure hot update", before: Some(HYBRID), verb: Verb::Write(HYBRID, 2, 1) },
    Scenario { name: "mixed update", before: Some(HYBRID), verb: Verb::Write(HYBRID, 2, 2) },
    Scenario { name: "coded over hybrid", before: Some(HYBRID), verb: Verb::Write(Strategy::Ec, 2, 2) },
    Scenario { name: "hybrid over copies", before: Some(Strategy::Replication), verb: Verb::Write(HYBRID, 2, 1) },
    Scenario { name: "hot patch", before: Some(HYBRID), verb: Verb::Patch { cold: false, if_match: false } },
    Scenario { name: "cold patch", before: Some(HYBRID), verb: Verb::Patch { cold: true, if_match: false } },
    Scenario { name: "patch of a version", before: Some(HYBRID), verb: Verb::Patch { cold: false, if_match: true } },
    Scenario { name: "hot only", before: Some(HYBRID), verb: Verb::HotOnly },
    Scenario { name: "delete", before: Some(HYBRID), verb: Verb::Delete },
];

fn document(views: u64, k: u64) -> String {
    text("user:1", views, k, &format!("note {k} ").repeat(200), 10)
}

impl Verb {
    /// Sends it, of the version called `seen`, with a new value; true if it was acknowledged.
    async fn act(self, client: &Client, seen: Option<ETag>, value: u64) -> bool {
        let ended = match self {
            Verb::Write(strategy, views, k) => {
                client.write_document(KEY, &document(views, k), strategy, Condition::None).await
            }
            Verb::Patch { cold, if_match } => {
                let value = Some(value.to_string());
                let k = cold.then(|| ("k", value.clone()));
                let patch = FieldChanges::patch(k.into_iter().chain([("view_count", value)]));
                client.change_document(KEY, &patch, seen.filter(|_| if_match)).await
            }
            Verb::HotOnly => {
                let fields =
                    FieldChanges::hot_only([("view_count", value.to_string()), ("update_count", "1".to_owned())]);
                client.change_document(KEY, &fields, None).await
            }
            Verb::Delete => return matches!(client.delete_document(KEY).await, Ended::Answered(Ok(_))),
        };
        match ended {
            Ended::Answered(Ok(_)) => true,
            // What was sent before may have happened, and then nothing is called so any more.
            Ended::Answered(Err(error)) => Refused::of(&error) == Some(Refused::ConditionFailed),
            Ended::Died => false,
        }
    }
}

/// What follows the verb when it has been sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Workers come, and then the document is deleted.
    LeavesNothing,
    /// Nothing: what two failures leave to the workers is no more than what one of them does.
    Open,
}

fn run(scenario: Scenario, plan: &[Planned], ending: Ending) -> Run {
    let (mut run, panics) = simulate(play(scenario, plan.to_vec(), ending));
    run.violations.extend(panics);
    run
}

async fn play(scenario: Scenario, plan: Vec<Planned>, ending: Ending) -> Run {
    let cluster = Cluster::new(7, NODES, PLANTS);
    let coordinator = Arc::new(cluster.coordinator().await);
    let client = Client::new(cluster.oracle().clone(), coordinator.clone());
    let mut seen = None;
    if let Some(strategy) = scenario.before {
        let before = client.write_document(KEY, &document(1, 1), strategy, Condition::None).await;
        let Ended::Answered(Ok(done)) = before else { panic!("without faults nothing fails: {before:?}") };
        seen = Some(done.etag);
    }
    coordinator.calls.arm(&plan);
    let succeeded = scenario.verb.act(&client, seen, 7).await;
    sleep(REST).await;
    let targets = coordinator.calls.disarm();
    let client = if coordinator.calls.is_dead() { restarted(&cluster, &coordinator).await } else { client };
    for place in coordinator.calls.nodes_died() {
        check_state(&cluster, &client, "with the node down").await;
        cluster.nodes()[place].start();
    }
    sleep(REST).await;
    client.coordinator().objects.nodes.probe_all().await;
    check_state(&cluster, &client, "after it").await;
    if !scenario.verb.act(&client, seen, 8).await {
        cluster.oracle().violated("the verb cannot be sent again");
    }
    sleep(REST).await;
    let fresh = restarted(&cluster, client.coordinator()).await;
    check_state(&cluster, &fresh, "at the end").await;
    match ending {
        Ending::LeavesNothing => leave_nothing(&cluster, &fresh).await,
        Ending::Open => {
            cluster.oracle().census();
        }
    }
    Run { targets, violations: cluster.oracle().violations(), succeeded }
}

/// The workers leave what is whole, and, once it is deleted, nothing.
async fn leave_nothing(cluster: &Arc<Cluster>, client: &Client) {
    let workers = cluster.worker_process(0, &Habits { rest_ms_max: 20, ..Habits::EAGER });
    come_to_rest(cluster).await;
    check_state(cluster, client, "when all has come to rest").await;
    let deleted = client.delete_document(KEY).await;
    if !matches!(deleted, Ended::Answered(Ok(Deleted::Done | Deleted::Nothing))) {
        cluster.oracle().violated(format!("it cannot be deleted: {deleted:?}"));
    }
    come_to_rest(cluster).await;
    workers.crash();
    let census = cluster.oracle().census();
    let shards: usize = cluster.nodes().iter().map(|node| node.inventory().len()).sum();
    if (census.versions, census.chunks, shards) != (0, 0, 0) {
        cluster.oracle().violated(format!("law 4: {shards} shards are left of what was deleted: {census:?}"));
    }
}

async fn restarted(cluster: &Arc<Cluster>, coordinator: &Coordinator) -> Client {
    coordinator.crash();
    Client::new(cluster.oracle().clone(), Arc::new(cluster.coordinator().await))
}

/// The oracle judges what is read; what it cannot judge is a read that should have succeeded and did not.
async fn check_state(cluster: &Arc<Cluster>, client: &Client, when: &str) {
    let numbers = (1..=3).map(VersionSelector::Number);
    for selector in numbers.chain([VersionSelector::Latest]) {
        let read = client.get(KEY, selector).await;
        if !matches!(read, Ended::Answered(Ok(Got::Version(..) | Got::NoObject | Got::NoVersion))) {
            cluster.oracle().violated(format!("{when}: a read failed: {read:?}"));
        }
    }
    if !matches!(client.list_bucket(DOCUMENTS_BUCKET).await, Ended::Answered(Ok(_))) {
        cluster.oracle().violated(format!("{when}: the listing failed"));
    }
}

#[test]
fn a_document_survives_the_failure_of_each_call_of_each_verb() {
    for scenario in SCENARIOS {
        fail_every_call(scenario.name, |plan| run(scenario, plan, Ending::LeavesNothing));
    }
}

#[test]
fn a_document_whose_commit_was_not_answered_survives_the_failure_of_each_call_that_follows() {
    let lost = [Fate::FailBefore(ErrorKind::Unknown), Fate::FailAfter(ErrorKind::Unknown)];
    for scenario in SCENARIOS.into_iter().filter(|scenario| ["pure hot update", "hot patch"].contains(&scenario.name)) {
        fail_every_call_after_a_failure(scenario.name, &lost, |plan| run(scenario, plan, Ending::Open));
    }
}
