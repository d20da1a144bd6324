//! Complete: the parts that the client names become a version, whole and at once.
//!
//! Steps; a crash after any of them leaves the upload open until the last, and the version visible from then on:
//! 1. the upload and its parts are read, and everything that the client said of them is held against that;
//! 2. the list of parts is written, under an intent where it takes more than one record ([`super::assemble`]);
//! 3. one commit publishes the version, closes the upload, and leaves word of what became of it, for whoever asks again.
//!
//! What it keeps true: the upload's revision in step 3 is the one of step 1. If another came first, everything is looked at anew; what was
//! completed once answers the same ever after, as long as that is kept.

use super::upload::{SeenUpload, UPLOAD_ATTEMPTS_MAX, contended, no_such_upload};
use super::{PART_BYTES_MAX, PARTS_MAX};
use crate::metadata::records::{
    Checksum, ChecksumKind, CompletedRecord, ETag, PartEntry, PartRecord, Record, UploadId, UploadRecord, VersionId,
    Versioning,
};
use crate::metadata::{SCAN_ENTRIES_MAX, keys};
use crate::object::checksum::Whole;
use crate::object::digest::Md5;
use crate::object::intent::Intent;
use crate::object::publish::{ComposedOf, Draft, PutTarget};
use crate::object::{Attributes, Condition, MissingBucket, ObjectName, Objects, Receipt, Refused, VersionName};
use protocol::{Error, ErrorKind, Result};

/// What the client says of a part that the version is to be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartClaim {
    /// Its number.
    pub number: u16,
    /// Its ETag, without quotes.
    pub etag: String,
    /// The value of its checksum, if the client repeats it.
    pub checksum: Option<Vec<u8>>,
}

/// An upload to be completed.
#[derive(Clone, Debug)]
pub struct CompleteRequest {
    /// The object's name.
    pub name: ObjectName,
    /// The upload.
    pub upload: UploadId,
    /// The parts, in ascending order of their numbers.
    pub parts: Vec<PartClaim>,
    /// What must hold of the key.
    pub condition: Condition,
    /// What the checksum of the whole must come to, if the client said so; a composite one may leave out of how many parts it is.
    pub checksum: Option<Checksum>,
    /// What the bytes must come to, if the client said so.
    pub size: Option<u64>,
    /// How many bytes every part but the last must have; S3's [`super::PART_BYTES_MIN`].
    pub part_bytes_min: u64,
}

/// An upload that was completed, now or before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedUpload {
    /// The version that it became.
    pub version: VersionId,
    /// What S3 calls it.
    pub version_name: VersionName,
    /// Whether its bucket keeps versions; S3 tells the version's name only then.
    pub versioning: Versioning,
    /// Its number.
    pub number: u64,
    /// Bytes.
    pub size: u64,
    /// Its ETag.
    pub etag: ETag,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// When it was made, in milliseconds since 1970.
    pub modified_ms: u64,
}

/// What the parts come to.
struct Sum {
    entries: Vec<PartEntry>,
    md5: Md5,
    checksum: Option<Whole>,
    size: u64,
    chunks: u64,
    stored_bytes: u64,
}

impl CompletedUpload {
    pub(super) fn of(record: CompletedRecord) -> CompletedUpload {
        CompletedUpload {
            version: record.version,
            version_name: if record.is_null { VersionName::Null } else { VersionName::Id(record.version) },
            versioning: record.versioning,
            number: record.number,
            size: record.size,
            etag: record.etag,
            checksum: record.checksum,
            modified_ms: record.at_ms,
        }
    }
}

impl Objects {
    /// Completes an upload; one that was completed lately answers the same again. `Ok` is durable.
    ///
    /// Refuses `NoSuchUpload`, `InvalidPart` (not uploaded, or another ETag or checksum), `PartOrder`, `PartTooSmall`, `PartsMissing` (no
    /// part is named), `SizeDiffers` and `ContentDiffers` (another size or checksum of the whole), and `ConditionFailed`.
    pub async fn complete_upload(&self, request: &CompleteRequest) -> Result<CompletedUpload> {
        require_order(&request.parts)?;
        let _served = self.clients.serve();
        for attempt in 0..UPLOAD_ATTEMPTS_MAX {
            self.back_off(attempt).await;
            let Some(seen) = self.see_upload(&request.name, request.upload).await? else {
                let completed = self.completed(&request.name, request.upload).await?;
                return completed.ok_or_else(|| no_such_upload(request.upload));
            };
            let sum = match self.sum_parts(request, &seen.record).await {
                Ok(sum) => sum,
                // Parts go when an upload is closed, which may have happened since its record was read.
                Err(error) => match self.see_upload(&request.name, request.upload).await? {
                    Some(now) if now.entry.revision == seen.entry.revision => return Err(error),
                    _ => continue,
                },
            };
            match self.publish_parts(request, &seen, sum).await {
                Err(error) if error.kind == ErrorKind::Conflict && Refused::of(&error).is_none() => {}
                Err(error) => {
                    // Its answer may have been lost, and another's completion may have come first.
                    return match self.completed(&request.name, request.upload).await {
                        Ok(Some(completed)) => Ok(completed),
                        _ => Err(error),
                    };
                }
                completed => return completed,
            }
        }
        Err(contended(request.upload))
    }

