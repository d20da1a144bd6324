//! AWS's signature version 4, in the `Authorization` header.
//!
//! What it keeps true:
//! - A request is signed by what goes over the wire: paths and queries are encoded by their maker and hold no two parameters in
//!   the wrong order.
//! - A day's key is derived once (four HMACs), a request costs two digests and one HMAC more.

use protocol::{Clock, SystemClock};
use ring::digest::{SHA256, digest};
use ring::hmac::{HMAC_SHA256, Key, Tag, sign};
use std::fmt::Write;

/// What a request says of its body when it does not sign it.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// An access key, and where it is used.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Names it.
    pub access_key: String,
    /// Signs with it.
    pub secret_key: String,
    /// The region that signatures are for.
    pub region: String,
}

/// Signs with one key.
pub struct Signer {
    keys: Keys,
    day: Option<(String, Key)>,
}

impl Signer {
    /// Signs with this key.
    pub fn new(keys: Keys) -> Signer {
        Signer { keys, day: None }
    }

    /// The header lines that sign a request now. `payload` is the SHA-256 of its body in hexadecimal, or [`UNSIGNED_PAYLOAD`].
    pub fn headers(&mut self, method: &str, target: &str, host: &str, payload: &str) -> String {
        self.headers_at(&timestamp(SystemClock.now_ms()), method, target, host, payload)
    }

    fn headers_at(&mut self, time: &str, method: &str, target: &str, host: &str, payload: &str) -> String {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        debug_assert!(query.split('&').is_sorted(), "parameters are signed in order: {query}");
        let canonical = format!(
            "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{payload}\nx-amz-date:{time}\n\n\
             host;x-amz-content-sha256;x-amz-date\n{payload}"
        );
        let scope = format!("{}/{}/s3/aws4_request", &time[..8], self.keys.region);
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
        let signature = hex(sign(self.key_of(&time[..8]), text.as_bytes()).as_ref());
        format!(
            "x-amz-content-sha256: {payload}\r\nx-amz-date: {time}\r\nauthorization: AWS4-HMAC-SHA256 Credential={}/{scope}, \
             SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}\r\n",
            self.keys.access_key
        )
    }

    fn key_of(&mut self, day: &str) -> &Key {
        if self.day.as_ref().is_none_or(|(known, _)| known != day) {
            let secret = format!("AWS4{}", self.keys.secret_key);
            let parts = [day, &self.keys.region, "s3", "aws4_request"];
            let key = parts
                .iter()
                .fold(Key::new(HMAC_SHA256, secret.as_bytes()), |key, part| next(&sign(&key, part.as_bytes())));
            self.day = Some((day.to_owned(), key));
        }
        &self.day.as_ref().expect("it was set above").1
    }
}

fn next(tag: &Tag) -> Key {
    Key::new(HMAC_SHA256, tag.as_ref())
}

/// SHA-256 in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

/// `20130524T000000Z`, as signatures spell time, from milliseconds since 1970.
fn timestamp(now_ms: u64) -> String {
    let seconds = now_ms / 1000;
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Year, month and day of a number of days since 1970 (Hinnant's `civil_from_days`: years begin in March, 400 of them have
/// 146,097 days).
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and the signatures of AWS's documentation ("Signature Calculations for the Authorization Header").
    #[test]
    fn requests_are_signed_as_aws_documents() {
        let keys = Keys {
            access_key: concat!("AK", "IAIOSFODNN7EXAMPLE").to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            region: "us-east-1".to_owned(),
        };
        let mut signer = Signer::new(keys);
        let (time, host, empty) = ("20130524T000000Z", "examplebucket.s3.amazonaws.com", sha256_hex(b""));
        for (target, signature) in [
            ("/?lifecycle=", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            ("/?max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ] {
            let headers = signer.headers_at(time, "GET", target, host, &empty);
            assert!(headers.ends_with(&format!("Signature={signature}\r\n")), "{target}: {headers}");
        }
    }

    #[test]
    fn time_is_spelled_as_signatures_want_it() {
        for (now_ms, text) in [
            (0, "19700101T000000Z"),
            (951_827_696_123, "20000229T123456Z"),
            (1_369_353_600_000, "20130524T000000Z"),
            (4_107_542_399_999, "21000228T235959Z"),
            (4_107_542_400_000, "21000301T000000Z"),
        ] {
            assert_eq!(timestamp(now_ms), text);
        }
    }
}
