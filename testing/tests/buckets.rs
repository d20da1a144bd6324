//! Buckets and versions, one promise at a time: locks, conditions, catalogs of before there were bucket records, races for a key, and
//! commits whose answer was lost while others went on.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it says")]

use async_trait::async_trait;
use bytes::Bytes;
use coordinator::metadata::records::{
    BucketRecord, DefaultRetention, ETag, ObjectLock, ObjectRecord, Quota, Record, Retention, RetentionMode,
    VersionRecord, Versioning,
};
use coordinator::metadata::{Batch, Entry, Metadata, keys};
use coordinator::object::{
    Attributes, BucketName, Condition, ContentTag, DeleteMode, DeleteRequest, Deleted, Found, MissingBucket, NewBucket,
    NewUpload, ObjectName, Objects, PutDone, PutTarget, Refused, RemoveRequest, VersionName, VersionSelector, Wanted,
    whole_body,
};
use futures_util::future::join_all;
use protocol::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use testing::sim::cluster::{Cluster, Plants};
use testing::sim::runtime::simulate;

fn bucket() -> BucketName {
    BucketName::parse("bucket").unwrap()
}

fn name(key: &str) -> ObjectName {
    ObjectName::new(bucket(), key).unwrap()
}

fn target(key: &str) -> PutTarget {
    PutTarget {
        name: name(key),
        content_type: "text/plain".to_owned(),
        metadata: BTreeMap::new(),
        condition: Condition::None,
        md5: None,
        attributes: Attributes::default(),
        missing_bucket: MissingBucket::Refuse,
    }
}

fn upload_of(key: &str) -> NewUpload {
    NewUpload {
        name: name(key),
        content_type: "text/plain".to_owned(),
        metadata: BTreeMap::new(),
        attributes: Attributes::default(),
        checksum: None,
        missing_bucket: MissingBucket::Refuse,
    }
}

async fn put(objects: &Objects, target: PutTarget, body: &str) -> Result<PutDone> {
    let code = objects.code_of(target.attributes.storage_class)?;
    objects.put_with_md5(code, whole_body(Bytes::copy_from_slice(body.as_bytes()), target).await).await
}

fn remove(version: VersionName, bypass_governance: bool) -> RemoveRequest {
    RemoveRequest { version, condition: Condition::None, bypass_governance, unless_newest: false }
}

fn run<F: Future<Output = ()>>(test: impl FnOnce(Arc<Cluster>) -> F) {
    let ((), panics) = simulate(async move { test(Cluster::new(3, 4, Plants::default())).await });
    assert!(panics.is_empty(), "{panics:?}");
}

async fn objects_of(cluster: &Cluster, new: NewBucket) -> Objects {
    let objects = cluster.coordinator().await.objects.clone();
    objects.create_bucket(&bucket(), new).await.unwrap();
    objects
}

#[test]
fn a_locked_version_stays_whoever_wants_it_gone() {
    run(|cluster| async move {
        let objects = objects_of(&cluster, NewBucket { object_lock: true, ..NewBucket::default() }).await;
        let until = |mode, hours: u64| Some(Retention { mode, until_ms: objects.clock.now_ms() + hours * 3_600_000 });
        let governed = put(&objects, target("a"), "1").await.unwrap().version_name;
        let retention = until(RetentionMode::Governance, 1);
        objects.set_retention(&name("a"), Some(governed), retention, false).await.unwrap();
        let refused = objects.remove_as(&name("a"), &remove(governed, false)).await.unwrap_err();
        assert_eq!((Refused::of(&refused), refused.kind), (Some(Refused::Locked), ErrorKind::Denied));
        let purged = objects.delete(&name("a"), DeleteMode::Purge).await.unwrap_err();
        assert_eq!(Refused::of(&purged), Some(Refused::Locked));
        let weaker = objects.set_retention(&name("a"), None, None, false).await.unwrap_err();
        assert_eq!(Refused::of(&weaker), Some(Refused::Locked));
        // A marker hides it, and takes nothing away.
        assert_eq!(objects.delete(&name("a"), DeleteMode::Mark).await.unwrap(), Deleted::Done);
        assert!(matches!(objects.find(&name("a"), Some(governed)).await.unwrap(), Found::Version(_)));
        objects.set_legal_hold(&name("a"), Some(governed), true).await.unwrap();
        assert!(objects.remove_as(&name("a"), &remove(governed, true)).await.is_err(), "a hold is not bypassed");
        objects.set_legal_hold(&name("a"), Some(governed), false).await.unwrap();
        assert_eq!(objects.remove_as(&name("a"), &remove(governed, true)).await.unwrap().deleted, Deleted::Done);

        let default = DefaultRetention { mode: RetentionMode::Compliance, days: Some(1), years: None };
        let lock = move |record: &mut coordinator::metadata::records::BucketRecord| {
            record.object_lock = Some(ObjectLock { default: Some(default) });
            Ok(())
        };
        objects.change_bucket(&bucket(), lock).await.unwrap();
        let kept = put(&objects, target("b"), "2").await.unwrap().version_name;
        assert!(objects.remove_as(&name("b"), &remove(kept, true)).await.is_err(), "the bucket's default holds");
        tokio::time::sleep(std::time::Duration::from_secs(25 * 3_600)).await;
        assert_eq!(objects.remove_as(&name("b"), &remove(kept, false)).await.unwrap().deleted, Deleted::Done);
    });
}

