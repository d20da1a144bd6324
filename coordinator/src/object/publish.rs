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
use super::batch::StoredBatch;
use super::chunker::StreamDigest;
use super::condition::Condition;
use super::name::ObjectName;
use super::receipt::Receipt;
use crate::metadata::records::{
    ChunkEntry, ChunkList, ObjectRecord, ObjectState, PageRecord, Record, VersionId, VersionRecord, VersionState,
};
use crate::metadata::{Batch, Entry, Expect, keys};
use protocol::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often a publish is tried anew when other writers of the key come first. Each round one of them wins, so this many writers
/// of one key can race before the last is told to retry.
const PUBLISH_ATTEMPTS_MAX: u32 = 128;
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
}

/// A published version.
#[derive(Clone, Debug)]
pub struct PutDone {
    /// Its id.
    pub version: VersionId,
    /// Its number, from 1.
    pub number: u64,
    /// Bytes.
    pub size: u64,
    /// Their digest.
    pub sha256: [u8; 32],
    /// Their MD5, where it was asked for.
    pub md5: Option<[u8; 16]>,
    /// Chunks.
    pub chunks: u64,
    /// Bytes stored anew for it, before replication.
    pub stored_bytes: u64,
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
    pub(super) digest: StreamDigest,
}

impl Objects {
    /// Publishes `draft` with its `last` batch under the target's name.
    pub(super) async fn publish(&self, draft: &Draft, last: &mut StoredBatch, target: &PutTarget) -> Result<PutDone> {
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
        last: &mut StoredBatch,
        target: &PutTarget,
        unsure: &mut Vec<Sent>,
    ) -> Result<PutDone> {
        for attempt in 0..PUBLISH_ATTEMPTS_MAX {
            self.back_off(attempt).await;
            let current = self.object_entry(&target.name).await?;
            let expect = Expect::unchanged(current.as_ref().map(|(_, entry)| entry));
            if attempt > 0 {
                for sent in &*unsure {
                    if self.has_landed(&target.name, &sent.done).await? {
                        return Ok(sent.done.clone());
                    }
                }
                // Revisions are never reused: what has not landed and expects another one never will.
                unsure.retain(|sent| sent.expect == expect);
                self.require_intent(draft).await?;
                self.refresh_batch(last).await?;
            }
            let plan = self.plan(draft, last, target, current).await?;
            match self.metadata.commit(plan.commit).await {
                Ok(()) => {
                    last.log_shortfall();
                    return Ok(plan.done);
                }
                Err(error) if error.kind == ErrorKind::Conflict => {}
                Err(error) if error.kind == ErrorKind::Unknown => unsure.push(Sent { done: plan.done, expect }),
                Err(error) => return Err(error),
            }
        }
        Err(Error::unavailable(format!(
            "'{}' is being written by too many at once: {PUBLISH_ATTEMPTS_MAX} attempts lost the race; retry",
            target.name.key()
        )))
    }

