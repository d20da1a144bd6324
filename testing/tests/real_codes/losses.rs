//! Nodes are away, and lost.

use super::{WORK_WAIT, chunks, plan, upload};
use serde_json::Value;
use testing::real::{Client, eventually, random_bytes};

/// Sizes of files: nothing, a byte, an odd number of bytes in one chunk, and many chunks.
const SIZES: [usize; 4] = [0, 1, 100_001, (3 << 20) + 17];

async fn upload_all(client: &Client) {
    for (n, size) in (0..).zip(SIZES) {
        let told = upload(client, &format!("file {n}"), "ec", &random_bytes(n, size)).await.expect(201).json();
        assert_eq!(told["strategy"], "ec", "{told}");
        assert!(
            told["receipt"]["survives"].as_u64() >= Some(1),
            "a node may be lost the moment it is answered: {told}"
        );
    }
}

async fn assert_readable(client: &Client) {
    for (n, size) in (0..).zip(SIZES) {
        let reply = client.download(&format!("file {n}"), None).await.expect(200);
        assert!(reply.body == random_bytes(n, size), "file {n} of {size} bytes");
    }
    let all = random_bytes(3, SIZES[3]);
    for (from, to) in [(0, 0), (1, 70_000), (1_000_001, 2_500_002), (SIZES[3] - 3, SIZES[3] - 1)] {
        let range = format!("bytes={from}-{to}");
        let reply = client.get_with("/files/file%203", &[("range", range.as_str())]).await.expect(206);
        assert!(reply.body == all[from..=to], "{range}");
    }
}

fn nodes_of(chunk: &Value) -> Vec<&str> {
    let copies = chunk["copies"].as_array().expect("shards are listed").iter();
    copies.map(|copy| copy["node"].as_str().expect("a node has a name")).collect()
}

/// Waits until each chunk has six shards on nodes of their own, none of them on `without`, and nothing is to be repaired.
async fn wait_whole(client: &Client, without: &str) {
    eventually("every chunk has six shards", WORK_WAIT, || async {
        for n in 1..SIZES.len() {
            for chunk in chunks(client, &format!("file {n}")).await {
                let nodes = nodes_of(&chunk);
                if nodes.len() != 6 || nodes.contains(&without) || !chunk["repair"].is_null() {
                    return Err(chunk.to_string());
                }
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_two_of_six_nodes_away_every_byte_is_read() {
    let mut cluster = plan(6, "600").start().await;
    let client = cluster.client();
    upload_all(&client).await;
    wait_whole(&client, "").await;
    for chunk in chunks(&client, "file 3").await {
        assert_eq!((chunk["code"].as_str(), chunk["readable"].as_bool()), (Some("4+2"), Some(true)), "{chunk}");
        let lost = |failing: &str| chunk[failing]["lost_by"].as_array().expect("a list").len();
        assert_eq!((lost("one_failure"), lost("two_failures")), (0, 0), "{chunk}");
    }
    cluster.node(2).kill();
    cluster.node(5).kill();
    assert_readable(&client).await;
    eventually("a coded write is refused", WORK_WAIT, || async {
        let reply = upload(&client, "late", "ec", b"five shards are needed").await;
        if reply.status == 503 { Ok(()) } else { Err(reply.to_string()) }
    })
    .await;
    upload(&client, "copies", "replication", b"three of four nodes").await.expect(201);
    cluster.start_node(2).await;
    cluster.start_node(5).await;
    assert_readable(&client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_lost_node_held_is_rebuilt_elsewhere() {
    let mut cluster = plan(7, "3").start().await;
    let client = cluster.client();
    upload_all(&client).await;
    wait_whole(&client, "").await;
    let held = chunks(&client, "file 3").await.iter().any(|chunk| nodes_of(chunk).contains(&"n3"));
    assert!(held, "n3 holds nothing: the test tests nothing");
    cluster.node(3).kill();
    wait_whole(&client, "n3").await;
    // What was computed is right: with two of the others away, it is needed.
    cluster.node(1).kill();
    cluster.node(6).kill();
    assert_readable(&client).await;
}
