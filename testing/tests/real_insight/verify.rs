//! `POST /admin/verify`: every copy is read on its own, and what is wrong is told, queued and mended.

use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use testing::real::{Client, Cluster, Plan, eventually, flip_bits, random_bytes};

const WAIT: Duration = Duration::from_secs(60);

fn request(client: &Client, query: &str, order: &Value) -> reqwest::RequestBuilder {
    client.request(Method::POST, &format!("/admin/verify{query}")).body(order.to_string())
}

/// Verifies and waits for the report.
async fn verify(client: &Client, order: Value) -> Value {
    client.send(request(client, "?wait=true&limit=1000", &order)).await.expect(200).json()
}

/// All findings of a report, page by page.
async fn findings(client: &Client, report: &Value) -> Vec<Value> {
    let id = report["id"].as_str().expect("a report has an id");
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = client.get(&format!("/admin/verify/{id}?limit=7&after={after}")).await.expect(200).json();
        all.extend(page["findings"].as_array().expect("findings are listed").clone());
        match page["next"].as_u64() {
            Some(next) => after = next,
            None => return all,
        }
    }
}

async fn pause(client: &Client, worker: &str, paused: bool) {
    let order = json!({ "paused": paused }).to_string();
    client.send(client.request(Method::POST, &format!("/admin/workers/{worker}")).body(order)).await.expect(200);
}

/// Stores some objects in two buckets; gives the number of chunks in the file door's.
async fn fill(client: &Client) -> u64 {
    let mut chunks = 0;
    for n in 0..12u64 {
        let uploaded = client.upload(&format!("dir{}/f{n}", n % 3), &random_bytes(n, 20_000 * n as usize)).await;
        chunks += uploaded["chunks"].as_u64().expect("a count");
    }
    for n in 0..4 {
        let path = format!("/s3/other-bucket/o{n}");
        client.send(client.request(Method::PUT, &path).body(random_bytes(100 + n, 50_000))).await.expect(200);
    }
    nothing_waits(client).await;
    chunks
}

/// Waits until no chunk is short: on a busy machine the last replica may come after the reply.
async fn nothing_waits(client: &Client) {
    eventually("no chunk is short", WAIT, || async {
        let metrics = client.get("/metrics").await.expect(200);
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        let line = text.lines().find(|line| line.starts_with("replication_lag ")).unwrap_or_default().to_owned();
        if line == "replication_lag 0" { Ok(()) } else { Err(line) }
    })
    .await;
}

