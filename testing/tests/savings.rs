//! What buckets hold, what that takes and what is saved of it, as the worker counts it: every figure is what is worked out by hand, or from
//! the records by another way.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it says")]

use bytes::Bytes;
use coordinator::code::Code;
use coordinator::metadata::records::{Record, SavingsRecord, StorageClass, Versioning, WorkerRecord};
use coordinator::metadata::{Batch, keys};
use coordinator::object::{
    Attributes, BucketName, Condition, DeleteMode, DeleteRequest, Document, JSON, MissingBucket, NewBucket, ObjectName,
    PutTarget, SourceVersion, Strategy, Version, VersionSelector, whole_body,
};
use coordinator::worker::{Progress, savings};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use testing::sim::body::{BLOCK_BYTES, TestBody};
use testing::sim::check::View;
use testing::sim::cluster::{Cluster, Coordinator, Plants};
use testing::sim::failing::{Run, fail_every_call};
use testing::sim::rng::Rng;
use testing::sim::runtime::simulate;
use testing::sim::workers::{Crew, Habits};
use tokio::time::sleep;

/// As many as 4+2 needs.
const NODES: usize = 6;
const PLANTS: Plants = Plants { bug: None, code: Code::REPLICATION, ec: Some(Code { data: 4, parity: 2 }) };
/// The last copies are there, and on record, by then.
const REST: Duration = Duration::from_secs(40);
/// After it a step of the worker saves where it is.
const SAVES_AFTER: Duration = Duration::from_secs(6);

/// Bytes that nothing makes shorter.
fn noise(tag: u64, length: usize) -> Bytes {
    let mut rng = Rng::new(tag, 1);
    (0..length).map(|_| rng.next_u64() as u8).collect()
}

fn name(bucket: &str, key: &str) -> ObjectName {
    ObjectName::new(BucketName::parse(bucket).unwrap(), key).unwrap()
}

fn target(bucket: &str, key: &str, class: StorageClass) -> PutTarget {
    PutTarget {
        name: name(bucket, key),
        content_type: String::new(),
        metadata: BTreeMap::new(),
        condition: Condition::None,
        md5: None,
        attributes: Attributes { storage_class: class, ..Attributes::default() },
        missing_bucket: MissingBucket::Refuse,
    }
}

struct Scene {
    cluster: Arc<Cluster>,
    client: Coordinator,
}

impl Scene {
    /// Two buckets, `bucket-a` with versions.
    async fn set() -> Scene {
        let cluster = Cluster::new(5, NODES, PLANTS);
        let client = cluster.coordinator().await;
        for (bucket, versioning) in [("bucket-a", Versioning::Enabled), ("bucket-b", Versioning::Off)] {
            let new = NewBucket { versioning, ..NewBucket::default() };
            client.objects.create_bucket(&BucketName::parse(bucket).unwrap(), new).await.unwrap();
        }
        Scene { cluster, client }
    }

    fn view(&self) -> &View {
        self.cluster.oracle().view()
    }

    async fn put_as(&self, class: StorageClass, bucket: &str, key: &str, data: &Bytes) {
        let code = self.client.objects.code_of(class).unwrap();
        let body = whole_body(data.clone(), target(bucket, key, class)).await;
        self.client.objects.put(code, body).await.unwrap();
    }

    async fn put(&self, bucket: &str, key: &str, data: &Bytes) {
        self.put_as(StorageClass::Standard, bucket, key, data).await;
    }

    async fn remove(&self, bucket: &str, key: &str, number: u64) {
        let name = name(bucket, key);
        let Version::Found(version) =
            self.client.objects.resolve(&name, VersionSelector::Number(number)).await.unwrap()
        else {
            panic!("{name} has no version {number}");
        };
        self.client.objects.remove_version(&name, version.id).await.unwrap();
    }

    async fn delete(&self, bucket: &str, key: &str, mode: DeleteMode) {
        let request = DeleteRequest { mode, condition: Condition::None, owner: String::new() };
        self.client.objects.delete_as(&name(bucket, key), &request).await.unwrap();
    }

