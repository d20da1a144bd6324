//! What a client promises of its bytes, in the head and in the trailer, is verified before anything can be seen, stored, and returned.

use super::{B, make_bucket, refused, send, told};
use reqwest::Method;
use testing::real::{Client, Cluster, random_bytes};

/// The check values of the CRC catalogue, and of FIPS 180-4.
const KNOWN: [(&str, &str, &str); 5] = [
    ("x-amz-checksum-crc32", "123456789", "y/Q5Jg=="),
    ("x-amz-checksum-crc32c", "123456789", "4waSgw=="),
    ("x-amz-checksum-crc64nvme", "123456789", "rosUhgp5mIg="),
    ("x-amz-checksum-sha1", "abc", "qZk+NkcGgWq6PiVxeFDCbJzQ2J0="),
    ("x-amz-checksum-sha256", "abc", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="),
];
const TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// The body in chunks of 64 KiB, as `aws-chunked` frames them, with a trailer.
fn chunked(body: &[u8], trailer: &str) -> Vec<u8> {
    let mut framed = Vec::new();
    for chunk in body.chunks(64 << 10) {
        framed.extend_from_slice(format!("{:x};chunk-signature={}\r\n", chunk.len(), "0".repeat(64)).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(format!("0\r\n{trailer}\r\n\r\n").as_bytes());
    framed
}

async fn put_chunked(
    client: &Client,
    key: &str,
    body: &[u8],
    length: usize,
    (name, value): (&str, &str),
) -> super::Reply {
    let length = length.to_string();
    let head = [
        ("x-amz-content-sha256", TRAILER),
        ("x-amz-decoded-content-length", length.as_str()),
        ("content-encoding", "aws-chunked"),
        ("x-amz-trailer", name),
    ];
    send(client, Method::PUT, &format!("{B}/{key}"), &head, chunked(body, &format!("{name}:{value}"))).await
}

#[tokio::test]
async fn every_checksum_is_verified_stored_and_returned() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    for (header, body, value) in KNOWN {
        let path = format!("{B}/{header}");
        refused(&send(&client, Method::PUT, &path, &[(header, value)], "other").await, 400, "BadDigest");
        refused(&send(&client, Method::PUT, &path, &[(header, "AAA=")], body).await, 400, "InvalidRequest");
        client.get(&path).await.expect(404);
        let stored = send(&client, Method::PUT, &path, &[(header, value)], body).await.expect(200);
        assert_eq!((stored.header(header), stored.header("x-amz-checksum-type")), (value, "FULL_OBJECT"));
        let asked = [("x-amz-checksum-mode", "ENABLED")];
        let whole = client.get_with(&path, &asked).await.expect(200);
        assert_eq!((whole.header(header), whole.header("x-amz-checksum-type")), (value, "FULL_OBJECT"));
        let part = client.get_with(&path, &[asked[0], ("range", "bytes=0-1")]).await.expect(206);
        assert!(!part.headers.contains_key(header), "clients refuse a part that has the checksum of the whole");
        assert!(!client.get(&path).await.headers.contains_key(header), "nobody asked for it");
        let trailed = put_chunked(&client, "trailed", body.as_bytes(), body.len(), (header, value)).await.expect(200);
        assert_eq!(trailed.header(header), value);
        let wrong = put_chunked(&client, "wrong", b"other", 5, (header, value)).await;
        refused(&wrong, 400, "BadDigest");
    }
    client.get(&format!("{B}/wrong")).await.expect(404);
    let got = client.get(&format!("{B}/trailed")).await.expect(200);
    assert_eq!(got.body, "abc");
    assert!(!got.headers.contains_key("content-encoding"), "aws-chunked is never stored");
}

#[tokio::test]
async fn a_checksum_that_cannot_be_verified_is_refused() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    for name in ["md5", "sha512", "xxhash64", "xxhash3", "xxhash128"].map(|end| format!("x-amz-checksum-{end}")) {
        let path = format!("{B}/x");
        let replies = [
            send(&client, Method::PUT, &path, &[(&name, "AAAA")], "x").await,
            put_chunked(&client, "x", b"x", 1, (&name, "AAAA")).await,
        ];
        for reply in replies {
            refused(&reply, 501, "NotImplemented");
            assert!(super::text(&reply).contains(&name), "{}", super::text(&reply));
        }
        client.get(&path).await.expect(404);
    }
}

#[tokio::test]
async fn content_md5_and_sha256_are_verified() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    let path = format!("{B}/x");
    let put = async |header: &str, value: &str| send(&client, Method::PUT, &path, &[(header, value)], "abc").await;
    refused(&put("content-md5", "XrY7u+Ae7tCTyyK7j1rNww==").await, 400, "BadDigest");
    refused(&put("content-md5", "900150983cd24fb0d6963f7d28e17f72").await, 400, "InvalidDigest");
    client.get(&path).await.expect(404);
    put("content-md5", "kAFQmDzST7DWlj99KOF/cg==").await.expect(200);
    let signed = "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
    let wrong = [("authorization", signed), ("x-amz-content-sha256", &"0".repeat(64))];
    let reply = send(&client, Method::PUT, &format!("{B}/y"), &wrong, "abc").await;
    refused(&reply, 400, "XAmzContentSHA256Mismatch");
    client.get(&format!("{B}/y")).await.expect(404);
    let document = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    let wrong = [("content-md5", "XrY7u+Ae7tCTyyK7j1rNww==")];
    let reply = send(&client, Method::PUT, &format!("{B}?tagging"), &wrong, document).await;
    refused(&reply, 400, "BadDigest");
    refused(&client.get(&format!("{B}?tagging")).await, 404, "NoSuchTagSet");
}

#[tokio::test]
async fn chunks_are_unpacked_or_refused() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    let body = random_bytes(1, 1_000_000);
    let crc = ("x-amz-checksum-crc32", "AAAAAA==");
    let length = body.len();
    refused(&put_chunked(&client, "x", &body, length, crc).await, 400, "BadDigest");
    refused(&put_chunked(&client, "x", &body, length + 1, crc).await, 400, "IncompleteBody");
    refused(&put_chunked(&client, "x", &body, length - 1, crc).await, 400, "IncompleteBody");
    let plain =
        [("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), ("x-amz-decoded-content-length", "1000000")];
    let path = format!("{B}/x");
    let cut = &chunked(&body, "")[..500_000];
    refused(&send(&client, Method::PUT, &path, &plain, cut).await, 400, "IncompleteBody");
    refused(&send(&client, Method::PUT, &path, &plain, "not framed at all\r\n").await, 400, "InvalidRequest");
    client.get(&path).await.expect(404);
    let mut whole = chunked(&body, "");
    whole.truncate(whole.len() - 2);
    send(&client, Method::PUT, &path, &plain, whole).await.expect(200);
    assert!(client.get(&path).await.expect(200).body == body, "the bytes are those that were sent");
    let missing = send(&client, Method::PUT, &path, &plain[..1], "0\r\n\r\n").await;
    assert_eq!(told(&missing), (411, "MissingContentLength".to_owned()));
}
