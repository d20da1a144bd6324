//! A10–A13: lists, versions, deletes, health.

use serde_json::{Value, json};
use std::time::Duration;
use testing::real::{Cluster, Plan, eventually, sha256};

#[tokio::test]
async fn files_are_listed_by_name_in_pages() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    assert_eq!(client.get("/files").await.expect(200).json()["files"], json!([]));
    let names = ["b/2", "a", "b/10", "é", "b/1", "B", "c", "b"];
    for name in names {
        client.upload(name, name.as_bytes()).await;
    }
    client.upload("b/1", b"second version").await;
    let mut sorted = names.map(str::to_owned);
    sorted.sort();
    assert_eq!(client.names("").await, sorted);

    let page = client.get("/files?prefix=b/&limit=2").await.expect(200).json();
    assert_eq!(listed(&page), ["b/1", "b/10"]);
    let line = &page["files"][0];
    assert_eq!((&line["size"], &line["version"]), (&14.into(), &2.into()), "{line}");
    assert_eq!(line["availability_status"], "available", "{line}");
    assert!(line["last_modified"].as_str().is_some_and(|time| time.ends_with('Z') && time.len() >= 20), "{line}");
    let rest = client.get("/files?prefix=b/&limit=2&after=b/10").await.expect(200).json();
    assert_eq!(listed(&rest), ["b/2"]);
    assert!(rest["next"].is_null(), "{rest}");
    // Any text may stand in `after`, whether it is a name or not.
    assert_eq!(listed(&client.get("/files?after=b/19").await.expect(200).json()), ["b/2", "c", "é"]);
    assert_eq!(listed(&client.get("/files?after=zzz&prefix=a").await.expect(200).json()), [""; 0]);
    for bad in ["limit=0", "limit=1001", "limit=x", "limit=-1", "prefix=%00", "after=a%00", "prefix=%ff"] {
        client.get(&format!("/files?{bad}")).await.expect(400);
    }
    // Pages of one go through all of it.
    let mut after = String::new();
    for name in &sorted {
        let page = client.get(&format!("/files?limit=1{after}")).await.expect(200).json();
        assert_eq!(listed(&page), [name.as_str()]);
        after = format!("&after={}", testing::real::encode(name.as_bytes()));
    }
    client.delete("b/10").await;
    assert_eq!(client.names("b/").await, ["b/1", "b/2"], "a delete is seen by the next list");
}

#[tokio::test]
async fn a_delete_is_a_marker_and_a_purge_the_end() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    client.upload("example.txt", b"one").await;
    client.upload("example.txt", b"two").await;
    let of_one = client.request(reqwest::Method::DELETE, "/delete?filename=example.txt&version=1");
    client.send(of_one).await.expect(400);
    assert_eq!(client.delete("example.txt").await, "example.txt deleted successfully");
    assert_eq!(client.delete("example.txt").await, "example.txt not found or already deleted");
    assert_eq!(client.delete("never.txt").await, "never.txt not found or already deleted");
    let gone = "File 'example.txt' does not exist";
    client.download("example.txt", None).await.expect_error(404, gone);
    assert_eq!(client.download("example.txt", Some(1)).await.expect(200).body, "one");
    assert_eq!(client.download("example.txt", Some(2)).await.expect(200).body, "two");
    let marker = client.download("example.txt", Some(3)).await;
    marker.expect_error(404, "Version 3 of file 'example.txt' does not exist");
    let versions = client.versions("example.txt").await;
    let states: Vec<(&Value, &Value)> = versions.iter().map(|entry| (&entry["version"], &entry["deleted"])).collect();
    assert_eq!(states, [(&json!(1), &json!(false)), (&json!(2), &json!(false)), (&json!(3), &json!(true))]);
    assert_eq!(versions[1]["sha256"], sha256(b"two"));
    assert_eq!((&versions[1]["size"], &versions[1]["shared_bytes"]), (&json!(3), &json!(0)));

    assert_eq!(client.upload("example.txt", b"four").await["version"], 4, "a delete consumes a number");
    let purge = client.send(client.delete_request("example.txt", true)).await.expect(200).json();
    assert_eq!(purge["message"], "example.txt deleted successfully");
    let again = client.send(client.delete_request("example.txt", true)).await.expect(200).json();
    assert_eq!(again["message"], "example.txt not found or already deleted");
    for version in [None, Some(1), Some(2), Some(4)] {
        client.download("example.txt", version).await.expect(404);
    }
    client.get("/versions?filename=example.txt").await.expect(404);
    assert!(client.names("").await.is_empty());
    let after_purge = client.upload("example.txt", b"anew").await["version"].as_u64().expect("a number");
    assert!(after_purge > 4, "numbers are never used twice: {after_purge}");
    assert_eq!(client.versions("example.txt").await.len(), 1);
    client.send(client.request(reqwest::Method::DELETE, "/delete")).await.expect(400);
    // What cannot be undone is done only for who said so.
    for unclear in ["purge=maybe", "purge=", "purge"] {
        let path = format!("/delete?filename=example.txt&{unclear}");
        client.send(client.request(reqwest::Method::DELETE, &path)).await.expect(400);
    }
    let conditions = [("if-match", "\"0\""), ("if-unmodified-since", "Wed, 21 Oct 1998 07:28:00 GMT")];
    for (header, value) in conditions {
        for purge in [false, true] {
            let request = client.delete_request("example.txt", purge).header(header, value);
            client.send(request).await.expect(412);
        }
    }
    assert_eq!(client.versions("example.txt").await.len(), 1, "nothing was deleted");
    let request = client.delete_request("example.txt", true).header("if-match", format!("\"{}\"", sha256(b"anew")));
    client.send(request).await.expect(200);
    client.download("example.txt", None).await.expect(404);
}

