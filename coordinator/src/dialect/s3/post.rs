//! PostObject: a file that a browser posts in a form. The library has read the form and judged its policy.

use super::bucket::bucket_of;
use super::fault::{bad_request, fault, invalid, not_implemented};
use super::form::{FileName, key_with};
use super::incoming::Trailers;
use super::read::object_name;
use super::route::trace;
use super::target::Target;
use super::write::{AnyTrailers, shown_version, store};
use crate::dialect::Door;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use s3s::dto::{ETag, PostObjectInput, PostObjectOutput};
use s3s::stream::ByteStream;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

/// PostObject. `takes_v2` says whether a form may be signed by version 2.
pub async fn object(
    door: &Door,
    request: S3Request<PostObjectInput>,
    takes_v2: bool,
) -> S3Result<S3Response<PostObjectOutput>> {
    // Only version 4 says a region.
    if request.credentials.is_some() && request.region.is_none() && !takes_v2 {
        return Err(bad_request(
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
        ));
    }
    let (bucket, _) = bucket_of(door, &request, &request.input.bucket).await?;
    let principal = trace(&request.extensions).principal();
    let mut input = request.input;
    let key = key_with(&input.key, request.extensions.get::<FileName>());
    let name = object_name(&Target { bucket: bucket.as_str().to_owned(), key })?;
    let headers = head_of(&input)?;
    let body = input.body.take().ok_or_else(|| invalid("POST requires exactly one file upload per request."))?;
    let length = body.remaining_length().exact().map(|bytes| bytes as u64);
    let length = length.ok_or_else(|| fault(S3ErrorCode::InternalError, "the length of the file is not known"))?;
    let body = (body, length, AnyTrailers::Ours(Trailers::default()));
    let (done, checksum) = store(door, name, &headers, principal.owner(), body).await?;
    let fields = super::multipart::Checksums::of(checksum.as_ref());
    Ok(S3Response::new(PostObjectOutput {
        e_tag: Some(ETag::Strong(done.etag.text(done.sha256.as_ref()))),
        version_id: shown_version(done.version_name, done.versioning),
        checksum_crc32: fields.crc32,
        checksum_crc32c: fields.crc32c,
        checksum_crc64nvme: fields.crc64nvme,
        checksum_sha1: fields.sha1,
        checksum_sha256: fields.sha256,
        ..PostObjectOutput::default()
    }))
}

/// The form's fields as the headers that a PUT would have.
fn head_of(input: &PostObjectInput) -> S3Result<HeaderMap> {
    if input.tagging.as_ref().is_some_and(|tagging| tagging.trim_start().starts_with('<')) {
        return Err(not_implemented("a form's tags as a document"));
    }
    let text = |value: &Option<String>| value.clone();
    let fields = [
        ("content-type", input.content_type.as_ref().map(ToString::to_string)),
        ("cache-control", text(&input.cache_control)),
        ("content-disposition", text(&input.content_disposition)),
        ("content-encoding", text(&input.content_encoding)),
        ("content-language", text(&input.content_language)),
        ("content-md5", text(&input.content_md5)),
        ("x-amz-acl", input.acl.as_ref().map(|acl| acl.as_str().to_owned())),
        ("x-amz-tagging", text(&input.tagging)),
        ("x-amz-storage-class", input.storage_class.as_ref().map(|class| class.as_str().to_owned())),
        ("x-amz-website-redirect-location", text(&input.website_redirect_location)),
        ("x-amz-server-side-encryption", input.server_side_encryption.as_ref().map(|kind| kind.as_str().to_owned())),
        ("x-amz-server-side-encryption-customer-algorithm", text(&input.sse_customer_algorithm)),
        ("x-amz-checksum-crc32", text(&input.checksum_crc32)),
        ("x-amz-checksum-crc32c", text(&input.checksum_crc32c)),
        ("x-amz-checksum-crc64nvme", text(&input.checksum_crc64nvme)),
        ("x-amz-checksum-sha1", text(&input.checksum_sha1)),
        ("x-amz-checksum-sha256", text(&input.checksum_sha256)),
        ("x-amz-object-lock-mode", input.object_lock_mode.as_ref().map(|mode| mode.as_str().to_owned())),
        (
            "x-amz-object-lock-retain-until-date",
            input
                .object_lock_retain_until_date
                .as_ref()
                .and_then(super::times::ms_of)
                .map(process::timestamp::rfc3339_ms),
        ),
        (
            "x-amz-object-lock-legal-hold",
            input.object_lock_legal_hold_status.as_ref().map(|status| status.as_str().to_owned()),
        ),
    ];
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        if let Some(value) = value {
            put(&mut headers, name, &value)?;
        }
    }
    if let Some(expires) = input.expires.as_ref().and_then(super::times::ms_of) {
        put(&mut headers, "expires", &super::times::http_date(expires))?;
    }
    for (name, value) in input.metadata.iter().flatten() {
        put(&mut headers, &format!("{}{name}", super::heads::METADATA_PREFIX), value)?;
    }
    Ok(headers)
}

fn put(headers: &mut HeaderMap, name: &str, value: &str) -> S3Result<()> {
    let wrong = || invalid(format!("the form's field {name} cannot be a header"));
    let name = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).map_err(|_| wrong())?;
    headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| wrong())?);
    Ok(())
}
