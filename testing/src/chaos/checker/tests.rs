//! The checker must be able to fail: one bad history for each thing that can be wrong, and good ones that look odd.

use super::{FINAL, check, count};
use crate::chaos::history::{Answer, Event, Request, VersionLine, What};

/// A history in the making: one tick for each event.
#[derive(Default)]
struct Tape {
    events: Vec<Event>,
    ops: u64,
}

impl Tape {
    fn note(&mut self, op: u64, client: &str, what: What) {
        let at_ns = self.events.len() as u64 + 1;
        self.events.push(Event { at_ns, op, client: client.to_owned(), what });
    }

    fn invoke(&mut self, client: &str, request: Request) -> u64 {
        self.ops += 1;
        self.note(self.ops, client, What::Invoke { request });
        self.ops
    }

    fn ok(&mut self, op: u64, told: Answer) {
        self.note(op, "c", What::Ok { told });
    }

    /// An operation with nothing in between.
    fn whole(&mut self, request: Request, told: Answer) -> &mut Tape {
        let op = self.invoke("c", request);
        self.ok(op, told);
        self
    }

    fn put(&mut self, n: u64, version: u64) -> &mut Tape {
        self.whole(put(n), Answer::Stored { version })
    }

    fn unknown(&mut self, request: Request) -> &mut Tape {
        let op = self.invoke("c", request);
        self.note(op, "c", What::Unknown { why: "cut".to_owned() });
        self
    }

    fn refused(&mut self, request: Request) -> &mut Tape {
        let op = self.invoke("c", request);
        self.note(op, "c", What::Fail { why: "503".to_owned() });
        self
    }

    /// The rules that are broken.
    fn broken(&self) -> Vec<&'static str> {
        check(&self.events).iter().map(|violation| violation.rule).collect()
    }
}

fn key() -> String {
    "k".to_owned()
}

fn put(n: u64) -> Request {
    Request::Put { key: key(), n, sha256: format!("sha {n}"), size: 5 }
}

fn get() -> Request {
    Request::Get { key: key() }
}

fn get_version(version: u64) -> Request {
    Request::GetVersion { key: key(), version }
}

fn delete() -> Request {
    Request::Delete { key: key() }
}

fn purge() -> Request {
    Request::Purge { key: key() }
}

fn found(version: u64, n: u64) -> Answer {
    Answer::Found { version, sha256: format!("sha {n}"), size: 5, origin: None }
}

fn list() -> Request {
    Request::List { prefix: String::new() }
}

fn names(names: &[&str]) -> Answer {
    Answer::Names { names: names.iter().map(|name| (*name).to_owned()).collect() }
}

fn told(lines: &[(u64, Option<u64>)]) -> Answer {
    let line =
        |(version, n): &(u64, Option<u64>)| VersionLine { version: *version, sha256: n.map(|n| format!("sha {n}")) };
    Answer::History { versions: lines.iter().map(line).collect() }
}

fn versions() -> Request {
    Request::Versions { key: key() }
}

#[test]
fn a_good_history_is_good() {
    let mut tape = Tape::default();
    tape.whole(get(), Answer::Absent).put(0, 1).whole(get(), found(1, 0)).put(1, 2).refused(put(2));
    tape.whole(get_version(1), found(1, 0)).whole(get(), found(2, 1)).whole(list(), names(&["k"]));
    tape.whole(delete(), Answer::Deleted).whole(get(), Answer::Absent).whole(delete(), Answer::NothingToDelete);
    tape.whole(list(), names(&[])).whole(get_version(2), found(2, 1)).put(3, 4);
    tape.whole(versions(), told(&[(1, Some(0)), (2, Some(1)), (3, None), (4, Some(3))]));
    tape.whole(purge(), Answer::Deleted).whole(get_version(1), Answer::Absent).whole(list(), names(&[]));
    assert_eq!(tape.broken(), Vec::<&str>::new());
    let counts = count(&tape.events);
    assert_eq!((counts.acknowledged, counts.failed, counts.unknown), (5, 1, 0));
}

