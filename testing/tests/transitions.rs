//! Versions that are stored as another class while they stay what they are, in the simulated cluster with its clock: by order, and by
//! themselves, as their size, their age and their readers say.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it says")]

use bytes::Bytes;
use coordinator::code::Code;
use coordinator::metadata::keys;
use coordinator::metadata::records::{ChunkEntry, StorageClass, Strategy, VersionRecord, Versioning};
use coordinator::object::{
    Attributes, BodyMessage, BucketName, CompleteRequest, Condition, DeleteMode, DeleteRequest, ListRequest,
    MissingBucket, NewUpload, ObjectName, ObjectReader, Objects, PartClaim, PutTarget, SourceVersion, Version,
    VersionSelector, body_channel,
};
use coordinator::worker::Tiering;
use futures_util::future::join;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use testing::sim::body::BLOCK_BYTES;
use testing::sim::cluster::{Cluster, Coordinator, Plants};
use testing::sim::runtime::simulate;
use testing::sim::workers::{Crew, Habits};
use tokio::time::sleep;

const NODES: usize = 6;
const EC: Code = Code { data: 4, parity: 2 };
const PLANTS: Plants = Plants { bug: None, code: Code::REPLICATION, ec: Some(EC) };
const DAY: Duration = Duration::from_secs(86_400);

/// What is due is done at once, and versions are looked at whenever there is nothing else to do.
const HABITS: Habits = Habits { tiering: Tiering { interval: Duration::ZERO, ..Tiering::DEFAULT }, ..Habits::EAGER };

struct Scene {
    cluster: Arc<Cluster>,
    process: Arc<Coordinator>,
    crew: Crew,
}

impl Scene {
    async fn set(habits: &Habits) -> Scene {
        let cluster = Cluster::new(11, NODES, PLANTS);
        let process = Arc::new(cluster.coordinator().await);
        let crew = Crew::hired(&process, habits).await.unwrap();
        Scene { cluster, process, crew }
    }

    fn objects(&self) -> &Objects {
        &self.process.objects
    }

    async fn put(&self, key: &str, bytes: usize, strategy: Strategy) -> Box<VersionRecord> {
        let stored = self.objects().storage_of(&BucketName::files(), Some(strategy), Some(bytes as u64)).await.unwrap();
        let mut attributes = Attributes::default();
        stored.describe(&mut attributes);
        let target = PutTarget {
            name: name(key),
            content_type: "text/plain".to_owned(),
            metadata: BTreeMap::new(),
            condition: Condition::None,
            md5: None,
            attributes,
            missing_bucket: MissingBucket::Make(Versioning::Enabled),
        };
        let (sender, body) = body_channel();
        let data = Bytes::from((0..bytes).map(|n| (n.wrapping_mul(2_654_435_761) >> 7) as u8).collect::<Vec<u8>>());
        let feed = async {
            for piece in data.chunks(BLOCK_BYTES) {
                sender.send(BodyMessage::Piece(data.slice_ref(piece))).await.unwrap();
            }
            sender.send(BodyMessage::End(Box::new(target))).await.unwrap();
        };
        join(feed, self.objects().put_with_md5(stored.code, body)).await.1.unwrap();
        self.newest(key).await.unwrap()
    }

    async fn newest(&self, key: &str) -> Option<Box<VersionRecord>> {
        match self.objects().resolve(&name(key), VersionSelector::Latest).await.unwrap() {
            Version::Found(version) => Some(version),
            Version::NoObject | Version::NoVersion => None,
        }
    }

    async fn read(&self, key: &str, version: &VersionRecord) -> Vec<u8> {
        let mut reader = self.objects().open(&name(key), version, 0..version.size).await.unwrap();
        rest_of(&mut reader).await
    }

    /// A version of the same bytes, in parts of so many.
    async fn make_of_parts(&self, into: &ObjectName, source: SourceVersion<'_>, part_bytes: u64) -> Box<VersionRecord> {
        let upload = NewUpload {
            name: into.clone(),
            content_type: "text/plain".to_owned(),
            metadata: BTreeMap::new(),
            attributes: Attributes::default(),
            checksum: None,
            missing_bucket: MissingBucket::Make(Versioning::Enabled),
        };
        let upload = self.objects().create_upload(upload).await.unwrap();
        let (mut parts, size) = (Vec::new(), source.version.size);
        for start in (0..size).step_by(part_bytes as usize) {
            let (number, range) = (parts.len() as u16 + 1, start..size.min(start + part_bytes));
            let part = self.objects().copy_part(into, upload, number, source, range).await.unwrap();
            parts.push(PartClaim { number, etag: hex::encode(part.md5), checksum: None });
        }
        let request = CompleteRequest {
            name: into.clone(),
            upload,
            parts,
            condition: Condition::None,
            checksum: None,
            size: None,
            part_bytes_min: 1,
        };
        self.objects().complete_upload(&request).await.unwrap();
        self.newest(into.key()).await.unwrap()
    }

