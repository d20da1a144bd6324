//! The log: JSON lines on stdout, one object each, and the same lines to Loki where one is named.
//!
//! What it keeps true:
//! - A line has `timestamp`, `level`, `service`, `message`, `target`, then the fields of its event and of the spans around it
//!   (`request_id` …), flat; the innermost value of a name wins.
//! - By default only errors are logged; events with target [`DEGRADATION`] are logged whatever the level (contract A14).
//! - A panic is an error in the log, wherever it happens and whoever catches it.
//! - Spans of our own crates at INFO and above are kept whatever the level, so that an error can name its request.

use crate::events::Events;
use crate::loki;
use crate::timestamp::rfc3339_ms;
use crate::traces::{self, TraceConfig};
use protocol::{Clock, Error, ErrorKind, Result, SystemClock};
use serde_json::{Map, Value};
use std::fmt;
use std::io::Write as _;
use std::pin::Pin;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Target of events that tell of degradation: a quorum met without all replicas, a breaker opened, a repair begun or done.
/// `tracing::warn!(target: process::logs::DEGRADATION, chunk = %id, "Quorum met, but nodes failed.")`
pub const DEGRADATION: &str = "degradation";

/// Crates whose chatter below WARN is of no use to an operator.
const NOISY_CRATES: [&str; 8] = ["actix_server", "h2", "hyper", "hyper_util", "mio", "reqwest", "rustls", "sled"];

/// These say at ERROR what a client did wrong, or that a push failed; whoever calls them says it in a line of its own.
const SILENT_CRATES: [&str; 3] = ["actix_http", "s3s", "tracing_loki"];

/// Names that a line's own columns have; a field of that name gets a trailing underscore.
const COLUMNS: [&str; 6] = ["timestamp", "level", "service", "server_id", "message", "target"];

/// Sends what was logged and traced to where it is wanted; does not end. The caller runs it until shutdown.
pub type LogTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Level {
    /// Errors only, and degradation.
    #[default]
    Error,
    /// And what may become an error.
    Warn,
    /// And the life of the process and its requests.
    Info,
    /// And what a developer wants to know.
    Debug,
}

impl Level {
    fn as_tracing(self) -> tracing::Level {
        match self {
            Level::Error => tracing::Level::ERROR,
            Level::Warn => tracing::Level::WARN,
            Level::Info => tracing::Level::INFO,
            Level::Debug => tracing::Level::DEBUG,
        }
    }
}

/// Who logs, how much, and where to.
pub struct LogConfig {
    /// `coordinator` or `storage-node`; the `service` of every line.
    pub service: &'static str,
    /// Which one: a node's name, a coordinator's; the `server_id` of every line.
    pub server_id: String,
    /// From which level on.
    pub level: Level,
    /// Base URL of a Loki to push to as well.
    pub loki: Option<String>,
    /// Where traces go, if anywhere.
    pub traces: Option<TraceConfig>,
    /// Where degradation is kept for those who watch it, if anyone can.
    pub events: Option<Events>,
}

/// Starts logging, once per process. Where Loki or a collector of traces is named, the caller runs the task returned until shutdown.
pub fn start(config: LogConfig) -> Result<Option<LogTask>> {
    let (loki, push) = match &config.loki {
        Some(url) => loki::layer(url, &config).map(|(layer, task)| (Some(layer), Some(task)))?,
        None => (None, None),
    };
    let (traces, send) = match &config.traces {
        Some(traces) => {
            traces::layer(traces, config.service, &config.server_id).map(|(layer, task)| (Some(layer), Some(task)))?
        }
        None => (None, None),
    };
    let lines = JsonLines { service: config.service, server_id: config.server_id };
    let subscriber = tracing_subscriber::registry()
        .with(loki)
        .with(traces)
        .with(config.events.map(Events::layer))
        .with(lines.with_filter(filter(config.level)));
    subscriber
        .try_init()
        .map_err(|error| Error::caused(ErrorKind::Conflict, format!("logging was started before: {error}"), error))?;
    tell_of_panics();
    Ok(match (push, send) {
        (Some(push), Some(send)) => Some(Box::pin(async {
            tokio::join!(push, send);
        })),
        (push, send) => push.or(send),
    })
}

