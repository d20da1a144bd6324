//! Members, order, probes and identity over nodes that answer as a test tells them.

mod growth;
mod load;
mod silence;
mod starts;
mod telling;

use super::breaker::OPEN_FOR;
use super::{GIVEN_UP_COUNTS_AFTER, KnownNodes, Member, MemberConfig, Nodes, PROBE_TIMEOUT, Refused, SNAPSHOT_FOR};
use crate::metadata::records::NodeRecord;
use crate::placement::{Circuit, Health};
use async_trait::async_trait;
use bytes::Bytes;
use protocol::{
    ChunkId, Clock, ClusterId, DiskId, Error, ErrorKind, Node, NodeHealth, NodeId, NodeStatus, PutOutcome, Result,
    Shard, ShardCopy, ShardHead, ShardId, ShardPage, Starts, VerifyCursor, VerifyReport,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(7));
const FREE_BYTES: u64 = 1 << 30;

/// A node that answers as it is told.
#[derive(Clone)]
struct Fake {
    health: NodeHealth,
    /// What every call answers, if not what it should.
    fails: Option<ErrorKind>,
    refused: bool,
    takes: Duration,
    outcome: PutOutcome,
}

struct FakeNode(Mutex<Fake>);

impl FakeNode {
    fn set(&self, change: impl FnOnce(&mut Fake)) {
        change(&mut self.0.lock().unwrap());
    }

    async fn answer<T>(&self, value: impl FnOnce(Fake) -> T) -> Result<T> {
        let fake = self.0.lock().unwrap().clone();
        sleep(fake.takes).await;
        match fake.fails {
            Some(kind) if fake.refused => Err(Error::caused(kind, "connection refused", Refused)),
            Some(kind) => Err(Error::new(kind, "as told")),
            None => Ok(value(fake)),
        }
    }
}

#[async_trait]
impl Node for FakeNode {
    async fn put(&self, shards: Vec<Shard>) -> Result<Vec<PutOutcome>> {
        self.answer(|fake| vec![fake.outcome; shards.len()]).await
    }
    async fn get(&self, _: ShardId) -> Result<Bytes> {
        self.answer(|_| "bytes".into()).await
    }
    async fn head(&self, id: ShardId) -> Result<ShardHead> {
        self.answer(|_| ShardHead { id, length: 5, crc: 0 }).await
    }
    async fn delete(&self, ids: Vec<ShardId>) -> Result<Vec<PutOutcome>> {
        self.answer(|fake| vec![fake.outcome; ids.len()]).await
    }
    async fn list(&self, _: Option<ShardId>, _: usize) -> Result<ShardPage> {
        self.answer(|_| ShardPage::default()).await
    }
    async fn verify(&self, _: VerifyCursor, _: u64) -> Result<VerifyReport> {
        self.answer(|_| VerifyReport::default()).await
    }
    async fn copy_from(&self, _: ShardId, _: &ShardCopy) -> Result<()> {
        self.answer(|_| ()).await
    }
    async fn health(&self) -> Result<NodeHealth> {
        self.answer(|fake| fake.health).await
    }
}

struct Still;

impl Clock for Still {
    fn now_ms(&self) -> u64 {
        1_000_000
    }
    fn random(&self) -> u128 {
        0
    }
}

/// Accepts a node's first disk, and a new one if the node says it was replaced.
#[derive(Default)]
struct Disks(Mutex<BTreeMap<NodeId, DiskId>>);

#[async_trait]
impl KnownNodes for Disks {
    async fn admit(&self, health: &NodeHealth, _: &str) -> Result<bool> {
        let mut disks = self.0.lock().unwrap();
        match disks.get(&health.node) {
            Some(disk) if *disk != health.disk && !health.replaced => Err(Error::denied("another disk")),
            _ => {
                disks.insert(health.node.clone(), health.disk);
                Ok(true)
            }
        }
    }
    async fn recorded(&self) -> Result<Vec<NodeRecord>> {
        Ok(Vec::new())
    }
}

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn healthy(name: &str) -> NodeHealth {
    NodeHealth {
        node: id(name),
        cluster: CLUSTER,
        disk: DiskId(Uuid::from_u128(name.len() as u128 + 100)),
        replaced: false,
        status: NodeStatus::Ok,
        zone: format!("zone-of-{name}"),
        capacity_bytes: 2 * FREE_BYTES,
        used_bytes: FREE_BYTES,
        free_bytes: FREE_BYTES,
        shards: 3,
        live_bytes: 3,
        segments: 1,
        poisoned_segments: 0,
        fsync_us: 100,
        version: "1.2.3".to_owned(),
        starts: Starts::default(),
    }
}