    async fn order(&self, version: &VersionRecord, key: &str, class: StorageClass) -> bool {
        self.objects().order_transition(&name(key), version, class, "a test".to_owned()).await.unwrap()
    }

    /// The codes of a version's chunks.
    fn codes(&self, version: &VersionRecord) -> Vec<Code> {
        let view = self.cluster.oracle().view();
        let entries: Vec<ChunkEntry> = view.entries(version).unwrap();
        let mut codes: Vec<Code> = entries.iter().map(|entry| view.chunk(entry.chunk).unwrap().code).collect();
        codes.dedup();
        codes
    }

    /// Everything that was freed is gone.
    async fn collect(&mut self) {
        for worker in ["expire", "collect"] {
            self.crew.finish(worker).await;
        }
        let census = self.cluster.oracle().census();
        assert!(census.is_clean(), "{census:?}");
    }

    fn end(&self) {
        let violations = self.cluster.oracle().violations();
        assert!(violations.is_empty(), "{violations:#?}");
    }
}

async fn rest_of(reader: &mut ObjectReader) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await {
        bytes.extend_from_slice(&piece.unwrap());
    }
    bytes
}

fn name(key: &str) -> ObjectName {
    ObjectName::new(BucketName::files(), key).unwrap()
}

fn play<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let ((), panics) = simulate(async move { test().await });
    assert!(panics.is_empty(), "{panics:#?}");
}

#[test]
fn a_version_stays_what_it_is_when_its_class_changes_and_changes_back() {
    play(|| async {
        let mut scene = Scene::set(&Habits::EAGER).await;
        for (key, bytes) in [("empty", 0), ("small", 5_000), ("large", 4 << 20)] {
            let before = scene.put(key, bytes, Strategy::Replication).await;
            let content = scene.read(key, &before).await;
            for (class, code) in [(StorageClass::StandardIa, EC), (StorageClass::Standard, Code::REPLICATION)] {
                let standing = scene.newest(key).await.unwrap();
                assert!(scene.order(&standing, key, class).await);
                assert!(!scene.order(&standing, key, class).await, "it waits already");
                scene.crew.finish("transition").await;
                let after = scene.newest(key).await.unwrap();
                assert_eq!(after.storage_class, class, "{key}");
                assert!(scene.codes(&after).iter().all(|its| *its == code), "{key}: {:?}", scene.codes(&after));
                assert_ne!(after.manifest, standing.manifest);
                let unmoved = VersionRecord {
                    manifest: before.manifest,
                    chunks: before.chunks.clone(),
                    storage_class: before.storage_class,
                    stored_bytes: before.stored_bytes,
                    ..(*after).clone()
                };
                assert_eq!(unmoved, *before, "id, number, ETag, times and all that was said of it");
                assert_eq!(scene.read(key, &after).await, content);
                // Who was reading it when it was switched over goes on for as long as the trash window is.
                assert_eq!(scene.read(key, &standing).await, content);
                let request = ListRequest { prefix: key.to_owned(), ..listing() };
                let listed = scene.objects().list(&request).await.unwrap().objects;
                assert_eq!(listed[0].storage_class, class, "the listing shows it");
            }
        }
        scene.collect().await;
        let versions = scene.objects().versions(&name("large"), 0, 9).await.unwrap().unwrap();
        assert_eq!(versions.entries.len(), 1, "no version was made");
        for key in ["empty", "small", "large"] {
            let purge = DeleteRequest { mode: DeleteMode::Purge, condition: Condition::None, owner: String::new() };
            scene.objects().delete_as(&name(key), &purge).await.unwrap();
        }
        scene.collect().await;
        assert_eq!(scene.cluster.oracle().census().chunks, 0, "and nothing of it is left when it is deleted");
        scene.end();
    });
}

/// Who looked at a version before it was stored otherwise reads it, though all that it was looked at by is collected.
#[test]
fn what_was_looked_at_before_a_transition_can_be_read_after_it() {
    play(|| async {
        let mut scene = Scene::set(&Habits::EAGER).await;
        let (source, parts) = (name("paged"), name("parts"));
        let paged = scene.put("paged", 4 << 20, Strategy::Replication).await;
        let content = scene.read("paged", &paged).await;
        let made = scene.make_of_parts(&parts, SourceVersion { name: &source, version: &paged }, 1 << 20).await;
        let looked_at = [("paged", paged), ("parts", made)];
        // The collector waits for readers of its own process, and knows of no others.
        let elsewhere = scene.cluster.coordinator().await;
        let mut begun = Vec::new();
        for (key, version) in &looked_at {
            begun.push(elsewhere.objects.open(&name(key), version, 0..version.size).await.unwrap());
            assert!(scene.order(version, key, StorageClass::StandardIa).await);
        }
        scene.crew.finish("transition").await;
        scene.collect().await;
        for ((key, version), mut reader) in looked_at.iter().zip(begun) {
            let now = scene.newest(key).await.unwrap();
            assert_ne!(now.manifest, version.manifest);
            assert!(rest_of(&mut reader).await == content, "{key}");
            assert!(scene.read(key, version).await == content, "{key}");
            let listed = scene.objects().object_parts(&name(key), version, 1, 9).await.unwrap();
            assert_eq!(listed.parts.len(), if version.parts.is_some() { 3 } else { 0 }, "all but the first");
            scene.objects().explain(&name(key), version, 0, 9).await.unwrap();
            let copy = SourceVersion { name: &name(key), version };
            let copied = scene.make_of_parts(&name("copy"), copy, 3 << 20).await;
            assert!(scene.read("copy", &copied).await == content, "{key}");
        }
        scene.end();
    });
}

