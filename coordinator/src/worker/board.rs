//! What `/admin/workers` shows and tunes: one line for each worker, kept by the runner, read by anyone.

use super::{Backlog, Progress};
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A rate is measured over about this time.
const RATE_OVER: Duration = Duration::from_secs(10);

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Another process holds the lease, or none does yet.
    NoLease,
    /// Not every registered node has answered yet.
    SafeMode,
    /// The operator paused it.
    Paused,
    /// There is nothing to do.
    Idle,
    /// It works.
    Working,
    /// There is work that cannot be done now; `reason` says why.
    Waiting,
    /// Its last step failed; `reason` says how, and it tries again.
    Failing,
}

impl State {
    /// Every state, with its name in metrics.
    pub const ALL: [(State, &str); 7] = [
        (State::NoLease, "no_lease"),
        (State::SafeMode, "safe_mode"),
        (State::Paused, "paused"),
        (State::Idle, "idle"),
        (State::Working, "working"),
        (State::Waiting, "waiting"),
        (State::Failing, "failing"),
    ];
}

/// What an operator may set, until the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuning {
    /// Whether it rests.
    pub paused: bool,
    /// Bytes a second at most; 0 for any.
    pub bytes_per_s: u64,
    /// How many times as long as a step took it rests while clients are served.
    pub tranquility: u32,
}

/// One worker, for people and dashboards.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerStatus {
    /// Its name.
    pub name: &'static str,
    /// What it is doing.
    pub state: State,
    /// Why it waits or fails.
    pub reason: Option<String>,
    /// Steps since the process began.
    pub steps: u64,
    /// Chunks, records or shards since then.
    pub items: u64,
    /// Bytes since then.
    pub bytes: u64,
    /// Bytes a second lately.
    pub bytes_per_s: u64,
    /// Items a second lately.
    pub items_per_s: f64,
    /// Items that wait, where that is known.
    pub queued: Option<u64>,
    /// Bytes that wait, where that is known.
    pub queued_bytes: Option<u64>,
    /// Seconds until it is done at the present rate, where that can be told.
    pub eta_s: Option<u64>,
    /// What may be set.
    pub tuning: Tuning,
}

/// One worker's line.
#[derive(Debug)]
pub struct Line {
    name: &'static str,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    reason: Option<String>,
    tuning: Tuning,
    steps: u64,
    items: u64,
    bytes: u64,
    backlog: Backlog,
    rate: Rate,
}

/// A moving average: what was done in the period under way, and the average of the one before.
#[derive(Debug)]
struct Rate {
    since: Instant,
    items: u64,
    bytes: u64,
    items_per_s: f64,
    bytes_per_s: f64,
}

impl Line {
    /// The line of a worker that has not begun.
    pub fn new(name: &'static str, tuning: Tuning) -> Line {
        let rate = Rate { since: Instant::now(), items: 0, bytes: 0, items_per_s: 0.0, bytes_per_s: 0.0 };
        let inner = Inner {
            state: State::NoLease,
            reason: None,
            tuning,
            steps: 0,
            items: 0,
            bytes: 0,
            backlog: Backlog::default(),
            rate,
        };
        Line { name, inner: Mutex::new(inner) }
    }

    /// The worker's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What the operator set.
    pub fn tuning(&self) -> Tuning {
        self.inner().tuning
    }

    /// Sets what the operator wants.
    pub fn tune(&self, tuning: Tuning) {
        self.inner().tuning = tuning;
    }

    /// It does not work now.
    pub fn rests(&self, state: State, reason: Option<String>) {
        let mut inner = self.inner();
        (inner.state, inner.reason) = (state, reason);
    }

    /// A step ended.
    pub fn stepped(&self, progress: &Progress) {
        let mut inner = self.inner();
        inner.steps += 1;
        (inner.state, inner.reason) = match progress {
            Progress::Idle => (State::Idle, None),
            Progress::Did { .. } => (State::Working, None),
            Progress::Waits(reason) => (State::Waiting, Some(reason.clone())),
        };
        if let Progress::Did { items, bytes } = progress {
            inner.items += items;
            inner.bytes += bytes;
            inner.rate.add(*items, *bytes);
        }
    }

    /// How much is left.
    pub fn note_backlog(&self, backlog: Backlog) {
        self.inner().backlog = backlog;
    }

    /// What is to be shown.
    pub fn status(&self) -> WorkerStatus {
        let mut inner = self.inner();
        inner.rate.add(0, 0);
        let (items_per_s, bytes_per_s) = (inner.rate.items_per_s, inner.rate.bytes_per_s);
        let left =
            |amount: Option<u64>, rate: f64| amount.filter(|_| rate > 0.0).map(|amount| (amount as f64 / rate) as u64);
        WorkerStatus {
            name: self.name,
            state: inner.state,
            reason: inner.reason.clone(),
            steps: inner.steps,
            items: inner.items,
            bytes: inner.bytes,
            bytes_per_s: bytes_per_s as u64,
            items_per_s,
            queued: inner.backlog.items,
            queued_bytes: inner.backlog.bytes,
            eta_s: left(inner.backlog.bytes, bytes_per_s).or(left(inner.backlog.items, items_per_s)),
            tuning: inner.tuning,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rate {
    fn add(&mut self, items: u64, bytes: u64) {
        self.items += items;
        self.bytes += bytes;
        let elapsed = self.since.elapsed();
        if elapsed >= RATE_OVER {
            let seconds = elapsed.as_secs_f64();
            (self.items_per_s, self.bytes_per_s) = (self.items as f64 / seconds, self.bytes as f64 / seconds);
            (self.since, self.items, self.bytes) = (Instant::now(), 0, 0);
        } else if self.bytes_per_s == 0.0 && elapsed >= RATE_OVER / 10 {
            // The first figure soon, rather than none.
            let seconds = elapsed.as_secs_f64();
            (self.items_per_s, self.bytes_per_s) = (self.items as f64 / seconds, self.bytes as f64 / seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn a_line_tells_rate_and_remaining_time() {
        let line = Line::new("repair", Tuning { paused: false, bytes_per_s: 0, tranquility: 1 });
        assert_eq!(line.status().eta_s, None);
        for _ in 0..10 {
            advance(Duration::from_secs(1)).await;
            line.stepped(&Progress::Did { items: 2, bytes: 1_000 });
        }
        line.note_backlog(Backlog { items: Some(20), bytes: Some(50_000) });
        let status = line.status();
        assert_eq!((status.steps, status.items, status.bytes, status.bytes_per_s), (10, 20, 10_000, 1_000));
        assert_eq!((status.eta_s, status.state), (Some(50), State::Working));
        line.stepped(&Progress::Waits("no node".to_owned()));
        assert_eq!((line.status().state, line.status().reason.as_deref()), (State::Waiting, Some("no node")));
    }
}
