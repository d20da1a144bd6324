//! The history of a key: every version that can still be read, and the markers between them.

use super::Objects;
use super::name::ObjectName;
use crate::metadata::keys;
use crate::metadata::records::{ObjectRecord, ObjectState, Record, VersionRecord};
use protocol::Result;

/// The most versions in one page.
pub const HISTORY_LIMIT_MAX: usize = 1_000;

/// A page of a key's history, oldest first.
#[derive(Clone, Debug)]
pub struct HistoryPage {
    /// The versions.
    pub entries: Vec<HistoryEntry>,
    /// Whether there are more after the last.
    pub more: bool,
}

/// A version in a history.
#[derive(Clone, Debug)]
pub struct HistoryEntry {
    /// The version or marker.
    pub version: VersionRecord,
    /// Whether a get without a version means this one.
    pub current: bool,
    /// Whether it is the newest, be it a version or a marker.
    pub newest: bool,
}

/// How often a history is read anew when its newest version is gone by the time it is read.
const HISTORY_ATTEMPTS_MAX: u32 = 4;

impl HistoryPage {
    fn numbers(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().map(|entry| entry.version.number)
    }
}

impl Objects {
    /// Versions with numbers above `after`; `None` if the name has none.
    pub async fn versions(&self, name: &ObjectName, after: u64, limit: usize) -> Result<Option<HistoryPage>> {
        for attempt in 1..=HISTORY_ATTEMPTS_MAX {
            let Some((object, page)) = self.history(name, after, limit).await? else {
                return Ok(None);
            };
            let due = after < object.number && (!page.more || page.numbers().last() > Some(object.number));
            // Removed between the two reads: what is the newest now is not what the object's record said.
            let is_missing = due && !page.numbers().any(|number| number == object.number);
            if !is_missing || attempt == HISTORY_ATTEMPTS_MAX {
                return Ok(Some(page));
            }
        }
        unreachable!("the last attempt answers")
    }

    async fn history(
        &self,
        name: &ObjectName,
        after: u64,
        limit: usize,
    ) -> Result<Option<(ObjectRecord, HistoryPage)>> {
        let (bucket, key) = (name.bucket().as_str(), name.key());
        let Some(entry) = self.metadata.get(&keys::object(bucket, key)).await? else {
            return Ok(None);
        };
        let object = ObjectRecord::decode(&entry.value)?;
        if object.state == ObjectState::Purged {
            return Ok(None);
        }
        let first = after.max(object.purged_through).saturating_add(1);
        let limit = limit.clamp(1, HISTORY_LIMIT_MAX);
        let from = keys::version(bucket, key, first);
        let found = self.metadata.scan(&from, &keys::versions(bucket, key).to, limit + 1).await?;
        let mut entries = Vec::new();
        for (_, entry) in found.iter().take(limit) {
            let version = VersionRecord::decode(&entry.value)?;
            let current = object.state == ObjectState::Live && version.number == object.number;
            let newest = version.number == object.number;
            entries.push(HistoryEntry { version, current, newest });
        }
        Ok(Some((object, HistoryPage { entries, more: found.len() > limit })))
    }
}
