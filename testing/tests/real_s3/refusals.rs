//! What is not done is said; what is wrong has S3's name for it and leaves nothing behind.

use super::{B, make_bucket, put, refused, send, told};
use base64::Engine;
use reqwest::Method;
use std::time::Duration;
use testing::real::{Cluster, Plan, RawConnection};

#[tokio::test]
async fn what_is_not_done_is_never_a_success() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    put(&client, &format!("{B}/x"), "x").await.expect(200);
    for (method, target) in [
        (Method::GET, "?acl"),
        (Method::PUT, "?acl"),
        (Method::GET, "?policy"),
        (Method::PUT, "?policy"),
        (Method::GET, "?encryption"),
        (Method::GET, "?website"),
        (Method::GET, "?replication"),
        (Method::GET, "?notification"),
        (Method::PUT, "?publicAccessBlock"),
        (Method::PUT, "?metadataConfiguration"),
        (Method::GET, "/x?acl"),
        (Method::GET, "/x?torrent"),
        (Method::POST, "/x?restore"),
        (Method::POST, "/x?select&select-type=2"),
        (Method::PUT, "/x?renameObject"),
        (Method::PATCH, "/x"),
    ] {
        let reply = send(&client, method.clone(), &format!("{B}{target}"), &[], "<nonsense").await;
        assert_eq!(told(&reply), (501, "NotImplemented".to_owned()), "{method} {target}");
    }
    for (name, value) in [
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-acl", "public-read-write"),
        ("x-amz-grant-full-control", "id=x"),
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-website-redirect-location", "/y"),
        ("x-amz-write-offset-bytes", "1"),
    ] {
        refused(&send(&client, Method::PUT, &format!("{B}/y"), &[(name, value)], "y").await, 501, "NotImplemented");
    }
    refused(&client.get(&format!("{B}/y")).await, 404, "NoSuchKey");
}

#[tokio::test]
async fn a_sub_resource_is_never_taken_for_the_whole() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    put(&client, &format!("{B}/x"), "x").await.expect(200);
    put(&client, "/empty", "").await.expect(200);
    for (method, target) in [
        (Method::PUT, "/bucket/x?encryption"),
        (Method::PUT, "/bucket/x?uploads"),
        (Method::PUT, "/bucket/x?versioning"),
        (Method::DELETE, "/bucket/x?legal-hold"),
        (Method::DELETE, "/bucket/x?retention"),
        (Method::DELETE, "/bucket/x?partNumber=1"),
        (Method::GET, "/bucket/x?uploads"),
        (Method::GET, "/bucket/x?versions"),
        (Method::GET, "/bucket/x?restore"),
        (Method::DELETE, "/empty?versioning"),
        (Method::DELETE, "/empty?acl"),
        (Method::DELETE, "/empty?object-lock"),
        (Method::PUT, "/fresh?uploads"),
        (Method::PUT, "/fresh?location"),
        (Method::GET, "/?versioning"),
    ] {
        let reply = send(&client, method.clone(), target, &[], "<nonsense/>").await;
        refused(&reply, 501, "NotImplemented");
    }
    client.get("/empty").await.expect(200);
    refused(&client.get("/fresh").await, 404, "NoSuchBucket");
    let mine = "x-id=GetObject&versionId=null&response-content-type=a%2Fb&prefix=p&mine=1";
    let got = client.get(&format!("{B}/x?{mine}")).await.expect(200);
    assert_eq!((got.body.as_ref(), got.header("content-type")), (&b"x"[..], "a/b"), "other parameters do no harm");
}

#[tokio::test]
async fn names_have_rules() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    for name in ["/ab", "/Bad-Name", "/a_b_c", "/192.168.1.1", "/-abc", "/abc-", "/xn--abc"] {
        refused(&put(&client, name, "").await, 400, "InvalidBucketName");
    }
}

