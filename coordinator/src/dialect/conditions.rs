//! Conditional requests and ranges, RFC 9110: section 13.2.2 gives the order of the conditions, 14.2 the ranges.

use super::reply::Refusal;
use crate::object::ContentTag;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use std::borrow::Cow;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a representation is compared by.
#[derive(Clone, Debug)]
pub struct Validators {
    /// The ETag with its quotes.
    pub etag: String,
    /// When it was made, in milliseconds since 1970.
    pub modified_ms: u64,
}

/// What the conditions of a GET or HEAD come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Answer it.
    Proceed,
    /// 304.
    NotModified,
    /// 412: the condition in this header does not hold.
    Failed(&'static str),
}

/// Finds the value of a header.
pub type Text<'a> = dyn Fn(&str) -> Option<Cow<'a, str>> + 'a;

impl Validators {
    /// Evaluates the conditions of a read. 412 when one of `If-Match` and `If-Unmodified-Since` does not hold.
    pub fn evaluate(&self, headers: &HeaderMap) -> Result<Verdict, Refusal> {
        match self.judge(&|name| text(headers, name)) {
            Verdict::Failed(header) => Err(precondition_failed(header)),
            verdict => Ok(verdict),
        }
    }

    /// The same for headers of whatever kind: `text` finds one by its name in lower case.
    pub fn judge(&self, text: &Text<'_>) -> Verdict {
        let date = |name| text(name).and_then(|value| date(&value));
        if let Some(wanted) = text("if-match") {
            if !self.listed_in(&wanted, false) {
                return Verdict::Failed("If-Match");
            }
        } else if let Some(since) = date("if-unmodified-since")
            && self.modified() > since
        {
            return Verdict::Failed("If-Unmodified-Since");
        }
        if let Some(known) = text("if-none-match") {
            if self.listed_in(&known, true) {
                return Verdict::NotModified;
            }
        } else if let Some(since) = date("if-modified-since")
            && self.modified() <= since
        {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }

    /// The part asked for: `None` means the whole. A range this server does not understand is ignored, as the RFC allows; one
    /// that lies beyond the end is 416.
    pub fn range(&self, headers: &HeaderMap, size: u64) -> Result<Option<Range<u64>>, Refusal> {
        match self.part(&|name| text(headers, name), size) {
            Parsed::Part(range) => Ok(Some(range)),
            Parsed::Ignored => Ok(None),
            Parsed::Beyond => Err(Refusal::range_beyond(size)),
        }
    }

    /// The same for headers of whatever kind.
    pub fn part(&self, text: &Text<'_>, size: u64) -> Parsed {
        let Some(wanted) = text("range") else {
            return Parsed::Ignored;
        };
        if let Some(only_if) = text("if-range") {
            let same = match date(&only_if) {
                Some(date) => self.modified() == date,
                None => only_if.trim() == self.etag,
            };
            if !same {
                return Parsed::Ignored;
            }
        }
        parse_range(&wanted, size)
    }

    /// `Last-Modified`, to the second.
    pub fn last_modified(&self) -> String {
        httpdate::fmt_http_date(self.modified())
    }

    fn modified(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.modified_ms / 1_000)
    }

    fn listed_in(&self, list: &str, weak_allowed: bool) -> bool {
        entity_tags(list).any(|tag| {
            let tag = if weak_allowed { tag.strip_prefix("W/").unwrap_or(tag) } else { tag };
            // S3's clients may leave the quotes out.
            tag == "*" || tag.trim_matches('"') == self.etag.trim_matches('"')
        })
    }
}

fn precondition_failed(header: &str) -> Refusal {
    Refusal::new(StatusCode::PRECONDITION_FAILED, format!("the condition in {header} does not hold"))
}

/// The value of a header.
pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, str>> {
    joined(headers.get_all(name).map(|line| line.as_bytes()))
}

/// The value of a header on these lines: on several it is a list (RFC 9110, 5.3). What is not UTF-8 in it is there all the same, and equals
/// nothing.
pub fn joined<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Cow<'a, str>> {
    lines.map(String::from_utf8_lossy).reduce(|list, line| Cow::Owned(format!("{list}, {line}")))
}

