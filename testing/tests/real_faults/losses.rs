//! What is lost for good is made again (faults 16, 31, 32, 37; B1, B2, I17): a census of the segment files says so, no server.

use std::path::{Path, PathBuf};
use std::time::Duration;
use testing::fsck::{self, Report};
use testing::real::{Client, Cluster, Plan, eventually, flip_bits_in, random_bytes};

/// How long the cluster may take to mend what these tests break, in a debug build beside others.
const MEND_WAIT: Duration = Duration::from_secs(90);

async fn filled() -> (Cluster, Vec<(String, Vec<u8>)>) {
    let plan = Plan::new()
        .coordinator_flag("--cache-bytes", "0")
        .coordinator_flag("--probe-interval-s", "1")
        .coordinator_flag("--orphan-grace-s", "1")
        .coordinator_flag("--scrub-bytes-per-s", "0")
        .node_flag("--segment-bytes", "16MiB");
    let cluster = plan.start().await;
    let client = cluster.client();
    let mut files = Vec::new();
    for n in 0..40 {
        let (name, data) = (format!("kept/{n}"), random_bytes(n, 1_000 + 60_000 * n as usize));
        client.upload(&name, &data).await;
        files.push((name, data));
    }
    (cluster, files)
}

/// Waits until every chunk has three good copies on the disks, whatever the servers say.
async fn mended(cluster: &Cluster) -> Report {
    let nodes: Vec<PathBuf> = (1..=4).map(|number| cluster.data(&format!("n{number}"))).collect();
    eventually("every chunk has three copies again", MEND_WAIT, || async {
        let options = fsck::Options { nodes: nodes.clone(), catalog: None, copies: 3, sample: 1 };
        let report =
            tokio::task::spawn_blocking(move || fsck::check(&options)).await.map_err(|error| error.to_string())?;
        let report = report.map_err(|error| error.to_string())?;
        if report.short.count == 0 && report.chunks > 0 { Ok(report) } else { Err(report.to_string()) }
    })
    .await
}

async fn run(client: &Client, worker: &str) {
    let request = client.request(reqwest::Method::POST, &format!("/admin/workers/{worker}"));
    client.send(request.header("content-type", "application/json").body(r#"{"run":true}"#)).await.expect(200);
}

/// A scrub from its order to its end; how many damaged copies scrubs have counted by then.
async fn scrubbed(client: &Client) -> f64 {
    let told = async |series: &str| {
        let page = client.get("/metrics").await;
        let page = String::from_utf8_lossy(&page.body).into_owned();
        page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok())
    };
    let before = told("scrub_finished_timestamp_seconds").await;
    run(client, "scrub").await;
    eventually("the scrub ends", MEND_WAIT, || async {
        let now = told("scrub_finished_timestamp_seconds").await;
        if now > before { Ok(()) } else { Err(format!("{now:?} after {before:?}")) }
    })
    .await;
    told("damaged_copies_total{found_by=\"scrub\"}").await.expect("it is counted from the start")
}

/// The segment files of a node, in their order.
fn sealed_in(segments: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(segments).expect("it has segments").map(|entry| entry.expect("a segment").path());
    let mut sealed: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).collect();
    sealed.sort();
    sealed
}

async fn read_all(client: &Client, files: &[(String, Vec<u8>)]) {
    for (name, data) in files {
        assert!(client.download(name, None).await.expect(200).body == *data, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_disk_that_is_replaced_is_filled_again() {
    let (mut cluster, files) = filled().await;
    let client = cluster.client();
    std::fs::remove_dir_all(cluster.data("n2")).expect("a directory can be removed");
    read_all(&client, &files).await;
    cluster.node(2).kill();
    cluster.node(2).switch("--replace");
    cluster.start_node(2).await;
    let report = mended(&cluster).await;
    assert!(report.chunks >= 30, "{report}");
    // Any two others may go now.
    cluster.wait_healthy().await;
    cluster.node(1).kill();
    cluster.node(3).kill();
    read_all(&client, &files).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rot_and_cut_segments_are_found_by_a_scrub_and_mended() {
    let (mut cluster, files) = filled().await;
    let client = cluster.client();
    // Stopped in order, every segment is sealed.
    cluster.stop_all();
    let segments = cluster.data("n3").join("segments");
    let mut sealed = sealed_in(&segments);
    assert!(sealed.len() >= 2, "{sealed:?}");
    let cut = sealed.pop().expect("a segment");
    let length = cut.metadata().expect("a segment").len();
    std::fs::OpenOptions::new().write(true).open(&cut).expect("a segment").set_len(length / 2).expect("it can be cut");
    flip_bits_in(&sealed, 7, 20);
    let nodes = (1..=4).map(|number| cluster.data(&format!("n{number}"))).collect();
    let options = fsck::Options { nodes, catalog: None, copies: 3, sample: 1 };
    let damaged =
        tokio::task::spawn_blocking(move || fsck::check(&options)).await.expect("a census").expect("a report");
    assert!(damaged.short.count > 10, "{damaged}");
    cluster.start_all().await;
    read_all(&client, &files).await;
    eventually("the workers have their lease", MEND_WAIT, || async {
        let workers = client.get("/admin/workers").await.expect(200).json();
        if workers["has_lease"] == true { Ok(()) } else { Err(workers.to_string()) }
    })
    .await;
    run(&client, "scrub").await;
    run(&client, "census").await;
    mended(&cluster).await;
    // What was mended still lies there, and is no news.
    let before = scrubbed(&client).await;
    assert_eq!(scrubbed(&client).await, before);
    let told = client.get("/admin/workers").await.expect(200).json();
    let scrub = told["workers"].as_array().expect("workers").iter().find(|worker| worker["name"] == "scrub");
    let pass = &scrub.expect("it is one of them")["pass"];
    assert!(pass["began"].is_null() && pass["ended"].is_string(), "{pass}");
    let counted = ["records", "bytes", "damaged_stretches"].map(|what| pass["counts"][what].as_u64());
    assert!(counted.iter().all(|count| *count > Some(0)) && pass["counts"]["corrupt"] == 0, "{pass}");
    cluster.node(1).kill();
    cluster.node(2).kill();
    read_all(&client, &files).await;
}

/// As a mount that is missing leaves it, or a directory that was emptied in part: the disk is the one that it was, and says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_back_with_less_than_it_had_is_filled_again() {
    let (mut cluster, files) = filled().await;
    mended(&cluster).await;
    let segments = cluster.data("n1").join("segments");
    for loses_all in [true, false] {
        // What the index has not saved yet nobody misses; it saves what it has when nothing changes for five seconds.
        tokio::time::sleep(Duration::from_secs(8)).await;
        cluster.node(1).kill();
        match loses_all {
            true => std::fs::remove_dir_all(&segments).expect("a directory can be removed"),
            false => std::fs::remove_file(&sealed_in(&segments)[0]).expect("a file can be removed"),
        }
        cluster.start_node(1).await;
        mended(&cluster).await;
    }
    read_all(&cluster.client(), &files).await;
}
