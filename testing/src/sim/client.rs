//! A client of one coordinator: it tells the oracle what it asks and what it is told.

pub mod documents;
pub mod uploads;

use super::body::TestBody;
use super::check::{BucketVerb, Ended, Got, OPERATION, Oracle, bucket_and_key};
use super::cluster::Coordinator;
use super::world::pass;
use bytes::Bytes;
use coordinator::metadata::records::{BucketRecord, StorageClass, VersionId, Versioning};
use coordinator::object::{
    Attributes, BodyMessage, BucketName, Condition, DeleteMode, Deleted, FILES_BUCKET, HistoryPage, ListPage,
    ListRequest, MissingBucket, NewBucket, ObjectName, PutDone, PutTarget, Version, VersionSelector, body_channel,
};
use coordinator::worker::verify::job::{self, VerifyRequest};
use protocol::{Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Bytes that a client sends at a time.
const PIECE_BYTES: usize = 64 << 10;
/// Every request ends within this time (I19), or the coordinator is stuck: retries of retries under every fault at once.
const REQUEST_PATIENCE: Duration = Duration::from_secs(1_200);

/// More versions than any storm makes.
const HISTORY_ENTRIES_MAX: usize = 1_000;

/// What becomes of older versions.
const MODES: [Versioning; 3] = [Versioning::Off, Versioning::Enabled, Versioning::Suspended];

/// How a client sends a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// All of it.
    Whole,
    /// With a pause before each piece.
    Slow(Duration),
    /// It goes away before the last piece.
    BreaksOff,
}

/// A client.
#[derive(Clone)]
pub struct Client {
    oracle: Arc<Oracle>,
    coordinator: Arc<Coordinator>,
    class: StorageClass,
}

impl Client {
    /// A client of `coordinator`.
    pub fn new(oracle: Arc<Oracle>, coordinator: Arc<Coordinator>) -> Client {
        Client { oracle, coordinator, class: StorageClass::Standard }
    }

    /// The same, and what it puts and copies has this storage class.
    pub fn storing_as(self, class: StorageClass) -> Client {
        Client { class, ..self }
    }

    /// Its coordinator.
    pub fn coordinator(&self) -> &Arc<Coordinator> {
        &self.coordinator
    }

    /// Puts a body under `key`.
    pub async fn put(&self, key: &str, body: &TestBody, condition: Condition, sending: Sending) -> Ended<PutDone> {
        let op = self.oracle.put_begins(key, body, &condition);
        let (sender, receiver) = body_channel();
        let target = PutTarget {
            name: name(key),
            content_type: "application/octet-stream".to_owned(),
            metadata: BTreeMap::from([(OPERATION.to_owned(), op.to_string())]),
            condition,
            md5: None,
            attributes: Attributes { storage_class: self.class, ..Attributes::default() },
            missing_bucket: self.if_missing(key),
        };
        let feed = feed(sender, body.data.clone(), target, sending);
        let put = async {
            let code = self.coordinator.objects.code_of(self.class)?;
            self.coordinator.objects.put(code, receiver).await
        };
        let both = async { futures_util::future::join(feed, put).await.1 };
        let ended = self.until_end(both).await;
        self.oracle.put_ends(op, &ended);
        ended
    }

    /// What a put comes to without its bucket: refused, or the start of one that keeps versions, or does not.
    fn if_missing(&self, key: &str) -> MissingBucket {
        match bucket_and_key(key).0 {
            FILES_BUCKET => MissingBucket::Make(Versioning::Enabled),
            _ => self.oracle.draw(|rng| match rng.below(4) {
                0 => MissingBucket::Make(*rng.pick(&MODES)),
                _ => MissingBucket::Refuse,
            }),
        }
    }

