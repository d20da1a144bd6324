//! Pushes the log to a Loki, by `tracing-loki`.
//!
//! A pusher of `tracing-loki` 0.2 queues without limit while Loki is away, its HTTP client has no timeout, and what it loses it does not
//! count: a Loki that hung cost 343 MiB after a million events. So each of its pushers is given one batch of a few hundred lines, is run
//! only when Loki is there, and is told to end with that batch (`docs/decisions/0082`).
//!
//! What it keeps true:
//! - Whoever logs never waits for Loki: a line goes into the batch that is open, or is dropped where that is full.
//! - Memory is bounded by [`LINES_MAX`]: batches that are full wait for the one under way, and while all wait, new lines are dropped.
//! - A push ends within [`PUSH_TIMEOUT`]. It is tried once, and only when Loki answers: while it does not, the oldest lines are kept.
//! - Every line is counted once: as pushed, or as dropped. What is not pushed is on stdout all the same.

use crate::logs::{Level, LogConfig, LogTask, wanted};
use metrics::{Unit, counter, describe_counter};
use protocol::{Error, Result};
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_loki::url::{Position, Url};
use tracing_loki::{BackgroundTask, BackgroundTaskController, Builder};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Log lines that Loki has.
pub const PUSHED: &str = "loki_events_pushed_total";
/// Log lines that it has not: too many waited, or it refused them.
pub const DROPPED: &str = "loki_events_dropped_total";

/// Lines in one push: what a pusher's channel (512) takes before it is run, less the word that ends it.
const BATCH_LINES_MAX: usize = 511;
/// Full batches that wait.
const BATCHES_MAX: usize = 6;
/// Lines in memory: in batches that wait, and in those that are filled, are about to wait, and are pushed.
pub const LINES_MAX: usize = BATCH_LINES_MAX * (BATCHES_MAX + 2);
/// Lines wait so long for company.
const GATHER: Duration = Duration::from_millis(500);
/// How long a push may take in all.
const PUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a Loki may take to say that it is there.
const READY_TIMEOUT: Duration = Duration::from_secs(2);
/// It is asked again after so long, then after twice as long,
const RETRY: Duration = Duration::from_millis(500);
/// up to this.
const RETRY_MAX: Duration = Duration::from_secs(8);
/// The target of what a pusher says of its own failures.
const PUSHER: &str = "tracing_loki";

/// The part that sees events.
struct Door {
    shared: Arc<Shared>,
}

struct Shared {
    builder: Builder,
    base: Url,
    open: RwLock<Open>,
    /// The first line is in the open batch.
    arrived: Notify,
    /// The open batch takes no more.
    filled: Notify,
    /// The push under way failed.
    failed: AtomicBool,
}

/// The batch that is filled.
struct Open {
    layer: tracing_loki::Layer,
    /// Lines that came, those that found no room among them.
    came: AtomicUsize,
}

/// Who pushes the batch that is filled.
struct Pusher {
    controller: BackgroundTaskController,
    task: BackgroundTask,
}

/// What is to be pushed.
struct Batch {
    pusher: Pusher,
    lines: usize,
}

/// The layer for the subscriber, and the task that pushes what it saw.
pub(crate) fn layer<S>(url: &str, config: &LogConfig) -> Result<(Box<dyn Layer<S> + Send + Sync>, LogTask)>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let refused = |why: String| Error::invalid(format!("--loki {url}: {why}"));
    let mut base = Url::parse(url).map_err(|error| refused(error.to_string()))?;
    if base.scheme() != "http" {
        return Err(refused("only http:// is supported".into()));
    }
    // The pusher appends its path to the last `/`.
    if !base.path().ends_with('/') {
        base.set_path(&format!("{}/", base.path()));
    }
    let builder = tracing_loki::builder()
        .label("job", "distributed-storage")
        .and_then(|builder| builder.label("service", config.service))
        .and_then(|builder| builder.label("server_id", config.server_id.as_str()))
        .and_then(|builder| builder.extra_field("service", config.service))
        .and_then(|builder| builder.extra_field("server_id", config.server_id.as_str()))
        .map_err(|error| refused(error.to_string()))?;
    let (open, pusher) = Open::new(&builder, &base).map_err(|error| refused(error.to_string()))?;
    let (arrived, filled, failed) = (Notify::new(), Notify::new(), AtomicBool::new(false));
    let shared = Arc::new(Shared { builder, base, open: RwLock::new(open), arrived, filled, failed });
    let level = config.level.min(Level::Info);
    let filter = filter_fn(move |metadata: &Metadata<'_>| is_of_pusher(metadata) || wanted(metadata, level));
    let filter = filter.with_max_level_hint(LevelFilter::INFO);
    let door = Door { shared: Arc::clone(&shared) };
    Ok((door.with_filter(filter).boxed(), Box::pin(run(shared, pusher))))
}

/// What a pusher says at ERROR is that it failed. Other events of its crate are nobody's.
fn is_of_pusher(metadata: &Metadata<'_>) -> bool {
    metadata.target() == PUSHER && *metadata.level() == tracing::Level::ERROR
}

