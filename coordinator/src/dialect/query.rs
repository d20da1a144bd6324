//! Names in paths and queries. Decoding is strict: what is not UTF-8 after percent-decoding is refused, never replaced, or two
//! names would become one (faults 0.7).

use super::reply::Refusal;
use crate::metadata::records::Strategy;
use crate::object::{VersionName, VersionSelector};
use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Payload};
use percent_encoding::percent_decode_str;
use protocol::Error;
use serde::de::{self, DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use std::time::Duration;

/// The parameters of a query string, `application/x-www-form-urlencoded`: `+` and `%20` are spaces, `%2B` is a plus.
#[derive(Debug, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

/// More parameters than any door has; the rest of a longer query is refused.
const PARAMETERS_MAX: usize = 32;

impl Query {
    /// Parses a query string; 400 for bytes that are not UTF-8, and for a parameter that stands twice: who reads the first is not whom the
    /// client meant the last for.
    pub fn parse(text: &str) -> Result<Query, Refusal> {
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == PARAMETERS_MAX {
                return Err(Refusal::bad_request(format!("the query has more than {PARAMETERS_MAX} parameters")));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(&name.replace('+', " "))?, decode(&value.replace('+', " "))?);
            if pairs.iter().any(|(earlier, _)| *earlier == name) {
                return Err(Refusal::bad_request(format!("the query has {name}= twice; say it once")));
            }
            pairs.push((name, value));
        }
        Ok(Query { pairs })
    }

    /// The first value of the parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// 400 for what names a version otherwise than by `takes`: the latest would be answered, or deleted, in its place.
    pub fn versions_by(&self, takes: Option<&str>) -> Result<(), Refusal> {
        let means_one = |name: &str| {
            let plain: String = name.chars().filter(|letter| letter.is_alphanumeric()).collect();
            takes != Some(name) && ["version", "versionid"].contains(&plain.to_lowercase().as_str())
        };
        let Some((name, _)) = self.pairs.iter().find(|(name, _)| means_one(name)) else { return Ok(()) };
        let hint = takes.map_or("leave it out".to_owned(), |takes| format!("use {takes}="));
        Err(Refusal::bad_request(format!("{name}= names no version here; {hint}")))
    }

    /// A flag: `true` and `1` are yes; `false` and `0` are no. Without a value it may be a client's mistake, and some flags cannot be undone.
    pub fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.get(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(other) => Err(Refusal::bad_request(format!("{name}={other} must be true or false"))),
        }
    }

    /// A number within bounds.
    pub fn number(&self, name: &str, default: usize, least: usize, most: usize) -> Result<usize, Refusal> {
        let Some(text) = self.get(name) else {
            return Ok(default);
        };
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(Refusal::bad_request(format!("{name}={text} must be a number from {least} to {most}"))),
        }
    }
}

/// Which version `version=` asks for; without it, the latest.
pub fn selector(query: &Query) -> Result<VersionSelector, Refusal> {
    query.versions_by(Some("version"))?;
    let bad = || Refusal::bad_request("Invalid version number format");
    match query.get("version") {
        None => Ok(VersionSelector::Latest),
        Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().map(VersionSelector::Number).map_err(|_| bad())
        }
        Some(_) => Err(bad()),
    }
}

/// Which version `versionId=` asks for: a UUID, or `null`; without it, the latest.
pub fn version_named(query: &Query) -> Result<Option<VersionName>, Refusal> {
    query.versions_by(Some("versionId"))?;
    let parsed = query.get("versionId").map(str::parse).transpose();
    parsed.map_err(|error: Error| Refusal::bad_request(format!("versionId: {}", error.message)).headed("Bad Request"))
}

/// How `strategy=` wants what is written to be stored; without it, as its bucket has it. 422 for what is no strategy (contract C12).
pub fn strategy(query: &Query) -> Result<Option<Strategy>, Refusal> {
    let parsed = query.get("strategy").map(str::parse).transpose();
    parsed.map_err(|error: Error| {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error.message).headed("Invalid strategy")
    })
}

/// A prefix, or a name to go on after; 400 if it cannot be either.
pub fn without_nul(text: &str) -> Result<String, Refusal> {
    match text.contains('\0') {
        true => Err(Refusal::bad_request("prefix and after must not hold a NUL byte")),
        false => Ok(text.to_owned()),
    }
}

/// The text behind percent-encoding; 400 if that is not UTF-8.
pub fn decode(text: &str) -> Result<String, Refusal> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(Refusal::bad_request("the name is not UTF-8 after percent-decoding")),
    }
}

/// The longest JSON body that a door takes, in bytes.
const JSON_BYTES_MAX: usize = 64 << 10;

/// A short JSON body, all of it within `patience`; nothing at all counts as `{}`. 400 says what is wrong with it.
pub async fn body_json<T: DeserializeOwned>(payload: Payload, patience: Duration) -> Result<T, Refusal> {
    let body = short_body(payload, patience).await?;
    let body = if body.is_empty() { &b"{}"[..] } else { &body[..] };
    object(body).map_err(|error| Refusal::bad_request(format!("the body is not what is expected: {error}")))
}

