//! Tags of objects and buckets: their rules, and their forms in a header and in XML.

use super::fault::{fault, invalid};
use s3s::dto::Tag;
use s3s::{S3ErrorCode, S3Result};
use std::collections::BTreeMap;
use url::form_urlencoded;

/// The most tags of an object.
pub const OBJECT_TAGS_MAX: usize = 10;
/// The most tags of a bucket.
pub const BUCKET_TAGS_MAX: usize = 50;
const KEY_CHARS_MAX: usize = 128;
const VALUE_CHARS_MAX: usize = 256;

/// The tags in the header `x-amz-tagging`.
pub fn of_query(text: &str) -> S3Result<BTreeMap<String, String>> {
    checked(form_urlencoded::parse(text.as_bytes()).into_owned(), OBJECT_TAGS_MAX)
}

/// The tags of a document.
pub fn of_set(set: Vec<Tag>, most: usize) -> S3Result<BTreeMap<String, String>> {
    let pair = |tag: Tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
    checked(set.into_iter().map(pair), most)
}

/// The document of tags.
pub fn set(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect()
}

fn checked(pairs: impl Iterator<Item = (String, String)>, most: usize) -> S3Result<BTreeMap<String, String>> {
    let wrong = |why: &'static str| fault(S3ErrorCode::InvalidTag, why);
    let mut tags = BTreeMap::new();
    for (key, value) in pairs {
        if key.is_empty() || key.chars().count() > KEY_CHARS_MAX {
            return Err(wrong("The TagKey you have provided is invalid"));
        }
        if value.chars().count() > VALUE_CHARS_MAX {
            return Err(wrong("The TagValue you have provided is invalid"));
        }
        if key.starts_with("aws:") {
            return Err(wrong("System tags cannot be added/updated by requester"));
        }
        if tags.insert(key, value).is_some() {
            return Err(wrong("Cannot provide multiple Tags with the same key"));
        }
    }
    match tags.len() > most {
        true if most == OBJECT_TAGS_MAX => {
            let many = fault(S3ErrorCode::Custom("BadRequest".into()), "Object tags cannot be greater than 10");
            Err(with_bad_request(many))
        }
        true => Err(invalid(format!("{} tags are more than the {most} that are allowed", tags.len()))),
        false => Ok(tags),
    }
}

fn with_bad_request(mut fault: s3s::S3Error) -> s3s::S3Error {
    fault.set_status_code(hyper::StatusCode::BAD_REQUEST);
    fault
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_keep_their_rules() {
        let code =
            |text: &str| of_query(text).map_or_else(|fault| fault.code().as_str().to_owned(), |_| "ok".to_owned());
        assert_eq!(code("a=1&b=2"), "ok");
        assert_eq!(code("a=1&a=2"), "InvalidTag");
        assert_eq!(code("=1"), "InvalidTag");
        assert_eq!(code("aws:x=1"), "InvalidTag");
        assert_eq!(code(&format!("{}=1", "k".repeat(129))), "InvalidTag");
        assert_eq!(code(&format!("k={}", "v".repeat(257))), "InvalidTag");
        let many: Vec<String> = (0..11).map(|n| format!("k{n}=v")).collect();
        assert_eq!(code(&many.join("&")), "BadRequest");
        assert_eq!(code(&many[..10].join("&")), "ok");
    }
}
