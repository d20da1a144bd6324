//! Finds what S3 calls by a version's name, markers and all.

use super::Objects;
use super::attributes::VersionName;
use super::landing::SeenKey;
use super::name::ObjectName;
use crate::metadata::keys;
use crate::metadata::records::{ObjectState, Record, VersionRecord, VersionState};
use protocol::Result;

/// What was found under a name.
#[derive(Clone, Debug)]
pub enum Found {
    /// A version with bytes.
    Version(Box<VersionRecord>),
    /// A marker: the newest of the key, or the one that was asked for by name.
    Marker(Box<VersionRecord>),
    /// The key has versions or markers, but not that one.
    NoVersion,
    /// Nothing of that key can be seen.
    NoKey,
    /// There is no such bucket.
    NoBucket,
}

impl Objects {
    /// The newest version or marker of a key, or the one that S3 calls `version`. Nothing of it is cached (law 7).
    pub async fn find(&self, name: &ObjectName, version: Option<VersionName>) -> Result<Found> {
        let found = match version {
            None => self.newest_version(name).await?,
            Some(version) => match self.object_entry(name).await? {
                Some((object, _)) if object.state != ObjectState::Purged => {
                    match self.version_named(name, &object, version).await? {
                        Some(found) => Some(found),
                        None => return Ok(Found::NoVersion),
                    }
                }
                _ => None,
            },
        };
        match found {
            Some(found) if found.state == VersionState::Live => Ok(Found::Version(Box::new(found))),
            Some(found) => Ok(Found::Marker(Box::new(found))),
            None if self.bucket(name.bucket()).await?.is_some() => Ok(Found::NoKey),
            None => Ok(Found::NoBucket),
        }
    }

    /// Reads a version, marker or the newest of a key together with the key, so that a commit can check both.
    pub(super) async fn find_in(
        &self,
        name: &ObjectName,
        seen: &SeenKey,
        version: Option<VersionName>,
    ) -> Result<Option<(VersionRecord, u64)>> {
        let Some(object) = seen.object.as_ref().filter(|object| object.state != ObjectState::Purged) else {
            return Ok(None);
        };
        let number = match version {
            None => object.number,
            Some(version) => match self.version_named(name, object, version).await? {
                Some(found) => found.number,
                None => return Ok(None),
            },
        };
        let key = keys::version(name.bucket().as_str(), name.key(), number);
        let Some(entry) = self.metadata.get(&key).await? else { return Ok(None) };
        Ok(Some((VersionRecord::decode(&entry.value)?, entry.revision)))
    }
}