/// A date of HTTP. One before 1970, which the library knows nothing of, counts as 1970: nothing here is older.
pub fn date(text: &str) -> Option<SystemTime> {
    let old = || {
        let (before, year, after) = (text.get(..12)?, text.get(12..16)?, text.get(16..)?);
        let year = year.parse::<u16>().ok().filter(|year| *year < 1970)?;
        // The calendar repeats itself, weekdays included.
        let alike = year + (1970 - year).next_multiple_of(400);
        httpdate::parse_http_date(&format!("{before}{alike}{after}")).ok().map(|_| UNIX_EPOCH)
    };
    httpdate::parse_http_date(text).ok().or_else(old)
}

/// The contents that a list of entity tags names, each by `named`. A list without any names none: it is not the empty one of a
/// [`Condition`](crate::object::Condition), which stands for any.
pub fn contents(list: &str, named: impl Fn(&str) -> ContentTag) -> Vec<ContentTag> {
    let tags: Vec<ContentTag> = entity_tags(list).map(named).collect();
    if tags.is_empty() { vec![ContentTag::ETag(String::new())] } else { tags }
}

/// The members of a list of entity tags (RFC 9110, 8.8.3): a comma in quotes is one of a tag.
fn entity_tags(list: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let at_commas = move |letter: char| {
        is_quoted ^= letter == '"';
        letter == ',' && !is_quoted
    };
    list.split(at_commas).map(str::trim).filter(|tag| !tag.is_empty())
}

/// What a range comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// These bytes.
    Part(Range<u64>),
    /// The whole.
    Ignored,
    /// 416.
    Beyond,
}

