//! A node's circuit breaker: it says when to stop relying on a node, and when to try it again (A6).
//!
//! ```text
//!            10 calls within 30 s, 80 % of them failed,
//!            or 3 refused connections in a row
//!   CLOSED ───────────────────────────────────────────▶ OPEN ◀─────────────┐
//!      ▲                                                 │ 30 s later, or  │ one failure
//!      │                                                 │ an answer after │
//!      │            5 successes                          ▼ refusals        │
//!      └───────────────────────────────────────────── HALF_OPEN ───────────┘
//! ```
//!
//! What it keeps true:
//! - It is a hint (I20): it never stops a call. Callers go by [`Breaker::circuit`] for order and by [`Breaker::has_trial`] for
//!   how much they send to a node on trial.
//! - It is pure: time is passed in, nothing is read from a clock.
//! - A call counts for the period in which it began: what comes back late from before a transition changes nothing.
//! - Memory is bounded, however many calls there are: the window is 30 slots of one second.

#[cfg(test)]
mod tests;

use crate::placement::Circuit;
use protocol::{Error, ErrorKind};
use std::time::Duration;
use tokio::time::Instant;

/// How many calls the window must hold before their failures open the breaker.
pub const CALLS_MIN: u32 = 10;
/// The part of failed calls that opens the breaker, in percent.
pub const FAILED_PERCENT_MIN: u32 = 80;
/// The length of the window; also how long the breaker stays open before it tries again.
pub const WINDOW_SECONDS: u64 = 30;
/// How long the breaker stays open before trial calls are let through.
pub const OPEN_FOR: Duration = Duration::from_secs(30);
/// How many refused connections in a row open the breaker.
pub const REFUSED_IN_A_ROW_MAX: u32 = 3;
/// How many trial calls must succeed before the breaker closes.
pub const TRIALS: u32 = 5;

const SLOTS: usize = WINDOW_SECONDS as usize;

/// The cause of an `Unavailable` error where nothing listens at the node's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connection refused")]
pub struct Refused;

/// What a call says of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered; a refusal such as `NotFound`, `Conflict` or `Full` is an answer, too.
    Answered,
    /// It did not, or not in time, or it said that it cannot.
    Failed,
    /// Nothing listens at its address.
    Refused,
}

impl Outcome {
    /// The outcome that this error stands for.
    pub fn of(error: &Error) -> Outcome {
        match error.kind {
            ErrorKind::Unavailable | ErrorKind::Unknown => {
                let refused = error.source.as_ref().is_some_and(|source| source.downcast_ref::<Refused>().is_some());
                if refused { Outcome::Refused } else { Outcome::Failed }
            }
            // A node that denies its own coordinator is of no use, whatever its health says.
            ErrorKind::Denied => Outcome::Failed,
            ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::Invalid | ErrorKind::Corrupt | ErrorKind::Full => {
                Outcome::Answered
            }
        }
    }
}

/// A transition, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The state before.
    pub from: Circuit,
    /// The state from now on.
    pub to: Circuit,
}

/// Held by a call from [`Breaker::begin`] to [`Breaker::end`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    period: u64,
}

/// The state machine drawn above.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    /// Rises with every transition; a [`Ticket`] of another period is void.
    period: u64,
    refused_in_a_row: u32,
    born: Instant,
}

#[derive(Debug)]
enum State {
    Closed(Box<Window>),
    /// `refused`: a connection was refused since; the first answer then means that the node was started again.
    Open {
        since: Instant,
        refused: bool,
    },
    HalfOpen {
        under_way: u32,
        succeeded: u32,
    },
}

impl Breaker {
    /// A closed breaker that has seen no call.
    pub fn new(now: Instant) -> Breaker {
        Breaker { state: State::Closed(Box::default()), period: 0, refused_in_a_row: 0, born: now }
    }

    /// The state at `now`.
    pub fn circuit(&self, now: Instant) -> Circuit {
        match self.state {
            State::Closed(_) => Circuit::Closed,
            State::Open { since, .. } if now.duration_since(since) < OPEN_FOR => Circuit::Open,
            State::Open { .. } | State::HalfOpen { .. } => Circuit::HalfOpen,
        }
    }

    /// Whether the breaker wants another call: always when closed, never when open, and up to [`TRIALS`] when half open.
    pub fn has_trial(&self, now: Instant) -> bool {
        match self.state {
            State::Closed(_) => true,
            State::Open { .. } => self.circuit(now) == Circuit::HalfOpen,
            State::HalfOpen { under_way, succeeded } => under_way + succeeded < TRIALS,
        }
    }