#[tokio::test]
async fn versions_come_in_pages() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    for n in 0..5 {
        client.upload("v", format!("state {n}").as_bytes()).await;
    }
    let page = client.get("/versions?filename=v&limit=2&after=1").await.expect(200).json();
    let numbers: Vec<&Value> =
        page["versions"].as_array().expect("a list").iter().map(|entry| &entry["version"]).collect();
    assert_eq!(numbers, [2, 3]);
    assert_eq!(page["next"], 3);
    let last = &client.versions("v").await[4];
    assert_eq!((&last["version"], &last["current"]), (&json!(5), &json!(true)), "{last}");
    client.get("/versions?filename=v&after=x").await.expect_error(400, "Invalid version number format");
}

#[tokio::test]
async fn health_follows_the_nodes() {
    let mut cluster = Plan::new().coordinator_flag("--probe-interval-s", "1").start().await;
    let client = cluster.client();
    let health = client.get("/health").await.expect(200).json();
    assert_eq!(health["status"], "healthy");
    for name in ["service", "hostname", "serverID", "role"] {
        assert!(health[name].as_str().is_some_and(|text| !text.is_empty()), "{name} in {health}");
    }
    let system = client.get("/system/health").await.expect(200).json();
    assert_eq!(
        (&system["status"], &system["totalNodes"], &system["healthyNodes"]),
        (&json!("healthy"), &json!(4), &json!(4))
    );
    let port = cluster.nodes[1].port;
    let line = client.node_line(port).await;
    assert_eq!((&line["id"], &line["healthy"], &line["circuitState"]), (&json!("n2"), &json!(true), &json!("CLOSED")));
    assert!(
        line["error"].is_null() && line["free_bytes"].as_u64() > Some(0) && line["last_seen"].is_string(),
        "{line}"
    );

    cluster.node(2).kill();
    let line = eventually("a dead node is noticed", Duration::from_secs(10), || async {
        let line = client.node_line(port).await;
        if line["healthy"] == false { Ok(line) } else { Err(line.to_string()) }
    })
    .await;
    assert!(line["error"].is_string(), "{line}");
    let system = client.get("/system/health").await.expect(200).json();
    assert_eq!((&system["status"], &system["healthyNodes"]), (&json!("degraded"), &json!(3)), "{system}");
    client.get("/health").await.expect(200);
    client.upload("listed.txt", b"while a node is down").await;
    let listed = client.get("/files").await.json();
    assert_eq!(listed["files"][0]["availability_status"], "degraded", "{listed}");
    eventually("its breaker opens", Duration::from_secs(15), || async {
        let line = client.node_line(port).await;
        if line["circuitState"] == "OPEN" { Ok(()) } else { Err(line.to_string()) }
    })
    .await;

    cluster.start_node(2).await;
    cluster.wait_healthy().await;
    eventually("its breaker closes", Duration::from_secs(10), || async {
        let line = client.node_line(port).await;
        if line["circuitState"] == "CLOSED" { Ok(()) } else { Err(line.to_string()) }
    })
    .await;
}

fn listed(page: &Value) -> Vec<&str> {
    page["files"].as_array().expect("files").iter().map(|file| file["filename"].as_str().expect("a name")).collect()
}
