//! What S3 means by buckets, versions, null versions, markers and listings, told a second time by a model that is a map of lists, and
//! compared with the verbs after each of many random steps. Then: what a page of a listing reads, counted.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it says")]

use async_trait::async_trait;
use bytes::Bytes;
use coordinator::code::Code;
use coordinator::metadata::memory::MemoryMetadata;
use coordinator::metadata::records::{
    BucketRecord, ObjectRecord, ObjectState, Record, VersionId, VersionRecord, Versioning,
};
use coordinator::metadata::{Batch, Entry, Metadata, keys};
use coordinator::object::{
    Attributes, BucketName, Condition, ContentTag, DeleteMode, DeleteRequest, Deleted, Found, ListRequest,
    ListVersionsRequest, MissingBucket, NewBucket, ObjectName, Objects, PutTarget, Refused, RemoveRequest, VersionName,
    whole_body,
};
use protocol::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use testing::sim::cluster::{Cluster, Plants};
use testing::sim::rng::Rng;
use testing::sim::runtime::simulate;
use uuid::Uuid;

const BUCKET: &str = "model";
const SEEDS: u64 = 60;
const STEPS: u64 = 60;
const KEYS: [&str; 12] = ["a", "a/b", "a/b/c", "a/c", "a//x", "a-b", "a0", "b", "b/", "b/d", "\u{e4}/x", "z"];
const DELIMITERS: [Option<&str>; 5] = [None, Some("/"), Some("/"), Some("b"), Some("//")];

/// A version or marker of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    name: VersionName,
    /// What was put; `None` for a marker.
    body: Option<Vec<u8>>,
    tags: BTreeMap<String, String>,
}

/// A bucket as S3 tells of it: versions of each key, the oldest first.
struct Model {
    mode: Versioning,
    keys: BTreeMap<String, Vec<Said>>,
}

impl Model {
    fn add(&mut self, key: &str, id: VersionId, body: Option<Vec<u8>>) {
        let versions = self.keys.entry(key.to_owned()).or_default();
        let name = match self.mode {
            Versioning::Enabled => VersionName::Id(id),
            Versioning::Off | Versioning::Suspended => VersionName::Null,
        };
        versions.retain(|version| name != VersionName::Null || version.name != VersionName::Null);
        versions.push(Said { name, body, tags: BTreeMap::new() });
    }

    fn remove(&mut self, key: &str, name: VersionName) -> Option<Said> {
        let versions = self.keys.get_mut(key)?;
        let at = versions.iter().position(|version| version.name == name)?;
        let removed = versions.remove(at);
        if versions.is_empty() {
            self.keys.remove(key);
        }
        Some(removed)
    }

    fn newest(&self, key: &str) -> Option<&Said> {
        self.keys.get(key)?.last()
    }

    fn live(&self, key: &str) -> Option<&Said> {
        self.newest(key).filter(|version| version.body.is_some())
    }

    /// The lines of a listing: a key's own, or the common prefix that stands for it.
    fn lines(&self, query: &Query, live_only: bool) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        for (key, versions) in &self.keys {
            let Some(rest) = key.strip_prefix(query.prefix.as_str()) else { continue };
            if live_only && self.live(key).is_none() {
                continue;
            }
            let at = query.delimiter.as_deref().and_then(|delimiter| Some((rest.find(delimiter)?, delimiter.len())));
            match at {
                Some((at, length)) => {
                    let line = Line::Prefix(key[..query.prefix.len() + at + length].to_owned());
                    if lines.last() != Some(&line) {
                        lines.push(line);
                    }
                }
                None if live_only => lines.push(Line::Key(key.clone())),
                None => lines.extend(versions.iter().rev().map(|said| Line::Version(key.clone(), said.name))),
            }
        }
        lines
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Key(String),
    Version(String, VersionName),
    Prefix(String),
}

impl Line {
    fn text(&self) -> &str {
        match self {
            Line::Key(text) | Line::Version(text, _) | Line::Prefix(text) => text,
        }
    }
}

#[derive(Clone, Debug)]
struct Query {
    prefix: String,
    delimiter: Option<String>,
    after: Option<String>,
    limit: usize,
}

struct Play {
    objects: Objects,
    model: Model,
    rng: Rng,
    /// Every name that a version ever had.
    names: BTreeSet<(String, VersionName)>,
}

