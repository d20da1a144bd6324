//! Forms that browsers post (POST policy).
//!
//! The library gathers a form's file in memory; so it has a bound, and so has the number of forms at once. Where authentication is off,
//! a form's signature is taken off as a header's would be: its field gets a name that the protocol ignores.
//!
//! What it keeps true: all forms together take [`FORMS_AT_ONCE_MAX`] times [`FORM_FILE_BYTES_MAX`] bytes of memory at most.

use super::fault::{BodyFault, custom, fault, invalid, limited, not_implemented, slow_down};
use super::heads::{is_not_done, known_acl};
use super::incoming::Pieces;
use super::promise::refuse_unknown_names;
use super::tags::{self, SentTags};
use crate::object::KEY_BYTES_MAX;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt};
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};
use s3s::post_policy::{PostPolicy, PostPolicyCondition};
use s3s::{Body, S3Error, S3ErrorCode, S3Result, StdError};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The largest file that a form may carry.
pub const FORM_FILE_BYTES_MAX: u64 = 16 << 20;
/// The most bytes of a form beside its file.
pub const FORM_FIELDS_BYTES_MAX: usize = 256 << 10;
/// Bytes of a form that the library gets at a time.
pub const PIECE_BYTES: usize = 64 << 10;
/// Forms taken at once.
const FORMS_AT_ONCE_MAX: usize = 2;
/// How long a form waits for those before it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a form may take to come. Whoever sends one holds the place of another, and has shown no key yet.
const GATHER_TIME_MAX: Duration = Duration::from_secs(120);
/// What the line begins with that names a field.
const DISPOSITION: &[u8] = b"content-disposition:";
/// What stands in a key for the name that the file has where it comes from.
const FILE_NAME: &str = "${filename}";
/// So many fields that are named `key` are looked at: one is what a form has.
const KEYS_MAX: usize = 4;
/// Seconds after which to come again when there are so many already.
const RETRY_AFTER_S: u64 = 1;
/// Fields that sign a form, and names of the same length that nobody looks at.
const SIGNING: [(&[u8], &[u8]); 3] = [
    (b"name=\"x-amz-signature\"", b"name=\"x-ignore-signed\""),
    (b"name=\"signature\"", b"name=\"x-ignore-\""),
    (b"name=\"awsaccesskeyid\"", b"name=\"x-ignore-keyid\""),
];

/// Room for forms.
pub struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Places {
        Places(Arc::new(Semaphore::new(FORMS_AT_ONCE_MAX)))
    }
}

impl Places {
    /// Room for one more; `SlowDown` if there is none for a while.
    pub async fn take(&self) -> S3Result<OwnedSemaphorePermit> {
        match timeout(PATIENCE, self.0.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => {
                limited("forms");
                Err(slow_down(RETRY_AFTER_S))
            }
        }
    }
}

/// Whether a request is a form.
pub fn is_form(head: &Parts) -> bool {
    let form = |value: &hyper::header::HeaderValue| {
        value.as_bytes().get(..19).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/form-data"))
    };
    head.method == Method::POST && head.headers.get(CONTENT_TYPE).is_some_and(form)
}

/// A form as the library takes it, and what its field `tagging` says, which the library passes over. Its key has the file's name where it asks for it: policies are about what is meant (AWS, *Creating an HTML
/// form*). Its signature is taken off where nothing can be verified.
pub async fn gathered(pieces: Pieces, headers: &mut HeaderMap, unsigned: bool) -> S3Result<(Body, Option<SentTags>)> {
    let gathering = timeout(GATHER_TIME_MAX, Form::gather(pieces, headers));
    let mut form = gathering.await.unwrap_or_else(|_| Err(too_slow()))?;
    form.expand_keys()?;
    if headers.contains_key(CONTENT_LENGTH) {
        headers.insert(CONTENT_LENGTH, form.bytes.len().into());
    }
    form.require_policy_of_bucket()?;
    form.refuse_not_done()?;
    let tags = form.tags()?;
    if unsigned {
        rename_signature(&mut form.bytes);
    }
    Ok((in_pieces(form.bytes.freeze()), tags))
}

/// A body in pieces: the library takes no more for the fields at once than they may have.
fn in_pieces(form: Bytes) -> Body {
    let pieces = stream::unfold(form, async |mut rest| {
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        (!piece.is_empty()).then(|| (Ok::<_, StdError>(Frame::data(piece)), rest))
    });
    Body::http_body_unsync(StreamBody::new(pieces.boxed()))
}

/// A form, as much of it as this door has to know.
struct Form {
    bytes: BytesMut,
    /// What its parts begin with.
    delimiter: Vec<u8>,
}

