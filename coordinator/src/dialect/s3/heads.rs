//! What the head of a write says of the version to come; and what this server has no notion of.
//!
//! What it keeps true: a header that asks for something that is not done is refused, never passed over.

use super::fault::{fault, invalid, not_implemented};
use super::tags;
use super::times::ms_of_iso;
use crate::dialect::conditions::{contents, joined};
use crate::metadata::records::{Headers, Retention, RetentionMode, StorageClass};
use crate::object::{Attributes, Condition, ContentTag};
use hyper::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE,
};
use hyper::{HeaderMap, StatusCode};
use s3s::{S3ErrorCode, S3Result};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What S3 calls a body of which nobody said what it is.
pub const MEDIA_TYPE_DEFAULT: &str = "binary/octet-stream";
/// Prefix of the client's own metadata.
pub const METADATA_PREFIX: &str = "x-amz-meta-";
/// The most bytes of a version's metadata, names and values.
const METADATA_BYTES_MAX: usize = 2 << 10;
/// Headers that ask for what is not done here, by how their names begin.
const NOT_DONE: [&str; 5] = [
    "x-amz-server-side-encryption",
    "x-amz-copy-source-server-side-encryption",
    "x-amz-grant-",
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
];
/// Storage classes of S3 that this server does not have.
const CLASSES_NOT_DONE: [&str; 9] = [
    "REDUCED_REDUNDANCY",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "GLACIER_IR",
    "DEEP_ARCHIVE",
    "OUTPOSTS",
    "SNOW",
    "EXPRESS_ONEZONE",
];

/// What a head says of the version to come.
#[derive(Clone, Debug, Default)]
pub struct Described {
    /// Its media type.
    pub content_type: String,
    /// The client's own metadata.
    pub metadata: BTreeMap<String, String>,
    /// All else.
    pub attributes: Attributes,
    /// The storage class that it is to have; without one, its bucket's.
    pub class: Option<StorageClass>,
}

/// Reads the head of a write.
pub fn described(headers: &HeaderMap, owner: &str, now_ms: u64) -> S3Result<Described> {
    refuse_not_done(headers)?;
    let tags = text(headers, "x-amz-tagging").map(|text| tags::of_query(&text)).transpose()?;
    let attributes = Attributes {
        owner: owner.to_owned(),
        headers: system_headers(headers),
        tags: tags.unwrap_or_default(),
        checksum: None,
        retention: retention(headers, now_ms)?,
        legal_hold: legal_hold(headers)?,
        ..Attributes::default()
    };
    let content_type = text(headers, CONTENT_TYPE.as_str()).filter(|text| !text.is_empty());
    Ok(Described {
        content_type: content_type.unwrap_or_else(|| MEDIA_TYPE_DEFAULT.to_owned()),
        metadata: metadata(headers)?,
        attributes,
        class: storage_class(headers)?,
    })
}

/// The value of a header. Bytes that are no UTF-8 are the characters of Latin-1, which is what HTTP's clients mean by them.
pub fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.as_bytes();
    Some(match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().map(|byte| char::from(*byte)).collect(),
    })
}

/// The value of a header that may be a list, and on several lines.
pub fn list<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, str>> {
    joined(headers.get_all(name).iter().map(|line| line.as_bytes()))
}

/// Refuses what asks for something that is not done.
pub fn refuse_not_done(headers: &HeaderMap) -> S3Result<()> {
    if let Some(name) = headers.keys().map(|name| name.as_str()).find(|name| is_not_done(name)) {
        return Err(not_implemented(name));
    }
    text(headers, "x-amz-acl").map_or(Ok(()), |acl| known_acl(&acl))
}

/// Whether a header, or a form's field, asks by its name for what is not done.
pub fn is_not_done(name: &str) -> bool {
    NOT_DONE.iter().any(|prefix| name.starts_with(prefix))
}

/// Refuses every ACL but what every object of this server is.
pub fn known_acl(acl: &str) -> S3Result<()> {
    match acl {
        "private" | "bucket-owner-full-control" => Ok(()),
        other => Err(not_implemented(&format!("the ACL {other}"))),
    }
}

/// The headers that are given back as they came.
fn system_headers(headers: &HeaderMap) -> Headers {
    let get = |name: &hyper::header::HeaderName| text(headers, name.as_str()).filter(|text| !text.is_empty());
    Headers {
        cache_control: get(&CACHE_CONTROL),
        content_disposition: get(&CONTENT_DISPOSITION),
        content_encoding: get(&CONTENT_ENCODING).and_then(|text| without_chunking(&text)),
        content_language: get(&CONTENT_LANGUAGE),
        expires: get(&EXPIRES),
    }
}

