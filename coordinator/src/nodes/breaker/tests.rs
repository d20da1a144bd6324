//! The breaker held to its drawing, and to a model of it.

use super::{Breaker, CALLS_MIN, Change, OPEN_FOR, Outcome, Refused, TRIALS, Ticket, WINDOW_SECONDS};
use crate::placement::Circuit;
use proptest::prelude::{Just, Strategy, prop, prop_assert_eq, prop_oneof, proptest};
use protocol::{Error, ErrorKind};
use std::time::Duration;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

fn call(breaker: &mut Breaker, outcome: Outcome, now: Instant) -> Option<Change> {
    let (ticket, begun) = breaker.begin(now);
    breaker.end(ticket, Some(outcome), now).or(begun)
}

fn opened(now: Instant) -> Breaker {
    let mut breaker = Breaker::new(now);
    for _ in 0..CALLS_MIN {
        call(&mut breaker, Outcome::Failed, now);
    }
    assert_eq!(breaker.circuit(now), Circuit::Open);
    breaker
}

#[test]
fn it_opens_at_ten_calls_with_eight_failed_and_not_before() {
    let now = Instant::now();
    let mut breaker = Breaker::new(now);
    for outcome in [Outcome::Answered, Outcome::Answered].into_iter().chain([Outcome::Failed; 7]) {
        assert_eq!(call(&mut breaker, outcome, now), None);
    }
    let change = call(&mut breaker, Outcome::Failed, now);
    assert_eq!(change, Some(Change { from: Circuit::Closed, to: Circuit::Open }));
}

#[test]
fn failures_older_than_the_window_are_forgotten() {
    let start = Instant::now();
    let mut breaker = Breaker::new(start);
    for _ in 0..9 {
        call(&mut breaker, Outcome::Failed, start);
    }
    let later = start + SECOND * WINDOW_SECONDS as u32;
    call(&mut breaker, Outcome::Failed, later);
    assert_eq!(breaker.circuit(later), Circuit::Closed, "one failure in the last 30 s");
}

#[test]
fn it_opens_at_the_third_refused_connection_in_a_row() {
    let now = Instant::now();
    let mut breaker = Breaker::new(now);
    for outcome in [Outcome::Refused, Outcome::Refused, Outcome::Answered, Outcome::Refused, Outcome::Refused] {
        assert_eq!(call(&mut breaker, outcome, now), None);
    }
    assert_eq!(call(&mut breaker, Outcome::Refused, now).unwrap().to, Circuit::Open);
}

#[test]
fn five_good_trials_close_it_and_one_bad_one_opens_it_again() {
    let start = Instant::now();
    let mut breaker = opened(start);
    assert!(!breaker.has_trial(start));
    assert_eq!(call(&mut breaker, Outcome::Answered, start), None, "a last resort's success does not close it early");
    let due = start + OPEN_FOR;
    assert_eq!(breaker.circuit(due), Circuit::HalfOpen);
    assert_eq!(call(&mut breaker, Outcome::Answered, due), Some(Change { from: Circuit::Open, to: Circuit::HalfOpen }));
    for _ in 1..TRIALS - 1 {
        assert_eq!(call(&mut breaker, Outcome::Answered, due), None);
    }
    let mut other = opened(start);
    call(&mut other, Outcome::Answered, due);
    let change = call(&mut other, Outcome::Failed, due);
    assert_eq!(change, Some(Change { from: Circuit::HalfOpen, to: Circuit::Open }));
    assert_eq!(other.circuit(due + OPEN_FOR - SECOND), Circuit::Open);
    let change = call(&mut breaker, Outcome::Answered, due);
    assert_eq!(change, Some(Change { from: Circuit::HalfOpen, to: Circuit::Closed }));
}

#[test]
fn a_half_open_breaker_wants_no_more_than_five_trials() {
    let start = Instant::now();
    let mut breaker = opened(start);
    let due = start + OPEN_FOR;
    let mut tickets: Vec<Ticket> = (0..TRIALS).map(|_| breaker.begin(due).0).collect();
    assert!(!breaker.has_trial(due));
    breaker.end(tickets.pop().unwrap(), None, due);
    assert!(breaker.has_trial(due), "a trial that was given up can be made again");
}

#[test]
fn an_answer_after_refusals_tries_again_at_once() {
    let now = Instant::now();
    let mut breaker = Breaker::new(now);
    for _ in 0..3 {
        call(&mut breaker, Outcome::Refused, now);
    }
    assert_eq!(call(&mut breaker, Outcome::Answered, now).unwrap().to, Circuit::HalfOpen);
    for _ in 1..TRIALS {
        call(&mut breaker, Outcome::Answered, now);
    }
    assert_eq!(breaker.circuit(now), Circuit::Closed);
}

