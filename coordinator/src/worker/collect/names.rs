//! Forgets the names of a bucket that was deleted: each was purged, and its record stayed so that no number is used twice while versions
//! are still to be collected under their numbers.
//!
//! What it keeps true: a name is forgotten after its last version, and the bucket's own record after its last name, so that whoever
//! makes the bucket anew meets none of it half gone. Where that has happened meanwhile, the names are the new bucket's.

use crate::metadata::records::{BucketRecord, BucketState, ObjectRecord, ObjectState, Record};
use crate::metadata::{Batch, Entry, Expect, keys};
use crate::worker::Work;
use bytes::Bytes;
use protocol::Result;

/// Names of one commit: with two operations for each it stays below etcd's 128 operations.
const NAMES_MAX: usize = 32;

/// Forgets some names of `bucket`; how many records it changed.
pub(super) async fn forget_some(work: &Work, key: &Bytes, entry: &Entry, bucket: &str) -> Result<u64> {
    let bucket_key = keys::bucket(bucket);
    let found = work.objects.metadata.get(&bucket_key).await?;
    let is_gone = match &found {
        Some(found) => BucketRecord::decode(&found.value)?.state == BucketState::Gone,
        None => false,
    };
    let mut commit = Batch::new();
    commit.check(key.clone(), Expect::Revision(entry.revision)).reclaim();
    commit.check(bucket_key.clone(), Expect::unchanged(found.as_ref()));
    if !is_gone {
        commit.delete(key.clone());
        return Ok(u64::from(work.commit(commit).await?));
    }
    let names = work.scan(&keys::objects(bucket, ""), NAMES_MAX).await?;
    let mut forgotten = 0;
    for (name_key, name) in &names {
        let (_, name_text) = keys::parse_object(name_key)?;
        let has_versions = !work.scan(&keys::versions(bucket, name_text), 1).await?.is_empty();
        if has_versions || ObjectRecord::decode(&name.value)?.state != ObjectState::Purged {
            continue;
        }
        commit.check(name_key.clone(), Expect::Revision(name.revision)).delete(name_key.clone());
        forgotten += 1;
    }
    if names.is_empty() {
        commit.delete(key.clone()).delete(bucket_key);
        forgotten += 1;
    }
    if forgotten > 0 && work.commit(commit).await? {
        return Ok(forgotten);
    }
    Ok(0)
}
