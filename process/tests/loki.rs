//! Pushing to Loki: lines arrive where one answers, and nothing is pushed to one that is not ready.

#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use process::logs::{Level, LogConfig, start};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A Loki that is ready and takes everything; sends the head of each push.
async fn pretend_loki(listener: TcpListener, pushes: mpsc::UnboundedSender<String>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = vec![0; 64 << 10];
        let length = stream.read(&mut buffer).await.unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.unwrap();
        if text.starts_with("POST") && pushes.send(text).is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn lines_are_pushed_once_loki_is_ready() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let config = LogConfig {
        service: "coordinator",
        server_id: "c1".into(),
        level: Level::Error,
        loki: Some(url),
        events: None,
    };
    let task = start(config).unwrap().expect("a task, as Loki is named");
    let (sender, mut pushes) = mpsc::unbounded_channel();
    let log_until_pushed = async {
        loop {
            tracing::error!("seen by Loki");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let head = tokio::select! {
        head = pushes.recv() => head.unwrap(),
        () = task => panic!("the task ended"),
        () = pretend_loki(listener, sender) => panic!("Loki ended"),
        () = log_until_pushed => unreachable!(),
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("nothing was pushed"),
    };
    assert!(head.starts_with("POST /loki/api/v1/push "), "{head}");
}

#[test]
fn a_wrong_url_is_refused_by_name() {
    for url in ["nonsense", "https://loki:3100", "http://"] {
        let config = LogConfig {
            service: "x",
            server_id: "c1".into(),
            level: Level::Error,
            loki: Some(url.into()),
            events: None,
        };
        let error = start(config).err().expect(url);
        assert!(error.message.contains("--loki") && error.message.contains(url), "{error}");
    }
}
