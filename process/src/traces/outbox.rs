//! A bounded queue of spans that have ended, and the task that posts them to their collector, batch after batch.
//!
//! What it keeps true:
//! - Whoever ends a span never waits: it is put into a queue of [`QUEUE_BYTES_MAX`] bytes, or dropped and counted where that is full.
//! - Memory does not grow while the collector is away, hangs or refuses: the queue has its bound, and one batch is under way at a time.
//! - Every post ends within [`POST_TIMEOUT`]; what may succeed later is tried again, what will never be taken is dropped and counted.

use super::destination::{Destination, Outcome};
use super::otlp::{self, Ended};
use crate::logs::LogTask;
use metrics::{Unit, counter, describe_counter};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// Spans that the collector has.
pub const SENT: &str = "trace_spans_sent_total";
/// Spans that it has not: the queue was full, or it refused them.
pub const DROPPED: &str = "trace_spans_dropped_total";

/// The most bytes of spans that wait.
pub const QUEUE_BYTES_MAX: usize = 4 << 20;
/// The most bytes of spans in one post, as they are in memory.
const BATCH_BYTES_MAX: usize = 512 << 10;
/// Spans wait so long for company.
const GATHER: Duration = Duration::from_millis(500);
/// How long a post may take in all.
const POST_TIMEOUT: Duration = Duration::from_secs(5);
/// After the first failed post it rests so long; after each further one twice as long,
const RETRY: Duration = Duration::from_millis(500);
/// up to this.
const RETRY_MAX: Duration = Duration::from_secs(15);

/// Spans that wait.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    spans: VecDeque<Ended>,
    bytes: usize,
}

impl Outbox {
    /// Puts a span in, or drops it.
    pub(super) fn push(&self, span: Ended) {
        let bytes = span.bytes();
        let mut waiting = self.waiting();
        if waiting.bytes + bytes > QUEUE_BYTES_MAX {
            drop(waiting);
            counter!(DROPPED).increment(1);
            return;
        }
        waiting.bytes += bytes;
        waiting.spans.push_back(span);
        drop(waiting);
        self.arrived.notify_one();
    }

    /// The oldest spans, as many as fit a post.
    fn take(&self) -> Vec<Ended> {
        let mut waiting = self.waiting();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(span) = waiting.spans.pop_front() {
            let cost = span.bytes();
            if !batch.is_empty() && bytes + cost > BATCH_BYTES_MAX {
                waiting.spans.push_front(span);
                break;
            }
            bytes += cost;
            batch.push(span);
        }
        waiting.bytes -= bytes;
        batch
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task that posts them as spans of `resource`.
    pub(super) fn post(self: Arc<Outbox>, destination: Destination, resource: Value) -> LogTask {
        Box::pin(async move {
            describe_counter!(SENT, Unit::Count, "Spans that the collector of traces has taken.");
            describe_counter!(
                DROPPED,
                Unit::Count,
                "Spans that the collector of traces did not get: too many waited, or it refused them."
            );
            counter!(SENT).increment(0);
            counter!(DROPPED).increment(0);
            loop {
                let batch = self.take();
                if batch.is_empty() {
                    self.arrived.notified().await;
                    sleep(GATHER).await;
                    continue;
                }
                let (body, spans) = (otlp::encode(&resource, &batch), batch.len() as u64);
                drop(batch);
                post_until_settled(&destination, &body, spans).await;
            }
        })
    }
}

/// Posts a batch as often as that may help.
async fn post_until_settled(destination: &Destination, body: &[u8], spans: u64) {
    let mut pause = RETRY;
    loop {
        let posted = timeout(POST_TIMEOUT, destination.post(body)).await;
        let why = match posted.unwrap_or_else(|_| Outcome::Later("no answer in time".to_owned())) {
            Outcome::Taken => {
                if pause > RETRY {
                    tracing::info!(target: "degradation", "the collector of traces answers again");
                }
                return counter!(SENT).increment(spans);
            }
            Outcome::Never(why) => {
                tracing::warn!(target: "degradation", spans, why, "the collector of traces refused spans; they are dropped");
                return counter!(DROPPED).increment(spans);
            }
            Outcome::Later(why) => why,
        };
        if pause == RETRY {
            tracing::warn!(target: "degradation", why, "the collector of traces does not answer; spans beyond those kept are dropped");
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}
