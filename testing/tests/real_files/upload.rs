//! A8: uploads of every shape and size, and what they answer.

use serde_json::Value;
use std::time::Duration;
use testing::real::{Client, Cluster, Form, Plan, RawConnection, RawReply, encode, eventually, random_bytes, sha256};

#[tokio::test]
async fn fields_come_in_either_order_and_the_name_may_be_left_out() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let name_first = Form::new().text("filename", "first.txt").file("x", b"name, then file");
    let file_first = Form::new().file("x", b"file, then name").text("filename", "second.txt");
    let no_name = Form::new().file("own name.txt", b"no name field");
    let other_fields = Form::new().text("comment", "ignored").file("x", b"more fields").text("filename", "third.txt");
    for (form, name, data) in [
        (name_first, "first.txt", "name, then file"),
        (file_first, "second.txt", "file, then name"),
        (no_name, "own name.txt", "no name field"),
        (other_fields, "third.txt", "more fields"),
    ] {
        let reply = client.send(client.upload_form(form)).await.expect(201).json();
        assert_eq!(reply["filename"], name, "{reply}");
        assert_eq!(reply["version"], 1, "{reply}");
        assert_eq!(client.download(name, None).await.expect(200).body, data);
    }
}

#[tokio::test]
async fn the_answer_says_what_was_stored_and_how_durably() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let data = random_bytes(1, 200_000);
    let reply = client.send(client.upload_request("a.bin", &data)).await.expect(201);
    let body = reply.json();
    assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    assert_eq!((&body["filename"], &body["version"], &body["size"]), (&"a.bin".into(), &1.into(), &200_000.into()));
    assert_eq!(body["sha256"], sha256(&data));
    assert!(body["chunks"].as_u64().is_some_and(|chunks| chunks >= 1), "{body}");
    assert_eq!(body["versionId"].as_str().map(str::len), Some(36), "{body}");
    let receipt = &body["receipt"];
    let count = |name: &str| receipt[name].as_u64().unwrap_or_else(|| panic!("no {name} in {receipt}"));
    assert!(
        count("copies") >= 2 && count("copies") + count("pending") == 3,
        "a quorum of two, three in all: {receipt}"
    );
    assert_eq!(count("fsynced"), count("copies"));
    assert_eq!(count("survives"), count("copies") - 1);
    let header = reply.header("x-holdfast-durability");
    assert_eq!(header.split("; ").next(), Some(format!("copies={}", count("copies")).as_str()), "{header}");
}

#[tokio::test]
async fn versions_count_from_one_for_each_name() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    for version in 1..=3u64 {
        let body = client.upload("counted.txt", format!("state {version}").as_bytes()).await;
        assert_eq!(body["version"], version, "{body}");
    }
    assert_eq!(client.upload("other.txt", b"another name").await["version"], 1);
    for version in 1..=3u64 {
        let reply = client.download("counted.txt", Some(version)).await.expect(200);
        assert_eq!(reply.body, format!("state {version}"));
        assert_eq!(reply.header("x-holdfast-version"), version.to_string());
    }
    assert_eq!(client.download("counted.txt", None).await.body, "state 3");
}

