//! Counts copies by what the nodes themselves list, not by what the coordinator says.

use crate::{WORK_WAIT, post};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use testing::real::{Cluster, eventually};

/// Copies of a chunk.
const COPIES: usize = 3;

/// The nodes that hold each chunk, among those that run.
pub async fn holders(cluster: &mut Cluster) -> BTreeMap<String, BTreeSet<String>> {
    let identity = std::fs::read(cluster.cluster_file()).expect("the cluster file can be read");
    let identity: serde_json::Value = serde_json::from_slice(&identity).expect("it is JSON");
    let text = |field: &str| identity[field].as_str().expect("a text").to_owned();
    let headers = [("x-holdfast-secret", text("secret")), ("x-holdfast-cluster", text("cluster"))];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut holders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for number in 1..=cluster.nodes.len() {
        if !cluster.node(number).is_running() {
            continue;
        }
        let mut after = String::new();
        loop {
            let path = format!("/shards?limit=1000{after}");
            let page = cluster.node_client(number).get_with(&path, &headers).await.expect(200).json();
            for shard in page["shards"].as_array().expect("shards are listed") {
                let id = shard["id"].as_str().expect("a shard has an id");
                let (chunk, _) = id.rsplit_once('-').expect("chunk and index");
                holders.entry(chunk.to_owned()).or_default().insert(format!("n{number}"));
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
    }
    holders
}

/// Panics if a chunk is on fewer nodes than it should be.
pub fn assert_whole(holders: &BTreeMap<String, BTreeSet<String>>) {
    assert!(!holders.is_empty(), "the nodes hold nothing: the test tests nothing");
    for (chunk, nodes) in holders {
        assert!(nodes.len() >= COPIES, "chunk {chunk} is on {nodes:?} only");
    }
}

/// Waits until each of `chunks` chunks is on exactly three of the nodes that run, none of them `without`. A slow write may leave a copy
/// that nothing names; the census removes it.
pub async fn wait_clean(cluster: &mut Cluster, chunks: usize, without: &[&str]) {
    let client = cluster.client();
    post(&client, "/admin/workers/census", json!({ "run": true })).await.expect(200);
    let cluster = tokio::sync::Mutex::new(cluster);
    eventually("every chunk has three copies and no more", WORK_WAIT, || async {
        let holders = holders(*cluster.lock().await).await;
        let wrong = holders
            .iter()
            .find(|(_, nodes)| nodes.len() != COPIES || without.iter().any(|without| nodes.contains(*without)));
        match wrong {
            None if holders.len() == chunks => Ok(()),
            None => Err(format!("{} chunks of {chunks}", holders.len())),
            Some((chunk, nodes)) => {
                if nodes.len() > COPIES {
                    post(&client, "/admin/workers/census", json!({ "run": true })).await.expect(200);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(format!("chunk {chunk} is on {nodes:?}"))
            }
        }
    })
    .await;
}
