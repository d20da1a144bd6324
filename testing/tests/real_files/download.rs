//! A9: downloads by either path, of any version, whole and in parts.

use reqwest::Method;
use testing::real::{Client, Cluster, RawConnection, random_bytes, sha256};

#[tokio::test]
async fn the_errors_are_the_contract_s() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    client.upload("x", b"one").await;
    client.upload("x", b"two").await;
    for path in ["/download?filename=x&version=9", "/files/x?version=9"] {
        client.get(path).await.expect_error(404, "Version 9 of file 'x' does not exist");
    }
    client.get("/download?filename=x&version=0").await.expect_error(404, "Version 0 of file 'x' does not exist");
    client.get("/download?filename=y").await.expect_error(404, "File 'y' does not exist");
    client.get("/files/y").await.expect_error(404, "File 'y' does not exist");
    for bad in ["abc", "-1", "1.0", "", "%2B1", "1e3", "0x1", "18446744073709551616", "%20", "1%00"] {
        for path in [format!("/download?filename=x&version={bad}"), format!("/files/x?version={bad}")] {
            client.get(&path).await.expect_error(400, "Invalid version number format");
        }
    }
    client.get("/download").await.expect(400);
    client.get("/versions").await.expect(400);
    assert_eq!(client.head("/download?filename=y").await.expect(404).body, "");
}

#[tokio::test]
async fn both_paths_and_head_tell_the_same() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let data = random_bytes(1, 100_000);
    client.upload("dir/picture one.png", &data).await;
    client.upload("dir/picture one.png", b"second").await;
    let by_query = "/download?filename=dir/picture%20one.png&version=1";
    let by_path = "/files/dir/picture%20one.png?version=1";
    let whole = client.get(by_query).await.expect(200);
    assert!(whole.body == data);
    assert!(client.get(by_path).await.expect(200).body == data);
    for path in [by_query, by_path] {
        let head = client.head(path).await.expect(200);
        assert_eq!(head.body, "");
        for name in ["content-length", "etag", "last-modified", "content-type", "content-disposition", "accept-ranges"]
        {
            assert!(!head.header(name).is_empty(), "HEAD lacks {name}");
            assert_eq!(head.header(name), whole.header(name), "{name}");
        }
    }
    assert_eq!(whole.header("etag"), format!("\"{}\"", sha256(&data)));
    assert_eq!(whole.header("content-type"), "application/octet-stream");
    let disposition = whole.header("content-disposition");
    assert!(disposition.starts_with("attachment; filename=\"dir/picture one.png\""), "{disposition}");
    assert!(disposition.ends_with("filename*=UTF-8''dir%2Fpicture%20one.png"), "{disposition}");
    assert_eq!(client.get("/files/dir/picture%20one.png").await.expect(200).body, "second");
}

#[tokio::test]
async fn ranges_are_cut_exactly() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let data = random_bytes(2, 5 << 20);
    let size = data.len();
    client.upload("ranged.bin", &data).await;
    let last = format!("bytes={}-", size - 1);
    let long_suffix = format!("bytes=-{}", size + 5);
    let crossing = format!("bytes=65000-{}", 3 << 20);
    let past_end = format!("bytes={}-{}", size - 10, size + 1_000);
    for (range, expected) in [
        ("bytes=0-0", 0..1),
        ("bytes=0-", 0..size),
        ("bytes=5-9", 5..10),
        (last.as_str(), size - 1..size),
        ("bytes=-3", size - 3..size),
        (long_suffix.as_str(), 0..size),
        (crossing.as_str(), 65_000..(3 << 20) + 1),
        (past_end.as_str(), size - 10..size),
    ] {
        let reply = part(&client, range).await.expect(206);
        let told = format!("bytes {}-{}/{size}", expected.start, expected.end - 1);
        assert_eq!(reply.header("content-range"), told, "{range}");
        assert_eq!(reply.header("content-length"), expected.len().to_string(), "{range}");
        assert!(reply.body == data[expected], "{range}");
    }
    for beyond in [format!("bytes={size}-"), format!("bytes={}-{}", size + 1, size + 2), "bytes=-0".to_owned()] {
        let reply = part(&client, &beyond).await.expect(416);
        assert_eq!(reply.header("content-range"), format!("bytes */{size}"), "{beyond}");
    }
    // What is not one range of bytes is answered with the whole.
    for ignored in ["bytes=1-2,5-6", "bytes=9-5", "items=0-1", "bytes=x-"] {
        let reply = part(&client, ignored).await.expect(200);
        assert_eq!(reply.body.len(), size, "{ignored}");
    }
}

#[tokio::test]
async fn a_range_of_an_older_version_is_of_that_version() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    client.upload("v.bin", b"0123456789").await;
    client.upload("v.bin", b"abcdefghijklmnop").await;
    let reply = client.get_with("/download?filename=v.bin&version=1", &[("range", "bytes=-3")]).await.expect(206);
    assert_eq!(reply.body, "789");
    assert_eq!(client.get_with("/files/v.bin", &[("range", "bytes=-3")]).await.expect(206).body, "nop");
}

async fn part(client: &Client, range: &str) -> testing::real::Reply {
    client.get_with("/download?filename=ranged.bin", &[("range", range)]).await
}

/// RFC 9110, 9.1: the same head as GET's, and no body; a connection that is kept finds its place again.
#[tokio::test]
async fn head_is_answered_wherever_get_is() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    client.upload("a", b"content").await;
    client.send(client.request(Method::POST, "/write?key=d").body("{\"a\":1}")).await;
    let port = cluster.coordinator.port;
    for path in [
        "/files",
        "/versions?filename=a",
        "/buckets",
        "/buckets/files/objects",
        "/objects",
        "/s3/files",
        "/read/d",
        "/receipt?filename=a",
        "/openapi.json",
        "/node_status",
        "/storage_usage",
        "/admin/workers",
        "/health/live",
        "/versions?filename=none",
    ] {
        let got = client.get(path).await;
        let mut connection = RawConnection::open(port).await;
        connection.send(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        let head = connection.head_reply().await;
        assert_eq!(head.status, got.status, "{path}: {}", head.head);
        connection.send("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(connection.reply().await.unwrap().body, b"{\"status\":\"live\"}", "{path}");
    }
    client.send(client.request(Method::HEAD, "/upload")).await.expect(405);
    client.send(client.request(Method::HEAD, "/no-such-path")).await.expect(404);
}
