//! Signatures of S3 (SigV4 in the `Authorization` header), so that a test needs no other tool to be somebody.

use super::client::{Client, sha256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::{Clock, SystemClock};
use reqwest::{Method, RequestBuilder};
use sha2::{Digest, Sha256};

const SCOPE: &str = "us-east-1/s3/aws4_request";
const BLOCK_BYTES: usize = 64;

/// What a key of S3 is made of.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The access key id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

/// A moment, and the key that signs what is of its day.
struct Seal {
    date: String,
    time: String,
    key: Vec<u8>,
}

impl Seal {
    fn sign(&self, text: &str) -> String {
        hex::encode(hmac(&self.key, text.as_bytes()))
    }
}

/// What a body says of itself in a signature.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// Its digest.
    Hashed,
    /// A kind of `aws-chunked`, in which the request's body is one already; so many bytes of content.
    Unsigned(&'a str, usize),
    /// Content that goes in chunks of so many bytes, each of them signed.
    Chunks(usize),
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
        self.request_of(client, base, (method, path, query), &[], Payload::Hashed, body.as_bytes())
    }

    /// The same with these headers, which are signed, too, and a body of some kind.
    pub fn request_of(
        &self,
        client: &Client,
        base: &str,
        (method, path, query): (Method, &str, &str),
        head: &[(&str, &str)],
        payload: Payload<'_>,
        body: &[u8],
    ) -> RequestBuilder {
        let seal = self.seal_of(SystemClock.now_ms());
        let host = base.split("://").nth(1).expect("a base URL has a host");
        let (digest, length) = match payload {
            Payload::Hashed => (sha256(body), None),
            Payload::Unsigned(kind, length) => (kind.to_owned(), Some(length)),
            Payload::Chunks(_) => ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(), Some(body.len())),
        };
        let mut head: Vec<(&str, String)> = head.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        head.extend([("host", host.to_owned()), ("x-amz-content-sha256", digest.clone())]);
        head.push(("x-amz-date", seal.time.clone()));
        head.extend(length.map(|length| ("x-amz-decoded-content-length", length.to_string())));
        head.sort_unstable();
        let lines: String = head.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let signed = head.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{signed}\n{digest}");
        let Seal { date, time, .. } = &seal;
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{date}/{SCOPE}\n{}", sha256(canonical.as_bytes()));
        let signature = seal.sign(&to_sign);
        let body = match payload {
            Payload::Chunks(bytes) => in_chunks(&seal, &signature, body, bytes),
            _ => body.to_owned(),
        };
        let id = &self.id;
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={id}/{date}/{SCOPE}, SignedHeaders={signed}, Signature={signature}");
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let request = client.request(method, &target).header("authorization", authorization).body(body);
        head.iter()
            .filter(|(name, _)| *name != "host")
            .fold(request, |request, (name, value)| request.header(*name, value))
    }

    /// The fields that sign a form whose policy has these conditions, as it is signed at that moment.
    pub fn form_of(&self, conditions: &[serde_json::Value], at_ms: u64) -> Vec<(&'static str, String)> {
        let seal = self.seal_of(at_ms);
        let credential = format!("{}/{}/{SCOPE}", self.id, seal.date);
        let own = [
            ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("x-amz-credential", credential),
            ("x-amz-date", seal.time.clone()),
        ];
        let mut conditions = conditions.to_vec();
        conditions.extend(own.iter().map(|(name, value)| serde_json::json!({ *name: value })));
        let policy = serde_json::json!({ "expiration": "2999-01-01T00:00:00Z", "conditions": conditions });
        let policy = STANDARD.encode(policy.to_string());
        let signature = seal.sign(&policy);
        own.into_iter().chain([("policy", policy), ("x-amz-signature", signature)]).collect()
    }

    fn seal_of(&self, at_ms: u64) -> Seal {
        let text = process::timestamp::rfc3339_ms(at_ms);
        let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
        let (date, time) = (plain[..8].to_owned(), format!("{}Z", &plain[..15]));
        let words = [date.as_str(), "us-east-1", "s3", "aws4_request"];
        let key =
            words.iter().fold(format!("AWS4{}", self.secret).into_bytes(), |key, word| hmac(&key, word.as_bytes()));
        Seal { date, time, key }
    }
}

/// Each chunk is signed with the signature before it; one without content ends them.
fn in_chunks(seal: &Seal, first: &str, content: &[u8], bytes: usize) -> Vec<u8> {
    let (mut body, mut before) = (Vec::new(), first.to_owned());
    let Seal { date, time, .. } = seal;
    for chunk in content.chunks(bytes).chain([&[][..]]) {
        let (empty, digest) = (sha256(b""), sha256(chunk));
        let text = format!("AWS4-HMAC-SHA256-PAYLOAD\n{time}\n{date}/{SCOPE}\n{before}\n{empty}\n{digest}");
        before = seal.sign(&text);
        body.extend_from_slice(format!("{:x};chunk-signature={before}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    body
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let jefe = hex::encode(hmac(b"Jefe", b"what do ya want for nothing?"));
        assert_eq!(jefe, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