#[tokio::test]
async fn what_is_out_of_date_is_refused_whatever_key_signed_it() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    put(&client, &format!("{B}/x"), "x").await.expect(200);
    let signed = "AWS4-HMAC-SHA256 Credential=any/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
    let stale = [("authorization", signed), ("x-amz-date", "20200101T000000Z")];
    refused(&client.get_with(&format!("{B}/x"), &stale).await, 403, "RequestTimeTooSkewed");
    let url = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=any%2F20200101%2Fus-east-1%2Fs3%2Faws4_request\
               &X-Amz-Date=20200101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=0";
    refused(&client.get(&format!("{B}/x?{url}")).await, 403, "AccessDenied");
    client.get_with(&format!("{B}/x"), &[("authorization", signed)]).await.expect(200);
}

#[tokio::test]
async fn bodies_have_a_length_and_come_in_time() {
    let cluster = Plan::new().coordinator_flag("--body-stall-s", "1").start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    let mut connection = RawConnection::open(cluster.s3_port()).await;
    connection.send("PUT /bucket/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n").await;
    let reply = connection.reply().await.expect("an answer");
    assert_eq!(reply.status, 411, "{}", reply.head);
    let mut connection = RawConnection::open(cluster.s3_port()).await;
    connection.send("PUT /bucket/x HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nfive.").await;
    let reply = connection.reply().await.expect("an answer");
    assert_eq!(reply.status, 400, "{}", reply.head);
    assert!(String::from_utf8_lossy(&reply.body).contains("<Code>RequestTimeout</Code>"));
    refused(&client.get(&format!("{B}/x")).await, 404, "NoSuchKey");
    let mut connection = RawConnection::open(cluster.s3_port()).await;
    connection.send("GET /bucket/x HTTP/1.1\r\nhost: x\r\n").await;
    assert!(connection.hangs_up(Duration::from_secs(15)).await, "a head has to come in time");
    // The server has hung up on a connection that stood still.
    let client = cluster.s3();
    let long = "v".repeat(20 << 10);
    let reply = client.get_with(&format!("{B}/x"), &[("x-amz-meta-long", &long)]).await;
    assert_eq!(told(&reply).1, "RequestHeaderSectionTooLarge");
    let huge = [
        ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ("x-amz-decoded-content-length", "5368709121"),
    ];
    refused(&send(&client, Method::PUT, &format!("{B}/x"), &huge, "x").await, 400, "EntityTooLarge");
}

