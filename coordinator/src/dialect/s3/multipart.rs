//! Multipart uploads: begun, fed with parts, completed, aborted.
//!
//! What it keeps true: a part's checksum is of the algorithm that the upload was begun with, whoever computes it; an upload's id that
//! cannot be one is an upload that there is not.

use super::bucket::bucket_of;
use super::copy::{source_of, source_range};
use super::fault::{bad_request, fault, invalid, of_verb};
use super::heads::{described, refuse_not_done, text, write_condition};
use super::list::checksum_of;
use super::lock::target;
use super::promise::{self, Promise, kind, printed, spelled};
use super::read::object_name;
use super::route::trace;
use super::target::Place;
use super::times::timestamp;
use super::write::{AnyTrailers, Coming, Stopped, body_length, ended_early, missing_or, shown_version, with_receipt};
use crate::dialect::{Door, with_request_id};
use crate::metadata::records::{Checksum, ChecksumAlgorithm, ChecksumKind, Strategy, UploadId};
use crate::names;
use crate::object::{
    BodyMessage, CompleteRequest, MissingBucket, NewUpload, PART_BYTES_MIN, PartClaim, PartTarget, body_channel, joined,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use metrics::counter;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumType, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CompletedPart, CopyPartResult, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, ETag, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use uuid::Uuid;

/// A checksum in the five fields that the protocol's documents have for it.
#[derive(Clone, Debug, Default)]
pub struct Checksums {
    /// CRC32.
    pub crc32: Option<String>,
    /// CRC32C.
    pub crc32c: Option<String>,
    /// CRC64NVME.
    pub crc64nvme: Option<String>,
    /// SHA1.
    pub sha1: Option<String>,
    /// SHA256.
    pub sha256: Option<String>,
}

impl Checksums {
    /// The fields of a checksum.
    pub fn of(checksum: Option<&Checksum>) -> Checksums {
        let mut fields = Checksums::default();
        let Some(checksum) = checksum else { return fields };
        let value = Some(printed(checksum));
        match checksum.algorithm {
            ChecksumAlgorithm::Crc32 => fields.crc32 = value,
            ChecksumAlgorithm::Crc32c => fields.crc32c = value,
            ChecksumAlgorithm::Crc64Nvme => fields.crc64nvme = value,
            ChecksumAlgorithm::Sha1 => fields.sha1 = value,
            ChecksumAlgorithm::Sha256 => fields.sha256 = value,
        }
        fields
    }
}

/// The upload that a client calls so.
pub fn upload_id(text: &str) -> S3Result<UploadId> {
    let missing = || fault(S3ErrorCode::NoSuchUpload, "The specified multipart upload does not exist.");
    Uuid::try_parse(text).map(UploadId).map_err(|_| missing())
}

fn part_number(number: i32) -> S3Result<u16> {
    promise::part_number(&number.to_string())
}

/// CreateMultipartUpload.
pub async fn create(
    door: &Door,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let (bucket, _) = bucket_of(door, &request, &request.input.bucket).await?;
    let name = object_name(&target(&request))?;
    let owner = trace(&request.extensions).principal().owner().to_owned();
    let mut described = described(&request.headers, &owner, door.objects.clock.now_ms())?;
    let chosen = door.objects.storage_of(&bucket, described.class.map(Strategy::from), None).await;
    chosen.map_err(of_verb)?.describe(&mut described.attributes);
    let checksum = wanted_checksum(&request.headers)?;
    let new = NewUpload {
        name: name.clone(),
        content_type: described.content_type,
        metadata: described.metadata,
        attributes: described.attributes,
        checksum,
        missing_bucket: MissingBucket::Refuse,
    };
    let upload = door.objects.create_upload(new).await.map_err(of_verb)?;
    let (algorithms, checksum_type) = checksum_of(checksum);
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(bucket.as_str().to_owned()),
        key: Some(name.key().to_owned()),
        upload_id: Some(upload.to_string()),
        checksum_algorithm: algorithms.and_then(|mut list| list.pop()),
        checksum_type,
        ..CreateMultipartUploadOutput::default()
    }))
}

