//! Judges a recorded history (faults 4.4). Pure: what clients asked and were told goes in, what cannot be right comes out.
//!
//! What must hold, for every key:
//! 1. **Lost**: what was acknowledged is there under its version for ever, until a purge was asked for (law 1).
//! 2. **Bytes**: what is read is what the upload of that version sent, whole; a refused upload is never seen (laws 3, 6).
//! 3. **Numbers**: no two uploads are told the same version, and versions rise with real time (law 7).
//! 4. **Window**: the latest is not older than what was acknowledged or read before it was asked for, and not younger than what was
//!    asked for before it was answered (law 7).
//! 5. **Absent**: only where a delete may have come after the last acknowledged upload; and never back after it was acknowledged.
//! 6. **Lists** hold every name whose last upload was acknowledged before and that no delete may have taken, and no others.
//! 7. **The end**: reads of the client [`FINAL`] are served, and the versions told are those acknowledged, and of unknown uploads.
//!
//! An operation of unknown outcome may take effect at any time after it was asked for, or never.

mod finally;
mod lists;
mod reads;
#[cfg(test)]
mod tests;
mod writes;

use super::history::{Answer, Event, Request, What};
use std::collections::BTreeMap;

/// The client that reads everything when all faults are over: its requests must be served.
pub const FINAL: &str = "final";
/// A moment after all others.
const NEVER: u64 = u64::MAX;

/// Something that cannot be right.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// Which rule: `lost`, `bytes`, `numbers`, `window`, `absent`, `lists`, `end`.
    pub rule: &'static str,
    /// What happened.
    pub what: String,
}

/// How an upload or delete ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It happened.
    Done,
    /// A delete that found nothing.
    Nothing,
    /// It may happen.
    Unknown,
    /// It did not and will not.
    Refused,
}

#[derive(Clone, Debug)]
struct Put {
    n: u64,
    sha256: String,
    invoked: u64,
    /// [`NEVER`] where the outcome is unknown: it may still happen.
    returned: u64,
    outcome: Outcome,
    version: Option<u64>,
}

#[derive(Clone, Debug)]
struct Delete {
    purge: bool,
    invoked: u64,
    returned: u64,
    outcome: Outcome,
}

/// A read that was served.
#[derive(Clone, Debug)]
struct Read {
    op: u64,
    invoked: u64,
    returned: u64,
    /// The version asked for; `None` for the latest.
    asked: Option<u64>,
    answer: Answer,
}

/// All that happened to one key.
#[derive(Clone, Debug, Default)]
struct Key {
    puts: Vec<Put>,
    deletes: Vec<Delete>,
    reads: Vec<Read>,
}

/// A list that was served.
#[derive(Clone, Debug)]
struct List {
    op: u64,
    prefix: String,
    invoked: u64,
    returned: u64,
    names: Vec<String>,
}

#[derive(Default)]
struct Sorted {
    keys: BTreeMap<String, Key>,
    lists: Vec<List>,
    violations: Vec<Violation>,
}

/// What a history amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Requests.
    pub invoked: u64,
    /// Uploads and deletes that were acknowledged.
    pub acknowledged: u64,
    /// Reads, lists and histories that were served.
    pub served: u64,
    /// Requests that were refused or not answered, reads among them.
    pub failed: u64,
    /// Uploads and deletes of unknown outcome.
    pub unknown: u64,
}

/// Counts what a history holds.
pub fn count(events: &[Event]) -> Counts {
    let mut counts = Counts::default();
    for event in events {
        match &event.what {
            What::Invoke { .. } => counts.invoked += 1,
            What::Ok { told: Answer::Stored { .. } | Answer::Deleted } => counts.acknowledged += 1,
            What::Ok { .. } => counts.served += 1,
            What::Fail { .. } => counts.failed += 1,
            What::Unknown { .. } => counts.unknown += 1,
        }
    }
    counts
}

/// Everything in a history that cannot be right.
pub fn check(events: &[Event]) -> Vec<Violation> {
    let mut sorted = sort(events);
    let origins: BTreeMap<String, String> = sorted
        .keys
        .iter()
        .flat_map(|(name, key)| key.puts.iter().map(move |put| (put.sha256.clone(), format!("{name} #{}", put.n))))
        .collect();
    let mut violations = std::mem::take(&mut sorted.violations);
    for (name, key) in &sorted.keys {
        let mut note =
            |rule: &'static str, what: String| violations.push(Violation { rule, what: format!("{name}: {what}") });
        writes::check(key, &mut note);
        reads::check(key, &origins, &mut note);
        finally::check(key, &mut note);
    }
    let mut note = |rule: &'static str, what: String| violations.push(Violation { rule, what });
    sorted.lists.iter().for_each(|list| lists::check(list, &sorted.keys, &mut note));
    violations
}

