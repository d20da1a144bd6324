//! Names and requests that no client library would send: opaque, refused with a status that fits, and nothing breaks.

use super::put;
use reqwest::Method;
use std::time::{Duration, Instant};
use testing::real::{Cluster, Plan, RawConnection, RawReply, encode, scan_for};

/// Part of every name that tries to leave; nothing on disk may be called so.
const ESCAPE: &str = "holdfast-escape-51ce";

#[tokio::test]
async fn awkward_keys_round_trip_and_stay_apart() {
    let cluster = Cluster::start().await;
    let port = cluster.coordinator.port;
    let keys: Vec<Vec<u8>> = [
        "..",
        "../../holdfast-escape-51ce",
        "/holdfast-escape-51ce",
        "//",
        "a//b",
        "a/b/",
        "%2e%2e%2f",
        "a?b#c&d=e+f g;h",
        "new\nline\r\nSet-Cookie: x",
        "tab\t\u{7f}\u{1}",
        "\u{e9}",
        "e\u{301}",
        "日本語/ключ/🗝",
        "CON",
        "versions",
        "?versions",
        "'\"`$(id)|\\",
    ]
    .iter()
    .map(|key| key.as_bytes().to_vec())
    .chain([vec![b'k'; 1_024]])
    .collect();
    for (n, key) in keys.iter().enumerate() {
        let body = format!("content {n}");
        let request = format!(
            "PUT /s3/hostile/{} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            encode(key),
            body.len()
        );
        let reply = RawReply::to(port, request).await;
        assert_eq!(reply.status, 200, "{:?}: {}", String::from_utf8_lossy(key), reply.head);
        let json: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
        assert_eq!(json["version"], 1, "{:?} collides", String::from_utf8_lossy(key));
    }
    for (n, key) in keys.iter().enumerate() {
        let reply = RawReply::to(port, format!("GET /s3/hostile/{} HTTP/1.1\r\nHost: x\r\n\r\n", encode(key))).await;
        assert_eq!((reply.status, reply.body), (200, format!("content {n}").into_bytes()), "{key:?}");
        assert!(!reply.head.to_lowercase().contains("set-cookie"), "{key:?} broke out of its header");
    }
    let listed = cluster.client().get("/s3/hostile").await.expect(200).json();
    assert_eq!(listed["count"], keys.len(), "{listed}");
    assert!(scan_for(cluster.root(), ESCAPE).is_empty(), "a key became a path");
}

#[tokio::test]
async fn names_that_are_none_are_refused_everywhere() {
    let cluster = Cluster::start().await;
    let port = cluster.coordinator.port;
    let long = "k".repeat(1_025);
    let buckets = [
        "ab",
        "Upper",
        "under_score",
        "dot..ted",
        "a.-b",
        "%2e%2e",
        "a%2Fb",
        "%00%00%00",
        "%ff%fe%fd",
        &"b".repeat(64),
    ];
    let paths = buckets.iter().map(|bucket| format!("/s3/{bucket}/key"));
    let keys = ["%00", "a%00b", "%ff%fe", "%ed%a0%80", "%c0%af", long.as_str()];
    let paths = paths.chain(keys.iter().map(|key| format!("/s3/good-bucket/{key}")));
    for path in paths.chain(["/s3//key".to_owned()]) {
        for method in ["GET", "HEAD", "DELETE", "PUT"] {
            let reply = RawReply::to(
                port,
                format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
            )
            .await;
            // An empty segment matches no route at all.
            let refused = reply.status == 400 || path == "/s3//key" && reply.status == 404;
            assert!(refused, "{method} {path}: {}", reply.head);
        }
    }
    let client = cluster.client();
    let dotted = client.send(client.request(Method::PUT, "/s3/dot.ted/key").body("x")).await.expect(400);
    assert!(dotted.json()["detail"].as_str().is_some_and(|why| why.contains("dots")), "{dotted}");
    client.get("/s3/dot.ted/key").await.expect(404);
    for bucket in ["ab", "Upper", "a..b"] {
        client.get(&format!("/s3/{bucket}")).await.expect(400);
    }
    client.get("/s3/good-bucket").await.expect_error(404, "Not Found");
    client.send(client.request(Method::PUT, "/s3/good-bucket/").body("x")).await.expect(405);
    client.send(client.request(Method::DELETE, "/s3/good-bucket/")).await.expect(405);
}

