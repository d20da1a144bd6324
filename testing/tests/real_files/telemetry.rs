//! A5, A14, A16, B9: request ids, logs and metrics of real processes.

use std::time::Duration;
use testing::real::{Client, Cluster, Plan, RawReply, eventually};

#[tokio::test]
async fn every_answer_carries_a_request_id_and_the_nodes_hear_of_it() {
    let cluster = Plan::new().coordinator_flag("--loglevel", "info").node_flag("--loglevel", "info").start().await;
    let client = cluster.client();
    let sent = client.upload_request("traced.txt", b"content").header("x-request-id", "trace-4711.a_b");
    assert_eq!(client.send(sent).await.expect(201).header("x-request-id"), "trace-4711.a_b");
    for path in ["/health", "/no/such/path", "/download?filename=none", "/download?filename=%ff"] {
        let reply = client.get(path).await;
        assert!(!reply.header("x-request-id").is_empty(), "{path}");
    }
    for strange in ["a b", "x\"y", &"x".repeat(65), "é"] {
        let reply = client.get_with("/health", &[("x-request-id", strange)]).await;
        let given = reply.header("x-request-id");
        assert!(!given.is_empty() && given != strange, "{strange}");
    }
    eventually("the nodes' logs name the request", Duration::from_secs(10), || async {
        let logs = cluster.nodes.iter().filter(|node| node.log().contains("trace-4711.a_b")).count();
        if logs >= 2 { Ok(()) } else { Err(format!("{logs} do")) }
    })
    .await;
    let log = cluster.coordinator.log();
    let line = log.lines().find(|line| line.contains("trace-4711.a_b")).expect("the coordinator's log names it too");
    let line: serde_json::Value = serde_json::from_str(line).expect("logs are JSON");
    for name in ["timestamp", "level", "message", "service"] {
        assert!(line[name].is_string(), "{name} in {line}");
    }
    assert!(log.contains("health check passed"), "health checks are seen at info");
}

#[tokio::test]
async fn by_default_only_errors_and_degradation_are_logged() {
    let mut cluster = Plan::new().coordinator_flag("--probe-interval-s", "1").start().await;
    let client = cluster.client();
    client.upload("quiet.txt", b"content").await;
    client.download("quiet.txt", None).await.expect(200);
    client.download("none", None).await.expect(404);
    assert_eq!(RawReply::to(cluster.coordinator.port, "what is no request\r\n\r\n").await.status, 400);
    for server in cluster.servers() {
        let log = server.log();
        let loud: Vec<&str> = log.lines().collect();
        assert!(loud.is_empty(), "{} says: {loud:#?}", server.name);
    }
    cluster.node(1).kill();
    eventually("a breaker that opens is logged", Duration::from_secs(15), || async {
        let log = cluster.coordinator.log();
        if log.contains("OPEN") && log.contains("n1") { Ok(()) } else { Err(log) }
    })
    .await;
}

#[tokio::test]
async fn the_single_dash_works_as_printed() {
    let cluster = Plan::new().coordinator_flag("-loglevel", "info").node_flag("-loglevel", "info").start().await;
    assert!(cluster.coordinator.log().contains("coordinator ready"));
}

#[tokio::test]
async fn the_metrics_have_the_names_that_dashboards_use() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client();
    let coordinator = Metrics::of(&client).await;
    coordinator.has_type("storage_errors", "counter");
    coordinator.has_type("storage_errors_total", "counter");
    coordinator.has_type("replication_lag", "gauge");
    coordinator.has_type("http_request_duration", "histogram");

    client.upload("secret-name.txt", b"content").await;
    client.download("secret-name.txt", None).await.expect(200);
    client.download("none", None).await.expect(404);
    client.delete("secret-name.txt").await;
    cluster.node(4).kill();
    let mut uploads = 1;
    while Metrics::of(&client).await.value("storage_errors ") == Some(0.0) {
        uploads += 1;
        assert!(uploads < 50, "a call to a dead node is an error");
        client.upload(&format!("secret-name {uploads}"), format!("content {uploads}").as_bytes()).await;
    }
    let metrics = Metrics::of(&client).await;
    for name in [
        "http_requests_total",
        "http_request_duration_seconds_bucket",
        "http_errors_total",
        "storage_errors_total",
        "storage_operation_duration_seconds_bucket",
        "data_transfer_bytes_total",
        "storage_used_bytes",
        "active_connections",
        "node_availability",
        "cluster_health_score",
        "file_uploads_total",
        "file_downloads_total",
        "file_deletions_total",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(metrics.value(name).is_some(), "the coordinator has no {name}");
    }
    let line = metrics.line("http_requests_total{");
    for label in ["method=\"", "endpoint=\"", "status_code=\"", "server_id=\""] {
        assert!(line.contains(label), "{label} in {line}");
    }
    assert_eq!(metrics.value("file_uploads_total"), Some(f64::from(uploads)));
    assert_eq!(metrics.value("file_downloads_total"), Some(1.0));
    assert_eq!(metrics.value("file_deletions_total"), Some(1.0));
    assert!(!metrics.text.contains("secret-name"), "labels never hold a client's name");

    for number in 1..=3 {
        let metrics = Metrics::of(&cluster.node_client(number)).await;
        for name in [
            "http_requests_total",
            "http_request_duration_seconds_bucket",
            "storage_operation_duration_seconds_bucket",
            "data_transfer_bytes_total",
            "storage_used_bytes",
            "active_connections",
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "storage_errors",
        ] {
            assert!(metrics.value(name).is_some(), "node {number} has no {name}:\n{}", metrics.text);
        }
        assert!(!metrics.text.contains("secret-name"));
    }
}

struct Metrics {
    text: String,
}

impl Metrics {
    async fn of(client: &Client) -> Metrics {
        let reply = client.get("/metrics").await.expect(200);
        assert!(reply.header("content-type").starts_with("text/plain"), "{}", reply.header("content-type"));
        Metrics { text: String::from_utf8(reply.body.to_vec()).expect("metrics are text") }
    }

    /// The first sample whose line starts so.
    fn line(&self, start: &str) -> &str {
        self.text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start} in\n{}", self.text))
    }

    fn value(&self, start: &str) -> Option<f64> {
        let line = self.text.lines().find(|line| line.starts_with(start))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    fn has_type(&self, name: &str, kind: &str) {
        assert!(self.text.contains(&format!("# TYPE {name} {kind}\n")), "no {kind} {name} in\n{}", self.text);
    }
}