#[test]
fn an_unknown_outcome_may_take_effect_or_not() {
    let mut tape = Tape::default();
    tape.put(0, 1).unknown(put(1)).whole(get(), found(1, 0)).whole(get(), found(2, 1)).whole(get(), found(2, 1));
    tape.unknown(delete()).whole(get(), found(2, 1)).whole(get(), Answer::Absent).whole(list(), names(&[]));
    tape.whole(versions(), told(&[(1, Some(0)), (2, Some(1)), (3, None)]));
    assert_eq!(tape.broken(), Vec::<&str>::new());
    let mut tape = Tape::default();
    tape.put(0, 1).unknown(put(1)).unknown(delete()).whole(versions(), told(&[(1, Some(0))]));
    assert_eq!(tape.broken(), Vec::<&str>::new());
}

#[test]
fn what_happens_at_the_same_time_may_come_in_either_order() {
    let mut tape = Tape::default();
    tape.put(0, 1);
    let (writing, reading) = (tape.invoke("c", put(1)), tape.invoke("c", get()));
    tape.ok(writing, Answer::Stored { version: 2 });
    tape.ok(reading, found(1, 0));
    let (deleting, reading) = (tape.invoke("c", delete()), tape.invoke("c", get()));
    tape.ok(reading, Answer::Absent);
    tape.ok(deleting, Answer::Deleted);
    assert_eq!(tape.broken(), Vec::<&str>::new());
}

#[test]
fn what_is_gone_is_noticed() {
    assert_eq!(Tape::default().put(0, 1).whole(get(), Answer::Absent).broken(), ["lost"]);
    assert_eq!(Tape::default().put(0, 1).whole(get_version(1), Answer::Absent).broken(), ["lost"]);
    let marked =
        Tape::default().put(0, 1).whole(delete(), Answer::Deleted).whole(get_version(1), Answer::Absent).broken();
    assert_eq!(marked, ["lost"], "a marker takes no version");
    assert_eq!(Tape::default().put(0, 1).put(1, 2).whole(versions(), told(&[(2, Some(1))])).broken(), ["lost"]);
    let refused = Tape::default().put(0, 1).refused(delete()).whole(get(), Answer::Absent).broken();
    assert_eq!(refused, ["lost"], "a refused delete takes nothing");
}

#[test]
fn wrong_bytes_are_noticed_and_their_origin_named() {
    assert_eq!(Tape::default().put(0, 1).put(1, 2).whole(get_version(1), found(1, 1)).broken(), ["bytes"]);
    assert_eq!(Tape::default().put(0, 1).whole(get(), found(1, 9)).broken(), ["bytes"]);
    assert_eq!(Tape::default().put(0, 1).refused(put(1)).whole(get(), found(2, 1)).broken(), ["bytes"]);
    assert_eq!(Tape::default().put(0, 1).put(1, 2).whole(get_version(1), found(2, 1)).broken(), ["bytes"]);
    assert_eq!(Tape::default().put(0, 1).whole(versions(), told(&[(1, Some(7))])).broken(), ["bytes"]);
    assert_eq!(
        Tape::default().put(0, 1).refused(put(1)).whole(versions(), told(&[(1, Some(0)), (2, Some(1))])).broken(),
        ["bytes"]
    );
    let twice = Tape::default().unknown(put(0)).whole(versions(), told(&[(1, Some(0)), (2, Some(0))])).broken();
    assert_eq!(twice, ["bytes"], "one upload is one version");
    let changed =
        Tape::default().unknown(put(0)).unknown(put(1)).whole(get(), found(1, 0)).whole(get(), found(1, 1)).broken();
    assert_eq!(changed, ["bytes"], "a version does not change");
    let mut tape = Tape::default();
    let other = Request::Put { key: "other".to_owned(), n: 4, sha256: "sha 44".to_owned(), size: 5 };
    tape.whole(other, Answer::Stored { version: 1 }).put(0, 1).whole(get(), found(1, 44));
    assert!(check(&tape.events)[0].what.contains("they are other #4"), "{:?}", check(&tape.events));
}