fn listing() -> ListRequest {
    ListRequest {
        bucket: BucketName::files(),
        prefix: String::new(),
        delimiter: None,
        after: None,
        limit: 9,
        shows_availability: true,
    }
}

#[test]
fn what_went_before_its_turn_is_forgotten_and_what_cannot_be_held_waits() {
    play(|| async {
        let mut scene = Scene::set(&Habits::EAGER).await;
        let gone = scene.put("gone", 5_000, Strategy::Replication).await;
        assert!(scene.order(&gone, "gone", StorageClass::StandardIa).await);
        let purge = DeleteRequest { mode: DeleteMode::Purge, condition: Condition::None, owner: String::new() };
        scene.objects().delete_as(&name("gone"), &purge).await.unwrap();
        let waits = scene.put("waits", 5_000, Strategy::Replication).await;
        assert!(scene.order(&waits, "waits", StorageClass::StandardIa).await);
        let back = scene.put("back", 5_000, Strategy::Ec).await;
        assert!(scene.order(&back, "back", StorageClass::Standard).await);
        for place in 0..2 {
            scene.cluster.nodes()[place].crash();
        }
        scene.objects().nodes.probe_all().await;
        sleep(Duration::from_secs(20)).await;
        scene.objects().nodes.probe_all().await;
        scene.crew.finish("transition").await;
        let queue = scene.objects().transitions(None, 9).await.unwrap();
        assert_eq!(queue.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [waits.id], "it holds up nobody");
        assert_eq!(scene.newest("back").await.unwrap().storage_class, StorageClass::Standard);
        for place in 0..2 {
            scene.cluster.nodes()[place].start();
        }
        sleep(Duration::from_secs(60)).await;
        scene.objects().nodes.probe_all().await;
        scene.crew.finish("transition").await;
        assert_eq!(scene.newest("waits").await.unwrap().storage_class, StorageClass::StandardIa);
        scene.end();
    });
}

#[test]
fn an_order_for_what_it_is_already_takes_the_other_back() {
    play(|| async {
        let scene = Scene::set(&Habits::EAGER).await;
        let version = scene.put("k", 5_000, Strategy::Replication).await;
        assert!(scene.order(&version, "k", StorageClass::StandardIa).await);
        assert!(!scene.order(&version, "k", StorageClass::Standard).await);
        assert_eq!(scene.objects().transitions(None, 9).await.unwrap(), []);
        scene.end();
    });
}

#[test]
fn what_was_stored_as_auto_follows_its_size_its_age_and_its_readers() {
    play(|| async {
        let mut scene = Scene::set(&HABITS).await;
        let large = scene.put("large", 2 << 20, Strategy::Auto).await;
        assert_eq!(large.storage_class, StorageClass::StandardIa, "it is written so");
        let middling = scene.put("middling", 200 << 10, Strategy::Auto).await;
        let tiny = scene.put("tiny", 9_000, Strategy::Auto).await;
        let pinned = scene.put("pinned", 200 << 10, Strategy::Replication).await;
        assert!([&middling, &tiny, &pinned].iter().all(|version| version.storage_class == StorageClass::Standard));
        let classes = async |scene: &mut Scene| {
            let work = scene.crew.work().clone();
            for _ in 0..40 {
                work.want("transition", "a test").await.unwrap();
                scene.crew.step("transition").await.unwrap();
                sleep(Duration::from_secs(31)).await;
            }
            let mut coded = Vec::new();
            for key in ["large", "middling", "tiny", "pinned"] {
                if scene.newest(key).await.unwrap().storage_class == StorageClass::StandardIa {
                    coded.push(key);
                }
            }
            coded
        };
        assert_eq!(classes(&mut scene).await, ["large"]);
        for _ in 0..9 {
            scene.read("large", &large).await;
        }
        assert_eq!(classes(&mut scene).await, [""; 0], "it is read, so copies serve it");
        sleep(4 * DAY).await;
        assert_eq!(classes(&mut scene).await, ["large"], "nobody reads it any more");
        sleep(31 * DAY).await;
        assert_eq!(
            classes(&mut scene).await,
            ["large", "middling"],
            "the tiny one saves nothing, the other was asked for"
        );
        assert!(scene.cluster.oracle().view().scan(&keys::heats()).is_empty(), "what has faded is forgotten");
        let standing = scene.newest("large").await.unwrap();
        assert_eq!((standing.id, standing.etag), (large.id, large.etag));
        scene.crew.finish("expire").await;
        scene.crew.finish("collect").await;
        scene.end();
    });
}
