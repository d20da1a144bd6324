//! After a storm: all faults are off, and the cluster has to come back by itself. Then everything is read, counted and compared.

use super::body::TestBody;
use super::check::{Census, Ended, Got, LEASE, bucket_and_key};
use super::client::{Client, Sending};
use super::cluster::{Cluster, Coordinator};
use super::seats::Seats;
use super::workers::Habits;
use coordinator::metadata::keys;
use coordinator::metadata::records::{Record, VerifyRecord, WorkerRecord};
use coordinator::object::{Condition, FILES_BUCKET, Refused, VersionSelector};
use protocol::Error;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What was sent before the calm has arrived by then, whatever held it up, and breakers have closed.
const CALM: Duration = Duration::from_secs(40);
/// Workers have left nothing to be done this long after the faults ended (I17), in simulated time.
const CLEAN_WITHIN: Duration = Duration::from_secs(400);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Workers that walk through everything.
const WALKERS: [&str; 3] = ["scrub", "census", "rebalance"];
/// Rounds of them until nothing is found any more: a round may find what the one before left, such as a copy that lost a race.
const ROUNDS_MAX: usize = 4;

/// All faults are off: the workers make everything whole again, and all that was acknowledged can be read, by a coordinator that
/// never saw the storm.
pub async fn reckon(cluster: &Arc<Cluster>, seats: &Seats) -> Census {
    sleep(CALM).await;
    let extra = (seats.workers() == 0).then(|| cluster.worker_process(0, &Habits { rest_ms_max: 20, ..Habits::EAGER }));
    close_uploads(cluster).await;
    come_to_rest(cluster).await;
    (seats.coordinators()..seats.len()).for_each(|seat| seats.at(seat).crash());
    extra.iter().for_each(Coordinator::crash);
    let fresh = Arc::new(cluster.coordinator().await);
    let oracle = cluster.oracle();
    for (coordinator, last) in [(fresh, u64::MAX), (seats.at(0), 1)] {
        let client = Client::new(oracle.clone(), coordinator);
        if !matches!(client.list().await, Ended::Answered(Ok(_))) {
            oracle.violated("law 1: the listing cannot be read after the storm");
        }
        read_everything(cluster, &client, last).await;
        let body = TestBody::new(u64::MAX, 20);
        if !matches!(client.put("after", &body, Condition::None, Sending::Whole).await, Ended::Answered(Ok(_))) {
            oracle.violated("nothing can be written after the storm");
        }
    }
    sleep(LOOK_EVERY).await;
    let census = oracle.census();
    if !census.is_clean() {
        oracle.violated(format!("I17: what was clean is not clean after it was read: {census:?}"));
    }
    census
}

/// Law 4: an upload may be open for as long as its client likes; what was acknowledged of it is there. The others nobody will end.
async fn close_uploads(cluster: &Arc<Cluster>) {
    let oracle = cluster.oracle();
    let client = Client::new(oracle.clone(), Arc::new(cluster.coordinator().await));
    for begun in oracle.left_open() {
        let ended = client.complete(&begun).await;
        let is_refused = |error: &Error| Refused::of(error) == Some(Refused::ConditionFailed);
        match ended {
            Ended::Answered(Ok(_)) => {}
            Ended::Answered(Err(error)) if is_refused(&error) => {}
            _ => oracle.violated(format!("law 1: an upload that was left open cannot be completed: {ended:?}")),
        }
    }
    for bucket in [FILES_BUCKET, "bucket-a", "bucket-b"] {
        let ended = client.abort_all(bucket).await;
        if !matches!(ended, Ended::Answered(Ok(()))) {
            oracle.violated(format!("open uploads of {bucket} cannot be aborted after the storm: {ended:?}"));
        }
    }
    client.coordinator().crash();
}

/// I4 and I17: within a bounded time every chunk has all its copies, and nothing is left that nobody needs. What nobody has met yet
/// (rot, what a lost answer left) is found by the walks that the operator asks for.
pub async fn come_to_rest(cluster: &Arc<Cluster>) {
    let oracle = cluster.oracle();
    let began = Instant::now();
    for _ in 0..ROUNDS_MAX {
        for walker in WALKERS {
            cluster.want(walker).await;
        }
        while busy(cluster) {
            if began.elapsed() > CLEAN_WITHIN {
                let lease = oracle.view().get(&keys::lease(LEASE)).is_some();
                let census = oracle.census();
                return oracle.violated(format!("I17: not at rest after {CLEAN_WITHIN:?}: {census:?}, lease {lease}"));
            }
            sleep(LOOK_EVERY).await;
        }
        if oracle.census().is_clean() {
            cluster.world().tell(|| format!("clean after {:?}", began.elapsed()));
            return;
        }
    }
    oracle.violated(format!("I4, I17: not clean after {ROUNDS_MAX} rounds: {:?}", oracle.census()));
}

/// Whether any record says that there is work.
fn busy(cluster: &Arc<Cluster>) -> bool {
    let view = cluster.oracle().view();
    let walks = |walker: &&str| {
        let pass: Option<WorkerRecord> = view.record(&keys::worker(walker));
        pass.is_some_and(|pass| pass.started_ms > 0) || !view.scan(&keys::wanted_of(walker)).is_empty()
    };
    let queues =
        [keys::repairs(), keys::intents(), keys::garbages(), keys::collects(), keys::all_trash(), keys::transitions()];
    let verifies = view.scan(&keys::verifies());
    let ordered = |value| VerifyRecord::decode(value).expect("the product wrote it").finished_ms == 0;
    let verifies = verifies.iter().any(|(_, entry)| ordered(&entry.value));
    verifies || queues.iter().any(|queue| !view.scan(queue).is_empty()) || WALKERS.iter().any(walks)
}

/// Reads every key, and its versions up to number `last`.
async fn read_everything(cluster: &Arc<Cluster>, client: &Client, last: u64) {
    let oracle = cluster.oracle();
    let readable = oracle.readable();
    let keys: BTreeSet<&String> = readable.iter().map(|(key, _)| key).collect();
    for key in keys {
        drop(client.get(key, VersionSelector::Latest).await);
        if bucket_and_key(key).0 == FILES_BUCKET {
            drop(client.history(key).await);
        }
    }
    for (key, number) in readable.iter().filter(|(_, number)| *number <= last) {
        let ended = client.get(key, VersionSelector::Number(*number)).await;
        if !matches!(ended, Ended::Answered(Ok(Got::Version(..)))) {
            oracle.violated(format!("law 1: number {number} of {key} cannot be read after the storm: {ended:?}"));
        }
    }
}
