//! B5, B7, B8: objects as they come, and as they are given back.

use super::{delete, etag, put};
use reqwest::Method;
use serde_json::json;
use testing::real::{Cluster, random_bytes};

#[tokio::test]
async fn the_contract_s_own_lines() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let request =
        client.request(Method::PUT, "/s3/my-bucket/file1.txt").header("content-type", "application/octet-stream");
    let reply = client.send(request.body("Hello Distributed World")).await.expect(200);
    let body = reply.json();
    assert_eq!(body["message"], "Uploaded");
    let id = body["versionId"].as_str().expect("a version id").to_owned();
    assert_eq!(id.len(), 36, "{body}");
    // Two on a machine so busy that the last replica came after the reply.
    let copies = body["receipt"]["copies"].as_u64().expect("a receipt");
    assert!((2..=3).contains(&copies), "{body}");
    let told = format!("copies={copies}; fsynced={copies}; pending={}; survives={}", 3 - copies, copies - 1);
    assert_eq!(reply.header("x-holdfast-durability"), told);
    assert_eq!(reply.header("x-holdfast-version-id"), id);
    assert_eq!(reply.header("etag"), etag(b"Hello Distributed World"));
    assert_eq!(client.get("/s3/my-bucket/file1.txt").await.expect(200).body, "Hello Distributed World");
    for missing in ["/s3/my-bucket/file2.txt", "/s3/no-such-bucket/file1.txt", "/s3/no-such-bucket"] {
        let reply = client.get(missing).await.expect(404);
        assert_eq!(reply.json(), json!({"error": "Not Found"}), "{missing}");
    }
}

#[tokio::test]
async fn a_body_of_any_type_and_size_is_stored_as_it_comes() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let cases: [(&str, Vec<u8>); 6] = [
        ("image/png", random_bytes(1, 70_000)),
        ("application/x-www-form-urlencoded", b"a=b&c=%ff".to_vec()),
        ("multipart/form-data; boundary=x", b"--x--".to_vec()),
        ("application/json", b"{not json".to_vec()),
        ("text/html; charset=\"utf-8\"", b"<script>alert(1)</script>".to_vec()),
        ("application/octet-stream", random_bytes(2, 5 << 20)),
    ];
    for (n, (media_type, data)) in cases.iter().enumerate() {
        let path = format!("/s3/any-type/{n}");
        let request = client.request(Method::PUT, &path).header("content-type", *media_type);
        client.send(request.body(data.clone())).await.expect(200);
        let whole = client.get(&path).await.expect(200);
        assert!(whole.body == *data, "{media_type}");
        assert_eq!(whole.header("content-type"), *media_type);
        assert_eq!(whole.header("etag"), etag(data), "{media_type}");
        // Whoever stores a page must not get to act in this origin's name.
        assert_eq!(whole.header("content-security-policy"), "sandbox");
        assert_eq!(whole.header("x-content-type-options"), "nosniff");
        let head = client.head(&path).await.expect(200);
        assert_eq!(head.body, "");
        for name in
            ["content-length", "etag", "last-modified", "content-type", "x-holdfast-version-id", "accept-ranges"]
        {
            assert!(!head.header(name).is_empty() && head.header(name) == whole.header(name), "{media_type}: {name}");
        }
    }
    // No type and no bytes: both are fine.
    client.send(client.request(Method::PUT, "/s3/any-type/empty")).await.expect(200);
    let empty = client.get("/s3/any-type/empty").await.expect(200);
    assert_eq!((empty.header("content-type"), empty.header("content-length")), ("application/octet-stream", "0"));
    assert_eq!(empty.header("etag"), etag(b""));
}

#[tokio::test]
async fn content_md5_is_checked_before_anything_is_seen() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    // Of a small object, and of one that is stored page by page before its end is known.
    for (key, data, right) in
        [("small", b"abc".to_vec(), Some("kAFQmDzST7DWlj99KOF/cg==")), ("large", random_bytes(3, 12 << 20), None)]
    {
        let path = format!("/s3/checked/{key}");
        let with_md5 = |md5: &str| client.request(Method::PUT, &path).header("content-md5", md5).body(data.clone());
        let reply = client.send(with_md5("AAAAAAAAAAAAAAAAAAAAAA==")).await.expect_error(400, "Bad Request");
        assert!(reply.json()["detail"].as_str().is_some_and(|detail| detail.contains("MD5")), "{reply}");
        for bad in ["", "kAFQmDzST7DWlj99KOF/cg", "900150983cd24fb0d6963f7d28e17f72", "kAFQmDzST7DWlj99KOF/ch=="] {
            client.send(with_md5(bad)).await.expect_error(400, "Bad Request");
        }
        client.get(&path).await.expect(404);
        client.get(&format!("{path}?versions")).await.expect(404);
        if let Some(right) = right {
            let reply = client.send(with_md5(right)).await.expect(200);
            assert_eq!((reply.header("etag"), reply.header("x-holdfast-version")), (etag(&data).as_str(), "1"));
        }
    }
    let listed = client.get("/s3/checked").await.expect(200).json();
    assert_eq!(listed["count"], 1, "{listed}");
}

