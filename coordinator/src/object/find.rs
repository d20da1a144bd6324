//! Finds what S3 calls by a version's name, markers and all.

use super::Objects;
use super::attributes::VersionName;
use super::landing::SeenKey;
use super::name::ObjectName;
use crate::metadata::keys;
use crate::metadata::records::{ObjectState, Record, VersionRecord, VersionState};
use protocol::{Error, Result};

/// How often a key is read anew when writers of it come first.
const LOOKS_MAX: u32 = 32;

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
            Some(version) => match self.named_version(name, version).await? {
                Some(Some(found)) => Some(found),
                Some(None) => return Ok(Found::NoVersion),
                None => None,
            },
        };
        match found {
            Some(found) if found.state == VersionState::Live => Ok(Found::Version(Box::new(found))),
            Some(found) => Ok(Found::Marker(Box::new(found))),
            None if self.bucket(name.bucket()).await?.is_some() => Ok(Found::NoKey),
            None => Ok(Found::NoBucket),
        }
    }

    /// The version that S3 calls so; `None` without the key. It may have gone between the two reads because another took its place: then that
    /// one is meant.
    async fn named_version(&self, name: &ObjectName, version: VersionName) -> Result<Option<Option<VersionRecord>>> {
        let mut entry = self.object_entry(name).await?;
        for _ in 0..LOOKS_MAX {
            let Some((object, revision)) = entry.filter(|(object, _)| object.state != ObjectState::Purged) else {
                return Ok(None);
            };
            if let Some(found) = self.version_named(name, &object, version).await? {
                return Ok(Some(Some(found)));
            }
            entry = self.object_entry(name).await?;
            if entry.as_ref().is_some_and(|(_, now)| *now == revision) {
                return Ok(Some(None));
            }
        }
        Err(Error::unavailable(format!("'{}' is being written by too many at once; retry", name.key())))
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
