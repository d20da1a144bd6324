//! Fails every external call of every verb of uploads in parts, and of copies, in turn. Then the state is the old or the new one, whole
//! (law 3); the verb can be sent again; what was acknowledged of an upload can be put together; and when none is open any more nothing
//! is left of any (law 4). A new verb adds a scenario.

use bytes::Bytes;
use coordinator::metadata::records::{StorageClass, VersionRecord};
use coordinator::object::{Condition, FILES_BUCKET, PartClaim, Refused, VersionSelector};
use md5::{Digest, Md5};
use protocol::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use testing::sim::body::{BLOCK_BYTES, TestBody};
use testing::sim::call::{Fate, Planned};
use testing::sim::check::{Ended, Got};
use testing::sim::client::uploads::Begun;
use testing::sim::client::{Client, Sending};
use testing::sim::cluster::{Cluster, Coordinator, Plants};
use testing::sim::failing::{Run, fail_every_call, fail_every_call_after_a_failure};
use testing::sim::reckoning::come_to_rest;
use testing::sim::runtime::simulate;
use testing::sim::workers::Habits;
use tokio::time::sleep;

const NODES: usize = 4;
const KEY: &str = "key";
const ELSEWHERE: &str = "elsewhere";
/// Whatever was under way has ended by then.
const REST: Duration = Duration::from_secs(40);

/// A verb and what is there before it.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    name: &'static str,
    verb: Verb,
}

