//! What a request is about, as its host and path say: the service, a bucket, or an object in one. And the parameters of its query.
//!
//! What it keeps true: decoding is strict, as behind every door: what is not UTF-8 is refused, never replaced. A `+` in a path is a
//! plus; a key may begin with a slash, and slashes that follow one another stay.

use super::fault::fault;
use hyper::header::HOST;
use hyper::http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use s3s::host::{S3Host, VirtualHost};
use s3s::validation::NameValidation;
use s3s::{S3ErrorCode, S3Result};
use std::borrow::Cow;
use url::form_urlencoded;

/// What stays as it is in a key in a URL.
const IN_URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// What a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The bucket; empty for the service itself.
    pub bucket: String,
    /// The key; empty for the bucket itself.
    pub key: String,
}

impl Target {
    /// The target of a request; `domain` is the one below which host names are buckets'.
    pub fn of(head: &Parts, domain: Option<&str>) -> S3Result<Target> {
        let path = percent_decode_str(head.uri.path()).decode_utf8();
        let path = path.map_err(|_| fault(S3ErrorCode::InvalidURI, "the path is not UTF-8"))?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
        if let Some(bucket) = host.zip(domain).and_then(|(host, domain)| bucket_of_host(host, domain)) {
            return Ok(Target { bucket: bucket.into_owned(), key: path.to_owned() });
        }
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        Ok(Target { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

/// Where a request's bucket is, as its client sees it: scheme, host, and the bucket where the host does not name it.
#[derive(Clone, Debug, Default)]
pub struct Place(String);

impl Place {
    /// Where the bucket of a request is.
    pub fn of(head: &Parts, domain: Option<&str>, scheme: &str, bucket: &str) -> Place {
        let host = head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        match domain.and_then(|domain| bucket_of_host(host, domain)) {
            Some(_) => Place(format!("{scheme}://{host}")),
            None => Place(format!("{scheme}://{host}/{bucket}")),
        }
    }

    /// The URL of an object in the bucket.
    pub fn url(&self, key: &str) -> String {
        format!("{}/{}", self.0, in_url(key))
    }
}

/// A key in a URL, or in a list that is asked for so.
pub fn in_url(key: &str) -> String {
    utf8_percent_encode(key, IN_URL).to_string()
}

/// The bucket that a host name below `domain` names. In host names case says nothing, nor does a dot at their end.
fn bucket_of_host<'a>(host: &'a str, domain: &str) -> Option<Cow<'a, str>> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = name.strip_suffix('.').unwrap_or(name);
    let cut = name.len().checked_sub(domain.len())?;
    let (bucket, rest) = name.split_at_checked(cut)?;
    let bucket = bucket.strip_suffix('.')?;
    let bucket = match bucket.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(bucket.to_ascii_lowercase()),
        false => Cow::Borrowed(bucket),
    };
    (rest.eq_ignore_ascii_case(domain) && !bucket.is_empty()).then_some(bucket)
}

/// The same for the library: a host name that is not below the domain is of the path style.
pub struct Hosts {
    /// The domain.
    pub domain: String,
}

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let found = VirtualHost::new(self.domain.as_str());
        Ok(match bucket_of_host(host, &self.domain) {
            Some(bucket) => found.with_bucket(bucket),
            None => found,
        })
    }
}

/// Which names the library takes for buckets'.
pub struct Names;

impl NameValidation for Names {
    fn validate_bucket_name(&self, name: &str) -> bool {
        crate::object::BucketName::parse(name).is_ok()
    }
}

/// The parameters of a query, in their order.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses a query string.
    pub fn parse(text: Option<&str>) -> Query {
        Query(form_urlencoded::parse(text.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All of them, names and values.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether the parameter is there, with a value or without.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether one of these parameters is there.
    pub fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.has(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn target(host: &str, path: &str) -> S3Result<Target> {
        let (head, ()) = Request::get(path).header("host", host).body(()).unwrap().into_parts();
        Target::of(&head, Some("s3.example"))
    }

    #[test]
    fn both_styles_name_the_same() {
        for (host, path, bucket, key) in [
            ("127.0.0.1:9000", "/photos/a/b.jpg", "photos", "a/b.jpg"),
            ("photos.s3.example:9000", "/a/b.jpg", "photos", "a/b.jpg"),
            ("Photos.S3.Example", "/", "photos", ""),
            ("photos.s3.example.:9000", "/x", "photos", "x"),
            ("s3.example", "/photos", "photos", ""),
            ("other.example", "/photos/", "photos", ""),
            ("s3.example", "/", "", ""),
            ("evils3.example", "/photos/x", "photos", "x"),
            ("x", "/photos//lead/", "photos", "/lead/"),
            ("x", "/photos/a+b%2Bc%20d", "photos", "a+b+c d"),
            ("x", "/photos/%C3%A9", "photos", "\u{e9}"),
        ] {
            let expected = Target { bucket: bucket.to_owned(), key: key.to_owned() };
            assert_eq!(target(host, path).unwrap(), expected, "{host}{path}");
        }
        assert_eq!(target("x", "/photos/%ff").unwrap_err().code().as_str(), "InvalidURI");
    }

    #[test]
    fn a_url_leads_back_to_the_object() {
        for (host, url) in [
            ("x:9000", "https://x:9000/photos/a%20b/%C3%A9%2B"),
            ("photos.s3.example", "https://photos.s3.example/a%20b/%C3%A9%2B"),
        ] {
            let (head, ()) = Request::get("/").header("host", host).body(()).unwrap().into_parts();
            assert_eq!(Place::of(&head, Some("s3.example"), "https", "photos").url("a b/\u{e9}+"), url);
        }
    }

    #[test]
    fn a_parameter_may_have_no_value() {
        let query = Query::parse(Some("acl&prefix=a%2Fb+c"));
        assert!(query.has("acl") && !query.has("cors"));
        assert_eq!(query.get("prefix"), Some("a/b c"));
        assert!(query.has_any(&["cors", "acl"]));
    }
}