    /// Makes a bucket.
    pub async fn create_bucket(&self, bucket: &str, versioning: Versioning) -> Ended<()> {
        let op = self.oracle.bucket_begins(bucket);
        let name = BucketName::parse(bucket).expect("test buckets have good names");
        let new = NewBucket { versioning, ..NewBucket::default() };
        let made = async { self.coordinator.objects.create_bucket(&name, new).await.map(drop) };
        let ended = self.until_end(made).await;
        self.oracle.bucket_ends(op, BucketVerb::Create, &ended);
        ended
    }

    /// Has a bucket keep versions, or not.
    pub async fn set_versioning(&self, bucket: &str, versioning: Versioning) -> Ended<()> {
        let op = self.oracle.bucket_begins(bucket);
        let name = BucketName::parse(bucket).expect("test buckets have good names");
        let change = move |record: &mut BucketRecord| {
            record.versioning = versioning;
            Ok(())
        };
        let changed = async { self.coordinator.objects.change_bucket(&name, change).await.map(drop) };
        let ended = self.until_end(changed).await;
        self.oracle.bucket_ends(op, BucketVerb::Change, &ended);
        ended
    }

    /// Says something new of the newest version of `key`, which changes nothing that is judged.
    /// True if it was answered so.
    pub async fn set_tags(&self, key: &str) -> bool {
        let tags = BTreeMap::from([("tag".to_owned(), key.to_owned())]);
        let ended = self.until_end(self.coordinator.objects.set_tags(&name(key), None, tags)).await;
        matches!(ended, Ended::Answered(Ok(_)))
    }

    /// Deletes a bucket.
    pub async fn delete_bucket(&self, bucket: &str) -> Ended<()> {
        let op = self.oracle.bucket_begins(bucket);
        let name = BucketName::parse(bucket).expect("test buckets have good names");
        let ended = self.until_end(self.coordinator.objects.delete_bucket(&name)).await;
        self.oracle.bucket_ends(op, BucketVerb::Delete, &ended);
        ended
    }

    /// Deletes `key`.
    pub async fn delete(&self, key: &str, mode: DeleteMode) -> Ended<Deleted> {
        let op = self.oracle.delete_begins(key, mode);
        let name = name(key);
        let ended = self.until_end(self.coordinator.objects.delete(&name, mode)).await;
        self.oracle.delete_ends(op, &ended);
        ended
    }

    /// Removes one version or marker of `key`.
    pub async fn remove(&self, key: &str, id: VersionId) -> Ended<Deleted> {
        let op = self.oracle.remove_begins(key, id);
        let name = name(key);
        let ended = self.until_end(self.coordinator.objects.remove_version(&name, id)).await;
        self.oracle.remove_ends(op, &ended);
        ended
    }

    /// Has everything verified; whether it comes to be is nobody's promise.
    pub async fn order_verification(&self) {
        let request = VerifyRequest { bucket: None, prefix: String::new(), bytes_per_s: 0, after: None };
        drop(self.until_end(job::begin(&self.coordinator.objects, &request)).await);
    }

    /// Has the newest version of `key` stored as this class.
    pub async fn order_transition(&self, key: &str, class: StorageClass) {
        let objects = &self.coordinator.objects;
        let ordered = async {
            if let Version::Found(version) = objects.resolve(&name(key), VersionSelector::Latest).await? {
                objects.order_transition(&name(key), &version, class, "a client of the storm".to_owned()).await?;
            }
            Ok(())
        };
        drop(self.until_end(ordered).await);
    }

    /// Removes a version or a marker of `key`, whichever there is.
    pub async fn remove_any(&self, key: &str) {
        let history = match bucket_and_key(key).0 {
            FILES_BUCKET => self.history(key).await,
            // Numbers may start anew while they are read: what was read is not judged, what is removed is.
            _ => self.until_end(self.coordinator.objects.versions(&name(key), 0, HISTORY_ENTRIES_MAX)).await,
        };
        if let Ended::Answered(Ok(Some(page))) = history
            && !page.entries.is_empty()
        {
            let version = self.oracle.draw(|rng| rng.pick(&page.entries).version.clone());
            drop(self.remove(key, version.id).await);
        }
    }

