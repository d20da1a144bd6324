//! D3, D5, E4, E5: objects as they come, and as they are given back.

use super::{create, delete, put, refused};
use reqwest::Method;
use serde_json::json;
use testing::real::{Cluster, RawReply, encode, md5, random_bytes, sha256};

const HELLO: &str = "a591a6d40bf420404a011733cfb7b190d62c65bf0bcda32b57b277d9ad9f146e";

#[tokio::test]
async fn the_contract_s_own_lines() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let reply = put(&client, "/buckets/test/objects/hello.txt", b"Hello World").await;
    let body = reply.json();
    assert_eq!(body["message"], "Upload successful");
    assert_eq!(body["path"], "/buckets/test/objects/hello.txt");
    assert_eq!(body["etag"], HELLO);
    assert_eq!(body["storage"], "nodes");
    assert_eq!(body["object_id"].as_str().map(str::len), Some(36), "{body}");
    assert_eq!((&body["bucket_name"], &body["object_name"]), (&"test".into(), &"hello.txt".into()));
    assert_eq!((&body["size_bytes"], &body["md5"]), (&11.into(), &md5(b"Hello World").into()));
    assert!(body["created_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{body}");
    assert!((2..=3).contains(&body["receipt"]["copies"].as_u64().expect("a receipt")), "{body}");
    assert_eq!(reply.header("etag"), format!("\"{HELLO}\""));
    assert_eq!(client.get("/buckets/test/objects/hello.txt").await.expect(200).body, "Hello World");
    let head = client.head("/buckets/test/objects/hello.txt").await.expect(200);
    assert_eq!((head.header("content-length"), head.header("etag")), ("11", format!("\"{HELLO}\"").as_str()));
    let expected = json!([{"Bucket": "test", "Key": "hello.txt", "Hash": HELLO, "Size": 11}]);
    assert_eq!(client.get("/objects").await.expect(200).json(), expected);
    assert_eq!(client.get("/objects?bucket=test").await.expect(200).json(), expected);
    // The same object over S3's gateway has S3's ETag: both digests are stored.
    assert_eq!(client.head("/s3/test/hello.txt").await.header("etag"), format!("\"{}\"", md5(b"Hello World")));
    let deleted = delete(&client, "/buckets/test/objects/hello.txt").await.expect(200);
    assert_eq!(deleted.json(), json!({"message": "Delete successful"}));
    refused(delete(&client, "/buckets/test/objects/hello.txt").await, 404, "Object not found");
    refused(client.get("/buckets/test/objects/hello.txt").await, 404, "Object not found");
    refused(client.get("/buckets/no-such/objects/hello.txt").await, 404, "Object not found");
    assert_eq!(client.get("/objects?bucket=test").await.expect(200).json(), json!([]));
}

