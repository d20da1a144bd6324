//! Takes apart what was uploaded in parts: uploads that are not open any more, and versions that were put together from parts.
//!
//! What it keeps true:
//! - A part goes exactly when nobody can put it together or read it any more: with its upload, if the version that this became does not
//!   list it, and else with that version.
//! - Each commit takes a name of a part away and makes the part garbage of its own at once, so its chunks are named at every moment (law 4).
//!   A part that becomes garbage twice is taken apart once: the second time nothing of it is left.

use crate::metadata::records::{PartRecord, PartsRecord, Record, UploadId, VersionId};
use crate::metadata::{Batch, Entry, Expect, keys};
use crate::object::garbage_of_part;
use crate::worker::Work;
use bytes::Bytes;
use protocol::Result;
use std::collections::BTreeSet;

/// Parts of one commit: with three operations for each it stays below etcd's 128 operations.
const PARTS_PER_COMMIT: usize = 40;
/// Parts of an upload taken away in one step.
const PARTS_MAX: usize = 10 * PARTS_PER_COMMIT;
/// Records of a list read at once, or thrown away in one step.
const LIST_RECORDS_MAX: usize = 32;

/// Takes the part records of an upload away that became `version`, or was aborted; how many records that changed.
pub(super) async fn take_upload(work: &Work, key: &Bytes, entry: &Entry, version: Option<VersionId>) -> Result<u64> {
    let upload = UploadId(keys::parse_garbage(key)?.0);
    let parts = work.scan(&keys::parts_of(upload), PARTS_MAX).await?;
    if parts.is_empty() {
        let mut commit = Batch::new();
        commit.check(key.clone(), Expect::Revision(entry.revision)).delete(key.clone()).reclaim();
        return Ok(u64::from(work.commit(commit).await?));
    }
    let listed = match version {
        Some(version) => listed_by(work, version).await?,
        None => BTreeSet::new(),
    };
    let mut done = 0;
    for some in parts.chunks(PARTS_PER_COMMIT) {
        let mut commit = Batch::new();
        for (part_key, part) in some {
            let id = PartRecord::decode(&part.value)?.id;
            commit.check(part_key.clone(), Expect::Revision(part.revision)).delete(part_key.clone());
            if !listed.contains(&id) {
                commit.put(keys::garbage(id), garbage_of_part().encode());
            }
        }
        commit.reclaim();
        done += if work.commit(commit).await? { some.len() as u64 } else { 0 };
    }
    Ok(done)
}

/// The parts that a version lists: no more than an upload can have, 16 bytes each.
async fn listed_by(work: &Work, version: VersionId) -> Result<BTreeSet<VersionId>> {
    let mut listed = BTreeSet::new();
    let mut range = keys::parts_in(version);
    loop {
        let found = work.scan(&range, LIST_RECORDS_MAX).await?;
        let Some((last, _)) = found.last() else { return Ok(listed) };
        range.from = keys::after(last);
        for (_, entry) in &found {
            listed.extend(PartsRecord::decode(&entry.value)?.entries.iter().map(|part| part.id));
        }
    }
}

/// Makes garbage of the next parts of a version that nobody can see any more; `None` when there are no more.
pub(super) async fn take_list(work: &Work, version: VersionId) -> Result<Option<u64>> {
    let Some((key, entry)) = work.scan(&keys::parts_in(version), 1).await?.pop() else { return Ok(None) };
    let mut commit = Batch::new();
    for part in PartsRecord::decode(&entry.value)?.entries {
        commit.put(keys::garbage(part.id), garbage_of_part().encode());
    }
    commit.check(key.clone(), Expect::Revision(entry.revision)).delete(key).reclaim();
    Ok(Some(u64::from(work.commit(commit).await?)))
}

/// Throws away the list of a version that never came to be; `None` if there is nothing of it left.
pub(super) async fn drop_list(work: &Work, version: VersionId) -> Result<Option<u64>> {
    let list = work.scan(&keys::parts_in(version), LIST_RECORDS_MAX).await?;
    if list.is_empty() {
        return Ok(None);
    }
    let mut commit = Batch::new();
    let dropped = list.len() as u64;
    for (key, _) in list {
        commit.delete(key);
    }
    commit.reclaim();
    Ok(Some(if work.commit(commit).await? { dropped } else { 0 }))
}