/// Logs every panic; the standard message, with its backtrace where one is wanted, goes to stderr as before.
fn tell_of_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let said = panic.payload_as_str().unwrap_or("no message");
        let thread = std::thread::current().name().unwrap_or("without a name").to_owned();
        tracing::error!(place, thread, "panic: {said}");
        usual(panic);
    }));
}

/// Passes what is wanted at `level`; evaluated once per call site, so that a line not wanted costs nothing.
fn filter(level: Level) -> FilterFn<impl Fn(&Metadata<'_>) -> bool> {
    let hint = level.max(Level::Info).as_tracing();
    filter_fn(move |event| wanted(event, level)).with_max_level_hint(LevelFilter::from_level(hint))
}

/// Whether an event or span is logged at `level`. tracing's order: ERROR is the least level, TRACE the greatest.
pub(crate) fn wanted(metadata: &Metadata<'_>, level: Level) -> bool {
    let crate_name = metadata.target().split("::").next().unwrap_or_default();
    if SILENT_CRATES.contains(&crate_name) {
        return false;
    }
    if NOISY_CRATES.contains(&crate_name) {
        return *metadata.level() <= level.min(Level::Warn).as_tracing();
    }
    let always = metadata.is_span() || metadata.target() == DEGRADATION;
    let limit = if always { level.max(Level::Info) } else { level };
    *metadata.level() <= limit.as_tracing()
}

/// Writes each event as one line of JSON to stdout.
struct JsonLines {
    service: &'static str,
    server_id: String,
}

/// The fields of one span or event.
#[derive(Default)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Takes a field out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }

    /// About what they take in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.as_str().map_or(size_of::<u64>(), str::len)).sum()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JsonLines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let span = context.span(id).expect("a new span is in the registry");
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).expect("a live span is in the registry");
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let line = self.line(SystemClock.now_ms(), event.metadata(), fields_of(event, &context));
        // A closed stdout must not end a storage node; there is no place left to tell of it.
        std::io::stdout().lock().write_all(line.as_bytes()).ok();
    }
}

/// The fields of an event and of the spans around it; its message is one of them.
pub(crate) fn fields_of<S>(event: &Event<'_>, context: &Context<'_, S>) -> Map<String, Value>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let mut fields = Fields::default();
    for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
        if let Some(of_span) = span.extensions().get::<Fields>() {
            fields.0.extend(of_span.0.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
    }
    fields.0.remove("message");
    event.record(&mut fields);
    fields.0
}

impl JsonLines {
    fn line(&self, now_ms: u64, metadata: &Metadata<'_>, mut fields: Map<String, Value>) -> String {
        let message = fields.remove("message").unwrap_or_else(|| Value::from(metadata.name()));
        // Events of the `log` crate carry their origin in fields.
        let target = fields.remove("log.target").unwrap_or_else(|| Value::from(metadata.target()));
        let level = metadata.level().as_str().to_ascii_lowercase();
        let timestamp = rfc3339_ms(now_ms);
        let columns: [Value; 6] =
            [timestamp.into(), level.into(), self.service.into(), self.server_id.as_str().into(), message, target];
        let mut line = String::with_capacity(256);
        for (name, value) in COLUMNS.into_iter().zip(columns) {
            push_field(&mut line, name, &value);
        }
        for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with("log.")) {
            let taken = COLUMNS.contains(&name.as_str());
            let name = if taken { format!("{name}_") } else { name.clone() };
            push_field(&mut line, &name, value);
        }
        line.push_str("}\n");
        line
    }
}

fn push_field(line: &mut String, name: &str, value: &Value) {
    line.push(if line.is_empty() { '{' } else { ',' });
    line.push_str(&Value::from(name).to_string());
    line.push(':');
    line.push_str(&value.to_string());
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().into(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().into(), value.into());
    }

    /// The error and its causes, from the outermost in: whoever reads the line cannot ask for the source.
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // Many errors already end with their cause.
            if !text.ends_with(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        self.0.insert(field.name().into(), text.into());
    }
}
