//! Fails every external call of every kind of worker step in turn: the process ends before or after the call took effect, the call
//! fails or its answer is lost, or the node called dies. Then another process takes over the lease, and the cluster comes to be
//! clean: every chunk whole, nothing left that nobody needs, everything readable (laws 4, 5, 8, I15, I17). A new worker adds a scene.

use bytes::Bytes;
use coordinator::code::Code;
use coordinator::metadata::records::{
    ChunkEntry, ChunkRecord, ChunkState, CollectRecord, NodeRecord, NodeState, Record, RepairRecord, StorageClass,
    VersionRecord,
};
use coordinator::metadata::{Batch, keys};
use coordinator::object::{BucketName, Condition, DeleteMode, ObjectName, PartClaim, Version, VersionSelector};
use coordinator::worker::verify::job::{self, VerifyRequest};
use coordinator::worker::{Running, Tiering, WorkerSettings};
use protocol::{ChunkId, Shard, ShardId};
use std::sync::Arc;
use std::time::Duration;
use testing::sim::body::{BLOCK_BYTES, TestBody};
use testing::sim::call::{Fate, Planned, Target};
use testing::sim::check::{Ended, Got};
use testing::sim::client::{Client, Sending};
use testing::sim::cluster::{Cluster, Coordinator, Plants};
use testing::sim::node::SimNode;
use testing::sim::reckoning::come_to_rest;
use testing::sim::runtime::simulate;
use testing::sim::workers::{Crew, Habits};
use testing::sim::world::Rates;
use tokio::time::sleep;
use uuid::Uuid;

const NODES: usize = 5;
/// A version of so many parts, a chunk each, takes more than one batch to be stored otherwise.
const PARTS: usize = 42;
const PART_BYTES: usize = 10;
/// Whatever was under way has ended by then.
const REST: Duration = Duration::from_secs(20);
/// The process that takes over does everything at once, but takes nobody for lost who is not, and gives nothing up that it works at.
const SUCCESSOR: Habits =
    Habits { node_lost_after: Duration::from_secs(3_600), upload_expires: Duration::from_secs(20), ..Habits::EAGER };

/// What is wrong when the worker comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    /// A disk was lost.
    Missing,
    /// A copy of each chunk is rotten.
    Rotten,
    /// A node is gone for good, as it seems.
    LostNode,
    /// A node is to be emptied.
    Draining,
    /// Chunks were written short of a copy.
    Short,
    /// The same, and they were condemned just before a reuse of them was committed; the collector will put them back.
    Condemned,
    /// Repairs are queued of chunks that are not there.
    RepairOfNothing,
    /// Versions were purged, of a small object and of one with pages; one chunk of them is needed still.
    Purged,
    /// An upload was abandoned.
    Abandoned,
    /// Shards that no record names, of chunks with and without a record, and a disk was lost.
    Unnamed,
    /// Two copies of a chunk are in one zone, and another has none.
    Crowded,
    /// All versions, of small objects and of one of parts, are to be stored as another class.
    Ordered,
    /// All is well.
    Nothing,
}

struct Stage {
    cluster: Arc<Cluster>,
    client: Client,
}

impl Stage {
    async fn set(class: StorageClass) -> Stage {
        let ec = Some(Code { data: 2, parity: 2 });
        let cluster = Cluster::new(7, NODES, Plants { ec, ..Plants::default() });
        let client = Client::new(cluster.oracle().clone(), Arc::new(cluster.coordinator().await)).storing_as(class);
        Stage { cluster, client }
    }

    fn node(&self, place: usize) -> &SimNode {
        &self.cluster.nodes()[place]
    }

    async fn put(&self, key: &str, tag: u64, bytes: usize) {
        let ended = self.client.put(key, &TestBody::new(tag, bytes), Condition::None, Sending::Whole).await;
        assert!(matches!(ended, Ended::Answered(Ok(_))), "without faults nothing fails: {ended:?}");
    }

    fn chunks(&self) -> Vec<ChunkId> {
        let found = self.cluster.oracle().view().scan(&keys::chunks());
        found.iter().map(|(key, _)| keys::parse_chunk(key).expect("a key of that range")).collect()
    }

