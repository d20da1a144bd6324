//! Finds what S3 calls by a version's name, markers and all.

use super::Objects;
use super::attributes::VersionName;
use super::landing::SeenKey;
use super::name::ObjectName;
use crate::metadata::keys;
use crate::metadata::records::{ObjectState, Record, VersionRecord, VersionState};
use protocol::{Error, Result};

/// How often the newest version is looked for anew when it is gone by the time it is read.
const FIND_ATTEMPTS_MAX: u32 = 4;

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
        for _ in 0..FIND_ATTEMPTS_MAX {
            let Some((object, _)) = self.object_entry(name).await? else {
                return self.nothing_in(name).await;
            };
            if object.state == ObjectState::Purged {
                return self.nothing_in(name).await;
            }
            let found = match version {
                Some(version) => self.version_named(name, &object, version).await?,
                None => {
                    let key = keys::version(name.bucket().as_str(), name.key(), object.number);
                    let entry = self.metadata.get(&key).await?;
                    entry.map(|entry| VersionRecord::decode(&entry.value)).transpose()?
                }
            };
            match (found, version) {
                (Some(found), _) if found.state == VersionState::Live => return Ok(Found::Version(Box::new(found))),
                (Some(found), _) => return Ok(Found::Marker(Box::new(found))),
                (None, Some(_)) => return Ok(Found::NoVersion),
                // It was removed between the two reads.
                (None, None) => {}
            }
        }
        Err(Error::corrupt(format!("the newest version of '{}' has no record", name.key())))
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

    async fn nothing_in(&self, name: &ObjectName) -> Result<Found> {
        Ok(if self.bucket(name.bucket()).await?.is_some() { Found::NoKey } else { Found::NoBucket })
    }
}
