//! Signatures of S3 (SigV4 in the `Authorization` header), so that a test needs no other tool to be somebody.

use super::client::{Client, sha256};
use protocol::{Clock, SystemClock};
use reqwest::{Method, RequestBuilder};
use sha2::{Digest, Sha256};

const SCOPE: &str = "us-east-1/s3/aws4_request";
const SIGNED: &str = "host;x-amz-content-sha256;x-amz-date";
const BLOCK_BYTES: usize = 64;

/// What a key of S3 is made of.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The access key id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

impl Signer {
    /// A request to the S3 server of `client`, whose base is `base`; the query's parameters must be in order, and spelled as they are
    /// signed: `name=value`, or `name=` for one without a value.
    pub fn request(
        &self,
        client: &Client,
        base: &str,
        method: Method,
        path: &str,
        query: &str,
        body: &str,
    ) -> RequestBuilder {
        let (date, time) = now();
        let host = base.split("://").nth(1).expect("a base URL has a host");
        let digest = sha256(body.as_bytes());
        let headers = format!("host:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{time}\n");
        let canonical = format!("{method}\n{path}\n{query}\n{headers}\n{SIGNED}\n{digest}");
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{date}/{SCOPE}\n{}", sha256(canonical.as_bytes()));
        let key = format!("AWS4{}", self.secret);
        let words = [date.as_str(), "us-east-1", "s3", "aws4_request"];
        let key = words.iter().fold(key.into_bytes(), |key, word| hmac(&key, word.as_bytes()));
        let signature = hex::encode(hmac(&key, to_sign.as_bytes()));
        let id = &self.id;
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={id}/{date}/{SCOPE}, SignedHeaders={SIGNED}, Signature={signature}");
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let request = client.request(method, &target).header("x-amz-date", time).header("x-amz-content-sha256", digest);
        request.header("authorization", authorization).body(body.to_owned())
    }
}

/// HMAC-SHA-256 (RFC 2104).
pub fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let key = if key.len() > BLOCK_BYTES { Sha256::digest(key).to_vec() } else { key.to_vec() };
    let pad = |with: u8| {
        let mut block = [with; BLOCK_BYTES];
        block.iter_mut().zip(&key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

/// The day and the moment, as they are signed.
fn now() -> (String, String) {
    let text = process::timestamp::rfc3339_ms(SystemClock.now_ms());
    let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    (plain[..8].to_owned(), format!("{}Z", &plain[..15]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let jefe = hex::encode(hmac(b"Jefe", b"what do ya want for nothing?"));
        assert_eq!(jefe, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
