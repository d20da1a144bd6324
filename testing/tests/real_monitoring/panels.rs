//! Every expression of every panel and of every alert, asked of a Prometheus that scrapes a cluster under load.

use super::boards::panels;
use super::prometheus::{Prometheus, program};
use super::receiver::receive;
use std::collections::BTreeSet;
use std::time::Duration;
use testing::real::{Client, LoadPlan, Plan, eventually, random_bytes, skipped};
use tokio::net::TcpListener;

/// How long a panel may take to show something: some need two scrapes after the first of their kind.
const SHOWN_WITHIN: Duration = Duration::from_secs(30);
/// What Grafana puts in the place of its variables, here: ten scrapes.
const VARIABLES: [(&str, &str); 2] = [("$__rate_interval", "10s"), ("$__interval", "10s")];
/// Shown only while there is something to do at a known rate.
const MAY_BE_NAN: [&str; 1] = ["worker_eta_seconds"];
/// Metrics of processes that have what this cluster has not; the test of alerts has it.
const ELSEWHERE: [&str; 1] = ["tls_certificate_expiry_timestamp_seconds"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_panel_shows_something_and_every_metric_named_exists() {
    let test = "every_panel_shows_something_and_every_metric_named_exists";
    if let Err(why) = program() {
        return skipped(test, &why);
    }
    let loki = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let url = format!("http://{}", loki.local_addr().expect("a listener has an address"));
    tokio::spawn(receive(loki, |_| "204 No Content"));
    let plan = Plan::new().coordinator_flag("--loki", &url).coordinator_flag("--probe-interval-s", "1");
    let cluster = plan.start().await;
    let client = cluster.client();
    let prometheus = Prometheus::watch(&cluster, None, |alerts| alerts).await;
    client.upload("one", &random_bytes(1, 300_000)).await;
    client.upload("the same", &random_bytes(1, 300_000)).await;
    client.get("/download?filename=none").await.expect(404);
    // A scrub reads, so that its worker has counted something.
    let run = client.request(reqwest::Method::POST, "/admin/workers/scrub").body(r#"{"run":true}"#);
    client.send(run).await.expect(200);
    let load = LoadPlan::new(61).begin(&client);
    load.more(20, Duration::from_secs(30)).await;

    let mut empty = Vec::new();
    for panel in panels().into_iter().filter(|panel| panel.datasource == "prometheus") {
        let fill = |text: String, (name, value): &(&str, &str)| text.replace(name, value);
        let expression = VARIABLES.iter().fold(panel.expression.clone(), fill);
        let may_be_nan = MAY_BE_NAN.iter().any(|name| expression.contains(name));
        if let Err(why) = shows(&prometheus, &expression, may_be_nan).await {
            empty.push(format!("{}: {why}", panel.title));
        }
    }
    assert!(empty.is_empty(), "panels that show nothing: {empty:#?}");

    let alerts = prometheus.alerts().await;
    assert!(alerts.len() >= 15, "{alerts:?}");
    let mut named: BTreeSet<String> = panels()
        .iter()
        .filter(|panel| panel.datasource == "prometheus")
        .flat_map(|panel| metrics_in(&panel.expression))
        .collect();
    for (name, expression) in &alerts {
        prometheus.query(expression).await.unwrap_or_else(|why| panic!("{name}: {why}"));
        named.extend(metrics_in(expression));
    }
    let mut unknown = Vec::new();
    for name in named.iter().filter(|name| *name != "ALERTS" && !ELSEWHERE.contains(&name.as_str())) {
        if prometheus.query(&format!("count({{__name__=\"{name}\"}})")).await.expect("a query").is_empty() {
            unknown.push(name);
        }
    }
    assert!(unknown.is_empty(), "metrics that no process has: {unknown:?}");
    load.end().await.assert_all_served("nothing failed");
    every_metric_is_explained(&client).await;
    every_metric_is_explained(&cluster.node_client(1)).await;
}

async fn shows(prometheus: &Prometheus, expression: &str, may_be_nan: bool) -> Result<(), String> {
    let deadline = tokio::time::Instant::now() + SHOWN_WITHIN;
    loop {
        let values = prometheus.query(expression).await?;
        if values.iter().any(|value| may_be_nan || !value.is_nan()) {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            return Err(format!("{expression} gives {values:?}"));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The names of metrics in an expression: words that are neither functions, nor operators, nor labels.
fn metrics_in(expression: &str) -> BTreeSet<String> {
    const OPERATORS: [&str; 4] = ["and", "or", "unless", "bool"];
    /// What stands in their brackets are labels.
    const CLAUSES: [&str; 4] = ["by", "on", "ignoring", "group_left"];
    let (mut names, mut rest, mut depth) = (BTreeSet::new(), expression, 0);
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()).max(first.len_utf8());
        let (token, after) = rest.split_at(end);
        rest = after;
        match first {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            _ if depth > 0 || !first.is_ascii_alphabetic() || OPERATORS.contains(&token) => {}
            _ if CLAUSES.contains(&token) => rest = after.split_once(')').expect("a bracket is closed").1,
            // A function, or an aggregation that says first by what.
            _ if after.trim_start().starts_with('(') || after.starts_with(" by") => {}
            _ => drop(names.insert(token.to_owned())),
        }
    }
    names
}

#[test]
fn names_of_metrics_are_found_in_expressions() {
    let found = metrics_in(
        "sum by (le) (rate(a_total{x=\"y\"}[5m])) / on(instance, process) max by(x) (b_max) > 0.8 or time() - c unless vector(1e-9)",
    );
    assert_eq!(found, ["a_total", "b_max", "c"].map(str::to_owned).into());
}

/// Every metric on a page has a help text.
async fn every_metric_is_explained(client: &Client) {
    let page = eventually("the page of metrics", SHOWN_WITHIN, || async {
        let reply = client.get("/metrics").await;
        if reply.status == 200 { Ok(String::from_utf8_lossy(&reply.body).into_owned()) } else { Err(reply.to_string()) }
    })
    .await;
    let names = |kind: &str| -> BTreeSet<String> {
        let lines = page.lines().filter_map(|line| line.strip_prefix(kind));
        lines.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    };
    let unexplained: Vec<String> = names("# TYPE ").difference(&names("# HELP ")).cloned().collect();
    assert!(unexplained.is_empty(), "without a help text: {unexplained:?}");
    assert!(!page.contains("quantile="), "summaries cannot be added up over processes: {page}");
}
