//! The durability receipt of any version can be asked for again, and says what is true now.

use super::settled;
use serde_json::json;
use std::time::Duration;
use testing::real::{Cluster, Plan, eventually, random_bytes};

#[tokio::test]
async fn it_says_what_is_on_record_while_every_node_answers() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let uploaded = client.upload("r.bin", &random_bytes(1, 700_000)).await;
    settled(&client, "r.bin").await;
    client.upload("r.bin", b"second").await;
    for path in ["/receipt?filename=r.bin&version=1", "/receipt?bucket=files&key=r.bin&version=1"] {
        let reply = client.get(path).await.expect(200);
        let receipt = reply.json();
        assert_eq!(receipt["receipt"], json!({"copies": 3, "fsynced": 3, "pending": 0, "survives": 2}), "{path}");
        assert_eq!((&receipt["versionId"], &receipt["chunks"]), (&uploaded["versionId"], &uploaded["chunks"]));
        assert_eq!(receipt["recorded"], 3);
        assert_eq!(reply.header("x-holdfast-durability"), "copies=3; fsynced=3; pending=0; survives=2");
        assert_eq!(receipt["weakest"]["nodes"].as_array().map(Vec::len), Some(3), "{receipt}");
    }
    let latest = client.get("/receipt?filename=r.bin").await.expect(200).json();
    assert_eq!((&latest["version"], &latest["size"]), (&2.into(), &6.into()));
    client.upload("empty", b"").await;
    let empty = client.get("/receipt?filename=empty").await.expect(200).json();
    assert_eq!((&empty["chunks"], &empty["weakest"]), (&0.into(), &json!(null)));
}

#[tokio::test]
async fn copies_on_nodes_that_are_away_are_not_promised() {
    let mut cluster = Plan::new().coordinator_flag("--probe-interval-s", "1").start().await;
    let client = cluster.client();
    client.upload("r.bin", &random_bytes(2, 500_000)).await;
    settled(&client, "r.bin").await;
    let held = client.get("/receipt?filename=r.bin").await.expect(200).json()["weakest"]["nodes"][0].clone();
    let number: usize =
        held.as_str().and_then(|name| name.strip_prefix('n')).and_then(|n| n.parse().ok()).expect("n1…");
    cluster.node(number).kill();
    let receipt = eventually("the receipt counts one copy less", Duration::from_secs(15), || async {
        let receipt = client.get("/receipt?filename=r.bin").await.expect(200).json();
        if receipt["receipt"]["copies"] == 2 { Ok(receipt) } else { Err(receipt.to_string()) }
    })
    .await;
    assert_eq!(receipt["receipt"], json!({"copies": 2, "fsynced": 2, "pending": 1, "survives": 1}));
    assert_eq!((&receipt["recorded"], &receipt["weakest"]["away"]), (&3.into(), &json!([held])));
}

#[tokio::test]
async fn what_is_not_there_has_none() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    client.upload("x", b"one").await;
    for missing in ["filename=y", "filename=x&version=2", "bucket=other&key=x"] {
        for path in ["/receipt", "/admin/explain"] {
            client.get(&format!("{path}?{missing}")).await.expect(404);
        }
    }
    for bad in [
        "",
        "bucket=files",
        "key=x",
        "filename=x&bucket=files&key=x",
        "filename=",
        "filename=%ff",
        "filename=a%00",
        "filename=x&version=abc",
        "bucket=No&key=x",
    ] {
        for path in ["/receipt", "/admin/explain"] {
            client.get(&format!("{path}?{bad}")).await.expect(400);
        }
    }
    client.delete("x").await;
    client.get("/receipt?filename=x").await.expect(404);
    client.get("/receipt?filename=x&version=1").await.expect(200);
}