    /// Reads a version whole.
    pub async fn get(&self, key: &str, selector: VersionSelector) -> Ended<Got> {
        let began = self.oracle.read_begins();
        let ended = self.until_end(self.read(key, selector)).await;
        self.oracle.get_ends(key, selector, began, &ended);
        ended
    }

    async fn read(&self, key: &str, selector: VersionSelector) -> Result<Got> {
        let objects = &self.coordinator.objects;
        let version = match objects.resolve(&name(key), selector).await? {
            Version::Found(version) => version,
            Version::NoObject => return Ok(Got::NoObject),
            Version::NoVersion => return Ok(Got::NoVersion),
        };
        // Whole, or as two ranges that meet anywhere.
        let meeting = self.oracle.draw(|rng| if rng.chance(300) { rng.below(version.size + 1) } else { 0 });
        let mut bytes = Vec::with_capacity(version.size as usize);
        for range in [0..meeting, meeting..version.size] {
            let mut reader = objects.open(&name(key), &version, range).await?;
            while let Some(part) = reader.next().await {
                bytes.extend_from_slice(&part?);
            }
        }
        Ok(Got::Version(version, bytes))
    }

    /// Reads the history of `key`.
    pub async fn history(&self, key: &str) -> Ended<Option<HistoryPage>> {
        let began = self.oracle.read_begins();
        let name = name(key);
        let ended = self.until_end(self.coordinator.objects.versions(&name, 0, HISTORY_ENTRIES_MAX)).await;
        self.oracle.history_ends(key, began, &ended);
        ended
    }

    /// Lists all files.
    pub async fn list(&self) -> Ended<ListPage> {
        self.list_bucket(FILES_BUCKET).await
    }

    /// Lists everything in a bucket.
    pub async fn list_bucket(&self, bucket: &str) -> Ended<ListPage> {
        let began = self.oracle.read_begins();
        let request = ListRequest {
            bucket: BucketName::parse(bucket).expect("test buckets have good names"),
            prefix: String::new(),
            delimiter: None,
            after: None,
            limit: 1_000,
            shows_availability: true,
        };
        let ended = self.until_end(self.coordinator.objects.list(&request)).await;
        self.oracle.list_ends(bucket, began, &ended);
        ended
    }

    async fn until_end<T>(&self, request: impl Future<Output = Result<T>>) -> Ended<T> {
        tokio::select! {
            biased;
            answer = request => Ended::Answered(answer),
            () = self.coordinator.calls.died() => Ended::Died,
            () = tokio::time::sleep(REQUEST_PATIENCE) => {
                self.oracle.violated(format!("a request did not end within {REQUEST_PATIENCE:?}"));
                Ended::Died
            }
        }
    }
}

async fn feed<T>(sender: mpsc::Sender<BodyMessage<T>>, data: Bytes, target: T, sending: Sending) {
    let mut rest = data;
    while !rest.is_empty() {
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        if let Sending::Slow(pause) = sending {
            pass(pause).await;
        }
        if sending == Sending::BreaksOff && rest.is_empty() {
            return;
        }
        if sender.send(BodyMessage::Piece(piece)).await.is_err() {
            return;
        }
    }
    let last = match sending {
        Sending::BreaksOff => BodyMessage::Failed(Error::invalid("the client sent nonsense (injected)")),
        Sending::Whole | Sending::Slow(_) => BodyMessage::End(Box::new(target)),
    };
    // The put ended before its body did.
    drop(sender.send(last).await);
}

/// The object's name: behind the file door, or in the bucket before the slash.
pub fn name(key: &str) -> ObjectName {
    let (bucket, key) = bucket_and_key(key);
    let bucket = BucketName::parse(bucket).expect("test buckets have good names");
    ObjectName::new(bucket, key).expect("test keys are good names")
}
