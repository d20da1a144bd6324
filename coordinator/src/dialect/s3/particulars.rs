//! What the library leaves out of answers. An error tells beside its code and message what the request was about, under which id it is
//! logged, and what S3 adds to some codes, by which clients go on. A document has its carriage returns spelled out.

use super::signature::named_key;
use super::target::{Query, Target};
use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use hyper::http::request::Parts;
use hyper::{Method, Response};
use s3s::{Body, S3Error};

/// A header of errors on their way out, which no client sees: an element that its code alone does not tell.
const ELEMENT: &str = "x-holdfast-element";

/// The error, with an element that tells more.
pub fn with_element(mut error: S3Error, name: &'static str, value: &str) -> S3Error {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    if let Ok(element) = HeaderValue::from_str(&format!("{name}={value}")) {
        headers.insert(ELEMENT, element);
    }
    error.set_headers(headers);
    error
}

/// The headers that make a request conditional, as S3 spells them.
const CONDITIONS: [&str; 8] = [
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "x-amz-copy-source-If-Match",
    "x-amz-copy-source-If-None-Match",
    "x-amz-copy-source-If-Modified-Since",
    "x-amz-copy-source-If-Unmodified-Since",
];

/// What of a request its error may have to tell.
pub struct Asked {
    path: String,
    bucket: String,
    /// The key; `None` where an error may be about another one, too.
    key: Option<String>,
    upload: Option<String>,
    version: Option<String>,
    access_key: Option<String>,
    range: Option<String>,
    /// Its condition; `None` where it has several.
    condition: Option<&'static str>,
    /// Whether the answer to it is an object's content.
    is_content: bool,
    /// Whether it is what GetObjectAttributes answers, where alone S3 writes an ETag without its quotes.
    is_of_attributes: bool,
}

impl Asked {
    /// What is asked for. A target that cannot be told has no names.
    pub fn of(head: &Parts, target: Option<&Target>) -> Asked {
        let query = Query::parse(head.uri.query());
        let Target { bucket, key } = target.cloned().unwrap_or_default();
        let is_copy = head.headers.contains_key("x-amz-copy-source") || query.has("x-amz-copy-source");
        let upload = query.get("uploadId").map(str::to_owned);
        let mut conditions = CONDITIONS.into_iter().filter(|name| head.headers.contains_key(*name));
        let condition = conditions.next().filter(|_| conditions.next().is_none());
        Asked {
            is_content: head.method == Method::GET && !key.is_empty() && upload.is_none(),
            is_of_attributes: head.method == Method::GET && query.has("attributes"),
            path: head.uri.path().to_owned(),
            bucket,
            key: (!key.is_empty() && !is_copy).then_some(key),
            upload,
            version: query.get("versionId").map(str::to_owned),
            access_key: named_key(&head.headers, &query).map(str::to_owned),
            range: head.headers.get(RANGE).and_then(|value| value.to_str().ok()).map(str::to_owned),
            condition,
        }
    }

    /// The elements that S3 adds to errors of this code.
    fn elements(&self, code: &str, answer: &HeaderMap) -> Vec<(&'static str, String)> {
        let bucket = || Some(self.bucket.clone()).filter(|name| !name.is_empty());
        let size = || Some(answer.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes */")?.to_owned());
        let found = match code {
            "NoSuchKey" => vec![("Key", self.key.clone())],
            "NoSuchVersion" => vec![("Key", self.key.clone()), ("VersionId", self.version.clone())],
            "NoSuchBucket"
            | "InvalidBucketName"
            | "BucketAlreadyExists"
            | "BucketAlreadyOwnedByYou"
            | "BucketNotEmpty" => {
                vec![("BucketName", bucket())]
            }
            "InvalidAccessKeyId" | "SignatureDoesNotMatch" => vec![("AWSAccessKeyId", self.access_key.clone())],
            "NoSuchUpload" => vec![("UploadId", self.upload.clone())],
            "PreconditionFailed" => vec![("Condition", self.condition.map(str::to_owned))],
            "InvalidRange" => vec![("RangeRequested", self.range.clone()), ("ActualObjectSize", size())],
            _ => Vec::new(),
        };
        found.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// An error's answer with all that it has to tell; other answers stay as they are.
pub fn told_with(mut response: Response<Body>, asked: &Asked, id: &str) -> Response<Body> {
    let element = response.headers_mut().remove(ELEMENT);
    let element = element.as_ref().and_then(|value| value.to_str().ok()?.split_once('='));
    if !asked.is_content {
        spell_returns(&mut response);
    }
    let status = response.status();
    if asked.is_of_attributes && status.is_success() {
        unquote_etag(&mut response);
    }
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let Some(bytes) = response.body().bytes() else { return response };
    let Ok(text) = std::str::from_utf8(&bytes) else { return response };
    let Some(at) = text.rfind("</Error>") else { return response };
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once('<')).map_or("", |(code, _)| code);
    let mut whole = text[..at].to_owned();
    if let Some(message) = message_of(code).filter(|_| !text.contains("<Message>")) {
        whole += &format!("<Message>{message}</Message>");
    }
    let own = element.map(|(name, value)| (name, value.to_owned()));
    let of_code = asked.elements(code, response.headers());
    let fixed = [("Resource", asked.path.clone()), ("RequestId", id.to_owned()), ("HostId", id.to_owned())];
    for (name, value) in own.into_iter().chain(of_code).chain(fixed) {
        whole += &format!("<{name}>{}</{name}>", escaped(&value));
    }
    whole.push_str(&text[at..]);
    replace(&mut response, whole);
    response
}

/// What S3 says with codes of which the library says nothing.
fn message_of(code: &str) -> Option<&'static str> {
    Some(match code {
        "InternalError" => "We encountered an internal error. Please try again.",
        "InvalidBucketName" => "The specified bucket is not valid.",
        "MalformedXML" => "The XML you provided was not well-formed or did not validate against our published schema",
        "MethodNotAllowed" => "The specified method is not allowed against this resource.",
        "SignatureDoesNotMatch" => {
            "The request signature we calculated does not match the signature you provided. Check your key and signing method."
        }
        _ => return None,
    })
}

/// Readers of XML take a carriage return for a line feed, and `a\rb` for another key (XML 1.0, 2.11).
fn spell_returns(response: &mut Response<Body>) {
    let Some(bytes) = response.body().bytes().filter(|bytes| bytes.contains(&b'\r')) else { return };
    let is_document = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().ends_with(b"/xml"));
    if let (true, Ok(text)) = (is_document, std::str::from_utf8(&bytes)) {
        replace(response, text.replace('\r', "&#13;"));
    }
}

