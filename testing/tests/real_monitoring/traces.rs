//! One upload is one trace: through the coordinator, the catalog and the nodes, told to a collector by OTLP over HTTP.

use super::receiver::receive;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testing::real::{Plan, eventually, random_bytes};
use tokio::net::TcpListener;

const SENT_WITHIN: Duration = Duration::from_secs(20);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A span, and whose it is.
#[derive(Clone, Debug)]
struct Span {
    process: String,
    name: String,
    trace: String,
    id: String,
    parent: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_upload_is_one_trace() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("a listener has an address"));
    let collected: Arc<Mutex<Vec<Span>>> = Arc::default();
    let collector = Arc::clone(&collected);
    let take = move |body: &[u8]| {
        collector.lock().expect("nobody panics with it").extend(spans_of(body));
        "200 OK"
    };
    tokio::spawn(receive(listener, take));
    let cluster = Plan::new().coordinator_flag("--otlp", &url).node_flag("--otlp", &url).start().await;
    let client = cluster.client();
    for (sampled, name) in [("01", "traced"), ("00", "not traced")] {
        let upload = client.upload_request(name, &random_bytes(sampled.len() as u64, 100_000));
        let caller = format!("00-{TRACE}-{CALLER}-{sampled}");
        client.send(upload.header("traceparent", caller)).await.expect(201);
    }
    let spans = || collected.lock().expect("nobody panics with it").clone();
    let ours = || spans().into_iter().filter(|span| span.trace == TRACE).collect::<Vec<Span>>();
    let trace = eventually("the trace is whole", SENT_WITHIN, || async {
        let trace = ours();
        let nodes: BTreeSet<&str> = served(&trace).map(|span| span.process.as_str()).collect();
        let has = |name: &str| trace.iter().any(|span| span.name == name && span.process.starts_with("coordinator"));
        if has("request") && has("commit") && nodes.len() >= 2 { Ok(trace.clone()) } else { Err(format!("{trace:#?}")) }
    })
    .await;
    let roots: Vec<&Span> = trace.iter().filter(|span| span.parent == CALLER).collect();
    assert!(roots.len() == 1 && roots[0].name == "request", "the caller made one upload that is traced: {trace:#?}");
    let known: BTreeSet<&str> = trace.iter().map(|span| span.id.as_str()).collect();
    assert_eq!(known.len(), trace.len(), "a span is sent once");
    for span in served(&trace) {
        let caller = trace.iter().find(|other| other.id == span.parent);
        assert!(caller.is_none_or(|caller| caller.name == "node call"), "{span:?} belongs to {caller:?}");
        assert!(!span.parent.is_empty(), "{span:?}");
    }
    // A trace that begins here is another one.
    client.upload("begins here", &random_bytes(9, 50_000)).await;
    eventually("the next trace is sent", SENT_WITHIN, || async {
        let others = spans().into_iter().filter(|span| span.trace != TRACE).collect::<Vec<Span>>();
        let roots = others.iter().filter(|span| span.name == "request" && span.parent.is_empty());
        let within = |root: &Span| served(&others).filter(|span| span.trace == root.trace).count();
        if roots.map(within).any(|nodes| nodes >= 2) { Ok(()) } else { Err(format!("{others:#?}")) }
    })
    .await;
    let stray = spans().into_iter().find(|span| span.name != "request" && span.parent.is_empty());
    assert!(stray.is_none(), "what no request asked for is no trace: {stray:?}");
}

/// What storage nodes were asked.
fn served(spans: &[Span]) -> impl Iterator<Item = &Span> {
    spans.iter().filter(|span| span.name == "request" && span.process.starts_with('n'))
}

fn spans_of(body: &[u8]) -> Vec<Span> {
    let request: Value = serde_json::from_slice(body).expect("OTLP in JSON");
    let mut found = Vec::new();
    for resource in list(&request["resourceSpans"]) {
        let attributes = list(&resource["resource"]["attributes"]);
        let process = attributes.iter().find(|attribute| attribute["key"] == "service.instance.id");
        let process = text(&process.expect("who sends says its name")["value"]["stringValue"]);
        for span in list(&resource["scopeSpans"]).iter().flat_map(|scope| list(&scope["spans"])) {
            let [began, ended] = ["startTimeUnixNano", "endTimeUnixNano"]
                .map(|name| text(&span[name]).parse::<u128>().expect("a time is a number"));
            assert!(began <= ended && began > 1_600_000_000_000_000_000, "{span}");
            found.push(Span {
                process: process.clone(),
                name: text(&span["name"]),
                trace: text(&span["traceId"]),
                id: text(&span["spanId"]),
                parent: span["parentSpanId"].as_str().unwrap_or_default().to_owned(),
            });
        }
    }
    found
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
