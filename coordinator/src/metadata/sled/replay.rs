//! Makes the state out of the log again: from the last checkpoint on, or, with the index lost, from the log's first record.
//!
//! What it keeps true:
//! - A group that is missing is noticed by its sequence. The state then counts only if a whole snapshot was begun after the gap;
//!   a log cut off by an earlier snapshot is just that: a gap at its start.
//! - Memory is bounded: full tables go to the index on the way.

use super::SledSettings;
use super::checkpoint::Checkpoint;
use super::index::Index;
use super::table::{Mark, Table};
use crate::metadata::Entry;
use crate::metadata::commit_log::{Group, SnapshotRecord, decode_group, decode_snapshot};
use bytes::Bytes;
use protocol::{Error, Result};
use segments::{Kind, Recovered};

/// A replay under way.
pub(super) struct Replay<'a> {
    index: &'a Index,
    settings: &'a SledSettings,
    /// How many tables' worth is kept in memory before it goes to the index.
    tables: usize,
    /// What is not in the index yet.
    pub table: Table,
    /// The last group and revision seen; the position is the caller's.
    pub mark: Mark,
    /// Groups and snapshot records applied.
    pub records: u64,
    /// Bytes of the last whole snapshot.
    pub snapshot_bytes: u64,
    /// Sequences that are missing: the first of them, and the next that is there.
    gap: Option<(u64, u64)>,
    snapshot: Option<SnapshotSeen>,
    failed: Option<Error>,
}

/// A snapshot of which every piece was seen so far.
struct SnapshotSeen {
    snapshot: u64,
    pieces: u64,
    bytes: u64,
}

impl<'a> Replay<'a> {
    /// Replays behind a checkpoint. All that a running engine keeps in memory may be kept here, too, so that a start on a full
    /// disk need not write to the index: two tables, four times their bound together, and what made room.
    pub fn resume(index: &'a Index, settings: &'a SledSettings, checkpoint: &Checkpoint) -> Replay<'a> {
        Replay {
            tables: 7,
            snapshot_bytes: checkpoint.snapshot_bytes,
            mark: checkpoint.mark(),
            ..Replay::rebuild(index, settings)
        }
    }

    /// Replays the whole log.
    pub fn rebuild(index: &'a Index, settings: &'a SledSettings) -> Replay<'a> {
        Replay {
            index,
            settings,
            tables: 1,
            table: Table::default(),
            mark: Mark::default(),
            records: 0,
            snapshot_bytes: 0,
            gap: None,
            snapshot: None,
            failed: None,
        }
    }

    /// Takes the next record of the log. Errors are kept for [`Replay::end`].
    pub fn visit(&mut self, recovered: &Recovered) {
        if self.failed.is_some() {
            return;
        }
        let payload = recovered.data.clone().unwrap_or_default();
        self.failed = self.apply(recovered.kind, &payload).err();
    }

    /// `Corrupt` if the log does not give the whole state.
    pub fn end(&mut self) -> Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        match self.gap {
            Some((from, to)) => {
                let last = to - 1;
                Err(Error::corrupt(format!("commit log: groups {from} to {last} are missing or damaged")))
            }
            None => Ok(()),
        }
    }

    fn apply(&mut self, kind: Kind, payload: &Bytes) -> Result<()> {
        match kind {
            Kind::COMMIT => self.apply_group(decode_group(payload)?)?,
            Kind::SNAPSHOT => self.apply_snapshot(decode_snapshot(payload)?, payload.len() as u64)?,
            // Not ours to judge: a later version may keep other kinds here.
            _ => return Ok(()),
        }
        self.records += 1;
        let (entries_max, bytes_max) = (self.settings.table_entries_max, self.settings.table_bytes_max);
        if self.table.is_full(entries_max * self.tables, bytes_max * self.tables) {
            self.move_table()?;
        }
        Ok(())
    }

    /// Puts what was replayed so far into the index.
    pub fn move_table(&mut self) -> Result<()> {
        let table = std::mem::take(&mut self.table);
        self.index.apply(&table, self.mark.sequence)
    }

    fn apply_group(&mut self, group: Group) -> Result<()> {
        let expected = self.mark.sequence + 1;
        if group.sequence < expected {
            let sequence = group.sequence;
            return Err(Error::corrupt(format!("commit log: group {sequence} stands after group {}", expected - 1)));
        }
        if group.sequence > expected {
            self.gap = Some((self.gap.map_or(expected, |(from, _)| from), group.sequence));
            self.snapshot = None;
        }
        self.mark.sequence = group.sequence;
        for batch in group.batches {
            let revision = batch.revision;
            self.mark.revision = self.mark.revision.max(revision);
            for (key, value) in batch.changes {
                // Copied, because a slice would keep the whole group in memory.
                let entry = value.map(|value| Entry { value: Bytes::copy_from_slice(&value), revision });
                self.table.set(Bytes::copy_from_slice(&key), entry);
            }
        }
        Ok(())
    }

    fn apply_snapshot(&mut self, record: SnapshotRecord, bytes: u64) -> Result<()> {
        match record {
            SnapshotRecord::Piece { snapshot, number, entries } => {
                self.expect_piece(snapshot, number, bytes)?;
                // Without a gap the state is known already, and a piece adds nothing to it.
                let news = if self.gap.is_some() { entries } else { Vec::new() };
                for (key, Entry { value, revision }) in news {
                    self.mark.revision = self.mark.revision.max(revision);
                    let entry = Entry { value: Bytes::copy_from_slice(&value), revision };
                    self.table.set(Bytes::copy_from_slice(&key), Some(entry));
                }
            }
            SnapshotRecord::End { snapshot, pieces } => {
                let seen = self.snapshot.take();
                if let Some(seen) = seen.filter(|seen| (seen.snapshot, seen.pieces) == (snapshot, pieces)) {
                    self.snapshot_bytes = seen.bytes;
                    self.gap = None;
                }
            }
        }
        Ok(())
    }

    fn expect_piece(&mut self, snapshot: u64, number: u64, bytes: u64) -> Result<()> {
        if number == 0 {
            self.snapshot = Some(SnapshotSeen { snapshot, pieces: 0, bytes: 0 });
            if self.gap.is_some() || self.mark.sequence + 1 < snapshot {
                self.forget_before(snapshot)?;
            }
        }
        match &mut self.snapshot {
            Some(seen) if (seen.snapshot, seen.pieces) == (snapshot, number) => {
                seen.pieces += 1;
                seen.bytes += bytes;
            }
            _ => self.snapshot = None,
        }
        Ok(())
    }

    /// A snapshot begins where the state is not whole: what is known may have been deleted by a group that is missing.
    fn forget_before(&mut self, snapshot: u64) -> Result<()> {
        let expected = self.mark.sequence + 1;
        self.table.clear();
        self.index.clear()?;
        self.gap = Some((self.gap.map_or(expected, |(from, _)| from), snapshot));
        self.mark.sequence = snapshot - 1;
        Ok(())
    }
}
