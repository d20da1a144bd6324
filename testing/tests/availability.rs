//! What goes on while nodes are away, full, slow or wrong, and what the answers say of it.

use coordinator::metadata::keys;
use coordinator::metadata::records::{ChunkRecord, NodeRecord, Record, ShardPlace};
use coordinator::object::{Condition, DeleteMode, Deleted, PutDone, VersionSelector};
use coordinator::placement::Circuit;
use protocol::{ChunkId, Error, ErrorKind, NodeId, ShardId};
use std::sync::Arc;
use std::time::Duration;
use testing::sim::body::{BLOCK_BYTES, TestBody};
use testing::sim::check::{Ended, Got};
use testing::sim::client::{Client, Sending};
use testing::sim::cluster::{Cluster, Plants};
use testing::sim::node::{Held, Mode, SimNode};
use testing::sim::runtime::simulate;
use testing::sim::workers::Habits;
use testing::sim::world::Rates;
use tokio::time::{Instant, sleep};

const NODES: usize = 4;
/// Breakers, probes and stragglers have come to rest by then.
const REST: Duration = Duration::from_secs(45);

/// A cluster with a client; the oracle watches every step.
struct Stage {
    cluster: Arc<Cluster>,
    client: Client,
    fresh: u64,
}

impl Stage {
    async fn set(nodes: usize) -> Stage {
        let cluster = Cluster::new(11, nodes, Plants::default());
        let coordinator = Arc::new(cluster.watching_coordinator(0));
        sleep(Duration::from_millis(40)).await;
        let client = Client::new(cluster.oracle().clone(), coordinator);
        Stage { cluster, client, fresh: 1_000 }
    }

    fn node(&self, place: usize) -> &SimNode {
        &self.cluster.nodes()[place]
    }

    fn node_named(&self, id: &NodeId) -> &SimNode {
        self.cluster.nodes().iter().find(|node| node.id() == id).expect("records name nodes")
    }

    /// Puts a body that was never put before.
    async fn put(&mut self, key: &str) -> Result<PutDone, Error> {
        self.fresh += 1;
        let body = TestBody::new(self.fresh, 2_000);
        answer(self.client.put(key, &body, Condition::None, Sending::Whole).await)
    }

    async fn get(&self, key: &str) -> Result<Got, Error> {
        answer(self.client.get(key, VersionSelector::Latest).await)
    }

    /// The only chunk of a small object.
    fn chunk_of(&self, key: &str) -> (ChunkId, ChunkRecord) {
        let view = self.cluster.oracle().view();
        let version = (1..100).rev().find_map(|number| view.version(key, number)).expect("the key has a version");
        let entries = view.entries(&version).expect("it is whole");
        (entries[0].chunk, view.chunk(entries[0].chunk).expect("it has a record"))
    }

    /// What waits for repair: severity and chunk.
    fn repairs(&self) -> Vec<(u8, ChunkId)> {
        let found = self.cluster.oracle().view().scan(&keys::repairs());
        found.iter().map(|(key, _)| keys::parse_repair(key).expect("a key of that range")).collect()
    }
}

fn answer<T>(ended: Ended<T>) -> Result<T, Error> {
    match ended {
        Ended::Answered(answer) => answer,
        Ended::Died => panic!("nobody killed the coordinator"),
    }
}

/// Runs `play` on a fresh stage; the oracle must be content at its end.
fn on_stage<F: Future<Output = Stage>>(nodes: usize, play: impl FnOnce(Stage) -> F) {
    let (stage, panics) = simulate(async { play(Stage::set(nodes).await).await });
    assert!(panics.is_empty(), "{panics:#?}");
    let violations = stage.cluster.oracle().violations();
    assert!(violations.is_empty(), "{violations:#?}");
}

fn found(got: Result<Got, Error>) -> bool {
    matches!(got, Ok(Got::Version(..)))
}

type Breaks = fn(&SimNode);
type Damages = fn(&SimNode, ShardId);

