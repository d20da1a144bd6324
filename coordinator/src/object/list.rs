//! Lists the objects and common prefixes of a bucket in key order, a page at a time. Reads the listing key only (design 5); whether an object's
//! bytes can be read right now follows from the nodes, and is looked up chunk by chunk only while too many of them are away.

use super::Objects;
use super::attributes::VersionName;
use super::name::{BucketName, ObjectName};
use super::resolve::{Version, VersionSelector};
use super::walk::{Route, Step, Walk};
use crate::metadata::records::{ChecksumAlgorithm, ChecksumKind, ETag, ObjectRecord, Sha256, StorageClass, VersionId};
use protocol::Result;
use serde::Serialize;
use std::collections::BTreeSet;

/// The most objects in one page.
pub const LIST_LIMIT_MAX: usize = 1_000;

/// What is to be listed.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// In which bucket.
    pub bucket: BucketName,
    /// Keys that start so.
    pub prefix: String,
    /// Keys that have this after the prefix are shown by what they start with, up to its end.
    pub delimiter: Option<String>,
    /// Keys and common prefixes after this one, in byte order.
    pub after: Option<String>,
    /// At most so many, 1 to [`LIST_LIMIT_MAX`].
    pub limit: usize,
    /// Whether each line says if its bytes can be read. While two nodes are away that takes a look at each of its chunks.
    pub shows_availability: bool,
}

/// Whether an object's bytes can be read right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// Yes, and every node answers.
    Available,
    /// Yes, while some nodes do not answer.
    Degraded,
    /// Some chunk has no copy on a node that answers.
    Unavailable,
}

/// A line of a listing.
#[derive(Clone, Debug)]
pub struct ListedObject {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// When its current version was made, in milliseconds since 1970.
    pub modified_ms: u64,
    /// The current version's number.
    pub number: u64,
    /// Its id.
    pub id: VersionId,
    /// What S3 calls the current version.
    pub version_name: VersionName,
    /// Its digest; `None` for what was put together from parts.
    pub sha256: Option<Sha256>,
    /// Its ETag.
    pub etag: ETag,
    /// Its storage class.
    pub storage_class: StorageClass,
    /// Which checksum it has.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// Its media type.
    pub content_type: String,
    /// Whether it can be read now, where that was asked for.
    pub availability: Option<Availability>,
}

/// A page of a listing.
#[derive(Clone, Debug)]
pub struct ListPage {
    /// In key order.
    pub objects: Vec<ListedObject>,
    /// Common prefixes, in their order; they count as much as objects do.
    pub prefixes: Vec<String>,
    /// The last key or common prefix of this page: what the next one comes after.
    pub last: Option<String>,
    /// Whether there are more after the last.
    pub more: bool,
}

impl ListedObject {
    /// Its ETag as S3 prints it, without quotes.
    pub fn etag_text(&self) -> String {
        self.etag.text(self.sha256.as_ref())
    }
}

impl Objects {
    /// Lists live objects. Sees every commit that was answered before (law 7).
    pub async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        let limit = request.limit.clamp(1, LIST_LIMIT_MAX);
        let route = Route {
            bucket: &request.bucket,
            prefix: &request.prefix,
            delimiter: request.delimiter.as_deref(),
            after: request.after.as_deref(),
            live_only: true,
            steps: limit,
        };
        let lost = if request.shows_availability { self.lost_versions().await? } else { BTreeSet::new() };
        let mut walk = Walk::begin(self, route);
        let mut page = ListPage { objects: Vec::new(), prefixes: Vec::new(), last: None, more: false };
        while let Some(step) = walk.next().await? {
            if page.objects.len() + page.prefixes.len() == limit {
                page.more = true;
                break;
            }
            match step {
                Step::Name(key, record) => {
                    page.last = Some(key.clone());
                    page.objects.push(self.listed(request, key, *record, &lost).await?);
                }
                Step::Prefix(prefix) => {
                    page.last = Some(prefix.clone());
                    page.prefixes.push(prefix);
                }
            }
        }
        Ok(page)
    }

    async fn listed(
        &self,
        request: &ListRequest,
        key: String,
        record: ObjectRecord,
        lost: &BTreeSet<VersionId>,
    ) -> Result<ListedObject> {
        let availability = match request.shows_availability {
            true if lost.contains(&record.current) => Some(Availability::Unavailable),
            true => Some(self.availability(&request.bucket, &key, &record).await?),
            false => None,
        };
        Ok(ListedObject {
            key,
            version_name: VersionName::newest(&record),
            etag: record.etag,
            storage_class: record.storage_class,
            checksum: record.checksum,
            size: record.size,
            modified_ms: record.modified_ms,
            number: record.number,
            id: record.current,
            sha256: record.sha256,
            content_type: record.content_type,
            availability,
        })
    }

    async fn availability(&self, bucket: &BucketName, key: &str, record: &ObjectRecord) -> Result<Availability> {
        let answering = self.nodes.answering();
        let away = self.away(&answering);
        if away == 0 {
            return Ok(Availability::Available);
        }
        if away == 1 || record.size == 0 {
            return Ok(Availability::Degraded);
        }
        let name = ObjectName::new(bucket.clone(), key)?;
        let is_in_reach = match self.resolve(&name, VersionSelector::Number(record.number)).await? {
            Version::Found(version) => self.is_in_reach(&name, &version, &answering).await?,
            Version::NoObject | Version::NoVersion => true,
        };
        Ok(if is_in_reach { Availability::Degraded } else { Availability::Unavailable })
    }
}
