//! Lifecycle rules, done by the worker as its clock goes on: what is due goes, what is not, or is locked, or was put since, stays.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it says")]

use bytes::Bytes;
use coordinator::code::Code;
use coordinator::metadata::keys;
use coordinator::metadata::records::{BucketRecord, LifecycleRule, RuleFilter, Versioning};
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
        let target = PutTarget {
            name: name(key),
            content_type: String::new(),
            metadata: BTreeMap::new(),
            condition: Condition::None,
            md5: None,
            attributes,
            missing_bucket: MissingBucket::Refuse,
        };
        let body = whole_body(Bytes::from_static(b"some bytes"), target).await;
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
        let held = Attributes { legal_hold: true, ..with_tags.clone() };
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
