//! Pushing to the Loki at `LOKI_URL`, where one is given: what was logged can be asked for.

#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]
#![expect(clippy::disallowed_methods, reason = "the tasks of this test end with its runtime")]

use process::logs::{Level, LogConfig, start};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

const WAIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_was_logged_can_be_asked_for() {
    let Ok(url) = std::env::var("LOKI_URL") else {
        return println!("skipped: what_was_logged_can_be_asked_for: LOKI_URL names no Loki");
    };
    let server_id = format!("test-{}", std::process::id());
    let config = LogConfig {
        service: "coordinator",
        server_id: server_id.clone(),
        level: Level::Error,
        loki: Some(url.clone()),
        traces: None,
        events: None,
    };
    tokio::spawn(start(config).unwrap().expect("a task, as Loki is named"));
    tracing::error!("seen by a real Loki");
    let query = format!("/loki/api/v1/query_range?query=%7Bserver_id%3D%22{server_id}%22%7D");
    let deadline = Instant::now() + WAIT;
    loop {
        let answer = get(&url, &query).await;
        if answer.contains("seen by a real Loki") {
            return;
        }
        assert!(Instant::now() < deadline, "{answer}");
        sleep(Duration::from_millis(500)).await;
    }
}

async fn get(url: &str, path: &str) -> String {
    let authority = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(authority).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nhost: {authority}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
