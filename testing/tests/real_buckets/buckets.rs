//! E3, E4: buckets are made, listed and deleted, and what is wrong has its status.

use super::{create, delete, put, refused};
use reqwest::Method;
use serde_json::Value;
use testing::real::{Client, Cluster};

async fn names(client: &Client, query: &str) -> Vec<String> {
    let page = client.get(&format!("/buckets{query}")).await.expect(200).json();
    let buckets = page["buckets"].as_array().expect("buckets are listed").clone();
    assert_eq!(page["count"], buckets.len(), "{page}");
    buckets.iter().map(|bucket| bucket["bucket_name"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn the_life_of_a_bucket() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    assert_eq!(names(&client, "").await, ["documents", "files"], "those of doors are there from the start");
    let made = create(&client, "my-bucket").await.expect(201).json();
    assert_eq!((&made["bucket_name"], &made["versioning"]), (&"my-bucket".into(), &"off".into()), "{made}");
    assert!(made["created_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{made}");
    refused(create(&client, "my-bucket").await, 409, "Bucket already exists");
    let shown = client.get("/buckets/my-bucket").await.expect(200).json();
    assert_eq!(shown["created_at"], made["created_at"]);
    client.head("/buckets/my-bucket").await.expect(200);
    // How long GET's answer would be is not known, and not said.
    assert_eq!(client.head("/objects").await.expect(200).header("content-length"), "");
    put(&client, "/buckets/my-bucket/objects/k", b"x").await;
    refused(delete(&client, "/buckets/my-bucket").await, 409, "Bucket not empty");
    assert_eq!(client.get("/buckets/my-bucket/objects/k").await.expect(200).body, "x");
    delete(&client, "/buckets/my-bucket/objects/k").await.expect(200);
    let gone = delete(&client, "/buckets/my-bucket").await.expect(204);
    assert!(gone.body.is_empty());
    refused(delete(&client, "/buckets/my-bucket").await, 404, "Bucket not found");
    refused(client.get("/buckets/my-bucket").await, 404, "Bucket not found");
    refused(client.get("/buckets/my-bucket/objects").await, 404, "Bucket not found");
    client.head("/buckets/my-bucket").await.expect(404);
    create(&client, "my-bucket").await.expect(201);
    refused(delete(&client, "/buckets/files").await, 403, "Forbidden");
}

#[tokio::test]
async fn buckets_are_listed_a_page_at_a_time() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    for n in 0..5 {
        create(&client, &format!("page-{n}")).await.expect(201);
    }
    let first = client.get("/buckets?limit=2&prefix=page-").await.expect(200).json();
    assert_eq!((&first["count"], &first["next"]), (&2.into(), &"page-1".into()), "{first}");
    assert_eq!(names(&client, "?limit=2&prefix=page-&after=page-1").await, ["page-2", "page-3"]);
    let last = client.get("/buckets?limit=2&prefix=page-&after=page-3").await.expect(200).json();
    assert_eq!((&last["count"], &last["next"]), (&1.into(), &Value::Null), "{last}");
    refused(client.get("/buckets?limit=0").await, 400, "Bad Request");
    refused(client.get("/buckets?after=No").await, 400, "Invalid bucket name");
}

#[tokio::test]
async fn what_is_no_name_or_no_json_is_refused() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    for name in ["ab", "Upper", "under_score", "dot.ted", "", "a/b", "a b", "\u{e9}\u{e9}\u{e9}", &"b".repeat(64)] {
        refused(create(&client, name).await, 400, "Invalid bucket name");
    }
    for name in ["abc", "a-1", &"b".repeat(63)] {
        create(&client, name).await.expect(201);
    }
    for (body, error) in [
        ("", "Malformed JSON"),
        ("{", "Malformed JSON"),
        ("bucket_name=x", "Malformed JSON"),
        ("{\"bucket_name\":\"abc\"} x", "Malformed JSON"),
        ("{}", "Invalid request body"),
        ("[]", "Invalid request body"),
        ("[\"by-place\"]", "Invalid request body"),
        (" [", "Malformed JSON"),
        ("{\"bucket_name\":5}", "Invalid request body"),
        ("{\"bucket_name\":null}", "Invalid request body"),
    ] {
        refused(client.send(client.request(Method::POST, "/buckets").body(body)).await, 422, error);
    }
    for (method, path) in [(Method::PUT, "/buckets"), (Method::POST, "/buckets/abc"), (Method::POST, "/objects")] {
        refused(client.send(client.request(method, path)).await, 405, "Method Not Allowed");
    }
}

#[tokio::test]
async fn one_namespace_lies_behind_every_door() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    client.upload("by form.txt", b"form").await;
    client.send(client.request(Method::PUT, "/s3/gate/by/put").body("put")).await.expect(200);
    put(&client, "/buckets/rest/objects/by/rest", b"rest").await;
    assert_eq!(names(&client, "").await, ["documents", "files", "gate", "rest"]);
    assert_eq!(client.get("/buckets/files/objects/by%20form.txt").await.expect(200).body, "form");
    assert_eq!(client.get("/buckets/gate/objects/by/put").await.expect(200).body, "put");
    assert_eq!(client.get("/s3/rest/by/rest").await.expect(200).body, "rest");
    // A bucket that sprang into being at the gateway door keeps versions, one of this door does not.
    for (bucket, versioning) in [("gate", "enabled"), ("rest", "off"), ("files", "enabled")] {
        assert_eq!(client.get(&format!("/buckets/{bucket}")).await.expect(200).json()["versioning"], versioning);
    }
}
