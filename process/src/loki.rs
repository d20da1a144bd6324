//! Pushes the log to a Loki, as long as that Loki answers.
//!
//! The pusher behind it (tracing-loki 0.2) queues without limit and its HTTP client has no timeout: a Loki that hangs cost 343 MiB
//! after a million events. So a watchdog asks Loki's `/ready` every five seconds and switches the pusher off while it does not
//! answer, and no more than [`EVENTS_PER_SECOND_MAX`] events pass: the queue is bounded by what passes until the watchdog has
//! noticed. What is not pushed is on stdout all the same.

use crate::logs::{Level, LogConfig, wanted};
use protocol::{Error, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing::{Metadata, Subscriber};
use tracing_loki::url::Url;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, dynamic_filter_fn};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Pushes and watches; never ends. The caller runs it until shutdown.
pub type LokiTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The part that sees events.
pub(crate) type LokiLayer<S> = Box<dyn Layer<S> + Send + Sync>;

/// Events pushed per second at most; the rest of that second is on stdout only.
const EVENTS_PER_SECOND_MAX: u32 = 1000;
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Probes that must fail in a row before pushing stops.
const FAILED_PROBES_MAX: u32 = 2;

/// A Loki that may be pushed to.
pub(crate) struct Loki {
    layer: tracing_loki::Layer,
    push: tracing_loki::BackgroundTask,
    gate: Arc<Gate>,
    host: String,
    port: u16,
    level: Level,
}

/// Whether one more event may be pushed.
#[derive(Default)]
struct Gate {
    up: AtomicBool,
    left_this_second: AtomicU32,
}

impl Gate {
    fn admit(&self) -> bool {
        let take_one = |left: u32| left.checked_sub(1);
        self.up.load(Ordering::Relaxed)
            && self.left_this_second.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one).is_ok()
    }
}

impl Loki {
    pub(crate) fn new(url: &str, config: &LogConfig) -> Result<Loki> {
        let refused = |why: String| Error::invalid(format!("--loki {url}: {why}"));
        let mut base = Url::parse(url).map_err(|error| refused(error.to_string()))?;
        if base.scheme() != "http" {
            return Err(refused("only http:// is supported".into()));
        }
        // The pusher appends its path to the last `/`.
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let host = base.host_str().ok_or_else(|| refused("no host".into()))?.to_owned();
        let port = base.port_or_known_default().expect("http has a default port");
        let (layer, push) = tracing_loki::builder()
            .label("service", config.service)
            .and_then(|builder| builder.label("job", "distributed-storage"))
            .and_then(|builder| builder.label("server_id", config.server_id.as_str()))
            .and_then(|builder| builder.extra_field("service", config.service))
            .and_then(|builder| builder.build_url(base))
            .map_err(|error| refused(error.to_string()))?;
        Ok(Loki { layer, push, gate: Arc::default(), host, port, level: config.level.min(Level::Info) })
    }

    /// The layer for the subscriber, and the task that pushes what it saw.
    pub(crate) fn split<S>(self) -> (Option<LokiLayer<S>>, Option<LokiTask>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let Loki { layer, push, gate, host, port, level } = self;
        let task = watch(host, port, gate.clone());
        let passes = move |metadata: &Metadata<'_>, _: &Context<'_, S>| {
            wanted(metadata, level) && (metadata.is_span() || gate.admit())
        };
        let filter = dynamic_filter_fn(passes).with_max_level_hint(LevelFilter::INFO);
        let task: LokiTask = Box::pin(async move {
            // Neither ends; the pusher would only if its layer were gone.
            tokio::join!(push, task);
        });
        (Some(layer.with_filter(filter).boxed()), Some(task))
    }
}

/// Opens and closes the gate as Loki comes and goes, and refills it every second.
async fn watch(host: String, port: u16, gate: Arc<Gate>) {
    let mut failed = FAILED_PROBES_MAX;
    loop {
        failed = if is_ready(&host, port).await { 0 } else { failed.saturating_add(1) };
        gate.up.store(failed < FAILED_PROBES_MAX, Ordering::Relaxed);
        for _ in 0..PROBE_INTERVAL.as_secs() {
            gate.left_this_second.store(EVENTS_PER_SECOND_MAX, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Whether `GET /ready` answers 200 in time. Plain HTTP/1.0 by hand: a client library for one status line would be the larger part.
async fn is_ready(host: &str, port: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect((host, port)).await?;
        stream.write_all(format!("GET /ready HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
        let mut status_line = [0; b"HTTP/1.1 200".len()];
        stream.read_exact(&mut status_line).await?;
        std::io::Result::Ok(status_line.ends_with(b" 200"))
    };
    matches!(tokio::time::timeout(PROBE_TIMEOUT, ask).await, Ok(Ok(true)))
}