    /// Reads the parts that are named, and holds what was said of them against what they are.
    async fn sum_parts(&self, request: &CompleteRequest, upload: &UploadRecord) -> Result<Sum> {
        let checksum = upload.checksum.map(|(algorithm, kind)| Whole::new(algorithm, kind)).transpose()?;
        let entries = Vec::with_capacity(request.parts.len());
        let mut sum = Sum { entries, md5: Md5::default(), checksum, size: 0, chunks: 0, stored_bytes: 0 };
        let mut claims = request.parts.iter().peekable();
        let mut range = keys::parts_of(request.upload);
        while let Some(next) = claims.peek() {
            range.from = range.from.max(keys::part(request.upload, next.number));
            let found = self.metadata.scan(&range.from, &range.to, SCAN_ENTRIES_MAX).await?;
            let Some((last, _)) = found.last() else { return Err(no_such_part(next.number)) };
            range.from = keys::after(last);
            for (key, entry) in &found {
                let (_, number) = keys::parse_part(key)?;
                let Some(claim) = claims.next_if(|claim| claim.number <= number) else { continue };
                if claim.number < number {
                    return Err(no_such_part(claim.number));
                }
                let record = PartRecord::decode(&entry.value)?;
                require_claim(claim, &record)?;
                if claims.peek().is_some() && record.size < request.part_bytes_min {
                    return Err(too_small(number, record.size, request.part_bytes_min));
                }
                sum.add(number, record)?;
            }
        }
        Ok(sum)
    }

    async fn publish_parts(&self, request: &CompleteRequest, seen: &SeenUpload, sum: Sum) -> Result<CompletedUpload> {
        // Of no chunk here: the parts' own have been stored.
        let code = self.profiles.replication;
        let count = sum.entries.len() as u16;
        let checksum = sum.checksum.map(Whole::finish);
        require_content(request, sum.size, checksum.as_ref())?;
        let id = VersionId(self.clock.fresh_id());
        let mut intent = Intent::of(id, self.clock.now_ms());
        let assembly = self.assemble(request.upload, seen, sum.entries, id, &mut intent).await;
        let published = match assembly {
            Ok(assembly) => {
                let draft = Draft {
                    id,
                    has_intent: intent.is_begun(),
                    pages: 0,
                    last_page_start: sum.size,
                    chunks: sum.chunks,
                    stored_bytes: sum.stored_bytes,
                    reuses_any: false,
                    receipt: Receipt::empty(code),
                    size: sum.size,
                    sha256: None,
                    etag: ETag::Parts(sum.md5.finish(), count),
                    composed_of: ComposedOf::Parts(assembly),
                };
                let target = target_of(request, &seen.record, checksum.clone());
                self.publish(&draft, &mut [], &target).await
            }
            Err(error) => Err(error),
        };
        let done = match published {
            Ok(done) => done,
            Err(error) => {
                intent.discard(self).await;
                return Err(error);
            }
        };
        Ok(CompletedUpload {
            version: done.version,
            version_name: done.version_name,
            versioning: done.versioning,
            number: done.number,
            size: done.size,
            etag: done.etag,
            checksum,
            modified_ms: done.modified_ms,
        })
    }
}

impl Sum {
    fn add(&mut self, number: u16, part: PartRecord) -> Result<()> {
        self.size += part.size;
        self.chunks += part.chunks;
        self.stored_bytes += part.stored_bytes;
        self.md5.update(&part.md5);
        if let Some(whole) = &mut self.checksum {
            let checksum =
                part.checksum.as_ref().ok_or_else(|| Error::corrupt(format!("part {number} has no checksum")))?;
            whole.add(checksum, part.size)?;
        }
        self.entries.push(PartEntry { number, id: part.id, end: self.size, checksum: part.checksum });
        Ok(())
    }
}

