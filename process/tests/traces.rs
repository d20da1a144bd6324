//! Sending traces, to a collector that hangs, refuses and comes back: whoever works never waits, what finds no room is counted, and no
//! span is sent twice. That an upload is one trace is shown in `testing/tests/real_monitoring`.

#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]
#![expect(clippy::disallowed_methods, reason = "the tasks of this test end with its runtime")]

mod fake_server;

use fake_server::{FakeServer, Mode};
use process::logs::{Level, LogConfig, start};
use process::metrics::Metrics;
use process::readings::Readings;
use process::traces::{DROPPED, QUEUE_BYTES_MAX, SENT, TraceConfig};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const WAIT: Duration = Duration::from_secs(60);
/// More than is kept, were a span as small as its names.
const FLOOD: usize = QUEUE_BYTES_MAX / 128;

fn config(url: &str) -> LogConfig {
    let traces = Some(TraceConfig { url: url.into(), percent: 100 });
    LogConfig { service: "coordinator", server_id: "c1".into(), level: Level::Error, loki: None, traces, events: None }
}

fn counted(metrics: &Metrics, name: &str) -> usize {
    let page = metrics.render(&Readings::default());
    let line = page.lines().find(|line| line.split(' ').next() == Some(name));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

fn spans(collector: &FakeServer) -> Vec<Value> {
    let mut spans = Vec::new();
    for request in collector.taken() {
        assert_eq!(request.line, "POST /v1/traces HTTP/1.1");
        assert_eq!(request.header("content-type"), "application/json");
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let [resource] = &body["resourceSpans"].as_array().unwrap()[..] else { panic!("one resource: {body}") };
        let [scope] = &resource["scopeSpans"].as_array().unwrap()[..] else { panic!("one scope: {body}") };
        spans.extend(scope["spans"].as_array().unwrap().iter().cloned());
    }
    spans
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {WAIT:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// A span as the coordinator makes them.
fn span(number: usize) {
    drop(tracing::debug_span!(target: "coordinator", "request", number));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_are_sent_held_back_dropped_and_counted() {
    let metrics = Metrics::install().unwrap();
    let collector = FakeServer::start(Mode::Take).await;
    tokio::spawn(start(config(&collector.url)).unwrap().expect("a task, as a collector is named"));
    span(1);
    drop(tracing::debug_span!(target: "hyper", "request"));
    drop(tracing::debug_span!(target: "coordinator", "work that no request asked for"));
    until("a span arrives", || counted(&metrics, SENT) == 1).await;
    let first = &spans(&collector)[0];
    assert_eq!((&first["name"], first["attributes"][0]["key"].as_str()), (&Value::from("request"), Some("number")));
    assert_eq!(first["attributes"][0]["value"]["intValue"], "1");

    collector.set(Mode::Hang);
    (0..FLOOD).for_each(span);
    assert!(counted(&metrics, DROPPED) > 0, "what is kept has a bound");
    collector.set(Mode::Answer("503 Service Unavailable"));
    until("it is asked again", || collector.refused() >= 2).await;
    collector.set(Mode::Take);
    until("what was kept arrives", || counted(&metrics, SENT) + counted(&metrics, DROPPED) == FLOOD + 1).await;
    let sent = spans(&collector);
    let ids: BTreeSet<&str> = sent.iter().map(|span| span["spanId"].as_str().unwrap()).collect();
    assert_eq!((ids.len(), sent.len()), (sent.len(), counted(&metrics, SENT)), "each once");

    let dropped = counted(&metrics, DROPPED);
    collector.set(Mode::Answer("400 Bad Request"));
    span(2);
    until("what will never be taken is dropped", || counted(&metrics, DROPPED) == dropped + 1).await;
    collector.set(Mode::Take);
    span(3);
    until("and does not hold up the rest", || counted(&metrics, SENT) == sent.len() + 1).await;
}