    async fn crew(&self) -> (Coordinator, Crew) {
        let process = self.cluster.coordinator().await;
        let crew = Crew::hired(&process, &Habits::EAGER).await.unwrap();
        (process, crew)
    }

    /// A whole pass by `crew`.
    async fn count(&self, crew: &mut Crew) {
        self.cluster.want("savings").await;
        crew.finish("savings").await;
    }

    /// Of a bucket; without its times.
    async fn of(&self, bucket: &str) -> Option<SavingsRecord> {
        let found = savings::of_bucket(&self.client.objects, &BucketName::parse(bucket).unwrap()).await.unwrap();
        found.map(without_times)
    }

    async fn of_all(&self) -> SavingsRecord {
        let all = savings::of_all(&self.client.objects).await.unwrap().unwrap();
        assert!(0 < all.began_ms && all.began_ms <= all.ended_ms, "{all:?}");
        without_times(all)
    }

    /// The same of all versions with these names and numbers, from the records: each chunk there is counts once.
    fn worked_out(&self, versions: impl Iterator<Item = (String, u64)>) -> SavingsRecord {
        let (mut figures, mut met) = (SavingsRecord::default(), BTreeSet::new());
        for (name, number) in versions {
            let version = self.view().version(&name, number).unwrap();
            figures.versions += 1;
            figures.logical_bytes += version.size;
            for entry in self.view().entries(&version).unwrap() {
                let chunk = self.view().chunk(entry.chunk).unwrap();
                if met.insert(entry.chunk) {
                    figures.unique_bytes += u64::from(chunk.length);
                    figures.stored_bytes += u64::from(chunk.stored_length);
                    figures.node_bytes += u64::from(chunk.stored_length) * 3;
                }
            }
        }
        figures
    }
}

fn without_times(record: SavingsRecord) -> SavingsRecord {
    SavingsRecord { began_ms: 0, ended_ms: 0, ..record }
}

fn in_scene<F: Future<Output = Scene>>(play: impl FnOnce(Scene) -> F) {
    let (scene, panics) = simulate(async { play(Scene::set().await).await });
    assert_eq!(panics, Vec::<String>::new());
    assert_eq!(scene.cluster.oracle().violations(), Vec::<String>::new());
}

/// What is in copies, incompressible and there once.
fn plain(versions: u64, logical_bytes: u64, unique_bytes: u64) -> SavingsRecord {
    SavingsRecord {
        versions,
        logical_bytes,
        unique_bytes,
        stored_bytes: unique_bytes,
        node_bytes: 3 * unique_bytes,
        ..SavingsRecord::default()
    }
}

