//! Bad input: each with its status and words, and without a trace.

use super::{NODES, cluster, patch, write};
use reqwest::Method;
use testing::real::Plan;

#[tokio::test]
async fn what_is_wrong_is_said_and_leaves_no_trace() {
    let cluster = cluster().await;
    let client = cluster.client();
    let deep = "[".repeat(129) + &"]".repeat(129);
    let hybrid = "key=x&strategy=field_hybrid";
    for (query, body, status, error, detail) in [
        ("key=x&strategy=raid", "{}", 422, "Invalid strategy", "raid"),
        ("key=x&strategy=", "{}", 422, "Invalid strategy", ""),
        ("key=x&strategy=ec&hot_only=true", "{}", 422, "Invalid strategy", "hot_only"),
        ("key=x&hot_only=maybe", "{}", 422, "Invalid hot_only", "true or false"),
        ("strategy=ec", "{}", 422, "Missing key", "key="),
        ("key=", "{}", 422, "Missing key", "key="),
        ("key=%00", "{}", 422, "Invalid document", "NUL"),
        ("key=x", "", 422, "Invalid document", "ends too early"),
        ("key=x", "{\"a\":", 422, "Invalid document", "ends too early"),
        ("key=x", "{\"a\":1,\"a\":2}", 422, "Invalid document", "twice"),
        ("key=x", "{\"a\":\"\\ud800\"}", 422, "Invalid document", "surrogate"),
        ("key=x", &deep, 422, "Invalid document", "128"),
        (hybrid, "[1]", 422, "Invalid document", "array or a scalar"),
        (hybrid, "17", 422, "Invalid document", "array or a scalar"),
        ("key=x&strategy=ec", r#"{"binary_data":"%%"}"#, 422, "Invalid document", "base64"),
        ("key=x&hot_only=true", r#"{"view_count":1}"#, 404, "Not Found", "Metadata not found for key 'x'"),
    ] {
        let reply = write(&client, query, body).await.expect_error(status, error);
        let told = reply.json();
        assert!(told["detail"].as_str().is_some_and(|told| told.contains(detail)), "{query} {body}: {told}");
    }
    let text = client.request(Method::POST, "/write?key=x").header("content-type", "text/plain").body("{}");
    let told = client.send(text).await.expect_error(415, "Invalid Content-Type").json();
    assert_eq!(told["detail"], "Must be application/json");
    let packed = client.request(Method::POST, "/write?key=x").header("content-type", "application/json");
    client
        .send(packed.header("content-encoding", "gzip").body("{}"))
        .await
        .expect_error(415, "Invalid Content-Encoding");
    let large = format!("\"{}\"", "x".repeat(8 << 20));
    assert_eq!(write(&client, "key=x", &large).await.status, 413);
    assert_eq!(patch(&client, "x", &[], r#"{"a":1}"#).await.status, 404);
    assert_eq!(patch(&client, "x", &[], "[1]").await.status, 422);
    assert_eq!(patch(&client, "x", &[], &format!("{{\"a\":{large}}}")).await.status, 413);
    assert_eq!(client.get("/read/x").await.status, 404);
    assert_eq!(client.send(client.request(Method::PUT, "/write?key=x")).await.status, 405);
    let usage = client.get("/storage_usage").await.expect(200).json();
    assert_eq!(usage["total_system_size"], 0, "no trace");
}

/// Of a document all versions go: who names one means another thing.
#[tokio::test]
async fn a_version_that_is_named_in_vain_is_refused_and_nothing_goes() {
    let cluster = cluster().await;
    let client = cluster.client();
    for number in 1..=2 {
        write(&client, "key=x", &format!("{{\"a\":{number}}}")).await.expect(200);
    }
    for (method, path) in [
        (Method::DELETE, "/delete/x?version=1"),
        (Method::DELETE, "/delete/x?versionId=null"),
        (Method::GET, "/read/x?versionId=null"),
        (Method::GET, "/read/x?version=1&version=2"),
        (Method::DELETE, "/buckets/documents/objects/x?version=1"),
        (Method::DELETE, "/s3/documents/x?versionid=null"),
        (Method::DELETE, "/delete?filename=x&filename=y"),
    ] {
        client.send(client.request(method.clone(), path)).await.expect(400);
    }
    assert_eq!(client.get("/read/x?version=1").await.expect(200).body, b"{\"a\":1}".as_slice());
    assert_eq!(client.get("/read/x").await.expect(200).body, b"{\"a\":2}".as_slice());
}

#[tokio::test]
async fn a_code_that_the_cluster_cannot_hold_is_refused_in_the_contract_s_words() {
    let cluster = Plan::new().nodes(NODES - 2).start().await;
    let client = cluster.client();
    for strategy in ["ec", "field_hybrid"] {
        let reply = write(&client, &format!("key=x&strategy={strategy}"), r#"{"a":1,"view_count":2}"#).await;
        reply.expect_error(503, "Service unavailable: Insufficient EC nodes (need 6)");
    }
    assert_eq!(client.get("/read/x").await.status, 404);
    write(&client, "key=x", r#"{"a":1}"#).await.expect(200);
}