#[test]
fn a_bucket_without_object_lock_takes_no_locks() {
    run(|cluster| async move {
        let objects = objects_of(&cluster, NewBucket { versioning: Versioning::Enabled, ..NewBucket::default() }).await;
        let attributes = Attributes { legal_hold: Some(true), ..Attributes::default() };
        let refused = put(&objects, PutTarget { attributes, ..target("a") }, "1").await.unwrap_err();
        assert_eq!(Refused::of(&refused), Some(Refused::NoObjectLock));
        put(&objects, target("a"), "1").await.unwrap();
        let refused = objects.set_legal_hold(&name("a"), None, true).await.unwrap_err();
        assert_eq!(Refused::of(&refused), Some(Refused::NoObjectLock));
    });
}

#[test]
fn a_put_that_is_refused_stores_nothing() {
    run(|cluster| async move {
        let objects = objects_of(&cluster, NewBucket { versioning: Versioning::Enabled, ..NewBucket::default() }).await;
        put(&objects, target("there"), "first").await.unwrap();
        let quota = |record: &mut BucketRecord| {
            record.quota = Some(Quota { bytes: Some(4 << 20), objects: None });
            Ok(())
        };
        objects.change_bucket(&bucket(), quota).await.unwrap();
        let shards = || cluster.nodes().iter().map(|node| node.inventory().len()).sum::<usize>();
        let before = shards();
        let elsewhere = ObjectName::new(BucketName::parse("no-such-bucket").unwrap(), "k").unwrap();
        let held = Attributes { legal_hold: Some(true), ..Attributes::default() };
        for (target, bytes, why) in [
            (PutTarget { condition: Condition::Absent, ..target("there") }, 10, Refused::ConditionFailed),
            (PutTarget { condition: Condition::Matches(Vec::new()), ..target("other") }, 10, Refused::ConditionFailed),
            // Longer than what is stored from the pieces it came in.
            (PutTarget { condition: Condition::Absent, ..target("there") }, 100_000, Refused::ConditionFailed),
            (PutTarget { attributes: held, ..target("other") }, 10, Refused::NoObjectLock),
            (PutTarget { name: elsewhere, ..target("other") }, 10, Refused::NoSuchBucket),
        ] {
            let body = "x".repeat(bytes);
            let refused = put(&objects, target.clone(), &body).await.unwrap_err();
            assert_eq!((Refused::of(&refused), shards()), (Some(why), before), "{bytes} bytes");
            // Whoever knows the name and the length beforehand sends nothing.
            let refused = objects.require_coming(&target, None).await.unwrap_err();
            assert_eq!(Refused::of(&refused), Some(why));
        }
        let refused = put(&objects, target("other"), &"x".repeat((4 << 20) + 1)).await.unwrap_err();
        assert_eq!(Refused::of(&refused), Some(Refused::OverQuota));
        let refused = objects.require_coming(&target("other"), Some((4 << 20) + 1)).await.unwrap_err();
        assert_eq!(Refused::of(&refused), Some(Refused::OverQuota));
        objects.require_coming(&target("other"), Some(1 << 20)).await.unwrap();
        // Nobody asks for the rest of a body that has come; its end judges.
        let short = PutTarget { condition: Condition::Absent, ..target("there") };
        objects.require_coming(&short, Some(10)).await.unwrap();
    });
}

