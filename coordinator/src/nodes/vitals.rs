//! What is known of one node from its answers and its silence; plain state, changed under the member's lock.

use super::breaker::{Breaker, Outcome};
use crate::placement::Health;
use protocol::{NodeHealth, NodeStatus};
use std::time::Duration;
use tokio::time::Instant;

/// How much a new sample counts in a moving average: one part in this many.
const AVERAGE_PARTS: u64 = 8;
/// After this long without a sample an average counts half, so that a node that was slow once is tried again.
const AVERAGE_HALVES_AFTER: Duration = Duration::from_secs(10);

/// Whether a member is the node it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// It has not answered yet.
    Unseen,
    /// It is who it should be.
    Admitted,
    /// It is not, for this reason: it is neither read nor written.
    Refused(String),
}

/// A moving average of a latency.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Average {
    us: u64,
    sampled: Option<Instant>,
}

impl Average {
    pub(super) fn add(&mut self, sample: Duration, now: Instant) {
        let sample_us = u64::try_from(sample.as_micros()).unwrap_or(u64::MAX).clamp(1, 1 << 40);
        self.us = match self.sampled {
            None => sample_us,
            Some(_) => (self.us * (AVERAGE_PARTS - 1) + sample_us) / AVERAGE_PARTS,
        };
        self.sampled = Some(now);
    }

    /// A lower bound of a latency, from a call that was given up: it never makes the node look faster.
    pub(super) fn add_at_least(&mut self, elapsed: Duration, now: Instant) {
        if elapsed.as_micros() > u128::from(self.us) {
            self.add(elapsed, now);
        }
    }

    /// The average in microseconds, fading with age; 0 if nothing was measured.
    pub(super) fn us(&self, now: Instant) -> u64 {
        let Some(sampled) = self.sampled else { return 0 };
        let age_ms = u64::try_from(now.duration_since(sampled).as_millis()).unwrap_or(u64::MAX).min(1 << 20);
        let half_ms = AVERAGE_HALVES_AFTER.as_millis() as u64;
        self.us * half_ms / (half_ms + age_ms)
    }
}

/// All that changes with a node's answers.
#[derive(Debug)]
pub(super) struct Vitals {
    pub(super) breaker: Breaker,
    pub(super) identity: Identity,
    /// Whether the catalog has all that was seen of it.
    pub(super) is_on_record: bool,
    /// Its last answer to a probe, kept while it is down.
    pub(super) health: Option<NodeHealth>,
    pub(super) probe_failed: bool,
    /// Whether the last call failed.
    pub(super) suspect: bool,
    /// Whether it refused a write for lack of room since the last probe.
    pub(super) full: bool,
    pub(super) last_answer: Option<Instant>,
    /// Since when it is asked in vain; `None` while it answers as who it should be. Between two probes of a node that is not used nobody
    /// knows that it is gone, and it is not counted as silence.
    pub(super) silent_since: Option<Instant>,
    pub(super) error: Option<String>,
    pub(super) reads: Average,
    pub(super) writes: Average,
}

impl Vitals {
    pub(super) fn new(now: Instant) -> Vitals {
        Vitals {
            breaker: Breaker::new(now),
            identity: Identity::Unseen,
            is_on_record: false,
            health: None,
            probe_failed: false,
            suspect: false,
            full: false,
            last_answer: None,
            silent_since: Some(now),
            error: None,
            reads: Average::default(),
            writes: Average::default(),
        }
    }

    pub(super) fn health(&self) -> Health {
        if self.identity != Identity::Admitted || self.probe_failed {
            Health::Down
        } else if self.suspect {
            Health::Suspect
        } else {
            Health::Healthy
        }
    }

    pub(super) fn accepts_writes(&self) -> bool {
        !self.full && self.health.as_ref().is_some_and(|health| health.status == NodeStatus::Ok)
    }

    /// What is wrong with it, if anything is.
    pub(super) fn error(&self) -> Option<String> {
        match &self.identity {
            Identity::Refused(reason) => Some(reason.clone()),
            Identity::Unseen => Some(self.error.clone().unwrap_or_else(|| "it has not answered yet".to_owned())),
            Identity::Admitted => self.error.clone(),
        }
    }

    /// Takes note of a call's outcome; true if the node's health is another one now. The good answer to a probe clears nothing
    /// yet: it may come from another disk.
    pub(super) fn note(&mut self, clears: bool, outcome: Outcome, error: Option<&str>, now: Instant) -> bool {
        let before = self.health();
        match outcome {
            Outcome::Answered => {
                self.last_answer = Some(now);
                match self.identity {
                    Identity::Admitted => self.silent_since = None,
                    Identity::Unseen | Identity::Refused(_) => drop(self.silent_since.get_or_insert(now)),
                }
                if clears && self.identity == Identity::Admitted {
                    (self.probe_failed, self.suspect, self.error) = (false, false, None);
                }
            }
            Outcome::Failed | Outcome::Refused => {
                self.silent_since.get_or_insert(now);
                self.suspect = true;
                self.error = error.map(str::to_owned);
            }
        }
        self.health() != before
    }
}
