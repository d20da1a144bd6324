//! A node that was away, or was emptied, gets the groups that it lacks; then the catalog can be made from it alone.

use super::{PROGRESS_WAIT, restore};
use std::time::Duration;
use testing::real::{Cluster, LoadPlan, eventually, flip_bits};

const CATCH_UP_WAIT: Duration = Duration::from_secs(60);

/// The last group and whether the journal is whole, by the node's own count.
/// The last group in a node's journal, and whether it has the catalog's beginning, too.
pub async fn journal_of(cluster: &Cluster, number: usize) -> Result<(u64, bool), String> {
    let text = std::fs::read_to_string(cluster.cluster_file()).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let client = cluster.node_client(number);
    let (cluster, secret) = (file["cluster"].as_str().unwrap(), file["secret"].as_str().unwrap());
    let headers = [("x-holdfast-cluster", cluster), ("x-holdfast-secret", secret)];
    let reply = client.get_with("/journal", &headers).await;
    let state = reply.json();
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    let (first, last) = (number(&state["first"]), number(&state["last"]["sequence"]));
    Ok((last, first > 0 && first <= number(&state["whole_from"])))
}

async fn wait_until_equal(cluster: &Cluster, number: usize, with: usize) {
    eventually("the journal has caught up", CATCH_UP_WAIT, || async {
        let (found, wanted) = (journal_of(cluster, number).await?, journal_of(cluster, with).await?);
        if found == wanted && found.1 { Ok(()) } else { Err(format!("n{number} {found:?}, n{with} {wanted:?}")) }
    })
    .await;
}

/// A node gets groups before the catalog knows of its disk, and counts once it does.
async fn wait_until_recorded(cluster: &Cluster, number: usize) {
    let disk = cluster.node_client(number).get("/health").await.json()["disk"].clone();
    eventually("the catalog knows of the disk", CATCH_UP_WAIT, || async {
        let told = cluster.client().get(&format!("/admin/nodes/n{number}")).await.json();
        if told["disk"] == disk { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_down_or_emptied_catches_up() {
    let mut cluster = Cluster::start().await;
    let load = LoadPlan::new(77).begin(&cluster.client());
    load.more(20, PROGRESS_WAIT).await;
    cluster.node(4).kill();
    load.more(60, PROGRESS_WAIT).await;
    let (missed, _) = journal_of(&cluster, 1).await.unwrap();
    cluster.start_node(4).await;
    wait_until_equal(&cluster, 4, 1).await;
    assert!(journal_of(&cluster, 4).await.unwrap().0 >= missed);

    cluster.node(3).kill();
    cluster.node(3).switch("--replace");
    cluster.start_node(3).await;
    wait_until_recorded(&cluster, 3).await;
    load.more(20, PROGRESS_WAIT).await;
    wait_until_equal(&cluster, 3, 1).await;
    load.end().await;
    cluster.stop_all();

    // Each of the two has what the others have: the catalog comes from it, though for safety three are asked.
    for number in [3, 4] {
        cluster.start_node(number).await;
    }
    let output = restore(&cluster, "restored", &[3, 4]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("only 2 of them gave a journal"), "{said}");
    cluster.start_node(1).await;
    assert!(restore(&cluster, "restored", &[1, 3, 4]).status.success());
}

/// A scrub from its order to its end: places of the catalog's log, and of its copies, that scrubs have found damaged by then, and groups that
/// they have read.
async fn scrubbed(cluster: &Cluster) -> (f64, f64) {
    let client = cluster.client();
    let told = async |series: &str| {
        let page = client.get("/metrics").await;
        let page = String::from_utf8_lossy(&page.body).into_owned();
        page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok())
    };
    let before = told("scrub_finished_timestamp_seconds").await;
    let request = client.request(reqwest::Method::POST, "/admin/workers/scrub");
    client.send(request.header("content-type", "application/json").body(r#"{"run":true}"#)).await.expect(200);
    eventually("the scrub ends", CATCH_UP_WAIT, || async {
        let now = told("scrub_finished_timestamp_seconds").await;
        if now > before { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
    let told = async |series| told(series).await.expect("it is counted from the start");
    (told("metadata_log_damaged_total").await, told("metadata_log_scrubbed_groups_total").await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrub_finds_what_rots_in_a_journal_which_is_sent_anew() {
    let mut cluster = Cluster::start().await;
    let load = LoadPlan::new(78).begin(&cluster.client());
    load.more(60, PROGRESS_WAIT).await;
    load.end().await;
    wait_until_equal(&cluster, 2, 1).await;
    let (damaged, read) = scrubbed(&cluster).await;
    assert!(damaged == 0.0 && read > 4.0 * 60.0, "each node's journal and the log were read: {damaged} {read}");
    let journal = cluster.data("n2").join("journal");
    assert!(flip_bits(&journal, 9, 40) > 0);
    assert_eq!(scrubbed(&cluster).await.0, 1.0);
    wait_until_equal(&cluster, 2, 1).await;
    assert_eq!(scrubbed(&cluster).await.0, 1.0, "it was sent anew");
    cluster.stop_all();
    // The journal that had rotted is as good as any.
    for number in [2, 3, 4] {
        cluster.start_node(number).await;
    }
    assert!(restore(&cluster, "restored", &[2, 3, 4]).status.success());
}