#[test]
fn dedup_compression_and_coding_are_told_apart_and_buckets_add_up() {
    in_scene(async |scene| {
        let (shared, text) = (noise(1, 2_000), Bytes::from("as good as nothing ".repeat(200)));
        scene.put("bucket-a", "x", &shared).await;
        scene.put("bucket-a", "x", &shared).await;
        scene.put("bucket-a", "text", &text).await;
        scene.put("bucket-b", "z", &shared).await;
        scene.put_as(StorageClass::StandardIa, "bucket-b", "coded", &noise(2, 1_001)).await;
        // The same bytes under another code are another chunk.
        scene.put_as(StorageClass::StandardIa, "bucket-b", "coded too", &shared).await;
        scene.delete("bucket-a", "text", DeleteMode::Mark).await;
        sleep(REST).await;
        let (_process, mut crew) = scene.crew().await;
        scene.count(&mut crew).await;

        let a = scene.of("bucket-a").await.unwrap();
        let packed = scene.view().entries(&scene.view().version("bucket-a/text", 1).unwrap()).unwrap()[0].chunk;
        let packed = u64::from(scene.view().chunk(packed).unwrap().stored_length);
        assert!(packed < 200, "{packed}");
        let stored_bytes = 2_000 + packed;
        let expected =
            SavingsRecord { stored_bytes, node_bytes: 3 * stored_bytes, ..plain(3, 2 * 2_000 + 3_800, 2_000 + 3_800) };
        assert_eq!(a, expected);
        assert_eq!((a.saved_by_dedup_bytes(), a.saved_by_compression_bytes()), (2_000, 3_800 - packed));
        assert_eq!(a.saved_by_coding_bytes(), 0);

        // Six shards of 252 bytes, a quarter of 1,001 up to an even number, and six of 500.
        let b = scene.of("bucket-b").await.unwrap();
        let coded_bytes = 6 * 252 + 6 * 500;
        let coded_as_copies_bytes = 3 * 3_001;
        let expected = SavingsRecord {
            node_bytes: coded_bytes,
            coded_bytes,
            coded_as_copies_bytes,
            ..plain(3, 2_000 + 3_001, 3_001)
        };
        assert_eq!(b, expected, "what it shares with the other bucket counts there");
        assert_eq!((b.saved_by_dedup_bytes(), b.saved_by_coding_bytes()), (2_000, 9_003 - 4_512));

        let all = scene.of_all().await;
        let expected = SavingsRecord {
            versions: 6,
            logical_bytes: a.logical_bytes + b.logical_bytes,
            unique_bytes: a.unique_bytes + b.unique_bytes,
            stored_bytes: a.stored_bytes + b.stored_bytes,
            node_bytes: a.node_bytes + b.node_bytes,
            ..b
        };
        assert_eq!(all, expected);
        assert_eq!(scene.of("files").await, Some(SavingsRecord::default()), "there is nothing in it");
        scene
    });
}

#[test]
fn what_versions_shared_counts_for_the_next_one_when_the_oldest_is_gone() {
    in_scene(async |scene| {
        let (shared, kept) = (noise(1, 2_000), noise(2, 700));
        scene.put("bucket-a", "x", &shared).await;
        scene.put("bucket-a", "x", &shared).await;
        scene.put("bucket-a", "y", &kept).await;
        scene.put("bucket-b", "z", &shared).await;
        scene.put("bucket-b", "y", &kept).await;
        sleep(REST).await;
        let (_process, mut crew) = scene.crew().await;
        scene.count(&mut crew).await;
        assert_eq!(scene.of("bucket-a").await, Some(plain(3, 4_700, 2_700)));
        assert_eq!(scene.of("bucket-b").await, Some(plain(2, 2_700, 0)));

        // Removed, and its bytes still wait for the trash window to pass.
        scene.remove("bucket-a", "x", 1).await;
        scene.count(&mut crew).await;
        assert_eq!(scene.of("bucket-a").await, Some(plain(2, 2_700, 2_700)), "the newer version has it now");
        scene.remove("bucket-a", "x", 2).await;
        scene.count(&mut crew).await;
        assert_eq!(scene.of("bucket-a").await, Some(plain(1, 700, 700)));
        assert_eq!(scene.of("bucket-b").await, Some(plain(2, 2_700, 2_000)), "the other bucket has it now");

        // No record says of a purged version that it is garbage, until the collector comes to it.
        scene.delete("bucket-a", "y", DeleteMode::Purge).await;
        scene.count(&mut crew).await;
        assert_eq!(scene.of("bucket-a").await, Some(SavingsRecord::default()));
        assert_eq!(scene.of("bucket-b").await, Some(plain(2, 2_700, 2_000)), "the rest counts for nobody");
        crew.finish("collect").await;
        scene.count(&mut crew).await;
        assert_eq!(scene.of("bucket-b").await, Some(plain(2, 2_700, 2_700)));
        assert_eq!(scene.of_all().await, plain(2, 2_700, 2_700));
        scene
    });
}