/// botocore takes an answer in place of a 100 for the one to its next request, unless the connection ends with it.
#[tokio::test]
async fn who_waits_for_a_hundred_with_nothing_to_send_is_answered_and_hung_up_on() {
    let cluster = Cluster::start().await;
    make_bucket(&cluster.s3()).await;
    let mut connection = RawConnection::open(cluster.s3_port()).await;
    connection.send("PUT /bucket/empty HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 0\r\n\r\n").await;
    let reply = connection.reply().await.expect("an answer");
    assert!(reply.status == 200 && reply.head.to_lowercase().contains("connection: close"), "{}", reply.head);
    assert!(connection.hangs_up(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_host_name_below_the_domain_is_a_bucket() {
    let cluster = Plan::new().coordinator_flag("--s3-domain", "s3.example").start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    let host = [("host", "bucket.s3.example")];
    send(&client, Method::PUT, "/a/b", &host, "there").await.expect(200);
    assert_eq!(client.get(&format!("{B}/a/b")).await.expect(200).body, "there");
    assert_eq!(client.get_with("/a/b", &host).await.expect(200).body, "there");
    refused(&client.get_with("/a/b", &[("host", "none.s3.example")]).await, 404, "NoSuchBucket");
}

/// No name holds a NUL, and nothing that names are compared with.
#[tokio::test]
async fn a_nul_in_a_parameter_is_refused_at_every_list() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    for target in [
        "/?prefix=%00",
        "/bucket?list-type=2&prefix=%00",
        "/bucket?list-type=2&start-after=a%00",
        "/bucket?list-type=2&continuation-token=YQBi",
        "/bucket?prefix=a%00b",
        "/bucket?marker=%00",
        "/bucket?delimiter=%00",
        "/bucket?versions&key-marker=%00",
        "/bucket?uploads&prefix=%00",
        "/bucket?uploads&key-marker=%00",
    ] {
        refused(&client.get(target).await, 400, "InvalidArgument");
    }
    let rule = "<LifecycleConfiguration><Rule><ID>a</ID><Status>Enabled</Status><Filter><Prefix>a&#0;</Prefix></Filter>\
                <Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>";
    let md5 =
        base64::engine::general_purpose::STANDARD.encode(hex::decode(testing::real::md5(rule.as_bytes())).unwrap());
    let md5 = [("content-md5", md5.as_str())];
    let reply = send(&client, Method::PUT, &format!("{B}?lifecycle"), &md5, rule).await;
    assert_eq!(reply.status, 400, "{reply}");
}

/// A precondition that is not understood must not be passed over (RFC 9110, 13.1).
#[tokio::test]
async fn a_delete_with_a_condition_that_is_not_done_deletes_nothing() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    put(&client, &format!("{B}/x"), "x").await.expect(200);
    for condition in [
        ("if-none-match", "*"),
        ("if-unmodified-since", "Thu, 01 Jan 2015 00:00:00 GMT"),
        ("if-modified-since", "Thu, 01 Jan 2015 00:00:00 GMT"),
    ] {
        refused(&send(&client, Method::DELETE, &format!("{B}/x"), &[condition], "").await, 501, "NotImplemented");
    }
    client.get(&format!("{B}/x")).await.expect(200);
}

/// A reader of XML takes a bare carriage return for a line feed, and deletes another key than it was shown.
#[tokio::test]
async fn keys_with_carriage_returns_are_told_apart_in_lists() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    for key in ["a%0Db", "a%0Ab"] {
        put(&client, &format!("{B}/{key}"), "a\rb").await.expect(200);
    }
    let page = client.get(&format!("{B}?list-type=2")).await.expect(200).to_string();
    assert!(page.contains("<Key>a&#13;b</Key>") && page.contains("<Key>a\nb</Key>"), "{page}");
    let head = [("content-type", "application/xml")];
    send(&client, Method::PUT, &format!("{B}/xml"), &head, "<a>\r</a>").await.expect(200);
    assert_eq!(client.get(&format!("{B}/xml")).await.expect(200).body, "<a>\r</a>", "content is nobody's to change");
}

#[tokio::test]
async fn a_sha256_is_a_promise_without_a_signature_too() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    let of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let head = [("x-amz-content-sha256", of_nothing)];
    let reply = send(&client, Method::PUT, &format!("{B}/x"), &head, "x").await;
    refused(&reply, 400, "XAmzContentSHA256Mismatch");
    send(&client, Method::PUT, &format!("{B}/x"), &head, "").await.expect(200);
}

#[tokio::test]
async fn whoever_sends_all_of_a_refused_body_hears_why() {
    const PIECE: usize = 1 << 20;
    const PIECES: usize = 48;
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    let s3 = ("PUT /bucket/x", "x-amz-storage-class: GLACIER\r\n", cluster.s3_port(), 501);
    let native = ("PUT /buckets/No/objects/x", "", cluster.coordinator.port, 400);
    for (request, header, port, status) in [s3, native] {
        let mut connection = RawConnection::open(port).await;
        let length = PIECE * PIECES;
        let head = format!("{request} HTTP/1.1\r\nHost: localhost\r\n{header}Content-Length: {length}\r\n\r\n");
        connection.send(head).await;
        for piece in 0..PIECES {
            assert!(connection.try_send(vec![0; PIECE]).await, "{request}: hung up before piece {piece}");
            // Longer, in all, than a server waits that closes without a thought for who still sends.
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        let reply = connection.reply().await.expect("an answer");
        assert_eq!(reply.status, status, "{}", reply.head);
    }
}
