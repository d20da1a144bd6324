//! Which headers a signature of version 4 speaks for.
//!
//! Such a signature names the headers that it is of. The library verifies those and passes the others on, so whoever holds a presigned URL
//! could add `x-amz-copy-source` and have another object's bytes. And a presigned URL may carry headers as parameters, where the library
//! does not look for them: version 4 signs them with the rest of the query, version 2 as if they were headers, as which it has to verify them.
//!
//! What it keeps true, wherever signatures are verified:
//! - No `x-amz-*` header is obeyed that nobody signed; a presigned URL may come with `x-amz-content-sha256`, which only narrows it.
//! - What a presigned URL says counts as if a header said it; a header that says something else is refused. But for the checksum of no
//!   bytes: SDKs put it there when they make the URL, and do not know the body.

use super::fault::{bad_request, fault};
use super::particulars::with_element;
use super::promise::{ALGORITHMS, printed};
use super::signature::signed_names;
use super::target::Query;
use crate::object::Checksummer;
use hyper::HeaderMap;
use hyper::header::{HOST, HeaderName, HeaderValue};
use s3s::{S3ErrorCode, S3Result};

/// Headers that must be signed.
const PREFIX: &str = "x-amz-";
/// What a presigned URL may come with unsigned: nobody knows the body when the URL is made.
const BODY_SHA256: &str = "x-amz-content-sha256";
/// Parameters of a presigned URL that are about its signature, in lower case.
const AUTHENTICATION: [&str; 8] = [
    "x-amz-algorithm",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];

/// The headers that had to be signed and are not, of a request that is signed by version 4.
pub fn unsigned(headers: &HeaderMap, query: &Query) -> Vec<String> {
    let signed = signed_names(headers, query);
    let is_presigned = query.has("X-Amz-Signature");
    let in_query: Vec<String> = if is_presigned { carried(query).map(|(name, _)| name).collect() } else { Vec::new() };
    let speaks_for = |name: &HeaderName| {
        // The library leaves values that are not UTF-8 out of what it verifies.
        let is_text = headers.get_all(name).iter().all(|value| std::str::from_utf8(value.as_bytes()).is_ok());
        is_text && signed.contains(&name.as_str())
    };
    let excused = |name: &str| is_presigned && (name == BODY_SHA256 || in_query.iter().any(|given| given == name));
    // What is signed is signed for one server.
    let asked = headers.keys().filter(|name| name.as_str().starts_with(PREFIX) || **name == HOST);
    asked.filter(|name| !excused(name.as_str()) && !speaks_for(name)).map(|name| name.as_str().to_owned()).collect()
}

/// Refuses a request with headers that had to be signed and are not.
pub fn refuse_unsigned(unsigned: &[String]) -> S3Result<()> {
    if unsigned.is_empty() {
        return Ok(());
    }
    let refused = fault(S3ErrorCode::AccessDenied, "There were headers present in the request which were not signed");
    Err(with_element(refused, "HeadersNotSigned", &unsigned.join(", ")))
}

/// Puts what a presigned URL carries into the head.
pub fn unfold(headers: &mut HeaderMap, query: &Query) -> S3Result<()> {
    let is_of_v2 = || query.has("Signature") && query.has("AWSAccessKeyId");
    if !query.has("X-Amz-Signature") && !is_of_v2() {
        return Ok(());
    }
    for (name, value) in carried(query).filter(|(name, value)| !is_of_nothing(name, value)) {
        let wrong = || bad_request(format!("The parameter {name} cannot be a header"));
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let value = HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|_| wrong())?;
        if headers.get_all(&key).iter().any(|given| given != value) {
            return Err(bad_request(format!(
                "The header {name} and the parameter {name} of the URL say different things"
            )));
        }
        headers.insert(key, value);
    }
    Ok(())
}

/// Whether this is the checksum of no bytes.
fn is_of_nothing(name: &str, value: &str) -> bool {
    let algorithm = ALGORITHMS.iter().find(|(_, _, header)| *header == name);
    algorithm.is_some_and(|(algorithm, _, _)| printed(&Checksummer::new(*algorithm).finish()) == value.trim())
}

