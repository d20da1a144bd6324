//! PostObject: a file that a browser posts in a form. The library has read the form and judged its policy.
//!
//! What it keeps true: whoever posted a form is told the key under which its file lies, not the template that the form had for it.

use super::bucket::bucket_of;
use super::fault::{bad_request, fault, invalid};
use super::incoming::Trailers;
use super::particulars::escaped;
use super::read::object_name;
use super::route::trace;
use super::tags::{self, SentTags};
use super::target::{Place, Target};
use super::times::{http_date, ms_of};
use super::write::{AnyTrailers, answer_head, store};
use crate::dialect::Door;
use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, HeaderName, HeaderValue, LOCATION};
use hyper::{HeaderMap, Response, StatusCode};
use s3s::dto::{ETag, PostObjectInput, PostObjectOutput};
use s3s::stream::ByteStream;
use s3s::{Body, S3ErrorCode, S3Request, S3Response, S3Result};
use url::Url;

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
    let place = request.extensions.get::<Place>().cloned().unwrap_or_default();
    let tags = request.extensions.get::<SentTags>().cloned();
    let mut input = request.input;
    let name = object_name(&Target { bucket: bucket.as_str().to_owned(), key: input.key.clone() })?;
    let mut headers = head_of(&input)?;
    if let Some(SentTags(tags)) = tags {
        put(&mut headers, "x-amz-tagging", &tags::query(&tags))?;
    }
    // The library refuses what is no URL, too, but when all is stored.
    let page = input.success_action_redirect.as_deref().map(Url::parse).transpose();
    let page = page.map_err(|_| invalid("success_action_redirect is no URL; give a whole one or leave it out"))?;
    let body = input.body.take().ok_or_else(|| invalid("POST requires exactly one file upload per request."))?;
    let length = body.remaining_length().exact().map(|bytes| bytes as u64);
    let length = length.ok_or_else(|| fault(S3ErrorCode::InternalError, "the length of the file is not known"))?;
    let body = (body, length, AnyTrailers::Ours(Trailers::default()));
    let (done, checksum) = store(door, name.clone(), &headers, principal.owner(), body).await?;
    // The library tells of the version in the body of a 201 only; S3 does in the head, whatever status was asked for.
    let mut head = answer_head(&done, checksum.as_ref())?;
    let e_tag = done.etag.text(done.sha256.as_ref());
    let stored = Stored {
        location: place.url(name.key()),
        bucket: bucket.as_str().to_owned(),
        key: name.key().to_owned(),
        e_tag: format!("\"{e_tag}\""),
    };
    match page {
        None => put(&mut head, LOCATION.as_str(), &stored.location)?,
        Some(page) => put(&mut head, LOCATION.as_str(), stored.redirect(page).as_str())?,
    }
    let output = PostObjectOutput { e_tag: Some(ETag::Strong(e_tag)), ..PostObjectOutput::default() };
    let mut response = S3Response::with_headers(output, head);
    response.extensions.insert(stored);
    Ok(response)
}

/// What became of a form's file.
#[derive(Clone, Debug)]
struct Stored {
    location: String,
    bucket: String,
    key: String,
    e_tag: String,
}

impl Stored {
    /// The page to go to next, told of it.
    fn redirect(&self, mut page: Url) -> Url {
        let mut told = page.query_pairs_mut();
        told.append_pair("bucket", &self.bucket).append_pair("key", &self.key).append_pair("etag", &self.e_tag);
        drop(told);
        page
    }

    fn document(&self) -> String {
        let elements =
            [("Location", &self.location), ("Bucket", &self.bucket), ("Key", &self.key), ("ETag", &self.e_tag)];
        let printed = elements.map(|(name, text)| format!("<{name}>{}</{name}>", escaped(text))).concat();
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><PostResponse>{printed}</PostResponse>")
    }
}

/// A form's answer with what was stored: in the library's own stands the key as the form spelled it.
pub fn told(mut answer: Response<Body>) -> Response<Body> {
    let stored = answer.extensions_mut().remove::<Stored>();
    let Some(stored) = stored.filter(|_| answer.status() == StatusCode::CREATED) else { return answer };
    let document = stored.document();
    if answer.headers().contains_key(CONTENT_LENGTH) {
        answer.headers_mut().insert(CONTENT_LENGTH, document.len().into());
    }
    *answer.body_mut() = Body::from(Bytes::from(document));
    answer
}

/// The form's fields as the headers that a PUT would have.
fn head_of(input: &PostObjectInput) -> S3Result<HeaderMap> {
    let said = |value: &Option<String>| value.clone();
    let fields = [
        ("content-type", input.content_type.as_ref().map(ToString::to_string)),
        ("cache-control", said(&input.cache_control)),
        ("content-disposition", said(&input.content_disposition)),
        ("content-encoding", said(&input.content_encoding)),
        ("content-language", said(&input.content_language)),
        ("content-md5", said(&input.content_md5)),
        ("x-amz-acl", input.acl.as_ref().map(|acl| acl.as_str().to_owned())),
        ("x-amz-tagging", said(&input.tagging)),
        ("x-amz-storage-class", input.storage_class.as_ref().map(|class| class.as_str().to_owned())),
        ("x-amz-website-redirect-location", said(&input.website_redirect_location)),
        ("x-amz-server-side-encryption", input.server_side_encryption.as_ref().map(|kind| kind.as_str().to_owned())),
        ("x-amz-server-side-encryption-customer-algorithm", said(&input.sse_customer_algorithm)),
        ("x-amz-checksum-crc32", said(&input.checksum_crc32)),
        ("x-amz-checksum-crc32c", said(&input.checksum_crc32c)),
        ("x-amz-checksum-crc64nvme", said(&input.checksum_crc64nvme)),
        ("x-amz-checksum-sha1", said(&input.checksum_sha1)),
        ("x-amz-checksum-sha256", said(&input.checksum_sha256)),
        ("x-amz-object-lock-mode", input.object_lock_mode.as_ref().map(|mode| mode.as_str().to_owned())),
        (
            "x-amz-object-lock-retain-until-date",
            input.object_lock_retain_until_date.as_ref().and_then(ms_of).map(process::timestamp::rfc3339_ms),
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
    if let Some(expires) = &input.expires {
        let expires = ms_of(expires).ok_or_else(|| invalid("the form's field expires is no date after 1969"))?;
        put(&mut headers, "expires", &http_date(expires))?;
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