    async fn prepare(&self, scene: Scene) {
        match scene {
            Scene::Missing => self.lose_disk(),
            Scene::Rotten => self.rot(),
            Scene::LostNode => self.node(0).crash(),
            Scene::Draining => self.set_draining().await,
            Scene::Short | Scene::Condemned => self.put_short().await,
            Scene::RepairOfNothing => self.queue_repairs_of_nothing().await,
            Scene::Purged => {
                self.put("large", 3, 3 * BLOCK_BYTES + 77).await;
                self.put("kept", 1, 300).await;
                for key in ["a", "large"] {
                    drop(self.client.delete(key, DeleteMode::Purge).await);
                }
            }
            Scene::Abandoned => self.abandon().await,
            Scene::Unnamed => {
                self.lose_disk();
                self.leave_unnamed().await;
            }
            Scene::Crowded => {
                for (place, zone) in ["x", "x", "x", "y", "z"].iter().enumerate() {
                    self.node(place).set_zone(zone);
                }
            }
            Scene::Ordered => {
                self.put_in_parts("parts").await;
                self.order_all().await;
            }
            Scene::Nothing => {}
        }
    }

    async fn put_in_parts(&self, key: &str) {
        let body = TestBody::new(8, PARTS * PART_BYTES);
        let Ended::Answered(Ok(mut begun)) = self.client.begin_upload(key, &body, Condition::None).await else {
            panic!("without faults nothing fails");
        };
        for number in 1..=PARTS as u16 {
            let start = usize::from(number - 1) * PART_BYTES;
            let data = body.data.slice(start..start + PART_BYTES);
            let Ended::Answered(Ok(done)) = self.client.put_part(&begun, number, data, Sending::Whole).await else {
                panic!("without faults nothing fails");
            };
            begun.claims.push(PartClaim { number, etag: hex::encode(done.md5), checksum: None });
        }
        assert!(matches!(self.client.complete(&begun).await, Ended::Answered(Ok(_))), "without faults nothing fails");
    }

    /// Each is to be of the class that it is not of.
    async fn order_all(&self) {
        let objects = &self.client.coordinator().objects;
        for (key, number) in self.cluster.oracle().readable() {
            let name = ObjectName::new(BucketName::files(), key).expect("a good name");
            let found = objects.resolve(&name, VersionSelector::Number(number)).await;
            let Ok(Version::Found(version)) = found else { panic!("without faults nothing fails: {found:?}") };
            let class = match version.storage_class {
                StorageClass::Standard => StorageClass::StandardIa,
                StorageClass::StandardIa => StorageClass::Standard,
            };
            let ordered = objects.order_transition(&name, &version, class, "a test".to_owned()).await;
            assert!(ordered.expect("nothing fails yet"), "it is not of that class");
        }
    }

    /// All versions are of the class that [`Stage::order_all`] asked for.
    fn require_all(&self, class: StorageClass) {
        let oracle = self.cluster.oracle();
        for (key, entry) in oracle.view().scan(&keys::every_version()) {
            let version = VersionRecord::decode(&entry.value).expect("the product wrote it");
            let codes = oracle.view().entries(&version).unwrap_or_default().into_iter();
            let is_coded = |entry: ChunkEntry| oracle.view().chunk(entry.chunk).is_some_and(|it| it.code.data > 1);
            let kept = codes.map(is_coded).any(|is_coded| is_coded == (class == StorageClass::StandardIa));
            if version.storage_class == class || kept {
                oracle.violated(format!("{} is stored as it was", keys::display(&key)));
            }
        }
    }

    fn lose_disk(&self) {
        self.node(0).wipe();
        self.node(0).start();
    }

    fn rot(&self) {
        let view = self.cluster.oracle().view();
        for chunk in self.chunks() {
            let place = view.chunk(chunk).expect("it was listed").shards[0].clone();
            let node = self.cluster.nodes().iter().find(|node| *node.id() == place.node).expect("records name nodes");
            assert!(node.flip(ShardId { chunk, index: place.index }));
        }
    }

    async fn set_draining(&self) {
        let key = keys::node(self.node(0).id());
        let record: NodeRecord = self.cluster.oracle().view().record(&key).expect("it is registered");
        let mut commit = Batch::new();
        commit.put(key, NodeRecord { state: NodeState::Draining, ..record }.encode());
        self.cluster.operate(commit).await;
    }

