//! Objects: put, got, looked at, deleted; their heads, ranges and conditions.

use super::{B, delete, etag, make_bucket, put, refused, send};
use futures_util::future::join_all;
use reqwest::Method;
use testing::real::Cluster;

const X: &str = "/bucket/x";

#[tokio::test]
async fn what_is_put_is_got_with_its_head() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    refused(&put(&client, X, "x").await, 404, "NoSuchBucket");
    make_bucket(&client).await;
    let head = [
        ("content-type", "text/x"),
        ("content-encoding", "gzip, aws-chunked"),
        ("expires", "whenever"),
        ("cache-control", "no-cache"),
        ("x-amz-meta-colour", "gr\u{fc}n"),
        ("x-amz-tagging", "a=1&b=2"),
    ];
    let stored = send(&client, Method::PUT, X, &head, "content").await.expect(200);
    assert_eq!(stored.header("etag"), etag(b"content"));
    for reply in [client.get(X).await.expect(200), client.head(X).await.expect(200)] {
        assert_eq!(reply.header("content-type"), "text/x");
        assert_eq!(reply.header("content-encoding"), "gzip", "aws-chunked is never an encoding");
        assert_eq!(reply.header("expires"), "whenever");
        assert_eq!(reply.header("content-length"), "7");
        assert_eq!(reply.header("x-amz-meta-colour"), "=?UTF-8?B?Z3LDvG4=?=");
        assert_eq!(reply.header("x-amz-tagging-count"), "2");
        assert_eq!(reply.header("etag"), etag(b"content"));
        assert!(!reply.header("x-amz-request-id").is_empty());
        assert!(!reply.headers.contains_key("x-amz-version-id"), "the bucket never kept versions");
    }
    assert_eq!(client.get(X).await.body, "content");
    let replaced = client.get(&format!("{X}?response-content-type=a%2Fb&response-expires=never")).await.expect(200);
    assert_eq!((replaced.header("content-type"), replaced.header("expires")), ("a/b", "never"));
    delete(&client, X).await.expect(204);
    delete(&client, X).await.expect(204);
    refused(&client.get(X).await, 404, "NoSuchKey");
    client.head(X).await.expect(404);
    assert_eq!(cluster.client().get("/s3/bucket/x").await.status, 404, "one namespace lies behind every door");
}

#[tokio::test]
async fn ranges() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    put(&client, X, "0123456789").await.expect(200);
    for (range, status, body, content_range) in [
        ("bytes=0-0", 206, "0", "bytes 0-0/10"),
        ("bytes=7-", 206, "789", "bytes 7-9/10"),
        ("bytes=-2", 206, "89", "bytes 8-9/10"),
        ("bytes=8-99", 206, "89", "bytes 8-9/10"),
        ("bytes=5-4", 200, "0123456789", ""),
        ("bytes=1-2,4-5", 200, "0123456789", ""),
        ("lines=1-2", 200, "0123456789", ""),
    ] {
        let reply = client.get_with(X, &[("range", range)]).await.expect(status);
        let found = reply.headers.get("content-range").map_or("", |value| value.to_str().unwrap());
        assert_eq!((reply.body.as_ref(), found), (body.as_bytes(), content_range), "{range}");
    }
    let beyond = client.get_with(X, &[("range", "bytes=10-")]).await;
    refused(&beyond, 416, "InvalidRange");
    assert_eq!(beyond.header("content-range"), "bytes */10");
    assert_eq!(client.get(&format!("{X}?partNumber=1")).await.expect(206).body, "0123456789");
    refused(&client.get(&format!("{X}?partNumber=2")).await, 416, "InvalidPartNumber");
    refused(&client.get(&format!("{X}?partNumber=0")).await, 400, "InvalidArgument");
    refused(&client.get_with(&format!("{X}?partNumber=1"), &[("range", "bytes=0-1")]).await, 400, "InvalidRequest");
}

