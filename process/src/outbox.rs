//! A bounded queue of what is told to another server (log lines, spans), and the task that posts it, batch after batch.
//!
//! What it keeps true:
//! - Whoever tells never waits: an entry is put into a queue of [`QUEUE_BYTES_MAX`] bytes, or dropped and counted where that is full.
//! - Memory does not grow while the other side is away, hangs or refuses: the queue has its bound, and one batch is under way at a time.
//! - Every post ends within [`POST_TIMEOUT`]; what may succeed later is tried again, what will never be taken is dropped and counted.

mod destination;

pub(crate) use destination::Destination;

use destination::Outcome;
use metrics::{Unit, counter, describe_counter};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// Posts; never ends. The caller runs it until shutdown.
pub type PostTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The most bytes of entries that wait.
pub const QUEUE_BYTES_MAX: usize = 4 << 20;
/// What an entry costs beside its own bytes.
const ENTRY_COST_BYTES: usize = 64;
/// The most bytes of entries in one post.
const BATCH_BYTES_MAX: usize = 512 << 10;
/// Entries wait so long for company.
const GATHER: Duration = Duration::from_millis(500);
/// How long a post may take in all.
const POST_TIMEOUT: Duration = Duration::from_secs(5);
/// After the first failed post it rests so long; after each further one twice as long,
const RETRY: Duration = Duration::from_millis(500);
/// up to this.
const RETRY_MAX: Duration = Duration::from_secs(15);

/// Who is told, and the counters of what was and was not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receiver {
    /// Its name, for people.
    pub(crate) name: &'static str,
    /// Entries that it has.
    pub(crate) told: &'static str,
    /// Entries that it has not: the queue was full, or it refused them.
    pub(crate) dropped: &'static str,
}

/// Entries that wait.
pub(crate) struct Outbox<T> {
    receiver: Receiver,
    waiting: Mutex<Waiting<T>>,
    arrived: Notify,
}

struct Waiting<T> {
    entries: VecDeque<(T, usize)>,
    bytes: usize,
}

impl<T: Send + 'static> Outbox<T> {
    pub(crate) fn new(receiver: Receiver) -> Arc<Outbox<T>> {
        let waiting = Mutex::new(Waiting { entries: VecDeque::new(), bytes: 0 });
        Arc::new(Outbox { receiver, waiting, arrived: Notify::new() })
    }

    /// Puts in an entry of about `bytes`, or drops it.
    pub(crate) fn push(&self, entry: T, bytes: usize) {
        let cost = bytes + ENTRY_COST_BYTES;
        let mut waiting = self.waiting();
        if waiting.bytes + cost > QUEUE_BYTES_MAX {
            drop(waiting);
            counter!(self.receiver.dropped).increment(1);
            return;
        }
        waiting.bytes += cost;
        waiting.entries.push_back((entry, cost));
        drop(waiting);
        self.arrived.notify_one();
    }

    /// The oldest entries, as many as fit a post.
    fn take(&self) -> Vec<T> {
        let mut waiting = self.waiting();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some((_, cost)) = waiting.entries.front() {
            bytes += cost;
            if bytes > BATCH_BYTES_MAX && !batch.is_empty() {
                break;
            }
            if let Some((entry, cost)) = waiting.entries.pop_front() {
                waiting.bytes -= cost;
                batch.push(entry);
            }
        }
        batch
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task that posts what `encode` makes of each batch.
    pub(crate) fn post(
        self: Arc<Outbox<T>>,
        destination: Destination,
        encode: impl Fn(&[T]) -> Vec<u8> + Send + 'static,
    ) -> PostTask {
        Box::pin(async move {
            let Receiver { name, told, dropped } = self.receiver;
            describe_counter!(told, Unit::Count, format!("Entries that {name} has taken."));
            describe_counter!(dropped, Unit::Count, format!("Entries that {name} did not get: too many, or refused."));
            counter!(told).increment(0);
            counter!(dropped).increment(0);
            loop {
                let batch = self.take();
                if batch.is_empty() {
                    self.arrived.notified().await;
                    sleep(GATHER).await;
                    continue;
                }
                let (body, entries) = (encode(&batch), batch.len() as u64);
                drop(batch);
                post_until_settled(self.receiver, &destination, &body, entries).await;
            }
        })
    }
}

/// Posts a batch as often as that may help.
async fn post_until_settled(receiver: Receiver, destination: &Destination, body: &[u8], entries: u64) {
    let name = receiver.name;
    let mut pause = RETRY;
    loop {
        let posted = timeout(POST_TIMEOUT, destination.post(body)).await;
        let why = match posted.unwrap_or_else(|_| Outcome::Later("no answer in time".to_owned())) {
            Outcome::Taken => {
                if pause > RETRY {
                    tracing::info!(target: "degradation", "{name} answers again");
                }
                return counter!(receiver.told).increment(entries);
            }
            Outcome::Never(why) => {
                tracing::warn!(target: "degradation", entries, why, "{name} refused what it was told");
                return counter!(receiver.dropped).increment(entries);
            }
            Outcome::Later(why) => why,
        };
        if pause == RETRY {
            tracing::warn!(target: "degradation", why, "{name} does not answer; what does not fit the queue is dropped");
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}
