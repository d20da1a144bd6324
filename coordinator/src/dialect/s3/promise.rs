//! What a client promises of its body, in the head or in the trailer: MD5 and checksums; and whether it was kept.
//!
//! What it keeps true: a body whose promise is broken is never published, and its writer hears `BadDigest`.

use super::fault::{bad_request, custom, fault, invalid, not_implemented};
use super::heads::text;
use crate::metadata::records::{Checksum, ChecksumAlgorithm, ChecksumKind};
use crate::object::{Checksummer, checksum_bytes};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::{HeaderMap, StatusCode};
use s3s::{S3ErrorCode, S3Result};

/// How the names of headers with checksums begin.
const PREFIX: &str = "x-amz-checksum-";
/// Headers about checksums that are none.
const ABOUT: [&str; 3] = ["x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz-checksum-type"];

/// The algorithms, their names, and the headers that carry their values.
pub const ALGORITHMS: [(ChecksumAlgorithm, &str, &str); 5] = [
    (ChecksumAlgorithm::Crc32, "CRC32", "x-amz-checksum-crc32"),
    (ChecksumAlgorithm::Crc32c, "CRC32C", "x-amz-checksum-crc32c"),
    (ChecksumAlgorithm::Crc64Nvme, "CRC64NVME", "x-amz-checksum-crc64nvme"),
    (ChecksumAlgorithm::Sha1, "SHA1", "x-amz-checksum-sha1"),
    (ChecksumAlgorithm::Sha256, "SHA256", "x-amz-checksum-sha256"),
];

/// Algorithms of S3 that nobody here computes.
const NOT_DONE: [&str; 5] = ["MD5", "SHA512", "XXHASH64", "XXHASH3", "XXHASH128"];

/// An algorithm's name and header.
pub fn spelled(algorithm: ChecksumAlgorithm) -> (&'static str, &'static str) {
    let found = ALGORITHMS.into_iter().find(|(known, _, _)| *known == algorithm);
    found.map(|(_, name, header)| (name, header)).expect("every algorithm is in the table")
}

/// The algorithm of this name.
pub fn algorithm(name: &str) -> S3Result<ChecksumAlgorithm> {
    if NOT_DONE.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return Err(not_implemented(&format!("the checksum {name}")));
    }
    let found = ALGORITHMS.into_iter().find(|(_, known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(algorithm, _, _)| algorithm).ok_or_else(|| {
        bad_request(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: \
                     [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]",
        )
    })
}

/// A checksum as the protocol writes it.
pub fn printed(checksum: &Checksum) -> String {
    let value = STANDARD.encode(&checksum.value);
    match (checksum.kind, checksum.parts) {
        (ChecksumKind::Composite, Some(parts)) => format!("{value}-{parts}"),
        _ => value,
    }
}

/// The kind of a checksum as the protocol writes it.
pub fn kind(kind: ChecksumKind) -> &'static str {
    match kind {
        ChecksumKind::FullObject => "FULL_OBJECT",
        ChecksumKind::Composite => "COMPOSITE",
    }
}

/// Refuses the checksums of algorithms that nobody here could verify: in the head, and where the head says that the trailer brings one.
pub fn refuse_unknown(headers: &HeaderMap) -> S3Result<()> {
    let trailer = text(headers, "x-amz-trailer").unwrap_or_default().to_ascii_lowercase();
    let names = headers.keys().map(|name| name.as_str()).chain(trailer.split(',').map(str::trim));
    refuse_unknown_names(names)
}

/// Refuses names, in lower case, of such checksums.
pub fn refuse_unknown_names<'a>(names: impl IntoIterator<Item = &'a str>) -> S3Result<()> {
    let mut unknown = names.into_iter().filter(|name| {
        let is_known = || ALGORITHMS.iter().any(|(_, _, header)| header == name);
        name.starts_with(PREFIX) && !ABOUT.contains(name) && !is_known()
    });
    unknown.next().map_or(Ok(()), |name| Err(not_implemented(name)))
}

/// What is promised of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Promise {
    /// Its MD5.
    pub md5: Option<[u8; 16]>,
    /// Which checksum it gets.
    pub algorithm: Option<ChecksumAlgorithm>,
    /// What that must be, if the head says so.
    value: Option<Vec<u8>>,
    /// Whether the trailer says so.
    in_trailer: bool,
}

impl Promise {
    /// What the head promises by its MD5 alone.
    pub fn of_md5(headers: &HeaderMap) -> S3Result<Promise> {
        let md5 = text(headers, "content-md5").map(|text| md5(&text)).transpose()?;
        Ok(Promise { md5, ..Promise::default() })
    }

