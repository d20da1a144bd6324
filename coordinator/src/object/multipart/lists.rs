//! Lists what is under way: the open uploads of a bucket, and the parts of one of them.
//!
//! What it keeps true: a page costs what it shows; keys that fall under one common prefix are skipped by seeking, however many they are.

use crate::metadata::keys;
use crate::metadata::records::{Checksum, PartRecord, Record, UploadId, UploadRecord};
use crate::object::{BucketName, ObjectName, Objects};
use bytes::Bytes;
use protocol::Result;

/// The most uploads or parts in one page.
pub const UPLOADS_LIMIT_MAX: usize = 1_000;

/// Which open uploads are to be listed.
#[derive(Clone, Debug)]
pub struct ListUploadsRequest {
    /// In which bucket.
    pub bucket: BucketName,
    /// Keys that start so.
    pub prefix: String,
    /// Keys that have this after the prefix are shown as one common prefix, which ends with it.
    pub delimiter: Option<String>,
    /// What comes after this.
    pub after: Option<UploadMarker>,
    /// At most so many uploads and common prefixes, 1 to [`UPLOADS_LIMIT_MAX`].
    pub limit: usize,
}

/// Where a page of uploads ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadMarker {
    /// The key of its last upload, or its last common prefix.
    pub key: String,
    /// That upload; `None`: everything of that key, or under that prefix, came before.
    pub upload: Option<UploadId>,
}

/// An open upload.
#[derive(Clone, Debug)]
pub struct ListedUpload {
    /// The key it is for.
    pub key: String,
    /// Its id.
    pub upload: UploadId,
    /// What is known of it.
    pub record: UploadRecord,
}

/// A page of open uploads.
#[derive(Clone, Debug, Default)]
pub struct UploadsPage {
    /// By key, the oldest of each first.
    pub uploads: Vec<ListedUpload>,
    /// Common prefixes, in order; they lie between the uploads.
    pub prefixes: Vec<String>,
    /// Where the page ended; the next one begins after this.
    pub last: Option<UploadMarker>,
    /// Whether there is more.
    pub more: bool,
}

/// A part of an open upload.
#[derive(Clone, Debug)]
pub struct ListedPart {
    /// Its number.
    pub number: u16,
    /// Bytes.
    pub size: u64,
    /// The MD5 of its bytes: its ETag.
    pub md5: [u8; 16],
    /// Its checksum, if it has one.
    pub checksum: Option<Checksum>,
    /// When it was uploaded, in milliseconds since 1970.
    pub modified_ms: u64,
}

/// A page of the parts of an upload.
#[derive(Clone, Debug)]
pub struct PartsPage {
    /// What is known of the upload.
    pub upload: UploadRecord,
    /// By number.
    pub parts: Vec<ListedPart>,
    /// Whether there are more after the last.
    pub more: bool,
}

impl Objects {
    /// Lists parts with numbers above `after`. `NoSuchUpload` if the upload is not open.
    pub async fn list_parts(&self, name: &ObjectName, upload: UploadId, after: u16, limit: usize) -> Result<PartsPage> {
        let record = self.upload(name, upload).await?;
        let limit = limit.clamp(1, UPLOADS_LIMIT_MAX);
        let from = keys::after(&keys::part(upload, after));
        let found = self.metadata.scan(&from, &keys::parts_of(upload).to, limit + 1).await?;
        let mut parts = Vec::new();
        for (key, entry) in found.iter().take(limit) {
            let (_, number) = keys::parse_part(key)?;
            let PartRecord { size, md5, checksum, modified_ms, .. } = PartRecord::decode(&entry.value)?;
            parts.push(ListedPart { number, size, md5, checksum, modified_ms });
        }
        Ok(PartsPage { upload: record, parts, more: found.len() > limit })
    }

    /// Lists open uploads. Sees every commit that was answered before (law 7).
    pub async fn list_uploads(&self, request: &ListUploadsRequest) -> Result<UploadsPage> {
        let bucket = request.bucket.as_str();
        let range = keys::uploads(bucket, &request.prefix);
        let limit = request.limit.clamp(1, UPLOADS_LIMIT_MAX);
        let mut from = match &request.after {
            Some(marker) => range.from.max(beyond(request, marker)),
            None => range.from,
        };
        let mut page = UploadsPage::default();
        while from < range.to {
            let found = self.metadata.scan(&from, &range.to, limit + 1).await?;
            let Some((last, _)) = found.last() else { break };
            from = keys::after(last);
            for (key, entry) in &found {
                let (_, key, upload) = keys::parse_upload(key)?;
                let prefix = request.common_prefix(key);
                if prefix.is_some() && prefix == page.prefixes.last().map(String::as_str) {
                    continue;
                }
                if page.uploads.len() + page.prefixes.len() == limit {
                    page.more = true;
                    return Ok(page);
                }
                let Some(prefix) = prefix else {
                    let record = UploadRecord::decode(&entry.value)?;
                    page.last = Some(UploadMarker { key: key.to_owned(), upload: Some(upload) });
                    page.uploads.push(ListedUpload { key: key.to_owned(), upload, record });
                    continue;
                };
                page.last = Some(UploadMarker { key: prefix.to_owned(), upload: None });
                page.prefixes.push(prefix.to_owned());
                from = keys::uploads(bucket, prefix).to;
                break;
            }
        }
        Ok(page)
    }
}

impl ListUploadsRequest {
    /// The common prefix that `key` falls under.
    fn common_prefix<'a>(&self, key: &'a str) -> Option<&'a str> {
        let delimiter = self.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty())?;
        let rest = key.strip_prefix(&*self.prefix)?;
        let end = self.prefix.len() + rest.find(delimiter)? + delimiter.len();
        Some(&key[..end])
    }
}

/// The first key of metadata that may come after the marker.
fn beyond(request: &ListUploadsRequest, marker: &UploadMarker) -> Bytes {
    let bucket = request.bucket.as_str();
    match marker.upload {
        Some(upload) => keys::after(&keys::upload(bucket, &marker.key, upload)),
        None if request.common_prefix(&marker.key) == Some(&marker.key) => keys::uploads(bucket, &marker.key).to,
        None => keys::uploads_of(bucket, &marker.key).to,
    }
}