#[tokio::test]
async fn bodies_of_every_size_come_back_bit_exact() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    // A version whose bytes are all stored already is as whole as the first.
    for size in [0, 1, 2, 65_535, 65_536, 65_537, 5 << 20, (70 << 20) + 123, 1, 5 << 20] {
        let data = random_bytes(size as u64, size);
        let name = format!("of {size} bytes");
        let body = client.upload(&name, &data).await;
        assert_eq!((&body["size"], &body["sha256"]), (&size.into(), &sha256(&data).into()), "{body}");
        let reply = client.download(&name, None).await.expect(200);
        assert_eq!(reply.header("content-length"), size.to_string());
        assert_eq!(reply.header("etag"), format!("\"{}\"", sha256(&data)));
        assert!(reply.body == data, "{size} bytes came back otherwise");
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_taken() {
    let cluster = Cluster::start().await;
    let data = random_bytes(7, 300_000);
    let form = Form::new().text("filename", "chunked.bin").file("x", &data).finish();
    let mut request = upload_head("Transfer-Encoding: chunked");
    for piece in form.chunks(70_001) {
        request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        request.extend_from_slice(piece);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    let reply = RawReply::to(cluster.coordinator.port, request).await;
    assert_eq!(reply.status, 201, "{}", String::from_utf8_lossy(&reply.body));
    assert!(cluster.client().download("chunked.bin", None).await.expect(200).body == data);
}

#[tokio::test]
async fn a_form_without_a_file_is_refused() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let refused = [
        Form::new().text("filename", "nothing.txt"),
        Form::new(),
        Form::new().text("filename", "nothing.txt").text("comment", "x"),
        Form::new().text("filename", "nothing.txt").file("a", b"one").file("b", b"two"),
        Form::new().text("filename", "nothing.txt").text("filename", "other.txt").file("a", b"one"),
    ];
    for form in refused {
        let reply = client.send(client.upload_form(form.clone())).await.expect(400);
        assert!(!reply.error().is_empty(), "{form:?}: {reply}");
    }
    let no_form = client.request(reqwest::Method::POST, "/upload").header("content-type", "text/plain").body("hello");
    client.send(no_form).await.expect(400);
    let no_boundary = client.request(reqwest::Method::POST, "/upload").header("content-type", "multipart/form-data");
    client.send(no_boundary.body("hello")).await.expect(400);
    let cut = Form::new().text("filename", "nothing.txt").file("x", b"cut off").unfinished();
    let cut = client.request(reqwest::Method::POST, "/upload").header("content-type", Form::content_type()).body(cut);
    client.send(cut).await.expect(400);
    invisible(&client, "nothing.txt").await;
}

/// The parser takes a carriage return before the boundary for a part's end, and believes a part's own length.
#[tokio::test]
async fn a_file_is_stored_to_its_last_byte_or_not_at_all() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let head = "--QQ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"cut.bin\"\r\n";
    let send = async |form: String| {
        let request = client.request(reqwest::Method::POST, "/upload");
        client.send(request.header("content-type", "multipart/form-data; boundary=QQ").body(form)).await
    };
    for form in [
        format!("{head}\r\nhello \r--QQ rest\r\n--QQ--\r\n"),
        format!("{head}Content-Length: 5\r\n\r\nhello world\r\n--QQ--\r\n"),
        format!("{head}\nhello\r\n\r\nworld\r\n--QQ--\r\n"),
        format!("{head}Content-Length: 0\r\n\r\nhello\n--QQ--\r\n"),
        format!("{head}\n\r\n--QQ\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\nother\r\n--QQ--\r\n"),
    ] {
        let refusal = send(form).await.expect_error(400, "The multipart form is broken or incomplete");
        assert!(refusal.json()["detail"].as_str().is_some_and(|detail| detail.contains("boundary")), "{refusal}");
        invisible(&client, "cut.bin").await;
    }
    let long = client.request(reqwest::Method::POST, "/upload");
    let long = long.header("content-type", format!("multipart/form-data; boundary={}", "Q".repeat(300)));
    client.send(long.body("--")).await.expect(400);
    for (head, content) in [("", "hello \n--QQ \r\n--Q rest\r"), ("Content-Length: 5\r\n", "hello"), ("", "")] {
        let part = "--QQ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"whole.bin\"\r\n";
        send(format!("{part}{head}\r\n{content}\r\n--QQ--\r\n")).await.expect(201);
        assert_eq!(client.download("whole.bin", None).await.expect(200).body, content);
    }
}

