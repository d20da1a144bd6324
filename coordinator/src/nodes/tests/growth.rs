//! Nodes that join, move, are emptied, weighed and taken out.

use super::{CLUSTER, Disks, Fake, FakeNode, Still, healthy, id, read, recover, refuse};
use crate::code::Code;
use crate::metadata::memory::MemoryMetadata;
use crate::metadata::records::{
    ChunkRecord, ChunkState, NodeRecord, NodeState, Record, ShardPlace, TrashRecord, WantedRecord,
};
use crate::metadata::{Batch, Metadata, keys};
use crate::nodes::registry::{CENSUS, REBALANCE, Registry};
use crate::nodes::{KnownNodes, Nodes};
use crate::placement::Health;
use async_trait::async_trait;
use protocol::{ChunkId, Clock, DiskId, Error, ErrorKind, Node, NodeHealth, Result, ShardId, SystemClock};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

/// Nodes by their URLs; one that is not there refuses connections.
#[derive(Clone, Default)]
struct Network(Arc<Mutex<BTreeMap<String, Arc<FakeNode>>>>);

impl Network {
    fn place(&self, url: &str, name: &str) -> Arc<FakeNode> {
        let fake = Fake { health: healthy(name), fails: None, refused: false, takes: Duration::ZERO, outcome: Ok(()) };
        let fake = Arc::new(FakeNode(Mutex::new(fake)));
        self.0.lock().unwrap().insert(url.to_owned(), Arc::clone(&fake));
        fake
    }

    fn nodes(&self, known: Arc<dyn KnownNodes>) -> Nodes {
        let network = self.clone();
        let connect = move |url: &str| {
            let found = network.0.lock().unwrap().get(url).cloned();
            let node: Option<Arc<dyn Node>> = found.map(|fake| fake as Arc<dyn Node>);
            node.ok_or_else(|| Error::unavailable("connection refused"))
        };
        Nodes::new(Vec::new(), CLUSTER, known, Arc::new(Still)).connecting(Box::new(connect))
    }
}

fn record(name: &str, url: &str, state: NodeState) -> NodeRecord {
    let health = healthy(name);
    NodeRecord {
        node: health.node,
        url: url.to_owned(),
        zone: health.zone,
        disk: health.disk,
        weight: 100,
        known_since_ms: 1,
        state,
        state_since_ms: 1,
        decommissioned: false,
        unproved: false,
        start: None,
    }
}

