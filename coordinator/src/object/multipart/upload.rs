//! An upload as a whole: begun, looked at, aborted.

use crate::metadata::records::{
    ChecksumAlgorithm, ChecksumKind, Garbage, GarbageRecord, Record, UploadId, UploadRecord, VersionId,
};
use crate::metadata::{Batch, Entry, Expect, keys};
use crate::object::checksum::Whole;
use crate::object::lock::require_object_lock;
use crate::object::{Attributes, BucketName, MissingBucket, ObjectName, Objects, Refused};
use bytes::Bytes;
use protocol::{Error, ErrorKind, Result};
use std::collections::BTreeMap;

/// How often a change of an upload is tried anew when others come first.
pub(super) const UPLOAD_ATTEMPTS_MAX: u32 = 128;

/// Uploads aborted by one commit: three keys each, and a commit of etcd's has 128.
const ABORTED_AT_ONCE: usize = 32;

/// An upload to be begun: the name and the attributes of the version that it is to become.
#[derive(Clone, Debug)]
pub struct NewUpload {
    /// The object's name.
    pub name: ObjectName,
    /// Its media type, as the client gave it.
    pub content_type: String,
    /// The client's own metadata.
    pub metadata: BTreeMap<String, String>,
    /// What else the client said; its checksum is not looked at.
    pub attributes: Attributes,
    /// Which checksum each part has, and what the whole's is to be of.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// What it comes to if there is no such bucket.
    pub missing_bucket: MissingBucket,
}

/// An upload's record as it was read.
pub(super) struct SeenUpload {
    pub(super) key: Bytes,
    pub(super) entry: Entry,
    pub(super) record: UploadRecord,
}

impl Objects {
    /// Begins an upload. `Ok` is durable.
    ///
    /// Errors: `NoSuchBucket`; `NoObjectLock` for a lock in a bucket without; `Invalid` for a kind that the checksum does not have.
    pub async fn create_upload(&self, new: NewUpload) -> Result<UploadId> {
        if let Some((algorithm, kind)) = new.checksum {
            Whole::new(algorithm, kind)?;
        }
        let mut upload = UploadId(self.clock.fresh_id());
        let (bucket, object_key) = (new.name.bucket().clone(), new.name.key().to_owned());
        let missing_bucket = new.missing_bucket;
        let record = record_of(new, self.clock.now_ms());
        for attempt in 0..UPLOAD_ATTEMPTS_MAX {
            self.back_off(attempt).await;
            let mut key = keys::upload(bucket.as_str(), &object_key, upload);
            if attempt > 0 {
                if self.metadata.get(&key).await?.is_some() {
                    return Ok(upload);
                }
                // What was sent under the other id may still happen; it must not open again what was closed meanwhile.
                upload = UploadId(self.clock.fresh_id());
                key = keys::upload(bucket.as_str(), &object_key, upload);
            }
            let seen = self.see_bucket(&bucket).await?;
            let into = seen.or_make(&bucket, missing_bucket, &record.owner, record.initiated_ms)?;
            if record.retention.is_some() || record.legal_hold {
                require_object_lock(&into)?;
            }
            let mut commit = Batch::new();
            seen.claim(&mut commit, &bucket, &into);
            commit.check(key.clone(), Expect::Absent).put(key.clone(), record.encode());
            match self.metadata.commit(commit).await {
                Ok(()) => return Ok(upload),
                // Nobody knows the id yet, so whether it happened can be seen, and nobody can have undone it.
                Err(error) if matches!(error.kind, ErrorKind::Conflict | ErrorKind::Unknown) => {}
                Err(error) => return Err(error),
            }
        }
        Err(contended(upload))
    }

    /// What is known of an open upload. `NoSuchUpload` if there is none of that name and id.
    pub async fn upload(&self, name: &ObjectName, upload: UploadId) -> Result<UploadRecord> {
        Ok(self.require_upload(name, upload).await?.record)
    }