fn bucket() -> BucketName {
    BucketName::parse(BUCKET).unwrap()
}

fn object(key: &str) -> ObjectName {
    ObjectName::new(bucket(), key).unwrap()
}

fn target(key: &str, condition: Condition) -> PutTarget {
    PutTarget {
        name: object(key),
        content_type: "text/plain".to_owned(),
        metadata: BTreeMap::new(),
        condition,
        md5: None,
        attributes: Attributes::default(),
        missing_bucket: MissingBucket::Refuse,
    }
}

impl Play {
    async fn step(&mut self) {
        let key = *self.rng.pick(&KEYS);
        match self.rng.below(100) {
            0..40 => self.put(key).await,
            40..60 => self.delete(key).await,
            60..75 => self.remove(key).await,
            75..82 => self.tag(key).await,
            82..88 => self.change_mode().await,
            _ => self.list().await,
        }
        self.compare(key).await;
    }

    async fn put(&mut self, key: &str) {
        let body = format!("{key} {}", self.rng.below(1_000)).into_bytes();
        let live = self.model.live(key);
        let (condition, holds) = match self.rng.below(4) {
            0 => (Condition::Absent, live.is_none()),
            1 => {
                let etag = match self.objects.find(&object(key), None).await.unwrap() {
                    Found::Version(version) => version.etag_text(),
                    _ => "no such etag".to_owned(),
                };
                (Condition::Matches(vec![ContentTag::ETag(etag)]), live.is_some())
            }
            _ => (Condition::None, true),
        };
        let put = whole_body(Bytes::from(body.clone()), target(key, condition)).await;
        match self.objects.put_with_md5(Code::REPLICATION, put).await {
            Ok(done) => {
                assert!(holds, "{key} was put against its condition");
                self.model.add(key, done.version, Some(body));
                assert_eq!(Some(done.version_name), self.model.newest(key).map(|said| said.name));
                assert_eq!(done.versioning, self.model.mode);
                self.names.insert((key.to_owned(), done.version_name));
            }
            Err(error) => assert!(!holds && Refused::of(&error) == Some(Refused::ConditionFailed), "{key}: {error}"),
        }
    }

    async fn delete(&mut self, key: &str) {
        let request = DeleteRequest::from(DeleteMode::MarkAlways);
        let done = self.objects.delete_as(&object(key), &request).await.unwrap();
        if self.model.mode == Versioning::Off {
            let gone = self.model.remove(key, VersionName::Null);
            assert_eq!((done.deleted == Deleted::Done, done.marker), (gone.is_some(), None), "{key}");
            return;
        }
        let id = match done.marker {
            Some(VersionName::Id(id)) => id,
            _ => VersionId(Uuid::nil()),
        };
        self.model.add(key, id, None);
        assert_eq!(done.marker, self.model.newest(key).map(|said| said.name), "{key}");
        self.names.extend(done.marker.map(|name| (key.to_owned(), name)));
    }

    async fn remove(&mut self, key: &str) {
        let known: Vec<VersionName> = self
            .names
            .iter()
            .filter(|(of, _)| of == key)
            .map(|(_, version)| *version)
            .chain([VersionName::Null])
            .collect();
        let version = *self.rng.pick(&known);
        let request =
            RemoveRequest { version, condition: Condition::None, bypass_governance: false, unless_newest: false };
        let done = self.objects.remove_as(&object(key), &request).await.unwrap();
        let removed = self.model.remove(key, version);
        assert_eq!(done.deleted == Deleted::Done, removed.is_some(), "{key} {version}");
        assert_eq!(done.was_marker, removed.is_some_and(|said| said.body.is_none()), "{key} {version}");
    }

    async fn tag(&mut self, key: &str) {
        let tags = BTreeMap::from([("n".to_owned(), self.rng.below(9).to_string())]);
        let changed = self.objects.set_tags(&object(key), None, tags.clone()).await;
        match self.model.keys.get_mut(key).and_then(|versions| versions.last_mut()).filter(|said| said.body.is_some()) {
            Some(said) => {
                changed.unwrap();
                said.tags = tags;
            }
            None => assert_eq!(Refused::of(&changed.unwrap_err()), Some(Refused::NoSuchKey)),
        }
    }

