//! A node serves its own disk or none (I21).

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use testing::real::{Cluster, Plan, eventually, new_cluster_file, random_bytes};

const STOP_WAIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swapped_and_foreign_directories_are_refused_at_the_start() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client();
    client.upload("kept.bin", &random_bytes(1, 500_000)).await;
    cluster.stop_all();
    let (one, two) = (cluster.data("n1").display().to_string(), cluster.data("n2").display().to_string());

    cluster.node(1).change_flag("--data", &two);
    let refusal = Cluster::refusal_of(cluster.node(1));
    assert!(refusal.contains("belongs to node n2, not to n1"), "{refusal}");
    cluster.node(1).change_flag("--data", &one);

    let own = cluster.cluster_file();
    let other = cluster.root().join("other-cluster.json");
    new_cluster_file(&other);
    cluster.node(1).change_flag("--cluster-file", other.display());
    let refusal = Cluster::refusal_of(cluster.node(1));
    assert!(refusal.contains("belongs to cluster"), "{refusal}");
    cluster.node(1).change_flag("--cluster-file", own.display());
    let catalog = cluster.data("coordinator").display().to_string();
    cluster.coordinator.change_flag("--cluster-file", other.display());
    let refusal = Cluster::refusal_of(&mut cluster.coordinator);
    assert!(refusal.contains("cluster"), "a catalog of another cluster in {catalog}: {refusal}");
    cluster.coordinator.change_flag("--cluster-file", own.display());

    std::fs::remove_file(cluster.data("n2").join("identity")).expect("the identity can be removed");
    let refusal = Cluster::refusal_of(cluster.node(2));
    assert!(refusal.contains("identity"), "segments of nobody: {refusal}");
    cluster.node(2).switch("--replace");
    cluster.start_all().await;
    assert!(client.download("kept.bin", None).await.expect(200).body == random_bytes(1, 500_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_directory_is_served_by_one_process() {
    let mut cluster = Cluster::start().await;
    let (one, port) = (cluster.data("n1").display().to_string(), cluster.nodes[0].port);
    cluster.node(2).kill();
    cluster.node(2).change_flag("--data", &one);
    cluster.node(2).change_flag("--node-id", "n1");
    let refusal = Cluster::refusal_of(cluster.node(2));
    assert!(refusal.contains("in use by another process"), "{refusal}");
    assert_eq!(cluster.client().node_line(port).await["healthy"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_of_a_disk_is_not_used() {
    let plan = Plan::new().coordinator_flag("--cache-bytes", "0").coordinator_flag("--probe-interval-s", "1");
    let mut cluster = plan.start().await;
    let client = cluster.client();
    let (disk, copy) = (cluster.data("n1"), cluster.root().join("copy of n1"));
    let copied = |from: &Path, to: &Path| {
        std::fs::remove_dir_all(to).ok();
        let done = Command::new("cp").arg("-a").args([from, to]).status().expect("cp can be run");
        assert!(done.success());
    };
    client.upload("before.bin", &random_bytes(1, 500_000)).await;
    cluster.node(1).stop(STOP_WAIT);
    copied(&disk, &copy);
    cluster.start_node(1).await;
    let (port, started) = (cluster.nodes[0].port, SystemTime::now());
    eventually("the coordinator has seen this start", Duration::from_secs(10), || async {
        let line = client.node_line(port).await;
        let seen = UNIX_EPOCH + Duration::from_millis(line["last_seen_ms"].as_u64().unwrap_or(0));
        if line["healthy"] == true && seen > started { Ok(()) } else { Err(line.to_string()) }
    })
    .await;
    let data = random_bytes(2, 3 << 20);
    client.upload("after.bin", &data).await;

    // Also where the coordinator has nothing in memory of it.
    cluster.node(1).stop(STOP_WAIT);
    cluster.coordinator.kill();
    copied(&disk, &cluster.root().join("newer copy of n1"));
    copied(&copy, &disk);
    cluster.start_node(1).await;
    cluster.start_coordinator().await;
    eventually("the coordinator refuses the older copy", Duration::from_secs(10), || async {
        let line = client.node_line(port).await;
        let told = line["error"].as_str().is_some_and(|error| error.contains("an older copy is in its place"));
        if told && line["healthy"] == false { Ok(()) } else { Err(line.to_string()) }
    })
    .await;
    assert!(client.download("after.bin", None).await.expect(200).body == data);
    // The right one is used again, whatever directory it is in.
    cluster.node(1).stop(STOP_WAIT);
    copied(&cluster.root().join("newer copy of n1"), &disk);
    cluster.start_node(1).await;
    cluster.wait_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_disk_is_not_used_until_it_is_replaced() {
    let plan = Plan::new().coordinator_flag("--cache-bytes", "0").coordinator_flag("--probe-interval-s", "1");
    let mut cluster = plan.start().await;
    let client = cluster.client();
    let data = random_bytes(2, 3 << 20);
    client.upload("kept.bin", &data).await;
    cluster.node(1).kill();
    std::fs::remove_dir_all(cluster.data("n1")).expect("a directory can be removed");
    cluster.start_node(1).await;
    let port = cluster.nodes[0].port;
    let line = eventually("the coordinator refuses the empty disk", Duration::from_secs(10), || async {
        let line = client.node_line(port).await;
        let told = line["error"].as_str().is_some_and(|error| error.contains("--replace"));
        if told && line["healthy"] == false { Ok(line) } else { Err(line.to_string()) }
    })
    .await;
    assert!(line["error"].as_str().is_some_and(|error| error.contains("n1")), "{line}");
    assert!(cluster.coordinator.log().contains("node refused"), "it is said in the log");
    for n in 0..10 {
        client.upload(&format!("meanwhile {n}"), &random_bytes(10 + n, 100_000)).await;
    }
    let shards = cluster.node_client(1).get("/health").await.json()["shards"].clone();
    assert_eq!(shards, 0, "nothing was written to the disk that was refused");
    assert!(client.download("kept.bin", None).await.expect(200).body == data);

    cluster.node(1).kill();
    cluster.node(1).switch("--replace");
    cluster.start_node(1).await;
    cluster.wait_healthy().await;
    for n in 0..20 {
        client.upload(&format!("afterwards {n}"), &random_bytes(50 + n, 100_000)).await;
    }
    let health = cluster.node_client(1).get("/health").await.json();
    assert!(health["shards"].as_u64() > Some(0), "the new disk is used");
    assert!(client.download("kept.bin", None).await.expect(200).body == data);
    // The flag left in place does not wipe it again.
    cluster.node(1).kill();
    cluster.start_node(1).await;
    cluster.wait_healthy().await;
    // It is the same one; repair goes on filling it.
    let again = cluster.node_client(1).get("/health").await.json();
    assert_eq!(again["disk"], health["disk"]);
    assert!(again["shards"].as_u64() >= health["shards"].as_u64(), "{health} {again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_disk_is_not_used_even_before_the_next_health_check() {
    // Health checks are far away: what protects the data here is in every call.
    let mut cluster = Plan::new().coordinator_flag("--probe-interval-s", "3600").start().await;
    let client = cluster.client();
    for n in 0..20 {
        client.upload(&format!("before {n}"), &random_bytes(n, 20_000)).await;
    }
    cluster.node(1).kill();
    std::fs::remove_dir_all(cluster.data("n1")).expect("a directory can be removed");
    cluster.start_node(1).await;
    for n in 0..20 {
        client.upload(&format!("after {n}"), &random_bytes(100 + n, 20_000)).await;
    }
    let health = cluster.node_client(1).get("/health").await.json();
    assert_eq!(health["shards"], 0, "acknowledged bytes lie on a disk that nobody knows: {health}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_deny_who_does_not_know_the_secret() {
    let cluster = Cluster::start().await;
    let node = cluster.node_client(1);
    let id = "00000000-0000-4000-8000-000000000000-00";
    for path in ["/shards", &format!("/shards/{id}"), "/shards?limit=10"] {
        let reply = node.get(path).await;
        assert!((400..500).contains(&reply.status) && reply.status != 404, "{path}: {reply}");
    }
    node.get("/health").await.expect(200);
    node.get("/metrics").await.expect(200);
}