/// Which checksum the parts have, and what the whole's is of.
fn wanted_checksum(headers: &HeaderMap) -> S3Result<Option<(ChecksumAlgorithm, ChecksumKind)>> {
    let algorithm = text(headers, "x-amz-checksum-algorithm").map(|name| promise::algorithm(&name)).transpose()?;
    let wanted = text(headers, "x-amz-checksum-type");
    let Some(algorithm) = algorithm else {
        return match wanted {
            None => Ok(None),
            Some(_) => Err(bad_request(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )),
        };
    };
    let is_crc64 = algorithm == ChecksumAlgorithm::Crc64Nvme;
    let is_hash = matches!(algorithm, ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256);
    let kind = match wanted.as_deref() {
        None if is_crc64 => ChecksumKind::FullObject,
        None => ChecksumKind::Composite,
        Some("FULL_OBJECT") if !is_hash => ChecksumKind::FullObject,
        Some("COMPOSITE") if !is_crc64 => ChecksumKind::Composite,
        Some(other @ ("FULL_OBJECT" | "COMPOSITE")) => {
            let name = spelled(algorithm).0.to_ascii_lowercase();
            return Err(bad_request(format!(
                "The {other} checksum type cannot be used with the {name} checksum algorithm."
            )));
        }
        Some(_) => return Err(bad_request("Value for x-amz-checksum-type header is invalid.")),
    };
    Ok(Some((algorithm, kind)))
}

/// UploadPart.
pub async fn part(door: &Door, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
    bucket_of(door, &request, &request.input.bucket).await?;
    let name = object_name(&target(&request))?;
    refuse_not_done(&request.headers)?;
    let upload = upload_id(&request.input.upload_id)?;
    let number = part_number(request.input.part_number)?;
    let length = body_length(door, &request.headers)?;
    let record = door.objects.upload(&name, upload).await.map_err(of_verb)?;
    let mut promise = Promise::of(&request.headers)?;
    promise.require(record.checksum.map(|(algorithm, _)| algorithm))?;
    let md5 = promise.md5;
    let trailers = AnyTrailers::of(&request);
    let body = request.input.body.ok_or_else(|| fault(S3ErrorCode::IncompleteBody, "there is no body"))?;
    let (sender, pieces) = body_channel::<PartTarget>();
    let (objects, to) = (door.objects.clone(), name.clone());
    let put = async move { objects.put_part(&to, upload, number, Some(length), pieces).await };
    let put = door.objects.tasks.spawn_here(with_request_id(put));
    let done = match (Coming { body, promise, length, trailers }).pump(&sender).await {
        Ok(checksum) => {
            // If this cannot be sent, the put has ended and says why.
            drop(sender.send(BodyMessage::End(Box::new(PartTarget { md5, checksum: checksum.clone() }))).await);
            joined(put).await.map(|done| (done, checksum)).map_err(of_verb)
        }
        Err(Stopped::Here(fault)) => Err(fault),
        Err(Stopped::PutEnded) => Err(of_verb(joined(put).await.err().unwrap_or_else(ended_early))),
    };
    let (done, checksum) = done?;
    let fields = Checksums::of(checksum.as_ref());
    let output = UploadPartOutput {
        checksum_crc32: fields.crc32,
        checksum_crc32c: fields.crc32c,
        checksum_crc64nvme: fields.crc64nvme,
        checksum_sha1: fields.sha1,
        checksum_sha256: fields.sha256,
        e_tag: Some(ETag::Strong(hex::encode(done.md5))),
        ..UploadPartOutput::default()
    };
    with_receipt(output, &done.receipt)
}

/// UploadPartCopy.
pub async fn part_copy(
    door: &Door,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    bucket_of(door, &request, &request.input.bucket).await?;
    let name = object_name(&target(&request))?;
    refuse_not_done(&request.headers)?;
    let upload = upload_id(&request.input.upload_id)?;
    let number = part_number(request.input.part_number)?;
    let principal = trace(&request.extensions).principal();
    let source = source_of(door, &request.headers, &request.input.copy_source, &principal).await?;
    let range = source_range(request.input.copy_source_range.as_deref(), source.version.size)?;
    let done = door.objects.copy_part(&name, upload, number, source.to_copy(), range).await.map_err(of_verb)?;
    let fields = Checksums::of(done.checksum.as_ref());
    let result = CopyPartResult {
        checksum_crc32: fields.crc32,
        checksum_crc32c: fields.crc32c,
        checksum_crc64nvme: fields.crc64nvme,
        checksum_sha1: fields.sha1,
        checksum_sha256: fields.sha256,
        e_tag: Some(ETag::Strong(hex::encode(done.md5))),
        last_modified: Some(timestamp(done.modified_ms)),
    };
    let output = UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id: source.shown_version(),
        ..UploadPartCopyOutput::default()
    };
    with_receipt(output, &done.receipt)
}