    async fn change_mode(&mut self) {
        let mode = *self.rng.pick(&[Versioning::Off, Versioning::Enabled, Versioning::Suspended]);
        let change = |record: &mut BucketRecord| {
            record.versioning = mode;
            Ok(())
        };
        let changed = self.objects.change_bucket(&bucket(), change).await;
        if mode == Versioning::Off && self.model.mode != Versioning::Off {
            assert_eq!(Refused::of(&changed.unwrap_err()), Some(Refused::BucketSettings));
        } else {
            changed.unwrap();
            self.model.mode = mode;
        }
    }

    /// What can be seen of a key: the newest version, and every version that ever had a name.
    async fn compare(&self, key: &str) {
        let named = self.names.iter().filter(|(of, _)| of == key).map(|(_, name)| Some(*name));
        for version in named.chain([None]) {
            let versions = self.model.keys.get(key);
            let said = match version {
                None => self.model.newest(key),
                Some(name) => versions.and_then(|all| all.iter().find(|said| said.name == name)),
            };
            let found = self.objects.find(&object(key), version).await.unwrap();
            match (&found, said) {
                (Found::Version(found), Some(said)) => {
                    let mut reader = self.objects.open(&object(key), found, 0..found.size).await.unwrap();
                    let bytes = reader.next().await.unwrap().unwrap();
                    assert_eq!((Some(bytes.as_ref()), &found.tags), (said.body.as_deref(), &said.tags), "{key}");
                    assert_eq!(VersionName::of(found), said.name, "{key}");
                }
                (Found::Marker(found), Some(said)) => {
                    assert_eq!((VersionName::of(found), &said.body), (said.name, &None), "{key}");
                }
                (Found::NoVersion, None) => assert!(versions.is_some(), "{key}"),
                (Found::NoKey, None) => assert!(versions.is_none(), "{key}"),
                (found, said) => panic!("{key} {version:?} is {found:?}, and should be {said:?}"),
            }
        }
    }

    fn query(&mut self) -> Query {
        let prefix = *self.rng.pick(&["", "", "a", "a/", "b/", "\u{e4}", "none"]);
        let after = *self.rng.pick(&["", "", "a", "a/", "a/b", "a/b/zz", "b", "y"]);
        Query {
            prefix: prefix.to_owned(),
            delimiter: self.rng.pick(&DELIMITERS).map(str::to_owned),
            after: Some(after.to_owned()).filter(|after| !after.is_empty()),
            limit: self.rng.between(1, 5) as usize,
        }
    }

    /// Pages of both listings, from a random start to the end.
    async fn list(&mut self) {
        let query = self.query();
        self.list_objects(query.clone()).await;
        self.list_versions(query).await;
    }

    async fn list_objects(&self, query: Query) {
        let expected = self.model.lines(&query, true).into_iter();
        let expected: Vec<Line> =
            expected.filter(|line| query.after.as_deref().is_none_or(|after| line.text() > after)).collect();
        let mut request = ListRequest {
            bucket: bucket(),
            prefix: query.prefix.clone(),
            delimiter: query.delimiter.clone(),
            after: query.after.clone(),
            limit: query.limit,
            shows_availability: false,
        };
        let mut listed: Vec<Line> = Vec::new();
        loop {
            let page = self.objects.list(&request).await.unwrap();
            let keys = page.objects.iter().map(|object| Line::Key(object.key.clone()));
            let mut lines: Vec<Line> = keys.chain(page.prefixes.iter().cloned().map(Line::Prefix)).collect();
            lines.sort_by(|one, other| one.text().cmp(other.text()));
            assert!(lines.len() <= query.limit && page.last.as_deref() == lines.last().map(Line::text), "{query:?}");
            for object in &page.objects {
                let said = self.model.live(&object.key).unwrap();
                assert_eq!((object.version_name, object.size), (said.name, said.body.as_ref().unwrap().len() as u64));
            }
            listed.extend(lines);
            assert_eq!(page.more, listed.len() < expected.len(), "{query:?}: {listed:?} of {expected:?}");
            request.after = page.last;
            if !page.more {
                break;
            }
        }
        assert_eq!(listed, expected, "{query:?}");
    }