    /// Two of five nodes take nothing, and one more answers too late: two copies of each chunk are left.
    async fn put_short(&self) {
        for place in 0..3 {
            self.node(place).set_full(true);
        }
        self.put("short", 4, 400).await;
        for place in 0..3 {
            self.node(place).set_full(false);
        }
        assert!(!self.cluster.oracle().view().scan(&keys::repairs()).is_empty(), "nothing is short");
    }

    async fn queue_repairs_of_nothing(&self) {
        let mut commit = Batch::new();
        for severity in [0, 1] {
            let chunk = ChunkId(Uuid::from_u128(77));
            commit.put(keys::repair(severity, chunk), RepairRecord::new(chunk, 1, "a read met damage").encode());
        }
        self.cluster.operate(commit).await;
    }

    async fn abandon(&self) {
        let coordinator = Arc::new(self.cluster.coordinator().await);
        let client = Client::new(self.cluster.oracle().clone(), coordinator.clone());
        let body = TestBody::new(5, 4 * BLOCK_BYTES);
        let put = client.put("abandoned", &body, Condition::None, Sending::Slow(Duration::from_secs(1)));
        let dies = async {
            sleep(Duration::from_secs(14)).await;
            coordinator.crash();
        };
        futures_util::future::join(put, dies).await;
        assert_eq!(self.cluster.oracle().view().scan(&keys::intents()).len(), 1, "it had begun to be stored");
    }

    /// As calls leave them that were not answered: under an index of a chunk with a record, and of one without.
    async fn leave_unnamed(&self) {
        let chunk = self.chunks()[0];
        for (place, chunk, index) in [(1, chunk, 5), (2, chunk, 4), (3, ChunkId(Uuid::from_u128(99)), 0)] {
            let shard = Shard::new(ShardId { chunk, index }, Bytes::from_static(b"left behind"));
            self.node(place).put(vec![shard]).await.expect("it is up").expect("it has room")[0].expect("it is stored");
        }
    }

    /// What other workers do first, so that there is something for `worker` to do.
    async fn warm_up(&self, crew: &mut Crew, scene: Scene, worker: &str) {
        let before: &[&str] = match scene {
            Scene::Missing | Scene::Unnamed => &["census"],
            Scene::Rotten => &["scrub"],
            Scene::LostNode | Scene::Draining => &["membership", "census"],
            Scene::Crowded => &["rebalance"],
            _ => &[],
        };
        for walker in ["census", "scrub", "rebalance"] {
            if before.contains(&walker) || worker == walker {
                self.cluster.want(walker).await;
            }
        }
        for name in before.iter().take_while(|name| **name != worker) {
            crew.finish(name).await;
        }
        if scene == Scene::Condemned {
            self.condemn_all(crew).await;
        }
        if worker == "verify" {
            let request = VerifyRequest { bucket: None, prefix: String::new(), bytes_per_s: 0, after: None };
            job::begin(&crew.work().objects, &request).await.expect("nothing fails yet");
        }
    }
}

impl Stage {
    /// As a collector leaves them that dies between its two looks for references.
    async fn condemn_all(&self, crew: &Crew) {
        let mut commit = Batch::new();
        for chunk in self.chunks() {
            let record = self.cluster.oracle().view().chunk(chunk).expect("it was listed");
            let condemned = ChunkRecord { state: ChunkState::Condemned, ..record };
            commit.put(keys::chunk(chunk), condemned.encode());
            commit.put(keys::collect(chunk), CollectRecord::default().encode());
        }
        assert!(crew.work().commit(commit).await.expect("nothing fails yet"));
    }
}

struct Run {
    targets: Vec<Target>,
    violations: Vec<String>,
}

async fn worker(cluster: &Cluster) -> Coordinator {
    let process = cluster.quiet_worker();
    process.objects.nodes.probe_all().await;
    process
}