/// A6: one node down, whichever and however, and no request fails; none takes much longer than the deadline of one call.
#[test]
fn with_one_node_of_four_away_no_request_fails() {
    let ways: [(&str, Breaks, Breaks); 4] = [
        ("refuses", SimNode::crash, SimNode::start),
        ("stopped", SimNode::stop, SimNode::resume),
        ("slow", |node| node.set_slow(Duration::from_millis(1_500)), |node| node.set_slow(Duration::ZERO)),
        ("full", |node| node.set_full(true), |node| node.set_full(false)),
    ];
    for (way, breaks, mends) in ways {
        for place in 0..NODES {
            on_stage(NODES, async |mut stage| {
                for n in 0..10 {
                    stage.put(&format!("before{n}")).await.unwrap();
                }
                breaks(stage.node(place));
                // From the first moment, before anyone has noticed, until long after.
                for n in 0..30 {
                    let began = Instant::now();
                    let put = stage.put(&format!("during{n}")).await;
                    assert!(put.is_ok(), "put {n} with n{} {way}: {put:?}", place + 1);
                    assert!(found(stage.get(&format!("before{}", n % 10)).await), "get {n} with n{} {way}", place + 1);
                    assert!(found(stage.get(&format!("during{n}")).await), "get {n} with n{} {way}", place + 1);
                    assert!(
                        matches!(stage.client.list().await, Ended::Answered(Ok(_))),
                        "list with n{} {way}",
                        place + 1
                    );
                    assert!(began.elapsed() < Duration::from_secs(6), "{way} took {:?}", began.elapsed());
                    sleep(Duration::from_secs(n)).await;
                }
                mends(stage.node(place));
                sleep(REST).await;
                assert!(stage.put("after").await.unwrap().receipt.pending == 0, "{way}: all is as before");
                stage
            });
        }
    }
}

/// Two of four down: what has a copy on the others is read, writes say why they do not work.
#[test]
fn with_two_nodes_of_four_away_good_copies_are_read_and_writes_say_why_not() {
    on_stage(NODES, async |mut stage| {
        for n in 0..40 {
            stage.put(&format!("k{n}")).await.unwrap();
        }
        stage.node(0).crash();
        stage.node(1).stop();
        let mut readable = 0;
        for n in 0..40 {
            let key = format!("k{n}");
            let (chunk, record) = stage.chunk_of(&key);
            let up = |place: &&ShardPlace| !["n1", "n2"].contains(&place.node.as_str());
            let has_copy = record.shards.iter().any(|place| up(&place));
            let got = stage.get(&key).await;
            assert_eq!(found_or_unavailable(got), has_copy, "chunk {chunk} is on {:?}", record.shards);
            readable += usize::from(has_copy);
        }
        assert!(readable > 30, "three copies of four nodes: one is on the others always, and {readable} were read");
        sleep(REST).await;
        let refused = stage.put("new").await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Unavailable);
        assert!(refused.message.contains("2 of 4 storage nodes do not answer"), "{}", refused.message);
        assert!(refused.message.contains("n1") && refused.message.contains("n2"), "{}", refused.message);
        assert_eq!(answer(stage.client.delete("k0", DeleteMode::Mark).await).unwrap(), Deleted::Done);
        stage.node(0).start();
        stage.node(1).resume();
        sleep(REST).await;
        assert!(stage.put("new").await.is_ok(), "writes go on when the nodes are back");
        stage
    });
}

fn found_or_unavailable(got: Result<Got, Error>) -> bool {
    match got {
        Ok(Got::Version(..)) => true,
        Err(error) if error.kind == ErrorKind::Unavailable => false,
        other => panic!("neither the bytes nor unavailable: {other:?}"),
    }
}

/// All disks full: 507 at once, reads and deletes go on, writes come back with the room.
#[test]
fn with_all_nodes_full_reads_and_deletes_go_on() {
    on_stage(NODES, async |mut stage| {
        stage.put("kept").await.unwrap();
        stage.put("gone").await.unwrap();
        stage.cluster.nodes().iter().for_each(|node| node.set_full(true));
        for wait in [Duration::ZERO, Duration::from_secs(1), REST] {
            sleep(wait).await;
            let began = Instant::now();
            let refused = stage.put("new").await.unwrap_err();
            assert_eq!(refused.kind, ErrorKind::Full, "after {wait:?}: {refused}");
            assert!(began.elapsed() < Duration::from_secs(1), "said after {:?}", began.elapsed());
            assert!(found(stage.get("kept").await));
        }
        assert_eq!(answer(stage.client.delete("gone", DeleteMode::Purge).await).unwrap(), Deleted::Done);
        stage.cluster.nodes().iter().for_each(|node| node.set_full(false));
        sleep(REST).await;
        assert!(stage.put("new").await.is_ok(), "writes go on when there is room");
        stage
    });
}