/// CompleteMultipartUpload.
pub async fn complete(
    door: &Door,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let (bucket, _) = bucket_of(door, &request, &request.input.bucket).await?;
    let name = object_name(&target(&request))?;
    let upload = upload_id(&request.input.upload_id)?;
    let condition = write_condition(&request.headers)?;
    let parts = request.input.multipart_upload.and_then(|document| document.parts).unwrap_or_default();
    if parts.is_empty() {
        return Err(fault(S3ErrorCode::MalformedXML, "You must specify at least one part"));
    }
    let parts = parts.into_iter().map(claim).collect::<S3Result<Vec<_>>>()?;
    let mut checksum = whole_checksum(&request.headers)?;
    // What checksum it has, the upload says; one that is closed knows its answer.
    let begun = door.objects.upload(&name, upload).await.ok().and_then(|record| record.checksum);
    if let Some((algorithm, kind)) = begun {
        require_checksums(&request.headers, algorithm, kind, &parts)?;
        if let Some(promised) = checksum.as_mut().filter(|promised| promised.parts.is_none()) {
            // Some clients leave the number of parts out.
            promised.kind = kind;
        }
    }
    let complete = CompleteRequest {
        name: name.clone(),
        upload,
        parts,
        condition: condition.clone(),
        checksum,
        size: text(&request.headers, "x-amz-mp-object-size")
            .map(|size| size.parse().map_err(|_| bad_request("x-amz-mp-object-size must be a number from 0")))
            .transpose()?,
        part_bytes_min: PART_BYTES_MIN,
    };
    let done = match door.objects.complete_upload(&complete).await {
        Ok(done) => done,
        Err(error) => return Err(missing_or(door, &name, &condition, of_verb(error)).await),
    };
    counter!(names::FILE_UPLOADS_TOTAL).increment(1);
    let fields = Checksums::of(done.checksum.as_ref());
    let place = request.extensions.get::<Place>().cloned().unwrap_or_default();
    Ok(S3Response::new(CompleteMultipartUploadOutput {
        bucket: Some(bucket.as_str().to_owned()),
        key: Some(name.key().to_owned()),
        location: Some(place.url(name.key())),
        e_tag: Some(ETag::Strong(done.etag.text(None))),
        checksum_type: done.checksum.as_ref().map(|checksum| ChecksumType::from_static(kind(checksum.kind))),
        checksum_crc32: fields.crc32,
        checksum_crc32c: fields.crc32c,
        checksum_crc64nvme: fields.crc64nvme,
        checksum_sha1: fields.sha1,
        checksum_sha256: fields.sha256,
        version_id: shown_version(done.version_name, done.versioning),
        ..CompleteMultipartUploadOutput::default()
    }))
}

/// A part as the client names it.
fn claim(part: CompletedPart) -> S3Result<PartClaim> {
    let malformed = |why: &'static str| fault(S3ErrorCode::MalformedXML, why);
    let number = part.part_number.ok_or_else(|| malformed("a part has no PartNumber"))?;
    let etag = part.e_tag.ok_or_else(|| malformed("a part has no ETag"))?;
    let given =
        [part.checksum_crc32, part.checksum_crc32c, part.checksum_crc64nvme, part.checksum_sha1, part.checksum_sha256];
    let mut given = given.into_iter().flatten();
    let checksum = given
        .next()
        .map(|text| STANDARD.decode(&text).map_err(|_| bad_request("Value for a part's checksum is invalid.")));
    if given.next().is_some() {
        return Err(invalid("a part is named with one checksum at most"));
    }
    Ok(PartClaim { number: part_number(number)?, etag: etag.into_value(), checksum: checksum.transpose()? })
}

