//! Alerts fired by what they are about: a cluster that loses one thing after the other. Those of machines that are slow, full or broken
//! are in `machines.rs`.

use super::prometheus::{Prometheus, Secured, program};
use super::receiver::receive;
use serde_json::Value;
use std::time::Duration;
use testing::real::{Authority, Client, Cluster, Plan, Server, eventually, flip_bits, random_bytes, skipped};
use tokio::net::TcpListener;

/// How long a cause may take to become an alert.
pub const FIRES_WITHIN: Duration = Duration::from_secs(40);
/// Flipped bits: enough to meet some live shard.
const FLIPS: usize = 2_000;

/// Every alert fires as soon as its numbers are there, and looks back some seconds.
pub fn at_once(alerts: String) -> String {
    let lines = alerts.lines().filter(|line| !line.trim().starts_with("for: "));
    let text = lines.collect::<Vec<&str>>().join("\n");
    text.replace("[10m]", "[10s]").replace("[5m]", "[10s]").replace("[1h]", "[20s]")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_fires_its_alert() {
    if let Err(why) = program() {
        return skipped("what_goes_wrong_fires_its_alert", &why);
    }
    let refusing = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let loki = format!("http://{}", refusing.local_addr().expect("a listener has an address"));
    tokio::spawn(receive(refusing, |_| "400 Bad Request"));
    // n4 and n5 are full from the beginning: every chunk lies on the others, and nothing can be copied to them. They answer: with
    // only one of the others left the catalog still takes commits, and it is put down what is endangered.
    let full = |plan: Plan, node| {
        plan.one_node_flag(node, "--capacity-bytes", "64MiB").one_node_flag(node, "--reserve-bytes", "64MiB")
    };
    let plan = [4, 5].into_iter().fold(Plan::new().nodes(5), full);
    let plan = plan.coordinator_flag("--probe-interval-s", "1").coordinator_flag("--node-lost-after-s", "6");
    let plan = plan.coordinator_flag("--loglevel", "info").coordinator_flag("--loki", &loki);
    let mut cluster = plan.coordinator_flag("--cache-bytes", "0").start().await;
    let (secured, _node) = secured_node(&cluster).await;
    let prometheus = Prometheus::watch(&cluster, Some(&secured), at_once).await;
    let client = cluster.client();
    for number in 0..8 {
        client.upload(&format!("file {number}"), &random_bytes(number, 400_000)).await;
    }
    prometheus.fires("DiskFull", FIRES_WITHIN).await;
    prometheus.fires("CertificateExpiring", FIRES_WITHIN).await;
    prometheus.fires("LogsDropped", FIRES_WITHIN).await;
    nearly_full(&client).await;
    prometheus.fires("QuotaNearlyFull", FIRES_WITHIN).await;
    assert_eq!(diagnosed(&client).await, ["DiskFull", "DiskFull"]);

    rot(&cluster, &client).await;
    prometheus.fires("RotFound", FIRES_WITHIN).await;

    one_node_away(&mut cluster, &prometheus).await;
    two_nodes_away(&mut cluster, &prometheus).await;

    // And with the last disk goes the last copy.
    cluster.node(3).kill();
    std::fs::remove_dir_all(cluster.data("n3")).expect("a dead node's disk can be emptied");
    cluster.node(3).switch("--replace");
    cluster.start_node(3).await;
    prometheus.fires("DataLost", FIRES_WITHIN).await;
    assert!(diagnosed(&client).await.contains(&"DataLost".to_owned()));
}

/// A node that no coordinator knows, with a certificate that has ended.
async fn secured_node(cluster: &Cluster) -> (Secured, Server) {
    let authority = Authority::new(cluster.root(), "authority");
    let (certificate, key) = authority.certify_ended().write(cluster.root(), "ended");
    let secured = Secured { name: "secured", port: super::prometheus::free_port() };
    let program = testing::real::program("storage-node");
    let log = cluster.root().join("logs/secured.log");
    let mut node = Server::new(secured.name, secured.port, program, cluster.root(), log);
    node.flag("--listen", format!("127.0.0.1:{}", secured.port)).flag("--node-id", "secured");
    node.flag("--data", cluster.data("secured").display()).flag("--cluster-file", cluster.cluster_file().display());
    node.flag("--tls-cert", certificate.display()).flag("--tls-key", key.display());
    node.start();
    (secured, node)
}

/// A bucket that has used 95 bytes of a hundred.
async fn nearly_full(client: &Client) {
    let put = client.request(reqwest::Method::PUT, "/buckets/small/objects/one").body(vec![7; 95]);
    client.send(put).await.expect(201);
    let quota = client.request(reqwest::Method::POST, "/admin/buckets/small").body(r#"{"quota":{"bytes":100}}"#);
    client.send(quota).await.expect(200);
}

async fn order(client: &Client, worker: &str, order: &'static str) {
    let request = client.request(reqwest::Method::POST, &format!("/admin/workers/{worker}")).body(order);
    client.send(request).await.expect(200);
}

/// Bits flip on n1, and a scrub finds them.
async fn rot(cluster: &Cluster, client: &Client) {
    flip_bits(&cluster.data("n1").join("segments"), 62, FLIPS);
    order(client, "scrub", r#"{"run":true}"#).await;
}

/// n1 is away when the coordinator starts again: nothing is repaired until it answers, or an operator ends the waiting.
async fn one_node_away(cluster: &mut Cluster, prometheus: &Prometheus) {
    cluster.node(1).kill();
    cluster.coordinator.kill();
    cluster.start_coordinator().await;
    prometheus.fires("RepairHeldBack", FIRES_WITHIN).await;
    prometheus.fires("NodeDown", FIRES_WITHIN).await;
    prometheus.fires("ProcessDown", FIRES_WITHIN).await;
    assert!(diagnosed(&cluster.client()).await.contains(&"RepairHeldBack".to_owned()));
    let client = cluster.client();
    client.send(client.request(reqwest::Method::DELETE, "/admin/safe-mode")).await.expect(200);
}

/// n2 follows: of every chunk one copy is left, and there is nowhere to copy it to.
async fn two_nodes_away(cluster: &mut Cluster, prometheus: &Prometheus) {
    let client = cluster.client();
    cluster.node(2).kill();
    prometheus.fires("WritesRefused", FIRES_WITHIN).await;
    eventually("requests fail", FIRES_WITHIN, || async {
        let reply = client.send(client.upload_request("refused", b"content")).await;
        if reply.status == 503 { Ok(()) } else { Err(reply.to_string()) }
    })
    .await;
    for _ in 0..40 {
        client.send(client.upload_request("refused", b"content")).await.expect(503);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    prometheus.fires("ErrorRate", FIRES_WITHIN).await;
    prometheus.fires("DataAtRisk", FIRES_WITHIN).await;
    prometheus.fires("RepairStalled", FIRES_WITHIN).await;
    let told = diagnosed(&client).await;
    for alert in ["WritesRefused", "NodeDown", "DataAtRisk", "DiskFull"] {
        assert!(told.iter().any(|found| found == alert), "{alert} in {told:?}");
    }
    for probe in ["/health/live", "/health/ready"] {
        client.head(probe).await.expect(200);
    }
    let ready = client.get("/health/ready").await.expect(200).json();
    assert_eq!(ready["acceptsWrites"], false, "{ready}");
    assert_eq!(client.get("/health").await.expect(200).json()["status"], "degraded");
}

/// The alerts that `/admin/diagnose` names, the worst first.
async fn diagnosed(client: &Client) -> Vec<String> {
    let answer = client.get("/admin/diagnose").await.expect(200).json();
    let findings = answer["findings"].as_array().expect("findings").clone();
    let alert = |finding: &Value| finding["alert"].as_str().expect("a name").to_owned();
    findings.iter().map(alert).collect()
}