fn run(scene: Scene, name: &'static str, class: StorageClass, plan: &[Planned]) -> Run {
    let plan = plan.to_vec();
    let (mut run, panics) = simulate(async move {
        let stage = Stage::set(class).await;
        stage.put("a", 1, 300).await;
        stage.put("a", 2, 500).await;
        stage.put("b", 6, 700).await;
        stage.prepare(scene).await;
        let process = worker(&stage.cluster).await;
        let targets = match name {
            "lease" => take_over(&stage, &process, &plan).await,
            name => work(&stage, &process, scene, name, &plan).await,
        };
        sleep(REST).await;
        for place in process.calls.nodes_died() {
            stage.node(place).start();
        }
        stage.node(0).start();
        process.crash();
        end(&stage).await;
        if scene == Scene::Ordered {
            stage.require_all(class);
        }
        Run { targets, violations: stage.cluster.oracle().violations() }
    });
    run.violations.extend(panics);
    run
}

async fn work(stage: &Stage, process: &Coordinator, scene: Scene, name: &str, plan: &[Planned]) -> Vec<Target> {
    let mut crew = Crew::hired(process, &Habits::EAGER).await.expect("nobody else wants the lease");
    stage.warm_up(&mut crew, scene, name).await;
    process.calls.arm(plan);
    tokio::select! {
        biased;
        () = crew.finish(name) => {}
        () = process.calls.died() => {}
    }
    process.calls.disarm()
}

/// The lease of a process that died, until it is held, and what is done with it.
async fn take_over(stage: &Stage, process: &Coordinator, plan: &[Planned]) -> Vec<Target> {
    let dead = worker(&stage.cluster).await;
    let stale = Crew::hired(&dead, &Habits::EAGER).await.expect("nobody had the lease");
    process.calls.arm(plan);
    let takes = async {
        if let Some(crew) = Crew::hired(process, &Habits::EAGER).await {
            drop(crew.work().want("scrub", "to see whether it may").await);
            // Who slept meanwhile may do nothing any more (law 9).
            let refused = stale.work().want("scrub", "it must not").await;
            assert!(refused.is_err(), "law 9: two processes hold the lease");
        }
    };
    tokio::select! {
        biased;
        () = takes => {}
        () = process.calls.died() => {}
    }
    process.calls.disarm()
}

/// Another process takes over; then all is as it should be.
async fn end(stage: &Stage) {
    let oracle = stage.cluster.oracle();
    stage.cluster.world().calm_down();
    let successor = stage.cluster.worker_process(0, &SUCCESSOR);
    come_to_rest(&stage.cluster).await;
    successor.crash();
    let client = Client::new(oracle.clone(), Arc::new(stage.cluster.coordinator().await));
    for (key, number) in oracle.readable() {
        let read = client.get(&key, VersionSelector::Number(number)).await;
        if !matches!(read, Ended::Answered(Ok(Got::Version(..)))) {
            oracle.violated(format!("number {number} of {key} cannot be read: {read:?}"));
        }
    }
}

/// Each call of `name` in `scene` in turn, with each of its fates. `least`: the scene is no scene with fewer calls.
fn fail_every_call(scene: Scene, name: &'static str, least: usize) {
    fail_every_call_of(StorageClass::Standard, scene, name, least);
}

/// The same where all that was put has this storage class.
fn fail_every_call_of(class: StorageClass, scene: Scene, name: &'static str, least: usize) {
    let healthy = run(scene, name, class, &[]);
    assert!(healthy.violations.is_empty(), "{scene:?} {name}: {:#?}", healthy.violations);
    assert!(healthy.targets.len() >= least, "{name} has little to do in {scene:?}: {:?}", healthy.targets);
    let (mut runs, mut failed) = (1, Vec::new());
    for (at, target) in healthy.targets.iter().enumerate() {
        for fate in Fate::ALL.into_iter().filter(|fate| fate.is_possible(*target)) {
            let plan = [Planned { at: at as u64, fate }];
            let run = run(scene, name, class, &plan);
            runs += 1;
            if !run.violations.is_empty() {
                failed.push(format!("{plan:?} of {target:?}: {:#?}", run.violations));
            }
        }
    }
    println!("{scene:?}, {name}, {class:?}: {} calls, {runs} runs", healthy.targets.len());
    assert!(failed.is_empty(), "{scene:?}, {name}: {} of {runs} runs failed: {}", failed.len(), failed.join("\n"));
}

#[test]
fn repair_of_what_is_missing_survives_the_failure_of_each_of_its_calls() {
    fail_every_call(Scene::Missing, "repair", 10);
}

