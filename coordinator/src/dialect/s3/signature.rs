//! Signatures, before anybody verifies them: which one a request has, whether all of it is there, and whether it can be in time.
//!
//! The library answers `InvalidRequest` to whatever it cannot read, and takes URLs that are good for longer than a week. S3 has a name
//! for each of these mistakes.

use super::fault::{fault, invalid};
use super::particulars::with_element;
use super::target::Query;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, DATE, HeaderValue};
use s3s::{S3Error, S3ErrorCode, S3Result};

/// How far a request's date may be off, in seconds.
const SKEW_S_MAX: u64 = 900;
/// How long a presigned URL may be good for, in seconds: a week. A form's policy says for how long the form is.
pub const PRESIGNED_S_MAX: u32 = 604_800;
/// The region of every bucket.
const REGION: &str = "us-east-1";
/// What version 4 is called in a request.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Parameters of a presigned URL, all of which it needs.
const PARAMETERS: [&str; 6] =
    ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Expires"];
/// Those by which a URL is known for a presigned one.
const TELLTALE: usize = 3;
/// What the header of a signature needs.
const FIELDS: [&str; 3] = ["Credential", "SignedHeaders", "Signature"];
const NO_DATE: &str = "AWS authentication requires a valid Date or x-amz-date header";

/// How a request is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// Not at all.
    No,
    /// By version 2 of the signatures.
    V2,
    /// By version 4.
    V4,
}

/// How a request is signed. A form's signature is in its body.
pub fn signed(headers: &HeaderMap, query: &Query) -> Signed {
    let authorization = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    match authorization {
        _ if query.has("X-Amz-Signature") => Signed::V4,
        _ if query.has("Signature") && query.has("AWSAccessKeyId") => Signed::V2,
        Some(text) if text.starts_with(b"AWS ") => Signed::V2,
        Some(_) => Signed::V4,
        None => Signed::No,
    }
}

/// A request may tell its date by HTTP's own header; the library looks for the other one. What is signed is the date in either.
pub fn tell_date(headers: &mut HeaderMap) {
    // In version 2 the date is signed where it stands.
    let is_v4 = headers.get(AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(ALGORITHM.as_bytes()));
    if !is_v4 || headers.contains_key("x-amz-date") {
        return;
    }
    let date = headers.get(DATE).and_then(|value| value.to_str().ok()).and_then(seconds_of);
    let date =
        date.map(|seconds| process::timestamp::rfc3339_ms(seconds * 1_000).replace(".000", "").replace(['-', ':'], ""));
    if let Some(value) = date.and_then(|text| HeaderValue::try_from(text).ok()) {
        headers.insert("x-amz-date", value);
    }
}

/// The access key id that a request names in its head, whether or not it proves anything.
pub fn named_key<'a>(headers: &'a HeaderMap, query: &'a Query) -> Option<&'a str> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let in_header = || match header?.strip_prefix("AWS ") {
        Some(v2) => v2.split(':').next(),
        None => field_of(header?.split_once(char::is_whitespace)?.1, "Credential"),
    };
    let credential = query.get("X-Amz-Credential").or_else(|| query.get("AWSAccessKeyId")).or_else(in_header)?;
    credential.split('/').next().map(str::trim).filter(|key| !key.is_empty())
}

/// The headers that a signature of version 4 says it is of.
pub fn signed_names<'a>(headers: &'a HeaderMap, query: &'a Query) -> Vec<&'a str> {
    let in_header = || {
        let text = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        field_of(text.split_once(char::is_whitespace).map_or("", |(_, rest)| rest), "SignedHeaders")
    };
    let names = query.get("X-Amz-SignedHeaders").filter(|_| query.has("X-Amz-Signature")).or_else(in_header);
    names.unwrap_or_default().split(';').collect()
}

