//! Writers of one name at the same time (law 7, faults I6).

use std::collections::BTreeMap;
use testing::real::{Cluster, random_bytes};
use tokio::task::JoinSet;

const WRITERS: u64 = 16;

#[tokio::test]
async fn of_racing_creates_exactly_one_wins() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        let client = client.clone();
        writers.spawn(async move {
            let request = client.upload_request("created", &random_bytes(n, 2_000)).header("if-none-match", "*");
            (n, client.send(request).await)
        });
    }
    let mut winners = Vec::new();
    while let Some(done) = writers.join_next().await {
        let (n, reply) = done.expect("a writer does not panic");
        match reply.status {
            201 => winners.push(n),
            412 => {}
            _ => panic!("writer {n}: {reply}"),
        }
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert!(client.download("created", None).await.expect(200).body == random_bytes(winners[0], 2_000));
    assert_eq!(client.versions("created").await.len(), 1);
}

#[tokio::test]
async fn racing_uploads_get_consecutive_versions_each_with_its_own_bytes() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        let client = client.clone();
        // Some fit one batch and some do not; some are alike in their first bytes.
        let size = if n % 4 == 0 { 3 << 20 } else { 10_000 };
        writers.spawn(async move { (n, size, client.upload("raced", &random_bytes(n, size)).await) });
    }
    let mut versions = BTreeMap::new();
    while let Some(done) = writers.join_next().await {
        let (n, size, reply) = done.expect("a writer does not panic");
        versions.insert(reply["version"].as_u64().expect("a number"), (n, size));
    }
    let numbers: Vec<u64> = versions.keys().copied().collect();
    assert_eq!(numbers, (1..=WRITERS).collect::<Vec<_>>());
    for (version, (n, size)) in &versions {
        let reply = client.download("raced", Some(*version)).await.expect(200);
        assert!(reply.body == random_bytes(*n, *size), "version {version} is not what writer {n} sent");
    }
    let latest = client.download("raced", None).await;
    assert_eq!(latest.header("x-holdfast-version"), WRITERS.to_string());
}

#[tokio::test]
async fn racing_deletes_and_uploads_leave_a_history_that_adds_up() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    client.upload("contested", b"first").await;
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        let client = client.clone();
        writers.spawn(async move {
            if n % 2 == 0 {
                client.upload("contested", &random_bytes(n, 500)).await;
                (1, 0)
            } else {
                (0, usize::from(client.delete("contested").await.ends_with("deleted successfully")))
            }
        });
    }
    let (mut uploads, mut deletes) = (1, 0);
    while let Some(done) = writers.join_next().await {
        let (uploaded, deleted) = done.expect("a writer does not panic");
        (uploads, deletes) = (uploads + uploaded, deletes + deleted);
    }
    let versions = client.versions("contested").await;
    let markers = versions.iter().filter(|entry| entry["deleted"] == true).count();
    assert_eq!((versions.len() - markers, markers), (uploads, deletes), "{versions:?}");
    let twice = versions.windows(2).any(|pair| pair[0]["deleted"] == true && pair[1]["deleted"] == true);
    assert!(!twice, "what is deleted cannot be deleted again: {versions:?}");
}
