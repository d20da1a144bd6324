//! Pushing to Loki, against one that takes the protocol strictly, and hangs, refuses and comes back: nothing is pushed twice, what does
//! not fit the queue is counted, and whoever logs never waits. With `LOKI_URL` set, against that one as well.

#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod loki_server;

use loki_server::{FakeLoki, Mode};
use process::logs::{Level, LogConfig, start};
use process::loki::{DROPPED, PUSHED};
use process::metrics::Metrics;
use process::readings::Readings;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const WAIT: Duration = Duration::from_secs(60);
/// More than the queue takes.
const FLOOD: usize = 40_000;
/// Lines of the pusher's own, which it may drop as well.
const OWN_LINES_MAX: usize = 20;

fn config(url: &str) -> LogConfig {
    LogConfig {
        service: "coordinator",
        server_id: "c1".into(),
        level: Level::Error,
        loki: Some(url.into()),
        traces: None,
        events: None,
    }
}

fn counted(metrics: &Metrics, name: &str) -> usize {
    let page = metrics.render(&Readings::default());
    let line = page.lines().find(|line| line.split(' ').next() == Some(name));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {WAIT:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_pushed_held_back_dropped_and_counted() {
    let metrics = Metrics::install().unwrap();
    let loki = FakeLoki::start(Mode::Take).await;
    tokio::spawn(start(config(&loki.url)).unwrap().expect("a task, as Loki is named"));

    let span = tracing::info_span!("request", request_id = "r7");
    span.in_scope(|| tracing::error!(bucket = "b", "first"));
    tracing::info!("not wanted at this level");
    tracing::info!(target: "degradation", node = "n1", "repair begins");
    until("two lines arrive", || loki.lines().len() == 2).await;
    let taken = loki.lines();
    let labels = |level: &str| {
        format!(r#"{{job="distributed-storage", service="coordinator", server_id="c1", level="{level}"}}"#)
    };
    assert_eq!((&taken[0].labels, &taken[1].labels), (&labels("error"), &labels("info")));
    let line: serde_json::Value = serde_json::from_str(&taken[0].line).unwrap();
    for (name, value) in [("message", "first"), ("level", "error"), ("request_id", "r7"), ("bucket", "b")] {
        assert_eq!(line[name], value, "{line}");
    }
    until("both are counted", || counted(&metrics, PUSHED) == 2).await;

    loki.set(Mode::Hang);
    for number in 0..FLOOD {
        tracing::error!(number, "flood");
    }
    assert!(counted(&metrics, DROPPED) > 0, "the queue has a bound");
    loki.set(Mode::Answer("503 Service Unavailable"));
    until("it is asked again", || loki.refused() >= 2).await;
    loki.set(Mode::Take);
    let flood = || loki.lines().iter().filter(|line| line.line.contains("\"flood\"")).count();
    let settled = || flood() + counted(&metrics, DROPPED) >= FLOOD;
    until("what the queue held arrives", settled).await;
    let (arrived, dropped) = (flood(), counted(&metrics, DROPPED));
    assert!(arrived > 5_000, "the queue holds some thousand lines, and {arrived} came");
    assert!(arrived + dropped <= FLOOD + OWN_LINES_MAX, "{arrived} arrived and {dropped} dropped of {FLOOD}");
    let numbers: Vec<u64> = loki
        .lines()
        .iter()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(&line.line).unwrap()["number"].as_u64())
        .collect();
    assert!(numbers.is_sorted() && numbers[0] == 0, "the oldest are kept, each once, in order");

    loki.set(Mode::Answer("400 Bad Request"));
    tracing::error!("too old");
    until("what will never be taken is dropped", || counted(&metrics, DROPPED) > dropped).await;
    loki.set(Mode::Take);
    tracing::error!("last");
    until("and does not hold up the rest", || loki.lines().iter().any(|line| line.line.contains("\"last\""))).await;
}

#[test]
fn a_wrong_url_is_refused_by_name() {
    for url in ["nonsense", "https://loki:3100", "http://"] {
        let error = start(config(url)).err().expect(url);
        assert!(error.message.contains("--loki") && error.message.contains(url), "{error}");
    }
}