/// Pairs requests with their ends, and sorts them by key.
fn sort(events: &[Event]) -> Sorted {
    let mut ends: BTreeMap<u64, &Event> = BTreeMap::new();
    for event in events.iter().filter(|event| !matches!(event.what, What::Invoke { .. })) {
        ends.insert(event.op, event);
    }
    let mut sorted = Sorted::default();
    for event in events {
        let What::Invoke { request } = &event.what else { continue };
        sorted.take(event, request, ends.get(&event.op).copied());
    }
    sorted
}

impl Sorted {
    fn take(&mut self, begun: &Event, request: &Request, end: Option<&Event>) {
        let invoked = begun.at_ns;
        let served = end.and_then(|end| match &end.what {
            What::Ok { told } => Some((end.at_ns, told)),
            _ => None,
        });
        match request {
            Request::Put { key, n, sha256, .. } => {
                let (outcome, returned) = outcome(end);
                let version = served.and_then(|(_, told)| match told {
                    Answer::Stored { version } => Some(*version),
                    _ => None,
                });
                let put = Put { n: *n, sha256: sha256.clone(), invoked, returned, outcome, version };
                self.keys.entry(key.clone()).or_default().puts.push(put);
            }
            Request::Delete { key } | Request::Purge { key } => {
                let (outcome, returned) = outcome(end);
                let purge = matches!(request, Request::Purge { .. });
                self.keys.entry(key.clone()).or_default().deletes.push(Delete { purge, invoked, returned, outcome });
            }
            Request::Get { key } | Request::GetVersion { key, .. } | Request::Versions { key } => {
                self.must_be_served(begun, end, request);
                let asked = if let Request::GetVersion { version, .. } = request { Some(*version) } else { None };
                if let Some((returned, told)) = served {
                    let read = Read { op: begun.op, invoked, returned, asked, answer: told.clone() };
                    self.keys.entry(key.clone()).or_default().reads.push(read);
                }
            }
            Request::List { prefix } => {
                self.must_be_served(begun, end, request);
                if let Some((returned, Answer::Names { names })) = served {
                    let (prefix, names) = (prefix.clone(), names.clone());
                    self.lists.push(List { op: begun.op, prefix, invoked, returned, names });
                }
            }
        }
    }

    /// Rule 7: when all faults are over there is no excuse.
    fn must_be_served(&mut self, begun: &Event, end: Option<&Event>, request: &Request) {
        let why = match end.map(|end| &end.what) {
            Some(What::Fail { why } | What::Unknown { why }) => why.as_str(),
            None => "no answer",
            _ => return,
        };
        if begun.client == FINAL {
            self.violations
                .push(Violation { rule: "end", what: format!("op {}: {request:?} was not served: {why}", begun.op) });
        }
    }
}

fn outcome(end: Option<&Event>) -> (Outcome, u64) {
    match end.map(|end| (&end.what, end.at_ns)) {
        Some((What::Ok { told: Answer::NothingToDelete }, at)) => (Outcome::Nothing, at),
        Some((What::Ok { .. }, at)) => (Outcome::Done, at),
        Some((What::Fail { .. }, at)) => (Outcome::Refused, at),
        _ => (Outcome::Unknown, NEVER),
    }
}

impl Key {
    /// Acknowledged uploads with their versions.
    fn stored(&self) -> impl Iterator<Item = (&Put, u64)> {
        self.puts.iter().filter_map(|put| put.version.map(|version| (put, version)))
    }

    /// Deletes that took or may yet take effect.
    fn effective(&self) -> impl Iterator<Item = &Delete> {
        self.deletes.iter().filter(|delete| matches!(delete.outcome, Outcome::Done | Outcome::Unknown))
    }

    /// The youngest version acknowledged before `at`.
    fn newest_before(&self, at: u64) -> Option<(&Put, u64)> {
        self.stored().filter(|(put, _)| put.returned < at).max_by_key(|(_, version)| *version)
    }

    /// Whether nothing may be there for someone who asks from `invoked` to `returned`: no upload was acknowledged before, or a
    /// delete may have come after the newest.
    fn may_be_absent(&self, invoked: u64, returned: u64) -> bool {
        let Some((newest, _)) = self.newest_before(invoked) else { return true };
        self.effective().any(|delete| delete.invoked < returned && delete.returned > newest.invoked)
    }
}
