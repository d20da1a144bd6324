//! The one commit that makes a version visible (law 3).
//!
//! Steps, each either not done or wholly done:
//! 1. every chunk of the version is durable on a quorum and named by a page, or about to be named by this commit;
//! 2. the commit checks that the key's record is the one just read, that the intent is alive, and that every chunk leant on is
//!    unchanged; then it writes version and object, and deletes the intent;
//! 3. only after it is known to have happened does anyone answer.
//!
//! A lost answer is resolved by looking for the version under the number it would have; if that cannot be told, the client hears
//! *unknown*, and nothing is cleaned up (faults I9).

use super::Objects;
use super::attributes::{Attributes, VersionName};
use super::batch::StoredBatch;
use super::bucket::MissingBucket;
use super::condition::Condition;
use super::landing::{Landing, SeenKey, Sent};
use super::lock::retention_of_new;
use super::marker::standing_for;
use super::multipart::Assembly;
use super::name::ObjectName;
use super::page::given_up;
use super::receipt::Receipt;
use super::usage::Room;
use crate::metadata::records::{
    BucketRecord, ChunkEntry, ChunkList, ETag, ObjectState, PageRecord, Record, Sha256, StorageClass, VersionId,
    VersionRecord, VersionState, Versioning, in_order,
};
use crate::metadata::{Batch, Expect, keys};
use protocol::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often a publish is tried anew when other writers of the key come first. Each round one of them wins, so this many writers
/// of one key can race before the last is told to retry.
const PUBLISH_ATTEMPTS_MAX: u32 = 128;
/// In so many of them it is looked anew how much is shared with the version before. It is a figure for people; with many chunks it takes
/// longer than other writers leave.
const SHARED_ATTEMPTS_MAX: u32 = 3;
/// The longest pause between two attempts, in milliseconds.
const BACKOFF_MS_MAX: u64 = 20;

/// Where a finished stream is to be published.
#[derive(Clone, Debug)]
pub struct PutTarget {
    /// The object's name.
    pub name: ObjectName,
    /// Its media type, as the client gave it.
    pub content_type: String,
    /// The client's own metadata.
    pub metadata: BTreeMap<String, String>,
    /// What must hold of the key.
    pub condition: Condition,
    /// What the bytes must come to, if the client said so; only for a put that computes it.
    pub md5: Option<[u8; 16]>,
    /// What else the client said.
    pub attributes: Attributes,
    /// What the put comes to if there is no such bucket.
    pub missing_bucket: MissingBucket,
}

/// A published version.
#[derive(Clone, Debug)]
pub struct PutDone {
    /// Its id.
    pub version: VersionId,
    /// What S3 calls it.
    pub version_name: VersionName,
    /// Whether its bucket keeps versions; S3 tells the version's name only then.
    pub versioning: Versioning,
    /// Its number, from 1.
    pub number: u64,
    /// Bytes.
    pub size: u64,
    /// Their digest; `None` for what was put together from parts.
    pub sha256: Option<Sha256>,
    /// Its ETag.
    pub etag: ETag,
    /// When it was made, in milliseconds since 1970.
    pub modified_ms: u64,
    /// Chunks.
    pub chunks: u64,
    /// Bytes stored anew for it, before replication.
    pub stored_bytes: u64,
    /// How it is stored.
    pub storage_class: StorageClass,
    /// What is true of its durability now.
    pub receipt: Receipt,
}

/// What a put has gathered when its stream ends; the last batch is not in these sums, since it may change until it is published.
pub(super) struct Draft {
    pub(super) id: VersionId,
    /// Whether an intent names this version: not on the fast path of a single batch.
    pub(super) has_intent: bool,
    pub(super) pages: u64,
    pub(super) last_page_start: u64,
    pub(super) chunks: u64,
    pub(super) stored_bytes: u64,
    pub(super) reuses_any: bool,
    pub(super) receipt: Receipt,
    /// Bytes in all.
    pub(super) size: u64,
    /// SHA-256 of them; `None` for what is put together from parts.
    pub(super) sha256: Option<Sha256>,
    pub(super) etag: ETag,
    pub(super) composed_of: ComposedOf,
}

/// What a version's manifest lists.
pub(super) enum ComposedOf {
    /// Chunks one after the other.
    Chunks,
    /// A document's hot chunks and its cold ones, a batch each; it fits one commit.
    Document,
    /// The parts it is put together from.
    Parts(Assembly),
}

impl Draft {
    fn assembly(&self) -> Option<&Assembly> {
        match &self.composed_of {
            ComposedOf::Parts(assembly) => Some(assembly),
            ComposedOf::Chunks | ComposedOf::Document => None,
        }
    }
}

impl Objects {
    /// Publishes `draft` with its `last` batches, one for each code, under the target's name.
    pub(super) async fn publish(&self, draft: &Draft, last: &mut [StoredBatch], target: &PutTarget) -> Result<PutDone> {
        let mut unsure = Vec::new();
        match self.try_to_publish(draft, last, target, &mut unsure).await {
            // A commit that may have happened, or may still happen, is not a failure (faults I9).
            Err(error) if !unsure.is_empty() => Err(Error::caused(ErrorKind::Unknown, still_unknown(draft.id), error)),
            outcome => outcome,
        }
    }

