//! What people are told of nodes: the report, and the log.

use super::*;
use std::io;

#[tokio::test(start_paused = true)]
async fn a_report_tells_what_people_ask_for() {
    let (nodes, fakes) = probed(&["n1", "?"]).await;
    refuse(&fakes[1]);
    nodes.probe_all().await;
    sleep(Duration::from_secs(5)).await;
    let json = serde_json::to_value(nodes.status()).unwrap();
    assert_eq!(json[0]["id"], "n1");
    assert_eq!(json[0]["healthy"], true);
    assert_eq!(json[0]["circuitState"], "CLOSED");
    assert_eq!(json[0]["error"], serde_json::Value::Null);
    assert_eq!(json[0]["last_seen_ms"], 1_000_000 - 5_000);
    assert_eq!(json[0]["zone"], "zone-of-n1");
    assert_eq!(json[1]["error"], "connection refused");
    assert_eq!(json[1]["health"], "down");
    assert_eq!(json[1]["free_bytes"], FREE_BYTES, "the last it told");
}

/// Keeps what is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn count(&self, words: &[&str]) -> usize {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }
}

#[tokio::test(start_paused = true)]
async fn every_probe_is_told_at_info_and_every_change_once_as_a_degradation() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let (nodes, fakes) = probed(&["n1", "n2"]).await;
    assert_eq!(log.count(&["INFO", "health check passed"]), 2);
    refuse(&fakes[0]);
    for _ in 0..4 {
        nodes.probe_all().await;
    }
    assert_eq!(log.count(&["INFO", "health check failed", "n1", "connection refused"]), 4);
    assert_eq!(log.count(&["WARN degradation", "node is down", "n1"]), 1);
    assert_eq!(log.count(&["WARN degradation", "circuit breaker opened", "n1"]), 1);
    recover(&fakes[0]);
    nodes.probe_unreachable().await;
    assert_eq!(log.count(&["INFO degradation", "node is up again", "n1"]), 1);
    assert_eq!(log.count(&["INFO degradation", "tries the node again", "HALF_OPEN", "n1"]), 1);
    assert_eq!(log.count(&["INFO degradation", "circuit breaker closed", "n1"]), 1);
    fakes[1].set(|fake| fake.health.disk = DiskId(Uuid::from_u128(1)));
    nodes.probe_all().await;
    nodes.probe_all().await;
    assert_eq!(log.count(&["WARN degradation", "node refused", "n2", "another disk"]), 1);
    assert_eq!(log.count(&["degradation"]), 6, "nothing else: {}", String::from_utf8_lossy(&log.0.lock().unwrap()));
}
