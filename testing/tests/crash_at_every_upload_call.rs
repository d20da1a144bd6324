//! What `crash_at_every_call.rs` does to the verbs of single objects, done to uploads in parts and copies: every external call of theirs
//! fails in turn, in every way. Then the state is the old or the new one, whole (law 3), the verb can be sent again, and when no upload
//! is open any more nothing is left of any (law 4).

use bytes::Bytes;
use coordinator::metadata::records::VersionRecord;
use coordinator::object::{Condition, FILES_BUCKET, PartClaim, PutDone, Refused, VersionSelector};
use md5::{Digest, Md5};
use protocol::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use testing::sim::body::{BLOCK_BYTES, TestBody};
use testing::sim::call::{Fate, Planned, Target};
use testing::sim::check::{Ended, Got};
use testing::sim::client::uploads::Begun;
use testing::sim::client::{Client, Sending};
use testing::sim::cluster::{Cluster, Coordinator, Plants};
use testing::sim::reckoning::come_to_rest;
use testing::sim::runtime::simulate;
use testing::sim::workers::Habits;
use tokio::time::sleep;

const NODES: usize = 4;
const KEY: &str = "key";
/// Whatever was under way has ended by then.
const REST: Duration = Duration::from_secs(40);

/// A verb and what is there before it.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    name: &'static str,
    /// Bodies that were put under the key before.
    before: &'static [Body],
    /// Whether the chunks of the body are there already, under another key.
    shared: bool,
    verb: Verb,
}