    /// What the head promises.
    pub fn of(headers: &HeaderMap) -> S3Result<Promise> {
        let Promise { md5, .. } = Promise::of_md5(headers)?;
        let mut given = ALGORITHMS.into_iter().filter(|(_, _, header)| headers.contains_key(*header));
        let first = given.next();
        if given.next().is_some() {
            return Err(bad_request(
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            ));
        }
        let value = match first {
            Some((algorithm, _, header)) => Some(value(algorithm, &text(headers, header).unwrap_or_default())?),
            None => None,
        };
        let trailer = trailer_algorithm(headers)?;
        let named = text(headers, "x-amz-sdk-checksum-algorithm").or_else(|| text(headers, "x-amz-checksum-algorithm"));
        let named = named.map(|name| algorithm(&name)).transpose()?;
        let from_head = first.map(|(algorithm, _, _)| algorithm);
        match (from_head.or(trailer), named) {
            (Some(given), Some(named)) if given != named => Err(bad_request(
                "Value for x-amz-sdk-checksum-algorithm header is invalid: it is not the algorithm of the checksum.",
            )),
            (given, named) => Ok(Promise {
                md5,
                algorithm: given.or(named),
                value,
                in_trailer: from_head.is_none() && trailer.is_some(),
            }),
        }
    }

    /// Has the body get a checksum of `wanted`, which is the upload's; refused is a promise of another one.
    pub fn require(&mut self, wanted: Option<ChecksumAlgorithm>) -> S3Result<()> {
        match (wanted, self.algorithm) {
            (Some(wanted), Some(given)) if wanted != given => Err(bad_request(format!(
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                spelled(wanted).0.to_ascii_lowercase(),
                spelled(given).0.to_ascii_lowercase()
            ))),
            (wanted, given) => {
                self.algorithm = given.or(wanted);
                Ok(())
            }
        }
    }

    /// Whether the body is promised to come to something, of whatever algorithm.
    pub fn says_something(&self) -> bool {
        self.md5.is_some() || self.value.is_some() || self.in_trailer
    }

    /// What computes the checksum, if one is wanted.
    pub fn checksummer(&self) -> Option<Checksummer> {
        self.algorithm.map(Checksummer::new)
    }

    /// The checksum of the body that has come, if it is what was promised.
    pub fn kept(&self, computed: Option<Checksummer>, trailers: Option<&HeaderMap>) -> S3Result<Option<Checksum>> {
        trailers.map_or(Ok(()), refuse_unknown)?;
        let Some(computed) = computed.map(Checksummer::finish) else { return Ok(None) };
        let (name, header) = spelled(computed.algorithm);
        let promised = match (&self.value, self.in_trailer) {
            (Some(promised), _) => Some(promised.clone()),
            (None, true) => {
                let told = trailers.and_then(|trailers| text(trailers, header)).ok_or_else(|| {
                    custom(
                        "MalformedTrailerError",
                        StatusCode::BAD_REQUEST,
                        format!("The request contained trailing data that was not well-formed: {header} is missing"),
                    )
                })?;
                Some(value(computed.algorithm, &told)?)
            }
            (None, false) => None,
        };
        match promised {
            Some(promised) if promised != computed.value => Err(fault(
                S3ErrorCode::BadDigest,
                format!("The {name} you specified did not match the calculated checksum."),
            )),
            _ => Ok(Some(computed)),
        }
    }
}

/// The algorithm whose value the trailer brings.
fn trailer_algorithm(headers: &HeaderMap) -> S3Result<Option<ChecksumAlgorithm>> {
    let Some(names) = text(headers, "x-amz-trailer") else { return Ok(None) };
    let mut found = None;
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let known = ALGORITHMS.into_iter().find(|(_, _, header)| header.eq_ignore_ascii_case(name));
        match known {
            Some((algorithm, _, _)) => found = Some(algorithm),
            None => return Err(bad_request("The value specified in the x-amz-trailer header is not supported")),
        }
    }
    Ok(found)
}

fn value(algorithm: ChecksumAlgorithm, text: &str) -> S3Result<Vec<u8>> {
    let (_, header) = spelled(algorithm);
    let bytes = STANDARD.decode(text).ok().filter(|bytes| bytes.len() == checksum_bytes(algorithm));
    bytes.ok_or_else(|| bad_request(format!("Value for {header} header is invalid.")))
}