#[tokio::test]
async fn keys_are_opaque_and_stay_apart() {
    let cluster = Cluster::start().await;
    let port = cluster.coordinator.port;
    let keys = [
        "folder/file.txt",
        "folder//file.txt",
        "/lead",
        "trail/",
        "//",
        "a/b/c/d/e/f",
        "日本語/ключ/🗝.txt",
        "\u{e9}",
        "e\u{301}",
        "a?b#c&d=e+f g;h",
        "%2e%2e%2f",
        "../../x",
        "objects",
        "objects/objects",
        "?versions",
        &"k".repeat(1_024),
    ];
    for (n, key) in keys.iter().enumerate() {
        let path = format!("/buckets/keys/objects/{}", encode(key.as_bytes()));
        let body = format!("content {n}");
        let head = format!("PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let reply = RawReply::to(port, head).await;
        let json: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
        assert_eq!((reply.status, &json["object_name"], &json["version"]), (201, &(*key).into(), &1.into()), "{json}");
        assert_eq!(json["path"], path.as_str());
    }
    for (n, key) in keys.iter().enumerate() {
        let path = format!("/buckets/keys/objects/{}", encode(key.as_bytes()));
        let reply = RawReply::to(port, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!((reply.status, reply.body), (200, format!("content {n}").into_bytes()), "{key:?}");
    }
    let client = cluster.client();
    let listed = client.get("/buckets/keys/objects").await.expect(200).json();
    assert_eq!(listed["count"], keys.len(), "{listed}");
    assert_eq!(client.get("/objects?bucket=keys&prefix=folder").await.json().as_array().map(Vec::len), Some(2));
    let long = format!("/buckets/keys/objects/{}", "k".repeat(1_025));
    for bad in ["/buckets/keys/objects/a%00b", "/buckets/keys/objects/%ff", &long] {
        let reply = client.send(client.request(Method::PUT, bad).body("x")).await.expect(400);
        assert!(reply.json()["detail"].is_string(), "{reply}");
    }
    refused(client.send(client.request(Method::PUT, "/buckets/Keys/objects/a")).await, 400, "Invalid bucket name");
}

#[tokio::test]
async fn what_was_said_of_an_object_is_said_again_by_every_door() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let data = random_bytes(1, 300_000);
    let said = [
        ("content-type", "image/x-test; q=\"1\""),
        ("cache-control", "max-age=60"),
        ("content-disposition", "attachment; filename=\"a b\""),
        ("content-encoding", "x-none"),
        ("content-language", "de"),
        ("expires", "Thu, 01 Dec 2033 16:00:00 GMT"),
        ("x-amz-meta-who", "Zoë"),
        ("x-amz-meta-empty", ""),
    ];
    let request = client.request(Method::PUT, "/buckets/said/objects/o").body(data.clone());
    let request = said.iter().fold(request, |request, (name, value)| request.header(*name, value.as_bytes()));
    assert_eq!(client.send(request).await.expect(201).json()["content_type"], said[0].1);
    for path in ["/buckets/said/objects/o", "/s3/said/o"] {
        for reply in [client.get(path).await.expect(200), client.head(path).await.expect(200)] {
            for (name, value) in said {
                let found = reply.headers.get(name).map(|value| value.as_bytes());
                assert_eq!(found, Some(value.as_bytes()), "{path}: {name}");
            }
            assert_eq!(reply.header("content-security-policy"), "sandbox");
            assert_eq!(reply.header("x-content-type-options"), "nosniff");
        }
    }
    // Written anew, it is what is said now.
    put(&client, "/buckets/said/objects/o", b"").await;
    let empty = client.get("/buckets/said/objects/o").await.expect(200);
    assert_eq!((empty.header("content-type"), empty.header("content-length")), ("application/octet-stream", "0"));
    assert!(!empty.headers.contains_key("x-amz-meta-who") && !empty.headers.contains_key("cache-control"));
    let too_much = client.request(Method::PUT, "/buckets/said/objects/p").header("x-amz-meta-a", "v".repeat(2_048));
    refused(client.send(too_much).await, 400, "Bad request");
    let wrong =
        client.request(Method::PUT, "/buckets/said/objects/p").header("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==");
    refused(client.send(wrong.body("x")).await, 400, "Bad request");
    refused(client.get("/buckets/said/objects/p").await, 404, "Object not found");
}

#[tokio::test]
async fn parts_and_conditions() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let data = random_bytes(2, 2 << 20);
    let path = "/buckets/parts/objects/o";
    let tag = format!("\"{}\"", sha256(&data));
    put(&client, path, &data).await;
    let part = client.get_with(path, &[("range", "bytes=65000-1000000")]).await.expect(206);
    assert!(part.body == data[65_000..1_000_001]);
    assert_eq!(part.header("content-range"), format!("bytes 65000-1000000/{}", data.len()));
    let beyond = client.get_with(path, &[("range", "bytes=9999999-")]).await;
    assert_eq!(beyond.header("content-range"), format!("bytes */{}", data.len()));
    refused(beyond, 416, "Range Not Satisfiable");
    let known = client.get_with(path, &[("if-none-match", &tag)]).await.expect(304);
    assert_eq!((known.header("etag"), known.body.len()), (tag.as_str(), 0));
    client.get_with(path, &[("if-match", &tag)]).await.expect(200);
    refused(client.get_with(path, &[("if-match", "\"other\"")]).await, 412, "Precondition Failed");

    let put_if = async |header: &str, value: &str, data: &'static str| {
        client.send(client.request(Method::PUT, path).header(header, value).body(data)).await
    };
    refused(put_if("if-none-match", "*", "two").await, 412, "Precondition failed");
    refused(put_if("if-match", "\"other\"", "two").await, 412, "Precondition failed");
    put_if("if-match", &tag, "two").await.expect(201);
    // Every ETag that a door gives names the content.
    put_if("if-match", &format!("\"{}\"", md5(b"two")), "three").await.expect(201);
    let remove_if = async |value: String| {
        client.send(client.request(Method::DELETE, path).header("if-match", format!("\"{value}\""))).await
    };
    refused(remove_if(sha256(b"two")).await, 412, "Precondition failed");
    remove_if(sha256(b"three")).await.expect(200);
    client.get(path).await.expect(404);
    refused(put_if("if-match", "*", "four").await, 412, "Precondition failed");
    put_if("if-none-match", "*", "four").await.expect(201);
}

#[tokio::test]
async fn a_bucket_without_versions_has_one_of_each_and_its_name_is_null() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let path = "/buckets/null/objects/o";
    create(&client, "null").await.expect(201);
    for data in ["one", "two"] {
        let reply = put(&client, path, data.as_bytes()).await;
        assert_eq!((&reply.json()["versionId"], reply.header("x-holdfast-version-id")), (&"null".into(), "null"));
    }
    for path in [path.to_owned(), format!("{path}?versionId=null"), "/s3/null/o?versionId=null".to_owned()] {
        let reply = client.get(&path).await.expect(200);
        assert_eq!((&reply.body[..], reply.header("x-holdfast-version-id")), (&b"two"[..], "null"), "{path}");
    }
    let history = client.get("/s3/null/o?versions").await.expect(200).json();
    assert_eq!(history["versions"].as_array().map(Vec::len), Some(1), "{history}");
    assert_eq!(history["versions"][0]["versionId"], "null");
    delete(&client, &format!("{path}?versionId=null")).await.expect(200);
    refused(client.get(path).await, 404, "Object not found");
    delete(&client, "/buckets/null").await.expect(204);
    refused(client.get("/buckets/null/objects/o?versionId=1").await, 400, "Bad Request");
}

#[tokio::test]
async fn equal_content_is_stored_once_and_freed_with_its_last_name() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let data = random_bytes(3, 400_000);
    put(&client, "/buckets/dedup/objects/one", &data).await;
    put(&client, "/buckets/dedup/objects/two", &data).await;
    let listed = client.get("/objects?bucket=dedup").await.expect(200).json();
    assert_eq!(listed[0]["Hash"], listed[1]["Hash"], "{listed}");
    let shared = client.get("/admin/explain?bucket=dedup&key=two").await.expect(200).json();
    assert!(
        shared["chunks"]
            .as_array()
            .is_some_and(|chunks| chunks.iter().all(|chunk| chunk["shared_with"]["versions"] == 1)),
        "{shared}"
    );
    delete(&client, "/buckets/dedup/objects/one").await.expect(200);
    assert!(client.get("/buckets/dedup/objects/two").await.expect(200).body == data);
}