#[tokio::test]
async fn what_is_sound_is_found_to_be() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let empty = verify(&client, json!({})).await;
    assert_eq!((&empty["clean"], &empty["counts"]["versions"]), (&true.into(), &0.into()), "{empty}");
    let chunks = fill(&client).await;
    client.upload("dir0/f0", b"a second version").await;
    nothing_waits(&client).await;
    client.delete("dir1/f1").await;
    let report = verify(&client, json!({"bucket": "files"})).await;
    assert_eq!(
        (&report["state"], &report["clean"], &report["finding_count"]),
        (&"done".into(), &true.into(), &0.into())
    );
    let counts = &report["counts"];
    assert_eq!((&counts["objects"], &counts["versions"]), (&12.into(), &13.into()), "older versions too: {report}");
    assert_eq!((&counts["chunks"], &counts["copies"]), (&(chunks + 1).into(), &(3 * (chunks + 1)).into()), "{report}");
    assert!(counts["bytes"].as_u64() >= Some(3 * 1_300_000), "{report}");
    let everything = verify(&client, json!({})).await;
    assert_eq!(everything["counts"]["objects"], 16, "{everything}");
    let part = verify(&client, json!({"bucket": "files", "prefix": "dir2/"})).await;
    assert_eq!(part["counts"]["objects"], 4, "{part}");
    let rest = verify(&client, json!({"bucket": "files", "after": "dir1/f7"})).await;
    assert_eq!(rest["counts"]["objects"], 4, "{rest}");
    // What was purged is no one's business any more.
    client.send(client.delete_request("dir2/f2", true)).await.expect(200);
    let part = verify(&client, json!({"bucket": "files", "prefix": "dir2/"})).await;
    assert_eq!((&part["counts"]["objects"], &part["clean"]), (&3.into(), &true.into()), "{part}");
    let jobs = client.get("/admin/verify").await.expect(200).json();
    assert_eq!(jobs["verifications"].as_array().map(Vec::len), Some(6), "{jobs}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_found_copy_by_copy_and_mended() {
    let cluster = Plan::new().coordinator_flag("--cache-bytes", "0").start().await;
    let client = cluster.client();
    fill(&client).await;
    pause(&client, "repair", true).await;
    flip_bits(&cluster.data("n2").join("segments"), 1, 200);
    // Every object is still read well; only a look at each copy finds the damage.
    let report = verify(&client, json!({})).await;
    assert_eq!((&report["clean"], &report["counts"]["missing"]), (&false.into(), &0.into()), "{report}");
    let corrupt = report["counts"]["corrupt"].as_u64().expect("a count");
    assert!(corrupt > 0 && report["counts"]["below_redundancy"] == corrupt, "{report}");
    let found = findings(&client, &report).await;
    assert_eq!(found.len() as u64, corrupt);
    for finding in &found {
        assert_eq!(
            (&finding["node"], &finding["kind"], &finding["repair_queued"]),
            (&"n2".into(), &"corrupt".into(), &true.into()),
            "{finding}"
        );
        assert!(finding["key"].is_string() && finding["chunk"].is_string() && finding["offset"].is_u64(), "{finding}");
    }
    let path = format!("/admin/verify/{}", report["id"].as_str().expect("an id"));
    let page = client.get_with(&path, &[("accept", "text/html")]).await.expect(200);
    let text = String::from_utf8_lossy(&page.body).into_owned();
    assert!(text.contains("corrupt") && text.contains("n2") && text.contains("dir"), "{text}");
    pause(&client, "repair", false).await;
    eventually("all of it is mended", WAIT, || async {
        let report = verify(&client, json!({})).await;
        if report["clean"] == true { Ok(()) } else { Err(report.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_away_makes_its_copies_unreachable_and_one_that_lost_them_missing() {
    let mut cluster = Plan::new().coordinator_flag("--probe-interval-s", "1").start().await;
    let client = cluster.client();
    fill(&client).await;
    for worker in ["repair", "census"] {
        pause(&client, worker, true).await;
    }
    cluster.node(3).kill();
    eventually("n3 is missed", WAIT, || async {
        let health = client.get("/system/health").await.expect(200).json();
        if health["healthyNodes"] == 3 { Ok(()) } else { Err(health.to_string()) }
    })
    .await;
    let report = verify(&client, json!({})).await;
    let unreachable = report["counts"]["unreachable"].as_u64().expect("a count");
    assert!(unreachable > 0 && report["counts"]["missing"] == 0 && report["counts"]["corrupt"] == 0, "{report}");
    let found = findings(&client, &report).await;
    assert!(found.iter().all(|finding| finding["node"] == "n3" && finding["repair_queued"] == false), "{found:?}");
    assert_eq!(found.len() as u64, unreachable);

    std::fs::remove_dir_all(cluster.data("n3")).expect("a disk can be emptied");
    cluster.node(3).switch("--replace");
    cluster.start_node(3).await;
    cluster.wait_healthy().await;
    let report = verify(&client, json!({})).await;
    assert_eq!(
        (&report["counts"]["missing"], &report["counts"]["unreachable"]),
        (&unreachable.into(), &0.into()),
        "{report}"
    );
    for worker in ["repair", "census"] {
        pause(&client, worker, false).await;
    }
    eventually("the new disk is filled", WAIT, || async {
        let report = verify(&client, json!({})).await;
        if report["clean"] == true { Ok(()) } else { Err(report.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_to_its_rate_and_goes_on_after_a_kill() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client();
    let uploaded = client.upload("large.bin", &random_bytes(1, 24 << 20)).await;
    nothing_waits(&client).await;
    let chunks = uploaded["chunks"].as_u64().expect("a count");
    let reply = client.send(request(&client, "", &json!({"bytes_per_s": 12 << 20}))).await.expect(202);
    let path = reply.header("location").to_owned();
    assert_eq!(reply.json()["report"], path.as_str());
    let is_under_way = async |client: &Client| -> Result<Value, String> {
        let report = client.get(&path).await.expect(200).json();
        let begun = report["counts"]["copies"].as_u64() > Some(0) && report["state"] == "running";
        if begun { Ok(report) } else { Err(report.to_string()) }
    };
    let before = eventually("some of it is done", WAIT, || is_under_way(&client)).await;
    assert!(before["counts"]["chunks"].as_u64() < Some(chunks), "{before}");
    cluster.coordinator.kill();
    cluster.start_coordinator().await;
    let client = cluster.client();
    let after = client.get(&path).await.expect(200).json();
    assert!(after["counts"]["chunks"].as_u64() >= before["counts"]["chunks"].as_u64(), "{before}, then {after}");
    let report = eventually("it comes to its end", WAIT, || async {
        let report = client.get(&path).await.expect(200).json();
        if report["state"] == "done" { Ok(report) } else { Err(report.to_string()) }
    })
    .await;
    assert_eq!((&report["clean"], &report["counts"]["chunks"]), (&true.into(), &chunks.into()), "{report}");
    assert_eq!(
        (&report["counts"]["versions"], &report["counts"]["copies"]),
        (&1.into(), &(3 * chunks).into()),
        "{report}"
    );
}

#[tokio::test]
async fn orders_and_ids_that_are_none_are_refused() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    for bad in ["{", r#"{"bucket":"No"}"#, r#"{"prefix":"x"}"#, r#"{"rate":1}"#, r#"{"bytes_per_s":-1}"#] {
        let reply = client.send(client.request(Method::POST, "/admin/verify").body(bad)).await;
        assert_eq!(reply.status, 400, "{bad}: {reply}");
    }
    let no_bucket = client.request(Method::POST, "/admin/verify").body(r#"{"bucket":"no-such-bucket"}"#);
    client.send(no_bucket).await.expect(404);
    client.get("/admin/verify/x").await.expect(400);
    client.get("/admin/verify/00000000-0000-0000-0000-000000000000").await.expect(404);
    client.send(client.request(Method::DELETE, "/admin/verify")).await.expect(405);
    assert_eq!(client.get("/admin/verify").await.expect(200).json(), json!({"verifications": []}));
    // Old reports make room for new ones.
    for _ in 0..35 {
        client.send(request(&client, "?wait=true", &json!({}))).await.expect(200);
    }
    let jobs = client.get("/admin/verify").await.expect(200).json();
    assert_eq!(jobs["verifications"].as_array().map(Vec::len), Some(32), "{jobs}");
}