impl Form {
    /// Gathers a form.
    async fn gather(mut pieces: Pieces, headers: &HeaderMap) -> S3Result<Form> {
        let bytes_max = FORM_FILE_BYTES_MAX as usize + FORM_FIELDS_BYTES_MAX;
        let too_large = || fault(S3ErrorCode::EntityTooLarge, "Your proposed upload exceeds the maximum allowed size");
        let delimiter = delimiter_of(headers)?;
        let told = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if told.is_some_and(|bytes| bytes > bytes_max) {
            return Err(too_large());
        }
        let mut bytes = BytesMut::with_capacity(told.unwrap_or(0));
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|fault: BodyFault| fault.told())?;
            if bytes.len() + piece.len() > bytes_max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Form { bytes, delimiter })
    }

    /// Its parts before the file's, and that one: the name of each in lower case, its head, and what follows it. A field's value may look like
    /// a part, and is none: parts begin with a delimiter (RFC 2046, 5.1.1).
    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let fields = &self.bytes[..self.bytes.len().min(FORM_FIELDS_BYTES_MAX)];
        let mut rest = exactly(fields, &self.delimiter[2..]).map(|at| &fields[at + self.delimiter.len() - 2..]);
        let mut is_over = false;
        std::iter::from_fn(move || {
            let part = rest.take().filter(|_| !is_over)?;
            let end = exactly(part, &self.delimiter);
            rest = end.map(|end| &part[end + self.delimiter.len()..]);
            let part = &part[..end.unwrap_or(part.len())];
            let (head, value) =
                exactly(part, b"\r\n\r\n").map_or((part, &b""[..]), |at| (&part[..at], &part[at + 4..]));
            let named = [&b" name=\""[..], b";name=\"", b"\tname=\""].into_iter().find_map(|name| position(head, name));
            let named = named.map_or(&b""[..], |at| &head[at + 7..]);
            let name = String::from_utf8_lossy(named.split(|byte| *byte == b'"').next()?).to_ascii_lowercase();
            is_over = name == "file";
            Some(Part { name, head, value })
        })
    }

    /// The names of its fields, in lower case.
    fn field_names(&self) -> Vec<String> {
        self.parts().map(|part| part.name).filter(|name| name != "file").collect()
    }

    /// The values of the fields of this name.
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.parts().filter(move |part| part.name == name).map(|part| part.value.trim_ascii())
    }

    /// The value of a field, if there is that field.
    fn value<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.values(name).next()
    }

    /// Refuses a policy that says nothing of the bucket: S3 wants it to, since who signs a form means one bucket. The library does not, of several
    /// it takes one, and does not say which. It parses more than [`Form::parts`] does: what could be a policy to it and is none here is refused.
    fn require_policy_of_bucket(&self) -> S3Result<()> {
        let mut policies = 0;
        for policy in self.policies() {
            policies += 1;
            if !names_a_bucket(&policy?) {
                return Err(policy_broken());
            }
        }
        let looked_at = &self.bytes[..self.bytes.len().min(FORM_FIELDS_BYTES_MAX + PIECE_BYTES)];
        let heads = looked_at.split(|byte| *byte == b'\n').filter(|line| {
            let names = line.get(..DISPOSITION.len()).is_some_and(|name| name.eq_ignore_ascii_case(DISPOSITION));
            names && position(line, b"name=\"policy\"").is_some()
        });
        if heads.count() == policies { Ok(()) } else { Err(policy_broken()) }
    }

    /// The document of tags, if there is one: the library passes over it, and what it takes for a field of that name may be another.
    fn tags(&self) -> S3Result<Option<SentTags>> {
        let mut documents = self.parts().filter(|part| part.name == "tagging").map(|part| part.value);
        let document = documents.next().unwrap_or_default();
        if documents.next().is_some() {
            return Err(invalid("a form has one field tagging at most"));
        }
        for policy in self.policies() {
            if !lets_tags(&policy?, document) {
                return Err(policy_broken());
            }
        }
        let document = document.trim_ascii();
        (!document.is_empty()).then(|| tags::of_form(document)).transpose()
    }

    /// Its policies.
    fn policies(&self) -> impl Iterator<Item = S3Result<PostPolicy>> {
        let unread = || fault(S3ErrorCode::InvalidPolicyDocument, "Invalid Policy: it is no JSON in base64");
        let read = |policy| std::str::from_utf8(policy).ok().and_then(|policy| PostPolicy::from_base64(policy).ok());
        self.values("policy").map(move |policy| read(policy).ok_or_else(unread))
    }

    /// Refuses what asks for something that is not done, under the names that forms have for it.
    fn refuse_not_done(&self) -> S3Result<()> {
        let names = self.field_names();
        refuse_unknown_names(names.iter().map(String::as_str))?;
        if let Some(name) = names.iter().find(|name| is_not_done(name)) {
            return Err(not_implemented(name));
        }
        self.value("acl").map_or(Ok(()), |acl| known_acl(&String::from_utf8_lossy(acl)))
    }

    /// Puts the file's name in the keys that ask for it.
    fn expand_keys(&mut self) -> S3Result<()> {
        let base = self.bytes.as_ptr().addr();
        let asking =
            self.values("key").filter_map(|key| str::from_utf8(key).ok().filter(|key| key.contains(FILE_NAME)));
        let expanded = |key: &str| {
            let at = key.as_ptr().addr() - base;
            (at..at + key.len(), key.replace(FILE_NAME, &self.file_name().unwrap_or_default()))
        };
        let keys: Vec<(Range<usize>, String)> = asking.take(KEYS_MAX).map(expanded).collect();
        if keys.iter().any(|(_, key)| key.len() > KEY_BYTES_MAX) {
            return Err(fault(S3ErrorCode::KeyTooLongError, "Your key is too long"));
        }
        if keys.iter().any(|(_, key)| key.contains(char::is_control)) {
            return Err(invalid("the file's name cannot stand in a key; leave ${filename} out of the key"));
        }
        // From the end, so that what lies before stays where it was found.
        for (place, key) in keys.into_iter().rev() {
            let rest = self.bytes.split_off(place.start);
            self.bytes.extend_from_slice(key.as_bytes());
            self.bytes.extend_from_slice(&rest[place.len()..]);
        }
        Ok(())
    }

    /// The name of its file.
    fn file_name(&self) -> Option<String> {
        let file = self.parts().find(|part| part.name == "file")?;
        let named = position(file.head, b"filename=\"")? + b"filename=\"".len();
        let name = file.head[named..].split(|byte| *byte == b'"').next()?;
        let name = String::from_utf8(name.to_vec()).ok()?;
        // Some browsers send the whole path.
        Some(name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned())
    }
}