/// `aws-chunked` says how the body travelled, not what it is.
fn without_chunking(encoding: &str) -> Option<String> {
    let kept: Vec<&str> = encoding.split(',').map(str::trim).filter(|part| *part != "aws-chunked").collect();
    let kept = kept.join(", ");
    (!kept.is_empty()).then_some(kept)
}

fn metadata(headers: &HeaderMap) -> S3Result<BTreeMap<String, String>> {
    let mut metadata = BTreeMap::new();
    let mut bytes = 0;
    for header in headers.keys() {
        let Some(name) = header.as_str().strip_prefix(METADATA_PREFIX).filter(|name| !name.is_empty()) else {
            continue;
        };
        let values = headers.get_all(header).iter().map(|value| match std::str::from_utf8(value.as_bytes()) {
            Ok(text) => text.to_owned(),
            Err(_) => value.as_bytes().iter().map(|byte| char::from(*byte)).collect(),
        });
        let value = values.collect::<Vec<String>>().join(",");
        bytes += name.len() + value.len();
        metadata.insert(name.to_owned(), value);
    }
    match bytes > METADATA_BYTES_MAX {
        true => Err(fault(
            S3ErrorCode::MetadataTooLarge,
            format!("Your metadata headers have {bytes} bytes, at most {METADATA_BYTES_MAX} are allowed"),
        )),
        false => Ok(metadata),
    }
}

fn retention(headers: &HeaderMap, now_ms: u64) -> S3Result<Option<Retention>> {
    let mode = text(headers, "x-amz-object-lock-mode");
    let until = text(headers, "x-amz-object-lock-retain-until-date");
    let (mode, until) = match (mode, until) {
        (None, None) => return Ok(None),
        (Some(mode), Some(until)) => (mode, until),
        _ => {
            return Err(invalid(
                "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
            ));
        }
    };
    let until_ms =
        ms_of_iso(&until).ok_or_else(|| invalid("The retain until date must be provided in ISO 8601 format"))?;
    checked_retention(&mode, until_ms, now_ms).map(Some)
}

/// A retention that lies in the future.
pub fn checked_retention(mode: &str, until_ms: u64, now_ms: u64) -> S3Result<Retention> {
    let mode = match mode {
        "GOVERNANCE" => RetentionMode::Governance,
        "COMPLIANCE" => RetentionMode::Compliance,
        _ => return Err(invalid("Unknown wormMode directive.")),
    };
    match until_ms <= now_ms {
        true => Err(invalid("The retain until date must be in the future!")),
        false => Ok(Retention { mode, until_ms }),
    }
}

fn legal_hold(headers: &HeaderMap) -> S3Result<Option<bool>> {
    match text(headers, "x-amz-object-lock-legal-hold").as_deref() {
        None => Ok(None),
        Some("OFF") => Ok(Some(false)),
        Some("ON") => Ok(Some(true)),
        Some(_) => Err(invalid("Legal Hold must be either of 'ON' or 'OFF'")),
    }
}

fn storage_class(headers: &HeaderMap) -> S3Result<Option<StorageClass>> {
    let known = [StorageClass::Standard, StorageClass::StandardIa];
    match text(headers, "x-amz-storage-class").as_deref() {
        None => Ok(None),
        Some(name) if CLASSES_NOT_DONE.contains(&name) => Err(not_implemented(&format!("the storage class {name}"))),
        Some(name) => match known.into_iter().find(|class| class.as_str() == name) {
            Some(class) => Ok(Some(class)),
            None => Err(fault(S3ErrorCode::InvalidStorageClass, "The storage class you specified is not valid")),
        },
    }
}

/// What a write demands of the key.
pub fn write_condition(headers: &HeaderMap) -> S3Result<Condition> {
    if headers.contains_key(IF_MODIFIED_SINCE) || headers.contains_key(IF_UNMODIFIED_SINCE) {
        return Err(not_implemented("a write with If-Modified-Since or If-Unmodified-Since"));
    }
    match (list(headers, IF_MATCH.as_str()), list(headers, IF_NONE_MATCH.as_str())) {
        (None, None) => Ok(Condition::None),
        (None, Some(tags)) if tags.trim() == "*" => Ok(Condition::Absent),
        (Some(tags), None) => Ok(Condition::Matches(matched(&tags))),
        _ => Err(not_implemented("a write with If-None-Match of an ETag, or with If-Match and If-None-Match")),
    }
}

/// The contents that `If-Match` names; none for `*`, which any matches.
pub fn matched(tags: &str) -> Vec<ContentTag> {
    if tags.trim() == "*" {
        return Vec::new();
    }
    let tag = |tag: &str| ContentTag::ETag(tag.trim().trim_matches('"').to_owned());
    contents(tags, tag)
}

/// The header by which a request says whose bucket it is meant for.
pub const EXPECTED_OWNER: &str = "x-amz-expected-bucket-owner";

