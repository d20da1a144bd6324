//! Each strategy: write, read back equal, delete, 404; and that nothing is left in the end.

use super::{cluster, delete, read, write, written};
use serde_json::json;
use std::time::Duration;
use testing::real::eventually;

const DOCUMENT: &str = r#"{ "name": "Ann", "view_count": 10, "big": 123456789012345678901234567890, "pi": 3.140, "tags": ["a", "\u00e9"] }"#;
const COMPACT: &str =
    r#"{"name":"Ann","view_count":10,"big":123456789012345678901234567890,"pi":3.140,"tags":["a","\u00e9"]}"#;

#[tokio::test]
async fn every_strategy_reads_back_what_was_written_and_nothing_is_left_in_the_end() {
    let cluster = cluster().await;
    let client = cluster.client();
    let health = client.get("/health").await.expect(200).json();
    assert_eq!((&health["status"], &health["service"]), (&json!("healthy"), &json!("api_gateway")));
    let nodes = client.get("/node_status").await.expect(200).json();
    assert!(nodes.as_object().is_some_and(|nodes| nodes.len() == 6 && nodes.values().all(|state| state == "healthy")));

    let told = written(&client, "key=user:1001", DOCUMENT).await;
    assert_eq!((&told["strategy"], &told["key"]), (&json!("replication"), &json!("user:1001")));
    let urls = told["nodes_written"].as_array().expect("a list").clone();
    assert!((2..=3).contains(&urls.len()) && urls.iter().all(|url| nodes[url.as_str().expect("a URL")] == "healthy"));
    assert_eq!(read(&client, "user:1001").await, DOCUMENT);

    let told = written(&client, "key=user:1002&strategy=ec", DOCUMENT).await;
    assert_eq!((&told["strategy"], &told["total_chunks"]), (&json!("ec"), &json!(6)));
    assert!(told["chunks_written"].as_u64().is_some_and(|chunks| chunks >= 5), "{told}");
    assert_eq!(read(&client, "user:1002").await, DOCUMENT);

    let binary = r#"{"binary_data":"iVBORw0KGgo="}"#;
    written(&client, "key=image.png&strategy=ec", binary).await;
    assert_eq!(read(&client, "image.png").await, binary);
    let bytes = client.get("/s3/documents/image.png").await.expect(200);
    assert_eq!(&bytes.body[..], b"\x89PNG\r\n\x1a\n", "one namespace lies behind every door");

    let told = written(&client, "key=user:1003&strategy=field_hybrid", DOCUMENT).await;
    assert_eq!(told["strategy"], "field_hybrid");
    assert_eq!(read(&client, "user:1003").await, COMPACT);
    assert_eq!(&client.get("/s3/documents/user:1003").await.expect(200).body[..], COMPACT.as_bytes());

    for (key, fields) in [
        ("user:1001", &["nodes_deleted"][..]),
        ("user:1002", &["chunks_deleted"]),
        ("image.png", &["chunks_deleted"]),
        ("user:1003", &["hot_nodes_deleted", "cold_chunks_deleted"]),
    ] {
        let gone = delete(&client, key).await;
        assert_eq!(gone["status"], "ok");
        assert!(fields.iter().all(|field| !gone[*field].is_null()), "{gone}");
        let missing = client.get(&format!("/read/{key}")).await.expect(404).json();
        assert_eq!(missing["detail"], format!("Metadata not found for key '{key}'"));
        let again = delete(&client, key).await;
        let expected = ("blind_delete", "key_not_found_or_zombie_cleaned");
        assert_eq!((again["strategy"].as_str(), again["detail"].as_str()), (Some(expected.0), Some(expected.1)));
    }
    eventually("no live byte is left", Duration::from_secs(60), || async {
        let usage = client.get("/storage_usage").await.expect(200).json();
        let expected = json!({"total_system_size": 0, "active_nodes_with_data": 0, "total_nodes_queried": 6});
        if usage == expected { Ok(()) } else { Err(usage.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn bytes_of_any_length_come_back_in_base64() {
    let cluster = cluster().await;
    let client = cluster.client();
    for length in [0, 1, 2, 3, 300_001] {
        let data: Vec<u8> = (0..length).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let put = client.request(reqwest::Method::PUT, &format!("/s3/documents/b{length}")).body(data.clone());
        client.send(put).await.expect(200);
        let shown = read(&client, &format!("b{length}")).await;
        let told = written(&client, &format!("key=c{length}&strategy=ec"), &shown).await;
        assert_eq!(told["size"], length);
        assert_eq!(read(&client, &format!("c{length}")).await, shown);
        assert_eq!(&client.get(&format!("/s3/documents/c{length}")).await.expect(200).body[..], data);
    }
}

#[tokio::test]
async fn older_versions_and_conditions_are_those_of_any_object() {
    let cluster = cluster().await;
    let client = cluster.client();
    let first = written(&client, "key=a/b&strategy=field_hybrid", r#"{"n":1,"view_count":1}"#).await;
    written(&client, "key=a/b&strategy=ec", r#"{"n":2}"#).await;
    written(&client, "key=a/b", r#"{"n":3}"#).await;
    for (number, expected) in [(1, r#"{"n":1,"view_count":1}"#), (2, r#"{"n":2}"#), (3, r#"{"n":3}"#)] {
        assert_eq!(read(&client, &format!("a/b?version={number}")).await, expected);
    }
    let etag = format!("\"{}\"", first["etag"].as_str().expect("an ETag"));
    let same = client.get_with("/read/a/b?version=1", &[("if-none-match", &etag)]).await;
    assert_eq!(same.status, 304);
    let exists = client.request(reqwest::Method::POST, "/write?key=a/b").header("content-type", "application/json");
    assert_eq!(client.send(exists.header("if-none-match", "*").body("{}")).await.status, 412);
    assert_eq!(write(&client, "key=a/b", r#"{"n":4}"#).await.expect(200).header("x-holdfast-version"), "4");
}