    async fn try_to_publish(
        &self,
        draft: &Draft,
        last: &mut [StoredBatch],
        target: &PutTarget,
        unsure: &mut Vec<(Sent, PutDone)>,
    ) -> Result<PutDone> {
        // What is made of known bytes is written nowhere, so nobody else has asked; and it may be long ago that a stream began.
        self.nodes.require_majority()?;
        let mut shared_bytes = None;
        let mut held = HeldRoom::default();
        for attempt in 0..PUBLISH_ATTEMPTS_MAX {
            self.back_off(attempt).await;
            let seen = self.see_key(&target.name).await?;
            if attempt > 0 {
                let has_intent = self.has_intent(draft).await?;
                if let Some(assembly) = draft.assembly() {
                    // The commit closes the upload, so while that is as it was read nothing has happened.
                    self.require_unchanged(assembly).await?;
                } else if let Some(done) = self.landed(&target.name, &seen, has_intent, unsure).await? {
                    return Ok(done);
                }
                if draft.has_intent && !has_intent {
                    return Err(given_up());
                }
                for batch in last.iter_mut() {
                    self.refresh_batch(batch).await?;
                }
            }
            drop(held.0.take());
            let known = shared_bytes.filter(|_| attempt >= SHARED_ATTEMPTS_MAX);
            let Some(plan) = self.plan(draft, last, target, &seen, known).await? else { continue };
            shared_bytes = Some(plan.shared_bytes);
            match self.metadata.commit(plan.commit).await {
                Ok(()) => {
                    last.iter().for_each(StoredBatch::log_shortfall);
                    if let Some(room) = plan.room {
                        room.keep();
                    }
                    return Ok(plan.done);
                }
                Err(error) if error.kind == ErrorKind::Conflict => {}
                Err(error) if error.kind == ErrorKind::Unknown => {
                    held.0 = plan.room;
                    unsure.push((plan.sent, plan.done));
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::unavailable(format!(
            "'{}' is being written by too many at once: {PUBLISH_ATTEMPTS_MAX} attempts lost the race; retry",
            target.name.key()
        )))
    }

    pub(super) async fn back_off(&self, attempt: u32) {
        if attempt > 2 {
            let bound = (1u64 << attempt.min(10)).min(BACKOFF_MS_MAX);
            let pause_ms = self.clock.random() as u64 % bound;
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
    }

    /// The answer of a commit that happened although its own was lost. An error if that cannot be told: then it must not be sent
    /// again. The commit deletes the intent, so while that is there nothing has happened.
    async fn landed(
        &self,
        name: &ObjectName,
        seen: &SeenKey,
        has_intent: bool,
        unsure: &mut Vec<(Sent, PutDone)>,
    ) -> Result<Option<PutDone>> {
        if has_intent {
            return Ok(None);
        }
        let mut possible = Vec::new();
        for (sent, done) in unsure.iter() {
            match self.landing(name, seen, sent).await? {
                Landing::Landed => return Ok(Some(done.clone())),
                Landing::NotYet => possible.push((*sent, done.clone())),
                Landing::Never => {}
                Landing::Unclear => {
                    let message = format!("'{}' was written by others meanwhile", name.key());
                    return Err(Error::unavailable(message));
                }
            }
        }
        *unsure = possible;
        Ok(None)
    }

    /// A put that slept longer than its intent lived must not publish (faults row 9).
    async fn has_intent(&self, draft: &Draft) -> Result<bool> {
        Ok(draft.has_intent && self.metadata.get(&keys::intent(draft.id)).await?.is_some())
    }

    /// The commit; `None` if the key changed while it was looked at. `known`: what it shares with the version before, where that is not to be
    /// looked at again.
    async fn plan(
        &self,
        draft: &Draft,
        last: &[StoredBatch],
        target: &PutTarget,
        seen: &SeenKey,
        known: Option<u64>,
    ) -> Result<Option<Plan>> {
        let now_ms = self.clock.now_ms();
        let name = &target.name;
        let bucket = seen.bucket.or_make(name.bucket(), target.missing_bucket, &target.attributes.owner, now_ms)?;
        target.require_lock(&bucket)?;
        let room = self.take_room(name.bucket(), bucket.quota, draft.size).await?;
        let record = seen.object.as_ref();
        self.require(&target.condition, name, record).await?;
        let shared_bytes = match record.filter(|record| record.state == ObjectState::Live) {
            _ if known.is_some() => known.unwrap_or(0),
            Some(record) if draft.reuses_any || last.iter().any(StoredBatch::reuses_any) => {
                self.shared_bytes(draft, last, self.manifest_of(name, record).await?).await?
            }
            _ => 0,
        };
        let number = record.map_or(0, |record| record.last_number) + 1;
        let version = version_record(draft, last, target, &bucket, Place { number, shared_bytes, now_ms });
        let object = standing_for(record, &version);
        let (bucket_name, key) = (name.bucket().as_str(), name.key());
        let mut commit = Batch::new();
        commit.check(keys::object(bucket_name, key), seen.expect);
        seen.bucket.claim(&mut commit, name.bucket(), &bucket);
        if version.is_null && !self.replace_null(&mut commit, name, record, now_ms).await? {
            return Ok(None);
        }
        last.iter().for_each(|batch| batch.name_in(&mut commit, draft.id, now_ms));
        if draft.has_intent {
            commit.check(keys::intent(draft.id), Expect::Present);
            commit.delete(keys::intent(draft.id));
            let entries = entries_of(last);
            if !entries.is_empty() {
                let page = PageRecord { start: draft.last_page_start, entries };
                commit.put(keys::page(draft.id, draft.size), page.encode());
            }
        }
        if let Some(assembly) = draft.assembly() {
            assembly.close_upload(&mut commit, name, &version, bucket.versioning);
        }
        commit.put(keys::version(bucket_name, key, number), version.encode());
        commit.put(keys::object(bucket_name, key), object.encode());
        let receipt = last.iter().filter_map(StoredBatch::receipt).fold(draft.receipt, Receipt::weakest);
        let sent = Sent { id: version.id, number, object: seen.expect, bucket: seen.bucket.expect() };
        Ok(Some(Plan { commit, room, shared_bytes, sent, done: done(&version, bucket.versioning, receipt) }))
    }
}

struct Plan {
    commit: Batch,
    /// What it takes of the bucket's quota, if there is one.
    room: Option<Room>,
    shared_bytes: u64,
    sent: Sent,
    /// The answer, once the commit has happened.
    done: PutDone,
}

/// Room for what may be there and may not: it counts if nobody finds out.
#[derive(Default)]
struct HeldRoom(Option<Room>);

impl Drop for HeldRoom {
    fn drop(&mut self) {
        if let Some(room) = self.0.take() {
            room.keep();
        }
    }
}

/// Where a version comes to stand.
struct Place {
    number: u64,
    shared_bytes: u64,
    now_ms: u64,
}

fn version_record(
    draft: &Draft,
    last: &[StoredBatch],
    target: &PutTarget,
    bucket: &BucketRecord,
    place: Place,
) -> VersionRecord {
    let chunks = match (&draft.composed_of, last, draft.has_intent) {
        (ComposedOf::Parts(_), ..) => ChunkList::Parts,
        (ComposedOf::Document, [hot, cold], false) => {
            ChunkList::Document { hot: hot.entries().to_vec(), cold: cold.entries().to_vec() }
        }
        (ComposedOf::Document, ..) => {
            unreachable!("a document is a batch of hot chunks and one of cold ones, in one commit")
        }
        (ComposedOf::Chunks, _, true) => {
            ChunkList::Paged { pages: draft.pages + u64::from(!entries_of(last).is_empty()) }
        }
        (ComposedOf::Chunks, _, false) => ChunkList::Inline(entries_of(last)),
    };
    let attributes = &target.attributes;
    VersionRecord {
        id: draft.id,
        number: place.number,
        created_ms: place.now_ms,
        state: VersionState::Live,
        is_null: bucket.versioning != Versioning::Enabled,
        size: draft.size,
        sha256: draft.sha256,
        etag: draft.etag,
        content_type: target.content_type.clone(),
        metadata: target.metadata.clone(),
        chunks,
        chunk_count: draft.chunks,
        shared_bytes: place.shared_bytes,
        stored_bytes: draft.stored_bytes + last.iter().map(StoredBatch::fresh_stored_bytes).sum::<u64>(),
        owner: attributes.owner.clone(),
        headers: attributes.headers.clone(),
        tags: attributes.tags.clone(),
        checksum: attributes.checksum.clone(),
        retention: retention_of_new(bucket, attributes.retention, place.now_ms),
        legal_hold: attributes.legal_hold,
        storage_class: attributes.storage_class,
        tiered: attributes.tiered,
        manifest: draft.id,
        parts: draft.assembly().map(Assembly::count),
    }
}

/// The chunks of these batches, in the order in which they stand in the object.
pub(super) fn entries_of(last: &[StoredBatch]) -> Vec<ChunkEntry> {
    in_order(last.iter().flat_map(StoredBatch::entries))
}

fn done(version: &VersionRecord, versioning: Versioning, receipt: Receipt) -> PutDone {
    PutDone {
        version: version.id,
        version_name: VersionName::of(version),
        versioning,
        number: version.number,
        size: version.size,
        sha256: version.sha256,
        etag: version.etag,
        modified_ms: version.created_ms,
        chunks: version.chunk_count,
        stored_bytes: version.stored_bytes,
        storage_class: version.storage_class,
        receipt,
    }
}

fn still_unknown(id: VersionId) -> String {
    format!("the write was sent but its outcome is unknown; look for versionId {id} before sending it again")
}
