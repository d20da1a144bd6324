//! Two coordinators with directories of one catalog: the older one commits nothing any more (I16).

use super::catch_up::journal_of;
use super::{PROGRESS_WAIT, report, restore};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testing::real::{Cluster, LoadPlan, Plan, eventually, read_back};

const REFUSED_WAIT: Duration = Duration::from_secs(30);
const ATTEMPT_EVERY: Duration = Duration::from_millis(300);
const ATTEMPTS_MAX: u32 = 100;

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_is_fenced_by_a_restore_and_its_directory_is_refused() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client();
    client.upload("before", b"one").await;
    // The catalog grew from node to node; until the last ones have its beginning too, a restore is right to refuse.
    eventually("enough nodes have the journal", REFUSED_WAIT, || async {
        let output = restore(&cluster, "restored", &[1, 2, 3, 4]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() || said.contains("gave a journal"), "{said}");
        if output.status.success() { Ok(()) } else { Err(said) }
    })
    .await;

    // Each attempt may be the one by which it finds out; none may succeed. What it has grows old, so it ends, and answers no reads (law 7).
    let mut attempts = 0;
    let status = loop {
        attempts += 1;
        assert!(attempts < ATTEMPTS_MAX, "it still runs after {attempts} writes that were refused");
        if let Ok(reply) = client.try_send(client.upload_request("after", b"two")).await {
            assert_eq!(reply.status, 503, "{reply}");
        }
        if let Some(status) = cluster.coordinator.wait(ATTEMPT_EVERY) {
            break status;
        }
    };
    assert!(!status.success(), "{status}");
    assert!(cluster.coordinator.log().contains("commits nothing any more"));
    let said = Cluster::refusal_of(&mut cluster.coordinator);
    assert!(said.contains("another coordinator has taken over"), "{said}");

    let restored = cluster.data("restored").display().to_string();
    cluster.coordinator.change_flag("--data", restored);
    cluster.start_coordinator().await;
    cluster.wait_healthy().await;
    client.download("before", None).await.expect(200);
    client.upload("after", b"three").await;
}

/// The old coordinator need not be stopped first, whatever it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_beside_a_coordinator_under_load_ends_it_and_loses_nothing() {
    let mut cluster = Cluster::start().await;
    let load = LoadPlan::new(612).begin(&cluster.client());
    load.more(200, PROGRESS_WAIT).await;
    report(&restore(&cluster, "restored", &[1, 2, 3, 4]));
    let status = cluster.coordinator.wait(REFUSED_WAIT).expect("it is fenced, so it ends");
    assert!(!status.success(), "{status}");
    let ledger = load.end().await;
    let restored = cluster.data("restored").display().to_string();
    cluster.coordinator.change_flag("--data", restored);
    cluster.start_coordinator().await;
    let read = read_back(&cluster.client(), &ledger).await;
    assert!(read.versions >= 100, "only {} versions: nothing was tested", read.versions);
}

/// What cannot succeed must not end the coordinator that there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_is_refused_fences_nobody() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client();
    client.upload("before", b"one").await;
    for node in [2, 3] {
        cluster.node(node).kill();
    }
    let output = restore(&cluster, "restored", &[1, 2, 3, 4]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && !cluster.data("restored").exists(), "{said}");
    cluster.start_all().await;
    cluster.wait_healthy().await;
    client.upload("after", b"two").await;
    assert_eq!(client.names("").await, ["after", "before"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_from_a_backup_is_refused() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client();
    client.upload("first", b"one").await;
    cluster.coordinator.kill();
    copy(&cluster.data("coordinator"), &cluster.data("backup"));
    cluster.start_coordinator().await;
    cluster.wait_healthy().await;
    client.upload("second", b"two").await;
    cluster.coordinator.kill();
    let backup = cluster.data("backup").display().to_string();
    cluster.coordinator.change_flag("--data", backup);
    let said = Cluster::refusal_of(&mut cluster.coordinator);
    assert!(said.contains("another coordinator has taken over") && said.contains("restore-catalog"), "{said}");

    // The right directory is not disturbed by that.
    let right = cluster.data("coordinator").display().to_string();
    cluster.coordinator.change_flag("--data", right);
    cluster.start_coordinator().await;
    cluster.wait_healthy().await;
    client.upload("third", b"three").await;
    assert_eq!(client.names("").await, ["first", "second", "third"]);
}

/// A disk that was not mounted, or a directory that was deleted: of what is in the catalog such a coordinator says nothing, least of all
/// that it is not there; and one node that knows better is enough to end it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_directory_is_never_taken_for_an_empty_cluster() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client();
    client.upload("file", b"one").await;
    eventually("node 2 keeps the journal", REFUSED_WAIT, || async {
        let (last, _) = journal_of(&cluster, 2).await?;
        if last > 0 { Ok(()) } else { Err("it is empty".to_owned()) }
    })
    .await;
    cluster.kill_all();
    let empty = cluster.data("empty").display().to_string();
    cluster.coordinator.change_flag("--data", empty);
    cluster.start_coordinator().await;
    for path in
        ["/download?filename=file", "/files", "/versions?filename=file", "/s3/files/file", "/buckets", "/objects"]
    {
        let reply = client.get(path).await.expect(503);
        assert!(reply.to_string().contains("is not known until enough nodes answer"), "{path}: {reply}");
    }
    cluster.s3().get("/files/file").await.expect(503);
    client.send(client.upload_request("file", b"two")).await.expect(503);
    client.get("/health/ready").await.expect(503);
    client.get("/health/live").await.expect(200);
    let found = client.get("/admin/diagnose").await.expect(200).to_string();
    assert!(found.contains("The catalog cannot be read"), "{found}");

    cluster.start_node(2).await;
    let status = cluster.coordinator.wait(REFUSED_WAIT).expect("it is not the newest, so it ends");
    assert!(!status.success(), "{status}");
    let said = cluster.coordinator.log();
    assert!(said.contains("this directory is empty, but node n2 keeps the journal"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_nodes_a_start_serves_reads_and_says_why_it_does_not_write() {
    let mut cluster = Plan::new().start().await;
    let client = cluster.client();
    client.upload("file", b"one").await;
    client.delete("file").await;
    cluster.kill_all();
    cluster.start_coordinator().await;
    assert_eq!(client.versions("file").await.len(), 2, "the catalog is there");
    let reply = client.send(client.delete_request("file", true)).await.expect(503);
    assert!(reply.to_string().contains("catalog journal"), "{reply}");
    cluster.start_all().await;
    eventually("it commits once the nodes are up", REFUSED_WAIT, || async {
        let reply = client.send(client.delete_request("file", true)).await;
        if reply.status == 200 { Ok(()) } else { Err(reply.to_string()) }
    })
    .await;
    cluster.stop_all();
}