#[tokio::test]
async fn conditions_of_reads_and_deletes() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    put(&client, X, "content").await.expect(200);
    let (tag, other) = (etag(b"content"), etag(b"other"));
    let modified = client.get(X).await.header("last-modified").to_owned();
    let known = client.get_with(X, &[("if-none-match", &format!("{other}, {tag}"))]).await.expect(304);
    assert_eq!((known.header("etag"), known.body.len()), (tag.as_str(), 0), "304 with its ETag");
    client.get_with(X, &[("if-modified-since", &modified)]).await.expect(304);
    client.get_with(X, &[("if-none-match", &other), ("if-modified-since", &modified)]).await.expect(200);
    client.get_with(X, &[("if-match", &tag)]).await.expect(200);
    refused(&client.get_with(X, &[("if-match", &other)]).await, 412, "PreconditionFailed");
    let before = [("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT")];
    refused(&client.get_with(X, &before).await, 412, "PreconditionFailed");
    let old = "Fri, 01 Jan 1960 00:00:00 GMT";
    refused(&client.get_with(X, &[("if-unmodified-since", old)]).await, 412, "PreconditionFailed");
    for (header, value) in [
        ("if-match", other.as_str()),
        ("x-amz-if-match-size", "8"),
        ("x-amz-if-match-last-modified-time", old),
        ("x-amz-if-match-last-modified-time", "Fri, 01 Jan 2016 00:00:00 GMT"),
    ] {
        refused(&send(&client, Method::DELETE, X, &[(header, value)], "").await, 412, "PreconditionFailed");
    }
    for none in ["", ","] {
        // That such a list may be wrong in itself is the library's business.
        let refused = send(&client, Method::DELETE, X, &[("if-match", none)], "").await;
        assert!(matches!(refused.status, 400 | 412), "{none:?}: {}", refused.status);
    }
    send(&client, Method::DELETE, X, &[("if-match", &tag), ("x-amz-if-match-size", "7")], "").await.expect(204);
    refused(&send(&client, Method::DELETE, X, &[("if-match", &tag)], "").await, 404, "NoSuchKey");
}

#[tokio::test]
async fn conditions_of_writes() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    let put_if =
        async |header: &str, value: &str, body: &str| send(&client, Method::PUT, X, &[(header, value)], body).await;
    refused(&put_if("if-match", &etag(b"none"), "none").await, 404, "NoSuchKey");
    put_if("if-none-match", "*", "one").await.expect(200);
    refused(&put_if("if-none-match", "*", "two").await, 412, "PreconditionFailed");
    refused(&put_if("if-match", &etag(b"two"), "two").await, 412, "PreconditionFailed");
    put_if("if-match", &etag(b"one"), "two").await.expect(200);
    refused(&put_if("if-none-match", &etag(b"x"), "three").await, 501, "NotImplemented");
    assert_eq!(client.get(X).await.body, "two");
}

#[tokio::test]
async fn exactly_one_of_racing_creators_wins() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    for round in 0..5 {
        let path = format!("{B}/race-{round}");
        let racers = (0..16).map(async |racer| {
            let body = format!("racer {racer}");
            (send(&client, Method::PUT, &path, &[("if-none-match", "*")], body.clone()).await.status, body)
        });
        let mut winners = Vec::new();
        for (status, body) in join_all(racers).await {
            assert!(matches!(status, 200 | 412), "{status}");
            winners.extend((status == 200).then_some(body));
        }
        assert_eq!(winners.len(), 1, "exactly one may win");
        assert_eq!(client.get(&path).await.body, winners[0]);
    }
}

#[tokio::test]
async fn awkward_keys() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    let longest = "k".repeat(1_024);
    for key in ["/lead", "a//b", "a+b%20c", "%C3%A9", "e%CC%81", "..%2Fup", "a/./b", "%3Fq%23f%26", longest.as_str()] {
        let path = format!("{B}/{key}");
        put(&client, &path, key).await.expect(200);
        assert_eq!(client.get(&path).await.expect(200).body, key, "{key}");
    }
    refused(&put(&client, &format!("{B}/{longest}k"), "x").await, 400, "KeyTooLongError");
    refused(&put(&client, &format!("{B}/%ff"), "x").await, 400, "InvalidURI");
    put(&client, &format!("{B}/empty"), "").await.expect(200);
    assert_eq!(client.get(&format!("{B}/empty")).await.expect(200).header("content-length"), "0");
}