#[tokio::test]
async fn ranges_are_cut_exactly() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let data = random_bytes(4, 3 << 20);
    let size = data.len();
    put(&client, "/s3/ranges/r.bin", &data).await;
    for (range, expected) in [
        ("bytes=0-0", 0..1),
        ("bytes=65000-2000000", 65_000..2_000_001),
        ("bytes=-3", size - 3..size),
        ("bytes=5-", 5..size),
    ] {
        let reply = client.get_with("/s3/ranges/r.bin", &[("range", range)]).await.expect(206);
        let told = format!("bytes {}-{}/{size}", expected.start, expected.end - 1);
        assert_eq!(reply.header("content-range"), told, "{range}");
        assert_eq!(reply.header("etag"), etag(&data));
        assert!(reply.body == data[expected], "{range}");
    }
    let beyond = format!("bytes={size}-");
    let reply = client.get_with("/s3/ranges/r.bin", &[("range", &beyond)]).await.expect(416);
    assert_eq!(reply.header("content-range"), format!("bytes */{size}"));
}

#[tokio::test]
async fn one_namespace_lies_behind_both_doors() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    client.upload("dir/a b.txt", b"by form").await;
    let here = client.get("/s3/files/dir/a%20b.txt").await.expect(200);
    assert_eq!(here.body, "by form");
    assert_eq!(here.header("etag"), etag(b"by form"));
    put(&client, "/s3/files/dir/a%20b.txt", b"by put").await;
    assert_eq!(client.download("dir/a b.txt", None).await.expect(200).body, "by put");
    assert_eq!(client.download("dir/a b.txt", Some(1)).await.expect(200).body, "by form");
    assert_eq!(client.names("dir/").await, ["dir/a b.txt"]);
    delete(&client, "/s3/files/dir/a%20b.txt").await.expect(200);
    client.download("dir/a b.txt", None).await.expect(404);
    // Other buckets are other names.
    put(&client, "/s3/other/dir/a%20b.txt", b"elsewhere").await;
    client.download("dir/a b.txt", None).await.expect(404);
    assert!(client.names("").await.is_empty());
}

#[tokio::test]
async fn buckets_are_listed_by_key_in_pages() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    assert_eq!(client.get("/s3/files").await.expect(200).json()["objects"], json!([]), "this bucket is always there");
    for key in ["b/2", "a", "b/10", "%C3%A9", "b/1"] {
        put(&client, &format!("/s3/listed/{key}"), key.as_bytes()).await;
    }
    let keys = |page: &serde_json::Value| -> Vec<String> {
        let objects = page["objects"].as_array().expect("objects are listed");
        objects.iter().map(|object| object["key"].as_str().expect("a key").to_owned()).collect()
    };
    for path in ["/s3/listed", "/s3/listed/"] {
        let page = client.get(path).await.expect(200).json();
        assert_eq!(keys(&page), ["a", "b/1", "b/10", "b/2", "é"], "{path}");
        assert_eq!((&page["bucket"], &page["count"], &page["next"]), (&"listed".into(), &5.into(), &json!(null)));
    }
    let page = client.get("/s3/listed?prefix=b/&limit=2").await.expect(200).json();
    assert_eq!((keys(&page), page["next"].as_str()), (vec!["b/1".to_owned(), "b/10".to_owned()], Some("b/10")));
    let page = client.get("/s3/listed?prefix=b/&limit=2&after=b/10").await.expect(200).json();
    assert_eq!(keys(&page), ["b/2"]);
    assert_eq!(page["objects"][0]["size"], 3);
    for bad in ["limit=0", "limit=1001", "prefix=%00", "after=a%00", "prefix=%ff"] {
        client.get(&format!("/s3/listed?{bad}")).await.expect(400);
    }
    for key in ["b/2", "a", "b/10", "%C3%A9", "b/1"] {
        delete(&client, &format!("/s3/listed/{key}")).await.expect(200);
    }
    assert_eq!(client.get("/s3/listed").await.expect(200).json()["count"], 0, "emptied, but not unknown");
}