#[test]
fn deletes_have_conditions_too() {
    run(|cluster| async move {
        let objects = objects_of(&cluster, NewBucket::default()).await;
        let done = put(&objects, target("a"), "hello").await.unwrap();
        let is = |wanted: Wanted| DeleteRequest {
            condition: Condition::Is(wanted),
            ..DeleteRequest::from(DeleteMode::MarkAlways)
        };
        let tag = |text: &str| vec![ContentTag::ETag(text.to_owned())];
        let etag = "5d41402abc4b2a76b9719d911017c592"; // MD5 of hello.
        for wanted in [
            Wanted { contents: tag("0"), ..Wanted::default() },
            Wanted { size: Some(4), ..Wanted::default() },
            Wanted { modified_s: Some(done.modified_ms / 1_000 + 1), contents: tag(etag), ..Wanted::default() },
        ] {
            let refused = objects.delete_as(&name("a"), &is(wanted.clone())).await.unwrap_err();
            assert_eq!(Refused::of(&refused), Some(Refused::ConditionFailed), "{wanted:?}");
        }
        let wanted = Wanted { contents: tag(etag), modified_s: Some(done.modified_ms / 1_000), size: Some(5) };
        assert_eq!(objects.delete_as(&name("a"), &is(wanted.clone())).await.unwrap().deleted, Deleted::Done);
        let refused = objects.delete_as(&name("a"), &is(wanted)).await.unwrap_err();
        assert_eq!(Refused::of(&refused), Some(Refused::ConditionFailed), "there is nothing it could hold of");
    });
}

#[test]
fn of_writers_that_demand_that_nothing_be_there_one_wins() {
    run(|cluster| async move {
        for versioning in [Versioning::Off, Versioning::Enabled, Versioning::Suspended] {
            let objects = cluster.coordinator().await.objects.clone();
            let key = format!("{versioning:?}");
            let made = NewBucket { versioning, ..NewBucket::default() };
            let place = BucketName::parse(&format!("bucket-{}", key.to_lowercase())).unwrap();
            objects.create_bucket(&place, made).await.unwrap();
            let name = ObjectName::new(place, key).unwrap();
            let writers = (0..8).map(|n| {
                let target = PutTarget { name: name.clone(), condition: Condition::Absent, ..target("a") };
                let objects = objects.clone();
                async move { put(&objects, target, &n.to_string()).await }
            });
            let outcomes = join_all(writers).await;
            assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{versioning:?}: {outcomes:?}");
            let failed = |error: &Error| Refused::of(error) == Some(Refused::ConditionFailed);
            assert!(outcomes.iter().all(|outcome| outcome.as_ref().err().is_none_or(failed)), "{outcomes:?}");
        }
    });
}

/// A catalog of before: objects, and no record of their bucket.
#[test]
fn a_bucket_of_an_older_catalog_keeps_its_versions_and_is_listed() {
    run(|cluster| async move {
        let objects = objects_of(&cluster, NewBucket { versioning: Versioning::Enabled, ..NewBucket::default() }).await;
        let first = put(&objects, target("a"), "1").await.unwrap();
        let mut forget = Batch::new();
        forget.delete(keys::bucket("bucket"));
        objects.metadata.commit(forget).await.unwrap();

        let made_up = objects.bucket(&bucket()).await.unwrap().unwrap();
        assert_eq!((made_up.versioning, made_up.created_ms), (Versioning::Enabled, 0));
        let exists = objects.create_bucket(&bucket(), NewBucket::default()).await.unwrap_err();
        assert_eq!(Refused::of(&exists), Some(Refused::BucketExists));
        let second = put(&objects, target("a"), "2").await.unwrap();
        assert!(objects.metadata.get(&keys::bucket("bucket")).await.unwrap().is_some(), "a write writes it down");
        for number in [first.number, second.number] {
            let found = objects.resolve(&name("a"), VersionSelector::Number(number)).await.unwrap();
            assert!(matches!(found, coordinator::object::Version::Found(_)), "{number}");
        }
        let page = objects.buckets("", None, 10).await.unwrap();
        let names: Vec<&str> = page.buckets.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["bucket", "documents", "files"], "those of doors are there from the start");
        for built_in in [BucketName::documents(), BucketName::files()] {
            let refused = objects.delete_bucket(&built_in).await.unwrap_err();
            assert_eq!(refused.kind, ErrorKind::Denied);
            let exists = objects.create_bucket(&built_in, NewBucket::default()).await.unwrap_err();
            assert_eq!(Refused::of(&exists), Some(Refused::BucketExists));
        }
    });
}