impl Open {
    fn new(builder: &Builder, base: &Url) -> std::result::Result<(Open, Pusher), tracing_loki::Error> {
        let (layer, controller, task) = builder.clone().build_controller_url(base.clone())?;
        Ok((Open { layer, came: AtomicUsize::new(0) }, Pusher { controller, task }))
    }
}

impl Door {
    fn open(&self) -> RwLockReadGuard<'_, Open> {
        self.shared.open.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Door {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.open().layer.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.open().layer.on_record(id, values, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if is_of_pusher(event.metadata()) {
            return self.shared.failed.store(true, Ordering::Relaxed);
        }
        let open = self.open();
        let before = open.came.fetch_add(1, Ordering::Relaxed);
        if before >= BATCH_LINES_MAX {
            return counter!(DROPPED).increment(1);
        }
        open.layer.on_event(event, context);
        if before == 0 {
            self.shared.arrived.notify_one();
        }
        if before + 1 == BATCH_LINES_MAX {
            self.shared.filled.notify_one();
        }
    }
}

/// Closes batches and pushes them; does not end.
async fn run(shared: Arc<Shared>, pusher: Pusher) {
    describe_counter!(PUSHED, Unit::Count, "Log lines that Loki has taken.");
    describe_counter!(DROPPED, Unit::Count, "Log lines that Loki did not get: too many waited, or it refused them.");
    counter!(PUSHED).increment(0);
    counter!(DROPPED).increment(0);
    let (sender, receiver) = mpsc::channel(BATCHES_MAX);
    tokio::join!(shared.gather(pusher, sender), shared.push_all(receiver));
}

impl Shared {
    async fn gather(&self, mut pusher: Pusher, batches: mpsc::Sender<Batch>) {
        loop {
            self.arrived.notified().await;
            // Full or not, it is time afterwards.
            timeout(GATHER, self.filled.notified()).await.ok();
            let Ok(place) = batches.reserve().await else { return };
            let (next, its_pusher) = Open::new(&self.builder, &self.base).expect("these settings were taken before");
            let full = mem::replace(&mut *self.open.write().unwrap_or_else(PoisonError::into_inner), next);
            let lines = full.came.into_inner().min(BATCH_LINES_MAX);
            place.send(Batch { pusher: mem::replace(&mut pusher, its_pusher), lines });
        }
    }

    async fn push_all(&self, mut batches: mpsc::Receiver<Batch>) {
        let mut is_refused = false;
        while let Some(batch) = batches.recv().await {
            self.until_ready().await;
            let lines = batch.lines as u64;
            if self.push(batch.pusher).await {
                counter!(PUSHED).increment(lines);
                is_refused = false;
                continue;
            }
            counter!(DROPPED).increment(lines);
            // Said once: the word itself is a line of the next push.
            if !is_refused {
                tracing::warn!(target: "degradation", lines, "Loki refuses log lines; they are dropped");
            }
            is_refused = true;
        }
    }

    /// Whether Loki took the batch.
    async fn push(&self, pusher: Pusher) -> bool {
        self.failed.store(false, Ordering::Relaxed);
        // Its place in the channel was kept free. A pusher that is to end tries once.
        pusher.controller.shutdown().await;
        timeout(PUSH_TIMEOUT, pusher.task).await.is_ok() && !self.failed.load(Ordering::Relaxed)
    }

    async fn until_ready(&self) {
        let mut pause = RETRY;
        while let Err(why) = self.ready().await {
            if pause == RETRY {
                tracing::warn!(target: "degradation", why, "Loki does not answer; lines beyond those kept are dropped");
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
        if pause > RETRY {
            tracing::info!(target: "degradation", "Loki answers again");
        }
    }

    /// Asks `GET ready` below the URL. A server error means that Loki starts or stops; any other answer that somebody is there who may
    /// take a push. Plain HTTP/1.0 by hand: a client library for one status line would be the larger part.
    async fn ready(&self) -> std::result::Result<(), String> {
        let host = self.base.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.base.port_or_known_default().expect("http has a default port");
        let authority = &self.base[Position::BeforeHost..Position::AfterPort];
        let ask = async {
            let mut stream = TcpStream::connect((host, port)).await?;
            let request = format!("GET {}ready HTTP/1.0\r\nHost: {authority}\r\n\r\n", self.base.path());
            stream.write_all(request.as_bytes()).await?;
            let mut status_line = [0; b"HTTP/1.1 200".len()];
            stream.read_exact(&mut status_line).await?;
            std::io::Result::Ok(status_line)
        };
        match timeout(READY_TIMEOUT, ask).await {
            Err(_) => Err("no answer in time".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(line)) => match String::from_utf8_lossy(&line).split_once(' ') {
                Some((_, status)) if !status.starts_with('5') => Ok(()),
                Some((_, status)) => Err(format!("status {status}")),
                None => Err("no HTTP answer".to_owned()),
            },
        }
    }
}
