//! The writer's side of the journal: what it sends, what it waits for, and the one group that may be on its way for longer.

use super::state::State;
use super::table::Mark;
use crate::metadata::commit_log::GroupHead;
use crate::metadata::journal::quorum::{Voters, is_voter};
use crate::metadata::journal::{JOURNAL_PATIENCE, Journal, LogEnd};
use crate::metadata::records::{ClusterRecord, NodeRecord, Record as MetadataRecord};
use crate::metadata::{Batch, Reserve, keys, names};
use bytes::Bytes;
use protocol::{ClusterId, Error, JournalClaim, JournalEntry, JournalMark, Result};
use segments::Record;
use std::sync::Arc;
use std::time::Instant;

/// The most nodes a catalog may know.
const VOTERS_MAX: usize = crate::metadata::SCAN_ENTRIES_MAX;

/// The journal, where one is kept.
pub(super) struct Journalling {
    /// Whose catalog it is, where nothing may be committed without a journal.
    required_by: Option<ClusterId>,
    journal: Option<Arc<Journal>>,
    epoch: u64,
    /// The nodes that count, once they were looked up.
    voters: Option<Voters>,
    /// The group that is in the log and has no quorum yet. None is sent behind it.
    pub late: Option<Late>,
    wait_seconds: metrics::Histogram,
}

/// A group whose callers were told that its outcome is not known.
#[derive(Debug)]
pub(super) struct Late {
    sequence: u64,
    batches: Vec<(u64, Batch)>,
}

impl Late {
    pub fn of(mark: Mark, batches: &[(u64, &Batch)]) -> Late {
        let batches = batches.iter().map(|(revision, batch)| (*revision, (*batch).clone())).collect();
        Late { sequence: mark.sequence, batches }
    }

    pub fn batches(&self) -> Vec<(u64, &Batch)> {
        self.batches.iter().map(|(revision, batch)| (*revision, batch)).collect()
    }
}

impl Journalling {
    pub fn new(required_by: Option<ClusterId>) -> Journalling {
        let wait_seconds = metrics::histogram!(names::JOURNAL_WAIT_SECONDS);
        Journalling { required_by, journal: None, epoch: 0, voters: None, late: None, wait_seconds }
    }

    pub fn keep(&mut self, journal: Arc<Journal>) {
        self.journal = Some(journal);
    }

    /// The epoch of the groups written now.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// `Unavailable`, or `Full`, while a group could not have its quorum.
    pub fn check(&self, reserve: Reserve) -> Result<()> {
        match &self.journal {
            Some(journal) => journal.check(reserve)?,
            None if self.required_by.is_some() => {
                return Err(Error::unavailable("metadata: its journal is not begun yet"));
            }
            None => {}
        }
        match &self.late {
            Some(Late { sequence, .. }) => {
                Err(Error::unavailable(format!("metadata: group {sequence} waits for the storage nodes to journal it")))
            }
            None => Ok(()),
        }
    }

    /// Whether the nodes' journals have room for what makes none.
    pub fn has_room(&self) -> bool {
        self.journal.as_ref().is_none_or(|journal| journal.check(Reserve::None).is_ok())
    }

    /// Sends a group to the nodes; its record is the last of these.
    pub fn send(&self, head: GroupHead, piece: Option<&Bytes>, records: &[Record]) {
        let Some(journal) = &self.journal else { return };
        let group = records.last().and_then(|record| record.data.first()).map(|group| &group[..]).unwrap_or_default();
        let piece = piece.map(|piece| &piece[..]).unwrap_or_default();
        journal.send(JournalEntry::new(head.mark, head.previous, head.whole_from, piece, group));
    }

    /// What it means that the log did not take a group that was sent.
    pub fn lost(&self, mark: JournalMark, error: Error) -> Error {
        let Some(journal) = &self.journal else { return error };
        journal.lose_claim(format!("the log did not take {mark}"));
        Error::unknown(format!("{}; a storage node may hold {mark}", error.message))
    }

    /// Waits for the quorum of a group that is in the log. Where it fails the group is kept as `late`.
    pub fn wait(&mut self, sequence: u64, late: impl FnOnce() -> Late) -> Result<()> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let started = Instant::now();
        let outcome = journal.wait_blocking(sequence, JOURNAL_PATIENCE);
        self.wait_seconds.record(started.elapsed().as_secs_f64());
        if let Err(error) = &outcome {
            tracing::warn!(target: "degradation", %error, "a group of commits has no quorum");
            self.late = Some(late());
            journal.give_up_waiting(sequence);
        }
        outcome
    }

    /// The late group, if it has its quorum by now.
    pub fn settle(&mut self) -> Option<Late> {
        let journal = self.journal.as_ref()?;
        self.late.take_if(|late| journal.holds(late.sequence))
    }

    /// The epoch is not begun; it is claimed again.
    pub fn wait_for_claim(&self, why: String) {
        if let Some(journal) = &self.journal {
            journal.lose_claim(why);
        }
    }

    /// Writes under this claim from now on.
    pub fn begin(&mut self, claim: JournalClaim, end: &LogEnd) {
        let Some(journal) = &self.journal else { return };
        self.epoch = claim.epoch;
        metrics::gauge!(names::JOURNAL_EPOCH).set(claim.epoch as f64);
        journal.begin(claim, end);
        if let Some(late) = &self.late {
            journal.give_up_waiting(late.sequence);
        }
    }

    /// What the first group of an epoch says.
    pub fn first_batch(&self, claim: JournalClaim) -> Option<Batch> {
        let cluster = self.required_by?;
        let mut batch = Batch::new();
        batch.put(keys::cluster(), ClusterRecord { cluster, epoch: claim.epoch }.encode()).reclaim();
        Some(batch)
    }

    /// The nodes that the catalog knows.
    pub fn voters(&mut self, state: &State) -> Voters {
        self.voters.get_or_insert_with(|| look_up(state)).clone()
    }

    /// Looks the nodes up again if one of these batches changed them.
    pub fn note_voters(&mut self, state: &State, batches: &[(u64, &Batch)]) {
        let nodes = keys::nodes();
        let is_node = |key: &Bytes| *key >= nodes.from && *key < nodes.to;
        let touches =
            |batch: &Batch| batch.puts.iter().any(|(key, _)| is_node(key)) || batch.deletes.iter().any(is_node);
        if batches.iter().any(|(_, batch)| touches(batch)) {
            let voters = look_up(state);
            if let Some(journal) = &self.journal {
                journal.set_voters(voters.clone());
            }
            self.voters = Some(voters);
        }
    }
}

/// A node whose record cannot be read does not count; nor does a group then that it alone acknowledged.
fn look_up(state: &State) -> Voters {
    let nodes = keys::nodes();
    let found = state.scan(&nodes.from, &nodes.to, VOTERS_MAX, usize::MAX).unwrap_or_else(|error| {
        tracing::error!(%error, "the nodes of the catalog cannot be read");
        Vec::new()
    });
    let records = found.iter().filter_map(|(_, entry)| NodeRecord::decode(&entry.value).ok());
    records.filter(is_voter).map(|record| (record.node, record.disk)).collect()
}