#[tokio::test]
async fn methods_that_a_path_does_not_take_are_405() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    for (path, method, allowed) in [
        ("/s3/bucket", "PUT", "GET"),
        ("/s3/bucket", "DELETE", "GET"),
        ("/s3/bucket/key", "POST", "DELETE, GET, HEAD, PUT"),
    ] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let reply = client.send(client.request(method, path)).await.expect(405);
        assert_eq!(reply.header("allow"), allowed, "{path}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_stands_still_or_is_too_large_leaves_nothing() {
    let plan = Plan::new().coordinator_flag("--body-stall-s", "1").coordinator_flag("--upload-bytes-max", "1MiB");
    let cluster = plan.start().await;
    let port = cluster.coordinator.port;
    let client = cluster.client();
    put(&client, "/s3/bounds/fits", &vec![7; 1 << 20]).await;
    let too_large = client.request(Method::PUT, "/s3/bounds/announced").body(vec![7; (1 << 20) + 1]);
    client.send(too_large).await.expect(413);

    // More than is taken, not announced.
    let mut connection = RawConnection::open(port).await;
    connection.send("PUT /s3/bounds/chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let piece = [b"40000\r\n".as_slice(), &[7; 0x40000], b"\r\n"].concat();
    for _ in 0..5 {
        connection.send(&piece).await;
    }
    assert_eq!(connection.reply().await.map(|reply| reply.status), Some(413));

    // Nothing more comes.
    let began = Instant::now();
    let mut connection = RawConnection::open(port).await;
    connection.send("PUT /s3/bounds/stalled HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello").await;
    assert_eq!(connection.reply().await.map(|reply| reply.status), Some(408));
    assert!(began.elapsed() >= Duration::from_secs(1));

    // The client goes away.
    let mut connection = RawConnection::open(port).await;
    connection.send("PUT /s3/bounds/broken HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello").await;
    drop(connection);
    let mut connection = RawConnection::open(port).await;
    connection
        .send("PUT /s3/bounds/broken HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")
        .await;
    assert_eq!(connection.reply().await.map(|reply| reply.status), Some(400));

    let listed = client.get("/s3/bounds").await.expect(200).json();
    assert_eq!((&listed["count"], &listed["objects"][0]["key"]), (&1.into(), &"fits".into()), "{listed}");
}

/// RFC 9110, 14.5: it would take the place of the whole.
#[tokio::test]
async fn a_part_of_an_object_does_not_replace_the_whole() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    for path in ["/s3/parts/big", "/buckets/parts/objects/whole"] {
        client.send(client.request(Method::PUT, path).body("1234567890")).await;
        let part = client.request(Method::PUT, path).header("content-range", "bytes 8-9/10").body("ab");
        client.send(part).await.expect(400);
        assert_eq!(client.get(path).await.expect(200).body, "1234567890", "{path}");
    }
}

#[tokio::test]
async fn a_host_that_is_none_is_refused() {
    let cluster = Cluster::start().await;
    for (host, status) in
        [("a b", 400), ("u@h", 400), ("[::1", 400), ("", 200), ("h.example:80", 200), ("[::1]:8080", 200)]
    {
        let request = format!("GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(RawReply::to(cluster.coordinator.port, request).await.status, status, "{host:?}");
    }
}

/// HTTP/1.0 has bodies that end with the connection. S3 takes none without a length, whatever the version.
#[tokio::test]
async fn a_body_without_a_length_replaces_nothing() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    put(&client, "/s3/bucket/there", b"first").await;
    let write = client.request(Method::POST, "/write?key=there").header("content-type", "application/json");
    client.send(write.body(r#"{"a":1}"#)).await.expect(200);
    let native = cluster.coordinator.port;
    for (port, request) in [
        (native, "PUT /s3/bucket/there HTTP/1.0"),
        (native, "PUT /buckets/bucket/objects/there HTTP/1.0"),
        (native, "POST /write?key=there HTTP/1.0"),
        (native, "POST /upload HTTP/1.0"),
        (native, "POST /upload HTTP/1.1"),
        (cluster.s3_port(), "PUT /bucket/there HTTP/1.0"),
        (cluster.s3_port(), "PUT /bucket/there HTTP/1.1"),
    ] {
        let mut connection = RawConnection::open(port).await;
        connection.send(format!("{request}\r\nhost: x\r\ncontent-type: application/json\r\n\r\nsecond")).await;
        let reply = connection.reply().await.expect("an answer");
        // The library refuses a POST of HTTP/1.0 before it comes here, and what is no form has no file, however long it is.
        let status = if request.starts_with("POST") { 400 } else { 411 };
        assert_eq!(reply.status, status, "{request}: {}", String::from_utf8_lossy(&reply.body));
    }
    let mut connection = RawConnection::open(native).await;
    let form = "content-type: multipart/form-data; boundary=e";
    connection.send(format!("POST /upload HTTP/1.1\r\nhost: x\r\n{form}\r\n\r\n--e")).await;
    assert_eq!(connection.reply().await.expect("an answer").status, 411);
    assert_eq!(client.get("/s3/bucket/there").await.expect(200).body, "first");
    assert_eq!(client.get("/read/there").await.expect(200).json()["a"], 1);
    // In HTTP/1.1 a request that says nothing of a body has none (RFC 9112, 6.3), and clients send empty ones so.
    let mut connection = RawConnection::open(native).await;
    connection.send("PUT /s3/bucket/empty HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(connection.reply().await.expect("an answer").status, 200);
    assert_eq!(client.get("/s3/bucket/empty").await.expect(200).body, "");
}
