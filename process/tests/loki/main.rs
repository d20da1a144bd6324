//! Pushing to Loki, against one that hangs, refuses and comes back: nothing is pushed twice, what finds no room is counted, and whoever
//! logs never waits. Every push is decoded strictly.

#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]
#![expect(clippy::disallowed_methods, reason = "the tasks of this test end with its runtime")]

mod decode;
#[path = "../fake_server/mod.rs"]
mod fake_server;

use decode::{Line, lines_of};
use fake_server::{FakeServer, Mode};
use process::logs::{Level, LogConfig, start};
use process::loki::{DROPPED, LINES_MAX, PUSHED};
use process::metrics::Metrics;
use process::readings::Readings;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const WAIT: Duration = Duration::from_secs(60);
/// More than is kept.
const FLOOD: usize = LINES_MAX + LINES_MAX / 2;
/// Lines of the pusher's own, which it may drop as well.
const OWN_LINES_MAX: usize = 20;

fn config(url: &str, server_id: &str) -> LogConfig {
    LogConfig {
        service: "coordinator",
        server_id: server_id.into(),
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

fn lines(loki: &FakeServer) -> Vec<Line> {
    loki.taken().iter().flat_map(lines_of).collect()
}

fn has(lines: &[Line], message: &str) -> bool {
    lines.iter().any(|line| line.fields["message"] == message)
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {WAIT:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_pushed_held_back_dropped_and_counted() {
    let metrics = Metrics::install().unwrap();
    let loki = FakeServer::start(Mode::Take).await;
    tokio::spawn(start(config(&loki.url, "c1")).unwrap().expect("a task, as Loki is named"));
    lines_arrive(&loki).await;
    until("both are counted", || counted(&metrics, PUSHED) == 2).await;
    assert_eq!(counted(&metrics, DROPPED), 0);
    flood(&loki, &metrics).await;

    let dropped = counted(&metrics, DROPPED);
    loki.set(Mode::Refuse("400 Bad Request"));
    tracing::error!("too old");
    until("what is refused is counted", || counted(&metrics, DROPPED) > dropped).await;
    loki.set(Mode::Take);
    tracing::error!("last");
    until("and does not hold up the rest", || has(&lines(&loki), "last")).await;
    assert!(!has(&lines(&loki), "too old"));

    // A push that hangs is given up, and those after it go on.
    let dropped = counted(&metrics, DROPPED);
    loki.set(Mode::HangPosts);
    tracing::error!("swallowed");
    until("a push that hangs is counted", || counted(&metrics, DROPPED) > dropped).await;
    loki.set(Mode::Take);
    tracing::error!("the very last");
    until("and is not waited for", || has(&lines(&loki), "the very last")).await;
}

async fn lines_arrive(loki: &FakeServer) {
    let span = tracing::info_span!("request", request_id = "r7");
    span.in_scope(|| tracing::error!(bucket = "b", "first"));
    tracing::info!("not wanted at this level");
    tracing::info!(target: "degradation", node = "n1", "repair begins");
    until("two lines arrive", || lines(loki).len() == 2).await;
    let taken = lines(loki);
    let labels =
        |level: &str| format!(r#"{{job="distributed-storage",service="coordinator",server_id="c1",level="{level}"}}"#);
    let of = |message: &str| taken.iter().find(|line| line.fields["message"] == message).expect("it arrived");
    let (first, second) = (of("first"), of("repair begins"));
    assert_eq!((&first.labels, &second.labels), (&labels("error"), &labels("info")));
    for (name, value) in [("request_id", "r7"), ("bucket", "b"), ("service", "coordinator"), ("server_id", "c1")] {
        assert_eq!(first.fields[name], value, "{}", first.fields);
    }
    assert_eq!(second.fields["_target"], "degradation");
}

/// More than is kept comes while Loki hangs; what was kept arrives when it is back.
async fn flood(loki: &FakeServer, metrics: &Metrics) {
    loki.set(Mode::Hang);
    for number in 0..FLOOD {
        tracing::error!(number, "flood");
        if number % 256 == 0 {
            // The batches are closed by a task, which wants its turn as well.
            sleep(Duration::from_millis(2)).await;
        }
    }
    assert!(counted(metrics, DROPPED) > 0, "what is kept has a bound");
    loki.set(Mode::Answer("503 Service Unavailable"));
    until("it is asked again", || loki.refused() >= 2).await;
    loki.set(Mode::Take);
    let arrived = || lines(loki).iter().filter(|line| line.fields["message"] == "flood").count();
    let settled = || arrived() + counted(metrics, DROPPED) >= FLOOD;
    until("what was kept arrives", settled).await;
    let (arrived, dropped) = (arrived(), counted(metrics, DROPPED));
    assert!(arrived <= LINES_MAX && arrived > LINES_MAX / 2, "{arrived} lines were kept of {LINES_MAX}");
    assert!(arrived + dropped <= FLOOD + OWN_LINES_MAX, "{arrived} arrived and {dropped} dropped of {FLOOD}");
    let numbers: Vec<u64> = lines(loki).iter().filter_map(|line| line.fields["number"].as_u64()).collect();
    assert!(numbers.is_sorted() && numbers[0] == 0, "the oldest are kept, each once, in order");
    assert!(numbers.windows(2).all(|two| two[0] != two[1]), "nothing is pushed twice");
}

#[test]
fn a_wrong_url_is_refused_by_name() {
    for url in ["nonsense", "https://loki:3100", "http://"] {
        let error = start(config(url, "c1")).err().expect(url);
        assert!(error.message.contains("--loki") && error.message.contains(url), "{error}");
    }
}
