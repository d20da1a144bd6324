//! How much of a version's bytes the one before it has too: a figure for its history.

use super::Objects;
use super::batch::StoredBatch;
use super::name::ObjectName;
use super::publish::{Draft, entries_of};
use crate::metadata::keys;
use crate::metadata::records::{ChunkEntry, ObjectRecord, Record, VersionId, VersionRecord};
use protocol::Result;

impl Objects {
    /// Under which id the chunks of a key's newest version are referenced.
    pub(super) async fn manifest_of(&self, name: &ObjectName, object: &ObjectRecord) -> Result<VersionId> {
        let key = keys::version(name.bucket().as_str(), name.key(), object.number);
        let found = self.metadata.get(&key).await?;
        let version = found.map(|found| VersionRecord::decode(&found.value)).transpose()?;
        Ok(version.map_or(object.current, |version| version.manifest))
    }

    /// Plain bytes of this version in chunks that the manifest `predecessor` refers to as well.
    pub(super) async fn shared_bytes(
        &self,
        draft: &Draft,
        last: &[StoredBatch],
        predecessor: VersionId,
    ) -> Result<u64> {
        let mut shared = 0;
        let mut offset = 0;
        while draft.has_intent && offset < draft.last_page_start {
            let Some(page) = self.page_after(draft.id, offset).await? else {
                break;
            };
            shared += self.shared_in(&page.entries, page.start, predecessor).await?;
            offset = page.entries.last().map_or(u64::MAX, |entry| entry.end);
        }
        Ok(shared + self.shared_in(&entries_of(last), draft.last_page_start, predecessor).await?)
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
