//! What clients asked for and what they were told: the log against which a cluster is read back.
//!
//! What it keeps true: an attempt is noted before its request leaves, and its outcome after the answer came, so that whatever the
//! cluster does in between, an acknowledged write is in the ledger and a write in the ledger has a body that can be made again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

/// What an attempt asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// An upload of `body_of(seed, key, n)`.
    Put,
    /// A delete.
    Delete,
}

/// What an attempt was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing yet.
    UnderWay,
    /// The upload is this version.
    Stored(u64),
    /// The file is deleted.
    Deleted,
    /// There was nothing to delete.
    NothingToDelete,
    /// It did not happen.
    Refused,
    /// No answer, or one that says that the outcome is unknown: it may or may not have happened.
    Unknown,
}

/// One attempt on a key; its number is its place.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// What it asked for.
    pub verb: Verb,
    /// When, before it was sent.
    pub begun: Instant,
    /// When its answer had come.
    pub ended: Option<Instant>,
    /// What it was told.
    pub outcome: Outcome,
}

impl Attempt {
    /// Whether it was told that it happened.
    pub fn is_acknowledged(&self) -> bool {
        matches!(self.outcome, Outcome::Stored(_) | Outcome::Deleted)
    }
}

/// Something that should not have happened.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// A request was not served: no answer, or a refusal.
    Unserved(String),
    /// An answer was wrong. There is never an excuse for it.
    Wrong(String),
}

/// All attempts on all keys.
#[derive(Debug)]
pub struct Ledger {
    /// What bodies are made from.
    pub seed: u64,
    keys: Mutex<BTreeMap<String, Vec<Attempt>>>,
    troubles: Mutex<Vec<Trouble>>,
    born: Instant,
}

impl Ledger {
    /// An empty ledger.
    pub fn new(seed: u64) -> Ledger {
        Ledger { seed, keys: Mutex::default(), troubles: Mutex::default(), born: Instant::now() }
    }

    /// Notes an attempt that is about to be sent; gives its number.
    pub fn begin(&self, key: &str, verb: Verb) -> u64 {
        let mut keys = self.keys();
        let attempts = keys.entry(key.to_owned()).or_default();
        attempts.push(Attempt { verb, begun: Instant::now(), ended: None, outcome: Outcome::UnderWay });
        attempts.len() as u64 - 1
    }

    /// Notes what attempt `n` was told.
    pub fn end(&self, key: &str, n: u64, outcome: Outcome) {
        let mut keys = self.keys();
        let attempt = &mut keys.get_mut(key).expect("an attempt was begun")[n as usize];
        attempt.outcome = outcome;
        attempt.ended = Some(Instant::now());
    }

    /// The attempts on a key so far.
    pub fn attempts(&self, key: &str) -> Vec<Attempt> {
        self.keys().get(key).cloned().unwrap_or_default()
    }

    /// Every key that anything was tried on.
    pub fn names(&self) -> Vec<String> {
        self.keys().keys().cloned().collect()
    }

    /// How many writes were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.keys().values().flatten().filter(|attempt| attempt.is_acknowledged()).count()
    }

    /// What was begun after `instant`.
    pub fn begun_after(&self, instant: Instant) -> Vec<Attempt> {
        self.keys().values().flatten().filter(|attempt| attempt.begun > instant).cloned().collect()
    }

    /// Notes that a request was not served.
    pub fn unserved(&self, what: impl std::fmt::Display) {
        self.note(Trouble::Unserved(format!("at {:.1?}: {what}", self.born.elapsed())));
    }

    /// Notes a wrong answer.
    pub fn wrong(&self, what: impl std::fmt::Display) {
        self.note(Trouble::Wrong(format!("at {:.1?}: {what}", self.born.elapsed())));
    }

    /// Requests that were not served since this was last asked.
    pub fn take_unserved(&self) -> Vec<String> {
        let mut troubles = self.troubles.lock().expect("no one panics with the lock held");
        let (unserved, wrong) = troubles.drain(..).partition(|trouble| matches!(trouble, Trouble::Unserved(_)));
        *troubles = wrong;
        let unserved: Vec<Trouble> = unserved;
        unserved.into_iter().map(|trouble| trouble.to_string()).collect()
    }

    /// Panics if any answer was wrong.
    pub fn assert_none_wrong(&self) {
        let troubles = self.troubles.lock().expect("no one panics with the lock held");
        let wrong: Vec<&Trouble> = troubles.iter().filter(|trouble| matches!(trouble, Trouble::Wrong(_))).collect();
        assert!(wrong.is_empty(), "{} wrong answers; the first: {:#?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    }

    /// Panics if any request was not served since this was last asked.
    pub fn assert_all_served(&self, during: &str) {
        let unserved = self.take_unserved();
        let shown = &unserved[..unserved.len().min(5)];
        assert!(unserved.is_empty(), "{during}: {} requests failed; the first: {shown:#?}", unserved.len());
    }

    fn keys(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Attempt>>> {
        self.keys.lock().expect("no one panics with the lock held")
    }

    fn note(&self, trouble: Trouble) {
        self.troubles.lock().expect("no one panics with the lock held").push(trouble);
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Unserved(what) | Trouble::Wrong(what) => f.write_str(what),
        }
    }
}
