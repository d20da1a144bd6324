//! The S3 protocol: path style, every request signed, bodies signed or not.

use super::signature::{Keys, Signer, UNSIGNED_PAYLOAD, hex};
use crate::body::Body;
use crate::http::{Endpoint, head};
use ring::digest::{Context, SHA256};
use std::io;

/// Whether the signature of a request covers its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Payload {
    /// It does not: `UNSIGNED-PAYLOAD`.
    Unsigned,
    /// It holds the body's SHA-256, which the client takes before it sends.
    Signed,
}

/// A bucket, and how it is talked to.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// The server.
    pub endpoint: Endpoint,
    /// The bucket's name.
    pub name: String,
    /// Whose requests these are.
    pub keys: Keys,
    /// How bodies are signed.
    pub payload: Payload,
}

/// Spells requests to a bucket.
pub struct Requests {
    bucket: Bucket,
    signer: Signer,
}

impl Requests {
    /// Requests to this bucket.
    pub fn new(bucket: Bucket) -> Requests {
        Requests { signer: Signer::new(bucket.keys.clone()), bucket }
    }

    /// The bucket is made.
    pub fn make_bucket(&mut self) -> Vec<u8> {
        self.request("PUT", &format!("/{}", self.bucket.name), UNSIGNED_PAYLOAD, 0)
    }

    /// An object is stored; its body follows.
    pub fn put(&mut self, name: &str, body: &Body) -> io::Result<Vec<u8>> {
        let payload = match self.bucket.payload {
            Payload::Unsigned => UNSIGNED_PAYLOAD.to_owned(),
            Payload::Signed => sha256_of(body)?,
        };
        Ok(self.request("PUT", &self.object(name), &payload, body.length_bytes()))
    }

    /// An object is read.
    pub fn get(&mut self, name: &str) -> Vec<u8> {
        self.request("GET", &self.object(name), UNSIGNED_PAYLOAD, 0)
    }

    /// An object is deleted.
    pub fn delete(&mut self, name: &str) -> Vec<u8> {
        self.request("DELETE", &self.object(name), UNSIGNED_PAYLOAD, 0)
    }

    /// A page of the keys that begin with `prefix` and come after `after`; those with more slashes are folded, if that is asked for.
    pub fn list(&mut self, prefix: &str, after: &str, folded: bool) -> Vec<u8> {
        let (prefix, after) = (in_query(prefix), in_query(after));
        let delimiter = if folded { "delimiter=%2F&" } else { "" };
        let target = format!("/{}?{delimiter}list-type=2&prefix={prefix}&start-after={after}", self.bucket.name);
        self.request("GET", &target, UNSIGNED_PAYLOAD, 0)
    }

    /// An upload in parts begins.
    pub fn begin_upload(&mut self, name: &str) -> Vec<u8> {
        self.request("POST", &format!("{}?uploads=", self.object(name)), UNSIGNED_PAYLOAD, 0)
    }

    /// A part is stored; `bytes` follow.
    pub fn put_part(&mut self, name: &str, upload: &str, number: usize, bytes: &[u8]) -> Vec<u8> {
        let target = format!("{}?partNumber={number}&uploadId={upload}", self.object(name));
        let payload = match self.bucket.payload {
            Payload::Unsigned => UNSIGNED_PAYLOAD.to_owned(),
            Payload::Signed => super::signature::sha256_hex(bytes),
        };
        self.request("PUT", &target, &payload, bytes.len() as u64)
    }

    /// An upload's parts, by their ETags, become an object.
    pub fn complete_upload(&mut self, name: &str, upload: &str, etags: &[String]) -> Vec<u8> {
        let part = |(at, etag): (usize, &String)| {
            format!("<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>", at + 1)
        };
        let parts: String = etags.iter().enumerate().map(part).collect();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let target = format!("{}?uploadId={upload}", self.object(name));
        let mut request = self.request("POST", &target, UNSIGNED_PAYLOAD, body.len() as u64);
        request.extend_from_slice(body.as_bytes());
        request
    }

    fn object(&self, name: &str) -> String {
        format!("/{}/{}", self.bucket.name, in_path(name))
    }

    fn request(&mut self, method: &str, target: &str, payload: &str, body_bytes: u64) -> Vec<u8> {
        let endpoint = &self.bucket.endpoint;
        let signed = self.signer.headers(method, target, &endpoint.authority, payload);
        head(method, target, endpoint, &signed, body_bytes)
    }
}

/// A name that stands for itself in a path.
fn in_path(name: &str) -> &str {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
    assert!(name.bytes().all(is_plain), "bench makes plain names, not {name:?}");
    name
}

fn in_query(name: &str) -> String {
    in_path(name).replace('/', "%2F")
}

fn sha256_of(body: &Body) -> io::Result<String> {
    let (mut reader, mut context, mut piece) = (body.open()?, Context::new(&SHA256), Vec::new());
    while reader.append_piece(&mut piece)? {
        context.update(&piece);
        piece.clear();
    }
    Ok(hex(context.finish().as_ref()))
}

/// The text of an element that occurs once in an answer. Ours and S3's answers do not escape what is asked for here.
pub fn element<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = answer.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

/// The keys of a page.
pub fn keys(answer: &str) -> impl Iterator<Item = &str> {
    answer.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>").map(|(key, _)| key))
}

/// What the keys of a page were folded into.
pub fn folders(answer: &str) -> impl Iterator<Item = &str> {
    let folders = answer.split("<CommonPrefixes><Prefix>").skip(1);
    folders.filter_map(|rest| rest.split_once("</Prefix>").map(|(folder, _)| folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Random;

    fn requests(payload: Payload) -> Requests {
        let keys = Keys { access_key: "a".to_owned(), secret_key: "s".to_owned(), region: "us-east-1".to_owned() };
        Requests::new(Bucket { endpoint: Endpoint::local(9000), name: "b".to_owned(), keys, payload })
    }

    #[test]
    fn a_put_says_what_it_signs() {
        let body = Body::Random(Random { seed: 1, length_bytes: 600_000 });
        let unsigned = String::from_utf8(requests(Payload::Unsigned).put("k", &body).unwrap()).unwrap();
        assert!(
            unsigned
                .starts_with("PUT /b/k HTTP/1.1\r\nhost: 127.0.0.1:9000\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD\r\n")
        );
        assert!(unsigned.ends_with("content-length: 600000\r\n\r\n"), "{unsigned}");
        let mut bytes = Vec::new();
        let mut reader = body.open().unwrap();
        while reader.append_piece(&mut bytes).unwrap() {}
        let signed = String::from_utf8(requests(Payload::Signed).put("k", &body).unwrap()).unwrap();
        assert!(signed.contains(&format!("x-amz-content-sha256: {}\r\n", super::super::signature::sha256_hex(&bytes))));
    }

    #[test]
    fn answers_are_read() {
        let page = "<R><Contents><Key>a</Key></Contents><Contents><Key>b</Key></Contents><UploadId>u</UploadId></R>";
        assert_eq!(keys(page).collect::<Vec<_>>(), ["a", "b"]);
        let folded = "<R><Prefix>a</Prefix><CommonPrefixes><Prefix>a/b/</Prefix></CommonPrefixes></R>";
        assert_eq!(folders(folded).collect::<Vec<_>>(), ["a/b/"]);
        assert_eq!((element(page, "UploadId"), element(page, "Missing")), (Some("u"), None));
    }
}