    async fn list_versions(&self, query: Query) {
        let expected = self.model.lines(&query, false).into_iter();
        let expected: Vec<Line> =
            expected.filter(|line| query.after.as_deref().is_none_or(|after| line.text() > after)).collect();
        let mut request = ListVersionsRequest {
            bucket: bucket(),
            prefix: query.prefix.clone(),
            delimiter: query.delimiter.clone(),
            after_key: query.after.clone(),
            after_version: None,
            limit: query.limit,
        };
        let mut listed: Vec<Line> = Vec::new();
        loop {
            let page = self.objects.list_versions(&request).await.unwrap();
            let versions = page.entries.iter().map(|entry| Line::Version(entry.key.clone(), entry.version_name));
            let mut lines: Vec<Line> = versions.chain(page.prefixes.iter().cloned().map(Line::Prefix)).collect();
            lines.sort_by(|one, other| one.text().cmp(other.text()));
            for entry in &page.entries {
                let newest = self.model.newest(&entry.key).unwrap();
                assert_eq!(entry.is_newest, newest.name == entry.version_name, "{query:?} {entry:?}");
            }
            listed.extend(lines);
            assert_eq!(page.more, listed.len() < expected.len(), "{query:?}: {listed:?} of {expected:?}");
            let Some((key, version)) = page.last.filter(|_| page.more) else { break };
            request.after_key = Some(key);
            // What clients send back: the marker as it was given, or the bare name of the version.
            request.after_version = match (version, listed.len() % 2) {
                (Some(version), 0) => Some(version.version.to_string().parse().unwrap()),
                (Some(version), _) => Some(version.to_string().parse().unwrap()),
                (None, _) => None,
            };
        }
        assert_eq!(listed, expected, "{query:?}");
    }
}

async fn play(seed: u64) {
    let cluster = Cluster::new(seed, 4, Plants::default());
    let coordinator = cluster.coordinator().await;
    let mut rng = Rng::new(seed, 9);
    let mode = *rng.pick(&[Versioning::Off, Versioning::Enabled, Versioning::Suspended]);
    let new = NewBucket { versioning: mode, ..NewBucket::default() };
    coordinator.objects.create_bucket(&bucket(), new).await.unwrap();
    let model = Model { mode, keys: BTreeMap::new() };
    let mut play = Play { objects: coordinator.objects.clone(), model, rng, names: BTreeSet::new() };
    for _ in 0..STEPS {
        play.step().await;
    }
    for _ in 0..4 {
        play.list().await;
    }
    let deleted = play.objects.delete_bucket(&bucket()).await;
    match play.model.keys.is_empty() {
        true => deleted.unwrap(),
        false => assert_eq!(Refused::of(&deleted.unwrap_err()), Some(Refused::BucketNotEmpty)),
    }
    assert_eq!(cluster.oracle().violations(), Vec::<String>::new());
}

#[test]
fn the_verbs_mean_what_the_model_says() {
    for seed in 0..SEEDS {
        let ((), panics) = simulate(play(seed));
        assert!(panics.is_empty(), "seed {seed}: {panics:?}");
    }
}

/// Counts what is read.
struct Counting {
    inner: MemoryMetadata,
    calls: AtomicUsize,
    entries: AtomicUsize,
}

#[async_trait]
impl Metadata for Counting {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.inner.get(key).await
    }

    async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Entry)>> {
        let found = self.inner.scan(from, to, limit).await?;
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.entries.fetch_add(found.len(), Ordering::Relaxed);
        Ok(found)
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        self.inner.commit(batch).await
    }
}

impl Counting {
    /// Calls and entries since it was asked last.
    fn take(&self) -> (usize, usize) {
        (self.calls.swap(0, Ordering::Relaxed), self.entries.swap(0, Ordering::Relaxed))
    }
}

/// A version as a put leaves it, without bytes.
async fn sample(objects: &Objects) -> (ObjectRecord, VersionRecord) {
    objects
        .create_bucket(&bucket(), NewBucket { versioning: Versioning::Enabled, ..NewBucket::default() })
        .await
        .unwrap();
    objects.put(Code::REPLICATION, whole_body(Bytes::new(), target("sample", Condition::None)).await).await.unwrap();
    let object = objects.metadata.get(&keys::object(BUCKET, "sample")).await.unwrap().unwrap();
    let version = objects.metadata.get(&keys::version(BUCKET, "sample", 1)).await.unwrap().unwrap();
    (ObjectRecord::decode(&object.value).unwrap(), VersionRecord::decode(&version.value).unwrap())
}