#[test]
fn repair_of_rot_survives_the_failure_of_each_of_its_calls() {
    fail_every_call(Scene::Rotten, "repair", 20);
}

#[test]
fn repair_after_the_loss_of_a_node_survives_the_failure_of_each_of_its_calls() {
    fail_every_call(Scene::LostNode, "repair", 10);
}

#[test]
fn draining_a_node_survives_the_failure_of_each_of_its_calls() {
    fail_every_call(Scene::Draining, "repair", 10);
}

#[test]
fn repair_of_what_was_written_short_survives_the_failure_of_each_of_its_calls() {
    fail_every_call(Scene::Short, "repair", 10);
    fail_every_call(Scene::RepairOfNothing, "repair", 4);
    fail_every_call(Scene::Condemned, "repair", 4);
}

/// With five nodes, 2+2.
#[test]
fn repair_of_coded_chunks_survives_the_failure_of_each_of_its_calls() {
    for (scene, least) in [(Scene::Missing, 10), (Scene::Rotten, 20), (Scene::LostNode, 10), (Scene::Draining, 10)] {
        fail_every_call_of(StorageClass::StandardIa, scene, "repair", least);
    }
    fail_every_call_of(StorageClass::StandardIa, Scene::Crowded, "repair", 10);
    fail_every_call_of(StorageClass::StandardIa, Scene::Rotten, "verify", 10);
    fail_every_call_of(StorageClass::StandardIa, Scene::Unnamed, "census", 15);
}

#[test]
fn a_move_survives_the_failure_of_each_of_its_calls() {
    fail_every_call(Scene::Crowded, "rebalance", 6);
    fail_every_call(Scene::Crowded, "repair", 10);
}

#[test]
fn scrub_and_verify_survive_the_failure_of_each_of_their_calls() {
    fail_every_call(Scene::Rotten, "scrub", 10);
    fail_every_call(Scene::Rotten, "verify", 10);
}

#[test]
fn a_census_survives_the_failure_of_each_of_its_calls() {
    fail_every_call(Scene::Unnamed, "census", 15);
}

#[test]
fn collect_survives_the_failure_of_each_of_its_calls() {
    fail_every_call(Scene::Purged, "collect", 30);
    fail_every_call(Scene::Condemned, "collect", 10);
}

#[test]
fn expire_survives_the_failure_of_each_of_its_calls() {
    fail_every_call(Scene::Abandoned, "expire", 2);
    fail_every_call(Scene::Abandoned, "collect", 0);
}

#[test]
fn the_count_of_what_is_saved_survives_the_failure_of_each_of_its_calls() {
    fail_every_call(Scene::Purged, "savings", 10);
}

#[test]
fn the_loss_and_the_return_of_a_node_survive_the_failure_of_each_call() {
    fail_every_call(Scene::LostNode, "membership", 3);
    fail_every_call(Scene::Draining, "membership", 4);
}

#[test]
fn a_transition_survives_the_failure_of_each_of_its_calls() {
    fail_every_call_of(StorageClass::Standard, Scene::Ordered, "transition", 60);
}

#[test]
fn a_transition_back_survives_the_failure_of_each_of_its_calls() {
    fail_every_call_of(StorageClass::StandardIa, Scene::Ordered, "transition", 60);
}

#[test]
fn the_lease_is_taken_over_whatever_fails() {
    fail_every_call(Scene::Nothing, "lease", 10);
}

/// Law 8: a copy that was found wrong once seems good to who does not read it, so the rest of a repair reads it again.
#[test]
fn rot_that_could_not_be_mended_at_once_is_not_forgotten() {
    let (violations, panics) = simulate(async {
        let stage = Stage::set(StorageClass::Standard).await;
        stage.put_short().await;
        let chunk = stage.chunks()[0];
        let record = stage.cluster.oracle().view().chunk(chunk).expect("it was listed");
        let (rotten, index) = (record.shards[0].node.clone(), record.shards[0].index);
        let node = stage.cluster.nodes().iter().find(|node| *node.id() == rotten).expect("records name nodes");
        assert!(node.flip(ShardId { chunk, index }));
        // One node has room for another copy.
        (1..NODES).for_each(|place| stage.node(place).set_full(true));
        let process = worker(&stage.cluster).await;
        let mut crew = Crew::hired(&process, &SUCCESSOR).await.expect("nobody else wants the lease");
        stage.cluster.want("scrub").await;
        crew.finish("scrub").await;
        crew.finish("repair").await;
        let partly = stage.cluster.oracle().census();
        assert_eq!((partly.short, partly.degraded), (0, 1), "there was no room for a third good copy");
        (1..NODES).for_each(|place| stage.node(place).set_full(false));
        process.objects.nodes.probe_all().await;
        crew.finish("repair").await;
        let census = stage.cluster.oracle().census();
        assert_eq!((census.degraded, census.repairs), (0, 0), "law 8: the rotten copy was forgotten");
        stage.cluster.oracle().violations()
    });
    assert!(violations.is_empty() && panics.is_empty(), "{violations:#?} {panics:#?}");
}