/// Each change names the cold chunks once more, and what it replaces is garbage that still refers to them.
#[test]
fn the_cold_part_of_a_document_counts_for_the_version_that_is_there() {
    in_scene(async |scene| {
        let objects = &scene.client.objects;
        let note = "a note that stays ".repeat(60);
        let text = |n: u32| format!(r#"{{"view_count":{n},"note":"{note}"}}"#);
        let mut target = target("papers", "user:1", StorageClass::Standard);
        target.content_type = JSON.to_owned();
        target.missing_bucket = MissingBucket::Make(Versioning::Off);
        for n in 10..15 {
            let document = Document::parse(Strategy::FieldHybrid, text(n).as_bytes()).unwrap();
            let done = objects.put_document(&document, &target).await.unwrap();
            assert_eq!(done.is_pure_hot_update, n > 10);
        }
        sleep(REST).await;
        let (_process, mut crew) = scene.crew().await;
        scene.count(&mut crew).await;
        let told = scene.of("papers").await.unwrap();
        assert_eq!((told.versions, told.logical_bytes), (1, text(10).len() as u64));
        assert_eq!(told.unique_bytes, told.logical_bytes, "nothing of it counts for garbage");
        assert!(told.coded_bytes > 0 && told.node_bytes > told.coded_bytes, "{told:?}");
        scene
    });
}

#[test]
fn the_figures_of_a_bucket_go_with_it() {
    in_scene(async |scene| {
        scene.put("bucket-a", "x", &noise(1, 100)).await;
        sleep(REST).await;
        let (_process, mut crew) = scene.crew().await;
        scene.count(&mut crew).await;
        let names = async |after: &str, limit| {
            let page = savings::list(&scene.client.objects, after, limit).await.unwrap();
            (page.buckets.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), page.more)
        };
        let all: Vec<String> = ["bucket-a", "bucket-b", "documents", "files"].map(str::to_owned).into();
        assert_eq!(names("", 10).await, (all.clone(), false));
        assert_eq!(names("", 2).await, (all[..2].to_vec(), true));
        assert_eq!(names("bucket-b", 2).await, (all[2..].to_vec(), false));
        scene.delete("bucket-a", "x", DeleteMode::Purge).await;
        for bucket in ["bucket-a", "bucket-b"] {
            scene.client.objects.delete_bucket(&BucketName::parse(bucket).unwrap()).await.unwrap();
        }
        scene.count(&mut crew).await;
        assert_eq!(names("", 10).await, (all[2..].to_vec(), false));
        assert_eq!(scene.of_all().await, SavingsRecord::default());
        scene
    });
}

