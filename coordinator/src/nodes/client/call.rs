//! What is asked of a node, and for whom.

use crate::nodes::request_id;
use bytes::Bytes;
use process::traces;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Put,
    Post,
}

impl Verb {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Put => "PUT",
            Verb::Post => "POST",
        }
    }
}

/// What to ask of a node.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) verb: Verb,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) crc: Option<u32>,
    /// The body in pieces, sent without copying them.
    pub(super) body: Vec<Bytes>,
    /// Bytes the node moves for this call besides those of body and answer; they lengthen the deadline.
    pub(super) work_bytes: u64,
    pub(super) origin: Origin,
    /// Sent without the cluster's secret.
    pub(super) open_to_all: bool,
    /// Refused by a node that has another disk by now.
    pub(super) for_disk: bool,
}

/// For whom a call is made, as the node is told.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    /// Client requests it serves, comma-separated.
    pub(super) requests: Option<String>,
    /// Its place in a trace.
    pub(super) traceparent: Option<String>,
}

impl Origin {
    /// The request and the span that this task serves.
    pub(super) fn current() -> Origin {
        Origin { requests: request_id::current().map(|id| id.to_string()), traceparent: traces::current() }
    }
}

impl Call {
    /// A call for the catalog's journal. Whoever is asked says which disk it has, and the first that it hears of another one is a group, which
    /// needs its journal.
    pub(super) fn of_journal(verb: Verb, path: &str) -> Call {
        Call { for_disk: false, ..Call::new(verb, path.to_owned()) }
    }

    pub(super) fn new(verb: Verb, path: String) -> Call {
        let origin = Origin::current();
        let (query, crc, body) = (None, None, Vec::new());
        Call { verb, path, query, crc, body, work_bytes: 0, origin, open_to_all: false, for_disk: true }
    }
}
