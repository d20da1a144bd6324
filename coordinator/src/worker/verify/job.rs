//! Verifications as those see them who ask for them: begun, looked at, listed.
//!
//! What it keeps true: no more than [`JOBS_MAX`] are on record; the oldest ended one makes room, with its findings.

use crate::metadata::records::{FindingRecord, Record, VerifyRecord};
use crate::metadata::{Batch, Expect, Metadata, keys};
use crate::object::{BucketName, Objects};
use protocol::{Error, Result};
use uuid::Uuid;

/// The most verifications on record.
pub const JOBS_MAX: usize = 32;
/// The most findings in one page of a report.
pub const FINDINGS_LIMIT_MAX: usize = 1_000;
/// Findings taken away by one commit.
const FINDINGS_PER_COMMIT: usize = 100;

/// What is to be verified.
#[derive(Clone, Debug)]
pub struct VerifyRequest {
    /// The bucket; all of them without.
    pub bucket: Option<BucketName>,
    /// Keys that start so; only with a bucket.
    pub prefix: String,
    /// Bytes a second to read at most; 0 for any.
    pub bytes_per_s: u64,
    /// Keys after this one; only with a bucket.
    pub after: Option<String>,
}

/// A verification on record.
#[derive(Clone, Debug)]
pub struct VerifyJob {
    /// Its id.
    pub id: Uuid,
    /// How far it has come.
    pub record: VerifyRecord,
}

/// A page of a verification's findings.
#[derive(Clone, Debug)]
pub struct FindingsPage {
    /// The findings, in the order in which they were met.
    pub findings: Vec<FindingRecord>,
    /// The number at which the next page goes on; `None` at the end.
    pub next: Option<u64>,
}

/// Records that this is to be verified; a worker does it. `Unavailable` while too many wait.
pub async fn begin(objects: &Objects, request: &VerifyRequest) -> Result<Uuid> {
    make_room(&*objects.metadata).await?;
    let position = match (&request.bucket, &request.after) {
        (Some(bucket), Some(after)) => keys::versions(bucket.as_str(), after).to.to_vec(),
        _ => Vec::new(),
    };
    let record = VerifyRecord {
        bucket: request.bucket.as_ref().map(|bucket| bucket.as_str().to_owned()),
        prefix: request.prefix.clone(),
        bytes_per_s: request.bytes_per_s,
        position,
        requested_ms: objects.clock.now_ms(),
        ..VerifyRecord::default()
    };
    let id = objects.clock.fresh_id();
    let mut commit = Batch::new();
    commit.check(keys::verify(id), Expect::Absent).put(keys::verify(id), record.encode());
    objects.metadata.commit(commit).await?;
    Ok(id)
}

/// The verification of this id.
pub async fn read(objects: &Objects, id: Uuid) -> Result<Option<VerifyJob>> {
    let found = objects.metadata.get(&keys::verify(id)).await?;
    found.map(|entry| Ok(VerifyJob { id, record: VerifyRecord::decode(&entry.value)? })).transpose()
}

/// All verifications on record, the oldest first.
pub async fn list(objects: &Objects) -> Result<Vec<VerifyJob>> {
    let range = keys::verifies();
    let found = objects.metadata.scan(&range.from, &range.to, JOBS_MAX).await?;
    let job = |(key, entry): &(bytes::Bytes, crate::metadata::Entry)| {
        Ok(VerifyJob { id: keys::parse_verify(key)?, record: VerifyRecord::decode(&entry.value)? })
    };
    found.iter().map(job).collect()
}

/// Findings of a verification from `number` on.
pub async fn findings(objects: &Objects, id: Uuid, number: u64, limit: usize) -> Result<FindingsPage> {
    let range = keys::findings_from(id, number);
    let limit = limit.clamp(1, FINDINGS_LIMIT_MAX);
    let found = objects.metadata.scan(&range.from, &range.to, limit + 1).await?;
    let findings: Result<Vec<FindingRecord>> =
        found.iter().take(limit).map(|(_, entry)| FindingRecord::decode(&entry.value)).collect();
    let next = (found.len() > limit).then(|| number + limit as u64);
    Ok(FindingsPage { findings: findings?, next })
}

async fn make_room(metadata: &dyn Metadata) -> Result<()> {
    let range = keys::verifies();
    let jobs = metadata.scan(&range.from, &range.to, JOBS_MAX).await?;
    if jobs.len() < JOBS_MAX {
        return Ok(());
    }
    for (key, entry) in &jobs {
        if VerifyRecord::decode(&entry.value)?.finished_ms > 0 {
            return forget(metadata, keys::parse_verify(key)?).await;
        }
    }
    Err(Error::unavailable(format!("{JOBS_MAX} verifications wait already; ask again when one has ended")))
}

/// The findings first: what is left by a crash between is still named by its job.
async fn forget(metadata: &dyn Metadata, id: Uuid) -> Result<()> {
    let range = keys::findings_from(id, 0);
    loop {
        let some = metadata.scan(&range.from, &range.to, FINDINGS_PER_COMMIT).await?;
        let mut commit = Batch::new();
        for (key, _) in &some {
            commit.delete(key.clone());
        }
        if some.len() < FINDINGS_PER_COMMIT {
            commit.delete(keys::verify(id)).reclaim();
            return metadata.commit(commit).await;
        }
        commit.reclaim();
        metadata.commit(commit).await?;
    }
}
