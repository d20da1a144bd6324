//! What a client says of an object in the head of its request, and how it is given back: media type, metadata of its own, and what
//! caches and browsers go by.
//!
//! What it keeps true: what came in by one door goes out by every other. Metadata has S3's header names, `x-amz-meta-…`, at all of them.

use crate::metadata::records::{Headers, VersionRecord};
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES, HeaderMap,
    HeaderName, HeaderValue,
};
use protocol::{Error, Result};
use std::collections::BTreeMap;

const METADATA_PREFIX: &str = "x-amz-meta-";
/// Most bytes of a client's metadata, names and values together; S3's limit.
const METADATA_BYTES_MAX: usize = 2 << 10;
const MEDIA_TYPE_DEFAULT: &str = "application/octet-stream";
const CONTENT_MD5: &str = "content-md5";

/// What the head of a request says of the object in its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// Its media type.
    pub content_type: String,
    /// The client's own metadata, by its name in lower case.
    pub metadata: BTreeMap<String, String>,
    /// Headers that are given back as they came.
    pub headers: Headers,
    /// What its bytes must come to.
    pub md5: Option<[u8; 16]>,
}

impl Described {
    /// What `headers` say; `Invalid` tells which of them cannot be kept.
    pub fn parse(headers: &HeaderMap) -> Result<Described> {
        Ok(Described {
            content_type: text(headers, &CONTENT_TYPE)?.unwrap_or_else(|| MEDIA_TYPE_DEFAULT.to_owned()),
            metadata: metadata(headers)?,
            headers: Headers {
                cache_control: text(headers, &CACHE_CONTROL)?,
                content_disposition: text(headers, &CONTENT_DISPOSITION)?,
                content_encoding: text(headers, &CONTENT_ENCODING)?,
                content_language: text(headers, &CONTENT_LANGUAGE)?,
                expires: text(headers, &EXPIRES)?,
            },
            md5: content_md5(headers)?,
        })
    }
}

/// The headers that say of a version what its writer said of it, without its media type.
pub fn given_back(version: &VersionRecord) -> Vec<(HeaderName, HeaderValue)> {
    let kept = &version.headers;
    let kept = [
        (CACHE_CONTROL, &kept.cache_control),
        (CONTENT_DISPOSITION, &kept.content_disposition),
        (CONTENT_ENCODING, &kept.content_encoding),
        (CONTENT_LANGUAGE, &kept.content_language),
        (EXPIRES, &kept.expires),
    ];
    let kept = kept.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::try_from(value.as_ref()?).ok()?)));
    let metadata = version.metadata.iter().filter_map(|(name, value)| {
        let name = HeaderName::try_from(format!("{METADATA_PREFIX}{name}")).ok()?;
        Some((name, HeaderValue::try_from(value.as_str().as_bytes()).ok()?))
    });
    kept.chain(metadata).collect()
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>> {
    match headers.get(name).map(HeaderValue::to_str) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text.to_owned())),
        Some(Err(_)) => Err(Error::invalid(format!("{name} must be of visible ASCII characters"))),
    }
}

/// Metadata may be any UTF-8. What is given twice is one list, as with every header.
fn metadata(headers: &HeaderMap) -> Result<BTreeMap<String, String>> {
    let mut metadata: BTreeMap<String, String> = BTreeMap::new();
    let mut bytes = 0;
    for (name, value) in headers {
        let Some(own) = name.as_str().strip_prefix(METADATA_PREFIX) else { continue };
        let value = std::str::from_utf8(value.as_bytes());
        let value = value.map_err(|_| Error::invalid(format!("{name} is not UTF-8")))?;
        bytes += own.len() + value.len();
        let entry = metadata.entry(own.to_owned()).or_default();
        if !entry.is_empty() {
            entry.push(',');
        }
        entry.push_str(value);
    }
    if bytes > METADATA_BYTES_MAX {
        return Err(Error::invalid(format!("the metadata has {bytes} bytes, at most {METADATA_BYTES_MAX} are kept")));
    }
    Ok(metadata)
}

/// The 16 bytes that `Content-MD5` spells in base64 (RFC 1864).
fn content_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>> {
    let Some(value) = headers.get(CONTENT_MD5) else {
        return Ok(None);
    };
    match value.to_str().ok().and_then(base64_md5) {
        Some(md5) => Ok(Some(md5)),
        None => Err(Error::invalid("Content-MD5 must be 16 bytes in base64")),
    }
}

/// 22 digits of base64 and two `=` are 16 bytes; the last digit's lower four bits must be 0, or one MD5 had several spellings.
fn base64_md5(text: &str) -> Option<[u8; 16]> {
    let digits = text.strip_suffix("==")?;
    if digits.len() != 22 {
        return None;
    }
    let mut bits: u128 = 0;
    for (place, digit) in digits.bytes().enumerate() {
        let digit = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = match place {
            21 if digit & 0x0f != 0 => return None,
            21 => bits << 2 | u128::from(digit >> 4),
            _ => bits << 6 | u128::from(digit),
        };
    }
    Some(bits.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn an_md5_has_one_spelling_in_base64() {
        let md5 = base64_md5("kAFQmDzST7DWlj99KOF/cg==").unwrap();
        assert_eq!(hex::encode(md5), "900150983cd24fb0d6963f7d28e17f72"); // RFC 1321, A.5
        for bad in [
            "",
            "==",
            "kAFQmDzST7DWlj99KOF/ch==",
            "kAFQmDzST7DWlj99KOF/cg=",
            "kAFQmDzST7DWlj99KOF/cgA=",
            "kAFQmDzST7DWlj99KOF-cg==",
            "900150983cd24fb0d6963f7d28e17f72",
        ] {
            assert!(base64_md5(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn metadata_is_any_utf_8_and_what_comes_twice_is_a_list() {
        let said = headers(&[
            ("x-amz-meta-who", "Zoë".as_bytes()),
            ("x-amz-meta-tag", b"a"),
            ("x-amz-meta-tag", b"b"),
            ("x-amz-acl", b"private"),
        ]);
        let metadata = Described::parse(&said).unwrap().metadata;
        let expected = [("tag", "a,b"), ("who", "Zoë")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(metadata, BTreeMap::from(expected));
        assert!(Described::parse(&headers(&[("x-amz-meta-who", b"\xff")])).is_err());
    }

    #[test]
    fn more_metadata_than_s3_keeps_is_refused() {
        let most = vec![b'v'; METADATA_BYTES_MAX - 1];
        assert!(Described::parse(&headers(&[("x-amz-meta-a", &most)])).is_ok());
        assert!(Described::parse(&headers(&[("x-amz-meta-ab", &most)])).is_err());
    }
}
