//! OpenTelemetry traces: spans of this process as OTLP over HTTP (`POST /v1/traces`, JSON), and the trace context that goes from process to
//! process in the header `traceparent` (W3C Trace Context), so that one upload is one trace.
//!
//! What it keeps true:
//! - Where no `--otlp` is given nothing of this costs more than a load of a flag.
//! - Whoever works never waits for whoever collects traces ([`outbox`]).
//! - Of a trace all spans are sent or none: whether is decided by its id, at its root, and told to the other processes.

mod destination;
mod otlp;
mod outbox;

pub use outbox::{DROPPED, QUEUE_BYTES_MAX, SENT};

use crate::logs::{Fields, LogTask};
use destination::Destination;
use otlp::{Ended, KIND_INTERNAL, KIND_SERVER};
use outbox::Outbox;
use protocol::{Clock, Error, Result, SystemClock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Span, Subscriber};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

/// The header, and the field by which a span says which span of another process it belongs to.
pub const TRACEPARENT: &str = "traceparent";

/// The name of spans that answer a request of another process.
const REQUEST: &str = "request";

/// Whether anybody collects.
static COLLECTED: AtomicBool = AtomicBool::new(false);

/// Where traces go.
#[derive(Clone, Debug)]
pub struct TraceConfig {
    /// Base URL of the collector, such as `http://127.0.0.1:4318`.
    pub url: String,
    /// Of a hundred traces that begin here, so many are sent.
    pub percent: u8,
}

/// Which span of which trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    trace: u128,
    span: u64,
    sampled: bool,
}

impl Position {
    /// As `traceparent` tells it; `None` where that is not what version 00 allows.
    fn parse(text: &str) -> Option<Position> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex =
            |text: &str, digits| text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if version != "00" || !is_hex(trace, 32) || !is_hex(span, 16) || !is_hex(flags, 2) || parts.next().is_some() {
            return None;
        }
        let (trace, span) = (u128::from_str_radix(trace, 16).ok()?, u64::from_str_radix(span, 16).ok()?);
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        (trace != 0 && span != 0).then_some(Position { trace, span, sampled })
    }

    fn to_text(self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

/// A header's value, if it is one that a span may be given as its field [`TRACEPARENT`].
pub fn accepted(header: &str) -> Option<&str> {
    Position::parse(header).map(|_| header)
}

/// The current span, as another process is to be told of it; `None` where nobody collects or nothing is traced.
pub fn current() -> Option<String> {
    if !COLLECTED.load(Ordering::Relaxed) {
        return None;
    }
    let position = Span::current().with_subscriber(|(id, dispatch)| {
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        // A span that only logs show stands within one that is traced.
        span.scope().find_map(|span| span.extensions().get::<Traced>().map(|traced| traced.position))
    });
    position.flatten().map(Position::to_text)
}

/// What is kept of a span until it ends.
struct Traced {
    position: Position,
    parent: Option<u64>,
    began_ms: u64,
    began: Instant,
    fields: Fields,
}

struct Tracer {
    outbox: Arc<Outbox>,
    percent: u8,
}

/// The layer for the subscriber, and the task that sends what it saw.
pub(crate) fn layer<S>(
    config: &TraceConfig,
    service: &'static str,
    server_id: &str,
) -> Result<(Box<dyn Layer<S> + Send + Sync>, LogTask)>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let refused = |why| Error::invalid(format!("--otlp {}: {why}", config.url));
    let destination = Destination::parse(&config.url, otlp::PATH, otlp::CONTENT_TYPE).map_err(refused)?;
    let outbox = Arc::new(Outbox::default());
    let task = Arc::clone(&outbox).post(destination, otlp::resource(service, server_id));
    COLLECTED.store(true, Ordering::Relaxed);
    let ours = |metadata: &Metadata<'_>| {
        metadata.is_span() && *metadata.level() <= tracing::Level::DEBUG && is_ours(metadata.target())
    };
    let filter = filter_fn(ours).with_max_level_hint(LevelFilter::DEBUG);
    Ok((Tracer { outbox, percent: config.percent }.with_filter(filter).boxed(), task))
}

/// Our crates, by the first part of a target; those of libraries say nothing about a request.
fn is_ours(target: &str) -> bool {
    let crate_name = target.split("::").next().unwrap_or_default();
    ["coordinator", "storage_node"].contains(&crate_name)
}

impl Tracer {
    /// A new span's place: within a span of this process, or of another one, or at the root of a trace of its own, which only a request
    /// begins.
    fn place(&self, name: &str, parent: Option<Position>) -> Option<(Position, Option<u64>)> {
        let chance = SystemClock.random();
        let span = (chance >> 64) as u64 | 1;
        match parent {
            Some(parent) => Some((Position { span, ..parent }, Some(parent.span))),
            None if name != REQUEST => None,
            None => {
                let trace = SystemClock.random() | 1;
                let sampled = (trace >> 64) as u64 % 100 < u64::from(self.percent);
                Some((Position { trace, span, sampled }, None))
            }
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Tracer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).expect("a new span is in the registry");
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let told = fields.take(TRACEPARENT).and_then(|value| Position::parse(value.as_str()?));
        let above = || span.parent()?.scope().find_map(|span| Some(span.extensions().get::<Traced>()?.position));
        let Some((position, parent)) = self.place(span.name(), told.or_else(above)) else { return };
        let traced = Traced { position, parent, began_ms: SystemClock.now_ms(), began: Instant::now(), fields };
        span.extensions_mut().insert(traced);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).expect("a live span is in the registry");
        if let Some(traced) = span.extensions_mut().get_mut::<Traced>() {
            values.record(&mut traced.fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).expect("a closing span is in the registry");
        let Some(traced) = span.extensions_mut().remove::<Traced>() else { return };
        if !traced.position.sampled {
            return;
        }
        let Traced { position, parent, began_ms, began, fields } = traced;
        let began_ns = u128::from(began_ms) * 1_000_000;
        let kind = if span.name() == REQUEST { KIND_SERVER } else { KIND_INTERNAL };
        let ended_ns = began_ns + began.elapsed().as_nanos();
        self.outbox.push(Ended { name: span.name(), kind, position, parent, began_ns, ended_ns, fields });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_told_as_the_standard_says() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let position = Position::parse(text).unwrap();
        assert_eq!((position.span, position.sampled, position.to_text().as_str()), (0xb7ad_6b71_6920_3331, true, text));
        for wrong in [
            "",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-01",
        ] {
            assert_eq!(Position::parse(wrong), None, "{wrong}");
        }
    }
}