/// A part of a form.
struct Part<'a> {
    name: String,
    head: &'a [u8],
    value: &'a [u8],
}

/// Whether a condition of the policy is about the bucket.
fn names_a_bucket(policy: &PostPolicy) -> bool {
    policy.conditions.iter().any(|condition| match condition {
        PostPolicyCondition::Eq { field, .. } | PostPolicyCondition::StartsWith { field, .. } => field == "bucket",
        _ => false,
    })
}

/// Whether a policy lets a form have this document of tags, or none: every field must be one that it speaks of.
fn lets_tags(policy: &PostPolicy, document: &[u8]) -> bool {
    let mut holds = policy.conditions.iter().filter_map(|condition| match condition {
        PostPolicyCondition::Eq { field, value } if field == "tagging" => Some(document == value.as_bytes()),
        PostPolicyCondition::StartsWith { field, prefix } if field == "tagging" => {
            Some(document.starts_with(prefix.as_bytes()))
        }
        _ => None,
    });
    holds.next().unwrap_or(document.is_empty()) && holds.all(|holds| holds)
}

/// Whether the library refused a form because a condition of its policy does not hold. It calls that a wrong document; S3 calls only what
/// cannot be read so.
pub fn broke_its_policy(answer: &Response<Body>) -> bool {
    let told = answer.body().bytes().unwrap_or_default();
    position(&told, b"<Code>InvalidPolicyDocument</Code><Message>Policy condition").is_some()
        || (position(&told, b"<Code>InvalidPolicyDocument</Code>").is_some()
            && position(&told, b" does not match policy</Message>").is_some())
}

/// What the parts of a form with this head begin with, but for the first, before which no line ends.
fn delimiter_of(headers: &HeaderMap) -> S3Result<Vec<u8>> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let boundary = kind.split(';').map(str::trim).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then(|| value.trim_matches('"'))
    });
    let boundary = boundary.filter(|boundary| !boundary.is_empty()).ok_or_else(|| {
        let why = "The body of your POST request is not well-formed multipart/form-data.";
        custom("MalformedPOSTRequest", StatusCode::BAD_REQUEST, why)
    })?;
    Ok(format!("\r\n--{boundary}").into_bytes())
}

fn too_slow() -> S3Error {
    let seconds = GATHER_TIME_MAX.as_secs();
    fault(S3ErrorCode::RequestTimeout, format!("The form did not come within {seconds} s; send what is large by PUT"))
}

/// What S3 says of such a form.
pub fn policy_broken() -> S3Error {
    fault(S3ErrorCode::AccessDenied, "Invalid according to Policy: Policy Condition failed")
}

/// The fields of a form stand before its file.
fn rename_signature(form: &mut [u8]) {
    let fields = form.len().min(FORM_FIELDS_BYTES_MAX);
    let end = position(&form[..fields], b"name=\"file\"").unwrap_or(fields);
    for (name, ignored) in SIGNING {
        if let Some(at) = position(&form[..end], name) {
            form[at..at + name.len()].copy_from_slice(ignored);
        }
    }
}

fn exactly(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// Whatever the case of its letters.
fn position(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window.eq_ignore_ascii_case(part))
}

#[cfg(test)]
mod tests;
