//! Lists the versions and markers of a bucket: keys in their order, and the newest first within a key, a page at a time.
//!
//! What it keeps true: a page costs what it shows, wherever it starts: a marker carries the number of the version it names, so the
//! next page of a key with a million versions begins where the last one ended.

use super::Objects;
use super::attributes::VersionName;
use super::descent::Descent;
use super::list::LIST_LIMIT_MAX;
use super::name::{BucketName, ObjectName};
use super::walk::{Route, Step, Walk};
use crate::metadata::records::{
    ChecksumAlgorithm, ChecksumKind, ETag, ObjectRecord, ObjectState, Sha256, StorageClass, VersionId, VersionRecord,
    VersionState,
};
use protocol::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// How often a key is read anew when its newest version is gone by the time it is read.
const KEY_ATTEMPTS_MAX: u32 = 4;

/// What is to be listed.
#[derive(Clone, Debug)]
pub struct ListVersionsRequest {
    /// In which bucket.
    pub bucket: BucketName,
    /// Keys that start so.
    pub prefix: String,
    /// Keys that have this after the prefix are shown by what they start with, up to its end.
    pub delimiter: Option<String>,
    /// Keys and common prefixes after this one, in byte order,
    pub after_key: Option<String>,
    /// and before them the versions of that key that are older than this one.
    pub after_version: Option<VersionMarker>,
    /// At most so many, 1 to [`LIST_LIMIT_MAX`].
    pub limit: usize,
}

/// Where in a key's history a page ended. Its text is the version's name, a colon and its number; the name alone is understood, too,
/// and looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionMarker {
    /// What S3 calls the version.
    pub version: VersionName,
    /// Its number, if it is known.
    pub number: Option<u64>,
}

/// A version or marker in a listing.
#[derive(Clone, Debug)]
pub struct ListedVersion {
    /// The key.
    pub key: String,
    /// Its id, whatever S3 calls it.
    pub id: VersionId,
    /// What S3 calls it.
    pub version_name: VersionName,
    /// Its number.
    pub number: u64,
    /// Whether it is a marker.
    pub is_marker: bool,
    /// Whether it is the newest of its key.
    pub is_newest: bool,
    /// Bytes.
    pub size: u64,
    /// When it was made, in milliseconds since 1970.
    pub modified_ms: u64,
    /// Its digest; `None` for a marker and what was put together from parts.
    pub sha256: Option<Sha256>,
    /// Its ETag.
    pub etag: ETag,
    /// Its storage class.
    pub storage_class: StorageClass,
    /// Which checksum it has.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// The id of the access key that made it; empty if none did.
    pub owner: String,
}

/// A page of versions.
#[derive(Clone, Debug)]
pub struct VersionsPage {
    /// In the order of their keys, the newest first within one.
    pub entries: Vec<ListedVersion>,
    /// Common prefixes, in their order; they count as much as versions do.
    pub prefixes: Vec<String>,
    /// The key or common prefix, and the version of it, at which this page ends.
    pub last: Option<(String, Option<VersionMarker>)>,
    /// Whether there are more after that.
    pub more: bool,
}

impl Objects {
    /// Lists versions and markers. Sees every commit that was answered before (law 7).
    pub async fn list_versions(&self, request: &ListVersionsRequest) -> Result<VersionsPage> {
        let limit = request.limit.clamp(1, LIST_LIMIT_MAX);
        let mut page = VersionsPage { entries: Vec::new(), prefixes: Vec::new(), last: None, more: false };
        // The marker of a page that ended elsewhere may lie before the prefix, or in what is shown as one line.
        let is_listed = |key: &str| {
            let rest = key.strip_prefix(&request.prefix);
            let delimiter = request.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
            rest.is_some_and(|rest| delimiter.is_none_or(|delimiter| !rest.contains(delimiter)))
        };
        if let (Some(key), Some(marker)) = (&request.after_key, request.after_version)
            && is_listed(key)
        {
            let name = ObjectName::new(request.bucket.clone(), key.as_str())?;
            if let Some((object, _)) = self.object_entry(&name).await?
                && object.state != ObjectState::Purged
                && let Some(number) = self.number_of(&name, &object, marker).await?
            {
                self.add_versions(&mut page, &name, object, Some(number), limit).await?;
            }
        }
        let route = Route {
            bucket: &request.bucket,
            prefix: &request.prefix,
            delimiter: request.delimiter.as_deref(),
            after: request.after_key.as_deref(),
            live_only: false,
            steps: limit,
        };
        let mut walk = Walk::begin(self, route);
        while !page.more {
            match walk.next().await? {
                None => break,
                Some(_) if page.len() == limit => page.more = true,
                Some(Step::Prefix(prefix)) => {
                    page.last = Some((prefix.clone(), None));
                    page.prefixes.push(prefix);
                }
                Some(Step::Name(key, object)) => {
                    let name = ObjectName::new(request.bucket.clone(), key)?;
                    self.add_versions(&mut page, &name, *object, None, limit).await?;
                }
            }
        }
        Ok(page)
    }