/// I20: breakers are hints. Every one of them is open, the data is up, and it is read.
#[test]
fn with_all_breakers_open_what_is_there_is_read() {
    on_stage(NODES, async |mut stage| {
        for n in 0..10 {
            stage.put(&format!("k{n}")).await.unwrap();
        }
        stage.cluster.world().set_rates(Rates { node_reply_lost: 1_000, ..Rates::default() });
        for round in 0..10 {
            for n in 0..10 {
                found_or_unavailable(stage.get(&format!("k{n}")).await);
            }
            if round > 2 && all_open(&stage) {
                break;
            }
        }
        assert!(all_open(&stage), "no breaker opened, and nothing was tested");
        stage.cluster.world().set_rates(Rates::default());
        for n in 0..10 {
            assert!(found(stage.get(&format!("k{n}")).await), "k{n}");
        }
        stage
    });
}

fn all_open(stage: &Stage) -> bool {
    let members = stage.client.coordinator().objects.nodes.members();
    members.iter().all(|member| member.circuit() == Circuit::Open)
}

/// Law 6: wrong bytes are never served; another replica is, and the damaged one is queued for repair (law 8).
#[test]
fn a_damaged_replica_is_passed_over_and_its_repair_is_queued() {
    let damages: [(&str, Damages); 3] = [
        ("rotten", |node, shard| assert!(node.flip(shard))),
        ("lying", |node, _| node.set_lying(true)),
        ("empty", |node, _| {
            node.wipe();
            node.start();
        }),
    ];
    for (what, damage) in damages {
        on_stage(NODES, async |mut stage| {
            stage.put("key").await.unwrap();
            assert!(stage.repairs().is_empty());
            let (chunk, record) = stage.chunk_of("key");
            let order = stage.read_order(&record);
            let first = record.shards.iter().find(|place| place.node == order[0]).unwrap();
            damage(stage.node_named(&order[0]), ShardId { chunk, index: first.index });
            assert!(found(stage.get("key").await), "{what}: the other copies are good");
            let repairs = stage.repairs();
            assert!(repairs.iter().any(|(_, waiting)| *waiting == chunk), "{what}: nobody is to repair it");
            stage
        });
    }
}

impl Stage {
    fn read_order(&self, record: &ChunkRecord) -> Vec<NodeId> {
        let holders: Vec<NodeId> = record.shards.iter().map(|place| place.node.clone()).collect();
        self.client.coordinator().objects.nodes.read_order(&holders)
    }
}

/// Law 6, at its end: when every copy is damaged the answer is an error that says so, and never bytes.
#[test]
fn without_a_good_copy_nothing_is_served() {
    let ((outcome, repairs), _) = simulate(async {
        let mut stage = Stage::set(NODES).await;
        stage.put("key").await.unwrap();
        let (chunk, record) = stage.chunk_of("key");
        for place in &record.shards {
            assert!(stage.node_named(&place.node).flip(ShardId { chunk, index: place.index }));
        }
        let outcome = stage.get("key").await;
        (outcome, stage.repairs().iter().filter(|waiting| **waiting == (0, chunk)).count())
    });
    assert_eq!(outcome.unwrap_err().kind, ErrorKind::Corrupt);
    assert_eq!(repairs, 1, "what is lost is on record as soon as anyone meets it (law 8)");
}

