//! Documents of hot and cold fields: first write, hot update, mixed update, changes, and what is told of them.

use super::{cluster, patch, plan, read, write, written};
use serde_json::{Value, json};

fn document(views: u32, title: &str) -> String {
    let body = "some text that stays as it is. ".repeat(3_000);
    format!(r#"{{"title":"{title}","view_count":{views},"body":"{body}","like_count":7}}"#)
}

fn shown(told: &Value) -> (bool, &str, u64, u64) {
    let number = |field: &str| told[field].as_u64().expect("a number");
    let (pure, kind) = (&told["is_pure_hot_update"], &told["operation_type"]);
    // What comes after the quorum is not waited for, and not told: one of each may be late.
    let whole = |written: u64, all: u64| if written + 1 == all { all } else { written };
    let (hot, cold) = (whole(number("hot_nodes_written"), 3), whole(number("cold_chunks_written"), 6));
    (pure.as_bool().expect("a flag"), kind.as_str().expect("text"), hot, cold)
}

#[tokio::test]
async fn first_write_hot_update_and_mixed_update() {
    let cluster = cluster().await;
    let client = cluster.client();
    let query = "key=post:1&strategy=field_hybrid";
    let first = written(&client, query, &document(1, "a")).await;
    assert_eq!(shown(&first), (false, "Cold Update", 3, 6));
    assert!(first["trace_id"].as_str().is_some_and(|id| !id.is_empty()), "{first}");
    let hot = written(&client, query, &document(2, "a")).await;
    assert_eq!(shown(&hot), (true, "Pure Hot Update", 3, 0));
    assert_eq!(read(&client, "post:1").await, document(2, "a"));
    let mixed = written(&client, query, &document(3, "b")).await;
    assert_eq!(shown(&mixed), (false, "Cold Update", 3, 6));
    assert_eq!(read(&client, "post:1").await, document(3, "b"));
    let forced = written(&client, &format!("{query}&hot_only=true"), r#"{"view_count":4,"title":"c"}"#).await;
    assert_eq!(shown(&forced), (true, "Pure Hot Update", 3, 0));
    assert_eq!(forced["ignored_fields"], json!(["title"]));
    assert_eq!(read(&client, "post:1").await, document(4, "b"));
    let added = written(&client, &format!("{query}&hot_only=true"), r#"{"inventory_count":1}"#).await;
    assert_eq!(shown(&added), (true, "Pure Hot Update", 3, 0), "a field that was not there is hot, too");
    assert!(read(&client, "post:1").await.contains(r#""inventory_count":1"#));
    for (version, views, title) in [(1, 1, "a"), (2, 2, "a"), (3, 3, "b")] {
        assert_eq!(read(&client, &format!("post:1?version={version}")).await, document(views, title));
    }
}

#[tokio::test]
async fn a_patch_changes_what_it_names() {
    let cluster = cluster().await;
    let client = cluster.client();
    written(&client, "key=post:1&strategy=field_hybrid", &document(1, "a")).await;
    let reply = patch(&client, "post:1", &[], r#"{"view_count":2}"#).await.expect(200);
    assert_eq!(shown(&reply.json()), (true, "Pure Hot Update", 3, 0));
    let etag = reply.header("etag").to_owned();
    let reply =
        patch(&client, "post:1", &[("if-match", &etag)], r#"{"title":"b","like_count":null}"#).await.expect(200);
    assert!(!shown(&reply.json()).0);
    let expected = document(2, "b").replace(r#","like_count":7"#, "");
    assert_eq!(read(&client, "post:1").await, expected);
    let stale = patch(&client, "post:1", &[("if-match", &etag)], r#"{"title":"c"}"#).await;
    assert_eq!(stale.status, 412);
    assert_eq!(read(&client, "post:1").await, expected, "a refused change leaves no trace");
    written(&client, "key=plain", r#"{"a":{"b":1.50,"c":2}}"#).await;
    patch(&client, "plain", &[], r#"{"a":{"c":null,"d":1e999}}"#).await.expect(200);
    assert_eq!(read(&client, "plain").await, r#"{"a":{"b":1.50,"d":1e999}}"#);
}

#[tokio::test]
async fn hot_fields_are_told_with_their_reasons_and_documents_outlive_a_restart() {
    let mut cluster = plan().coordinator_flag("--hot-field", "clicks").start().await;
    let client = cluster.client();
    let text = |clicks: u32, seen: u32| {
        format!(r#"{{"clicks":{clicks},"note":"{}","seen":{seen}}}"#, "a note that stays ".repeat(100))
    };
    for n in 0..7 {
        written(&client, "key=c:1&strategy=field_hybrid", &text(1, n)).await;
    }
    let told = client.get("/admin/documents/hot-fields").await.expect(200).json();
    assert_eq!(told["configured"], json!(["clicks"]));
    let field = &told["keys"][0];
    assert_eq!(
        (&field["name"], &field["field"], &field["reason"]),
        (&json!("c:1"), &json!("seen"), &json!("key_changes"))
    );
    assert_eq!((&field["changed"], &field["of"]), (&json!(6), &json!(6)));
    cluster.coordinator.kill();
    cluster.start_coordinator().await;
    cluster.wait_healthy().await;
    let client = cluster.client();
    assert_eq!(read(&client, "c:1").await, text(1, 6));
    let told = written(&client, "key=c:1&strategy=field_hybrid", &text(2, 9)).await;
    assert_eq!(shown(&told), (true, "Pure Hot Update", 3, 0), "what was hot stays so");
}

#[tokio::test]
async fn a_document_is_read_with_any_two_nodes_down() {
    let mut cluster = cluster().await;
    let client = cluster.client();
    let query = "key=post:1&strategy=field_hybrid";
    written(&client, query, &document(1, "a")).await;
    for number in [1, 4] {
        cluster.node(number).kill();
    }
    assert_eq!(read(&client, "post:1").await, document(1, "a"));
    let refused = write(&client, query, &document(2, "b")).await;
    assert_eq!(refused.status, 503, "{refused}");
    assert_eq!(read(&client, "post:1").await, document(1, "a"));
}