#[test]
fn what_began_before_a_transition_does_not_count_after_it() {
    let start = Instant::now();
    let mut breaker = Breaker::new(start);
    let (late, _) = breaker.begin(start);
    for _ in 0..CALLS_MIN {
        call(&mut breaker, Outcome::Failed, start);
    }
    let due = start + OPEN_FOR;
    call(&mut breaker, Outcome::Answered, due);
    assert_eq!(breaker.end(late, Some(Outcome::Failed), due), None);
    assert_eq!(breaker.circuit(due), Circuit::HalfOpen);
}

#[test]
fn only_what_the_node_is_to_blame_for_counts_as_failed() {
    for kind in ErrorKind::ALL {
        let failed = matches!(kind, ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Denied);
        let wanted = if failed { Outcome::Failed } else { Outcome::Answered };
        assert_eq!(Outcome::of(&Error::from(kind)), wanted, "{kind:?}");
    }
    assert_eq!(Outcome::of(&Error::caused(ErrorKind::Unavailable, "n1", Refused)), Outcome::Refused);
}

/// The rules of A6 again, over a list of all calls instead of slots.
struct Model {
    born: Instant,
    state: Circuit,
    since: Instant,
    refused: bool,
    calls: Vec<(u64, bool)>,
    refused_in_a_row: u32,
    trials: u32,
}

impl Model {
    fn call(&mut self, outcome: Outcome, now: Instant) -> Circuit {
        if self.state == Circuit::Open && now >= self.since + OPEN_FOR {
            (self.state, self.trials) = (Circuit::HalfOpen, 0);
        }
        let failed = outcome != Outcome::Answered;
        self.refused_in_a_row = if outcome == Outcome::Refused { self.refused_in_a_row + 1 } else { 0 };
        match self.state {
            Circuit::Closed => {
                let second = (now - self.born).as_secs();
                self.calls.push((second, failed));
                let recent: Vec<bool> =
                    self.calls.iter().filter(|call| call.0 + 30 > second).map(|call| call.1).collect();
                let bad = recent.iter().filter(|failed| **failed).count();
                if failed && (self.refused_in_a_row >= 3 || recent.len() >= 10 && bad * 10 >= recent.len() * 8) {
                    self.open(outcome, now);
                }
            }
            Circuit::HalfOpen if failed => self.open(outcome, now),
            Circuit::HalfOpen => self.trials += 1,
            Circuit::Open if !failed && self.refused => (self.state, self.trials) = (Circuit::HalfOpen, 1),
            Circuit::Open => self.refused |= outcome == Outcome::Refused,
        }
        if self.state == Circuit::HalfOpen && self.trials == 5 {
            self.state = Circuit::Closed;
        }
        self.state
    }

    fn open(&mut self, outcome: Outcome, now: Instant) {
        (self.state, self.since, self.refused) = (Circuit::Open, now, outcome == Outcome::Refused);
        self.calls.clear();
    }
}

fn steps() -> impl Strategy<Value = Vec<(Outcome, u64)>> {
    let outcome = prop_oneof![2 => Just(Outcome::Answered), 3 => Just(Outcome::Failed), 2 => Just(Outcome::Refused)];
    let wait_ms = prop_oneof![6 => 0..500u64, 2 => 500..5_000u64, 1 => 5_000..40_000u64];
    // Runs of one outcome, since only they open and close it.
    let run = (outcome, 1..12usize, wait_ms).prop_map(|(outcome, count, wait_ms)| vec![(outcome, wait_ms); count]);
    prop::collection::vec(run, 0..25).prop_map(|runs| runs.concat())
}

proptest! {
    #[test]
    fn it_does_what_the_model_does(steps in steps()) {
        let born = Instant::now();
        let mut now = born;
        let mut breaker = Breaker::new(born);
        let mut model = Model {
            born, state: Circuit::Closed, since: born, refused: false, calls: Vec::new(), refused_in_a_row: 0, trials: 0,
        };
        for (step, (outcome, wait_ms)) in steps.into_iter().enumerate() {
            now += Duration::from_millis(wait_ms);
            let before = breaker.circuit(now);
            let (ticket, begun) = breaker.begin(now);
            let ended = breaker.end(ticket, Some(outcome), now);
            let wanted = model.call(outcome, now);
            prop_assert_eq!(breaker.circuit(now), wanted, "step {}", step);
            let told = begun.is_some() || ended.is_some();
            prop_assert_eq!(told || before == wanted, true, "every transition is told: step {}", step);
        }
    }
}
