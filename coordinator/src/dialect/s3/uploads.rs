//! ListMultipartUploads and ListParts.

use super::bucket::{bucket_of, owner};
use super::fault::{invalid, of_verb};
use super::list::{Spelling, checksum_of, limit};
use super::lock::target;
use super::multipart::{Checksums, upload_id};
use super::read::object_name;
use super::times::timestamp;
use crate::dialect::Door;
use crate::object::{ListUploadsRequest, ListedPart, ListedUpload, PartsPage, UploadMarker, UploadsPage};
use s3s::dto::{
    ETag, Initiator, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput,
    MultipartUpload, Part, StorageClass,
};
use s3s::{S3Request, S3Response, S3Result};

fn initiator(of: &str) -> Initiator {
    let owner = owner(of);
    Initiator { display_name: owner.display_name, id: owner.id }
}

/// ListMultipartUploads.
pub async fn list(
    door: &Door,
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let (bucket, _) = bucket_of(door, &request, &request.input.bucket).await?;
    let input = request.input;
    let spelling = Spelling::of(input.encoding_type.as_ref())?;
    let (max_uploads, limit) = limit(input.max_uploads, "max-uploads")?;
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let prefix = input.prefix.unwrap_or_default();
    let key_marker = input.key_marker.unwrap_or_default();
    // S3 passes over an upload's id that comes without a key.
    let upload = input.upload_id_marker.as_deref().filter(|marker| !marker.is_empty() && !key_marker.is_empty());
    let after = match key_marker.is_empty() {
        true => None,
        false => {
            let upload = upload.map(upload_id).transpose().map_err(|_| invalid("Invalid uploadId marker"))?;
            Some(UploadMarker { key: key_marker.clone(), upload })
        }
    };
    let page = match limit {
        None => UploadsPage { uploads: Vec::new(), prefixes: Vec::new(), last: None, more: false },
        Some(limit) => {
            let wanted = ListUploadsRequest {
                bucket: bucket.clone(),
                prefix: prefix.clone(),
                delimiter: delimiter.clone(),
                after,
                limit,
            };
            door.objects.list_uploads(&wanted).await.map_err(of_verb)?
        }
    };
    let last = page.last.as_ref().filter(|_| page.more);
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(bucket.as_str().to_owned()),
        common_prefixes: Some(spelling.prefixes(&page.prefixes)),
        delimiter: delimiter.map(|delimiter| spelling.name(&delimiter)),
        encoding_type: spelling.echoed(),
        is_truncated: Some(page.more),
        key_marker: Some(spelling.name(&key_marker)),
        max_uploads: Some(max_uploads),
        next_key_marker: last.map(|last| spelling.name(&last.key)),
        next_upload_id_marker: last.and_then(|last| last.upload.map(|upload| upload.to_string())),
        prefix: Some(spelling.name(&prefix)),
        request_charged: None,
        upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
        uploads: Some(page.uploads.iter().map(|upload| line(upload, spelling)).collect()),
    }))
}

fn line(upload: &ListedUpload, spelling: Spelling) -> MultipartUpload {
    let (algorithms, checksum_type) = checksum_of(upload.record.checksum);
    let of = &upload.record.owner;
    MultipartUpload {
        checksum_algorithm: algorithms.and_then(|mut list| list.pop()),
        checksum_type,
        initiated: Some(timestamp(upload.record.initiated_ms)),
        initiator: Some(initiator(of)),
        key: Some(spelling.name(&upload.key)),
        owner: Some(owner(of)),
        storage_class: Some(StorageClass::from_static(upload.record.storage_class.as_str())),
        upload_id: Some(upload.upload.to_string()),
    }
}

/// ListParts.
pub async fn parts(door: &Door, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
    let (bucket, _) = bucket_of(door, &request, &request.input.bucket).await?;
    let name = object_name(&target(&request))?;
    let upload = upload_id(&request.input.upload_id)?;
    let (max_parts, limit) = limit(request.input.max_parts, "max-parts")?;
    let marker = request.input.part_number_marker.unwrap_or(0);
    let after = u16::try_from(marker).map_err(|_| invalid("part-number-marker must be from 0 to 10000"))?;
    let mut page = door.objects.list_parts(&name, upload, after, limit.unwrap_or(1)).await.map_err(of_verb)?;
    if limit.is_none() {
        page = PartsPage { parts: Vec::new(), more: false, ..page };
    }
    let (algorithms, checksum_type) = checksum_of(page.upload.checksum);
    let last = page.parts.last().map_or(marker, |part| i32::from(part.number));
    Ok(S3Response::new(ListPartsOutput {
        abort_date: None,
        abort_rule_id: None,
        bucket: Some(bucket.as_str().to_owned()),
        checksum_algorithm: algorithms.and_then(|mut list| list.pop()),
        checksum_type,
        initiator: Some(initiator(&page.upload.owner)),
        is_truncated: Some(page.more),
        key: Some(name.key().to_owned()),
        max_parts: Some(max_parts),
        next_part_number_marker: Some(last),
        owner: Some(owner(&page.upload.owner)),
        part_number_marker: Some(marker),
        parts: Some(page.parts.iter().map(part).collect()),
        request_charged: None,
        storage_class: Some(StorageClass::from_static(page.upload.storage_class.as_str())),
        upload_id: Some(upload.to_string()),
    }))
}

fn part(part: &ListedPart) -> Part {
    let fields = Checksums::of(part.checksum.as_ref());
    Part {
        checksum_crc32: fields.crc32,
        checksum_crc32c: fields.crc32c,
        checksum_crc64nvme: fields.crc64nvme,
        checksum_sha1: fields.sha1,
        checksum_sha256: fields.sha256,
        e_tag: Some(ETag::Strong(hex::encode(part.md5))),
        last_modified: Some(timestamp(part.modified_ms)),
        part_number: Some(i32::from(part.number)),
        size: i64::try_from(part.size).ok(),
    }
}