/// A chunk that comes again and again in one version is there once; a version of many chunks is counted in several steps.
#[test]
fn a_pass_goes_on_where_the_process_before_it_ended_within_a_version_and_between_two() {
    in_scene(async |scene| {
        // Forty chunks or so; most of them are alike by pairs.
        let half = TestBody::new(7, 20 * BLOCK_BYTES).data;
        scene.put("bucket-a", "large", &[half.clone(), half].concat().into()).await;
        let name = name("bucket-a", "large");
        let found = scene.client.objects.resolve(&name, VersionSelector::Latest).await.unwrap();
        let Version::Found(source) = found else { panic!("it was put") };
        for copy in 0..9 {
            let target = target("bucket-a", &format!("copy{copy}"), StorageClass::Standard);
            scene.client.objects.copy(SourceVersion { name: &name, version: &source }, target, None).await.unwrap();
        }
        for n in 0..100 {
            scene.put("bucket-b", &format!("small{n:03}"), &noise(n, 200 + n as usize)).await;
        }
        sleep(REST).await;
        let names = |bucket: &str, names: Vec<String>| {
            names.into_iter().map(move |name| (format!("{bucket}/{name}"), 1)).collect::<Vec<_>>()
        };
        let mut in_a = names("bucket-a", (0..9).map(|copy| format!("copy{copy}")).collect());
        in_a.push(("bucket-a/large".to_owned(), 1));
        let in_b = names("bucket-b", (0..100).map(|n| format!("small{n:03}")).collect());
        let occurrences = in_a.iter().chain(&in_b).map(|(name, number)| {
            let version = scene.view().version(name, *number).unwrap();
            scene.view().entries(&version).unwrap().len() as u64
        });
        let occurrences: u64 = occurrences.sum();
        assert!(occurrences > 256 + 100, "more than fits one step: {occurrences}");

        // Each process takes two steps in buckets, and dies.
        let (mut looked_at, mut processes, mut places) = (0, 0, BTreeSet::new());
        while scene.view().get(&keys::savings_of_all()).is_none() {
            let (process, mut crew) = scene.crew().await;
            processes += 1;
            assert!(processes < 40, "it comes to an end");
            for _ in 0..4 {
                sleep(SAVES_AFTER).await;
                if let Progress::Did { items, .. } = crew.step("savings").await.unwrap() {
                    looked_at += items;
                }
                let record: WorkerRecord = scene.view().record(&keys::worker("savings")).unwrap();
                places.insert(record.position);
            }
            process.crash();
        }
        let is_within = |place: &&Vec<u8>| {
            // Behind the bucket stand the offset and the key of a version.
            let rest = place.split(|byte| *byte == 0).next().map_or(0, <[u8]>::len) + 1;
            place.get(rest..rest + 8).is_some_and(|offset| offset != [0; 8])
        };
        assert!(processes > 2 && places.iter().filter(is_within).count() > 0, "{processes} processes, {places:?}");
        assert_eq!(looked_at, occurrences, "no chunk was looked at twice");
        let a = scene.worked_out(in_a.into_iter());
        assert!(a.saved_by_dedup_bytes() > a.logical_bytes / 20 * 18, "{a:?}");
        let b = scene.worked_out(in_b.into_iter());
        assert_eq!((scene.of("bucket-a").await, scene.of("bucket-b").await), (Some(a), Some(b)));
        scene
    });
}

/// Law 8: whichever call of a pass fails, and however, the figures are right in the end.
#[test]
fn a_pass_survives_the_failure_of_each_of_its_calls() {
    fail_every_call("savings", |plan| {
        let ((targets, violations), panics) = simulate(async {
            let scene = Scene::set().await;
            let shared = noise(1, 500);
            for (bucket, key) in [("bucket-a", "x"), ("bucket-a", "y"), ("bucket-b", "x")] {
                scene.put(bucket, key, &shared).await;
            }
            scene.put_as(StorageClass::StandardIa, "bucket-b", "y", &noise(2, 1_001)).await;
            scene.remove("bucket-a", "x", 1).await;
            let mut commit = Batch::new();
            commit.put(keys::savings("bucket-gone"), plain(1, 1, 1).encode());
            scene.cluster.operate(commit).await;
            sleep(REST).await;
            let (process, mut crew) = scene.crew().await;
            process.calls.arm(plan);
            tokio::select! {
                biased;
                () = crew.finish("savings") => {}
                () = process.calls.died() => {}
            }
            let targets = process.calls.disarm();
            process.crash();
            let (_successor, mut crew) = scene.crew().await;
            crew.finish("savings").await;
            let b = SavingsRecord {
                node_bytes: 6 * 252,
                coded_bytes: 6 * 252,
                coded_as_copies_bytes: 3_003,
                ..plain(2, 1_501, 1_001)
            };
            let all = SavingsRecord {
                versions: 3,
                logical_bytes: 2_001,
                unique_bytes: 1_501,
                stored_bytes: 1_501,
                node_bytes: 1_500 + 6 * 252,
                ..b
            };
            let mut violations = scene.cluster.oracle().violations();
            let told = (scene.of("bucket-a").await, scene.of("bucket-b").await, scene.of_all().await);
            if told != (Some(plain(1, 500, 500)), Some(b), all) {
                violations.push(format!("{told:?}"));
            }
            if scene.of("bucket-gone").await.is_some() {
                violations.push("a bucket that is gone has figures".to_owned());
            }
            (targets, violations)
        });
        Run { targets, violations: [violations, panics].concat(), succeeded: true }
    });
}
