//! Full disks: one is no event, all are 507, and reads and deletes go on (I18, B22).

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use testing::real::{Client, Cluster, Plan, Reply, SmallDisk, eventually, random_bytes};

const MIB: u64 = 1 << 20;
const FILE_BYTES: usize = 4 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_room_is_passed_over() {
    // What is kept back for deletes takes all but a little of it.
    let cluster = Plan::new().one_node_flag(1, "--capacity-bytes", "36MiB").start().await;
    let client = cluster.client();
    let files = fill(&cluster, 10).await;
    assert_eq!(files.refused, None, "three nodes have room");
    let line = client.node_line(cluster.nodes[0].port).await;
    assert_eq!((&line["status"], &line["healthy"]), (&"full".into(), &true.into()), "{line}");
    files.read_back(&client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_fills_up_is_passed_over() {
    let test = "a_node_whose_disk_fills_up_is_passed_over";
    let plan = (2..=4).fold(Plan::new(), |plan, node| plan.one_node_flag(node, "--capacity-bytes", "260MiB"));
    let Some(mut cluster) = plan.small_disk(1, 200 * MIB).start_or_skip(test).await else { return };
    let client = cluster.client();
    let mut files = fill(&cluster, 10).await;
    assert_ne!(client.node_line(cluster.nodes[0].port).await["write_latency_us"], 0, "n1 is used as the others are");
    // The coordinator hears of it by the refusals only: its next health check is far away.
    cluster.disks[&1].fill();
    for seed in 10..30 {
        let name = format!("fill/{seed}");
        client.upload(&name, &random_bytes(seed, FILE_BYTES)).await;
        files.stored.insert(name, seed);
    }
    let health = cluster.node_client(1).get("/health").await.json();
    assert_eq!(health["status"], "full", "{health}");
    files.read_back(&client).await;
    // A full disk does not keep a node from starting, with or without its index.
    cluster.node(1).kill();
    cluster.start_node(1).await;
    cluster.node(1).kill();
    std::fs::remove_dir_all(cluster.data("n1").join("index")).expect("the index can be removed");
    cluster.start_node(1).await;
    cluster.wait_healthy().await;
    files.read_back(&client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_nodes_are_full_writes_are_507_and_reads_and_deletes_go_on() {
    let cluster = Plan::new().node_flag("--capacity-bytes", "80MiB").start().await;
    let client = cluster.client();
    let files = fill(&cluster, 120).await;
    full_cluster_serves(&client, &files).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_disks_are_full_writes_are_507_and_resume_when_there_is_room() {
    let test = "when_all_disks_are_full_writes_are_507_and_resume_when_there_is_room";
    let plan = (1..=4).fold(Plan::new(), |plan, node| plan.small_disk(node, 100 * MIB));
    let Some(mut cluster) = plan.start_or_skip(test).await else { return };
    let client = cluster.client();
    let files = fill(&cluster, 120).await;
    full_cluster_serves(&client, &files).await;
    cluster.kill_all();
    cluster.start_all().await;
    files.read_back(&client).await;
    for disk in cluster.disks.values() {
        disk.resize(400 * MIB);
    }
    let resized = Instant::now();
    eventually("writes resume once there is room", Duration::from_secs(40), || async {
        let reply = client.send(client.upload_request("resumed", &random_bytes(77, FILE_BYTES))).await;
        if reply.status == 201 { Ok(()) } else { Err(reply.to_string()) }
    })
    .await;
    println!("writes resumed after {:?}", resized.elapsed());
}

/// The catalog's journals may fill disks as well as shards do. Then nothing is written but what makes room, and neither a restart of the
/// coordinator nor any number of deletes that make none keeps room from being made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn journals_that_fill_the_disks_wedge_nothing() {
    let test = "journals_that_fill_the_disks_wedge_nothing";
    let plan = on_small_disks().coordinator_flag("--trash-window-s", "1").coordinator_flag("--cache-bytes", "0");
    let Some(mut cluster) = plan.start_or_skip(test).await else { return };
    let client = cluster.client();
    let files = fill(&cluster, 120).await;
    assert!(files.refused.is_some(), "the shards take all there is for them");
    cluster.disks.values().for_each(SmallDisk::fill);
    let names = fill_journals(&client).await;

    // Markers free nothing. However many come, what makes room goes on.
    let refused = delete_until_refused(&client, &names).await;
    assert!(refused.to_string().contains("purge"), "it says what would make room: {refused}");
    restart_coordinator(&mut cluster).await;
    files.read_back(&client).await;
    write(&client).await.expect(507);
    for (name, _) in files.stored.iter().take(files.stored.len() / 2) {
        client.send(client.delete_request(name, true)).await.expect(200);
    }
    // What was purged is gone.
    writes_resume(&client, Duration::from_secs(90)).await;
}

/// Nobody need delete anything for it to be seen that there is room again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn journals_see_by_themselves_that_there_is_room_again() {
    let test = "journals_see_by_themselves_that_there_is_room_again";
    let Some(mut cluster) = on_small_disks().start_or_skip(test).await else { return };
    let client = cluster.client();
    cluster.disks.values().for_each(SmallDisk::fill);
    fill_journals(&client).await;
    restart_coordinator(&mut cluster).await;
    write(&client).await.expect(507);
    cluster.disks.values().for_each(|disk| disk.resize(320 * MIB));
    writes_resume(&client, Duration::from_secs(30)).await;
}

/// As many as keep each group of the journal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_join_give_full_journals_room() {
    let test = "nodes_that_join_give_full_journals_room";
    let Some(mut cluster) = on_small_disks().start_or_skip(test).await else { return };
    let client = cluster.client();
    let files = fill(&cluster, 120).await;
    cluster.disks.values().for_each(SmallDisk::fill);
    fill_journals(&client).await;
    write(&client).await.expect(507);
    for _ in 0..2 {
        let number = cluster.add_node();
        cluster.start_node(number).await;
    }
    writes_resume(&client, Duration::from_secs(60)).await;
    files.read_back(&client).await;
}

/// Room for a few files, and for journals that some thousand names fill.
fn on_small_disks() -> Plan {
    (1..=4).fold(Plan::new(), |plan, node| plan.small_disk(node, 160 * MIB))
}

async fn restart_coordinator(cluster: &mut Cluster) {
    cluster.coordinator.kill();
    cluster.start_coordinator().await;
    cluster.wait_healthy().await;
}

/// A write that takes room in the catalog only.
async fn write(client: &Client) -> Reply {
    client.send(client.upload_request("resumed", b"")).await
}

async fn writes_resume(client: &Client, within: Duration) {
    eventually("writes resume", within, async || {
        let reply = write(client).await;
        if reply.status == 201 { Ok(()) } else { Err(reply.to_string()) }
    })
    .await;
}

/// Puts empty objects, of which much is said, until there is no room for more in the nodes' journals; their keys.
async fn fill_journals(client: &Client) -> Vec<String> {
    let said = "m".repeat(200);
    let mut keys = Vec::new();
    for round in 0..1_500 {
        let batch: Vec<String> = (0..16).map(|n| format!("{}/{round}/{n}", "k".repeat(900))).collect();
        let puts = batch.iter().map(async |key| {
            let request = client.request(Method::PUT, &format!("/s3/names/{key}")).header("x-amz-meta-said", &said);
            client.send(request.body("")).await
        });
        for (key, reply) in batch.iter().zip(join_all(puts).await) {
            match reply.status {
                200 => keys.push(key.clone()),
                507 => {
                    assert!(reply.to_string().contains("journal"), "{reply}");
                    return keys;
                }
                _ => panic!("{reply}"),
            }
        }
    }
    panic!("after {} of them the journals are not full", keys.len());
}

async fn delete_until_refused(client: &Client, keys: &[String]) -> Reply {
    for batch in keys.chunks(16) {
        let deletes = batch
            .iter()
            .map(async |key| client.send(client.request(Method::DELETE, &format!("/s3/names/{key}"))).await);
        if let Some(refused) = join_all(deletes).await.into_iter().find(|reply| reply.status != 200) {
            return refused.expect(507);
        }
    }
    panic!("{} markers fit", keys.len());
}

/// Writes that cannot be named are refused before anything of them is stored: who tries again and again does not fill the nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_coordinators_disk_is_full_refused_writes_leave_nothing_and_it_says_so() {
    let test = "when_the_coordinators_disk_is_full_refused_writes_leave_nothing_and_it_says_so";
    let Some(mut cluster) = Plan::new().small_disk(0, 400 * MIB).start_or_skip(test).await else { return };
    let client = cluster.client();
    client.upload("kept", &random_bytes(1, FILE_BYTES)).await;
    client.upload("gone", &random_bytes(2, FILE_BYTES)).await;
    cluster.coordinator.kill();
    cluster.disks[&0].fill();
    cluster.start_coordinator().await;
    cluster.wait_healthy().await;
    let shards = async || {
        let mut shards = Vec::new();
        for number in 1..=4 {
            shards.push(cluster.node_client(number).get("/health").await.json()["shards"].clone());
        }
        shards
    };
    eventually("it knows that it has no room", Duration::from_secs(30), || async {
        let ready = client.get("/health/ready").await.to_string();
        if ready.contains("\"acceptsWrites\":false") { Ok(()) } else { Err(ready) }
    })
    .await;
    let before = shards().await;
    for n in 0..10 {
        let request = client.upload_request("refused", &random_bytes(100 + n, FILE_BYTES));
        let reply = client.send(request).await;
        assert!(matches!(reply.status, 503 | 507), "{reply}");
    }
    assert_eq!(shards().await, before, "nothing of what was refused was stored");
    assert_eq!(client.get("/health").await.json()["status"], "degraded");
    let found = client.get("/admin/diagnose").await.expect(200).json();
    assert_eq!(found["status"], "critical", "{found}");
    client.download("refused", None).await.expect(404);
    assert!(client.download("kept", None).await.expect(200).body == random_bytes(1, FILE_BYTES));
    cluster.disks[&0].resize(800 * MIB);
    eventually("writes resume once there is room", Duration::from_secs(60), || async {
        let reply = client.send(client.upload_request("resumed", &random_bytes(77, FILE_BYTES))).await;
        if reply.status == 201 { Ok(()) } else { Err(reply.to_string()) }
    })
    .await;
    eventually("it says so", Duration::from_secs(30), || async {
        let found = client.get("/admin/diagnose").await.json();
        if found["status"] == "critical" { Err(found.to_string()) } else { Ok(()) }
    })
    .await;
}

/// What was stored before the cluster was full.
struct Files {
    stored: BTreeMap<String, u64>,
    refused: Option<(u16, Value)>,
}

/// Uploads until it is refused, `files_max` times at most.
async fn fill(cluster: &Cluster, files_max: u64) -> Files {
    let client = cluster.client();
    let mut files = Files { stored: BTreeMap::new(), refused: None };
    for seed in 0..files_max {
        let name = format!("fill/{seed}");
        let begun = Instant::now();
        let reply = client.send(client.upload_request(&name, &random_bytes(seed, FILE_BYTES))).await;
        if reply.status != 201 {
            assert!(begun.elapsed() < Duration::from_secs(10), "a refusal takes no longer: {:?}", begun.elapsed());
            files.refused = Some((reply.status, reply.json()));
            break;
        }
        files.stored.insert(name, seed);
    }
    files
}

impl Files {
    async fn read_back(&self, client: &Client) {
        for (name, seed) in &self.stored {
            let reply = client.download(name, None).await.expect(200);
            assert!(reply.body == random_bytes(*seed, FILE_BYTES), "{name} is not what was uploaded");
        }
    }
}

async fn full_cluster_serves(client: &Client, files: &Files) {
    let (status, body) = files.refused.clone().expect("80 MiB on each of four nodes are full after 120 files");
    assert_eq!(status, 507, "{body}");
    assert!(body["error"].as_str().is_some_and(|error| error.contains("full")) && body["detail"].is_string(), "{body}");
    assert!(files.stored.len() >= 4, "only {} files fitted", files.stored.len());
    for n in 0..3 {
        let request = client.upload_request("too much", &random_bytes(1_000 + n, FILE_BYTES));
        client.send(request).await.expect(507);
    }
    client.download("too much", None).await.expect(404);
    files.read_back(client).await;
    assert_eq!(client.names("fill/").await.len(), files.stored.len());
    let (first, seed) = files.stored.first_key_value().expect("some fitted");
    assert_eq!(client.delete(first).await, format!("{first} deleted successfully"));
    client.download(first, None).await.expect(404);
    assert!(client.download(first, Some(1)).await.expect(200).body == random_bytes(*seed, FILE_BYTES));
    // The same bytes again take no room.
    let again = client.send(client.upload_request(first, &random_bytes(*seed, FILE_BYTES))).await;
    assert_eq!(again.status, 201, "{again}");
}