fn md5(text: &str) -> S3Result<[u8; 16]> {
    let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| fault(S3ErrorCode::InvalidDigest, "The Content-MD5 you specified is not valid."))
}

/// A part's number.
pub fn part_number(text: &str) -> S3Result<u16> {
    let number = text.parse::<u16>().ok().filter(|number| (1..=10_000).contains(number));
    number.ok_or_else(|| invalid("Part number must be an integer between 1 and 10000, inclusive"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    fn outcome(head: &[(&str, &str)], body: &[u8], trailers: &[(&str, &str)]) -> Result<Option<Checksum>, String> {
        let kept = Promise::of(&headers(head)).and_then(|promise| {
            let mut checksummer = promise.checksummer();
            if let Some(checksummer) = &mut checksummer {
                checksummer.update(body);
            }
            promise.kept(checksummer, Some(&headers(trailers)))
        });
        kept.map_err(|fault| fault.code().as_str().to_owned())
    }

    /// The check values of the CRC catalogue, and of FIPS 180-4, for "123456789" and "abc".
    const KNOWN: [(&str, &[u8], &str); 5] = [
        ("x-amz-checksum-crc32", b"123456789", "y/Q5Jg=="),
        ("x-amz-checksum-crc32c", b"123456789", "4waSgw=="),
        ("x-amz-checksum-crc64nvme", b"123456789", "rosUhgp5mIg="),
        ("x-amz-checksum-sha1", b"abc", "qZk+NkcGgWq6PiVxeFDCbJzQ2J0="),
        ("x-amz-checksum-sha256", b"abc", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="),
    ];

    #[test]
    fn every_algorithm_in_head_and_trailer() {
        for (header, body, value) in KNOWN {
            let kept = outcome(&[(header, value)], body, &[]).unwrap().unwrap();
            assert_eq!(printed(&kept), value, "{header}");
            assert_eq!(outcome(&[(header, value)], b"other", &[]), Err("BadDigest".to_owned()), "{header}");
            let trailer = [("x-amz-trailer", header)];
            assert_eq!(outcome(&trailer, body, &[(header, value)]).unwrap().unwrap(), kept);
            assert_eq!(outcome(&trailer, b"other", &[(header, value)]), Err("BadDigest".to_owned()));
            assert_eq!(outcome(&trailer, body, &[]), Err("MalformedTrailerError".to_owned()));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (head, code) in [
            (vec![("x-amz-checksum-crc32", "y/Q5")], "InvalidRequest"),
            (vec![("x-amz-checksum-crc32", "?")], "InvalidRequest"),
            (vec![("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-checksum-crc32c", "4waSgw==")], "InvalidRequest"),
            (vec![("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-sdk-checksum-algorithm", "SHA1")], "InvalidRequest"),
            (vec![("x-amz-sdk-checksum-algorithm", "MD4")], "InvalidRequest"),
            (vec![("x-amz-trailer", "x-amz-other")], "InvalidRequest"),
            (vec![("content-md5", "abc")], "InvalidDigest"),
        ] {
            assert_eq!(outcome(&head, b"123456789", &[]), Err(code.to_owned()), "{head:?}");
        }
        assert_eq!(outcome(&[], b"", &[]), Ok(None));
    }

    #[test]
    fn what_cannot_be_verified_is_refused() {
        let refused = |head: &[(&str, &str)]| refuse_unknown(&headers(head)).map_err(|fault| fault.to_string());
        for name in
            ["md5", "sha512", "xxhash64", "xxhash3", "xxhash128", "new"].map(|end| format!("x-amz-checksum-{end}"))
        {
            let why = refused(&[(&name, "AA==")]).unwrap_err();
            assert!(why.contains("NotImplemented") && why.contains(&name), "{why}");
            assert!(refused(&[("x-amz-trailer", &format!("x-amz-checksum-crc32, {name}"))]).is_err(), "{name}");
            assert_eq!(
                outcome(&[], b"x", &[(&name, "AA==")]),
                Err("NotImplemented".to_owned()),
                "nobody announced {name}"
            );
        }
        for (_, _, header) in ALGORITHMS {
            assert_eq!(
                refused(&[(header, "AA=="), ("x-amz-trailer", header), ("x-amz-checksum-mode", "ENABLED")]),
                Ok(())
            );
        }
        assert_eq!(refused(&[("x-amz-checksum-algorithm", "CRC32"), ("x-amz-checksum-type", "COMPOSITE")]), Ok(()));
    }
}
