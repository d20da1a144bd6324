//! ListObjectVersions.

use super::bucket::{bucket_of, owner};
use super::fault::{invalid, of_verb};
use super::list::{Spelling, checksum_of, limit};
use super::times::timestamp;
use crate::dialect::Door;
use crate::object::{ListVersionsRequest, ListedVersion, VersionMarker, VersionsPage};
use s3s::dto::{
    DeleteMarkerEntry, ETag, ListObjectVersionsInput, ListObjectVersionsOutput, ObjectVersion,
    ObjectVersionStorageClass,
};
use s3s::{S3Request, S3Response, S3Result};

/// ListObjectVersions.
pub async fn list(
    door: &Door,
    request: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let (bucket, _) = bucket_of(door, &request, &request.input.bucket).await?;
    let input = request.input;
    let spelling = Spelling::of(input.encoding_type.as_ref())?;
    let (max_keys, limit) = limit(input.max_keys, "max-keys")?;
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let prefix = input.prefix.unwrap_or_default();
    let after_key = input.key_marker.clone().filter(|marker| !marker.is_empty());
    let after_version = input.version_id_marker.as_deref().filter(|marker| !marker.is_empty());
    if after_version.is_some() && after_key.is_none() {
        return Err(invalid("A version-id marker cannot be specified without a key marker."));
    }
    let after_version = after_version.map(marker).transpose()?;
    let page = match limit {
        None => VersionsPage { entries: Vec::new(), prefixes: Vec::new(), last: None, more: false },
        Some(limit) => {
            let request = ListVersionsRequest {
                bucket: bucket.clone(),
                prefix: prefix.clone(),
                delimiter: delimiter.clone(),
                after_key,
                after_version,
                limit,
            };
            door.objects.list_versions(&request).await.map_err(of_verb)?
        }
    };
    let last = page.last.as_ref().filter(|_| page.more);
    let (markers, versions): (Vec<&ListedVersion>, Vec<&ListedVersion>) =
        page.entries.iter().partition(|entry| entry.is_marker);
    Ok(S3Response::new(ListObjectVersionsOutput {
        common_prefixes: Some(spelling.prefixes(&page.prefixes)),
        delete_markers: Some(markers.into_iter().map(|entry| marker_line(entry, spelling)).collect()),
        delimiter: delimiter.map(|delimiter| spelling.name(&delimiter)),
        encoding_type: spelling.echoed(),
        is_truncated: Some(page.more),
        key_marker: Some(spelling.name(&input.key_marker.unwrap_or_default())),
        max_keys: Some(max_keys),
        name: Some(bucket.as_str().to_owned()),
        next_key_marker: last.map(|(key, _)| spelling.name(key)),
        next_version_id_marker: last.and_then(|(_, version)| version.as_ref().map(VersionMarker::to_string)),
        prefix: Some(spelling.name(&prefix)),
        request_charged: None,
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        versions: Some(versions.into_iter().map(|entry| version_line(entry, spelling)).collect()),
    }))
}

fn marker(text: &str) -> S3Result<VersionMarker> {
    text.parse().map_err(|_| invalid("Invalid version id specified"))
}

fn version_line(entry: &ListedVersion, spelling: Spelling) -> ObjectVersion {
    let (checksum_algorithm, checksum_type) = checksum_of(entry.checksum);
    ObjectVersion {
        checksum_algorithm,
        checksum_type,
        e_tag: Some(ETag::Strong(entry.etag_text())),
        is_latest: Some(entry.is_newest),
        key: Some(spelling.name(&entry.key)),
        last_modified: Some(timestamp(entry.modified_ms)),
        owner: Some(owner(&entry.owner)),
        restore_status: None,
        size: i64::try_from(entry.size).ok(),
        storage_class: Some(ObjectVersionStorageClass::from_static(entry.storage_class.as_str())),
        version_id: Some(entry.version_name.to_string()),
    }
}

fn marker_line(entry: &ListedVersion, spelling: Spelling) -> DeleteMarkerEntry {
    DeleteMarkerEntry {
        is_latest: Some(entry.is_newest),
        key: Some(spelling.name(&entry.key)),
        last_modified: Some(timestamp(entry.modified_ms)),
        owner: Some(owner(&entry.owner)),
        version_id: Some(entry.version_name.to_string()),
    }
}