/// Nodes n1 … by their fakes; those of the configuration without a name are given as "?".
fn cluster_of(names: &[&str]) -> (Nodes, Vec<Arc<FakeNode>>) {
    cluster_of_known(Arc::new(Disks::default()), names)
}

fn cluster_of_known(known: Arc<dyn KnownNodes>, names: &[&str]) -> (Nodes, Vec<Arc<FakeNode>>) {
    let mut fakes = Vec::new();
    let mut members: Vec<(MemberConfig, Arc<dyn Node>)> = Vec::new();
    for (n, name) in (1..).zip(names) {
        let health = healthy(&format!("n{n}"));
        let fake = Fake { health, fails: None, refused: false, takes: Duration::ZERO, outcome: Ok(()) };
        let fake = Arc::new(FakeNode(Mutex::new(fake)));
        let config = MemberConfig { url: format!("http://{n}"), id: name.parse().ok(), weight_percent: 100 };
        members.push((config, Arc::clone(&fake) as Arc<dyn Node>));
        fakes.push(fake);
    }
    (Nodes::new(members, CLUSTER, known, Arc::new(Still)), fakes)
}

async fn probed(names: &[&str]) -> (Nodes, Vec<Arc<FakeNode>>) {
    let (nodes, fakes) = cluster_of(names);
    nodes.probe_all().await;
    (nodes, fakes)
}

fn shard() -> Shard {
    Shard::new(SHARD, Bytes::from(vec![0; 1000]))
}

const SHARD: ShardId = ShardId { chunk: ChunkId(Uuid::from_u128(1)), index: 0 };

async fn read(member: &Member) -> Result<Bytes> {
    member.get(SHARD).await
}

fn fail(fake: &FakeNode) {
    fake.set(|fake| fake.fails = Some(ErrorKind::Unavailable));
}

fn refuse(fake: &FakeNode) {
    fake.set(|fake| (fake.fails, fake.refused) = (Some(ErrorKind::Unavailable), true));
}

