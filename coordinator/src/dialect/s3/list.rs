//! Lists of objects, in both versions of the protocol.
//!
//! What it keeps true: what was asked is echoed; the next page begins after the last line of this one, whatever it is; a bucket that
//! does not exist is no empty list.

use super::bucket::{bucket_of, owner};
use super::fault::{invalid, of_verb};
use super::target::in_url;
use super::times::timestamp;
use crate::dialect::Door;
use crate::metadata::records::{ChecksumAlgorithm, ChecksumKind};
use crate::object::{BucketName, LIST_LIMIT_MAX, ListPage, ListRequest, ListedObject};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use s3s::dto::{
    ChecksumType, CommonPrefix, ETag, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object, ObjectStorageClass,
};
use s3s::{S3Request, S3Response, S3Result};

/// How names are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spelling {
    encoded: bool,
}

impl Spelling {
    /// What the client asked for.
    pub fn of(wanted: Option<&EncodingType>) -> S3Result<Spelling> {
        match wanted.map(EncodingType::as_str) {
            None => Ok(Spelling { encoded: false }),
            Some("url") => Ok(Spelling { encoded: true }),
            Some(_) => Err(invalid("Invalid Encoding Method specified in Request")),
        }
    }

    /// A name as it is written.
    pub fn name(self, text: &str) -> String {
        if self.encoded { in_url(text) } else { text.to_owned() }
    }

    /// The encoding, for the answer.
    pub fn echoed(self) -> Option<EncodingType> {
        self.encoded.then(|| EncodingType::from_static(EncodingType::URL))
    }

    /// Common prefixes as they are written.
    pub fn prefixes(self, prefixes: &[String]) -> Vec<CommonPrefix> {
        prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(self.name(prefix)) }).collect()
    }
}

/// How many lines are wanted: a thousand at most. `None` for no line at all.
pub fn limit(wanted: Option<i32>, parameter: &str) -> S3Result<(i32, Option<usize>)> {
    let most = LIST_LIMIT_MAX as i32;
    match wanted {
        None => Ok((most, Some(LIST_LIMIT_MAX))),
        Some(0) => Ok((0, None)),
        Some(wanted) if wanted > 0 => Ok((wanted.min(most), Some(wanted.min(most) as usize))),
        Some(_) => Err(invalid(format!("Argument {parameter} must be an integer between 0 and 2147483647"))),
    }
}

/// ListObjects, version 1.
pub async fn v1(door: &Door, request: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
    let (bucket, record) = bucket_of(door, &request, &request.input.bucket).await?;
    let input = request.input;
    let spelling = Spelling::of(input.encoding_type.as_ref())?;
    let (max_keys, limit) = limit(input.max_keys, "max-keys")?;
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let (prefix, marker) = (input.prefix.unwrap_or_default(), input.marker.unwrap_or_default());
    let after = Some(marker.clone()).filter(|marker| !marker.is_empty());
    let page = page(door, bucket.clone(), &prefix, delimiter.clone(), after, limit).await?;
    Ok(S3Response::new(ListObjectsOutput {
        name: Some(bucket.as_str().to_owned()),
        prefix: Some(spelling.name(&prefix)),
        marker: Some(spelling.name(&marker)),
        max_keys: Some(max_keys),
        is_truncated: Some(page.more),
        // As S3 does: without a delimiter the last key says it.
        next_marker: page.last.as_ref().filter(|_| page.more && delimiter.is_some()).map(|last| spelling.name(last)),
        contents: Some(page.objects.iter().map(|object| line(object, spelling, Some(&record.owner))).collect()),
        common_prefixes: Some(spelling.prefixes(&page.prefixes)),
        delimiter: delimiter.map(|delimiter| spelling.name(&delimiter)),
        encoding_type: spelling.echoed(),
        request_charged: None,
    }))
}

