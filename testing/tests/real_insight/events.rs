//! `GET /admin/events`: degradation as it happens, by server-sent events.

use reqwest::{Method, Response};
use serde_json::Value;
use std::time::Duration;
use testing::real::{Client, Cluster, Plan, RawConnection};
use tokio::time::timeout;

const WAIT: Duration = Duration::from_secs(20);

/// A stream of messages.
struct Stream {
    response: Response,
    text: String,
}

/// A message: its fields as they came.
#[derive(Debug)]
struct Message {
    id: Option<u64>,
    event: String,
    data: Value,
}

impl Stream {
    async fn open(client: &Client, last_id: Option<u64>) -> Stream {
        let request = client.request(Method::GET, "/admin/events");
        let request = last_id.into_iter().fold(request, |request, id| request.header("last-event-id", id));
        let response = request.send().await.expect("the stream begins");
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"text/event-stream".parse().expect("a value"))
        );
        let mut stream = Stream { response, text: String::new() };
        assert!(stream.block().await.is_some_and(|block| block.starts_with("retry: ")));
        stream
    }

    /// Up to the next empty line; `None` at the end of the stream.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let chunk = timeout(WAIT, self.response.chunk()).await.expect("something comes in time");
            self.text.push_str(std::str::from_utf8(&chunk.ok()??).expect("text"));
        }
    }

    async fn next(&mut self) -> Option<Message> {
        loop {
            let block = self.block().await?;
            if block.starts_with([':', 'r']) {
                continue;
            }
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            let id = field("id").map(|id| id.parse().expect("an id is a number"));
            let data = serde_json::from_str(field("data").expect("a message has data")).expect("data is JSON");
            return Some(Message { id, event: field("event").expect("a message has a name").to_owned(), data });
        }
    }

    /// Reads on to the end; whether that was one.
    async fn ends_in_order(&mut self) -> bool {
        loop {
            match timeout(WAIT, self.response.chunk()).await.expect("it goes on or ends in time") {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// The next message that says this.
    async fn until(&mut self, text: &str) -> Message {
        loop {
            let message = self.next().await.unwrap_or_else(|| panic!("the stream ended before {text:?}"));
            if message.data["message"] == text {
                return message;
            }
        }
    }
}

const SHORTFALL: &str = "Quorum met, but nodes failed. Scheduling repair.";

/// A cluster of three nodes of which one is down: every write is a replica short, and an event.
async fn short_cluster() -> Cluster {
    let mut cluster = Plan::new().nodes(3).start().await;
    cluster.node(3).kill();
    cluster
}

#[tokio::test]
async fn what_happens_is_told_and_a_client_goes_on_where_it_was() {
    let cluster = short_cluster().await;
    let client = cluster.client();
    let mut stream = Stream::open(&client, None).await;
    let reply =
        client.send(client.upload_request("one", b"one").header("x-request-id", "told-with-it")).await.expect(201);
    assert_eq!(reply.json()["receipt"]["copies"], 2);
    let told = stream.until(SHORTFALL).await;
    assert_eq!((told.event.as_str(), told.id), ("degradation", told.data["id"].as_u64()));
    assert_eq!((&told.data["level"], &told.data["service"]), (&"warn".into(), &"coordinator".into()));
    assert_eq!(told.data["fields"]["chunks"], 1, "{told:?}");
    assert_eq!(told.data["fields"]["request_id"], "told-with-it", "{told:?}");
    assert!(told.data["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{told:?}");
    drop(stream);
    // While nobody watches, more happens.
    client.upload("two", b"two").await;
    client.upload("three", b"three").await;
    let mut again = Stream::open(&client, told.id).await;
    let mut last = told.id.expect("an id");
    let mut shortfalls = 0;
    while shortfalls < 2 {
        let message = again.next().await.expect("more is told");
        assert_eq!(message.id, Some(last + 1), "none is missed, none is told twice");
        last += 1;
        shortfalls += u32::from(message.data["message"] == SHORTFALL);
    }
    // A client from long ago is told that it missed something.
    let mut old = Stream::open(&client, Some(1)).await;
    let missed = old.next().await.expect("a notice");
    assert_eq!((missed.event.as_str(), missed.id), ("missed", None));
    assert_eq!(missed.data, serde_json::json!({ "events": null }), "how many an earlier process told is not known");
    for bad in ["x", "-1", "1.5"] {
        client.get_with("/admin/events", &[("last-event-id", bad)]).await.expect(400);
    }
}

#[tokio::test]
async fn watchers_are_bounded_and_none_keeps_the_process_from_ending() {
    let mut cluster = short_cluster().await;
    let port = cluster.coordinator.port;
    let mut watchers = Vec::new();
    for _ in 0..64 {
        let mut connection = RawConnection::open(port).await;
        connection.send("GET /admin/events HTTP/1.1\r\nHost: x\r\n\r\n").await;
        watchers.push(connection);
    }
    let client = cluster.client();
    // The last of them may still be on its way in.
    testing::real::eventually("a watcher too many is refused", WAIT, || async {
        let response = client.request(Method::GET, "/admin/events").send().await.map_err(|error| error.to_string())?;
        if response.status() == 503 { Ok(()) } else { Err(response.status().to_string()) }
    })
    .await;
    // None of these reads; events go on for the others, and so does everything else.
    for n in 0..20 {
        client.upload(&format!("file {n}"), b"short of a replica").await;
    }
    drop(watchers.split_off(32));
    let mut stream = testing::real::eventually("a place is free again", WAIT, || async {
        let response = client.request(Method::GET, "/admin/events").send().await.map_err(|error| error.to_string())?;
        if response.status() == 200 { Ok(Stream { response, text: String::new() }) } else { Err("refused".to_owned()) }
    })
    .await;
    client.upload("one more", b"also short").await;
    stream.until(SHORTFALL).await;
    cluster.coordinator.terminate();
    assert!(stream.ends_in_order().await, "a graceful end ends the streams, it does not cut them off");
    assert!(cluster.coordinator.wait(Duration::from_secs(35)).is_some_and(|status| status.success()));
}
