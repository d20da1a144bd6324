//! Lifecycle rules, done by the worker as its clock goes on: what is due goes, what is not, or is locked, or was put since, stays; what
//! is to be stored otherwise is put up for that, once.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it says")]

use bytes::Bytes;
use coordinator::code::Code;
use coordinator::metadata::records::{
    BucketRecord, LifecycleRule, NoncurrentTransition, Record, RuleFilter, StorageClass, Transition, TransitionRecord,
    Versioning, WorkerRecord,
};
use coordinator::metadata::{Batch, keys};
use coordinator::object::{
    Attributes, BucketName, Condition, ListVersionsRequest, MissingBucket, NewBucket, NewUpload, ObjectName, PutTarget,
    whole_body,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use testing::sim::cluster::{Cluster, Coordinator, Plants};
use testing::sim::runtime::simulate;
use testing::sim::workers::{Crew, Habits};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// As long as what rules move must be, where they do not say.
const LARGE_BYTES: usize = 128 << 10;
const IA: StorageClass = StorageClass::StandardIa;

struct Scene {
    cluster: Arc<Cluster>,
    client: Coordinator,
    process: Coordinator,
    crew: Crew,
}

fn bucket() -> BucketName {
    BucketName::parse("bucket-a").unwrap()
}

fn name(key: &str) -> ObjectName {
    ObjectName::new(bucket(), key).unwrap()
}

fn rule(prefix: &str) -> LifecycleRule {
    let filter = RuleFilter { prefix: prefix.to_owned(), ..RuleFilter::default() };
    LifecycleRule { enabled: true, filter, ..LifecycleRule::default() }
}

impl Scene {
    async fn set(new: NewBucket, rules: Vec<LifecycleRule>) -> Scene {
        let cluster = Cluster::new(9, 4, Plants::default());
        let (client, process) = (cluster.coordinator().await, cluster.coordinator().await);
        client.objects.create_bucket(&bucket(), new).await.unwrap();
        let ordered = |record: &mut BucketRecord| {
            record.lifecycle.clone_from(&rules);
            Ok(())
        };
        client.objects.change_bucket(&bucket(), ordered).await.unwrap();
        let crew = Crew::hired(&process, &Habits::EAGER).await.unwrap();
        Scene { cluster, client, process, crew }
    }

    async fn put(&self, key: &str, attributes: Attributes) {
        self.put_bytes(key, Bytes::from_static(b"some bytes"), attributes).await;
    }

    async fn put_large(&self, key: &str, attributes: Attributes) {
        self.put_bytes(key, Bytes::from_static(&[7; LARGE_BYTES]), attributes).await;
    }

    async fn put_bytes(&self, key: &str, bytes: Bytes, attributes: Attributes) {
        let target = PutTarget {
            name: name(key),
            content_type: String::new(),
            metadata: BTreeMap::new(),
            condition: Condition::None,
            md5: None,
            attributes,
            missing_bucket: MissingBucket::Refuse,
        };
        let body = whole_body(bytes, target).await;
        self.client.objects.put(Code::REPLICATION, body).await.unwrap();
    }

    /// What is there when the worker has done what is due so many days later: keys and numbers, and `!` for a marker.
    async fn after_days(&mut self, days: i64) -> Vec<String> {
        for process in [&self.client, &self.process] {
            process.clock.jump(days * DAY_MS);
        }
        self.crew.finish("lifecycle").await;
        assert_eq!(self.cluster.oracle().violations(), Vec::<String>::new());
        let request = ListVersionsRequest {
            bucket: bucket(),
            prefix: String::new(),
            delimiter: None,
            after_key: None,
            after_version: None,
            limit: 1_000,
        };
        let page = self.client.objects.list_versions(&request).await.unwrap();
        let shown = page.entries.into_iter();
        shown.map(|entry| format!("{} {}{}", entry.key, entry.number, if entry.is_marker { "!" } else { "" })).collect()
    }

    /// What is put up to be stored otherwise, in the order of its keys: key and number, the class and why.
    fn orders(&self) -> Vec<(String, TransitionRecord)> {
        let entries = self.cluster.oracle().view().scan(&keys::transitions());
        let mut orders: Vec<(String, TransitionRecord)> = entries
            .into_iter()
            .map(|(_, entry)| TransitionRecord::decode(&entry.value).unwrap())
            .map(|order| (format!("{} {} {}", order.key, order.number, order.reason), order))
            .collect();
        orders.sort_by(|one, other| one.0.cmp(&other.0));
        orders
    }

    fn told_orders(&self) -> Vec<String> {
        self.orders().into_iter().map(|(told, _)| told).collect()
    }

    /// How many of them the last pass made.
    async fn ordered(&self) -> u64 {
        let entry = self.client.objects.metadata.get(&keys::worker("lifecycle")).await.unwrap().unwrap();
        WorkerRecord::decode(&entry.value).unwrap().counts.get("transitions_ordered").copied().unwrap_or(0)
    }

    fn uploads(&self) -> usize {
        self.cluster.oracle().view().scan(&keys::every_upload()).len()
    }
}

fn run(test: impl Future<Output = ()>) {
    let ((), panics) = simulate(test);
    assert_eq!(panics, Vec::<String>::new());
}

#[test]
fn objects_versions_markers_and_uploads_go_when_they_are_due() {
    run(async {
        let rules = vec![
            LifecycleRule { expire_days: Some(10), noncurrent_days: Some(3), expire_markers: true, ..rule("log/") },
            LifecycleRule {
                noncurrent_days: Some(3),
                noncurrent_kept: Some(1),
                abort_uploads_days: Some(2),
                ..rule("")
            },
        ];
        let new = NewBucket { versioning: Versioning::Enabled, ..NewBucket::default() };
        let mut scene = Scene::set(new, rules).await;
        for key in ["keep", "keep", "keep", "keep", "log/a", "other"] {
            scene.put(key, Attributes::default()).await;
        }
        let upload = NewUpload {
            name: name("open"),
            content_type: String::new(),
            metadata: BTreeMap::new(),
            attributes: Attributes::default(),
            checksum: None,
            missing_bucket: MissingBucket::Refuse,
        };
        scene.client.objects.create_upload(upload).await.unwrap();
        let all = ["keep 4", "keep 3", "keep 2", "keep 1", "log/a 1", "other 1"];
        assert_eq!(scene.after_days(1).await, all);
        assert_eq!(scene.uploads(), 1);
        assert_eq!(scene.after_days(4).await, ["keep 4", "keep 3", "log/a 1", "other 1"]);
        assert_eq!(scene.uploads(), 0);
        assert_eq!(scene.after_days(7).await, ["keep 4", "keep 3", "log/a 2!", "log/a 1", "other 1"]);
        assert_eq!(scene.after_days(5).await, ["keep 4", "keep 3", "log/a 2!", "other 1"], "it hid one until now");
        scene.put("log/a", Attributes::default()).await;
        assert_eq!(scene.after_days(1).await, ["keep 4", "keep 3", "log/a 3", "log/a 2!", "other 1"]);
    });
}

#[test]
fn tags_and_sizes_say_which_and_what_is_locked_or_without_a_rule_stays() {
    run(async {
        let tags = BTreeMap::from([("tmp".to_owned(), "yes".to_owned())]);
        let filter = RuleFilter { tags: tags.clone(), larger_than: Some(5), ..RuleFilter::default() };
        let tagged = LifecycleRule { expire_days: Some(1), noncurrent_days: Some(1), filter, ..rule("") };
        let off = LifecycleRule { enabled: false, expire_days: Some(1), ..rule("") };
        let new = NewBucket { object_lock: true, ..NewBucket::default() };
        let mut scene = Scene::set(new, vec![off, tagged]).await;
        let with_tags = Attributes { tags, ..Attributes::default() };
        let held = Attributes { legal_hold: Some(true), ..with_tags.clone() };
        for (key, attributes) in [("held", held), ("plain", Attributes::default()), ("tagged", with_tags)] {
            scene.put(key, attributes).await;
        }
        assert_eq!(scene.after_days(3).await, ["held 2!", "held 1", "plain 1", "tagged 2!", "tagged 1"]);
        assert_eq!(
            scene.after_days(3).await,
            ["held 2!", "held 1", "plain 1", "tagged 2!"],
            "a hold outlasts any rule"
        );
    });
}

#[test]
fn where_no_versions_are_kept_what_is_due_goes_for_good() {
    run(async {
        let rules = vec![
            LifecycleRule { expire_at_ms: Some(1), ..rule("") },
            LifecycleRule { expire_days: Some(2), ..rule("a") },
        ];
        let mut scene = Scene::set(NewBucket::default(), rules).await;
        for number in 0..250 {
            scene.put(&format!("{}{number:03}", if number % 2 == 0 { "a" } else { "b" }), Attributes::default()).await;
        }
        assert_eq!(scene.after_days(1).await.len(), 250);
        let left = scene.after_days(3).await;
        assert_eq!(left.len(), 125);
        assert!(left.iter().all(|line| line.starts_with('b')), "{left:?}");
    });
}

fn moving(id: &str, days: u32, filter: RuleFilter) -> LifecycleRule {
    let transitions = vec![Transition { days: Some(days), at_ms: None, class: IA }];
    LifecycleRule { id: id.to_owned(), transitions, filter, ..rule("") }
}

#[test]
fn versions_are_put_up_for_the_class_that_rules_want_when_they_are_due() {
    run(async {
        let tags = BTreeMap::from([("cold".to_owned(), "yes".to_owned())]);
        let filter = |prefix: &str| rule(prefix).filter;
        let noncurrent_transitions = vec![NoncurrentTransition { days: 3, kept: Some(1), class: IA }];
        let rules = vec![
            LifecycleRule { enabled: false, ..moving("off", 0, filter("")) },
            moving("old", 30, filter("log/")),
            moving("tagged", 10, RuleFilter { tags: tags.clone(), ..filter("t/") }),
            moving("small", 10, RuleFilter { larger_than: Some(5), ..filter("s/") }),
            LifecycleRule { id: "versions".to_owned(), noncurrent_transitions, ..rule("v/") },
        ];
        let new = NewBucket { versioning: Versioning::Enabled, ..NewBucket::default() };
        let mut scene = Scene::set(new, rules).await;
        let (tagged, there) =
            (Attributes { tags, ..Attributes::default() }, Attributes { storage_class: IA, ..Attributes::default() });
        scene.put("log/small", Attributes::default()).await;
        scene.put("s/ten", Attributes::default()).await;
        scene.put_large("log/there", there).await;
        scene.put_large("t/cold", tagged).await;
        for key in ["log/large", "other", "t/plain", "v/k", "v/k", "v/k"] {
            scene.put_large(key, Attributes::default()).await;
        }
        let all = scene.after_days(2).await;
        assert_eq!(scene.told_orders(), Vec::<String>::new());
        let mut expected = vec!["v/k 1 lifecycle rule 'versions': 3 days noncurrent"];
        scene.after_days(3).await;
        assert_eq!(scene.told_orders(), expected);
        assert_eq!(scene.ordered().await, 1);
        scene.after_days(7).await;
        expected.splice(
            0..0,
            ["s/ten 1 lifecycle rule 'small': 10 days old", "t/cold 1 lifecycle rule 'tagged': 10 days old"],
        );
        assert_eq!(scene.told_orders(), expected);
        assert_eq!(scene.ordered().await, 2, "what waits is not put up again");
        scene.after_days(17).await;
        assert_eq!(scene.told_orders(), expected);
        assert_eq!(scene.after_days(3).await, all, "nothing goes");
        expected.insert(0, "log/large 1 lifecycle rule 'old': 30 days old");
        assert_eq!(scene.told_orders(), expected);
        let (_, order) = scene.orders().swap_remove(0);
        assert_eq!((order.bucket.as_str(), order.class, order.size), ("bucket-a", IA, LARGE_BYTES as u64));
    });
}

#[test]
fn what_waits_for_another_class_or_was_given_up_is_put_up_anew() {
    run(async {
        let new = NewBucket { versioning: Versioning::Enabled, ..NewBucket::default() };
        let mut scene = Scene::set(new, vec![moving("r", 1, RuleFilter::default())]).await;
        scene.put_large("k", Attributes::default()).await;
        scene.after_days(3).await;
        let first = scene.orders();
        assert_eq!(first.len(), 1);
        scene.after_days(1).await;
        assert_eq!(scene.orders(), first, "once");
        let key = scene.cluster.oracle().view().scan(&keys::transitions()).remove(0).0;
        let other = TransitionRecord { class: StorageClass::Standard, ..first[0].1.clone() };
        let mut commit = Batch::new();
        commit.put(key.clone(), other.encode());
        scene.client.objects.metadata.commit(commit).await.unwrap();
        scene.after_days(1).await;
        assert_eq!(scene.orders()[0].1.class, IA);
        let mut commit = Batch::new();
        commit.delete(key);
        scene.client.objects.metadata.commit(commit).await.unwrap();
        scene.after_days(1).await;
        assert_eq!(scene.told_orders(), [first[0].0.as_str()]);
    });
}

#[test]
fn what_goes_for_good_is_not_moved_and_what_a_marker_hides_is() {
    for (versioning, left, orders) in [
        (Versioning::Off, vec![], vec![]),
        (Versioning::Enabled, vec!["k 2!", "k 1"], vec!["k 1 lifecycle rule 'moves': 1 day old"]),
    ] {
        run(async {
            let rules = vec![
                LifecycleRule { expire_days: Some(2), ..rule("") },
                LifecycleRule { noncurrent_days: Some(9), ..moving("moves", 1, RuleFilter::default()) },
            ];
            let mut scene = Scene::set(NewBucket { versioning, ..NewBucket::default() }, rules).await;
            scene.put_large("k", Attributes::default()).await;
            assert_eq!(scene.after_days(4).await, left);
            assert_eq!(scene.told_orders(), orders);
        });
    }
}
