//! Copies of objects and of parts.

use super::{B, all, etag, make_bucket, one, put, refused, send, text};
use reqwest::Method;
use testing::real::{Client, Cluster, random_bytes};

async fn copy(client: &Client, source: &str, target: &str, head: &[(&str, &str)]) -> super::Reply {
    let mut all = vec![("x-amz-copy-source", source)];
    all.extend(head);
    send(client, Method::PUT, &format!("{B}/{target}"), &all, "").await
}

#[tokio::test]
async fn objects_are_copied_with_what_is_said_of_them() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    for key in ["/lead", "a//b", "p+q%20r", "%C3%A9"] {
        let head = [("x-amz-meta-a", "1"), ("content-type", "text/x"), ("x-amz-tagging", "t=1")];
        send(&client, Method::PUT, &format!("{B}/{key}"), &head, key).await.expect(200);
        let copied = copy(&client, &format!("bucket/{key}"), "copy", &[]).await.expect(200);
        assert_eq!(one(&copied, "ETag").replace("&quot;", "\""), etag(key.as_bytes()));
        assert!(copied.header("x-holdfast-durability").starts_with("copies="), "{copied}");
        copy(&client, &format!("/bucket/{key}"), "copy", &[]).await.expect(200);
        let got = client.get(&format!("{B}/copy")).await.expect(200);
        assert_eq!((got.body.as_ref(), got.header("x-amz-meta-a")), (key.as_bytes(), "1"));
        assert_eq!((got.header("content-type"), got.header("x-amz-tagging-count")), ("text/x", "1"));
    }
    let replace =
        [("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-b", "2"), ("x-amz-tagging-directive", "REPLACE")];
    refused(&copy(&client, "bucket/copy", "copy", &[]).await, 400, "InvalidRequest");
    copy(&client, "bucket/copy", "copy", &replace).await.expect(200);
    let got = client.head(&format!("{B}/copy")).await.expect(200);
    assert_eq!((got.header("x-amz-meta-b"), got.header("content-type")), ("2", "binary/octet-stream"));
    assert!(!got.headers.contains_key("x-amz-meta-a") && !got.headers.contains_key("x-amz-tagging-count"));
    refused(&copy(&client, "bucket/none", "copy", &[]).await, 404, "NoSuchKey");
    refused(&copy(&client, "nobucket/x", "copy", &[]).await, 404, "NoSuchBucket");
    refused(&copy(&client, "nonsense", "copy", &[]).await, 400, "InvalidArgument");
}

#[tokio::test]
async fn conditions_of_the_source() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    put(&client, &format!("{B}/x"), "content").await.expect(200);
    let tag = etag(b"content");
    let long_ago = "Thu, 01 Jan 1970 00:00:00 GMT";
    for (header, value, status) in [
        ("if-match", tag.as_str(), 200),
        ("if-match", tag.trim_matches('"'), 200),
        ("if-match", "\"other\"", 412),
        ("if-none-match", tag.as_str(), 412),
        ("if-none-match", "\"other\"", 200),
        ("if-modified-since", long_ago, 200),
        ("if-unmodified-since", long_ago, 412),
    ] {
        let header = format!("x-amz-copy-source-{header}");
        let reply = copy(&client, "bucket/x", "y", &[(&header, value)]).await;
        assert_eq!(reply.status, status, "{header}: {value}: {}", text(&reply));
    }
    refused(&copy(&client, "bucket/x", "y", &[("if-none-match", "*")]).await, 412, "PreconditionFailed");
}

#[tokio::test]
async fn parts_are_copied_from_ranges() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    let source = random_bytes(7, 6 << 20);
    put(&client, &format!("{B}/source"), source.clone()).await.expect(200);
    let begun = send(&client, Method::POST, &format!("{B}/x?uploads"), &[], "").await.expect(200);
    let upload = one(&begun, "UploadId");
    let mut parts = String::new();
    for (number, range) in [(1, "bytes=0-5242879"), (2, "bytes=5242880-5242889")] {
        let target = format!("x?uploadId={upload}&partNumber={number}");
        let copied = copy(&client, "bucket/source", &target, &[("x-amz-copy-source-range", range)]).await.expect(200);
        assert!(copied.header("x-holdfast-durability").starts_with("copies="), "{copied}");
        parts += &format!("<Part><ETag>{}</ETag><PartNumber>{number}</PartNumber></Part>", one(&copied, "ETag"));
    }
    let beyond = [("x-amz-copy-source-range", "bytes=0-9999999")];
    refused(
        &copy(&client, "bucket/source", &format!("x?uploadId={upload}&partNumber=3"), &beyond).await,
        400,
        "InvalidArgument",
    );
    let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    let done = send(&client, Method::POST, &format!("{B}/x?uploadId={upload}"), &[], document).await.expect(200);
    assert_eq!(all(&text(&done), "Key"), ["x"]);
    assert!(client.get(&format!("{B}/x")).await.expect(200).body == source[..5_242_890], "the last part may be small");
}