/// The headers among a query's parameters, their names in lower case.
fn carried(query: &Query) -> impl Iterator<Item = (String, &str)> {
    let named = query.all().map(|(name, value)| (name.to_ascii_lowercase(), value));
    named.filter(|(name, _)| name.starts_with(PREFIX) && !AUTHENTICATION.contains(&name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESIGNED: &str = "X-Amz-Signature=00&X-Amz-SignedHeaders=host%3Bx-amz-acl";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    fn left(pairs: &[(&'static str, &str)], query: &str) -> String {
        unsigned(&headers(pairs), &Query::parse(Some(query))).join(",")
    }

    #[test]
    fn what_is_named_is_signed_and_nothing_else() {
        let authorization = "AWS4-HMAC-SHA256 Credential=K/20260102/eu/s3/aws4_request, \
                             SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=00";
        let whole =
            [("authorization", authorization), ("x-amz-date", "d"), ("x-amz-content-sha256", "s"), ("range", "r")];
        assert_eq!(left(&whole, ""), "");
        let added = [whole[0], whole[1], ("x-amz-copy-source", "/b/secret")];
        assert_eq!(left(&added, ""), "x-amz-copy-source");
        assert_eq!(
            left(&added, "x-amz-copy-source=%2Fb%2Fsecret"),
            "x-amz-copy-source",
            "a header's signature has no such parameters"
        );
        let refused = refuse_unsigned(&["x-amz-copy-source".to_owned()]).unwrap_err();
        assert_eq!(refused.code().as_str(), "AccessDenied");
    }

    #[test]
    fn a_presigned_url_speaks_for_its_parameters_and_leaves_the_body_open() {
        assert_eq!(left(&[("x-amz-acl", "private"), ("x-amz-content-sha256", "s")], PRESIGNED), "");
        assert_eq!(left(&[("x-amz-meta-a", "1")], PRESIGNED), "x-amz-meta-a");
        assert_eq!(left(&[("x-amz-meta-a", "1")], &format!("{PRESIGNED}&X-Amz-Meta-A=1")), "");
        let mut other = headers(&[]);
        other.insert("x-amz-acl", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(unsigned(&other, &Query::parse(Some(PRESIGNED))), ["x-amz-acl"], "the library does not see it");
    }

    #[test]
    fn parameters_count_as_headers() {
        let mut head = headers(&[("x-amz-meta-b", "2")]);
        let query = format!(
            "{PRESIGNED}&x-amz-copy-source=%2Fb%2Fk&X-Amz-Meta-A=1&x-amz-meta-b=2&X-Amz-Expires=60&x-id=PutObject"
        );
        unfold(&mut head, &Query::parse(Some(&query))).unwrap();
        assert_eq!(head, headers(&[("x-amz-meta-b", "2"), ("x-amz-copy-source", "/b/k"), ("x-amz-meta-a", "1")]));
        for other in ["x-amz-meta-b=3", "x-amz-meta-c=1&X-Amz-Meta-C=2", "x-amz-meta-d=a%0Ab"] {
            let refused = unfold(&mut head.clone(), &Query::parse(Some(&format!("{PRESIGNED}&{other}")))).unwrap_err();
            assert_eq!(refused.code().as_str(), "InvalidRequest", "{other}");
        }
        let mut plain = headers(&[]);
        unfold(&mut plain, &Query::parse(Some("x-amz-acl=private"))).unwrap();
        assert_eq!(plain, headers(&[]), "only a signature speaks for parameters");
        unfold(&mut plain, &Query::parse(Some("X-Amz-Signature=00&x-amz-checksum-crc32=AAAAAA%3D%3D"))).unwrap();
        assert_eq!(plain, HeaderMap::new(), "who made the URL did not know the body");
        unfold(&mut plain, &Query::parse(Some("AWSAccessKeyId=K&Signature=s&Expires=1&x-amz-acl=private"))).unwrap();
        assert_eq!(plain, headers(&[("x-amz-acl", "private")]), "the library verifies it as a header");
    }
}
