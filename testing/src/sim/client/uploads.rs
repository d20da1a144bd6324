//! The same client, uploading in parts and copying. An upload is one operation to the oracle, from its beginning to its end: a put of what
//! its parts come to.

use super::{Client, Sending, feed, name};
use crate::sim::body::TestBody;
use crate::sim::check::{Ended, OPERATION, OpId};
use bytes::Bytes;
use coordinator::code::Code;
use coordinator::metadata::records::{ETag, StorageClass, UploadId, VersionRecord};
use coordinator::object::{
    Attributes, CompleteRequest, CompletedUpload, Condition, CopyDone, ListUploadsRequest, NewUpload, PartClaim,
    PartDone, PartTarget, PutDone, PutTarget, Receipt, SourceVersion, body_channel,
};
use std::collections::BTreeMap;

/// Uploads listed at once.
const LISTED_MAX: usize = 7;

/// An upload that was begun: what it is to become, and what was acknowledged of it.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Its operation.
    pub op: OpId,
    /// The key it is for.
    pub key: String,
    /// Its id.
    pub upload: UploadId,
    /// What is demanded of the key when it is completed.
    pub condition: Condition,
    /// The parts that it is to be made of, as they were acknowledged.
    pub claims: Vec<PartClaim>,
}

impl Client {
    /// Begins an upload of `body` under `key`.
    pub async fn begin_upload(&self, key: &str, body: &TestBody, condition: Condition) -> Ended<Begun> {
        let op = self.oracle.put_begins(key, body, &condition);
        let new = NewUpload {
            name: name(key),
            content_type: "application/octet-stream".to_owned(),
            metadata: BTreeMap::from([(OPERATION.to_owned(), op.to_string())]),
            attributes: Attributes { storage_class: self.class, ..Attributes::default() },
            checksum: None,
            missing_bucket: self.if_missing(key),
        };
        let begun = async {
            let upload = self.coordinator.objects.create_upload(new).await?;
            Ok(Begun { op, key: key.to_owned(), upload, condition, claims: Vec::new() })
        };
        self.until_end(begun).await
    }

    /// Puts `data` as part `number`.
    pub async fn put_part(&self, begun: &Begun, number: u16, data: Bytes, sending: Sending) -> Ended<PartDone> {
        let (sender, receiver) = body_channel();
        let length = Some(data.len() as u64);
        let (name, objects) = (name(&begun.key), &self.coordinator.objects);
        let feed = feed(sender, data, PartTarget::default(), sending);
        let put = objects.put_part(&name, begun.upload, number, length, receiver);
        let both = async { futures_util::future::join(feed, put).await.1 };
        let ended = self.until_end(both).await;
        self.oracle.part_ends(begun.op, number, &ended);
        ended
    }

    /// Completes the upload as what was acknowledged of it.
    pub async fn complete(&self, begun: &Begun) -> Ended<CompletedUpload> {
        let request = CompleteRequest {
            name: name(&begun.key),
            upload: begun.upload,
            parts: begun.claims.clone(),
            condition: begun.condition.clone(),
            checksum: None,
            size: None,
            part_bytes_min: 0,
        };
        let ended = self.until_end(self.coordinator.objects.complete_upload(&request)).await;
        self.oracle.completion_ends(begun.op, &ended);
        ended
    }

    /// Aborts the upload.
    pub async fn abort(&self, begun: &Begun) -> Ended<()> {
        let name = name(&begun.key);
        let ended = self.until_end(self.coordinator.objects.abort_upload(&name, begun.upload)).await;
        self.oracle.abortion_ends(begun.op, &ended);
        ended
    }

    /// Aborts whatever upload of a bucket is open, one page of them after the other.
    pub async fn abort_all(&self, bucket: &str) -> Ended<()> {
        let aborted = async {
            let bucket = name(&format!("{bucket}/any")).bucket().clone();
            let mut after = None;
            loop {
                let delimiter = None;
                let request = ListUploadsRequest {
                    bucket: bucket.clone(),
                    prefix: String::new(),
                    delimiter,
                    after,
                    limit: LISTED_MAX,
                };
                let page = self.coordinator.objects.list_uploads(&request).await?;
                for listed in page.uploads {
                    let name = coordinator::object::ObjectName::new(bucket.clone(), listed.key)?;
                    self.coordinator.objects.abort_upload(&name, listed.upload).await?;
                }
                after = page.last;
                if !page.more {
                    return Ok(());
                }
            }
        };
        self.until_end(aborted).await
    }

    /// Copies a version that was read to `key`.
    pub async fn copy(
        &self,
        (from, source): (&str, &VersionRecord),
        key: &str,
        condition: Condition,
    ) -> Ended<CopyDone> {
        let body = self.oracle.body_of(source).expect("every version of a storm was put by an operation");
        let op = self.oracle.put_begins(key, &body, &condition);
        let target = PutTarget {
            name: name(key),
            content_type: source.content_type.clone(),
            metadata: BTreeMap::from([(OPERATION.to_owned(), op.to_string())]),
            condition,
            md5: None,
            attributes: Attributes { storage_class: self.class, ..Attributes::default() },
            missing_bucket: self.if_missing(key),
        };
        let ended = self
            .until_end(self.coordinator.objects.copy(
                SourceVersion { name: &name(from), version: source },
                target,
                None,
            ))
            .await;
        self.oracle.copy_ends(op, &ended);
        ended
    }
}

/// A completion as the put that it is. It says nothing of copies; that they are a quorum is law 1.
pub fn as_put(done: &CompletedUpload) -> PutDone {
    PutDone {
        version: done.version,
        version_name: done.version_name,
        versioning: done.versioning,
        number: done.number,
        size: done.size,
        sha256: None,
        etag: done.etag,
        modified_ms: done.modified_ms,
        chunks: 1,
        stored_bytes: 1,
        storage_class: StorageClass::Standard,
        receipt: Receipt::of(Code::REPLICATION, Code::REPLICATION.write_quorum() as u32),
    }
}

/// Whether that is the ETag of something put together from parts.
pub fn is_of_parts(etag: ETag) -> bool {
    matches!(etag, ETag::Parts(..))
}