fn recover(fake: &FakeNode) {
    fake.set(|fake| (fake.fails, fake.refused, fake.takes) = (None, false, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_node_is_used_only_after_it_showed_who_it_is() {
    let (nodes, _) = cluster_of(&["n1", "?"]);
    let member = nodes.member(&id("n1")).unwrap();
    assert_eq!(read(&member).await.unwrap_err().kind, ErrorKind::Unavailable);
    assert!(!member.available());
    assert!(nodes.member(&id("n2")).is_none(), "its name is not known yet");
    assert_eq!(nodes.candidates()[0].health, Health::Down);
    nodes.probe_all().await;
    assert_eq!(read(&member).await.unwrap(), "bytes");
    assert!(member.available());
    assert_eq!(nodes.registered(), [id("n1"), id("n2")]);
    let candidates = nodes.candidates();
    assert_eq!(candidates.len(), 2);
    assert_eq!((candidates[1].zone.as_str(), candidates[1].free_bytes), ("zone-of-n2", FREE_BYTES));
    assert!(candidates.iter().all(|node| node.health == Health::Healthy && node.accepts_writes));
    assert!(nodes.unreachable().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_not_who_it_should_be_is_neither_read_nor_written() {
    let (nodes, fakes) = cluster_of(&["n1", "n9", "?", "?"]);
    fakes[0].set(|fake| fake.health.cluster = ClusterId(Uuid::from_u128(8)));
    fakes[3].set(|fake| fake.health.node = id("n3"));
    nodes.probe_all().await;
    let status = nodes.status();
    let errors: Vec<&str> = status.iter().map(|node| node.error.as_deref().unwrap_or("")).collect();
    assert!(errors[0].contains("belongs to cluster 00000000-0000-0000-0000-000000000008"), "{errors:?}");
    assert_eq!(errors[1], "http://2 should be node n9 but says it is n2");
    assert_eq!(errors[3], "http://4 says it is n3, but that is http://3");
    assert_eq!(status.iter().map(|node| node.healthy).collect::<Vec<_>>(), [false, false, true, false]);
    let copy = ShardCopy { source: "http://3".to_owned(), shard: SHARD, length: 1, crc: 0, content: None };
    for name in ["n1", "n9"] {
        let member = nodes.member(&id(name)).unwrap();
        assert_eq!(read(&member).await.unwrap_err().kind, ErrorKind::Denied);
        assert_eq!(member.put(vec![shard()]).await.unwrap_err().kind, ErrorKind::Denied);
        assert_eq!(member.copy_from(SHARD, &copy).await.unwrap_err().kind, ErrorKind::Denied);
    }
    recover(&fakes[0]);
    fakes[0].set(|fake| fake.health.cluster = CLUSTER);
    nodes.probe_all().await;
    assert!(read(&nodes.member(&id("n1")).unwrap()).await.is_ok(), "right again");
}

#[tokio::test(start_paused = true)]
async fn a_second_address_of_a_node_is_no_silent_one() {
    let (nodes, fakes) = cluster_of(&["n1", "n2", "n3", "?", "?", "?"]);
    for n in 0..3 {
        fakes[3 + n].set(|fake| fake.health.node = id(&format!("n{}", n + 1)));
    }
    nodes.probe_all().await;
    nodes.require_majority().unwrap();
    // Their machines are away, with all their addresses.
    [0, 3].iter().for_each(|fake| fail(&fakes[*fake]));
    nodes.probe_all().await;
    nodes.require_majority().unwrap();
    [1, 4].iter().for_each(|fake| fail(&fakes[*fake]));
    nodes.probe_all().await;
    assert_eq!(nodes.require_majority().unwrap_err().kind, ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_swapped_disk_is_refused_unless_the_node_says_it_was_replaced() {
    let (nodes, fakes) = probed(&["n1"]).await;
    fakes[0].set(|fake| fake.health.disk = DiskId(Uuid::from_u128(5)));
    nodes.probe_all().await;
    assert_eq!(nodes.status()[0].error.as_deref(), Some("another disk"));
    assert_eq!(nodes.unreachable(), BTreeSet::from([id("n1")]));
    fakes[0].set(|fake| fake.health.replaced = true);
    nodes.probe_all().await;
    assert_eq!(nodes.status()[0].error, None);
    assert!(nodes.unreachable().is_empty());
}

#[tokio::test(start_paused = true)]
async fn failing_calls_make_a_node_suspect_then_open_and_probes_close_it_again() {
    let (nodes, fakes) = probed(&["n1", "n2"]).await;
    let member = nodes.member(&id("n1")).unwrap();
    let state = || (nodes.candidates()[0].health, nodes.candidates()[0].circuit);
    fail(&fakes[0]);
    read(&member).await.unwrap_err();
    assert_eq!(state(), (Health::Suspect, Circuit::Closed), "seen at once, not after the next snapshot");
    for _ in 0..9 {
        read(&member).await.unwrap_err();
    }
    assert_eq!(state(), (Health::Suspect, Circuit::Open));
    assert!(!member.available());
    assert_eq!(nodes.unreachable(), BTreeSet::from([id("n1")]));
    assert_eq!(nodes.status()[0].error.as_deref(), Some("as told"));
    recover(&fakes[0]);
    nodes.probe_all().await;
    assert_eq!(state(), (Health::Healthy, Circuit::Open), "open until 30 s have passed");
    assert_eq!(read(&member).await.unwrap(), "bytes", "an open breaker stops no one who has nowhere else to go");
    sleep(OPEN_FOR).await;
    nodes.probe_unreachable().await;
    assert_eq!(state(), (Health::Healthy, Circuit::Closed), "the probe made the trial calls");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_refused_is_back_as_soon_as_it_answers() {
    let (nodes, fakes) = probed(&["n1"]).await;
    let member = nodes.member(&id("n1")).unwrap();
    refuse(&fakes[0]);
    for _ in 0..3 {
        read(&member).await.unwrap_err();
    }
    assert_eq!(member.circuit(), Circuit::Open);
    nodes.probe_all().await;
    assert_eq!(nodes.candidates()[0].health, Health::Down);
    recover(&fakes[0]);
    nodes.probe_unreachable().await;
    assert_eq!((member.circuit(), nodes.candidates()[0].health), (Circuit::Closed, Health::Healthy));
}

#[tokio::test(start_paused = true)]
async fn the_watch_notices_a_node_that_dies_and_one_that_comes_back() {
    let (nodes, fakes) = probed(&["n1", "n2", "n3"]).await;
    let watched = async {
        refuse(&fakes[1]);
        sleep(Duration::from_secs(31)).await;
        assert_eq!(nodes.unreachable(), BTreeSet::from([id("n2")]));
        recover(&fakes[1]);
        sleep(Duration::from_secs(3)).await;
        assert!(nodes.unreachable().is_empty(), "asked again long before the next round");
    };
    tokio::select! {
        () = nodes.watch(Duration::from_secs(30)) => unreachable!("it ends with its caller"),
        () = watched => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_round_of_probes_ends_whatever_the_nodes_do() {
    let (nodes, fakes) = probed(&["n1", "n2", "n3"]).await;
    fakes[0].set(|fake| fake.takes = Duration::from_secs(1000));
    fakes[1].set(|fake| fake.takes = Duration::from_secs(1));
    timeout(PROBE_TIMEOUT + Duration::from_millis(1), nodes.probe_all()).await.expect("ended");
    assert_eq!(nodes.unreachable(), BTreeSet::from([id("n1")]));
    assert!(nodes.status()[0].error.as_deref().unwrap().contains("no answer within 2000 ms"));
}

#[tokio::test(start_paused = true)]
async fn a_call_given_up_late_counts_as_failed_and_one_given_up_early_does_not() {
    let (nodes, fakes) = probed(&["n1"]).await;
    let member = nodes.member(&id("n1")).unwrap();
    fakes[0].set(|fake| fake.takes = Duration::from_secs(100));
    for _ in 0..20 {
        timeout(GIVEN_UP_COUNTS_AFTER / 2, read(&member)).await.unwrap_err();
    }
    assert_eq!((member.circuit(), nodes.candidates()[0].health), (Circuit::Closed, Health::Healthy));
    for _ in 0..10 {
        timeout(GIVEN_UP_COUNTS_AFTER, read(&member)).await.unwrap_err();
    }
    assert_eq!(member.circuit(), Circuit::Open, "a node that hangs is noticed though every caller turned away in time");
    assert!(nodes.status()[0].read_latency_us > 500_000);
    assert_eq!(nodes.status()[0].in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_node_takes_no_new_shards_until_it_has_room_again() {
    let (nodes, fakes) = probed(&["n1"]).await;
    let member = nodes.member(&id("n1")).unwrap();
    fakes[0].set(|fake| fake.outcome = Err(ErrorKind::Full));
    for _ in 0..20 {
        assert_eq!(member.put(vec![shard()]).await.unwrap(), [Err(ErrorKind::Full)]);
    }
    let candidates = nodes.candidates();
    assert!(!candidates[0].accepts_writes);
    assert_eq!(
        (candidates[0].health, candidates[0].circuit),
        (Health::Healthy, Circuit::Closed),
        "full is not failing"
    );
    assert_eq!(nodes.status()[0].status, Some(NodeStatus::Full));
    fakes[0].set(|fake| fake.outcome = Ok(()));
    member.put(vec![shard()]).await.unwrap();
    assert!(nodes.candidates()[0].accepts_writes, "a write found room");
    fakes[0].set(|fake| fake.health.status = NodeStatus::ReadOnly);
    nodes.probe_all().await;
    assert!(!nodes.candidates()[0].accepts_writes);
}

#[tokio::test(start_paused = true)]
async fn what_was_stored_since_the_last_probe_is_not_free_any_more() {
    let (nodes, fakes) = probed(&["n1"]).await;
    let member = nodes.member(&id("n1")).unwrap();
    member.put(vec![shard(), shard()]).await.unwrap();
    sleep(SNAPSHOT_FOR).await;
    assert_eq!(nodes.candidates()[0].free_bytes, FREE_BYTES - 2000);
    fakes[0].set(|fake| fake.health.free_bytes = FREE_BYTES - 5000);
    nodes.probe_all().await;
    assert_eq!(nodes.candidates()[0].free_bytes, FREE_BYTES - 5000);
}

#[tokio::test(start_paused = true)]
async fn a_failed_outcome_within_a_batch_counts_and_a_missing_shard_does_not() {
    let (nodes, fakes) = probed(&["n1", "n2"]).await;
    let (first, second) = (nodes.member(&id("n1")).unwrap(), nodes.member(&id("n2")).unwrap());
    fakes[0].set(|fake| fake.outcome = Err(ErrorKind::Unavailable));
    fakes[1].set(|fake| fake.fails = Some(ErrorKind::NotFound));
    for _ in 0..10 {
        first.put(vec![shard()]).await.unwrap();
        assert_eq!(read(&second).await.unwrap_err().kind, ErrorKind::NotFound);
    }
    assert_eq!((first.circuit(), second.circuit()), (Circuit::Open, Circuit::Closed));
}