fn unquote_etag(response: &mut Response<Body>) {
    let text = response.body().bytes().and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
    if let Some(text) = text {
        replace(response, text.replace("<ETag>\"", "<ETag>").replace("\"</ETag>", "</ETag>"));
    }
}

fn replace(response: &mut Response<Body>, document: String) {
    if response.headers().contains_key(CONTENT_LENGTH) {
        response.headers_mut().insert(CONTENT_LENGTH, document.len().into());
    }
    *response.body_mut() = Body::from(Bytes::from(document));
}

/// Text for XML.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped += &format!("&#x{:x};", u32::from(c)),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn told(code: &str, request: hyper::http::request::Builder, range: Option<&'static str>) -> String {
        let (head, ()) = request.body(()).unwrap().into_parts();
        let asked = Asked::of(&head, Target::of(&head, None).ok().as_ref());
        let mut response = Response::builder().status(404);
        if let Some(range) = range {
            response = response.header(CONTENT_RANGE, range);
        }
        let body = format!("<Error><Code>{code}</Code><Message>M</Message></Error>");
        let response = told_with(response.body(Body::from(body)).unwrap(), &asked, "ID");
        String::from_utf8(response.body().bytes().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn an_error_has_a_message() {
        let (head, ()) = Request::put("/ab").body(()).unwrap().into_parts();
        let nameless = Body::from("<Error><Code>InvalidBucketName</Code></Error>".to_owned());
        let told = told_with(Response::builder().status(400).body(nameless).unwrap(), &Asked::of(&head, None), "ID");
        let text = String::from_utf8(told.body().bytes().unwrap().to_vec()).unwrap();
        assert!(text.contains("<Message>The specified bucket is not valid.</Message>"), "{text}");
    }

    #[test]
    fn an_error_tells_what_s3_tells_with_its_code() {
        let answer = told("NoSuchKey", Request::get("/buc/a%26b"), None);
        assert_eq!(
            answer,
            "<Error><Code>NoSuchKey</Code><Message>M</Message><Key>a&amp;b</Key><Resource>/buc/a%26b</Resource><RequestId>ID</RequestId>\
             <HostId>ID</HostId></Error>"
        );
        let range = Request::get("/buc/k").header("range", "bytes=10-");
        let answer = told("InvalidRange", range, Some("bytes */10"));
        assert!(answer.contains("<RangeRequested>bytes=10-</RangeRequested><ActualObjectSize>10</ActualObjectSize>"));
        let copy = Request::put("/buc/k").header("x-amz-copy-source", "buc/other");
        assert!(!told("NoSuchKey", copy, None).contains("<Key>"), "it may be the source that there is not");
        assert!(told("NoSuchBucket", Request::get("/buc"), None).contains("<BucketName>buc</BucketName>"));
        assert!(told("NoSuchUpload", Request::get("/b/k?uploadId=7"), None).contains("<UploadId>7</UploadId>"));
        assert!(!told("AccessDenied", Request::get("/buc/k"), None).contains("<Key>"));
        let create = || Request::put("/buc/k").header("if-none-match", "*");
        assert!(told("PreconditionFailed", create(), None).contains("<Condition>If-None-Match</Condition>"));
        let two = create().header("if-match", "\"a\"");
        assert!(!told("PreconditionFailed", two, None).contains("<Condition>"), "one of them did not hold");
    }

    #[test]
    fn an_error_may_have_an_element_of_its_own() {
        let (head, ()) = Request::get("/buc/k").body(()).unwrap().into_parts();
        let error = with_element(S3Error::new(s3s::S3ErrorCode::AccessDenied), "HeadersNotSigned", "x-amz-acl");
        let response = told_with(error.to_http_response().unwrap(), &Asked::of(&head, None), "ID");
        assert!(!response.headers().contains_key(ELEMENT), "no client sees how it travelled");
        let body = String::from_utf8(response.body().bytes().unwrap().to_vec()).unwrap();
        assert!(body.contains("<HeadersNotSigned>x-amz-acl</HeadersNotSigned>"), "{body}");
    }
}
