//! Finds a version by its id. There is no index of ids: the versions of the key are looked through, the newest first, since it is
//! the last few that are asked for (`docs/decisions/0021-versions-by-id-are-looked-for.md`).
//!
//! What it keeps true: memory is bounded by [`WINDOW_MAX`] records, however many versions a key has.

use super::Objects;
use super::name::ObjectName;
use super::resolve::Version;
use crate::metadata::keys;
use crate::metadata::records::{ObjectRecord, ObjectState, Record, VersionId, VersionRecord, VersionState};
use protocol::Result;

/// Versions in the first look.
const WINDOW_FIRST: u64 = 16;
/// Versions in one look at most; each look takes twice as many as the one before.
const WINDOW_MAX: u64 = 1_024;

impl Objects {
    /// The version of `name` with this id, as [`Objects::resolve`] gives it.
    pub async fn resolve_id(&self, name: &ObjectName, id: VersionId) -> Result<Version> {
        let object = keys::object(name.bucket().as_str(), name.key());
        let Some(entry) = self.metadata.get(&object).await? else {
            return Ok(Version::NoObject);
        };
        let object = ObjectRecord::decode(&entry.value)?;
        if object.state == ObjectState::Purged {
            return Ok(Version::NoObject);
        }
        Ok(match self.version_with_id(name, &object, id).await? {
            Some(version) if version.state == VersionState::Live => Version::Found(Box::new(version)),
            _ => Version::NoVersion,
        })
    }

    /// The version or marker of that id, if it can be seen.
    pub(super) async fn version_with_id(
        &self,
        name: &ObjectName,
        object: &ObjectRecord,
        id: VersionId,
    ) -> Result<Option<VersionRecord>> {
        self.newest(name, object, object.last_number, |version| version.id == id).await
    }

    /// The newest version or marker with a lower number than `number`.
    pub(super) async fn newest_below(
        &self,
        name: &ObjectName,
        object: &ObjectRecord,
        number: u64,
    ) -> Result<Option<VersionRecord>> {
        self.newest(name, object, number - 1, |_| true).await
    }

    /// The newest version or marker that is `wanted`, with no higher number than `through`.
    async fn newest(
        &self,
        name: &ObjectName,
        object: &ObjectRecord,
        through: u64,
        wanted: impl Fn(&VersionRecord) -> bool,
    ) -> Result<Option<VersionRecord>> {
        let (bucket, key) = (name.bucket().as_str(), name.key());
        let oldest = object.purged_through + 1;
        let mut beyond = through + 1;
        let mut window = WINDOW_FIRST;
        while beyond > oldest {
            let first = beyond.saturating_sub(window).max(oldest);
            let (from, to) = (keys::version(bucket, key, first), keys::version(bucket, key, beyond));
            for (_, entry) in self.metadata.scan(&from, &to, window as usize).await?.iter().rev() {
                let version = VersionRecord::decode(&entry.value)?;
                if wanted(&version) {
                    return Ok(Some(version));
                }
            }
            beyond = first;
            window = (2 * window).min(WINDOW_MAX);
        }
        Ok(None)
    }
}