#[derive(Clone, Copy, Debug)]
struct Body {
    tag: u64,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
enum Verb {
    /// A copy of this, which is under another key, stored as that says.
    Copy(Body, StorageClass),
    /// A copy of this, put together from [`SOME`] parts under another key: it takes more than one page.
    CopyOfSome(Body),
    /// The beginning of an upload in parts.
    Begin(Body),
    /// A part of one, of that many; the others are there, and this one, too, with other bytes, if it replaces.
    Part { body: Body, of: usize, replaces: bool },
    /// The completion of one, of that many parts.
    Complete { body: Body, of: usize },
    /// The abortion of one.
    Abort(Body),
}

const SMALL: Body = Body { tag: 1, bytes: 300 };
const OTHER: Body = Body { tag: 2, bytes: 500 };
/// With little budget a batch takes few such blocks, so this makes several.
const LARGE: Body = Body { tag: 3, bytes: 3 * BLOCK_BYTES + 77 };
const EMPTY: Body = Body { tag: 4, bytes: 0 };
/// So many that the list of them takes more than one commit.
const MANY: usize = 101;
/// More than one commit names.
const SOME: usize = 45;

const COPIES: StorageClass = StorageClass::Standard;
const CODED: StorageClass = StorageClass::StandardIa;

const SMALL_SCENARIOS: [Scenario; 9] = [
    Scenario { name: "copy", verb: Verb::Copy(SMALL, COPIES) },
    Scenario { name: "coded copy", verb: Verb::Copy(SMALL, CODED) },
    Scenario { name: "begin an upload", verb: Verb::Begin(SMALL) },
    Scenario { name: "part", verb: Verb::Part { body: SMALL, of: 3, replaces: false } },
    Scenario { name: "part in place of another", verb: Verb::Part { body: SMALL, of: 2, replaces: true } },
    Scenario { name: "complete", verb: Verb::Complete { body: SMALL, of: 3 } },
    Scenario { name: "complete many", verb: Verb::Complete { body: SMALL, of: MANY } },
    Scenario { name: "complete nothing", verb: Verb::Complete { body: EMPTY, of: 1 } },
    Scenario { name: "abort", verb: Verb::Abort(SMALL) },
];
const LARGE_SCENARIOS: [Scenario; 4] = [
    Scenario { name: "large copy", verb: Verb::Copy(LARGE, COPIES) },
    Scenario { name: "large coded copy", verb: Verb::Copy(LARGE, CODED) },
    Scenario { name: "copy of some", verb: Verb::CopyOfSome(SMALL) },
    Scenario { name: "large part", verb: Verb::Part { body: LARGE, of: 1, replaces: true } },
];

/// What is there before the verb.
struct Ready {
    /// What is copied.
    source: Option<Box<VersionRecord>>,
    /// The upload, and its parts.
    upload: Option<(Begun, Vec<Bytes>)>,
}

async fn prepare(client: &Client, scenario: Scenario) -> Ready {
    must(put(client, KEY, OTHER).await);
    let (body, of, uploaded) = match scenario.verb {
        Verb::Part { body, of, replaces } => (body, of, if replaces { of } else { of - 1 }),
        Verb::Complete { body, of } => (body, of, of),
        Verb::Abort(body) => (body, 2, 2),
        Verb::Begin(_) => return Ready { source: None, upload: None },
        Verb::Copy(body, _) => {
            must(put(client, ELSEWHERE, body).await);
            return Ready { source: Some(version_of(client, ELSEWHERE).await), upload: None };
        }
        Verb::CopyOfSome(body) => {
            let (begun, _) = upload(client, ELSEWHERE, body, SOME, SOME).await;
            must(client.complete(&begun).await);
            return Ready { source: Some(version_of(client, ELSEWHERE).await), upload: None };
        }
    };
    let (begun, parts) = upload(client, KEY, body, of, uploaded).await;
    if matches!(scenario.verb, Verb::Part { .. }) && uploaded == of {
        must(client.put_part(&begun, of as u16, Bytes::from_static(b"to be replaced"), Sending::Whole).await);
    }
    Ready { source: None, upload: Some((begun, parts)) }
}

async fn version_of(client: &Client, key: &str) -> Box<VersionRecord> {
    match must(client.get(key, VersionSelector::Latest).await) {
        Got::Version(version, _) => version,
        got => panic!("{key} was put, and is {got:?}"),
    }
}

/// Begins an upload of so many parts, of which the first `uploaded` are there.
async fn upload(client: &Client, key: &str, body: Body, of: usize, uploaded: usize) -> (Begun, Vec<Bytes>) {
    let data = TestBody::new(body.tag, body.bytes);
    let mut begun = must(client.begin_upload(key, &data, Condition::None).await);
    let slice = |at| data.data.slice(of_parts(&data, at, of)..of_parts(&data, at + 1, of));
    let parts: Vec<Bytes> = (0..of).map(slice).collect();
    for (number, part) in (1..).zip(&parts) {
        if usize::from(number) <= uploaded {
            must(client.put_part(&begun, number, part.clone(), Sending::Whole).await);
        }
        begun.claims.push(PartClaim { number, etag: hex::encode(Md5::digest(part)), checksum: None });
    }
    (begun, parts)
}

fn of_parts(body: &TestBody, at: usize, of: usize) -> usize {
    body.data.len() * at / of
}

fn run(scenario: Scenario, plan: &[Planned]) -> Run {
    let (mut run, panics) = simulate(play(scenario, plan.to_vec()));
    run.violations.extend(panics);
    run
}

async fn play(scenario: Scenario, plan: Vec<Planned>) -> Run {
    let cluster = Cluster::new(7, NODES, Plants::default());
    let coordinator = Arc::new(cluster.coordinator().await);
    let client = Client::new(cluster.oracle().clone(), coordinator.clone());
    let ready = prepare(&client, scenario).await;
    coordinator.calls.arm(&plan);
    let succeeded = act(&client, scenario, &ready).await;
    sleep(REST).await;
    let targets = coordinator.calls.disarm();
    let client = match coordinator.calls.is_dead() {
        true => restarted(&cluster, &coordinator).await,
        false => client,
    };
    for place in coordinator.calls.nodes_died() {
        check_state(&cluster, &client, scenario, "with the node down").await;
        cluster.nodes()[place].start();
    }
    check_state(&cluster, &client, scenario, "after it").await;
    if !act(&client, scenario, &ready).await {
        cluster.oracle().violated("the verb cannot be sent again");
    }
    sleep(REST).await;
    let fresh = restarted(&cluster, &coordinator).await;
    check_state(&cluster, &fresh, scenario, "at the end").await;
    end_uploads(&cluster, &fresh, scenario, &ready).await;
    Run { targets, violations: cluster.oracle().violations(), succeeded }
}

/// What was acknowledged of an upload can be put together, and nothing is left of those that are given up.
async fn end_uploads(cluster: &Arc<Cluster>, client: &Client, scenario: Scenario, ready: &Ready) {
    if let (Verb::Part { .. }, Some((begun, _))) = (scenario.verb, &ready.upload) {
        if !matches!(client.complete(begun).await, Ended::Answered(Ok(_))) {
            cluster.oracle().violated("the parts cannot be put together");
        }
        check_state(cluster, client, scenario, "put together").await;
    }
    if !matches!(client.abort_all(FILES_BUCKET).await, Ended::Answered(Ok(()))) {
        cluster.oracle().violated("the open uploads cannot be aborted");
    }
    let workers = cluster.worker_process(0, &Habits { rest_ms_max: 20, ..Habits::EAGER });
    come_to_rest(cluster).await;
    workers.crash();
    check_state(cluster, client, scenario, "when all has come to rest").await;
}

async fn restarted(cluster: &Arc<Cluster>, coordinator: &Coordinator) -> Client {
    coordinator.crash();
    Client::new(cluster.oracle().clone(), Arc::new(cluster.coordinator().await))
}

async fn put(client: &Client, key: &str, body: Body) -> Ended<coordinator::object::PutDone> {
    client.put(key, &TestBody::new(body.tag, body.bytes), Condition::None, Sending::Whole).await
}

fn must<T: std::fmt::Debug>(ended: Ended<T>) -> T {
    match ended {
        Ended::Answered(Ok(done)) => done,
        _ => panic!("without faults nothing fails: {ended:?}"),
    }
}

/// Sends the verb; true if it was acknowledged.
async fn act(client: &Client, scenario: Scenario, ready: &Ready) -> bool {
    let upload = || ready.upload.as_ref().expect("it was begun");
    match scenario.verb {
        Verb::Copy(..) | Verb::CopyOfSome(_) => {
            let class = if let Verb::Copy(_, class) = scenario.verb { class } else { COPIES };
            let source = ready.source.as_ref().expect("it was put");
            let client = client.clone().storing_as(class);
            matches!(client.copy((ELSEWHERE, source), KEY, Condition::None).await, Ended::Answered(Ok(_)))
        }
        Verb::Begin(body) => {
            let body = TestBody::new(body.tag, body.bytes);
            matches!(client.begin_upload(KEY, &body, Condition::None).await, Ended::Answered(Ok(_)))
        }
        Verb::Part { of, .. } => {
            let (begun, parts) = upload();
            let part = client.put_part(begun, of as u16, parts[of - 1].clone(), Sending::Whole).await;
            matches!(part, Ended::Answered(Ok(_)))
        }
        Verb::Complete { .. } => {
            let (begun, _) = upload();
            matches!(client.complete(begun).await, Ended::Answered(Ok(_)))
        }
        Verb::Abort(_) => {
            let (begun, _) = upload();
            match client.abort(begun).await {
                Ended::Answered(Ok(())) => true,
                Ended::Answered(Err(error)) => Refused::of(&error) == Some(Refused::NoSuchUpload),
                Ended::Died => false,
            }
        }
    }
}

/// The oracle judges what is read; what it cannot judge is a read that should have succeeded and did not.
async fn check_state(cluster: &Arc<Cluster>, client: &Client, scenario: Scenario, when: &str) {
    let mut reads = vec![client.get(KEY, VersionSelector::Latest).await];
    for number in 1..=3 {
        reads.push(client.get(KEY, VersionSelector::Number(number)).await);
    }
    if matches!(scenario.verb, Verb::Copy(..) | Verb::CopyOfSome(_)) {
        reads.push(client.get(ELSEWHERE, VersionSelector::Latest).await);
    }
    for read in reads {
        if !matches!(read, Ended::Answered(Ok(Got::Version(..) | Got::NoObject | Got::NoVersion))) {
            cluster.oracle().violated(format!("{when}: a read failed: {read:?}"));
        }
    }
}

fn fail_each(scenarios: &[Scenario]) {
    for scenario in scenarios.iter().copied() {
        fail_every_call(scenario.name, |plan| run(scenario, plan));
    }
}

#[test]
fn uploads_and_copies_survive_the_failure_of_each_of_their_calls() {
    fail_each(&SMALL_SCENARIOS);
}

#[test]
fn large_parts_and_copies_survive_the_failure_of_each_of_their_calls() {
    fail_each(&LARGE_SCENARIOS);
}

#[test]
fn a_commit_whose_answer_is_lost_survives_the_failure_of_each_call_that_follows() {
    let lost = [Fate::FailBefore(ErrorKind::Unknown), Fate::FailAfter(ErrorKind::Unknown)];
    for scenario in SMALL_SCENARIOS.into_iter().filter(|scenario| scenario.name != "complete many") {
        fail_every_call_after_a_failure(scenario.name, &lost, |plan| run(scenario, plan));
    }
}
