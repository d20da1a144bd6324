//! The log as an operator reads it, from a process of its own: logging starts once per process and writes to stdout.

#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use process::logs::{DEGRADATION, Level, LogConfig, start};
use serde_json::Value;
use std::process::Command;

/// Set for the child that logs: the level to start with.
const CHILD: &str = "HOLDFAST_TEST_LOG_LEVEL";

/// Runs `the_child_logs` below with logging at `level` and returns its lines.
fn lines_at(level: &str) -> Vec<Value> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_child_logs", "--nocapture"])
        .env(CHILD, level)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // The test runner prints lines of its own, and its first may share a line with ours.
    text.lines().filter_map(|line| serde_json::from_str(&line[line.find('{')?..]).ok()).collect()
}

fn find<'a>(lines: &'a [Value], message: &str) -> Option<&'a Value> {
    lines.iter().find(|line| line["message"] == message)
}

#[derive(Debug)]
struct Outer(std::io::Error);

impl std::fmt::Display for Outer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cannot append")
    }
}

impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn the_child_logs() {
    let level = match std::env::var(CHILD).as_deref() {
        Ok("error") => Level::Error,
        Ok("debug") => Level::Debug,
        _ => return,
    };
    let config =
        LogConfig { service: "coordinator", server_id: "c1".into(), level, loki: None, traces: None, events: None };
    assert!(start(config).unwrap().is_none());
    let request = tracing::info_span!("request", request_id = "r-1", node = "outer", bucket = tracing::field::Empty);
    request.record("bucket", "files");
    request.in_scope(|| {
        let inner = tracing::info_span!("put", node = "n2");
        let _entered = inner.enter();
        let error = Outer(std::io::Error::other("disk gone"));
        tracing::error!(error = &error as &dyn std::error::Error, bytes = 7, level = "mine", "cannot store");
    });
    tracing::info!(target: DEGRADATION, pending = 1, "Quorum met, but nodes failed. Scheduling repair.");
    tracing::debug!(target: DEGRADATION, "debug of degradation");
    tracing::warn!("a warning");
    tracing::debug!("a \"detail\"\nof two lines");
    tracing::info!(target: "hyper::client", "chatter");
    tracing::warn!(target: "sled::pagecache", "noisy warning");
}

#[test]
fn by_default_only_errors_and_degradation_are_logged() {
    let lines = lines_at("error");
    let messages: Vec<&str> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["cannot store", "Quorum met, but nodes failed. Scheduling repair."]);
}

#[test]
fn a_line_has_its_columns_and_the_fields_of_event_and_spans() {
    let lines = lines_at("error");
    let line = find(&lines, "cannot store").unwrap();
    assert_eq!((&line["level"], &line["service"]), (&Value::from("error"), &Value::from("coordinator")));
    assert_eq!((&line["server_id"], &line["target"]), (&Value::from("c1"), &Value::from("logs")));
    let timestamp = line["timestamp"].as_str().unwrap();
    assert_eq!((timestamp.len(), &timestamp[23..]), ("2025-11-21T03:10:00.000Z".len(), "Z"));
    assert_eq!((&line["request_id"], &line["bucket"]), (&Value::from("r-1"), &Value::from("files")));
    assert_eq!(line["node"], "n2", "the innermost span wins");
    assert_eq!(line["bytes"], 7);
    assert_eq!(line["level_"], "mine", "a field never replaces a column");
    assert_eq!(line["error"], "cannot append: disk gone");
    assert_eq!(find(&lines, "Quorum met, but nodes failed. Scheduling repair.").unwrap()["pending"], 1);
}

#[test]
fn at_debug_all_is_logged_but_the_chatter_of_libraries() {
    let lines = lines_at("debug");
    assert!(find(&lines, "a \"detail\"\nof two lines").is_some(), "one line each, whatever the message holds");
    assert!(find(&lines, "debug of degradation").is_some());
    assert!(find(&lines, "a warning").is_some());
    assert!(find(&lines, "chatter").is_none());
    assert!(find(&lines, "noisy warning").is_some());
}
