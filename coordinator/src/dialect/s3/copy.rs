//! CopyObject, and the source of copies.
//!
//! What it keeps true: the source's conditions are judged on the very version that is copied; a copy onto itself that would change
//! nothing is refused, as S3 does, since it is a mistake of whoever asks for it.

use super::access::may;
use super::bucket::bucket_of;
use super::fault::{bad_request, fault, invalid, not_implemented, of_verb};
use super::heads::{EXPECTED_OWNER, described, list, text, write_condition};
use super::lock::target;
use super::multipart::Checksums;
use super::promise;
use super::promise::kind;
use super::read::{condition_failed, found, object_name};
use super::route::trace;
use super::target::Target;
use super::times::timestamp;
use super::write::{missing_or, shown_version, with_receipt};
use crate::dialect::Door;
use crate::dialect::conditions::{Validators, Verdict};
use crate::identity::{Action, Principal};
use crate::metadata::records::{Strategy, VersionRecord, Versioning};
use crate::names;
use crate::object::{MissingBucket, ObjectName, PutTarget, SourceVersion, VersionName};
use hyper::HeaderMap;
use hyper::header::HeaderName;
use metrics::counter;
use s3s::dto::{ChecksumType, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, ETag};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use std::ops::Range;

/// The most bytes of a source that is copied as a whole, and of a part.
const SOURCE_BYTES_MAX: u64 = 5 << 30;

/// What is copied.
pub struct Source {
    /// Its name.
    pub name: ObjectName,
    /// The version.
    pub version: Box<VersionRecord>,
    /// What its bucket does with versions.
    versioning: Versioning,
    /// Whether it was named by its version.
    by_version: bool,
}

impl Source {
    /// As it is copied.
    pub fn to_copy(&self) -> SourceVersion<'_> {
        SourceVersion { name: &self.name, version: &self.version }
    }

    /// The id of the version, where its bucket keeps versions.
    pub fn shown_version(&self) -> Option<String> {
        shown_version(VersionName::of(&self.version), self.versioning)
    }
}

/// The source of a copy, if it may be read and its conditions hold.
pub async fn source_of(
    door: &Door,
    headers: &HeaderMap,
    source: &CopySource,
    principal: &Principal,
) -> S3Result<Source> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(not_implemented("an access point as the source of a copy"));
    };
    may(door, principal, Action::Read, bucket, version_id.is_none()).await?;
    let name = object_name(&Target { bucket: bucket.to_string(), key: key.to_string() })?;
    // Whose bucket the source is to be in has a header of its own.
    let owner = headers.get("x-amz-source-expected-bucket-owner");
    let of_source = owner.map(|owner| (HeaderName::from_static(EXPECTED_OWNER), owner.clone())).into_iter().collect();
    let (version, versioning) =
        found(door, &name, version_id.as_deref(), &of_source, principal).await.map_err(|mut error| {
            // A marker as a source is a wrong argument, not a wrong method.
            if error.code() == &S3ErrorCode::MethodNotAllowed {
                error = bad_request(
                    "The source of a copy request may not specifically refer to a delete marker by version id.",
                );
            }
            error
        })?;
    let validators = Validators { etag: format!("\"{}\"", version.etag_text()), modified_ms: version.created_ms };
    let text = |name: &str| list(headers, &format!("x-amz-copy-source-{name}"));
    match validators.judge(&text) {
        Verdict::Proceed => Ok(Source { name, version, versioning, by_version: version_id.is_some() }),
        Verdict::NotModified => Err(condition_failed("x-amz-copy-source-if-none-match or -if-modified-since")),
        Verdict::Failed(condition) => Err(condition_failed(condition)),
    }
}

/// The bytes of the source that a part is copied from.
pub fn source_range(text: Option<&str>, size: u64) -> S3Result<Range<u64>> {
    let Some(text) = text else {
        return match size > SOURCE_BYTES_MAX {
            true => Err(too_large()),
            false => Ok(0..size),
        };
    };
    let malformed = || {
        invalid(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy",
        )
    };
    let (first, last) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or_else(malformed)?;
    let number = |digits: &str| digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let (first, last) = number(first).zip(number(last)).filter(|(first, last)| first <= last).ok_or_else(malformed)?;
    if last >= size {
        return Err(fault(
            S3ErrorCode::InvalidArgument,
            format!("Range specified is not valid for source object of size: {size}"),
        ));
    }
    match last - first >= SOURCE_BYTES_MAX {
        true => Err(too_large()),
        false => Ok(first..last + 1),
    }
}