/// A damaged copy that is read again and again is queued once: no read waits for a commit that says what is known.
#[test]
fn damage_that_is_queued_is_not_queued_again() {
    on_stage(NODES, async |mut stage| {
        stage.put("key").await.unwrap();
        let (chunk, record) = stage.chunk_of("key");
        let revision = || {
            let found = stage.cluster.oracle().view().scan(&keys::repairs());
            found.first().map(|(_, entry)| entry.revision)
        };
        let mut seen = Vec::new();
        for place in record.shards.iter().take(1) {
            assert!(stage.node_named(&place.node).flip(ShardId { chunk, index: place.index }));
        }
        for _ in 0..8 {
            // Each has a cache of its own.
            let reader = Arc::new(stage.cluster.watching_coordinator(0));
            sleep(Duration::from_millis(40)).await;
            let reader = Client::new(stage.cluster.oracle().clone(), reader);
            assert!(found(answer(reader.get("key", VersionSelector::Latest).await)));
            seen.extend(revision());
        }
        assert!(!seen.is_empty(), "no read met the damaged copy, and nothing was tested");
        assert!(seen.iter().all(|revision| *revision == seen[0]), "{seen:?}");
        stage
    });
}

/// The receipt is what is true at that moment; what is short is queued for repair by the same commit (law 8), and whoever comes
/// late takes that back.
#[test]
fn receipts_tell_the_truth_and_a_late_shard_takes_its_repair_back() {
    on_stage(3, async |mut stage| {
        let done = stage.put("whole").await.unwrap();
        assert_eq!((done.receipt.copies, done.receipt.pending, done.receipt.survives), (3, 0, 2));
        assert!(stage.repairs().is_empty());
        stage.node(2).set_slow(Duration::from_millis(700));
        let done = stage.put("late").await.unwrap();
        assert_eq!((done.receipt.copies, done.receipt.fsynced, done.receipt.pending), (2, 2, 1));
        assert_eq!(done.receipt.survives, 1);
        let (chunk, record) = stage.chunk_of("late");
        assert_eq!(record.shards.len(), 2, "only who answered is named");
        let repairs = stage.repairs();
        assert_eq!(repairs, [(1, chunk)]);
        sleep(Duration::from_secs(3)).await;
        let (_, record) = stage.chunk_of("late");
        assert_eq!(record.shards.len(), 3, "the late shard is named");
        assert!(stage.repairs().is_empty(), "and its repair taken back");
        stage.node(2).set_slow(Duration::ZERO);
        stage
    });
}

/// The same where the late one never comes: the repair record stands.
#[test]
fn a_shortfall_that_nobody_makes_up_stays_queued_for_repair() {
    on_stage(3, async |mut stage| {
        stage.node(2).crash();
        let done = stage.put("short").await.unwrap();
        assert_eq!((done.receipt.copies, done.receipt.pending), (2, 1));
        let (chunk, record) = stage.chunk_of("short");
        for place in &record.shards {
            let held = stage.node_named(&place.node).held(ShardId { chunk, index: place.index });
            assert!(matches!(held, Held::Good { .. }));
        }
        sleep(REST).await;
        assert_eq!(stage.repairs(), [(1, chunk)]);
        stage.node(2).start();
        stage
    });
}

/// I5b: a write that leans on chunks that are there is as durable as one that stores them.
#[test]
fn a_reuse_is_as_durable_as_a_write() {
    on_stage(NODES, async |stage| {
        let body = TestBody::new(1, 2_000);
        let put = async |key: &str| answer(stage.client.put(key, &body, Condition::None, Sending::Whole).await);
        put("first").await.unwrap();
        let (_, record) = stage.chunk_of("first");
        for place in record.shards.iter().take(1) {
            stage.node_named(&place.node).crash();
        }
        sleep(REST).await;
        put("second").await.unwrap();
        // Whichever node goes next, the second is still read.
        let (_, record) = stage.chunk_of("second");
        let next = record.shards.iter().find(|place| stage.node_named(&place.node).mode() == Mode::Up);
        stage.node_named(&next.expect("two of them are up").node).crash();
        assert!(found(stage.get("second").await));
        stage
    });
}

/// No fewer than a quorum of nodes can be written to, and a client is told how many there are.
#[test]
fn a_cluster_of_one_node_takes_no_writes() {
    on_stage(1, async |mut stage| {
        let refused = stage.put("key").await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Unavailable);
        assert!(refused.message.contains("needs 2 storage nodes and 1"), "{}", refused.message);
        stage
    });
}