/// A short JSON body that must be there, all of it within `patience`; 422 says what is wrong with it.
pub async fn body_or_422<T: DeserializeOwned>(payload: Payload, patience: Duration) -> Result<T, Refusal> {
    object(&short_body(payload, patience).await?).map_err(|error| {
        let headline = match error.classify() {
            Category::Data => "Invalid request body",
            Category::Io | Category::Syntax | Category::Eof => "Malformed JSON",
        };
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).headed(headline)
    })
}

/// A JSON object. What is derived for a struct would take an array, too, by the order of the fields.
fn object<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    if body.trim_ascii_start().first() == Some(&b'[') {
        // Of an array that is none, what is wrong with it; of any other, that it is one.
        serde_json::from_slice::<IgnoredAny>(body)?;
        return Err(de::Error::custom("an array, where an object is expected"));
    }
    serde_json::from_slice(body)
}

async fn short_body(payload: Payload, patience: Duration) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(patience, payload.to_bytes_limited(JSON_BYTES_MAX)).await {
        Ok(Ok(Ok(body))) => Ok(body),
        Ok(Ok(Err(error))) => Err(Refusal::bad_request(format!("the body cannot be read: {error}"))),
        Ok(Err(_)) => {
            let message = format!("the body is longer than {JSON_BYTES_MAX} bytes");
            Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message))
        }
        Err(_) => {
            let message = format!("the body did not come within {} s", patience.as_secs());
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn awkward_names_come_through_whole() {
        let query = Query::parse("filename=a%2Bb+c%20d%23%3F%25&x&version=2").unwrap();
        assert_eq!(query.get("filename"), Some("a+b c d#?%"));
        assert_eq!(query.get("version"), Some("2"));
        assert_eq!(query.get("x"), Some(""));
        assert_eq!(query.get("y"), None);
        assert_eq!(decode("e%CC%81").unwrap(), "e\u{301}");
        assert!(Query::parse("filename=%ff").is_err());
        assert!(decode("%c3").is_err());
    }

    #[test]
    fn versions_are_plain_numbers() {
        for bad in
            ["version=", "version=-1", "version=%2B1", "version=1.0", "version=abc", "version=99999999999999999999"]
        {
            assert!(selector(&Query::parse(bad).unwrap()).is_err(), "{bad}");
        }
        assert_eq!(selector(&Query::parse("version=2").unwrap()).unwrap(), VersionSelector::Number(2));
        assert_eq!(selector(&Query::parse("").unwrap()).unwrap(), VersionSelector::Latest);
    }

    #[test]
    fn a_version_id_is_a_uuid_or_null() {
        let named = |text: &str| version_named(&Query::parse(text).unwrap());
        assert_eq!(named("").unwrap(), None);
        assert_eq!(named("versionId=null").unwrap(), Some(VersionName::Null));
        assert!(named("versionId=0199d0a0-0000-7000-8000-000000000000").unwrap().is_some());
        for bad in ["", "1", "Null", "..%2F..%2Fetc", "0199d0a0-0000-7000-8000-00000000000g"] {
            assert!(named(&format!("versionId={bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_version_named_in_another_way_is_never_taken_for_none() {
        let query = |text: &str| Query::parse(text).unwrap();
        for text in ["versionId=1", "versionid=1", "version_id=1", "Version=1", "VERSION-ID="] {
            assert!(selector(&query(text)).is_err() && query(text).versions_by(None).is_err(), "{text}");
        }
        for text in ["version=1", "VersionId=null", "version-id=null"] {
            assert!(version_named(&query(text)).is_err(), "{text}");
        }
        assert!(version_named(&query("versions&prefix=version")).is_ok());
        assert!(Query::parse("key=a&x&key=b").is_err(), "nor one of two keys for the other");
    }

    #[test]
    fn a_strategy_is_one_of_three() {
        let named = |text: &str| strategy(&Query::parse(text).unwrap());
        assert_eq!(named("").unwrap(), None);
        assert_eq!(named("strategy=ec").unwrap(), Some(Strategy::Ec));
        assert_eq!(named("strategy=auto").unwrap(), Some(Strategy::Auto));
        for bad in ["strategy=", "strategy=EC", "strategy=field_hybrid", "strategy=4%2B2"] {
            assert!(named(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_and_flags_are_checked() {
        let query = Query::parse("limit=5&purge=true&bad=maybe&bare&empty=").unwrap();
        assert_eq!(query.number("limit", 100, 1, 1_000).unwrap(), 5);
        assert_eq!(query.number("other", 100, 1, 1_000).unwrap(), 100);
        assert!(query.number("limit", 100, 6, 1_000).is_err());
        assert!(query.flag("purge").unwrap());
        assert!(!query.flag("other").unwrap());
        for unclear in ["bad", "bare", "empty"] {
            assert!(query.flag(unclear).is_err(), "{unclear}");
        }
    }
}