/// A field of the header of a signature.
fn field_of<'a>(fields: &'a str, name: &str) -> Option<&'a str> {
    fields
        .split(',')
        .filter_map(|field| field.trim().split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

/// Refuses a signature that cannot be one of version 4, whatever the key is, and one that is out of date; the rest of those of version 2
/// the library judges.
pub fn require_form(headers: &HeaderMap, query: &Query, now_ms: u64) -> S3Result<()> {
    let is_presigned = query.has_any(&PARAMETERS[..TELLTALE]);
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let first = given.next();
    // The library takes `Signature` for version 2, whatever stands beside it.
    let ways = [is_presigned, query.has("Signature"), first.is_some(), given.next().is_some()];
    if ways.into_iter().filter(|is_there| *is_there).count() > 1 {
        return Err(invalid(
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or \
             the Authorization header should be specified",
        ));
    }
    let Some(header) = first else {
        return if is_presigned { require_parameters(query, now_ms / 1_000) } else { Ok(()) };
    };
    match header.to_str() {
        Ok(text) if text.starts_with("AWS ") => require_date(headers, now_ms / 1_000),
        Ok(text) => require_header(text, headers).and_then(|()| require_date(headers, now_ms / 1_000)),
        Err(_) => Err(malformed("it is not ASCII")),
    }
}

/// When a request was signed, in seconds since 1970, as its header tells.
pub fn date_of(headers: &HeaderMap) -> Option<u64> {
    let date = headers.get("x-amz-date").or_else(|| headers.get(DATE));
    date.and_then(|value| value.to_str().ok()).and_then(seconds_of)
}

/// Refuses what was signed too long ago, or is of tomorrow: whoever hears a request must not send it again next year.
fn require_date(headers: &HeaderMap, now_s: u64) -> S3Result<()> {
    let then_s = date_of(headers).ok_or_else(|| fault(S3ErrorCode::AccessDenied, NO_DATE))?;
    not_skewed(then_s, now_s)
}

/// Refuses a date that is off by more than [`SKEW_S_MAX`].
pub fn not_skewed(then_s: u64, now_s: u64) -> S3Result<()> {
    match then_s.abs_diff(now_s) > SKEW_S_MAX {
        true => Err(fault(
            S3ErrorCode::RequestTimeTooSkewed,
            "The difference between the request time and the server's time is too large.",
        )),
        false => Ok(()),
    }
}

fn require_header(text: &str, headers: &HeaderMap) -> S3Result<()> {
    let (algorithm, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if algorithm != ALGORITHM {
        return Err(invalid("Unsupported Authorization Type"));
    }
    let field = |name: &str| field_of(rest, name);
    for name in FIELDS {
        if field(name).is_none_or(str::is_empty) {
            return Err(malformed(&format!("missing {name}.")));
        }
    }
    let date = scope_date(field("Credential").unwrap_or_default()).map_err(|why| malformed(&why))?;
    require_region(field("Credential").unwrap_or_default()).map_err(|why| told_region(malformed(&why)))?;
    let told = headers.get("x-amz-date").and_then(|value| value.to_str().ok());
    let told = told.filter(|told| seconds_of(told).is_some());
    let told = told.ok_or_else(|| fault(S3ErrorCode::AccessDenied, NO_DATE))?;
    match told.starts_with(date) {
        true => Ok(()),
        false => Err(malformed(&format!(
            "Invalid credential date \"{date}\". This date is not the same as X-Amz-Date: \"{told}\"."
        ))),
    }
}

fn require_parameters(query: &Query, now_s: u64) -> S3Result<()> {
    if PARAMETERS.iter().any(|name| query.get(name).is_none_or(str::is_empty)) {
        return Err(wrong_parameters(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, \
             X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
        ));
    }
    if query.get("X-Amz-Algorithm") != Some(ALGORITHM) {
        return Err(wrong_parameters("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
    }
    let credential = query.get("X-Amz-Credential").unwrap_or_default();
    let wrong = |why| wrong_parameters(format!("Error parsing the X-Amz-Credential parameter; {why}"));
    scope_date(credential).map_err(wrong)?;
    require_region(credential).map_err(|why| told_region(wrong(why)))?;
    presigned_in_time(query, now_s)?;
    // The library takes what is no digest for a parameter that is not there; it is a wrong one, cut off where somebody copied it, say.
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    match query.get("X-Amz-Signature").is_some_and(|told| told.len() == 64 && told.bytes().all(is_digit)) {
        true => Ok(()),
        false => Err(S3Error::new(S3ErrorCode::SignatureDoesNotMatch)),
    }
}

/// The date in a credential's scope: `KEY/yyyyMMdd/REGION/s3/aws4_request`. `Err` says what is wrong with it.
fn scope_date(credential: &str) -> Result<&str, String> {
    let parts: Vec<&str> = credential.split('/').collect();
    let [_, date, _, service, terminal] = parts[..] else {
        return Err(
            "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".".to_owned()
        );
    };
    match (service, terminal) {
        _ if seconds_of(&format!("{date}T000000Z")).is_none() => Err(format!(
            "incorrect date format \"{date}\". This date in the credential must be in the format \"yyyyMMdd\"."
        )),
        ("s3", "aws4_request") => Ok(date),
        ("s3", _) => Err(format!("incorrect terminal \"{terminal}\". This endpoint uses \"aws4_request\".")),
        _ => Err(format!("incorrect service \"{service}\". This endpoint belongs to \"s3\".")),
    }
}

/// Regions that the library cannot spell are refused as S3 refuses those that are not a bucket's; `Err` says so. Whoever is told of the
/// right one signs again for it.
fn require_region(credential: &str) -> Result<(), String> {
    let region = credential.split('/').nth(2).unwrap_or_default();
    let is_spelled = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match region.bytes().all(is_spelled) {
        true => Ok(()),
        false => Err(format!("the region '{region}' is wrong; expecting '{REGION}'")),
    }
}

fn told_region(refused: S3Error) -> S3Error {
    with_element(refused, "Region", REGION)
}

fn malformed(why: &str) -> S3Error {
    fault(S3ErrorCode::AuthorizationHeaderMalformed, format!("The authorization header is malformed; {why}"))
}

fn wrong_parameters(why: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    fault(S3ErrorCode::AuthorizationQueryParametersError, why)
}

/// Whether a presigned URL is one that is good now: not for longer than a week, not yet over, and not of tomorrow.
pub fn presigned_in_time(query: &Query, now_s: u64) -> S3Result<()> {
    let wrong = wrong_parameters;
    let date = query.get("X-Amz-Date").and_then(seconds_of);
    let then_s = date.ok_or_else(|| wrong("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""))?;
    let lasts = query.get("X-Amz-Expires").and_then(|text| text.parse::<u64>().ok());
    let lasts = lasts.ok_or_else(|| wrong("X-Amz-Expires should be a number"))?;
    if lasts > u64::from(PRESIGNED_S_MAX) {
        return Err(wrong("X-Amz-Expires must be less than a week (in seconds); that is 604800"));
    }
    if then_s > now_s + SKEW_S_MAX {
        return Err(fault(S3ErrorCode::AccessDenied, "Request is not valid yet"));
    }
    not_expired(then_s + lasts, now_s)
}

/// Whether a URL that is good until then may still be used.
pub fn not_expired(expires_s: u64, now_s: u64) -> S3Result<()> {
    match now_s > expires_s {
        true => Err(fault(S3ErrorCode::AccessDenied, "Request has expired")),
        false => Ok(()),
    }
}

/// Seconds since 1970 of `20260102T030405Z`, or of one of HTTP's dates, whose zone some clients call `+0000`.
pub fn seconds_of(text: &str) -> Option<u64> {
    if let Ok(date) = httpdate::parse_http_date(&text.replace(" +0000", " GMT")) {
        return date.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs());
    }
    let digits = text.strip_suffix('Z')?;
    let (day, time) = digits.split_once('T').filter(|(day, time)| day.len() == 8 && time.len() == 6)?;
    let number = |text: &str, range: std::ops::Range<usize>| -> Option<i64> {
        text.get(range).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
    };
    let (year, month, date) = (number(day, 0..4)?, number(day, 4..6)?, number(day, 6..8)?);
    let (hour, minute, second) = (number(time, 0..2)?, number(time, 2..4)?, number(time, 4..6)?);
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&date) && hour < 24 && minute < 60 && second < 61;
    if !in_range {
        return None;
    }
    // Days from civil, by Howard Hinnant: years begin in March, so that the leap day is their last.
    let (year, shifted) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * shifted + 2) / 5 + date - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    u64::try_from(days * 86_400 + hour * 3_600 + minute * 60 + second).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderName;

    const NOW_S: u64 = 1_767_323_045; // 2026-01-02T03:04:05Z

    fn code(headers: &[(&'static str, &str)], query: &str) -> String {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let mut headers = headers.iter().map(pair).fold(HeaderMap::new(), |mut all, (name, value)| {
            all.append(name, value);
            all
        });
        tell_date(&mut headers);
        let outcome = require_form(&headers, &Query::parse(Some(query)), NOW_S * 1_000);
        outcome.map_or_else(|fault| fault.code().as_str().to_owned(), |()| "ok".to_owned())
    }

    #[test]
    fn dates_are_read() {
        assert_eq!(seconds_of("20260102T030405Z"), Some(NOW_S));
        assert_eq!(seconds_of("Fri, 02 Jan 2026 03:04:05 GMT"), Some(NOW_S));
        assert_eq!(seconds_of("20240229T000000Z"), Some(1_709_164_800));
        assert_eq!(seconds_of("19700101T000000Z"), Some(0));
        for bad in ["", "2026-01-02", "20261302T030405Z", "20260102T250405Z", "20260102T0304+5Z", "20260102T030405"] {
            assert_eq!(seconds_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_key_that_is_named_is_found_wherever_it_stands() {
        let of = |authorization: Option<&'static str>, query: &str| {
            let header = authorization.map(|text| (AUTHORIZATION, HeaderValue::from_static(text)));
            let (headers, query): (HeaderMap, Query) = (header.into_iter().collect(), Query::parse(Some(query)));
            named_key(&headers, &query).map(str::to_owned)
        };
        let key = Some("HFKEY".to_owned());
        assert_eq!(of(Some("AWS4-HMAC-SHA256 Credential=HFKEY/2026/x, SignedHeaders=host,Signature=0"), ""), key);
        assert_eq!(of(Some("AWS HFKEY:c2ln"), ""), key);
        assert_eq!(of(None, "X-Amz-Credential=HFKEY%2F20260102%2Feu%2Fs3%2Faws4_request"), key);
        assert_eq!(of(None, "AWSAccessKeyId=HFKEY&Signature=x"), key);
        for nothing in ["", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=", "Bearer s3_key_x", "AWS "] {
            assert_eq!(of(Some(nothing), ""), None, "{nothing}");
        }
        assert_eq!(of(None, ""), None);
    }

    #[test]
    fn a_header_is_whole_or_called_malformed() {
        let of = |text: &str, date: &str| code(&[("authorization", text), ("x-amz-date", date)], "");
        let whole = |scope: &str| format!("AWS4-HMAC-SHA256 Credential=K/{scope},SignedHeaders=host, Signature=00");
        let now = "20260102T030405Z";
        assert_eq!(of(&whole("20260102/eu/s3/aws4_request"), now), "ok");
        for scope in ["20260102/eu/ec2/aws4_request", "2026/eu/s3/aws4_request", "20260102/eu/s3/aws5", "b/c"] {
            assert_eq!(of(&whole(scope), now), "AuthorizationHeaderMalformed", "{scope}");
        }
        assert_eq!(of(&whole("20260101/eu/s3/aws4_request"), now), "AuthorizationHeaderMalformed", "another day");
        for region in ["US", "my_region", "dc1.example"] {
            let scope = format!("20260102/{region}/s3/aws4_request");
            assert_eq!(of(&whole(&scope), now), "AuthorizationHeaderMalformed", "{region}");
        }
        assert_eq!(of("AWS4-HMAC-SHA256 Credential=K", now), "AuthorizationHeaderMalformed");
        assert_eq!(of("Basic YTpi", now), "InvalidArgument");
        assert_eq!(of("x", now), "InvalidArgument");
        assert_eq!(of("AWS key:signature", now), "ok", "version 2 is judged by others");
        for date in ["20260102T031906Z", "20260102T024904Z", "Fri, 02 Jan 2026 04:04:05 +0000"] {
            assert_eq!(of("AWS key:signature", date), "RequestTimeTooSkewed", "{date}");
        }
        assert_eq!(of("AWS key:signature", "Fri, 02 Jan 2026 03:14:05 +0000"), "ok");
        assert_eq!(of("AWS key:signature", "today"), "AccessDenied");
        assert_eq!(of(&whole("20260102/eu/s3/aws4_request"), "20260102T031906Z"), "RequestTimeTooSkewed");
        assert_eq!(of(&whole("20260102/eu/s3/aws4_request"), "yesterday"), "AccessDenied");
        assert_eq!(code(&[("authorization", &whole("20260102/eu/s3/aws4_request"))], ""), "AccessDenied");
        let by_http = [
            ("authorization", whole("20260102/eu/s3/aws4_request")),
            ("date", "Fri, 02 Jan 2026 03:04:05 GMT".to_owned()),
        ];
        assert_eq!(code(&by_http.each_ref().map(|(name, value)| (*name, value.as_str())), ""), "ok");
        assert_eq!(code(&[("authorization", "AWS a:b"), ("authorization", "AWS a:b")], ""), "InvalidArgument");
        assert_eq!(code(&[("authorization", "AWS a:b")], ""), "AccessDenied", "it says no date");
        assert_eq!(code(&[], ""), "ok");
    }

    #[test]
    fn a_url_has_all_its_parameters_and_is_good_for_a_week_at_most() {
        let fields = |lasts: &str| {
            [
                "X-Amz-Algorithm=AWS4-HMAC-SHA256".to_owned(),
                "X-Amz-Credential=K%2F20260102%2Feu%2Fs3%2Faws4_request".to_owned(),
                format!("X-Amz-Signature={}", "0a".repeat(32)),
                "X-Amz-Date=20260102T030000Z".to_owned(),
                format!("X-Amz-Expires={lasts}"),
                "X-Amz-SignedHeaders=host".to_owned(),
            ]
        };
        assert_eq!(code(&[], &fields("604800").join("&")), "ok");
        for lasts in ["604801", "-1", "soon"] {
            assert_eq!(code(&[], &fields(lasts).join("&")), "AuthorizationQueryParametersError", "{lasts}");
        }
        assert_eq!(code(&[], &fields("60").join("&")), "AccessDenied");
        for missing in 0..6 {
            let mut left = fields("600").to_vec();
            let gone = left.remove(missing);
            assert_eq!(code(&[], &left.join("&")), "AuthorizationQueryParametersError", "without {gone}");
        }
        for wrong in ["0a".repeat(31) + "0", "0a".repeat(33), "0A".repeat(32)] {
            let cut = fields("600").join("&").replace(&"0a".repeat(32), &wrong);
            assert_eq!(code(&[], &cut), "SignatureDoesNotMatch", "{wrong}");
        }
        let other = fields("600").join("&").replace("%2Fs3%2F", "%2Fec2%2F");
        assert_eq!(code(&[], &other), "AuthorizationQueryParametersError");
        assert_eq!(code(&[("authorization", "x")], &fields("600").join("&")), "InvalidArgument");
        let both = format!("{}&Signature=00&AWSAccessKeyId=K", fields("600").join("&"));
        assert_eq!(code(&[], &both), "InvalidArgument", "one of them would be verified, and the other obeyed");
    }
}
