//! What must hold of buckets: one goes only while nothing is visible in it, nothing becomes visible where there is none, and every answer
//! agrees with one of the states that the bucket had between call and answer.

use super::view::bucket_and_key;
use super::{Asked, Ended, OpId, Oracle, State};
use coordinator::metadata::records::{BucketRecord, BucketState, ObjectRecord, ObjectState, Record};
use coordinator::metadata::{Batch, keys};
use coordinator::object::{FILES_BUCKET, Refused};
use protocol::{Error, ErrorKind};

/// What is asked of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketVerb {
    /// That it be made.
    Create,
    /// That its record be changed.
    Change,
    /// That it go.
    Delete,
}

impl Oracle {
    /// A verb of a bucket is about to be sent.
    pub fn bucket_begins(&self, bucket: &str) -> OpId {
        self.begins(&format!("{bucket}/"), Asked::Bucket)
    }

    /// It ended.
    pub fn bucket_ends(&self, op: OpId, verb: BucketVerb, ended: &Ended<()>) {
        self.world.tell(|| format!("op {op} {verb:?} {ended:?}"));
        let mut state = self.state();
        let operation = state.operations[op].clone();
        let was = |exists| state.bucket_was(&operation.key, operation.began, exists);
        let fits = match ended {
            Ended::Answered(Ok(())) => was(verb != BucketVerb::Delete),
            Ended::Answered(Err(error)) => match Refused::of(error) {
                Some(Refused::NoSuchBucket) => verb != BucketVerb::Create && was(false),
                Some(Refused::BucketExists) => verb == BucketVerb::Create && was(true),
                Some(Refused::BucketNotEmpty) => {
                    verb == BucketVerb::Delete && state.held(&operation.key, operation.began)
                }
                Some(Refused::BucketSettings) => verb == BucketVerb::Change && was(true),
                _ => comes_again(error),
            },
            Ended::Died => true,
        };
        if !fits {
            let history = state.buckets.get(bucket_and_key(&operation.key).0).cloned().unwrap_or_default();
            let what = format!("{verb:?} {op} of {} ended {ended:?}, and the bucket was {history:?}", operation.key);
            state.violated(&self.world, what);
        }
    }

    /// A commit changed buckets, perhaps.
    pub(super) fn buckets_changed(&self, batch: &Batch) {
        let buckets = keys::buckets("");
        let mut changed = Vec::new();
        for (key, value) in batch.puts.iter().filter(|(key, _)| (&buckets.from..&buckets.to).contains(&key)) {
            let record = BucketRecord::decode(value).expect("the product wrote it");
            changed.push((keys::parse_bucket(key).expect("a key of that range"), record.state));
        }
        for key in batch.deletes.iter().filter(|key| (&buckets.from..&buckets.to).contains(key)) {
            changed.push((keys::parse_bucket(key).expect("a key of that range"), BucketState::Gone));
        }
        let objects = keys::every_object();
        let writes = batch.puts.iter().any(|(key, _)| (&objects.from..&objects.to).contains(&key));
        for (bucket, now) in changed {
            let mut state = self.state();
            state.counts.buckets_revived += u64::from(writes && state.exists(bucket));
            state.bucket_changed(bucket, now != BucketState::Gone);
            let left: Vec<&String> = state.keys.keys().filter(|key| bucket_and_key(key).0 == bucket).collect();
            let left: Vec<String> = left.into_iter().filter(|key| !state.moment(key).purged).cloned().collect();
            if now == BucketState::Gone && state.has_upload(bucket) {
                state.violated(&self.world, format!("bucket {bucket} was deleted with an open upload in it"));
            }
            if now == BucketState::Gone && !left.is_empty() {
                state.violated(&self.world, format!("bucket {bucket} was deleted with {left:?} in it"));
            }
        }
    }

    /// Nothing becomes visible where there is no bucket.
    pub(super) fn bucket_is_there(&self, key: &str, object: &ObjectRecord) {
        let (bucket, _) = bucket_and_key(key);
        let record: Option<BucketRecord> = self.view.record(&keys::bucket(bucket));
        let is_there = record.is_some_and(|record| record.state != BucketState::Gone);
        if object.state != ObjectState::Purged && !is_there && bucket != FILES_BUCKET {
            self.violated(format!("{key} became visible, and there is no such bucket"));
        }
    }
}

/// Whether an error asks the client to come again.
fn comes_again(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Full | ErrorKind::Unknown)
}

impl State {
    fn exists(&self, bucket: &str) -> bool {
        self.buckets.get(bucket).and_then(|moments| moments.last()).is_some_and(|(_, exists)| *exists)
    }

    fn bucket_changed(&mut self, bucket: &str, exists: bool) {
        if self.exists(bucket) == exists {
            return;
        }
        self.counts.buckets_made += u64::from(exists);
        self.counts.buckets_deleted += u64::from(!exists);
        self.sequence += 1;
        let since = self.sequence;
        self.buckets.entry(bucket.to_owned()).or_default().push((since, exists));
    }

    /// Whether the bucket of `key` was in that state at some time since sequence number `began`.
    pub(super) fn bucket_was(&self, key: &str, began: u64, exists: bool) -> bool {
        let (bucket, _) = bucket_and_key(key);
        let moments = self.buckets.get(bucket).map_or(&[][..], Vec::as_slice);
        let before = moments.iter().rev().find(|(since, _)| *since <= began).is_some_and(|(_, exists)| *exists);
        before == exists || moments.iter().any(|(since, is)| *since > began && *is == exists)
    }

    /// Whether something was visible in the bucket of `key` at some time since then.
    fn held(&self, key: &str, began: u64) -> bool {
        let (bucket, _) = bucket_and_key(key);
        let mut keys = self.keys.keys().filter(|key| bucket_and_key(key).0 == bucket);
        keys.any(|key| self.moments_since(key, began).iter().any(|moment| !moment.purged))
    }
}
