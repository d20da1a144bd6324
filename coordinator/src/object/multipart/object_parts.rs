//! The parts that a version was put together from: what can be asked of them, and reading one of them.

use crate::metadata::keys;
use crate::metadata::records::{Checksum, PartsRecord, Record, VersionRecord};
use crate::object::manifest::{PlacedPart, placed};
use crate::object::{ObjectName, Objects};
use protocol::{Error, Result};
use std::borrow::Cow;
use std::ops::Range;

/// Records of parts read at once.
const PAGES_AT_ONCE: usize = 8;
/// The most parts in one page.
pub const OBJECT_PARTS_LIMIT_MAX: usize = 1_000;

/// A part of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectPart {
    /// The number it was uploaded under.
    pub number: u16,
    /// Where its bytes are in the version.
    pub range: Range<u64>,
    /// Its checksum, if it has one.
    pub checksum: Option<Checksum>,
}

/// Some parts of a version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectPartsPage {
    /// In order.
    pub parts: Vec<ObjectPart>,
    /// Whether there are more after the last.
    pub more: bool,
}

impl Objects {
    /// The parts of `version` of `name` with numbers above `after`; none if it was not put together from parts.
    ///
    /// `Corrupt` if their list is not there.
    pub async fn object_parts(
        &self,
        name: &ObjectName,
        version: &VersionRecord,
        after: u16,
        limit: usize,
    ) -> Result<ObjectPartsPage> {
        let limit = limit.clamp(1, OBJECT_PARTS_LIMIT_MAX);
        let mut version = Cow::Borrowed(version);
        while version.parts.is_some() {
            if let Some(page) = self.listed_parts(&version, after, limit).await? {
                return Ok(page);
            }
            let VersionRecord { number, id, manifest, .. } = *version;
            let Some(anew) = self.stored_anew(&name.version_key(number), id, manifest).await? else {
                return Err(Error::corrupt(format!("the list of the parts of manifest {manifest} is not there")));
            };
            version = Cow::Owned(anew);
        }
        Ok(ObjectPartsPage::default())
    }

    /// The same by the manifest that `version` has; `None` if the list has no end.
    async fn listed_parts(&self, version: &VersionRecord, after: u16, limit: usize) -> Result<Option<ObjectPartsPage>> {
        let mut page = ObjectPartsPage::default();
        let mut range = keys::parts_in(version.manifest);
        let mut listed_to = None;
        loop {
            let found = self.metadata.scan(&range.from, &range.to, PAGES_AT_ONCE).await?;
            let Some((last, _)) = found.last() else {
                return Ok((listed_to == Some(version.size)).then_some(page));
            };
            range.from = keys::after(last);
            for (_, entry) in &found {
                let parts = PartsRecord::decode(&entry.value)?;
                listed_to = parts.entries.last().map(|last| last.end).or(listed_to);
                for part in placed(&parts).filter(|part| part.entry.number > after) {
                    if page.parts.len() == limit {
                        page.more = true;
                        return Ok(Some(page));
                    }
                    page.parts.push(part.into());
                }
            }
        }
    }

    /// Part `number` of `version` of `name`, by the number it was uploaded under.
    pub async fn object_part(
        &self,
        name: &ObjectName,
        version: &VersionRecord,
        number: u16,
    ) -> Result<Option<ObjectPart>> {
        let page = self.object_parts(name, version, number.saturating_sub(1), 1).await?;
        Ok(page.parts.into_iter().find(|part| part.number == number))
    }
}

impl From<PlacedPart> for ObjectPart {
    fn from(part: PlacedPart) -> ObjectPart {
        let PlacedPart { entry, start } = part;
        ObjectPart { number: entry.number, range: start..entry.end, checksum: entry.checksum }
    }
}
