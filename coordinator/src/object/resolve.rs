//! Which version a name and a selector mean.

use super::Objects;
use super::name::ObjectName;
use crate::metadata::keys;
use crate::metadata::records::{ObjectState, Record, VersionRecord, VersionState};
use protocol::{Error, Result};

/// How often the newest version is looked for anew when it is gone by the time it is read: where a key has one version only, every
/// write of it takes the one before away.
const RESOLVE_ATTEMPTS_MAX: u32 = 128;

/// Which version is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionSelector {
    /// The current one.
    Latest,
    /// The one with this number, from 1; also of a deleted object.
    Number(u64),
}

/// What was found under a name.
#[derive(Clone, Debug)]
pub enum Version {
    /// It exists.
    Found(Box<VersionRecord>),
    /// No object of that name is visible.
    NoObject,
    /// The name has versions, but not that one.
    NoVersion,
}

impl Objects {
    /// Finds a version. One read of the object and one of the version, neither of them cached (law 7).
    pub async fn resolve(&self, name: &ObjectName, selector: VersionSelector) -> Result<Version> {
        let version = match selector {
            VersionSelector::Latest => match self.newest_version(name).await? {
                Some(version) if version.state == VersionState::Live => Some(version),
                _ => return Ok(Version::NoObject),
            },
            VersionSelector::Number(number) => {
                let Some((object, _)) = self.object_entry(name).await? else { return Ok(Version::NoObject) };
                if object.state == ObjectState::Purged {
                    return Ok(Version::NoObject);
                }
                if number <= object.purged_through {
                    return Ok(Version::NoVersion);
                }
                let entry = self.metadata.get(&keys::version(name.bucket().as_str(), name.key(), number)).await?;
                entry.map(|entry| VersionRecord::decode(&entry.value)).transpose()?
            }
        };
        Ok(match version {
            Some(version) if version.state == VersionState::Live => Version::Found(Box::new(version)),
            _ => Version::NoVersion,
        })
    }

    /// The newest version or marker of a key; `None` if nothing of that key can be seen.
    pub(super) async fn newest_version(&self, name: &ObjectName) -> Result<Option<VersionRecord>> {
        let mut seen = None;
        for attempt in 0..RESOLVE_ATTEMPTS_MAX {
            self.back_off(attempt).await;
            let Some((object, entry)) = self.object_entry(name).await? else { return Ok(None) };
            if object.state == ObjectState::Purged {
                return Ok(None);
            }
            let key = keys::version(name.bucket().as_str(), name.key(), object.number);
            if let Some(entry) = self.metadata.get(&key).await? {
                return VersionRecord::decode(&entry.value).map(Some);
            }
            // It was replaced, or removed, between the two reads; unless the key is as it was.
            if seen == Some(entry.revision) {
                return Err(Error::corrupt(format!("the current version of '{}' has no record", name.key())));
            }
            seen = Some(entry.revision);
        }
        Err(Error::unavailable(format!("'{}' is being written by too many at once; retry", name.key())))
    }
}