fn target_of(request: &CompleteRequest, upload: &UploadRecord, checksum: Option<Checksum>) -> PutTarget {
    let upload = upload.clone();
    PutTarget {
        name: request.name.clone(),
        content_type: upload.content_type,
        metadata: upload.metadata,
        condition: request.condition.clone(),
        md5: None,
        attributes: Attributes {
            owner: upload.owner,
            headers: upload.headers,
            tags: upload.tags,
            checksum,
            retention: upload.retention,
            legal_hold: upload.legal_hold.then_some(true),
            storage_class: upload.storage_class,
            tiered: upload.tiered,
        },
        // An open upload keeps its bucket from being deleted.
        missing_bucket: MissingBucket::Refuse,
    }
}

fn require_order(parts: &[PartClaim]) -> Result<()> {
    if parts.is_empty() {
        return Err(Refused::PartsMissing.error("a completion names one part at least"));
    }
    if !parts.is_sorted_by(|one, next| one.number < next.number) {
        return Err(Refused::PartOrder.error("the parts must be named in ascending order of their numbers, each once"));
    }
    match parts.iter().find(|part| !(1..=PARTS_MAX).contains(&part.number)) {
        Some(part) => Err(no_such_part(part.number)),
        None => Ok(()),
    }
}

fn require_claim(claim: &PartClaim, part: &PartRecord) -> Result<()> {
    if claim.etag != hex::encode(part.md5) {
        let message = format!("part {} has ETag {}, not {}", claim.number, hex::encode(part.md5), claim.etag);
        return Err(Refused::InvalidPart.error(message));
    }
    let differs = |(claimed, found): (&Vec<u8>, &Checksum)| *claimed != found.value;
    if claim.checksum.as_ref().zip(part.checksum.as_ref()).is_some_and(differs) {
        let message = format!("part {} has another checksum than the one named", claim.number);
        return Err(Refused::InvalidPart.error(message));
    }
    if part.size > PART_BYTES_MAX {
        return Err(Refused::InvalidPart
            .error(format!("part {} has {} bytes, at most {PART_BYTES_MAX}", claim.number, part.size)));
    }
    Ok(())
}

fn require_content(request: &CompleteRequest, size: u64, checksum: Option<&Checksum>) -> Result<()> {
    if let Some(expected) = request.size.filter(|expected| *expected != size) {
        return Err(Refused::SizeDiffers.error(format!("the parts have {size} bytes, and {expected} were announced")));
    }
    match (&request.checksum, checksum) {
        (Some(expected), Some(found)) if !is_announced(expected, found) => {
            Err(Refused::ContentDiffers.error("the checksum of the parts is not the one that was announced"))
        }
        (Some(_), None) => Err(Error::invalid("a checksum was announced for an upload whose parts have none")),
        _ => Ok(()),
    }
}

/// Whether this is the checksum that was announced. S3 takes composite ones with and without their number of parts.
fn is_announced(expected: &Checksum, found: &Checksum) -> bool {
    let parts = if expected.kind == ChecksumKind::Composite { expected.parts.or(found.parts) } else { expected.parts };
    (expected.algorithm, expected.kind, &expected.value, parts)
        == (found.algorithm, found.kind, &found.value, found.parts)
}

fn no_such_part(number: u16) -> Error {
    Refused::InvalidPart.error(format!("part {number} was not uploaded"))
}

fn too_small(number: u16, bytes: u64, bytes_min: u64) -> Error {
    Refused::PartTooSmall.error(format!("part {number} has {bytes} bytes; every part but the last needs {bytes_min}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::records::ChecksumAlgorithm;

    #[test]
    fn a_composite_checksum_may_leave_its_number_of_parts_out() {
        let of = |kind, value: &[u8], parts| Checksum {
            algorithm: ChecksumAlgorithm::Crc32,
            kind,
            value: value.to_vec(),
            parts,
        };
        let found = of(ChecksumKind::Composite, b"abcd", Some(2));
        assert!(is_announced(&of(ChecksumKind::Composite, b"abcd", Some(2)), &found));
        assert!(is_announced(&of(ChecksumKind::Composite, b"abcd", None), &found));
        assert!(!is_announced(&of(ChecksumKind::Composite, b"abcd", Some(3)), &found));
        assert!(!is_announced(&of(ChecksumKind::Composite, b"abce", None), &found));
        assert!(!is_announced(&of(ChecksumKind::FullObject, b"abcd", None), &found));
        let whole = of(ChecksumKind::FullObject, b"abcd", None);
        assert!(is_announced(&whole, &whole) && !is_announced(&of(ChecksumKind::FullObject, b"abcd", Some(2)), &whole));
    }
}
