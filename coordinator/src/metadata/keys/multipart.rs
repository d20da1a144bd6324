//! Keys of multipart uploads and of what becomes of them.
//!
//! What it keeps true: as in [`super`]; `part/` and `parts/` differ in the byte after `part`, so neither range holds keys of the other.

use super::{KeyRange, join, last_id, malformed, name, split_at_nul, split_id, starting_with, strip, text};
use crate::metadata::records::{UploadId, VersionId};
use bytes::Bytes;
use protocol::Result;

const UPLOAD: &[u8] = b"upload/";
const PART: &[u8] = b"part/";
const COMPLETED: &[u8] = b"completed/";
const PARTS: &[u8] = b"parts/";

/// A multipart upload of a name.
pub fn upload(bucket: &str, key: &str, upload: UploadId) -> Bytes {
    join(&[UPLOAD, name(bucket), b"\0", name(key), b"\0", upload.0.as_bytes()])
}

/// The open uploads of a bucket whose keys start with `prefix`, by key, the oldest of each first.
pub fn uploads(bucket: &str, prefix: &str) -> KeyRange {
    starting_with(join(&[UPLOAD, name(bucket), b"\0", name(prefix)]))
}

/// The open uploads of one name, the oldest first.
pub fn uploads_of(bucket: &str, key: &str) -> KeyRange {
    starting_with(join(&[UPLOAD, name(bucket), b"\0", name(key), b"\0"]))
}

/// The open uploads of every bucket.
pub fn every_upload() -> KeyRange {
    starting_with(Bytes::from_static(UPLOAD))
}

/// Bucket, key and id of an [`upload()`] key.
pub fn parse_upload(key: &[u8]) -> Result<(&str, &str, UploadId)> {
    let (bucket, rest) = split_at_nul(strip(key, UPLOAD)?).ok_or_else(|| malformed(key))?;
    let (object, upload) = split_at_nul(rest).ok_or_else(|| malformed(key))?;
    Ok((text(key, bucket)?, text(key, object)?, UploadId(last_id(key, upload)?)))
}

/// Part `number` of an upload.
pub fn part(upload: UploadId, number: u16) -> Bytes {
    join(&[PART, upload.0.as_bytes(), b"/", &number.to_be_bytes()])
}

/// The parts of an upload, in order.
pub fn parts_of(upload: UploadId) -> KeyRange {
    starting_with(join(&[PART, upload.0.as_bytes(), b"/"]))
}

/// All parts of all uploads.
pub fn every_part() -> KeyRange {
    starting_with(Bytes::from_static(PART))
}

/// Upload and number of a [`part()`] key.
pub fn parse_part(key: &[u8]) -> Result<(UploadId, u16)> {
    let (upload, number) = split_id(key, strip(key, PART)?)?;
    let number = strip(number, b"/")?.try_into().map_err(|_| malformed(key))?;
    Ok((UploadId(upload), u16::from_be_bytes(number)))
}

/// What became of an upload.
pub fn completed(upload: UploadId) -> Bytes {
    join(&[COMPLETED, upload.0.as_bytes()])
}

/// All uploads that were completed lately, the one that was begun first first.
pub fn all_completed() -> KeyRange {
    starting_with(Bytes::from_static(COMPLETED))
}

/// The parts of a version, the last of which ends at `end`.
pub fn parts(version: VersionId, end: u64) -> Bytes {
    join(&[PARTS, version.0.as_bytes(), b"/", &end.to_be_bytes()])
}

/// The parts of a version from the one that holds the byte at `offset` on.
pub fn parts_from(version: VersionId, offset: u64) -> KeyRange {
    let to = parts_in(version).to;
    let from = offset.checked_add(1).map_or_else(|| to.clone(), |end| parts(version, end));
    KeyRange { from, to }
}

/// All parts of a version, in order, with or without bytes.
pub fn parts_in(version: VersionId) -> KeyRange {
    starting_with(join(&[PARTS, version.0.as_bytes(), b"/"]))
}

/// The parts of all versions.
pub fn parts_in_every_version() -> KeyRange {
    starting_with(Bytes::from_static(PARTS))
}

/// Version and end offset of a [`parts`] key.
pub fn parse_parts(key: &[u8]) -> Result<(VersionId, u64)> {
    let (version, end) = split_id(key, strip(key, PARTS)?)?;
    let end = strip(end, b"/")?.try_into().map_err(|_| malformed(key))?;
    Ok((VersionId(version), u64::from_be_bytes(end)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn keys_round_trip_and_keep_their_order() {
        let (id, version) = (UploadId(Uuid::from_u128(7 << 90)), VersionId(Uuid::from_u128(9)));
        assert_eq!(parse_upload(&upload("b", "a/\u{e4}", id)).unwrap(), ("b", "a/\u{e4}", id));
        assert_eq!(parse_part(&part(id, 10_000)).unwrap(), (id, 10_000));
        assert_eq!(parse_parts(&parts(version, 5 << 40)).unwrap(), (version, 5 << 40));
        assert!(part(id, 255) < part(id, 256) && parts(version, 255) < parts(version, 256));
        assert!(!within(&part(id, 1), &parts_in_every_version()) && !within(&parts(version, 1), &every_part()));
        for key in [&b"upload/a\0b\0short"[..], b"part/1", b"parts/1", b"part/0123456789abcdef/123"] {
            assert!(parse_upload(key).is_err() && parse_part(key).is_err() && parse_parts(key).is_err());
        }
    }

    #[test]
    fn an_offset_finds_the_parts_that_hold_its_byte() {
        let version = VersionId(Uuid::from_u128(9));
        assert!(within(&parts(version, 100), &parts_from(version, 99)));
        assert!(!within(&parts(version, 100), &parts_from(version, 100)));
        assert!(within(&parts(version, 0), &parts_in(version)) && !within(&parts(version, 0), &parts_from(version, 0)));
        assert!(parts_from(version, u64::MAX).from >= parts_from(version, u64::MAX).to);
    }

    fn within(key: &[u8], range: &KeyRange) -> bool {
        (&range.from[..]..&range.to[..]).contains(&key)
    }
}
