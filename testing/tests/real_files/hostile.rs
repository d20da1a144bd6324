//! Requests that no client library would send (faults rows 76–78, 80): refused with a status that fits, and nothing breaks.

use std::time::Duration;
use testing::real::{Cluster, Form, RawConnection, RawReply};

#[tokio::test]
async fn methods_that_a_path_does_not_take_are_405() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    for (path, wrong, allowed) in [
        ("/upload", "GET", "POST"),
        ("/upload", "PUT", "POST"),
        ("/upload", "DELETE", "POST"),
        ("/download?filename=x", "POST", "GET, HEAD"),
        ("/download?filename=x", "DELETE", "GET, HEAD"),
        ("/files", "POST", "GET"),
        ("/files", "DELETE", "GET"),
        ("/files/x", "PUT", "GET, HEAD"),
        ("/files/x", "DELETE", "GET, HEAD"),
        ("/versions?filename=x", "POST", "GET"),
        ("/delete?filename=x", "GET", "DELETE"),
        ("/delete?filename=x", "POST", "DELETE"),
    ] {
        let method = reqwest::Method::from_bytes(wrong.as_bytes()).expect("a method");
        let reply = client.send(client.request(method, path)).await;
        assert_eq!(reply.status, 405, "{wrong} {path}: {reply}");
        assert_eq!(reply.header("allow"), allowed, "{wrong} {path}");
        assert!(!reply.error().is_empty(), "{wrong} {path}: {reply}");
    }
    for path in ["/health", "/system/health", "/system/nodes", "/metrics"] {
        client.send(client.request(reqwest::Method::POST, path)).await.expect(405);
    }
    assert!(!client.get("/no/such/path").await.expect(404).error().is_empty());
}

#[tokio::test]
async fn a_request_that_is_none_is_refused_and_its_connection_closed() {
    let cluster = Cluster::start().await;
    let port = cluster.coordinator.port;
    let form = format!("Content-Type: {}\r\n", Form::content_type());
    let many_headers: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let cases = [
        ("no length", format!("POST /upload HTTP/1.1\r\nHost: x\r\n{form}\r\n"), &[411][..]),
        (
            "a head of 300 KB",
            format!("GET /health HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "y".repeat(300_000)),
            &[431, 400],
        ),
        ("200 headers", format!("GET /health HTTP/1.1\r\nHost: x\r\n{many_headers}\r\n"), &[431, 400]),
        (
            "a length and chunks",
            format!(
                "POST /upload HTTP/1.1\r\nHost: x\r\n{form}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            &[400],
        ),
        (
            "two lengths",
            format!("POST /upload HTTP/1.1\r\nHost: x\r\n{form}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
            &[400],
        ),
        (
            "a chunk that is none",
            format!(
                "POST /upload HTTP/1.1\r\nHost: x\r\n{form}Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n"
            ),
            &[400],
        ),
        ("a negative length", format!("POST /upload HTTP/1.1\r\nHost: x\r\n{form}Content-Length: -1\r\n\r\n"), &[400]),
        ("no HTTP at all", "hello\r\n\r\n".to_owned(), &[400]),
        ("a header without a name", "GET /health HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n".to_owned(), &[400]),
    ];
    for (what, request, statuses) in cases {
        let mut connection = RawConnection::open(port).await;
        connection.send(&request).await;
        let reply = connection.reply().await.unwrap_or_else(|| panic!("{what}: closed without an answer"));
        assert!(statuses.contains(&reply.status), "{what}: {}", reply.head);
    }
    cluster.client().get("/health").await.expect(200);
    let metrics = cluster.client().get("/metrics").await;
    assert!(!String::from_utf8_lossy(&metrics.body).contains("status_code=\"5"), "nothing of this is a server's error");
}

#[tokio::test]
async fn forms_that_are_broken_are_refused_within_bounds() {
    let cluster = Cluster::start().await;
    let port = cluster.coordinator.port;
    let client = cluster.client();
    let many_parts = (0..100).fold(Form::new(), |form, n| form.text(&format!("field{n}"), "x"));
    client.send(client.upload_form(many_parts.file("x", b"y"))).await.expect(400);
    let long_field = Form::new().text("filename", "n".repeat(1 << 20)).file("x", b"y");
    client.send(client.upload_form(long_field)).await.expect(400);
    let long_head =
        Form::new().part(&format!("Content-Disposition: form-data; name=\"{}\"", "n".repeat(100_000)), b"y");
    client.send(client.upload_form(long_head)).await.expect(400);
    let headless = Form::new().part("X-Nothing: here", b"y");
    client.send(client.upload_form(headless)).await.expect(400);

    // A length that lies: short ends the form early, long waits for what never comes.
    let body = Form::new().text("filename", "lies.bin").file("x", b"content").finish();
    let head = |length: usize| {
        format!(
            "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: {}\r\nContent-Length: {length}\r\n\r\n",
            Form::content_type()
        )
    };
    let mut short = head(body.len() - 20).into_bytes();
    short.extend_from_slice(&body);
    assert_eq!(RawReply::to(port, short).await.status, 400);
    let mut connection = RawConnection::open(port).await;
    connection.send(head(body.len() + 20)).await;
    connection.send(&body[..body.len() - 30]).await;
    drop(connection);
    client.download("lies.bin", None).await.expect(404);
}

#[tokio::test]
async fn slow_heads_are_ended_and_disturb_no_one() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut connection = RawConnection::open(cluster.coordinator.port).await;
        connection.send("GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
        slow.push(connection);
    }
    client.upload("meanwhile.txt", b"served").await;
    assert_eq!(client.download("meanwhile.txt", None).await.expect(200).body, "served");
    for connection in &mut slow {
        assert!(connection.hangs_up(Duration::from_secs(15)).await, "a head that never ends is given up");
    }
}