/// Refuses a completion that takes the upload's checksum for one of another kind, or leaves out what a composite one is made of.
fn require_checksums(
    headers: &HeaderMap,
    algorithm: ChecksumAlgorithm,
    begun: ChecksumKind,
    parts: &[PartClaim],
) -> S3Result<()> {
    if text(headers, "x-amz-checksum-type").is_some_and(|told| told != kind(begun)) {
        let begun = kind(begun);
        return Err(bad_request(format!(
            "The upload was created using the {begun} checksum mode. The complete request must use the same checksum mode."
        )));
    }
    match parts.iter().find(|part| begun == ChecksumKind::Composite && part.checksum.is_none()) {
        Some(part) => Err(bad_request(format!(
            "The upload was created using a {} checksum. The complete request must include the checksum for each part. \
             It was missing for part {} in the request.",
            spelled(algorithm).0.to_lowercase(),
            part.number
        ))),
        None => Ok(()),
    }
}

/// What the checksum of the whole must come to, if the head says so: with its number of parts where it is of theirs.
fn whole_checksum(headers: &HeaderMap) -> S3Result<Option<Checksum>> {
    let mut given =
        promise::ALGORITHMS.into_iter().filter_map(|(algorithm, _, header)| Some((algorithm, text(headers, header)?)));
    let Some((algorithm, value)) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(bad_request("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."));
    }
    let invalid = || bad_request(format!("Value for {} header is invalid.", spelled(algorithm).1));
    let (digits, parts) = match value.split_once('-') {
        Some((digits, parts)) => (digits, Some(parts.parse::<u16>().map_err(|_| invalid())?)),
        None => (value.as_str(), None),
    };
    let kind = if parts.is_some() { ChecksumKind::Composite } else { ChecksumKind::FullObject };
    let value = STANDARD.decode(digits).map_err(|_| invalid())?;
    Ok(Some(Checksum { algorithm, kind, value, parts }))
}

/// AbortMultipartUpload.
pub async fn abort(
    door: &Door,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    bucket_of(door, &request, &request.input.bucket).await?;
    let name = object_name(&target(&request))?;
    let upload = upload_id(&request.input.upload_id)?;
    door.objects.abort_upload(&name, upload).await.map_err(of_verb)?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn each_algorithm_has_its_kinds() {
        let of = |algorithm: &str, kind: Option<&str>| {
            let mut pairs = vec![("x-amz-checksum-algorithm", algorithm)];
            pairs.extend(kind.map(|kind| ("x-amz-checksum-type", kind)));
            wanted_checksum(&headers(&pairs)).ok().flatten().map(|(_, kind)| kind)
        };
        assert_eq!(of("CRC64NVME", None), Some(ChecksumKind::FullObject));
        assert_eq!(of("CRC32", None), Some(ChecksumKind::Composite));
        assert_eq!(of("CRC32C", Some("FULL_OBJECT")), Some(ChecksumKind::FullObject));
        assert_eq!(of("SHA256", Some("FULL_OBJECT")), None);
        assert_eq!(of("CRC64NVME", Some("COMPOSITE")), None);
        assert_eq!(of("MD5", None), None);
        assert!(wanted_checksum(&headers(&[("x-amz-checksum-type", "COMPOSITE")])).is_err());
    }

    #[test]
    fn the_whole_s_checksum_may_say_of_how_many_parts_it_is() {
        let composite = whole_checksum(&headers(&[("x-amz-checksum-crc32", "y/Q5Jg==-3")])).unwrap().unwrap();
        assert_eq!((composite.kind, composite.parts), (ChecksumKind::Composite, Some(3)));
        let full = whole_checksum(&headers(&[("x-amz-checksum-crc32", "y/Q5Jg==")])).unwrap().unwrap();
        assert_eq!((full.kind, full.parts), (ChecksumKind::FullObject, None));
        assert!(whole_checksum(&headers(&[("x-amz-checksum-crc32", "y/Q5Jg==-x")])).is_err());
        let two = [("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-checksum-crc32c", "y/Q5Jg==")];
        assert!(whole_checksum(&headers(&two)).is_err(), "one of them would be believed");
    }

    #[test]
    fn an_id_that_cannot_be_one_is_no_upload() {
        assert_eq!(upload_id("nonsense").unwrap_err().code().as_str(), "NoSuchUpload");
        assert!(upload_id("0199d0a0-0000-7000-8000-000000000000").is_ok());
    }
}
