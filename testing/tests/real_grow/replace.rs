//! A disk that was replaced by an empty one is filled again.

use super::{Files, WORK_WAIT, node, plan};
use crate::census::{holders, wait_clean};
use testing::real::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_disk_is_filled_again() {
    // It is back before it counts as lost, so everything it held is to come back to it.
    let mut cluster = plan("60").start().await;
    let files = Files::upload(&cluster, 40, 300_000).await;
    let before = holders(&mut cluster).await;
    let client = cluster.client();
    let disk = node(&client, "n2").await["disk"].clone();
    cluster.node(2).kill();
    std::fs::remove_dir_all(cluster.data("n2")).expect("a directory can be removed");
    cluster.node(2).switch("--replace");
    cluster.start_node(2).await;
    eventually("the new disk is recorded", WORK_WAIT, || async {
        let told = node(&client, "n2").await;
        if told["disk"] != disk && told["report"]["healthy"] == true { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
    wait_clean(&mut cluster, before.len(), &[]).await;
    assert_eq!(holders(&mut cluster).await, before, "every chunk is where it was");
    // What is on it is right: with two of the others away, it is needed.
    cluster.node(1).kill();
    cluster.node(3).kill();
    files.assert_readable(&cluster).await;
}