    /// A call begins. Gives the transition too, if the time to try again has come.
    pub fn begin(&mut self, now: Instant) -> (Ticket, Option<Change>) {
        let due = matches!(self.state, State::Open { .. }) && self.circuit(now) == Circuit::HalfOpen;
        let change = due.then(|| self.enter(State::HalfOpen { under_way: 0, succeeded: 0 }, now));
        if let State::HalfOpen { under_way, .. } = &mut self.state {
            *under_way += 1;
        }
        (Ticket { period: self.period }, change)
    }

    /// A call ended; `None` if it was given up before anything could be said of it.
    pub fn end(&mut self, ticket: Ticket, outcome: Option<Outcome>, now: Instant) -> Option<Change> {
        if ticket.period != self.period {
            return None;
        }
        self.count_refusals(outcome);
        let refused_too_often = self.refused_in_a_row >= REFUSED_IN_A_ROW_MAX;
        let second = now.duration_since(self.born).as_secs();
        let next = match (&mut self.state, outcome) {
            (State::HalfOpen { under_way, .. }, None) => {
                *under_way -= 1;
                None
            }
            (State::Closed(_) | State::Open { .. }, None) => None,
            (State::Closed(window), Some(outcome)) => {
                window.count(second, outcome != Outcome::Answered);
                let opens = outcome != Outcome::Answered && (refused_too_often || window.is_bad());
                opens.then_some(State::Open { since: now, refused: outcome == Outcome::Refused })
            }
            (State::Open { refused: true, .. }, Some(Outcome::Answered)) => {
                Some(State::HalfOpen { under_way: 0, succeeded: 1 })
            }
            (State::Open { refused, .. }, Some(outcome)) => {
                *refused |= outcome == Outcome::Refused;
                None
            }
            (State::HalfOpen { under_way, succeeded }, Some(Outcome::Answered)) => {
                *under_way -= 1;
                *succeeded += 1;
                (*succeeded >= TRIALS).then(|| State::Closed(Box::default()))
            }
            (State::HalfOpen { .. }, Some(outcome)) => {
                Some(State::Open { since: now, refused: outcome == Outcome::Refused })
            }
        };
        next.map(|state| self.enter(state, now))
    }

    fn count_refusals(&mut self, outcome: Option<Outcome>) {
        match outcome {
            Some(Outcome::Refused) => self.refused_in_a_row = self.refused_in_a_row.saturating_add(1),
            Some(Outcome::Answered | Outcome::Failed) => self.refused_in_a_row = 0,
            None => {}
        }
    }

    fn enter(&mut self, state: State, now: Instant) -> Change {
        // An open breaker whose time has come counts as half open already, but this transition is the one to tell.
        let from = match self.state {
            State::Open { .. } => Circuit::Open,
            State::Closed(_) | State::HalfOpen { .. } => self.circuit(now),
        };
        self.state = state;
        self.period += 1;
        Change { from, to: self.circuit(now) }
    }
}

/// Calls and failures of the last [`WINDOW_SECONDS`] seconds, a slot each.
#[derive(Debug, Default)]
struct Window {
    slots: [Slot; SLOTS],
    /// The second of the newest slot.
    newest: u64,
    calls: u32,
    failed: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    calls: u32,
    failed: u32,
}

impl Window {
    fn count(&mut self, second: u64, failed: bool) {
        self.forget_before(second);
        let slot = &mut self.slots[(self.newest % WINDOW_SECONDS) as usize];
        slot.calls += 1;
        slot.failed += u32::from(failed);
        self.calls += 1;
        self.failed += u32::from(failed);
    }

    fn forget_before(&mut self, second: u64) {
        let passed = second.saturating_sub(self.newest).min(WINDOW_SECONDS);
        for ahead in 1..=passed {
            let slot = &mut self.slots[((self.newest + ahead) % WINDOW_SECONDS) as usize];
            self.calls -= slot.calls;
            self.failed -= slot.failed;
            *slot = Slot::default();
        }
        self.newest = self.newest.max(second);
    }

    fn is_bad(&self) -> bool {
        self.calls >= CALLS_MIN && u64::from(self.failed) * 100 >= u64::from(self.calls) * u64::from(FAILED_PERCENT_MIN)
    }
}
