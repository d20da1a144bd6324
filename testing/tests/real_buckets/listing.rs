//! E3, D4: listings by page and by prefix, and the array of everything.

use super::{put, refused};
use reqwest::Method;
use serde_json::Value;
use testing::real::{Client, Cluster, RawReply};

fn texts(array: &Value, field: &str) -> Vec<String> {
    let lines = array.as_array().expect("an array").iter();
    lines.map(|line| line[field].as_str().or(line.as_str()).expect("text").to_owned()).collect()
}

async fn fill(client: &Client, bucket: &str, keys: &[&str]) {
    for key in keys {
        put(client, &format!("/buckets/{bucket}/objects/{key}"), key.as_bytes()).await;
    }
}

#[tokio::test]
async fn a_bucket_is_listed_by_prefix_delimiter_and_page() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    fill(&client, "list", &["a", "folder/1", "folder/2", "folder/sub/3", "folderol", "z"]).await;
    let page = client.get("/buckets/list/objects?prefix=folder/").await.expect(200).json();
    assert_eq!((&page["bucket_name"], &page["prefix"], &page["count"]), (&"list".into(), &"folder/".into(), &3.into()));
    assert_eq!(texts(&page["objects"], "object_name"), ["folder/1", "folder/2", "folder/sub/3"]);
    let line = &page["objects"][0];
    assert_eq!((&line["size_bytes"], &line["content_type"]), (&8.into(), &"application/octet-stream".into()));
    assert_eq!(line["etag"].as_str().map(str::len), Some(64), "{line}");
    assert!(line["created_at"].is_string() && page["next"].is_null(), "{page}");
    for path in ["/buckets/list/objects/?delimiter=/", "/buckets/list/objects?delimiter=%2F"] {
        let page = client.get(path).await.expect(200).json();
        assert_eq!(texts(&page["objects"], "object_name"), ["a", "folderol", "z"], "{path}");
        assert_eq!(texts(&page["prefixes"], ""), ["folder/"], "{path}");
    }
    let mut after = String::new();
    let mut seen = Vec::new();
    loop {
        let page = client.get(&format!("/buckets/list/objects?limit=2{after}")).await.expect(200).json();
        seen.extend(texts(&page["objects"], "object_name"));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen, ["a", "folder/1", "folder/2", "folder/sub/3", "folderol", "z"]);
    refused(client.get("/buckets/list/objects?limit=1001").await, 400, "Bad Request");
    refused(client.get("/buckets/list/objects?prefix=%00").await, 400, "Bad Request");
}

#[tokio::test]
async fn everything_is_one_array_over_all_buckets_and_pages() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    // More than one page of the walk, in the middle bucket.
    let keys: Vec<String> = (0..1_100).map(|n| format!("key {n:04}")).collect();
    let put_all = async |keys: &[String]| {
        for key in keys {
            let path = format!("/buckets/many/objects/{}", key.replace(' ', "%20"));
            put(&client, &path, b"x").await;
        }
    };
    futures_util::future::join_all(keys.chunks(100).map(put_all)).await;
    client.upload("first", b"12345").await;
    client.send(client.request(Method::PUT, "/s3/zoo/last").body("1")).await.expect(200);
    super::create(&client, "nothing-in-it").await.expect(201);
    let reply = client.get("/objects").await.expect(200);
    assert_eq!(reply.header("content-type"), "application/json");
    let all = reply.json();
    let expected: Vec<String> =
        std::iter::once("first".to_owned()).chain(keys.iter().cloned()).chain(["last".to_owned()]).collect();
    assert_eq!(texts(&all, "Key"), expected);
    assert_eq!((&all[0]["Bucket"], &all[0]["Size"]), (&"files".into(), &5.into()));
    assert_eq!((&all[1_101]["Bucket"], &all[1]["Bucket"]), (&"zoo".into(), &"many".into()));
    let one = client.get("/objects?bucket=many&prefix=key%2010").await.expect(200).json();
    assert_eq!(one.as_array().map(Vec::len), Some(100), "key 1000 to key 1099");
    for nothing in ["/objects?bucket=nothing-in-it", "/objects?bucket=never-made", "/objects?prefix=no-such"] {
        assert_eq!(client.get(nothing).await.expect(200).body, "[]", "{nothing}");
    }
    refused(client.get("/objects?bucket=No").await, 400, "Invalid bucket name");
}

#[tokio::test]
async fn the_gateway_lists_all_versions_of_a_bucket() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    for (key, data) in [("a", "1"), ("a", "22"), ("dir/b", "333"), ("dir/c", "4")] {
        client.send(client.request(Method::PUT, &format!("/s3/vers/{key}")).body(data)).await.expect(200);
    }
    super::delete(&client, "/s3/vers/a").await.expect(200);
    let page = client.get("/s3/vers?versions").await.expect(200).json();
    assert_eq!(texts(&page["versions"], "key"), ["a", "a", "a", "dir/b", "dir/c"], "{page}");
    assert_eq!(
        (&page["versions"][0]["is_delete_marker"], &page["versions"][0]["is_latest"]),
        (&true.into(), &true.into())
    );
    assert_eq!((&page["versions"][1]["size"], &page["versions"][2]["size"]), (&2.into(), &1.into()));
    let grouped = client.get("/s3/vers/?versions&delimiter=/").await.expect(200).json();
    assert_eq!(
        (texts(&grouped["prefixes"], ""), grouped["versions"].as_array().map(Vec::len)),
        (vec!["dir/".to_owned()], Some(3))
    );
    let mut query = "/s3/vers?versions&limit=2".to_owned();
    let mut seen = 0;
    loop {
        let page = client.get(&query).await.expect(200).json();
        seen += page["versions"].as_array().map_or(0, Vec::len);
        let Some(next) = page["next"].as_str() else { break };
        query = format!("/s3/vers?versions&limit=2&after={}", next.replace('/', "%2F"));
        if let Some(version) = page["next_version"].as_str() {
            query = format!("{query}&after_version={version}");
        }
    }
    assert_eq!(seen, 5);
    let objects = client.get("/s3/vers?delimiter=/").await.expect(200).json();
    assert_eq!((&objects["count"], texts(&objects["prefixes"], "")), (&0.into(), vec!["dir/".to_owned()]), "{objects}");
    client.get("/s3/no-such?versions").await.expect_error(404, "Not Found");
}

/// HTTP/1.0 knows no chunks: an array of no told length ends with the connection.
#[tokio::test]
async fn who_speaks_http_1_0_gets_plain_bytes() {
    let cluster = Cluster::start().await;
    cluster.client().send(cluster.client().request(Method::PUT, "/s3/plain/a").body("1")).await.expect(200);
    for connection in ["", "Connection: keep-alive\r\n"] {
        let request = format!("GET /objects?bucket=plain HTTP/1.0\r\nHost: x\r\n{connection}\r\n");
        let reply = RawReply::to(cluster.coordinator.port, request).await;
        assert!(!reply.head.to_ascii_lowercase().contains("transfer-encoding"), "{}", reply.head);
        let listed: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(listed[0]["Key"], "a", "{listed}");
    }
}
