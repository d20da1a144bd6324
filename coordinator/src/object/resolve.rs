//! Which version a name and a selector mean.

use super::Objects;
use super::name::ObjectName;
use crate::metadata::keys;
use crate::metadata::records::{ObjectRecord, ObjectState, Record, VersionRecord, VersionState};
use protocol::{Error, Result};

/// How often the current version is looked for anew when it is gone by the time it is read.
const RESOLVE_ATTEMPTS_MAX: u32 = 4;

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
        for _ in 0..RESOLVE_ATTEMPTS_MAX {
            if let Some(version) = self.try_to_resolve(name, selector).await? {
                return Ok(version);
            }
        }
        Err(Error::corrupt(format!("the current version of '{}' has no record", name.key())))
    }

    /// `None` if the current version has no record: it was purged and collected between the two reads.
    async fn try_to_resolve(&self, name: &ObjectName, selector: VersionSelector) -> Result<Option<Version>> {
        let (bucket, key) = (name.bucket().as_str(), name.key());
        let Some(entry) = self.metadata.get(&keys::object(bucket, key)).await? else {
            return Ok(Some(Version::NoObject));
        };
        let object = ObjectRecord::decode(&entry.value)?;
        let number = match (selector, object.state) {
            (_, ObjectState::Purged) | (VersionSelector::Latest, ObjectState::Deleted) => {
                return Ok(Some(Version::NoObject));
            }
            (VersionSelector::Latest, ObjectState::Live) => object.number,
            (VersionSelector::Number(number), _) if number <= object.purged_through => {
                return Ok(Some(Version::NoVersion));
            }
            (VersionSelector::Number(number), _) => number,
        };
        let Some(entry) = self.metadata.get(&keys::version(bucket, key, number)).await? else {
            return Ok((selector != VersionSelector::Latest).then_some(Version::NoVersion));
        };
        let version = VersionRecord::decode(&entry.value)?;
        Ok(Some(match version.state {
            VersionState::Live => Version::Found(Box::new(version)),
            VersionState::Marker => Version::NoVersion,
        }))
    }
}
