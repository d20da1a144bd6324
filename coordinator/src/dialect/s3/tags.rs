//! Tags of objects and buckets: their rules, and their forms in a header and in XML.

use super::fault::{custom, fault};
use super::incoming::CDATA;
use hyper::StatusCode;
use s3s::dto::{Tag, Tagging};
use s3s::xml::{DeError, DeResult, Deserialize, Deserializer};
use s3s::{S3ErrorCode, S3Result};
use std::collections::BTreeMap;
use url::form_urlencoded;

/// The most tags of an object.
pub const OBJECT_TAGS_MAX: usize = 10;
/// The most tags of a bucket.
pub const BUCKET_TAGS_MAX: usize = 50;
/// How the tags begin of a bucket to be made.
const TAGS: &[u8] = b"<Tags";
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

/// Tags that came in a field of a form, where the library does not look.
#[derive(Clone, Debug)]
pub struct SentTags(pub BTreeMap<String, String>);

/// The tags of a document that came in a field of a form.
pub fn of_form(xml: &[u8]) -> S3Result<SentTags> {
    // What stands in a CDATA section the library leaves out.
    let is_plain = !xml.windows(CDATA.len()).any(|window| window == CDATA);
    let read = read(xml, |reader| Tagging::deserialize(reader).map(|tagging| tagging.tag_set));
    let malformed = || fault(S3ErrorCode::MalformedXML, "the form's field tagging is no document of tags");
    of_set(read.filter(|_| is_plain).ok_or_else(malformed)?, OBJECT_TAGS_MAX).map(SentTags)
}

/// The tags of a bucket to be made. Of a document that has none nothing else is judged here.
pub fn of_configuration(xml: &[u8]) -> S3Result<BTreeMap<String, String>> {
    let mut tags = Vec::new();
    let element = |reader: &mut Deserializer<'_>, name: &[u8]| {
        match name {
            b"Tags" => tags = reader.list_content("Tag")?,
            b"LocationConstraint" => drop(reader.content::<String>()?),
            _ => return Err(DeError::UnexpectedTagName),
        }
        Ok(())
    };
    let read = read(xml, |reader| {
        reader.named_element("CreateBucketConfiguration", |reader| reader.for_each_element(element))
    });
    if read.is_none() && xml.windows(TAGS.len()).any(|window| window == TAGS) {
        return Err(fault(S3ErrorCode::MalformedXML, "the bucket's Tags cannot be read"));
    }
    of_set(tags, BUCKET_TAGS_MAX)
}

/// What the whole of a document says.
fn read<'a, T>(xml: &'a [u8], document: impl FnOnce(&mut Deserializer<'a>) -> DeResult<T>) -> Option<T> {
    let mut reader = Deserializer::new(xml);
    let said = document(&mut reader).ok()?;
    reader.expect_eof().ok().map(|()| said)
}

/// The header of tags.
pub fn query(tags: &BTreeMap<String, String>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(tags).finish()
}

/// The document of tags.
pub fn set(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect()
}

fn checked(pairs: impl Iterator<Item = (String, String)>, most: usize) -> S3Result<BTreeMap<String, String>> {
    let wrong = |why: &'static str| fault(S3ErrorCode::InvalidTag, why);
    let mut tags = BTreeMap::new();
    for (key, value) in pairs {
        if key.is_empty() || key.chars().count() > KEY_CHARS_MAX || !key.chars().all(is_taken) {
            return Err(wrong("The TagKey you have provided is invalid"));
        }
        if value.chars().count() > VALUE_CHARS_MAX || !value.chars().all(is_taken) {
            return Err(wrong("The TagValue you have provided is invalid"));
        }
        if key.starts_with("aws:") {
            return Err(wrong("System tags cannot be added/updated by requester"));
        }
        if tags.insert(key, value).is_some() {
            return Err(wrong("Cannot provide multiple Tags with the same key"));
        }
    }
    let whose = if most == OBJECT_TAGS_MAX { "Object tags" } else { "Bucket tag count" };
    match tags.len() > most {
        true => Err(custom("BadRequest", StatusCode::BAD_REQUEST, format!("{whose} cannot be greater than {most}"))),
        false => Ok(tags),
    }
}

/// Letters, numbers and spaces of any script, and these signs (AWS, *Categorizing your objects using tags*).
fn is_taken(letter: char) -> bool {
    letter.is_alphanumeric() || (letter.is_whitespace() && !letter.is_control()) || "_.:/=+-@".contains(letter)
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
        assert_eq!(code("k!=1"), "InvalidTag");
        assert_eq!(code("k=%0A"), "InvalidTag");
        assert_eq!(code("sch%C3%B6n+%2D=%E5%80%A4%3D%3A%2F%40%2B_."), "ok");
        assert_eq!(code(&format!("{}=1", "k".repeat(129))), "InvalidTag");
        assert_eq!(code(&format!("k={}", "v".repeat(257))), "InvalidTag");
        let many: Vec<String> = (0..11).map(|n| format!("k{n}=v")).collect();
        assert_eq!(code(&many.join("&")), "BadRequest");
        assert_eq!(code(&many[..10].join("&")), "ok");
    }

    #[test]
    fn a_document_of_tags_is_read_whole_or_not_at_all() {
        let tags = of_form(b"<Tagging><TagSet><Tag><Key>a b</Key><Value>&#61;</Value></Tag></TagSet></Tagging>");
        assert_eq!(query(&tags.unwrap().0), "a+b=%3D");
        for wrong in [
            "",
            "x",
            "<Tagging><TagSet>",
            "<Tagging/>x",
            "<Tagging><TagSet><Tag><Key><![CDATA[k]]></Key></Tag></TagSet></Tagging>",
        ] {
            assert_eq!(of_form(wrong.as_bytes()).unwrap_err().code().as_str(), "MalformedXML", "{wrong}");
        }
    }

    #[test]
    fn a_bucket_to_be_made_has_tags_or_other_settings_or_both() {
        let of = |inner: &str| {
            let document = format!("<CreateBucketConfiguration xmlns=\"u\">{inner}</CreateBucketConfiguration>");
            of_configuration(document.as_bytes()).map(|tags| query(&tags))
        };
        let tags = "<Tags><Tag><Key>a</Key><Value>1</Value></Tag><Tag><Key>b</Key><Value/></Tag></Tags>";
        let place = "<LocationConstraint>eu-west-1</LocationConstraint>";
        assert_eq!(of(tags).unwrap(), "a=1&b=");
        assert_eq!(of(&format!("{place}{tags}")).unwrap(), "a=1&b=");
        assert_eq!(of(place).unwrap() + &of("<Location><Type>x</Type></Location>").unwrap(), "");
        assert_eq!(of_configuration(b"").unwrap().len(), 0);
        assert_eq!(of("<Location><Type>x</Type></Location><Tags/>").unwrap_err().code().as_str(), "MalformedXML");
        assert_eq!(of("<Tags><Tag><Key></Key></Tag></Tags>").unwrap_err().code().as_str(), "InvalidTag");
    }
}
