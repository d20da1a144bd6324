//! What is asked of a version besides its bytes: GetObjectAttributes, and its tags.

use super::fault::{invalid, of_verb};
use super::lock::target;
use super::multipart::Checksums;
use super::promise::kind;
use super::read::{found_for, object_name, version_name};
use super::tags::{self, OBJECT_TAGS_MAX};
use super::times::timestamp;
use super::write::shown_version;
use crate::dialect::Door;
use crate::metadata::records::VersionRecord;
use crate::object::{ObjectName, ObjectPart, VersionName};
use s3s::dto::{
    Checksum, ChecksumType, DeleteObjectTaggingInput, DeleteObjectTaggingOutput, ETag, GetObjectAttributesInput,
    GetObjectAttributesOutput, GetObjectAttributesParts, GetObjectTaggingInput, GetObjectTaggingOutput,
    ObjectPart as ShownPart, PutObjectTaggingInput, PutObjectTaggingOutput, StorageClass,
};
use s3s::{S3Request, S3Response, S3Result};
use std::collections::BTreeMap;

/// The most parts in one answer.
const PARTS_MAX: i32 = 1_000;
/// What can be asked for.
const KNOWN: [&str; 5] = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];

/// GetObjectAttributes.
pub async fn get(
    door: &Door,
    request: S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let name = object_name(&target(&request))?;
    let input = &request.input;
    // The library takes each header for one name; clients put all of them into one.
    let named = input.object_attributes.iter().flat_map(|names| names.as_str().split(','));
    let named: Vec<&str> = named.map(str::trim).filter(|name| !name.is_empty()).collect();
    if let Some(unknown) = named.iter().find(|wanted| !KNOWN.contains(wanted)) {
        return Err(invalid(format!("Invalid attribute name specified: {unknown}")));
    }
    let wants = |attribute: &str| named.contains(&attribute);
    if named.is_empty() {
        return Err(invalid("The x-amz-object-attributes header specifying the attributes to be retrieved is missing"));
    }
    let (version, versioning) = found_for(door, &request, &name, input.version_id.as_deref()).await?;
    let object_parts = match version.parts {
        Some(_) if wants("ObjectParts") => {
            Some(parts(door, &name, &version, input.max_parts, input.part_number_marker).await?)
        }
        _ => None,
    };
    let shown = wants("StorageClass").then(|| StorageClass::from_static(version.storage_class.as_str()));
    Ok(S3Response::new(GetObjectAttributesOutput {
        checksum: version.checksum.as_ref().filter(|_| wants("Checksum")).map(checksum),
        delete_marker: None,
        e_tag: wants("ETag").then(|| ETag::Strong(version.etag_text())),
        last_modified: Some(timestamp(version.created_ms)),
        object_parts,
        object_size: if wants("ObjectSize") { i64::try_from(version.size).ok() } else { None },
        request_charged: None,
        storage_class: shown,
        version_id: shown_version(VersionName::of(&version), versioning),
    }))
}

fn checksum(checksum: &crate::metadata::records::Checksum) -> Checksum {
    let values = Checksums::of(Some(checksum));
    Checksum {
        checksum_crc32: values.crc32,
        checksum_crc32c: values.crc32c,
        checksum_crc64nvme: values.crc64nvme,
        checksum_sha1: values.sha1,
        checksum_sha256: values.sha256,
        checksum_type: Some(ChecksumType::from_static(kind(checksum.kind))),
    }
}

async fn parts(
    door: &Door,
    name: &ObjectName,
    version: &VersionRecord,
    max_parts: Option<i32>,
    marker: Option<i32>,
) -> S3Result<GetObjectAttributesParts> {
    let most = max_parts.unwrap_or(PARTS_MAX).min(PARTS_MAX);
    let limit = usize::try_from(most).map_err(|_| invalid("x-amz-max-parts must not be negative"))?;
    let after =
        u16::try_from(marker.unwrap_or(0)).map_err(|_| invalid("x-amz-part-number-marker is no part's number"))?;
    let page = door.objects.object_parts(name, version, after, limit.max(1)).await.map_err(of_verb)?;
    let last = page.parts.last().map(|part| i32::from(part.number));
    let with_checksums = version.checksum.is_some();
    Ok(GetObjectAttributesParts {
        is_truncated: Some(page.more),
        max_parts: Some(most),
        next_part_number_marker: last,
        part_number_marker: Some(i32::from(after)),
        // S3 lists parts only where they have checksums.
        parts: with_checksums.then(|| page.parts.iter().map(part).collect()),
        total_parts_count: version.parts.map(i32::from),
    })
}

fn part(part: &ObjectPart) -> ShownPart {
    let values = Checksums::of(part.checksum.as_ref());
    ShownPart {
        checksum_crc32: values.crc32,
        checksum_crc32c: values.crc32c,
        checksum_crc64nvme: values.crc64nvme,
        checksum_sha1: values.sha1,
        checksum_sha256: values.sha256,
        part_number: Some(i32::from(part.number)),
        size: i64::try_from(part.range.end - part.range.start).ok(),
    }
}

/// GetObjectTagging.
pub async fn tags(
    door: &Door,
    request: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let name = object_name(&target(&request))?;
    let (version, versioning) = found_for(door, &request, &name, request.input.version_id.as_deref()).await?;
    Ok(S3Response::new(GetObjectTaggingOutput {
        tag_set: tags::set(&version.tags),
        version_id: shown_version(VersionName::of(&version), versioning),
    }))
}

/// PutObjectTagging.
pub async fn set_tags(
    door: &Door,
    request: S3Request<PutObjectTaggingInput>,
) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    let tags = tags::of_set(request.input.tagging.tag_set.clone(), OBJECT_TAGS_MAX)?;
    let version = request.input.version_id.clone();
    let version_id = change_tags(door, &request, version.as_deref(), tags).await?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id }))
}

/// DeleteObjectTagging.
pub async fn forget_tags(
    door: &Door,
    request: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    let version = request.input.version_id.clone();
    let version_id = change_tags(door, &request, version.as_deref(), BTreeMap::new()).await?;
    Ok(S3Response::new(DeleteObjectTaggingOutput { version_id }))
}

async fn change_tags<T>(
    door: &Door,
    request: &S3Request<T>,
    version: Option<&str>,
    tags: BTreeMap<String, String>,
) -> S3Result<Option<String>> {
    let name = object_name(&target(request))?;
    // A marker, and what is not there, have no tags to be changed.
    let (_, versioning) = found_for(door, request, &name, version).await?;
    let version = version.map(version_name).transpose()?;
    let changed = door.objects.set_tags(&name, version, tags).await.map_err(of_verb)?;
    Ok(shown_version(VersionName::of(&changed), versioning))
}
