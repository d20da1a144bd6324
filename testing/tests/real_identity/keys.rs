//! Keys from their first to their last day.

use super::{client_with, plan, post, put, start};
use reqwest::Method;
use serde_json::json;
use std::path::Path;
use testing::real::{Client, Cluster, eventually};

const EVERYTHING: [&str; 4] = ["read", "write", "list", "delete"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_start_prints_the_admin_key_once_and_no_file_holds_it() {
    let mut cluster = start(plan()).await;
    let key = cluster.first_key().await;
    assert!(key.starts_with("s3_key_") && key.len() == 50, "{key}");
    assert_eq!(cluster.client().get("/admin/keys").await.expect(200).json()["count"], 1);
    let made = cluster.make_key(json!({ "name": "kept" })).await;
    let secret = made["secret_access_key"].as_str().unwrap().to_owned();

    cluster.stop_all();
    cluster.start_all().await;
    assert_eq!(cluster.announced_keys(), std::slice::from_ref(&key), "once, and never again");
    let listed = cluster.client().get("/admin/keys").await.expect(200);
    assert_eq!(listed.json()["count"], 2);
    let token = made["api_key"].as_str().unwrap();
    for hidden in [token, &secret, &key] {
        assert!(!listed.to_string().contains(hidden), "a listing shows no secret");
        assert!(!String::from_utf8_lossy(&listed.body).contains(hidden));
    }
    cluster.stop_all();
    // What lies on disks is the hash of one and the other encrypted; the log holds the one line.
    let logs = cluster.coordinator.log().replace(&key, "");
    assert!(!logs.contains(&secret) && !logs.contains(token));
    for hidden in [token, &secret, &key] {
        assert!(!holds(&cluster.root().join("data"), hidden.as_bytes()), "a file below data/ holds a secret");
    }
}

/// Whether any file below the directory holds these bytes.
fn holds(directory: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => holds(&path, bytes),
            false => std::fs::read(&path).unwrap().windows(bytes.len()).any(|window| window == bytes),
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_refused_from_the_moment_they_are_disabled_rotated_expired_or_deleted() {
    let cluster = start(plan()).await;
    let admin = cluster.client();
    let (client, key) = client_with(&cluster, "*", &EVERYTHING).await;
    let id = key["id"].as_str().unwrap();
    let order =
        async |what: &str, body| post(&admin, &format!("/admin/keys/{id}/{what}"), body).await.expect(200).json();
    put(&client, "/s3/mine/a", "one").await.expect(200);

    order("disable", json!({})).await;
    let refused = client.get("/s3/mine/a").await.expect_error(401, "Unauthorized");
    assert!(refused.header("www-authenticate").starts_with("Bearer"));
    order("enable", json!({})).await;
    client.get("/s3/mine/a").await.expect(200);

    order("expire", json!({ "expires_in_s": 0 })).await;
    let expired = client.get("/s3/mine/a").await.expect(401);
    assert_eq!(expired.body, refused.body, "the answer does not tell what is wrong");
    post(&admin, &format!("/admin/keys/{id}/expire"), json!({})).await.expect(400);
    client.get("/s3/mine/a").await.expect(401);
    order("expire", json!({ "expires_in_s": null })).await;

    let fresh = order("rotate", json!({})).await;
    client.get("/s3/mine/a").await.expect(401);
    let client = client.with_key(fresh["api_key"].as_str().unwrap());
    client.get("/s3/mine/a").await.expect(200);

    admin.send(admin.request(Method::DELETE, &format!("/admin/keys/{id}"))).await.expect(204);
    client.get("/s3/mine/a").await.expect(401);
    admin.get(&format!("/admin/keys/{id}")).await.expect(404);
    let last = cluster.client().get("/admin/keys").await.json()["keys"][0]["id"].as_str().unwrap().to_owned();
    let refused = post(&admin, &format!("/admin/keys/{last}/disable"), json!({})).await.expect(409);
    assert!(refused.error().contains("last one"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_and_owners_hold_at_every_door() {
    let cluster = start(plan()).await;
    let (mine, _) = client_with(&cluster, "*", &EVERYTHING).await;
    let (theirs, _) = client_with(&cluster, "*", &EVERYTHING).await;
    let (reader, _) = client_with(&cluster, "files", &["read"]).await;
    let nobody = Client::new(&cluster.coordinator.url());

    put(&mine, "/s3/mine/a", "mine").await.expect(200);
    for (client, status) in [(&mine, 200), (&theirs, 403), (&reader, 403), (&nobody, 401)] {
        client.get("/s3/mine/a").await.expect(status);
        client.get("/s3/mine").await.expect(status);
        client.get("/receipt?bucket=mine&key=a").await.expect(status);
    }
    put(&theirs, "/s3/mine/a", "theirs").await.expect_error(403, "Forbidden");
    theirs.send(theirs.request(Method::DELETE, "/s3/mine/a")).await.expect(403);
    assert_eq!(mine.get("/s3/mine/a").await.expect(200).body, "mine");

    // The buckets of the file door and of the document door are nobody's: a policy is enough, and needed.
    for (number, client) in (1..).zip([&mine, &theirs, &mine]) {
        let write = client.request(Method::POST, "/write?key=shared").header("content-type", "application/json");
        client.send(write.body(json!({ "n": number }).to_string())).await.expect(200);
    }
    assert_eq!(theirs.get("/read/shared?version=1").await.expect(200).json()["n"], 1, "every version is kept");
    reader.get("/read/shared").await.expect(403);
    theirs.get("/read/nothing").await.expect(404);
    theirs.send(theirs.request(Method::DELETE, "/buckets/documents")).await.expect(403);
    post(&theirs, "/buckets", json!({ "bucket_name": "documents" })).await.expect(409);
    // How they behave, and who may read them, is not for every key that administers buckets of its own.
    let (admin, _) = client_with(&cluster, "*", &["read", "admin"]).await;
    for bucket in ["files", "documents"] {
        let path = format!("/admin/buckets/{bucket}/public-read");
        let refused = admin.send(admin.request(Method::PUT, &path)).await.expect(403);
        assert!(refused.to_string().contains("any_owner"), "{refused}");
    }
    mine.upload("shared.txt", b"shared").await;
    assert_eq!(reader.download("shared.txt", None).await.expect(200).body, "shared");
    reader.send(reader.upload_request("shared.txt", b"changed")).await.expect(403);
    reader.send(reader.delete_request("shared.txt", true)).await.expect(403);
    reader.get("/files").await.expect(403);
    nobody.send(nobody.upload_request("shared.txt", b"changed")).await.expect(401);
    for path in
        ["/admin/keys", "/admin/nodes", "/admin/workers", "/admin/safe-mode", "/admin/explain?filename=shared.txt"]
    {
        mine.get(path).await.expect(403);
        nobody.get(path).await.expect(401);
        cluster.client().get(path).await.expect(200);
    }
    for path in ["/health", "/health/live", "/health/ready", "/metrics"] {
        for client in [&nobody, &nobody.with_key("s3_key_of_last_year"), &reader] {
            client.get(path).await.expect(200);
            client.send(client.request(Method::HEAD, path)).await.expect(200);
        }
    }
    mine.get("/system/health").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_join_by_the_cluster_s_secret_and_keys_survive_a_restored_catalog() {
    let mut cluster = plan().lay_out_joining().await;
    cluster.start_with_keys().await;
    let (client, _) = client_with(&cluster, "*", &EVERYTHING).await;
    put(&client, "/s3/mine/a", "one").await.expect(200);
    cluster.coordinator.kill();

    let restored = cluster.data("restored");
    let nodes = cluster.nodes.iter().map(|node| node.url()).collect::<Vec<_>>().join(",");
    let output = std::process::Command::new(testing::real::program("coordinator"))
        .args(["restore-catalog", "--from-nodes", "--node", &nodes, "--data"])
        .arg(&restored)
        .arg("--cluster-file")
        .arg(cluster.cluster_file())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    cluster.coordinator.change_flag("--data", restored.display());
    cluster.start_coordinator().await;
    eventually("its key opens the restored catalog", super::WAIT, || async {
        let reply = client.get("/s3/mine/a").await;
        if reply.status == 200 { Ok(()) } else { Err(reply.to_string()) }
    })
    .await;
    assert_eq!(cluster.announced_keys().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_admin_key_is_made_anew_by_whoever_has_the_machine() {
    let mut cluster = start(plan()).await;
    let lost = cluster.client();
    cluster.stop_all();
    cluster.coordinator.switch("--reset-admin-key");
    cluster.coordinator.clear_log();
    cluster.start_with_keys().await;
    cluster.client().get("/admin/keys").await.expect(200);
    lost.get("/admin/keys").await.expect(401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_credentials_key_is_refused_at_the_start() {
    let mut cluster = start(plan()).await;
    cluster.stop_all();
    let file = cluster.root().join("credentials.key");
    let write = |text: &str| std::io::Write::write_all(&mut std::fs::File::create(&file).unwrap(), text.as_bytes());
    write(&"k".repeat(64)).unwrap();
    cluster.coordinator.flag("--credentials-key-file", file.display());
    let refusal = Cluster::refusal_of(&mut cluster.coordinator);
    assert!(refusal.contains("credentials key"), "{refusal}");
    write("short").unwrap();
    let refusal = Cluster::refusal_of(&mut cluster.coordinator);
    assert!(refusal.contains("at least 32"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_key_could_be_or_match_is_refused() {
    let cluster = start(plan()).await;
    let admin = cluster.client();
    let policy = |pattern: &str| json!([{ "buckets": [pattern], "actions": ["read"] }]);
    for pattern in ["a?c", "[ab]", "Big", "a_b", "", "a/b"] {
        let refused = post(&admin, "/admin/keys", json!({ "policy": policy(pattern) })).await.expect(400);
        assert!(refused.error().contains("pattern") || refused.error().contains("matches no bucket"), "{refused}");
    }
    post(&admin, "/admin/keys", json!({ "policy": policy("a-*-1") })).await.expect(201);
    post(&admin, "/admin/keys", json!({ "expires_in_s": 0 })).await.expect(400);
    let first = cluster.make_key(json!({})).await;
    let sharer = cluster.make_key(json!({ "owner": first["id"] })).await;
    let refused = post(&admin, "/admin/keys", json!({ "owner": sharer["id"] })).await.expect(400);
    assert!(refused.error().contains("`owner`"), "{refused}");
}