/// A version of before has an MD5 in its record only, and its object none: conditions and ETags find it all the same.
#[test]
fn an_etag_that_only_the_version_knows_is_matched() {
    run(|cluster| async move {
        let objects = objects_of(&cluster, NewBucket { versioning: Versioning::Enabled, ..NewBucket::default() }).await;
        let done = put(&objects, target("a"), "hello").await.unwrap();
        let key = keys::object("bucket", "a");
        let entry = objects.metadata.get(&key).await.unwrap().unwrap();
        let record = ObjectRecord { etag: ETag::None, ..ObjectRecord::decode(&entry.value).unwrap() };
        let mut older = Batch::new();
        older.put(key, record.encode());
        // What is long and came by the file door has no MD5 at all, and shows as the start of its SHA-256.
        assert_eq!(record.etag.text(record.sha256.as_ref()), "2cf24dba5fb0a30e26e83b2ac5b9e29e-1");
        let version = objects.metadata.get(&keys::version("bucket", "a", 1)).await.unwrap().unwrap();
        older.put(keys::version("bucket", "a", 1), version.value.clone());
        cluster_commit(&objects, older).await;
        let condition = Condition::Matches(vec![ContentTag::ETag(hex::encode(done.etag.md5().unwrap()))]);
        put(&objects, PutTarget { condition, ..target("a") }, "2").await.unwrap();
        let version = VersionRecord::decode(&version.value).unwrap();
        assert_eq!(version.etag_text(), "5d41402abc4b2a76b9719d911017c592");
    });
}

async fn cluster_commit(objects: &Objects, commit: Batch) {
    objects.metadata.commit(commit).await.unwrap();
}

/// What happens to the commits of an engine.
#[async_trait]
trait Fate: Send + Sync + 'static {
    fn engine(&self) -> &Arc<dyn Metadata>;

    async fn commit(&self, batch: Batch) -> Result<()>;
}

/// An engine whose commits have this fate.
struct Fated<T>(T);

#[async_trait]
impl<T: Fate> Metadata for Fated<T> {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.0.engine().get(key).await
    }

    async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Entry)>> {
        self.0.engine().scan(from, to, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        self.0.commit(batch).await
    }
}

/// An engine that loses the answer of the first commit that publishes, and lets another client come in between.
struct LosesOneAnswer {
    other: Objects,
    between: Between,
    done: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
enum Between {
    Removes,
    Deletes,
    Replaces,
    Purges,
}

#[async_trait]
impl Fate for LosesOneAnswer {
    fn engine(&self) -> &Arc<dyn Metadata> {
        &self.other.metadata
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        let publishes = batch.puts.iter().any(|(key, _)| keys::parse_version(key).is_ok());
        self.other.metadata.commit(batch).await?;
        if !publishes || self.done.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        match self.between {
            Between::Removes => {
                let Found::Version(version) = self.other.find(&name("a"), None).await? else { panic!("it was put") };
                self.other.remove_as(&name("a"), &remove(VersionName::of(&version), false)).await.map(drop)?;
            }
            Between::Deletes => drop(self.other.delete(&name("a"), DeleteMode::Mark).await?),
            Between::Replaces => {
                put(&self.other, target("a"), "theirs").await?;
            }
            Between::Purges => drop(self.other.delete(&name("a"), DeleteMode::Purge).await?),
        }
        Err(Error::unknown("the answer was lost (injected)"))
    }
}

/// An engine that does not answer the first commit that opens an upload or makes a bucket, and does it in the end.
struct DoesOneLate {
    inner: Arc<dyn Metadata>,
    late: Mutex<Option<Batch>>,
    done: AtomicBool,
}

#[async_trait]
impl Fate for DoesOneLate {
    fn engine(&self) -> &Arc<dyn Metadata> {
        &self.inner
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        let opens = |key: &Bytes| keys::parse_upload(key).is_ok() || keys::parse_bucket(key).is_ok();
        if batch.puts.iter().any(|(key, _)| opens(key)) && !self.done.swap(true, Ordering::Relaxed) {
            *self.late.lock().unwrap() = Some(batch);
            return Err(Error::unknown("the commit was sent and not answered (injected)"));
        }
        self.inner.commit(batch).await
    }
}

impl Fated<DoesOneLate> {
    fn over(objects: &Objects) -> (Arc<Fated<DoesOneLate>>, Objects) {
        let inner = objects.metadata.clone();
        let metadata = Arc::new(Fated(DoesOneLate { inner, late: Mutex::default(), done: AtomicBool::new(false) }));
        (metadata.clone(), Objects { metadata, ..objects.clone() })
    }