#[test]
fn numbers_given_twice_or_falling_are_noticed() {
    let mut tape = Tape::default();
    let (one, other) = (tape.invoke("c", put(0)), tape.invoke("c", put(1)));
    tape.ok(one, Answer::Stored { version: 1 });
    tape.ok(other, Answer::Stored { version: 1 });
    assert_eq!(tape.broken(), ["numbers"]);
    assert_eq!(Tape::default().put(0, 2).put(1, 1).broken(), ["numbers"]);
    let told = told(&[(2, Some(1)), (1, Some(0))]);
    assert_eq!(Tape::default().put(0, 1).put(1, 2).whole(versions(), told).broken(), ["numbers"]);
}

#[test]
fn reads_of_the_past_and_of_the_future_are_noticed() {
    assert_eq!(Tape::default().put(0, 1).put(1, 2).whole(get(), found(1, 0)).broken(), ["window"]);
    let mut tape = Tape::default();
    tape.put(0, 1).unknown(put(1)).whole(get(), found(2, 1)).whole(get(), found(1, 0));
    assert_eq!(tape.broken(), ["window"], "what was read once is not unread");
    let future = Tape::default().put(0, 1).whole(get(), found(2, 1)).put(1, 2).broken();
    assert_eq!(future, ["window"]);
}

#[test]
fn what_comes_back_after_a_delete_is_noticed() {
    assert_eq!(
        Tape::default().put(0, 1).whole(delete(), Answer::Deleted).whole(get(), found(1, 0)).broken(),
        ["absent"]
    );
    let purged = Tape::default().put(0, 1).whole(purge(), Answer::Deleted).whole(get_version(1), found(1, 0)).broken();
    assert_eq!(purged, ["absent"]);
    assert_eq!(Tape::default().put(0, 1).whole(delete(), Answer::NothingToDelete).broken(), ["absent"]);
    let twice = Tape::default()
        .put(0, 1)
        .whole(delete(), Answer::Deleted)
        .whole(versions(), told(&[(1, Some(0)), (2, None), (3, None)]))
        .broken();
    assert_eq!(twice, ["end"], "one delete is one marker");
}

#[test]
fn lists_that_lack_or_hold_too_much_are_noticed() {
    assert_eq!(Tape::default().put(0, 1).whole(list(), names(&[])).broken(), ["lists"]);
    assert_eq!(Tape::default().whole(list(), names(&["k"])).broken(), ["lists"]);
    assert_eq!(Tape::default().refused(put(0)).whole(list(), names(&["k"])).broken(), ["lists"]);
    assert_eq!(
        Tape::default().put(0, 1).whole(delete(), Answer::Deleted).whole(list(), names(&["k"])).broken(),
        ["lists"]
    );
    assert_eq!(Tape::default().put(0, 1).whole(list(), names(&["k", "k"])).broken(), ["lists"]);
    let other = Request::List { prefix: "x/".to_owned() };
    assert_eq!(Tape::default().put(0, 1).whole(other, names(&[])).broken(), Vec::<&str>::new());
}

#[test]
fn in_the_end_everything_is_served() {
    let mut tape = Tape::default();
    tape.put(0, 1).refused(get());
    assert_eq!(tape.broken(), Vec::<&str>::new(), "while faults last reads may fail");
    let op = tape.invoke(FINAL, get());
    tape.note(op, FINAL, What::Fail { why: "503".to_owned() });
    assert_eq!(tape.broken(), ["end"]);
    tape.invoke(FINAL, list());
    assert_eq!(tape.broken(), ["end", "end"], "no answer at all is none");
}