    async fn number_of(&self, name: &ObjectName, object: &ObjectRecord, marker: VersionMarker) -> Result<Option<u64>> {
        match marker.number {
            Some(number) => Ok(Some(number)),
            None => Ok(self.version_named(name, object, marker.version).await?.map(|version| version.number)),
        }
    }

    /// Adds the versions of a key that are older than `before`, or all of them.
    async fn add_versions(
        &self,
        page: &mut VersionsPage,
        name: &ObjectName,
        mut object: ObjectRecord,
        before: Option<u64>,
        limit: usize,
    ) -> Result<()> {
        for attempt in 1..=KEY_ATTEMPTS_MAX {
            let through = before.map_or(object.last_number, |before| before.saturating_sub(1));
            let mut descent = Descent::begin(self, name, &object, through);
            let mut versions = descent.next().await?;
            let newest = versions.as_ref().and_then(|versions| versions.first()).map(|version| version.number);
            if before.is_none() && newest != Some(object.number) && attempt < KEY_ATTEMPTS_MAX {
                // Removed between the two reads: what is the newest now is not what the key's record said.
                match self.object_entry(name).await? {
                    Some((again, _)) if again.state != ObjectState::Purged => object = again,
                    _ => return Ok(()),
                }
                continue;
            }
            while let Some(some) = versions {
                for version in &some {
                    if page.len() == limit {
                        page.more = true;
                        return Ok(());
                    }
                    page.add(name.key(), version, version.number == object.number);
                }
                versions = descent.next().await?;
            }
            return Ok(());
        }
        unreachable!("the last attempt ends")
    }
}

impl VersionsPage {
    fn len(&self) -> usize {
        self.entries.len() + self.prefixes.len()
    }

    fn add(&mut self, key: &str, version: &VersionRecord, is_newest: bool) {
        let version_name = VersionName::of(version);
        self.last = Some((key.to_owned(), Some(VersionMarker { version: version_name, number: Some(version.number) })));
        self.entries.push(ListedVersion {
            key: key.to_owned(),
            id: version.id,
            version_name,
            number: version.number,
            is_marker: version.state == VersionState::Marker,
            is_newest,
            size: version.size,
            modified_ms: version.created_ms,
            sha256: version.sha256,
            etag: version.etag,
            storage_class: version.storage_class,
            checksum: version.checksum.as_ref().map(|checksum| (checksum.algorithm, checksum.kind)),
            owner: version.owner.clone(),
        });
    }
}

impl ListedVersion {
    /// Its ETag as S3 prints it, without quotes.
    pub fn etag_text(&self) -> String {
        self.etag.text(self.sha256.as_ref())
    }
}

impl fmt::Display for VersionMarker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(f, "{}:{number}", self.version),
            None => self.version.fmt(f),
        }
    }
}

impl FromStr for VersionMarker {
    type Err = Error;

    fn from_str(text: &str) -> Result<VersionMarker> {
        let (version, number) = match text.split_once(':') {
            Some((version, number)) => {
                let number = number.parse().map_err(|_| Error::invalid(format!("{text:?} is no version marker")))?;
                (version, Some(number))
            }
            None => (text, None),
        };
        Ok(VersionMarker { version: version.parse()?, number })
    }
}