fn urls(nodes: &Nodes) -> Vec<String> {
    nodes.members().iter().map(|member| member.url().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_node_that_joins_is_used_at_once_and_joining_again_changes_nothing() {
    let network = Network::default();
    let nodes = network.nodes(Arc::new(Disks::default()));
    assert!(nodes.members().is_empty() && nodes.candidates().is_empty());
    assert_eq!(nodes.join("http://a").await.unwrap_err().kind, ErrorKind::Unavailable);
    let fake = network.place("http://a", "n1");
    let before = nodes.members();
    assert_eq!(nodes.join("http://a").await.unwrap().node, id("n1"));
    assert!(before.is_empty(), "who holds a snapshot keeps it");
    assert_eq!(nodes.candidates()[0].health, Health::Healthy);
    assert_eq!(read(&nodes.member(&id("n1")).unwrap()).await.unwrap(), "bytes");
    let member = nodes.member(&id("n1")).unwrap();
    nodes.join("http://a").await.unwrap();
    assert!(Arc::ptr_eq(&member, &nodes.member(&id("n1")).unwrap()), "the same member");
    refuse(&fake);
    assert_eq!(nodes.join("http://a").await.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(nodes.members().len(), 1, "it is a member all the same");
}

/// Records nodes only when it may, as a catalog whose journal lies on the nodes does.
#[derive(Default)]
struct Reluctant {
    disks: Disks,
    may: AtomicBool,
}

#[async_trait]
impl KnownNodes for Reluctant {
    async fn admit(&self, health: &NodeHealth, url: &str) -> Result<bool> {
        match self.may.load(Ordering::Relaxed) {
            true => self.disks.admit(health, url).await,
            false => Err(Error::unavailable("nothing can be committed yet")),
        }
    }
    async fn recorded(&self) -> Result<Vec<NodeRecord>> {
        Ok(Vec::new())
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_s_first_nodes_are_members_before_the_catalog_can_say_so() {
    let (network, known) = (Network::default(), Arc::new(Reluctant::default()));
    let nodes = network.nodes(known.clone());
    network.place("http://a", "n1");
    for _ in 0..2 {
        assert_eq!(nodes.join("http://a").await.unwrap_err().kind, ErrorKind::Unavailable);
        assert_eq!((nodes.members().len(), nodes.candidates().len()), (1, 0), "a member, and not used");
    }
    known.may.store(true, Ordering::Relaxed);
    nodes.probe_unreachable().await;
    assert_eq!(nodes.answering().into_iter().collect::<Vec<_>>(), [id("n1")]);
    nodes.note_records(&[record("n1", "http://a", NodeState::Active)]);
    known.may.store(false, Ordering::Relaxed);
    network.place("http://b", "n2");
    assert_eq!(nodes.join("http://b").await.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(nodes.members().len(), 1, "later ones are admitted first");
}

#[tokio::test(start_paused = true)]
async fn a_stranger_does_not_join() {
    let network = Network::default();
    let nodes = network.nodes(Arc::new(Disks::default()));
    network.place("http://a", "n1").set(|fake| fake.health.cluster = protocol::ClusterId(Uuid::from_u128(8)));
    let refused = nodes.join("http://a").await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Denied);
    assert!(refused.message.contains("belongs to cluster"), "{refused}");
    assert!(nodes.members().is_empty());
    network.place("http://slow", "n2").set(|fake| fake.takes = Duration::from_secs(100));
    assert!(nodes.join("http://slow").await.unwrap_err().message.contains("did not answer within 2000 ms"));
}

#[tokio::test(start_paused = true)]
async fn a_second_address_is_refused_while_the_first_answers_and_followed_when_it_does_not() {
    let network = Network::default();
    let nodes = network.nodes(Arc::new(Disks::default()));
    let first = network.place("http://a", "n1");
    nodes.join("http://a").await.unwrap();
    let second = network.place("http://b", "n1");
    let refused = nodes.join("http://b").await.unwrap_err();
    assert_eq!((refused.kind, urls(&nodes)), (ErrorKind::Denied, vec!["http://a".to_owned()]));
    assert_eq!(refused.message, "http://b says it is n1, but that is http://a");
    refuse(&first);
    second.set(|fake| fake.health.disk = DiskId(Uuid::from_u128(5)));
    assert_eq!(nodes.join("http://b").await.unwrap_err().message, "another disk", "I21");
    assert_eq!(urls(&nodes), ["http://a"]);
    second.set(|fake| fake.health.disk = healthy("n1").disk);
    nodes.join("http://b").await.unwrap();
    assert_eq!(urls(&nodes), ["http://b"], "one name is one member");
    assert!(read(&nodes.member(&id("n1")).unwrap()).await.is_ok());
    recover(&first);
    assert_eq!(nodes.join("http://a").await.unwrap_err().kind, ErrorKind::Denied, "now that one is second");
}

#[tokio::test(start_paused = true)]
async fn nodes_that_changed_places_are_followed() {
    let network = Network::default();
    let nodes = network.nodes(Arc::new(Disks::default()));
    let (a, b) = (network.place("http://a", "n1"), network.place("http://b", "n2222"));
    nodes.join("http://a").await.unwrap();
    nodes.join("http://b").await.unwrap();
    a.set(|fake| fake.health = healthy("n2222"));
    b.set(|fake| fake.health = healthy("n1"));
    assert_eq!(nodes.join("http://a").await.unwrap().node, id("n2222"));
    assert_eq!(nodes.join("http://b").await.unwrap().node, id("n1"));
    let (first, second) = (nodes.member(&id("n1")).unwrap(), nodes.member(&id("n2222")).unwrap());
    assert_eq!((first.url(), second.url(), nodes.members().len()), ("http://b", "http://a", 2));
    assert!(read(&first).await.is_ok() && read(&second).await.is_ok());
}

/// A catalog that takes every node and says what a test wrote into it.
#[derive(Default)]
struct Written(Mutex<Vec<NodeRecord>>);

#[async_trait]
impl KnownNodes for Written {
    async fn admit(&self, _: &NodeHealth, _: &str) -> Result<bool> {
        Ok(true)
    }
    async fn recorded(&self) -> Result<Vec<NodeRecord>> {
        Ok(self.0.lock().unwrap().clone())
    }
}

#[tokio::test(start_paused = true)]
async fn members_follow_the_records() {
    let network = Network::default();
    let known = Arc::new(Written::default());
    let nodes = network.nodes(known.clone());
    let note = |records: &[NodeRecord]| {
        *known.0.lock().unwrap() = records.to_vec();
        nodes.note_records(records);
    };
    let (first, _) = (network.place("http://a", "n1"), network.place("http://b", "n2"));
    network.place("http://c", "n1");
    let mut records = vec![record("n1", "http://a", NodeState::Active), record("n2", "http://b", NodeState::Draining)];
    note(&records);
    assert_eq!(nodes.registered(), [id("n1"), id("n2")], "known by name before they answer");
    assert!(nodes.answering().is_empty());
    nodes.probe_all().await;
    assert_eq!(nodes.answering().len(), 2);
    let weights = || nodes.candidates().iter().map(|node| node.weight_percent).collect::<Vec<_>>();
    assert_eq!(weights(), [100, 0], "one that is being drained gets nothing");
    (records[0].weight, records[1].state) = (50, NodeState::Active);
    note(&records);
    assert_eq!(weights(), [50, 100], "seen at once");

    records[0].url = "http://c".to_owned();
    note(&records);
    assert_eq!(urls(&nodes), ["http://a", "http://b"], "it answers where it is");
    refuse(&first);
    nodes.probe_all().await;
    note(&records);
    nodes.probe_all().await;
    assert_eq!(urls(&nodes), ["http://c", "http://b"]);
    assert_eq!(nodes.answering().len(), 2);
    records.remove(0);
    note(&records);
    assert_eq!(urls(&nodes), ["http://b"], "whose record is gone is no member");
}

/// A registry over metadata with active nodes n1 … and what lies in it.
async fn registry_of(count: usize) -> (Arc<MemoryMetadata>, Registry, Nodes, Network) {
    let metadata = Arc::new(MemoryMetadata::new());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let network = Network::default();
    let nodes = network.nodes(Arc::new(Registry::new(metadata.clone(), clock.clone())));
    for number in 1..=count {
        let (name, url) = (format!("n{number}"), format!("http://{number}"));
        network.place(&url, &name);
        nodes.join(&url).await.unwrap();
    }
    nodes.refresh().await.unwrap();
    (metadata.clone(), Registry::new(metadata, clock), nodes, network)
}

async fn put(metadata: &MemoryMetadata, key: bytes::Bytes, value: bytes::Bytes) {
    let mut batch = Batch::new();
    batch.put(key, value);
    metadata.commit(batch).await.unwrap();
}

async fn wanted(metadata: &MemoryMetadata, worker: &str) -> Vec<String> {
    let range = keys::wanted_of(worker);
    let entries = metadata.scan(&range.from, &range.to, 100).await.unwrap();
    entries.iter().map(|(_, entry)| WantedRecord::decode(&entry.value).unwrap().reason).collect()
}

#[tokio::test(start_paused = true)]
async fn draining_never_leaves_fewer_nodes_than_a_chunk_needs() {
    let (metadata, registry, ..) = registry_of(5).await;
    let code = Code::REPLICATION;
    let drained = registry.decommission(&id("n5"), code).await.unwrap();
    assert_eq!((drained.state, drained.decommissioned), (NodeState::Draining, true));
    assert_eq!(registry.decommission(&id("n5"), code).await.unwrap(), drained, "asked again it is the same");
    registry.decommission(&id("n1"), code).await.unwrap();
    let refused = registry.decommission(&id("n2"), code).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Conflict);
    assert!(refused.message.contains("only 2 nodes") && refused.message.contains("needs 3"), "{refused}");
    let back = registry.recommission(&id("n1")).await.unwrap();
    assert_eq!((back.state, back.decommissioned), (NodeState::Active, false));
    // Two orders at the same time: one of them sees that the other was first.
    let (n1, n2) = (id("n1"), id("n2"));
    let (one, other) = tokio::join!(registry.decommission(&n1, code), registry.decommission(&n2, code));
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    assert_eq!(registry.decommission(&id("n9"), code).await.unwrap_err().kind, ErrorKind::NotFound);
    put(&metadata, keys::node(&id("n7")), record("n7", "http://7", NodeState::Lost).encode()).await;
    let lost = registry.decommission(&id("n7"), code).await.unwrap();
    assert_eq!((lost.state, lost.decommissioned), (NodeState::Lost, true), "to be emptied when it is back");
    assert!(!registry.recommission(&id("n7")).await.unwrap().decommissioned);
}

#[tokio::test(start_paused = true)]
async fn a_weight_is_recorded_and_asks_for_a_rebalance() {
    let (metadata, registry, nodes, _) = registry_of(3).await;
    assert_eq!(registry.weigh(&id("n1"), 1_001).await.unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(registry.weigh(&id("n1"), 30).await.unwrap().weight, 30);
    assert_eq!(wanted(&metadata, REBALANCE).await, ["node n1 has the weight 30 now"]);
    nodes.refresh().await.unwrap();
    assert_eq!(nodes.candidates()[0].weight_percent, 30);
    registry.weigh(&id("n1"), 30).await.unwrap();
    assert_eq!(wanted(&metadata, REBALANCE).await.len(), 1, "nothing changed");
}

/// Law 4: no record names a shard on a node that is no more.
#[tokio::test(start_paused = true)]
async fn a_node_is_taken_out_only_when_it_is_off_and_nothing_names_it() {
    let (metadata, registry, nodes, network) = registry_of(4).await;
    let n4 = id("n4");
    let conflict = async |words: &str| {
        let refused = registry.remove(&nodes, &n4).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Conflict, "{refused}");
        assert!(refused.message.contains(words), "{refused}");
    };
    conflict("decommission it").await;
    registry.decommission(&n4, Code::REPLICATION).await.unwrap();
    conflict("wait until it is drained").await;
    let drained = NodeRecord { state: NodeState::Drained, ..registry.record(&n4).await.unwrap() };
    put(&metadata, keys::node(&n4), drained.encode()).await;
    conflict("still answers").await;
    refuse(&network.0.lock().unwrap()["http://4"].clone());
    let chunk = ChunkId(Uuid::from_u128(77));
    let place = ShardPlace { node: n4.clone(), index: 0, crc: 0 };
    let named = ChunkRecord {
        length: 1,
        stored_length: 1,
        sha256: [0; 32],
        compressed: false,
        code: Code::REPLICATION,
        shards: vec![place],
        state: ChunkState::Live,
        fence: 0,
    };
    put(&metadata, keys::chunk(chunk), named.encode()).await;
    conflict("is still named by chunk").await;
    put(&metadata, keys::chunk(chunk), ChunkRecord { shards: Vec::new(), ..named }.encode()).await;
    for index in 0..200 {
        let trash = keys::trash(&n4, ShardId { chunk, index });
        put(&metadata, trash, TrashRecord { since_ms: 1 }.encode()).await;
    }
    assert_eq!(nodes.members().len(), 4);
    registry.remove(&nodes, &n4).await.unwrap();
    assert_eq!(nodes.registered(), [id("n1"), id("n2"), id("n3")]);
    let trash = keys::trash_of(&n4);
    assert!(metadata.scan(&trash.from, &trash.to, 10).await.unwrap().is_empty());
    assert_eq!(registry.remove(&nodes, &n4).await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(wanted(&metadata, CENSUS).await, ["node n4 was taken out"]);
    nodes.refresh().await.unwrap();
    nodes.probe_all().await;
    assert_eq!(nodes.members().len(), 3, "it stays away");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_empty_and_off_is_missed_by_nobody() {
    let (metadata, registry, nodes, network) = registry_of(4).await;
    let drained = NodeRecord { state: NodeState::Drained, ..registry.record(&id("n4")).await.unwrap() };
    put(&metadata, keys::node(&id("n4")), drained.encode()).await;
    nodes.refresh().await.unwrap();
    assert!(nodes.switched_off().is_empty(), "it answers");
    for number in [3, 4] {
        refuse(&network.0.lock().unwrap()[&format!("http://{number}")].clone());
    }
    nodes.probe_all().await;
    assert_eq!(nodes.switched_off().into_iter().collect::<Vec<_>>(), [id("n4")]);
}