/// I5b: what a node had before its disk was replaced makes no put durable; when a census finds nothing missing it counts again.
#[test]
fn a_put_does_not_lean_on_what_a_replaced_disk_had() {
    on_stage(3, async |stage| {
        let body = TestBody::new(7, 2_000);
        let put =
            async |key: &str| answer(stage.client.put(key, &body, Condition::None, Sending::Whole).await).unwrap();
        stage.node(2).crash();
        sleep(REST).await;
        put("first").await;
        stage.node(2).start();
        stage.node(0).wipe();
        stage.node(0).start();
        sleep(REST).await;
        let copies = |key: &str| {
            let (chunk, record) = stage.chunk_of(key);
            let held = |place: &&ShardPlace| {
                matches!(stage.node_named(&place.node).held(ShardId { chunk, index: place.index }), Held::Good { .. })
            };
            record.shards.iter().filter(held).count()
        };
        assert_eq!(
            (stage.chunk_of("first").1.shards.len(), copies("first")),
            (2, 1),
            "the record does not know it yet"
        );
        let receipt = put("again").await.receipt;
        assert_eq!((receipt.copies, copies("again")), (3, 3), "it was stored anew");

        let habits = Habits { rest_ms_max: 200, ..Habits::EAGER };
        let worker = stage.cluster.worker_process(0, &habits);
        sleep(2 * REST).await;
        worker.crash();
        assert_eq!(copies("first"), 3, "what was missing is there again");
        put("more").await;
        assert_eq!(stage.chunk_of("more").0, stage.chunk_of("again").0, "the new disk is like any other");
        let records = stage.cluster.oracle().view().scan(&keys::nodes());
        assert!(records.iter().all(|(_, entry)| !NodeRecord::decode(&entry.value).unwrap().unproved));
        stage
    });
}

/// An upload whose client sends a little now and then shows life, however long a batch takes to fill; one that is abandoned does not.
#[test]
fn an_upload_that_trickles_is_not_given_up() {
    on_stage(NODES, async |stage| {
        let habits = Habits { upload_expires: Duration::from_secs(40), rest_ms_max: 200, ..Habits::EAGER };
        let worker = stage.cluster.worker_process(0, &habits);
        let body = TestBody::new(1, 3 * BLOCK_BYTES + 77);
        let trickles = Sending::Slow(Duration::from_secs(14));
        answer(stage.client.put("slow", &body, Condition::None, trickles).await).unwrap();
        let other = TestBody::new(2, 3 * BLOCK_BYTES + 77);
        let (dead, stalls) = (Arc::new(stage.cluster.coordinator().await), Sending::Slow(Duration::from_secs(30)));
        let client = Client::new(stage.cluster.oracle().clone(), dead.clone());
        let abandoned = client.put("abandoned", &other, Condition::None, stalls);
        let dies = async {
            sleep(Duration::from_secs(330)).await;
            dead.crash();
        };
        futures_util::future::join(abandoned, dies).await;
        let view = stage.cluster.oracle().view();
        assert_eq!(view.scan(&keys::intents()).len(), 1, "it had begun to be stored");
        sleep(Duration::from_secs(60)).await;
        assert!(view.scan(&keys::intents()).is_empty(), "nobody cares for it any more");
        worker.crash();
        stage
    });
}

/// Law 10: more uploads at once than there is room for bytes on their way. Each gets its part in turn; none is refused because others are slow.
#[test]
fn more_slow_uploads_than_the_budget_holds_take_turns() {
    on_stage(NODES, async |stage| {
        let upload = async |n: u64| {
            let body = TestBody::new(5_000 + n, 3 * BLOCK_BYTES);
            let sending = Sending::Slow(Duration::from_secs(4));
            answer(stage.client.put(&format!("k{n}"), &body, Condition::None, sending).await)
        };
        let outcomes = futures_util::future::join_all((0..30).map(upload)).await;
        let refused: Vec<Error> = outcomes.into_iter().filter_map(Result::err).collect();
        assert!(refused.is_empty(), "{refused:?}");
        stage
    });
}