#[derive(Clone, Copy, Debug)]
struct Body {
    tag: u64,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
enum Verb {
    /// A copy of this, which is under another key.
    Copy(Body),
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

const UPLOAD_SCENARIOS: [Scenario; 8] = [
    Scenario { name: "copy", before: &[OTHER], shared: true, verb: Verb::Copy(SMALL) },
    Scenario { name: "begin an upload", before: &[], shared: false, verb: Verb::Begin(SMALL) },
    Scenario {
        name: "part",
        before: &[OTHER],
        shared: false,
        verb: Verb::Part { body: SMALL, of: 3, replaces: false },
    },
    Scenario {
        name: "part in place of another",
        before: &[],
        shared: false,
        verb: Verb::Part { body: SMALL, of: 2, replaces: true },
    },
    Scenario { name: "complete", before: &[OTHER], shared: false, verb: Verb::Complete { body: SMALL, of: 3 } },
    Scenario { name: "complete many", before: &[], shared: false, verb: Verb::Complete { body: SMALL, of: MANY } },
    Scenario { name: "complete nothing", before: &[], shared: false, verb: Verb::Complete { body: EMPTY, of: 1 } },
    Scenario { name: "abort", before: &[OTHER], shared: false, verb: Verb::Abort(SMALL) },
];

const LARGE_UPLOADS: [Scenario; 3] = [
    Scenario { name: "large copy", before: &[], shared: true, verb: Verb::Copy(LARGE) },
    Scenario { name: "copy of some", before: &[OTHER], shared: true, verb: Verb::CopyOfSome(SMALL) },
    Scenario {
        name: "large part",
        before: &[],
        shared: false,
        verb: Verb::Part { body: LARGE, of: 1, replaces: true },
    },
];

/// What became of one run.
struct Run {
    targets: Vec<Target>,
    violations: Vec<String>,
    succeeded: bool,
}

fn run(scenario: Scenario, plan: &[Planned]) -> Run {
    let (mut run, panics) = simulate(play(scenario, plan.to_vec()));
    run.violations.extend(panics);
    run
}

/// What is there before the verb.
struct Ready {
    /// What is copied.
    source: Option<Box<VersionRecord>>,
    /// The upload, and its parts.
    upload: Option<(Begun, Vec<Bytes>)>,
}

async fn prepare(client: &Client, scenario: Scenario) -> Ready {
    let mut ready = Ready { source: None, upload: None };
    for body in scenario.before {
        must(put(client, KEY, *body).await);
    }
    if let Verb::Copy(body) = scenario.verb {
        must(put(client, "elsewhere", body).await);
        ready.source = Some(version_of(client, "elsewhere").await);
    }
    let (body, of, uploaded) = match scenario.verb {
        Verb::Part { body, of, replaces } => (body, of, if replaces { of } else { of - 1 }),
        Verb::Complete { body, of } => (body, of, of),
        Verb::Abort(body) => (body, 2, 2),
        Verb::CopyOfSome(body) => {
            let (begun, _) = upload(client, "elsewhere", body, SOME, SOME).await;
            must(client.complete(&begun).await);
            ready.source = Some(version_of(client, "elsewhere").await);
            return ready;
        }
        _ => return ready,
    };
    let (begun, parts) = upload(client, KEY, body, of, uploaded).await;
    if matches!(scenario.verb, Verb::Part { .. }) && uploaded == of {
        must(client.put_part(&begun, of as u16, Bytes::from_static(b"to be replaced"), Sending::Whole).await);
    }
    ready.upload = Some((begun, parts));
    ready
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
    let again = act(&client, scenario, &ready).await;
    if !again {
        cluster.oracle().violated("the verb cannot be sent again");
    }
    sleep(REST).await;
    let fresh = restarted(&cluster, &coordinator).await;
    check_state(&cluster, &fresh, scenario, "at the end").await;
    end_uploads(&cluster, &fresh, scenario, &ready).await;
    cluster.oracle().census();
    Run { targets, violations: cluster.oracle().violations(), succeeded }
}

/// What was acknowledged of an upload can be put together; and when none is open any more, nothing is left of any (law 4).
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

async fn put(client: &Client, key: &str, body: Body) -> Ended<PutDone> {
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
    match scenario.verb {
        Verb::Copy(_) | Verb::CopyOfSome(_) => {
            let source = ready.source.as_ref().expect("it was put");
            matches!(client.copy(source, KEY, Condition::None).await, Ended::Answered(Ok(_)))
        }
        Verb::Begin(body) => {
            let body = TestBody::new(body.tag, body.bytes);
            matches!(client.begin_upload(KEY, &body, Condition::None).await, Ended::Answered(Ok(_)))
        }
        Verb::Part { of, .. } => {
            let (begun, parts) = ready.upload.as_ref().expect("it was begun");
            let part = client.put_part(begun, of as u16, parts[of - 1].clone(), Sending::Whole).await;
            matches!(part, Ended::Answered(Ok(_)))
        }
        Verb::Complete { .. } => {
            let (begun, _) = ready.upload.as_ref().expect("it was begun");
            matches!(client.complete(begun).await, Ended::Answered(Ok(_)))
        }
        Verb::Abort(_) => {
            let (begun, _) = ready.upload.as_ref().expect("it was begun");
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
    for number in 1..=scenario.before.len() as u64 + 2 {
        reads.push(client.get(KEY, VersionSelector::Number(number)).await);
    }
    if scenario.shared {
        reads.push(client.get("elsewhere", VersionSelector::Latest).await);
    }
    for read in reads {
        if !matches!(read, Ended::Answered(Ok(Got::Version(..) | Got::NoObject | Got::NoVersion))) {
            cluster.oracle().violated(format!("{when}: a read failed: {read:?}"));
        }
    }
    if !matches!(client.list().await, Ended::Answered(Ok(_))) {
        cluster.oracle().violated(format!("{when}: the listing failed"));
    }
}

/// Failures found, and runs made.
#[derive(Default)]
struct Tally {
    runs: usize,
    failed: Vec<String>,
}

impl Tally {
    fn run(&mut self, scenario: Scenario, plan: &[Planned]) -> Run {
        let run = run(scenario, plan);
        self.runs += 1;
        if !run.violations.is_empty() {
            self.failed.push(format!("{}: {plan:?}: {:#?}", scenario.name, run.violations));
        }
        run
    }

    fn end(self, name: &str) {
        println!("{name}: {} runs", self.runs);
        assert!(
            self.failed.is_empty(),
            "{} of {} runs failed: {}",
            self.failed.len(),
            self.runs,
            self.failed.join("\n")
        );
    }
}

/// Each of the verb's calls in turn, with each of its fates.
fn fail_every_call(scenarios: &[Scenario]) {
    for scenario in scenarios.iter().copied() {
        let mut tally = Tally::default();
        let healthy = tally.run(scenario, &[]);
        assert!(healthy.succeeded && !healthy.targets.is_empty(), "{} does something", scenario.name);
        for at in 0..healthy.targets.len() {
            for fate in Fate::ALL.into_iter().filter(|fate| fate.is_possible(healthy.targets[at])) {
                tally.run(scenario, &[Planned { at: at as u64, fate }]);
            }
        }
        tally.end(scenario.name);
    }
}

/// After a first failure that the verb goes on from, each of the calls that follow.
fn fail_every_call_after_a_failure(scenario: Scenario, first: &[Fate]) {
    let mut tally = Tally::default();
    let healthy = tally.run(scenario, &[]);
    for at in 0..healthy.targets.len() {
        for fate in first.iter().copied().filter(|fate| fate.is_possible(healthy.targets[at])) {
            let first = Planned { at: at as u64, fate };
            let targets = tally.run(scenario, &[first]).targets;
            for (then, target) in targets.iter().enumerate().skip(at + 1) {
                // Two of four nodes down is another test's.
                let second = |fate: &Fate| *fate != Fate::NodeDies && fate.is_possible(*target);
                for fate in Fate::ALL.into_iter().filter(second) {
                    tally.run(scenario, &[first, Planned { at: then as u64, fate }]);
                }
            }
        }
    }
    tally.end(scenario.name);
}

#[test]
fn uploads_and_copies_survive_the_failure_of_each_of_their_calls() {
    fail_every_call(&UPLOAD_SCENARIOS);
}

#[test]
fn large_parts_and_copies_survive_the_failure_of_each_of_their_calls() {
    fail_every_call(&LARGE_UPLOADS);
}

#[test]
fn an_upload_s_commit_whose_answer_is_lost_survives_the_failure_of_each_call_that_follows() {
    let lost = [Fate::FailBefore(ErrorKind::Unknown), Fate::FailAfter(ErrorKind::Unknown)];
    for scenario in UPLOAD_SCENARIOS.into_iter().filter(|scenario| scenario.name != "complete many") {
        fail_every_call_after_a_failure(scenario, &lost);
    }
}