/// A single byte range; several at once are ignored, which answers with the whole.
fn parse_range(text: &str, size: u64) -> Parsed {
    // A unit has no case (14.1).
    let range = text.split_once('=').filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes")).map(|(_, range)| range);
    let Some((first, last)) = range.and_then(|range| range.trim().split_once('-')) else {
        return Parsed::Ignored;
    };
    let number = |text: &str| -> Option<u64> {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A number that is beyond u64 is beyond every object too.
        plain.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Parsed::Ignored,
        (Some(first), _) if first >= size && (last.is_empty() || number(last).is_some()) => Parsed::Beyond,
        (Some(first), Some(last)) => Parsed::Part(first..last.saturating_add(1).min(size)),
        (Some(first), None) if last.is_empty() => Parsed::Part(first..size),
        // The last bytes of nothing are nothing, which is satisfiable (14.1.2), and the whole.
        (None, Some(1..)) if first.is_empty() && size == 0 => Parsed::Ignored,
        (None, Some(suffix)) if first.is_empty() => match suffix.min(size) {
            0 => Parsed::Beyond,
            suffix => Parsed::Part(size - suffix..size),
        },
        _ => Parsed::Ignored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{
        HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
    };

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn validators() -> Validators {
        Validators { etag: "\"abc\"".to_owned(), modified_ms: 784_111_777_500 }
    }

    #[test]
    fn ranges() {
        let cases = [
            ("bytes=0-0", Parsed::Part(0..1)),
            ("Bytes=0-0", Parsed::Part(0..1)),
            ("bytes=5-", Parsed::Part(5..10)),
            ("bytes=-3", Parsed::Part(7..10)),
            ("bytes=-30", Parsed::Part(0..10)),
            ("bytes=2-99999999999999999999999", Parsed::Part(2..10)),
            ("bytes=10-", Parsed::Beyond),
            ("bytes=10-12", Parsed::Beyond),
            ("bytes=-0", Parsed::Beyond),
            ("bytes=3-2", Parsed::Ignored),
            ("bytes=1-2,4-5", Parsed::Ignored),
            ("bytes=x-", Parsed::Ignored),
            ("bytes=--1", Parsed::Ignored),
            ("items=0-1", Parsed::Ignored),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_range(text, 10), expected, "{text}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Parsed::Beyond);
    }

    #[test]
    fn if_none_match_goes_before_if_modified_since() {
        let both = headers(&[(IF_NONE_MATCH, "\"other\""), (IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT")]);
        assert_eq!(validators().evaluate(&both).unwrap(), Verdict::Proceed);
        let known = headers(&[(IF_NONE_MATCH, "\"x\", W/\"abc\"")]);
        assert_eq!(validators().evaluate(&known).unwrap(), Verdict::NotModified);
        let unchanged = headers(&[(IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT")]);
        assert_eq!(validators().evaluate(&unchanged).unwrap(), Verdict::NotModified);
        let older = headers(&[(IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:36 GMT")]);
        assert_eq!(validators().evaluate(&older).unwrap(), Verdict::Proceed);
    }

    #[test]
    fn if_match_needs_a_strong_match() {
        assert!(validators().evaluate(&headers(&[(IF_MATCH, "W/\"abc\"")])).is_err());
        assert!(validators().evaluate(&headers(&[(IF_MATCH, "\"abc\"")])).is_ok());
        assert!(validators().evaluate(&headers(&[(IF_MATCH, "*")])).is_ok());
        assert!(validators().evaluate(&headers(&[(IF_UNMODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:36 GMT")])).is_err());
    }

    #[test]
    fn a_list_may_stand_on_several_lines_and_have_commas_in_its_tags() {
        let mut lines = headers(&[(IF_MATCH, "\"a\"")]);
        lines.append(IF_MATCH, HeaderValue::from_static("\"abc\""));
        assert!(validators().evaluate(&lines).is_ok());
        assert_eq!(entity_tags(r#""a,b" , W/"c",, d"#).collect::<Vec<_>>(), [r#""a,b""#, r#"W/"c""#, "d"]);
        assert!(validators().evaluate(&headers(&[(IF_MATCH, r#""x,abc,y""#)])).is_err());
    }

    #[test]
    fn a_condition_that_is_not_understood_does_not_vanish() {
        let mut latin = HeaderMap::new();
        latin.insert(IF_MATCH, HeaderValue::from_bytes(b"\"\xff\"").unwrap());
        assert!(validators().evaluate(&latin).is_err());
        assert!(validators().evaluate(&headers(&[(IF_UNMODIFIED_SINCE, "Fri, 01 Jan 1960 00:00:00 GMT")])).is_err());
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(validators().modified()));
        for none in ["yesterday", "Fri, 01 Jan 196é 00:00:00 GMT", "Foo, 99 Zzz 1960 99:99:99 GMT"] {
            assert_eq!(date(none), None, "{none}");
        }
        assert_eq!(date("Thu, 13 Oct 1307 12:00:00 GMT"), date("Thu, 01 Jan 1970 00:00:00 GMT"));
        let named = |list| contents(list, |tag| ContentTag::ETag(tag.to_owned()));
        assert_eq!(
            (named(""), named(" , ")),
            (vec![ContentTag::ETag(String::new())], vec![ContentTag::ETag(String::new())])
        );
    }

    #[test]
    fn the_last_bytes_of_nothing_are_the_whole() {
        for (text, of_nothing) in [
            ("bytes=-5", Parsed::Ignored),
            ("bytes=-0", Parsed::Beyond),
            ("bytes=0-", Parsed::Beyond),
            ("bytes=0-0", Parsed::Beyond),
        ] {
            assert_eq!(parse_range(text, 0), of_nothing, "{text}");
        }
    }

    #[test]
    fn a_stale_if_range_gets_the_whole() {
        let stale = headers(&[(RANGE, "bytes=0-1"), (IF_RANGE, "\"old\"")]);
        assert_eq!(validators().range(&stale, 10).unwrap(), None);
        let fresh = headers(&[(RANGE, "bytes=0-1"), (IF_RANGE, "\"abc\"")]);
        assert_eq!(validators().range(&fresh, 10).unwrap(), Some(0..2));
    }
}
