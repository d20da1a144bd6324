//! What the audit log tells.

use super::{client_with, plan, post, put, start};
use reqwest::Method;
use serde_json::Value;
use std::path::Path;
use testing::real::{Client, Cluster, Signer};

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The line of a request, by the id that its answer carried.
fn line(lines: &[Value], id: &str) -> Value {
    lines.iter().find(|line| line["request_id"] == id).unwrap_or_else(|| panic!("no {id} in {lines:?}")).clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_did_what_to_which_object_from_where_with_which_result() {
    let mut cluster = Cluster::lay_out(plan()).await;
    let path = cluster.root().join("audit/audit.jsonl");
    cluster.coordinator.flag("--audit-log", path.display());
    cluster.start_with_keys().await;
    let (client, key) = client_with(&cluster, "*", &["read", "write"]).await;
    let id = |reply: &testing::real::Reply| reply.header("x-request-id").to_owned();
    let stored = put(&client, "/s3/mine/a%2Fb", "one").await.expect(200);
    let read = client.get("/s3/mine/a%2Fb").await.expect(200);
    let denied = client.send(client.request(Method::DELETE, "/s3/mine/a%2Fb")).await.expect(403);
    let uploaded = client.send(client.upload_request("a file.txt", b"x")).await.expect(201);
    let nobody = Client::new(&cluster.coordinator.url()).get("/s3/mine/a%2Fb").await.expect(401);
    let wrong = client.with_key("s3_key_of_last_year").get("/s3/mine/a%2Fb").await.expect(401);
    let key_id = key["id"].as_str().unwrap();
    let signer = Signer { id: key_id.to_owned(), secret: "guessed".to_owned() };
    let s3 = cluster.s3();
    let base = format!("http://127.0.0.1:{}", cluster.s3_port());
    let guessed = s3.send(signer.request(&s3, &base, Method::GET, "/mine/a", "", "")).await.expect(403);
    // A token in the place of an id is no key's id, and a secret.
    let mixed_up = Signer { id: key["api_key"].as_str().unwrap().to_owned(), secret: "guessed".to_owned() };
    let mixed_up = s3.send(mixed_up.request(&s3, &base, Method::GET, "/mine/a", "", "")).await.expect(403);
    post(&cluster.client(), &format!("/admin/keys/{key_id}/disable"), serde_json::json!({})).await.expect(200);
    let disabled = client.get("/s3/mine/a%2Fb").await.expect(401);
    cluster.stop_all();

    let lines = lines(&path);
    for (reply, who, method, action, bucket, object, status) in [
        (&stored, key["id"].as_str().unwrap(), "PUT", "write", "mine", "a/b", 200),
        (&read, key["id"].as_str().unwrap(), "GET", "read", "mine", "a/b", 200),
        (&denied, key["id"].as_str().unwrap(), "DELETE", "delete", "mine", "a/b", 403),
        (&uploaded, key["id"].as_str().unwrap(), "POST", "write", "files", "a file.txt", 201),
        (&nobody, "anonymous", "GET", "read", "mine", "a/b", 401),
        (&wrong, "anonymous", "GET", "read", "mine", "a/b", 401),
        (&disabled, "anonymous", "GET", "read", "mine", "a/b", 401),
    ] {
        let line = line(&lines, &id(reply));
        assert_eq!(line["who"], who, "{line}");
        assert_eq!((&line["method"], &line["action"]), (&method.into(), &action.into()), "{line}");
        assert_eq!((&line["bucket"], &line["key"]), (&bucket.into(), &object.into()), "{line}");
        assert_eq!((&line["status"], &line["from"]), (&status.into(), &"127.0.0.1".into()), "{line}");
        assert!(line["time"].as_str().unwrap().ends_with('Z') && line["door"] == "native", "{line}");
    }
    for (reply, id, claimed) in [
        (&disabled, id(&disabled), Some(key_id)),
        (&guessed, guessed.header("x-amz-request-id").to_owned(), Some(key_id)),
        (&mixed_up, mixed_up.header("x-amz-request-id").to_owned(), None),
        (&wrong, id(&wrong), None),
        (&denied, id(&denied), None),
    ] {
        assert_eq!(line(&lines, &id).get("claimed_key").and_then(Value::as_str), claimed, "{reply}");
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("s3_key_"), "no secret is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_files_are_bounded_and_no_line_is_lost_meanwhile() {
    let mut cluster: Cluster = start(plan()).await;
    cluster.stop_all();
    let path = cluster.root().join("audit.jsonl");
    cluster.coordinator.flag("--audit-log", path.display());
    cluster.coordinator.flag("--audit-file-bytes", "16KiB").flag("--audit-files", "3");
    cluster.start_all().await;
    let client = cluster.client();
    for number in 0..300 {
        client.get(&format!("/s3/mine/{number}")).await.expect(404);
    }
    let metrics = client.get("/metrics").await.expect(200);
    assert!(String::from_utf8_lossy(&metrics.body).contains("audit_lines_dropped_total 0"));
    cluster.stop_all();
    let names = ["audit.jsonl.2", "audit.jsonl.1", "audit.jsonl"];
    let files: Vec<_> = names.iter().map(|name| cluster.root().join(name)).collect();
    assert!(files.iter().all(|file| file.metadata().unwrap().len() <= 16 << 10));
    assert!(!cluster.root().join("audit.jsonl.3").exists());
    let all: Vec<Value> = files.iter().flat_map(|file| lines(file)).collect();
    let keys: Vec<u64> = all.iter().filter_map(|line| line["key"].as_str()?.parse().ok()).collect();
    assert!(keys.len() > 50 && keys.last() == Some(&299), "{keys:?}");
    assert!(keys.windows(2).all(|pair| pair[1] == pair[0] + 1), "{keys:?}");
}
