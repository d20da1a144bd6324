//! The writer's part in an epoch: how it begins, and what becomes of the group that waited for its quorum.

use super::{Commit, Writer, record_id};
use crate::metadata::Batch;
use crate::metadata::commit_log::{Group, decode_group};
use crate::metadata::journal::LogEnd;
use crate::metadata::journal::claim::Claimed;
use protocol::{JournalEntry, JournalMark, Result};
use segments::{Kind, Purpose, Record};
use tokio::sync::oneshot;

impl Writer {
    /// How far the log is.
    pub(super) fn log_end(&mut self) -> LogEnd {
        let last = JournalMark { epoch: self.mark.epoch, sequence: self.mark.sequence };
        let voters = self.journalling.voters(&self.state);
        LogEnd { last, whole_from: self.mark.whole_from.max(1), voters }
    }

    /// Shows a group that has its quorum by now.
    pub(super) fn settle(&mut self) {
        if let Some(late) = self.journalling.settle() {
            self.apply(&late.batches());
        }
    }

    /// Begins an epoch: takes over what the nodes hold behind the log, sends what they lack, and has the epoch's first group stand on a
    /// quorum before anything else.
    pub(super) fn begin(&mut self, claimed: Claimed) {
        let Claimed { claim, adopted } = claimed;
        if let Some(late) = self.journalling.late.take_if(|_| adopted.is_some()) {
            self.apply(&late.batches());
        }
        if let Some(entry) = adopted
            && let Err(error) = self.adopt(&entry)
        {
            tracing::error!(%error, group = %entry.mark, "the log does not take what the nodes hold behind it");
            return self.journalling.wait_for_claim(error.message);
        }
        let end = self.log_end();
        self.journalling.begin(claim, &end);
        if let Some(batch) = self.journalling.first_batch(claim) {
            self.commit(vec![Commit { batch, answer: oneshot::channel().0 }]);
        }
    }

    fn adopt(&mut self, entry: &JournalEntry) -> Result<()> {
        let Group { head, batches } = decode_group(&entry.group())?;
        let id = record_id(head.mark.sequence);
        let mut records = vec![Record::new(Kind::COMMIT, id, entry.group())];
        if !entry.snapshot().is_empty() {
            records.insert(0, Record::new(Kind::SNAPSHOT, id, entry.snapshot()));
        }
        let locations = self.log.append(&records, Purpose::Reclaim)?;
        let revision = batches.last().map_or(self.mark.revision, |batch| batch.revision);
        self.note_appended(head, revision, &locations);
        let batches: Vec<(u64, Batch)> = batches.into_iter().map(|batch| batch.into_batch()).collect();
        self.apply(&batches.iter().map(|(revision, batch)| (*revision, batch)).collect::<Vec<_>>());
        tracing::warn!(group = %entry.mark, "a group was taken over that only the nodes held");
        Ok(())
    }
}