/// 20,000 keys in 200 directories, 300 of them deleted in a row; one key with 20,000 versions.
async fn many() -> (Objects, Arc<Counting>) {
    let counting = Counting { inner: MemoryMetadata::new(), calls: AtomicUsize::new(0), entries: AtomicUsize::new(0) };
    let counting = Arc::new(counting);
    let cluster = Cluster::new(1, 4, Plants::default());
    let coordinator = cluster.coordinator().await;
    let objects = Objects { metadata: counting.clone(), ..coordinator.objects.clone() };
    let (object, version) = sample(&objects).await;
    for directory in 0..200 {
        let mut batch = Batch::new();
        for file in 0..100 {
            let state = if (40..43).contains(&directory) { ObjectState::Deleted } else { ObjectState::Live };
            let record = ObjectRecord { state, ..object.clone() };
            batch.put(keys::object(BUCKET, &format!("d{directory:03}/f{file:02}")), record.encode());
        }
        counting.inner.commit(batch).await.unwrap();
    }
    for numbers in Vec::from_iter(1..=20_000u64).chunks(500) {
        let mut batch = Batch::new();
        for number in numbers {
            let id = VersionId(Uuid::from_u128(u128::from(*number)));
            let version = VersionRecord { id, number: *number, ..version.clone() };
            batch.put(keys::version(BUCKET, "old", *number), version.encode());
        }
        counting.inner.commit(batch).await.unwrap();
    }
    let last = ObjectRecord { number: 20_000, last_number: 20_000, ..object };
    let mut batch = Batch::new();
    batch.put(keys::object(BUCKET, "old"), last.encode());
    counting.inner.commit(batch).await.unwrap();
    counting.take();
    (objects, counting)
}

async fn count_pages() {
    let (objects, counting) = many().await;
    let listing = |delimiter: Option<&str>, after: &str, limit| ListRequest {
        bucket: bucket(),
        prefix: String::new(),
        delimiter: delimiter.map(str::to_owned),
        after: Some(after.to_owned()),
        limit,
        shows_availability: false,
    };
    for after in ["d000", "d050/f50", "d199/f00"] {
        let page = objects.list(&listing(None, after, 1_000)).await.unwrap();
        let (calls, entries) = counting.take();
        assert!(
            !page.objects.is_empty() && calls <= 3 && entries <= 2_000,
            "{after}: {calls} calls, {entries} entries"
        );
    }
    for (after, found) in [("d000", 50), ("d100/", 50), ("d190/", 11)] {
        let page = objects.list(&listing(Some("/"), after, 50)).await.unwrap();
        assert_eq!(page.prefixes.len() + page.objects.len(), found, "{after}");
        let (calls, entries) = counting.take();
        // One look of at most 16 entries passes a directory; 300 deleted names are read through, and as much again beyond at most.
        assert!(calls <= 80 && entries <= 51 * 17 + 2 * 300, "{after}: {calls} calls, {entries} entries");
    }
    let versions = |after: Option<u64>| ListVersionsRequest {
        bucket: bucket(),
        prefix: "old".to_owned(),
        delimiter: None,
        after_key: after.map(|_| "old".to_owned()),
        after_version: after.map(|number| format!("{}:{number}", Uuid::from_u128(u128::from(number))).parse().unwrap()),
        limit: 100,
    };
    for after in [None, Some(15_000), Some(101)] {
        let page = objects.list_versions(&versions(after)).await.unwrap();
        let numbers: Vec<u64> = page.entries.iter().map(|entry| entry.number).collect();
        let newest = after.map_or(20_000, |after| after - 1);
        assert_eq!(numbers, Vec::from_iter((newest - 99..=newest).rev()));
        let (calls, entries) = counting.take();
        assert!(calls <= 8 && entries <= 300, "{after:?}: {calls} calls, {entries} entries");
    }
}

/// From any position, with a delimiter or without: what is read follows from what is shown, not from what lies behind.
#[test]
fn a_page_reads_what_it_shows() {
    let ((), panics) = simulate(count_pages());
    assert!(panics.is_empty(), "{panics:?}");
}
