//! Decides about chunks that lost a reference.
//!
//! Steps for one chunk; each commit may be the last, and may land late:
//! 1. if it is referenced, it is taken off the queue, unless it was put there anew or condemned meanwhile;
//! 2. it is condemned, which changes its revision: from now on no reuse of it can be committed; not if it is off the queue, or nobody
//!    would put it back;
//! 3. its references are looked for again; if there is one, it is put back;
//! 4. its record, digest and repairs go, and its shards are put into the trash, in one commit.

use super::put_trash;
use crate::metadata::records::{ChunkRecord, ChunkState, DigestRecord, Record, SEVERITY_DRAIN, SEVERITY_REBALANCE};
use crate::metadata::{Batch, Entry, Expect, keys};
use crate::worker::Work;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use protocol::{ChunkId, Result, ShardId};

/// Chunks decided about in one step,
const CHUNKS_MAX: usize = 128;
/// and at the same time: their commits share an fsync.
const AT_ONCE: usize = 16;

/// Decides about some chunks; how many.
pub(super) async fn collect_some(work: &Work) -> Result<u64> {
    let queue = work.scan(&keys::collects(), CHUNKS_MAX).await?;
    let decided =
        stream::iter(queue.into_iter().map(|(key, entry)| collect(work, key, entry))).buffer_unordered(AT_ONCE);
    decided.try_fold(0, |sum, _| async move { Ok(sum + 1) }).await
}

async fn collect(work: &Work, key: Bytes, queued: Entry) -> Result<()> {
    let chunk = keys::parse_collect(&key)?;
    let mut dequeue = Batch::new();
    dequeue.check(key.clone(), Expect::Revision(queued.revision)).delete(key).reclaim();
    let Some(entry) = work.objects.metadata.get(&keys::chunk(chunk)).await? else {
        return work.commit(dequeue).await.map(drop);
    };
    let mut record = ChunkRecord::decode(&entry.value)?;
    if record.state == ChunkState::Condemned && record.shards.is_empty() {
        // A fence against a writer that sleeps; it stays.
        return work.commit(dequeue).await.map(drop);
    }
    if record.state == ChunkState::Live {
        if is_referenced(work, chunk).await? {
            dequeue.check(keys::chunk(chunk), Expect::Revision(entry.revision));
            return work.commit(dequeue).await.map(drop);
        }
        record.state = ChunkState::Condemned;
        let mut condemn = Batch::new();
        condemn.checks.clone_from(&dequeue.checks);
        condemn.check(keys::chunk(chunk), Expect::Revision(entry.revision));
        condemn.put(keys::chunk(chunk), record.encode()).reclaim();
        if !work.commit(condemn).await? {
            return Ok(());
        }
    }
    let Some(entry) = work.objects.metadata.get(&keys::chunk(chunk)).await? else { return Ok(()) };
    let mut record = ChunkRecord::decode(&entry.value)?;
    if record.state != ChunkState::Condemned {
        return Ok(());
    }
    if is_referenced(work, chunk).await? {
        record.state = ChunkState::Live;
        dequeue.check(keys::chunk(chunk), Expect::Revision(entry.revision));
        dequeue.put(keys::chunk(chunk), record.encode());
        return work.commit(dequeue).await.map(drop);
    }
    remove(work, chunk, entry.revision, &record, dequeue).await
}

async fn remove(work: &Work, chunk: ChunkId, revision: u64, record: &ChunkRecord, mut commit: Batch) -> Result<()> {
    commit.check(keys::chunk(chunk), Expect::Revision(revision)).delete(keys::chunk(chunk));
    for severity in repair_severities(record) {
        commit.delete(keys::repair(severity, chunk));
    }
    let digest = keys::digest(&record.sha256, record.code);
    if let Some(entry) = work.objects.metadata.get(&digest).await?
        && DigestRecord::decode(&entry.value)?.chunk == chunk
    {
        commit.check(digest.clone(), Expect::Revision(entry.revision)).delete(digest);
    }
    let now_ms = work.objects.clock.now_ms();
    for place in &record.shards {
        put_trash(&mut commit, &place.node, ShardId { chunk, index: place.index }, now_ms);
    }
    work.commit(commit).await.map(drop)
}

/// Every severity under which a chunk like this may be queued for repair.
pub(crate) fn repair_severities(record: &ChunkRecord) -> impl Iterator<Item = u8> {
    let shards = u8::try_from(record.code.shards()).unwrap_or(u8::MAX).min(SEVERITY_DRAIN - 1);
    (0..=shards).chain([SEVERITY_DRAIN, SEVERITY_REBALANCE])
}

async fn is_referenced(work: &Work, chunk: ChunkId) -> Result<bool> {
    Ok(!work.scan(&keys::references(chunk), 1).await?.is_empty())
}