fn too_large() -> s3s::S3Error {
    bad_request(format!(
        "The specified copy source is larger than the maximum allowable size for a copy source: {SOURCE_BYTES_MAX}"
    ))
}

fn is_replaced(headers: &HeaderMap, directive: &'static str) -> S3Result<bool> {
    match text(headers, directive).as_deref() {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(_) => Err(invalid(format!("Unknown directive in {directive}: COPY or REPLACE"))),
    }
}

/// CopyObject.
pub async fn object(door: &Door, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
    bucket_of(door, &request, &request.input.bucket).await?;
    let name = object_name(&target(&request))?;
    let principal = trace(&request.extensions).principal();
    let source = source_of(door, &request.headers, &request.input.copy_source, &principal).await?;
    if source.version.size > SOURCE_BYTES_MAX {
        return Err(too_large());
    }
    let algorithm =
        text(&request.headers, "x-amz-checksum-algorithm").map(|name| promise::algorithm(&name)).transpose()?;
    let target = copy_target(door, &request.headers, &source, &name, principal.owner()).await?;
    let condition = target.condition.clone();
    let copied = match door.objects.copy(source.to_copy(), target, algorithm).await {
        Ok(copied) => copied,
        Err(error) => return Err(missing_or(door, &name, &condition, of_verb(error)).await),
    };
    counter!(names::FILE_UPLOADS_TOTAL).increment(1);
    let put = &copied.put;
    let fields = Checksums::of(copied.checksum.as_ref());
    let result = CopyObjectResult {
        checksum_crc32: fields.crc32,
        checksum_crc32c: fields.crc32c,
        checksum_crc64nvme: fields.crc64nvme,
        checksum_sha1: fields.sha1,
        checksum_sha256: fields.sha256,
        checksum_type: copied.checksum.as_ref().map(|checksum| ChecksumType::from_static(kind(checksum.kind))),
        e_tag: Some(ETag::Strong(put.etag.text(put.sha256.as_ref()))),
        last_modified: Some(timestamp(put.modified_ms)),
    };
    let output = CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: source.shown_version(),
        version_id: shown_version(put.version_name, put.versioning),
        ..CopyObjectOutput::default()
    };
    with_receipt(output, &put.receipt)
}

/// What the copy is to be: what the source says of itself, or what the request says, as its directives want it.
async fn copy_target(
    door: &Door,
    headers: &HeaderMap,
    source: &Source,
    name: &ObjectName,
    owner: &str,
) -> S3Result<PutTarget> {
    let said = described(headers, owner, door.objects.clock.now_ms())?;
    let replaces = is_replaced(headers, "x-amz-metadata-directive")?;
    let replaces_tags = is_replaced(headers, "x-amz-tagging-directive")?;
    let sets_class = headers.contains_key("x-amz-storage-class");
    if *name == source.name && !source.by_version && !replaces && !sets_class {
        return Err(bad_request(
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's \
             metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    let from = &source.version;
    let mut attributes = said.attributes;
    let chosen = door.objects.storage_of(name.bucket(), said.class.map(Strategy::from), Some(from.size)).await;
    chosen.map_err(of_verb)?.describe(&mut attributes);
    if !replaces {
        attributes.headers = from.headers.clone();
    }
    if !replaces_tags {
        attributes.tags = from.tags.clone();
    }
    let (content_type, metadata) = match replaces {
        true => (said.content_type, said.metadata),
        false => (from.content_type.clone(), from.metadata.clone()),
    };
    Ok(PutTarget {
        name: name.clone(),
        content_type,
        metadata,
        condition: write_condition(headers)?,
        md5: None,
        attributes,
        missing_bucket: MissingBucket::Refuse,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_a_source_has_both_ends() {
        assert_eq!(source_range(None, 10).unwrap(), 0..10);
        assert_eq!(source_range(Some("bytes=0-9"), 10).unwrap(), 0..10);
        for bad in ["bytes=0-10", "bytes=5-4", "bytes=0-", "bytes=-5", "0-5", "bytes=+1-2", "bytes=a-b"] {
            assert_eq!(source_range(Some(bad), 10).unwrap_err().code().as_str(), "InvalidArgument", "{bad}");
        }
        assert!(source_range(None, SOURCE_BYTES_MAX + 1).is_err());
    }
}