/// ListObjects, version 2.
pub async fn v2(door: &Door, request: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
    let (bucket, record) = bucket_of(door, &request, &request.input.bucket).await?;
    let input = request.input;
    let spelling = Spelling::of(input.encoding_type.as_ref())?;
    let (max_keys, limit) = limit(input.max_keys, "max-keys")?;
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let prefix = input.prefix.unwrap_or_default();
    let after = match &input.continuation_token {
        Some(token) => Some(name_in_token(token)?),
        None => input.start_after.clone().filter(|after| !after.is_empty()),
    };
    let page = page(door, bucket.clone(), &prefix, delimiter.clone(), after, limit).await?;
    let shown_owner = input.fetch_owner.unwrap_or(false).then_some(record.owner.as_str());
    Ok(S3Response::new(ListObjectsV2Output {
        name: Some(bucket.as_str().to_owned()),
        prefix: Some(spelling.name(&prefix)),
        max_keys: Some(max_keys),
        key_count: i32::try_from(page.objects.len() + page.prefixes.len()).ok(),
        continuation_token: input.continuation_token,
        is_truncated: Some(page.more),
        next_continuation_token: page.last.as_ref().filter(|_| page.more).map(|last| token(last)),
        contents: Some(page.objects.iter().map(|object| line(object, spelling, shown_owner)).collect()),
        common_prefixes: Some(spelling.prefixes(&page.prefixes)),
        delimiter: delimiter.map(|delimiter| spelling.name(&delimiter)),
        encoding_type: spelling.echoed(),
        start_after: input.start_after.map(|after| spelling.name(&after)),
        request_charged: None,
    }))
}

async fn page(
    door: &Door,
    bucket: BucketName,
    prefix: &str,
    delimiter: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
) -> S3Result<ListPage> {
    let Some(limit) = limit else {
        return Ok(ListPage { objects: Vec::new(), prefixes: Vec::new(), last: None, more: false });
    };
    let prefix = prefix.to_owned();
    let request = ListRequest { bucket, prefix, delimiter, after, limit, shows_availability: false };
    door.objects.list(&request).await.map_err(of_verb)
}

fn line(object: &ListedObject, spelling: Spelling, of: Option<&str>) -> Object {
    let (checksum_algorithm, checksum_type) = checksum_of(object.checksum);
    Object {
        checksum_algorithm,
        checksum_type,
        e_tag: Some(ETag::Strong(object.etag_text())),
        key: Some(spelling.name(&object.key)),
        last_modified: Some(timestamp(object.modified_ms)),
        owner: of.map(owner),
        restore_status: None,
        size: i64::try_from(object.size).ok(),
        storage_class: Some(ObjectStorageClass::from_static(object.storage_class.as_str())),
    }
}

/// What a line says of a checksum.
pub fn checksum_of(
    checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
) -> (Option<Vec<s3s::dto::ChecksumAlgorithm>>, Option<ChecksumType>) {
    let Some((algorithm, kind)) = checksum else { return (None, None) };
    let name = super::promise::spelled(algorithm).0;
    (
        Some(vec![s3s::dto::ChecksumAlgorithm::from_static(name)]),
        Some(ChecksumType::from_static(super::promise::kind(kind))),
    )
}

fn token(last: &str) -> String {
    URL_SAFE_NO_PAD.encode(last)
}

fn name_in_token(token: &str) -> S3Result<String> {
    let name = URL_SAFE_NO_PAD.decode(token).ok().and_then(|name| String::from_utf8(name).ok());
    name.filter(|name| !name.is_empty() && !name.contains('\0'))
        .ok_or_else(|| invalid("The continuation token provided is incorrect"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_but_for_slashes() {
        let url = Spelling::of(Some(&EncodingType::from_static("url"))).unwrap();
        assert_eq!(url.name("a/b c+d\u{e9}&*~\n"), "a/b%20c%2Bd%C3%A9%26%2A~%0A");
        assert_eq!(Spelling::of(None).unwrap().name("a b"), "a b");
        assert!(Spelling::of(Some(&EncodingType::from_static("xml"))).is_err());
    }

    #[test]
    fn limits_and_tokens() {
        assert_eq!(limit(None, "max-keys").unwrap(), (1_000, Some(1_000)));
        assert_eq!(limit(Some(0), "max-keys").unwrap(), (0, None));
        assert_eq!(limit(Some(5_000), "max-keys").unwrap(), (1_000, Some(1_000)));
        assert!(limit(Some(-1), "max-keys").is_err());
        assert_eq!(name_in_token(&token("a/\u{e9}")).unwrap(), "a/\u{e9}");
        for bad in ["", "!", "_w"] {
            assert!(name_in_token(bad).is_err(), "{bad}");
        }
    }
}
