//! Pushes the log to a Loki: the lines of stdout, in the protocol that Promtail speaks: `POST /loki/api/v1/push` with a snappy-compressed
//! protobuf `logproto.PushRequest`.
//!
//! ```text
//! PushRequest { 1: Stream* }   Stream { 1: labels as text, 2: Entry* }   Entry { 1: Timestamp { 1: seconds, 2: nanos }, 2: line }
//! ```
//!
//! What it keeps true: whoever logs never waits, and nothing grows while Loki is away ([`crate::outbox`]). What is not pushed is on stdout
//! all the same.

use crate::logs::{JsonLines, Level, LogConfig, fields_of, wanted};
use crate::outbox::{Destination, Outbox, PostTask, Receiver};
use protocol::{Clock, Error, Result, SystemClock};
use snap::raw::Encoder;
use std::fmt::Write as _;
use std::sync::Arc;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Log lines that Loki has.
pub const PUSHED: &str = "loki_events_pushed_total";
/// Log lines that it has not: the queue was full, or Loki refused them.
pub const DROPPED: &str = "loki_events_dropped_total";

const RECEIVER: Receiver = Receiver { name: "Loki", told: PUSHED, dropped: DROPPED };
const PATH: &str = "/loki/api/v1/push";
const CONTENT_TYPE: &str = "application/x-protobuf";
/// The levels, each a stream of its own.
const LEVELS: [(tracing::Level, &str); 5] = [
    (tracing::Level::ERROR, "error"),
    (tracing::Level::WARN, "warn"),
    (tracing::Level::INFO, "info"),
    (tracing::Level::DEBUG, "debug"),
    (tracing::Level::TRACE, "trace"),
];

/// The part that sees events.
struct Pusher {
    outbox: Arc<Outbox<Entry>>,
    lines: JsonLines,
}

/// One line.
struct Entry {
    at_ms: u64,
    level: tracing::Level,
    line: String,
}

/// The layer for the subscriber, and the task that pushes what it saw.
pub(crate) fn layer<S>(url: &str, config: &LogConfig) -> Result<(Box<dyn Layer<S> + Send + Sync>, PostTask)>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let destination = Destination::parse(url, PATH, CONTENT_TYPE);
    let destination = destination.map_err(|why| Error::invalid(format!("--loki {url}: {why}")))?;
    let mut labels = String::new();
    for (name, value) in
        [("job", "distributed-storage"), ("service", config.service), ("server_id", config.server_id.as_str())]
    {
        write!(labels, "{name}={value:?}, ").expect("a string takes writes");
    }
    let outbox = Outbox::new(RECEIVER);
    let task = Arc::clone(&outbox).post(destination, move |batch: &[Entry]| encode(&labels, batch));
    let lines = JsonLines { service: config.service, server_id: config.server_id.clone() };
    let level = config.level.min(Level::Info);
    let filter = filter_fn(move |metadata: &Metadata<'_>| wanted(metadata, level));
    let filter = filter.with_max_level_hint(LevelFilter::INFO);
    Ok((Pusher { outbox, lines }.with_filter(filter).boxed(), task))
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Pusher {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let at_ms = SystemClock.now_ms();
        let mut line = self.lines.line(at_ms, event.metadata(), fields_of(event, &context));
        line.truncate(line.trim_end().len());
        let bytes = line.len();
        self.outbox.push(Entry { at_ms, level: *event.metadata().level(), line }, bytes);
    }
}

/// The body of a push: one stream for each level that is there.
fn encode(labels: &str, batch: &[Entry]) -> Vec<u8> {
    let mut request = Vec::new();
    for (level, name) in LEVELS {
        let entries: Vec<&Entry> = batch.iter().filter(|entry| entry.level == level).collect();
        if entries.is_empty() {
            continue;
        }
        let mut stream = Vec::new();
        field(&mut stream, 1, format!("{{{labels}level=\"{name}\"}}").as_bytes());
        for entry in entries {
            let mut timestamp = Vec::new();
            number(&mut timestamp, 1, entry.at_ms / 1000);
            number(&mut timestamp, 2, entry.at_ms % 1000 * 1_000_000);
            let mut encoded = Vec::with_capacity(entry.line.len() + 32);
            field(&mut encoded, 1, &timestamp);
            field(&mut encoded, 2, entry.line.as_bytes());
            field(&mut stream, 2, &encoded);
        }
        field(&mut request, 1, &stream);
    }
    Encoder::new().compress_vec(&request).expect("a batch is far below 4 GiB")
}

/// A field with a length: message or text.
fn field(into: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    into.push((number << 3) | 2);
    varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

fn number(into: &mut Vec<u8>, field: u8, value: u64) {
    into.push(field << 3);
    varint(into, value);
}

fn varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}
