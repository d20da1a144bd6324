//! The parts that a version was put together from: what can be asked of them, and reading one of them.

use crate::metadata::keys;
use crate::metadata::records::{Checksum, PartsRecord, Record, VersionRecord};
use crate::object::Objects;
use crate::object::manifest::{PlacedPart, placed};
use protocol::Result;
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
    /// The parts of `version` with numbers above `after`; none if it was not put together from parts.
    pub async fn object_parts(&self, version: &VersionRecord, after: u16, limit: usize) -> Result<ObjectPartsPage> {
        let limit = limit.clamp(1, OBJECT_PARTS_LIMIT_MAX);
        let mut page = ObjectPartsPage::default();
        let mut range = keys::parts_in(version.manifest);
        while version.parts.is_some() {
            let found = self.metadata.scan(&range.from, &range.to, PAGES_AT_ONCE).await?;
            let Some((last, _)) = found.last() else { break };
            range.from = keys::after(last);
            for (_, entry) in &found {
                let parts = PartsRecord::decode(&entry.value)?;
                for part in placed(&parts).filter(|part| part.entry.number > after) {
                    if page.parts.len() == limit {
                        page.more = true;
                        return Ok(page);
                    }
                    page.parts.push(part.into());
                }
            }
        }
        Ok(page)
    }

    /// Part `number` of `version`, by the number it was uploaded under.
    pub async fn object_part(&self, version: &VersionRecord, number: u16) -> Result<Option<ObjectPart>> {
        let page = self.object_parts(version, number.saturating_sub(1), 1).await?;
        Ok(page.parts.into_iter().find(|part| part.number == number))
    }
}

impl From<PlacedPart> for ObjectPart {
    fn from(part: PlacedPart) -> ObjectPart {
        let PlacedPart { entry, start } = part;
        ObjectPart { number: entry.number, range: start..entry.end, checksum: entry.checksum }
    }
}