/// Refuses a request that is meant for another owner's bucket.
pub fn expected_owner(headers: &HeaderMap, owner: &str) -> S3Result<()> {
    match text(headers, EXPECTED_OWNER) {
        Some(expected) if expected != owner_id(owner) => Err(fault(S3ErrorCode::AccessDenied, "Access Denied")),
        _ => Ok(()),
    }
}

/// How an owner is called: with authentication off there is one, who has no name.
pub fn owner_id(owner: &str) -> String {
    if owner.is_empty() { "holdfast".to_owned() } else { owner.to_owned() }
}

/// A status that S3 gives to a conditional request, for those who want to know whether it failed.
pub fn is_failed_condition(fault: &s3s::S3Error) -> bool {
    fault.status_code() == Some(StatusCode::PRECONDITION_FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    const NOW_MS: u64 = 1_767_323_045_000; // 2026-01-02T03:04:05Z

    fn headers(pairs: &[(&str, &[u8])]) -> HeaderMap {
        let pair = |(name, value): &(&str, &[u8])| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value).unwrap())
        };
        let mut map = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            map.append(name, value);
        }
        map
    }

    fn code(pairs: &[(&str, &[u8])]) -> String {
        described(&headers(pairs), "", NOW_MS)
            .map_or_else(|fault| fault.code().as_str().to_owned(), |_| "ok".to_owned())
    }

    #[test]
    fn a_head_is_kept_but_for_how_it_travelled() {
        let all = headers(&[
            ("content-encoding", b"gzip, aws-chunked"),
            ("expires", b"whenever"),
            ("x-amz-meta-colour", "gr\u{fc}n".as_bytes()),
            ("x-amz-meta-latin", b"caf\xe9"),
            ("x-amz-meta-twice", b"1"),
            ("x-amz-meta-twice", b"2"),
            ("x-amz-tagging", b"a=1&b=%20"),
            ("x-amz-object-lock-mode", b"GOVERNANCE"),
            ("x-amz-object-lock-retain-until-date", b"2026-01-03T00:00:00Z"),
            ("x-amz-acl", b"private"),
        ]);
        let described = described(&all, "ann", NOW_MS).unwrap();
        assert_eq!(described.content_type, MEDIA_TYPE_DEFAULT);
        assert_eq!(described.metadata["colour"], "gr\u{fc}n");
        assert_eq!(described.metadata["latin"], "caf\u{e9}");
        assert_eq!(described.metadata["twice"], "1,2");
        let attributes = described.attributes;
        assert_eq!(attributes.headers.content_encoding.as_deref(), Some("gzip"));
        assert_eq!(attributes.headers.expires.as_deref(), Some("whenever"));
        assert_eq!((attributes.tags["a"].as_str(), attributes.tags["b"].as_str()), ("1", " "));
        assert_eq!(attributes.retention.unwrap().until_ms, 1_767_398_400_000);
        assert_eq!(without_chunking("aws-chunked"), None);
    }

    #[test]
    fn what_is_not_done_is_said() {
        for (name, value, expected) in [
            ("x-amz-server-side-encryption", "AES256", "NotImplemented"),
            ("x-amz-server-side-encryption-customer-algorithm", "AES256", "NotImplemented"),
            ("x-amz-grant-read", "id=x", "NotImplemented"),
            ("x-amz-acl", "public-read", "NotImplemented"),
            ("x-amz-storage-class", "GLACIER", "NotImplemented"),
            ("x-amz-storage-class", "standard", "InvalidStorageClass"),
            ("x-amz-storage-class", "STANDARD", "ok"),
            ("x-amz-storage-class", "STANDARD_IA", "ok"),
            ("x-amz-object-lock-mode", "GOVERNANCE", "InvalidArgument"),
            ("x-amz-object-lock-legal-hold", "MAYBE", "InvalidArgument"),
        ] {
            assert_eq!(code(&[(name, value.as_bytes())]), expected, "{name}: {value}");
        }
        assert_eq!(code(&[("x-amz-meta-a", &[b'x'; METADATA_BYTES_MAX])]), "MetadataTooLarge");
    }

    #[test]
    fn conditions_of_writes() {
        let of = |name, value: &str| write_condition(&headers(&[(name, value.as_bytes())]));
        assert_eq!(of("if-none-match", "*").unwrap(), Condition::Absent);
        assert_eq!(
            of("if-match", "\"abc-2\"").unwrap(),
            Condition::Matches(vec![ContentTag::ETag("abc-2".to_owned())])
        );
        assert_eq!(of("if-match", "*").unwrap(), Condition::Matches(Vec::new()));
        assert_eq!(of("if-none-match", "\"abc\"").unwrap_err().code().as_str(), "NotImplemented");
        assert_eq!(of("if-unmodified-since", "x").unwrap_err().code().as_str(), "NotImplemented");
    }
}
