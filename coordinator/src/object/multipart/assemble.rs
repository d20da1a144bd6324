//! Putting parts together: the list of parts that a version is made of, and the commit that closes their upload.
//!
//! What it keeps true: the list is written before or with the commit that makes the version visible, under an intent where that takes more
//! than one commit. Until then it owns nothing: a list that was given up is thrown away, and the parts stay the upload's.

use super::complete::CompletedUpload;
use super::upload::SeenUpload;
use crate::metadata::records::{
    CompletedRecord, Garbage, GarbageRecord, PARTS_ENTRIES_MAX, PartEntry, PartsRecord, Record, UploadId, VersionId,
    VersionRecord, Versioning,
};
use crate::metadata::{Batch, Expect, keys};
use crate::object::intent::Intent;
use crate::object::page::given_up;
use crate::object::{ObjectName, Objects};
use bytes::Bytes;
use protocol::{Error, ErrorKind, Result};

/// Records of parts that one commit writes; each takes some 10 KiB.
const PAGES_PER_COMMIT: usize = 32;
/// How often a commit of them is tried.
const LIST_ATTEMPTS_MAX: u32 = 16;

/// An upload that is about to be closed by the version that it becomes.
pub struct Assembly {
    upload: UploadId,
    upload_key: Bytes,
    revision: u64,
    count: u16,
    /// The end of the list, which the publishing commit writes.
    last: PartsRecord,
}

impl Assembly {
    /// Of how many parts the version is.
    pub(in crate::object) fn count(&self) -> u16 {
        self.count
    }

    /// Has `commit`, which makes `version` visible, close the upload, if nothing has changed about it.
    pub(in crate::object) fn close_upload(
        &self,
        commit: &mut Batch,
        name: &ObjectName,
        version: &VersionRecord,
        versioning: Versioning,
    ) {
        let completed = CompletedRecord {
            bucket: name.bucket().as_str().to_owned(),
            key: name.key().to_owned(),
            at_ms: version.created_ms,
            version: version.id,
            is_null: version.is_null,
            versioning,
            number: version.number,
            size: version.size,
            etag: version.etag,
            checksum: version.checksum.clone(),
        };
        let garbage = Garbage::Upload { version: Some(version.id) };
        commit.check(self.upload_key.clone(), Expect::Revision(self.revision)).delete(self.upload_key.clone());
        commit.put(keys::completed(self.upload), completed.encode());
        commit.put(keys::garbage(VersionId(self.upload.0)), GarbageRecord { garbage, since_ms: 0 }.encode());
        commit.put(parts_key(version.id, &self.last), self.last.encode());
    }
}

impl Objects {
    /// `Conflict` unless the upload is as it was when its parts were read.
    pub(in crate::object) async fn require_unchanged(&self, assembly: &Assembly) -> Result<()> {
        let found = self.metadata.get(&assembly.upload_key).await?;
        if found.is_some_and(|entry| entry.revision == assembly.revision) {
            return Ok(());
        }
        Err(Error::conflict(format!("upload {} has changed", assembly.upload)))
    }

    /// Writes all but the end of the list of `parts`, under `intent` if there is more than the end.
    pub(super) async fn assemble(
        &self,
        upload: UploadId,
        seen: &SeenUpload,
        parts: Vec<PartEntry>,
        version: VersionId,
        intent: &mut Intent,
    ) -> Result<Assembly> {
        let count = parts.len() as u16;
        let mut pages = paged(parts);
        let last = pages.pop().expect("a completion names one part at least");
        if !pages.is_empty() {
            intent.begin(self).await?;
        }
        for some in pages.chunks(PAGES_PER_COMMIT) {
            self.write_list(version, some).await?;
        }
        let (upload_key, revision) = (seen.key.clone(), seen.entry.revision);
        Ok(Assembly { upload, upload_key, revision, count, last })
    }

    pub(in crate::object) async fn write_list(&self, version: VersionId, pages: &[PartsRecord]) -> Result<()> {
        for _ in 0..LIST_ATTEMPTS_MAX {
            let mut commit = Batch::new();
            commit.check(keys::intent(version), Expect::Present);
            for page in pages {
                commit.put(parts_key(version, page), page.encode());
            }
            match self.metadata.commit(commit).await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind == ErrorKind::Conflict => return Err(given_up()),
                // The same list is the same, however often it is written.
                Err(error) if error.kind == ErrorKind::Unknown => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::unavailable(format!(
            "the list of parts could not be written {LIST_ATTEMPTS_MAX} times in a row; retry"
        )))
    }

    /// What became of an upload that was completed under this name.
    pub(super) async fn completed(&self, name: &ObjectName, upload: UploadId) -> Result<Option<CompletedUpload>> {
        let Some(entry) = self.metadata.get(&keys::completed(upload)).await? else { return Ok(None) };
        let record = CompletedRecord::decode(&entry.value)?;
        let is_of_name = record.bucket == name.bucket().as_str() && record.key == name.key();
        Ok(is_of_name.then(|| CompletedUpload::of(record)))
    }
}

fn parts_key(version: VersionId, page: &PartsRecord) -> Bytes {
    keys::parts(version, page.entries.last().map_or(page.start, |last| last.end))
}

/// The list in records of its own. A part without bytes does not begin one, unless there is no other: two records would end at the same
/// offset, which is their key.
fn paged(parts: Vec<PartEntry>) -> Vec<PartsRecord> {
    let mut pages: Vec<PartsRecord> = Vec::new();
    let mut end = 0;
    for part in parts {
        let has_bytes = part.end > end;
        let start = std::mem::replace(&mut end, part.end);
        match pages.last_mut() {
            Some(page) if page.entries.len() < PARTS_ENTRIES_MAX || !has_bytes => page.entries.push(part),
            _ => pages.push(PartsRecord { start, entries: vec![part] }),
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn the_records_of_a_list_end_at_offsets_of_their_own() {
        for count in [1, PARTS_ENTRIES_MAX, PARTS_ENTRIES_MAX + 1, 2 * PARTS_ENTRIES_MAX + 1] {
            for last_bytes in [0, 1] {
                let mut end = 0;
                let part = |number| {
                    end += if number == count { last_bytes } else { 5 };
                    PartEntry { number: number as u16, id: VersionId(Uuid::nil()), end, checksum: None }
                };
                let parts: Vec<PartEntry> = (1..=count).map(part).collect();
                let pages = paged(parts.clone());
                let ends: Vec<u64> = pages.iter().map(|page| page.entries.last().unwrap().end).collect();
                assert!(ends.is_sorted_by(|one, other| one < other), "{ends:?}");
                let starts: Vec<u64> = pages.iter().map(|page| page.start).collect();
                assert_eq!(starts, [&[0], &ends[..ends.len() - 1]].concat());
                assert!(pages.iter().all(|page| page.entries.len() <= PARTS_ENTRIES_MAX + 1));
                let listed: Vec<PartEntry> = pages.into_iter().flat_map(|page| page.entries).collect();
                assert_eq!(listed, parts);
            }
        }
    }
}