    async fn land(&self) {
        let late = self.0.late.lock().unwrap().take().unwrap();
        // It conflicts, or it happens: now or never.
        drop(self.0.inner.commit(late).await);
    }
}

/// Found by the storm: a commit that opened an upload was sent twice, and the first came after the upload was closed.
#[test]
fn an_upload_that_was_closed_is_not_opened_again_by_a_commit_that_comes_late() {
    run(|cluster| async move {
        let objects = objects_of(&cluster, NewBucket::default()).await;
        let (metadata, late) = Fated::over(&objects);
        let upload = late.create_upload(upload_of("a")).await.unwrap();
        late.abort_upload(&name("a"), upload).await.unwrap();
        metadata.land().await;
        let again = objects.upload(&name("a"), upload).await.unwrap_err();
        assert_eq!(Refused::of(&again), Some(Refused::NoSuchUpload));
    });
}

#[test]
fn a_bucket_takes_its_open_uploads_with_it_and_none_while_something_is_in_it() {
    run(|cluster| async move {
        let objects = objects_of(&cluster, NewBucket::default()).await;
        let mut uploads = Vec::new();
        for place in 0..100 {
            let key = format!("k{place:02}");
            uploads.push((name(&key), objects.create_upload(upload_of(&key)).await.unwrap()));
        }
        put(&objects, target("object"), "x").await.unwrap();
        let refused = objects.delete_bucket(&bucket()).await.unwrap_err();
        assert_eq!(Refused::of(&refused), Some(Refused::BucketNotEmpty));
        for (name, upload) in &uploads {
            objects.upload(name, *upload).await.unwrap();
        }
        objects.delete(&name("object"), DeleteMode::Purge).await.unwrap();
        objects.delete_bucket(&bucket()).await.unwrap();
        objects.create_bucket(&bucket(), NewBucket::default()).await.unwrap();
        for (name, upload) in &uploads {
            let gone = objects.upload(name, *upload).await.unwrap_err();
            assert_eq!(Refused::of(&gone), Some(Refused::NoSuchUpload));
        }
    });
}

/// An engine under which another client writes into the bucket before uploads are aborted for the first time.
struct WritesBeforeAbort {
    other: Objects,
    done: AtomicBool,
}

#[async_trait]
impl Fate for WritesBeforeAbort {
    fn engine(&self) -> &Arc<dyn Metadata> {
        &self.other.metadata
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        let uploads = keys::every_upload();
        let aborts = batch.deletes.iter().any(|key| (&uploads.from..&uploads.to).contains(&key));
        if aborts && !self.done.swap(true, Ordering::Relaxed) {
            put(&self.other, target("object"), "x").await?;
        }
        self.other.metadata.commit(batch).await
    }
}

#[test]
fn uploads_of_a_bucket_that_is_written_to_while_it_is_deleted_stay_open() {
    run(|cluster| async move {
        let objects = objects_of(&cluster, NewBucket::default()).await;
        let upload = objects.create_upload(upload_of("a")).await.unwrap();
        let metadata = Arc::new(Fated(WritesBeforeAbort { other: objects.clone(), done: AtomicBool::new(false) }));
        let late = Objects { metadata, ..objects.clone() };
        let refused = late.delete_bucket(&bucket()).await.unwrap_err();
        assert_eq!(Refused::of(&refused), Some(Refused::BucketNotEmpty));
        objects.upload(&name("a"), upload).await.unwrap();
    });
}

#[test]
fn a_bucket_that_was_deleted_is_not_made_again_by_a_commit_that_comes_late() {
    run(|cluster| async move {
        let objects = cluster.coordinator().await.objects.clone();
        let (metadata, late) = Fated::over(&objects);
        match late.create_bucket(&bucket(), NewBucket::default()).await {
            Ok(_) => {
                late.delete_bucket(&bucket()).await.unwrap();
                metadata.land().await;
                assert!(objects.bucket(&bucket()).await.unwrap().is_none(), "it was deleted, and is there again");
            }
            // Whoever hears that does not know whether it will be.
            Err(error) => assert_eq!(error.kind, ErrorKind::Unknown),
        }
    });
}

/// An engine that does not do the first commit that makes a marker, lets another client replace the object, and does not answer.
struct LosesOneDelete {
    other: Objects,
    done: AtomicBool,
}

#[async_trait]
impl Fate for LosesOneDelete {
    fn engine(&self) -> &Arc<dyn Metadata> {
        &self.other.metadata
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        if self.done.swap(true, Ordering::Relaxed) {
            return self.other.metadata.commit(batch).await;
        }
        put(&self.other, target("a"), "theirs").await?;
        Err(Error::unknown("the commit was lost (injected)"))
    }
}

#[test]
fn a_delete_that_was_lost_is_judged_anew_before_it_is_sent_again() {
    run(|cluster| async move {
        let new = NewBucket { versioning: Versioning::Enabled, ..NewBucket::default() };
        let other = objects_of(&cluster, new).await;
        put(&other, target("a"), "hello").await.unwrap();
        let metadata = Fated(LosesOneDelete { other: other.clone(), done: AtomicBool::new(false) });
        let objects = Objects { metadata: Arc::new(metadata), ..other.clone() };
        let condition = Condition::Is(Wanted { size: Some(5), ..Wanted::default() });
        let request = DeleteRequest { condition, ..DeleteRequest::from(DeleteMode::Mark) };
        let refused = objects.delete_as(&name("a"), &request).await.unwrap_err();
        assert_eq!(Refused::of(&refused), Some(Refused::ConditionFailed), "theirs is another one: {refused}");
        assert!(matches!(other.find(&name("a"), None).await.unwrap(), Found::Version(version) if version.size == 6));
    });
}

/// Rules judge a version that something hides, and it may have come to light again by the time it is to go.
#[test]
fn a_version_that_is_the_newest_again_stays_where_only_an_older_one_was_meant() {
    run(|cluster| async move {
        let new = NewBucket { versioning: Versioning::Enabled, ..NewBucket::default() };
        let objects = objects_of(&cluster, new).await;
        let version = put(&objects, target("a"), "1").await.unwrap().version_name;
        let marker = objects.delete_as(&name("a"), &DeleteMode::Mark.into()).await.unwrap().marker.unwrap();
        objects.remove_as(&name("a"), &remove(marker, false)).await.unwrap();
        let older = RemoveRequest { unless_newest: true, ..remove(version, false) };
        let refused = objects.remove_as(&name("a"), &older).await.unwrap_err();
        assert_eq!(Refused::of(&refused), Some(Refused::ConditionFailed));
        put(&objects, target("a"), "2").await.unwrap();
        assert_eq!(objects.remove_as(&name("a"), &older).await.unwrap().deleted, Deleted::Done);
    });
}

/// What was published and is gone again must not come back: what it was made of is garbage under its id.
#[test]
fn a_put_whose_answer_was_lost_is_not_published_again_after_others_took_it_away() {
    for versioning in [Versioning::Off, Versioning::Enabled, Versioning::Suspended] {
        for between in [Between::Removes, Between::Deletes, Between::Replaces, Between::Purges] {
            run(|cluster| async move {
                let other = objects_of(&cluster, NewBucket { versioning, ..NewBucket::default() }).await;
                // Its bytes are there already: nothing but the records tells whether it happened.
                put(&other, target("same"), "mine").await.unwrap();
                let metadata = Fated(LosesOneAnswer { other: other.clone(), between, done: AtomicBool::new(false) });
                let objects = Objects { metadata: Arc::new(metadata), ..other.clone() };
                let ended = put(&objects, target("a"), "mine").await;
                let told_right = match &ended {
                    Ok(done) => done.size == 4,
                    Err(error) => error.kind == ErrorKind::Unknown,
                };
                assert!(told_right, "{versioning:?} {between:?}: {ended:?}");
                match (between, other.find(&name("a"), None).await.unwrap()) {
                    (Between::Replaces, Found::Version(version)) => assert_eq!(version.size, 6),
                    (Between::Replaces, found) => panic!("{versioning:?}: {found:?}"),
                    (_, Found::Version(version)) => panic!("{versioning:?} {between:?}: it came back: {version:?}"),
                    _ => {}
                }
            });
        }
    }
}
