//! Finds a version by its id, or by what S3 calls it. There is no index of ids: the versions of the key are looked through, the newest first, since it is
//! the last few that are asked for (`docs/decisions/0021-versions-by-id-are-looked-for.md`).

use super::Objects;
use super::attributes::VersionName;
use super::descent::Descent;
use super::name::ObjectName;
use crate::metadata::keys;
use crate::metadata::records::{ObjectRecord, Record, VersionId, VersionRecord};
use protocol::Result;

impl Objects {
    /// The version or marker that S3 calls so, if it can be seen.
    pub(super) async fn version_named(
        &self,
        name: &ObjectName,
        object: &ObjectRecord,
        version: VersionName,
    ) -> Result<Option<VersionRecord>> {
        let id = match version {
            VersionName::Id(id) => id,
            VersionName::Null => {
                let Some(number) = object.null_number.filter(|number| *number > object.purged_through) else {
                    return Ok(None);
                };
                let key = keys::version(name.bucket().as_str(), name.key(), number);
                let entry = self.metadata.get(&key).await?;
                return entry.map(|entry| VersionRecord::decode(&entry.value)).transpose();
            }
        };
        // The null version has an id, too, which the gateway door tells.
        self.version_with_id(name, object, id).await
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
        let mut descent = Descent::begin(self, name, object, through);
        while let Some(versions) = descent.next().await? {
            if let Some(found) = versions.into_iter().find(&wanted) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}