#[tokio::test]
async fn an_upload_over_the_limit_is_refused_and_leaves_nothing() {
    let cluster = Plan::new().coordinator_flag("--upload-bytes-max", "1MiB").start().await;
    let client = cluster.client();
    client.send(client.upload_request("large.bin", &random_bytes(3, 10 << 20))).await.expect(413);
    // The limit is the file's, not the form's.
    client.send(client.upload_request("large.bin", &random_bytes(3, (1 << 20) + 1))).await.expect(413);
    client.send(client.upload_request("fits.bin", &random_bytes(3, 1 << 20))).await.expect(201);
    // Without a length it is noticed on the way.
    let mut request = upload_head("Transfer-Encoding: chunked");
    let form = Form::new().text("filename", "large.bin").file("x", &random_bytes(4, 3 << 20)).finish();
    request.extend_from_slice(format!("{:x}\r\n", form.len()).as_bytes());
    request.extend_from_slice(&form);
    request.extend_from_slice(b"\r\n0\r\n\r\n");
    assert_eq!(RawReply::to(cluster.coordinator.port, request).await.status, 413);
    invisible(&client, "large.bin").await;
    assert_eq!(client.upload("small.bin", &random_bytes(5, 1 << 19)).await["version"], 1);
}

#[tokio::test]
async fn a_body_that_stands_still_is_ended() {
    let cluster = Plan::new().coordinator_flag("--body-stall-s", "2").start().await;
    let client = cluster.client();
    client.upload("kept.bin", b"the version before").await;
    for name in ["stalled.bin", "kept.bin"] {
        let mut connection = RawConnection::open(cluster.coordinator.port).await;
        let begun = tokio::time::Instant::now();
        connection.send(upload_head("Content-Length: 5000000")).await;
        connection.send(Form::new().text("filename", name).file("x", &random_bytes(6, 1_000_000)).unfinished()).await;
        let reply = connection.reply().await.expect("a stalled upload is answered");
        let took = begun.elapsed();
        assert_eq!(reply.status, 408, "{}", String::from_utf8_lossy(&reply.body));
        assert!((Duration::from_secs(2)..Duration::from_secs(10)).contains(&took), "{took:?}");
        assert!(connection.hangs_up(Duration::from_secs(20)).await, "the connection of a stalled upload is closed");
    }
    invisible(&client, "stalled.bin").await;
    assert_eq!(client.download("kept.bin", None).await.expect(200).body, "the version before");
    assert_eq!(client.versions("kept.bin").await.len(), 1);
    for path in ["/admin/nodes", "/admin/workers/scrub", "/admin/verify", "/admin/keys", "/buckets"] {
        let mut connection = RawConnection::open(cluster.coordinator.port).await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
        );
        connection.send(head).await;
        assert_eq!(connection.reply().await.expect("a stalled order is answered").status, 408, "{path}");
    }
}

#[tokio::test]
async fn a_slow_body_that_moves_is_not_ended() {
    let cluster = Plan::new().coordinator_flag("--body-stall-s", "2").start().await;
    let form = Form::new().text("filename", "slow.bin").file("x", b"a byte now and then").finish();
    let mut connection = RawConnection::open(cluster.coordinator.port).await;
    connection.send(upload_head(&format!("Content-Length: {}", form.len()))).await;
    let (most, last) = form.split_at(form.len() - 10);
    connection.send(most).await;
    for byte in last {
        tokio::time::sleep(Duration::from_millis(400)).await;
        connection.send([*byte]).await;
    }
    assert_eq!(connection.reply().await.expect("it is answered").status, 201);
    assert_eq!(cluster.client().download("slow.bin", None).await.body, "a byte now and then");
}

