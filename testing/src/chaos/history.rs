//! The history: what clients asked and were told, one JSON line for each, written before a request leaves and after its answer came.
//!
//! What it keeps true: whatever becomes of the cluster or of this process, an answer that a client saw has its line, and its request an
//! earlier one. Times are nanoseconds of one monotonic clock.

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields say what they are, as in the API that is asked")]
pub enum Request {
    /// Upload `n` of a key.
    Put { key: String, n: u64, sha256: String, size: u64 },
    /// Download of the latest version.
    Get { key: String },
    /// Download of one version.
    GetVersion { key: String, version: u64 },
    /// A delete marker.
    Delete { key: String },
    /// The end of every version.
    Purge { key: String },
    /// All names with a prefix.
    List { prefix: String },
    /// Every version of a key.
    Versions { key: String },
}

/// One version as `GET /versions` tells it; without a digest it is a delete marker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionLine {
    /// Its number.
    pub version: u64,
    /// The digest of its bytes.
    pub sha256: Option<String>,
}

/// What a client was told, where its request was served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields say what they are, as in the API that is asked")]
pub enum Answer {
    /// The upload is this version.
    Stored { version: u64 },
    /// The delete or purge happened.
    Deleted,
    /// There was nothing to delete.
    NothingToDelete,
    /// Bytes; `origin` where they are not what the client knows it uploaded.
    Found { version: u64, sha256: String, size: u64, origin: Option<String> },
    /// There is no such file or version.
    Absent,
    /// Names.
    Names { names: Vec<String> },
    /// Versions.
    History { versions: Vec<VersionLine> },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields say what they are, as in the API that is asked")]
pub enum What {
    /// A request is about to leave.
    Invoke { request: Request },
    /// It was served.
    Ok { told: Answer },
    /// It was refused: it did not happen and will not.
    Fail { why: String },
    /// No answer, or one that says so: it may or may not have happened, now or later.
    Unknown { why: String },
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Nanoseconds since the history began.
    pub at_ns: u64,
    /// Which operation; the same for its invoke and its end.
    pub op: u64,
    /// Who.
    pub client: String,
    /// What.
    pub what: What,
}

/// A history that is being written.
#[derive(Debug)]
pub struct History {
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    next_op: u64,
    events: Vec<Event>,
}

impl History {
    /// Begins a history in a new file.
    pub fn create(path: &Path) -> History {
        let file = File::create(path).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        History { begun: Instant::now(), state: Mutex::new(State { file, next_op: 0, events: Vec::new() }) }
    }

    /// Notes a request that is about to leave; gives its number.
    pub fn invoke(&self, client: &str, request: Request) -> u64 {
        let mut state = self.state.lock().expect("no one panics with the lock held");
        let op = state.next_op;
        state.next_op += 1;
        state.note(self.begun, op, client, What::Invoke { request });
        op
    }

    /// Notes how it ended.
    pub fn end(&self, op: u64, client: &str, what: What) {
        let mut state = self.state.lock().expect("no one panics with the lock held");
        state.note(self.begun, op, client, what);
    }

    /// All of it so far.
    pub fn events(&self) -> Vec<Event> {
        self.state.lock().expect("no one panics with the lock held").events.clone()
    }
}

impl State {
    /// The time is taken with the lock held, so that lines are in order.
    fn note(&mut self, begun: Instant, op: u64, client: &str, what: What) {
        let at_ns = u64::try_from(begun.elapsed().as_nanos()).expect("runs are shorter than centuries");
        let event = Event { at_ns, op, client: client.to_owned(), what };
        let mut line = serde_json::to_vec(&event).expect("an event is plain data");
        line.push(b'\n');
        self.file.write_all(&line).expect("the history can be written");
        self.events.push(event);
    }
}

/// Reads a history back.
pub fn read(path: &Path) -> Result<Vec<Event>, String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let lines = BufReader::new(file).lines();
    lines
        .map(|line| {
            let line = line.map_err(|error| error.to_string())?;
            serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_read_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let history = History::create(&path);
        let op = history.invoke("w1", Request::Put { key: "k".to_owned(), n: 0, sha256: "ab".to_owned(), size: 5 });
        history.end(op, "w1", What::Ok { told: Answer::Stored { version: 1 } });
        let op = history.invoke("r1", Request::Versions { key: "k".to_owned() });
        let versions = vec![VersionLine { version: 1, sha256: None }];
        history.end(op, "r1", What::Ok { told: Answer::History { versions } });
        assert_eq!(read(&path).unwrap(), history.events());
        assert_eq!(history.events().len(), 4);
    }
}