    /// Aborts an upload: its parts are out of reach at once, and the collector gives their space back. `NoSuchUpload` if it is not open.
    pub async fn abort_upload(&self, name: &ObjectName, upload: UploadId) -> Result<()> {
        let mut unsure = false;
        for attempt in 0..UPLOAD_ATTEMPTS_MAX {
            self.back_off(attempt).await;
            let Some(seen) = self.see_upload(name, upload).await? else {
                // Closed by a commit that may be this one's, or by another abortion, which is as good; not by a completion.
                let was_completed = self.metadata.get(&keys::completed(upload)).await?.is_some();
                return if unsure && !was_completed { Ok(()) } else { Err(no_such_upload(upload)) };
            };
            let mut commit = Batch::new();
            abort(&mut commit, &seen.key, seen.entry.revision, upload);
            match self.metadata.commit(commit).await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind == ErrorKind::Conflict => {}
                Err(error) if error.kind == ErrorKind::Unknown => unsure = true,
                Err(error) => return Err(error),
            }
        }
        Err(contended(upload))
    }

    /// Has `last`, which checks the record of a bucket, abort its uploads too. Those that are too many for one commit are aborted before, by
    /// commits that check the same. `Conflict` if that does not hold.
    pub(in crate::object) async fn abort_uploads(&self, bucket: &BucketName, last: &mut Batch) -> Result<()> {
        let range = keys::uploads(bucket.as_str(), "");
        loop {
            let found = self.metadata.scan(&range.from, &range.to, ABORTED_AT_ONCE + 1).await?;
            let are_more = found.len() > ABORTED_AT_ONCE;
            let mut before = Batch::new();
            before.checks.clone_from(&last.checks);
            let commit = if are_more { &mut before } else { &mut *last };
            for (key, entry) in found.iter().take(ABORTED_AT_ONCE) {
                abort(commit, key, entry.revision, keys::parse_upload(key)?.2);
            }
            if !are_more {
                return Ok(());
            }
            self.metadata.commit(before).await?;
        }
    }

    pub(super) async fn see_upload(&self, name: &ObjectName, upload: UploadId) -> Result<Option<SeenUpload>> {
        let key = keys::upload(name.bucket().as_str(), name.key(), upload);
        let Some(entry) = self.metadata.get(&key).await? else { return Ok(None) };
        let record = UploadRecord::decode(&entry.value)?;
        Ok(Some(SeenUpload { key, entry, record }))
    }

    pub(super) async fn require_upload(&self, name: &ObjectName, upload: UploadId) -> Result<SeenUpload> {
        self.see_upload(name, upload).await?.ok_or_else(|| no_such_upload(upload))
    }
}

/// Has a commit close an upload and give back what it stored.
fn abort(commit: &mut Batch, key: &Bytes, revision: u64, upload: UploadId) {
    let garbage = GarbageRecord { garbage: Garbage::Upload { version: None }, since_ms: 0 };
    commit.check(key.clone(), Expect::Revision(revision)).delete(key.clone());
    commit.put(keys::garbage(VersionId(upload.0)), garbage.encode()).reclaim();
}

fn record_of(new: NewUpload, initiated_ms: u64) -> UploadRecord {
    let Attributes { owner, headers, tags, retention, legal_hold, storage_class, tiered, .. } = new.attributes;
    UploadRecord {
        initiated_ms,
        owner,
        content_type: new.content_type,
        metadata: new.metadata,
        headers,
        tags,
        retention,
        legal_hold: legal_hold == Some(true),
        storage_class,
        tiered,
        checksum: new.checksum,
    }
}

/// The refusal of what needs an open upload.
pub(super) fn no_such_upload(upload: UploadId) -> Error {
    Refused::NoSuchUpload.error(format!("upload {upload} is not open: it was completed, aborted, or never begun"))
}

pub(super) fn contended(upload: UploadId) -> Error {
    Error::unavailable(format!("upload {upload} is being changed by too many at once; retry"))
}