#[tokio::test]
async fn a_client_that_leaves_mid_upload_leaves_nothing_visible() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    client.upload("kept.bin", b"the version before").await;
    for (name, sent) in [("left.bin", 100), ("left.bin", 9_000_000), ("kept.bin", 9_000_000)] {
        let mut connection = RawConnection::open(cluster.coordinator.port).await;
        connection.send(upload_head("Content-Length: 20000000")).await;
        connection
            .send(Form::new().text("filename", name).file("x", &random_bytes(sent as u64, sent)).unfinished())
            .await;
        drop(connection);
    }
    // The coordinator notices in its own time; whenever that is, nothing may be seen.
    for _ in 0..10 {
        invisible(&client, "left.bin").await;
        assert_eq!(client.download("kept.bin", None).await.expect(200).body, "the version before");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(client.upload("left.bin", b"now whole").await["version"], 1);
    assert_eq!(client.upload("kept.bin", b"now whole").await["version"], 2);
    eventually("no upload is under way", Duration::from_secs(10), || async {
        let metrics = client.get("/metrics").await;
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        let line = text.lines().find(|line| line.starts_with("active_connections ")).unwrap_or("none").to_owned();
        // The request that asks is one.
        if line == "active_connections 1" { Ok(()) } else { Err(line) }
    })
    .await;
}

#[tokio::test]
async fn history_tells_what_versions_share() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let mut data = random_bytes(11, 3 << 20);
    client.upload("edited.bin", &data).await;
    data[2 << 20] ^= 1;
    client.upload("edited.bin", &data).await;
    client.upload("edited.bin", &random_bytes(12, 1 << 20)).await;
    let versions = client.versions("edited.bin").await;
    let shared: Vec<u64> = versions.iter().map(|version| version["shared_bytes"].as_u64().expect("a number")).collect();
    assert_eq!(shared[0], 0);
    assert!((2 << 20..3 << 20).contains(&shared[1]), "one byte of three MiB was changed: {shared:?}");
    assert_eq!(shared[2], 0);
    let stored: Vec<&Value> = versions.iter().map(|version| &version["stored_bytes"]).collect();
    assert!(stored[1].as_u64() < stored[0].as_u64().map(|bytes| bytes / 4), "{stored:?}");
}

/// Head of an upload, with one more line.
fn upload_head(line: &str) -> Vec<u8> {
    format!("POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: {}\r\n{line}\r\n\r\n", Form::content_type())
        .into()
}

async fn invisible(client: &Client, name: &str) {
    client.download(name, None).await.expect_error(404, &format!("File '{name}' does not exist"));
    client.get(&format!("/versions?filename={}", encode(name.as_bytes()))).await.expect(404);
    assert!(!client.names("").await.iter().any(|listed| listed == name), "{name} is listed");
}

/// A browser sends the field in which nobody chose a file all the same, without a name and without a byte.
#[tokio::test]
async fn a_form_in_which_no_file_was_chosen_replaces_nothing() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    client.upload("report.txt", b"what was there").await;
    let unchosen = || Form::new().file("", b"").text("filename", "report.txt");
    let refused = client.send(client.upload_form(unchosen())).await;
    assert!(refused.expect(400).error().starts_with("No file provided"));
    assert_eq!(client.download("report.txt", None).await.expect(200).body, "what was there");
    client.send(client.upload_form(Form::new().file("empty.txt", b""))).await.expect(201);
    assert_eq!(
        client.send(client.upload_form(Form::new().file("", b"a nameless one").text("filename", "n"))).await.status,
        201
    );
    // What a list keeps in memory of each file has a bound.
    let head = format!(
        "--e\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\nContent-Type: a/b; c={}\r\n\r\n",
        "d".repeat(2_000)
    );
    let request =
        client.request(reqwest::Method::POST, "/upload").header("content-type", "multipart/form-data; boundary=e");
    let reply = client.send(request.body(head + "bytes\r\n--e--\r\n")).await;
    assert!(reply.expect(400).error().contains("Content-Type is longer"));
    client.get("/download?filename=x").await.expect(404);
    let empty = client.send(client.request(reqwest::Method::POST, "/upload")).await;
    assert_eq!(empty.expect(400).error(), "The request is not a multipart/form-data form");
}