    async fn back_off(&self, attempt: u32) {
        if attempt > 2 {
            let bound = (1u64 << attempt.min(10)).min(BACKOFF_MS_MAX);
            let pause_ms = self.clock.random() as u64 % bound;
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
    }

    async fn object_entry(&self, name: &ObjectName) -> Result<Option<(ObjectRecord, Entry)>> {
        let key = keys::object(name.bucket().as_str(), name.key());
        let Some(entry) = self.metadata.get(&key).await? else {
            return Ok(None);
        };
        Ok(Some((ObjectRecord::decode(&entry.value)?, entry)))
    }

    async fn has_landed(&self, name: &ObjectName, sent: &PutDone) -> Result<bool> {
        let key = keys::version(name.bucket().as_str(), name.key(), sent.number);
        let Some(entry) = self.metadata.get(&key).await? else {
            return Ok(false);
        };
        Ok(VersionRecord::decode(&entry.value)?.id == sent.version)
    }

    /// A put that slept longer than its intent lived must not publish (faults row 9).
    async fn require_intent(&self, draft: &Draft) -> Result<()> {
        if draft.has_intent && self.metadata.get(&keys::intent(draft.id)).await?.is_none() {
            return Err(Error::unavailable("the upload took too long and was given up; send it again"));
        }
        Ok(())
    }

    async fn plan(
        &self,
        draft: &Draft,
        last: &StoredBatch,
        target: &PutTarget,
        current: Option<(ObjectRecord, Entry)>,
    ) -> Result<Plan> {
        let expect = Expect::unchanged(current.as_ref().map(|(_, entry)| entry));
        let record = current.map(|(record, _)| record);
        self.require(&target.condition, &target.name, record.as_ref()).await?;
        let now_ms = self.clock.now_ms();
        let predecessor = record.as_ref().filter(|record| record.state == ObjectState::Live);
        let shared_bytes = match predecessor {
            Some(record) if draft.reuses_any || last.reuses_any() => {
                self.shared_bytes(draft, last, record.current).await?
            }
            _ => 0,
        };
        let number = record.as_ref().map_or(0, |record| record.last_number) + 1;
        let version = version_record(draft, last, target, number, shared_bytes, now_ms);
        let object = ObjectRecord {
            current: version.id,
            number,
            last_number: number,
            purged_through: record.as_ref().map_or(0, |record| record.purged_through),
            state: ObjectState::Live,
            size: version.size,
            sha256: version.sha256,
            modified_ms: now_ms,
            content_type: version.content_type.clone(),
            chunks: version.chunk_count,
        };
        let (bucket, key) = (target.name.bucket().as_str(), target.name.key());
        let mut commit = Batch::new();
        commit.check(keys::object(bucket, key), expect);
        last.name_in(&mut commit, draft.id, now_ms);
        if draft.has_intent {
            commit.check(keys::intent(draft.id), Expect::Present);
            commit.delete(keys::intent(draft.id));
            if !last.entries().is_empty() {
                let page = PageRecord { start: draft.last_page_start, entries: last.entries().to_vec() };
                commit.put(keys::page(draft.id, draft.digest.size), page.encode());
            }
        }
        commit.put(keys::version(bucket, key, number), version.encode());
        commit.put(keys::object(bucket, key), object.encode());
        let receipt = last.receipt().map_or(draft.receipt, |receipt| draft.receipt.weakest(receipt));
        Ok(Plan { commit, done: done(&version, receipt) })
    }

    /// Plain bytes of this version in chunks that the version `predecessor` refers to as well.
    async fn shared_bytes(&self, draft: &Draft, last: &StoredBatch, predecessor: VersionId) -> Result<u64> {
        let mut shared = 0;
        let mut offset = 0;
        while draft.has_intent && offset < draft.last_page_start {
            let Some(page) = self.page_after(draft.id, offset).await? else {
                break;
            };
            shared += self.shared_in(&page.entries, page.start, predecessor).await?;
            offset = page.entries.last().map_or(u64::MAX, |entry| entry.end);
        }
        Ok(shared + self.shared_in(last.entries(), draft.last_page_start, predecessor).await?)
    }

    async fn shared_in(&self, entries: &[ChunkEntry], start: u64, predecessor: VersionId) -> Result<u64> {
        let mut shared = 0;
        let mut from = start;
        for entry in entries {
            if self.metadata.get(&keys::reference(entry.chunk, predecessor)).await?.is_some() {
                shared += entry.end - from;
            }
            from = entry.end;
        }
        Ok(shared)
    }
}

struct Plan {
    commit: Batch,
    /// The answer, once the commit has happened.
    done: PutDone,
}

/// A publish whose answer was lost.
struct Sent {
    done: PutDone,
    /// What it expects of the object's record; as long as that holds it may still happen.
    expect: Expect,
}

fn version_record(
    draft: &Draft,
    last: &StoredBatch,
    target: &PutTarget,
    number: u64,
    shared_bytes: u64,
    now_ms: u64,
) -> VersionRecord {
    let chunks = match draft.has_intent {
        true => ChunkList::Paged { pages: draft.pages + u64::from(!last.entries().is_empty()) },
        false => ChunkList::Inline(last.entries().to_vec()),
    };
    VersionRecord {
        id: draft.id,
        number,
        created_ms: now_ms,
        state: VersionState::Live,
        size: draft.digest.size,
        sha256: draft.digest.sha256,
        md5: draft.digest.md5,
        content_type: target.content_type.clone(),
        metadata: target.metadata.clone(),
        chunks,
        chunk_count: draft.chunks,
        shared_bytes,
        stored_bytes: draft.stored_bytes + last.fresh_stored_bytes(),
    }
}

fn done(version: &VersionRecord, receipt: Receipt) -> PutDone {
    PutDone {
        version: version.id,
        number: version.number,
        size: version.size,
        sha256: version.sha256,
        md5: version.md5,
        chunks: version.chunk_count,
        stored_bytes: version.stored_bytes,
        receipt,
    }
}

fn still_unknown(id: VersionId) -> String {
    format!("the write was sent but its outcome is unknown; look for versionId {id} before sending it again")
}