/// Law 5 and law 8: a chunk that is condemned by a commit that was long under way is not forgotten. Meanwhile a reuse was committed,
/// and the collector had found that the chunk is needed.
#[test]
fn a_chunk_that_is_condemned_late_is_put_back() {
    let (violations, panics) = simulate(async {
        let stage = Stage::set(StorageClass::Standard).await;
        stage.put("a", 1, 300).await;
        let chunk = stage.chunks()[0];
        drop(stage.client.delete("a", DeleteMode::Purge).await);
        let process = worker(&stage.cluster).await;
        let mut crew = Crew::hired(&process, &SUCCESSOR).await.expect("nobody else wants the lease");
        let view = stage.cluster.oracle().view();
        while !view.scan(&keys::garbages()).is_empty() {
            crew.step("collect").await.expect("nothing fails yet");
        }
        stage.cluster.world().set_rates(Rates { commit_lands_late: 1_000, ..Rates::default() });
        crew.step("collect").await.expect_err("the commit that condemns is under way");
        stage.cluster.world().set_rates(Rates::default());
        stage.put("b", 1, 300).await;
        let state = || view.chunk(chunk).map(|record| record.state);
        assert_eq!(state(), Some(ChunkState::Live), "the reuse came first");
        crew.step("collect").await.expect("nothing fails any more");
        sleep(REST).await;
        crew.finish("collect").await;
        assert_eq!(state(), Some(ChunkState::Live), "law 5: it is needed");
        stage.cluster.oracle().census();
        stage.cluster.oracle().violations()
    });
    assert!(violations.is_empty() && panics.is_empty(), "{violations:#?} {panics:#?}");
}

/// The runner that is shipped, in two processes: one works, and gives the lease back when it stops; the other goes on at once.
#[test]
fn a_runner_that_stops_hands_the_work_over() {
    let settings = WorkerSettings {
        process: "one".to_owned(),
        trash_window: Duration::ZERO,
        orphan_grace: Duration::ZERO,
        upload_expires: Duration::from_secs(5),
        node_lost_after: Duration::from_secs(60),
        scrub_interval: Duration::from_secs(30),
        census_interval: Duration::from_secs(30),
        scrub_bytes_per_s: 0,
        repair_bytes_per_s: 0,
        tiering: Tiering::DEFAULT,
    };
    let (violations, panics) = simulate(async {
        let stage = Stage::set(StorageClass::Standard).await;
        stage.put("a", 1, 300).await;
        stage.lose_disk();
        let (one, other) = (worker(&stage.cluster).await, worker(&stage.cluster).await);
        let first = Running::start(&one.objects, &settings);
        sleep(Duration::from_secs(1)).await;
        let second = Running::start(&other.objects, &settings);
        come_to_rest(&stage.cluster).await;
        assert!(first.workers.has_lease() && !second.workers.has_lease(), "law 9: one at a time");
        first.stop().await;
        drop(stage.client.delete("a", DeleteMode::Purge).await);
        sleep(Duration::from_secs(5)).await;
        assert!(second.workers.has_lease(), "nobody waits for the heartbeat of one that said it ends");
        come_to_rest(&stage.cluster).await;
        assert!(stage.chunks().is_empty(), "what was purged is collected");
        second.stop().await;
        stage.cluster.oracle().violations()
    });
    assert!(violations.is_empty() && panics.is_empty(), "{violations:#?} {panics:#?}");
}
