//! Indexes that are gone and bits that flipped: never a wrong byte (law 6; I2, I12, I13; B15).

use super::{PROGRESS_WAIT, all_is_there};
use testing::real::{Client, LoadPlan, Plan, flip_bits, random_bytes};

const FLIPS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_is_made_again_from_the_log() {
    let mut cluster = Plan::new().coordinator_flag("--cache-bytes", "0").start().await;
    let load = LoadPlan::new(808).begin(&cluster.client());
    load.more(80, PROGRESS_WAIT).await;
    let ledger = load.end().await;
    cluster.kill_all();
    for name in ["n1", "n2", "coordinator"] {
        std::fs::remove_dir_all(cluster.data(name).join("index")).expect("there is an index to remove");
    }
    cluster.start_all().await;
    // With these two away, everything comes from an index that was made again.
    cluster.node(3).kill();
    cluster.node(4).kill();
    all_is_there(&cluster, &ledger, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_index_misleads_no_one() {
    let mut cluster = Plan::new().coordinator_flag("--cache-bytes", "0").start().await;
    let client = cluster.client();
    let load = LoadPlan::new(909).begin(&client);
    load.more(30, PROGRESS_WAIT).await;
    cluster.node(1).stop(std::time::Duration::from_secs(35));
    let index = cluster.data("n1").join("index");
    let kept = cluster.root().join("index of n1, kept");
    copy_dir(&index, &kept);
    cluster.start_node(1).await;
    cluster.wait_healthy().await;
    load.more(50, PROGRESS_WAIT).await;
    let ledger = load.end().await;
    cluster.node(1).kill();
    std::fs::remove_dir_all(&index).expect("an index can be removed");
    copy_dir(&kept, &index);
    cluster.start_node(1).await;
    cluster.wait_healthy().await;
    cluster.node(3).kill();
    cluster.node(4).kill();
    all_is_there(&cluster, &ledger, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bits_are_never_served() {
    let mut cluster = Plan::new().coordinator_flag("--cache-bytes", "0").start().await;
    let client = cluster.client();
    let files: Vec<(String, Vec<u8>)> =
        (0..60).map(|n| (format!("flip/{n}"), random_bytes(n, 1 + 7_000 * n as usize))).collect();
    for (name, data) in &files {
        client.upload(name, data).await;
    }
    // First while the node runs, then while it is stopped: it must not trust what it knew before.
    flip_bits(&cluster.data("n1").join("segments"), 1, FLIPS);
    assert_eq!(read_all(&client, &files).await, files.len(), "two good copies of everything are left");
    cluster.node(1).kill();
    flip_bits(&cluster.data("n1").join("segments"), 2, FLIPS);
    cluster.start_node(1).await;
    cluster.wait_healthy().await;
    assert_eq!(read_all(&client, &files).await, files.len(), "two good copies of everything are left");
    // With only the damaged node and one other, some files have no good copy: they are refused, or cut off, not made up.
    cluster.node(3).kill();
    cluster.node(4).kill();
    let served = read_all(&client, &files).await;
    println!("{served} of {} files served from a damaged node and one other", files.len());
    assert!(served < files.len(), "{} flips in the only copies were not noticed: nothing was tested", 2 * FLIPS);
    cluster.start_all().await;
    assert_eq!(read_all(&client, &files).await, files.len());
}

/// Downloads everything; wrong bytes are fatal, refusals are counted out.
async fn read_all(client: &Client, files: &[(String, Vec<u8>)]) -> usize {
    let mut served = 0;
    for (name, data) in files {
        match client.try_download(name, None).await {
            Ok(reply) if reply.status == 200 => {
                assert!(reply.body == *data, "{name}: wrong bytes were served");
                served += 1;
            }
            Ok(reply) => assert!(matches!(reply.status, 500 | 503), "{name}: {reply}"),
            // Cut off after the head was sent.
            Err(_) => {}
        }
    }
    served
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "{} cannot be copied", from.display());
}
