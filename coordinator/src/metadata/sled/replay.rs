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
use crate::metadata::commit_log::{Group, GroupHead, SnapshotRecord, decode_group, decode_snapshot};
use crate::metadata::journal::claim::RESTORE;
use bytes::Bytes;
use protocol::{Error, JournalMark, Result};
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
    /// A snapshot whose end was seen, and the group that goes with it not yet. A power cut may have left no more: no node was sent that end
    /// then, and none may be told that from there on all is whole.
    ended: Option<u64>,
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
            ended: None,
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
                Err(Error::corrupt(format!("commit log: groups {from} to {last} are missing or damaged; {RESTORE}")))
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
        let GroupHead { mark: JournalMark { epoch, sequence }, whole_from, .. } = group.head;
        if sequence < expected {
            return Err(Error::corrupt(format!("commit log: group {sequence} stands after group {}", expected - 1)));
        }
        if sequence > expected {
            self.gap = Some((self.gap.map_or(expected, |(from, _)| from), sequence));
            self.snapshot = None;
        }
        // The first versions of groups do not say it.
        let before = self.ended.take().unwrap_or(self.mark.whole_from);
        let whole_from = if whole_from == 0 { before } else { whole_from };
        self.mark = Mark { sequence, epoch, whole_from, ..self.mark };
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
                    self.ended = Some(snapshot);
                    if self.gap.take().is_some() {
                        self.mark.whole_from = snapshot;
                    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Batch;
    use crate::metadata::commit_log::{encode_end, encode_group, encode_piece};
    use protocol::ErrorKind;
    use segments::{Location, Position};

    /// A log in short: what its records say, in order.
    enum Says {
        Put(u64, &'static str),
        Delete(u64, &'static str),
        Piece(u64, u64, &'static [&'static str]),
        End(u64, u64),
    }
    use Says::{Delete, End, Piece, Put};

    fn head(sequence: u64) -> GroupHead {
        GroupHead { mark: JournalMark { epoch: 1, sequence }, previous: 1, whole_from: 1 }
    }

    fn recovered(says: &Says) -> Recovered {
        let mut batch = Batch::new();
        let (kind, payload) = match says {
            Put(sequence, key) => (Kind::COMMIT, encode_group(head(*sequence), &[(*sequence, batch.put(*key, "v"))])),
            Delete(sequence, key) => (Kind::COMMIT, encode_group(head(*sequence), &[(*sequence, batch.delete(*key))])),
            Piece(snapshot, number, keys) => {
                let entry =
                    |key: &&'static str| (Bytes::from(*key), Entry { revision: 1, value: Bytes::from_static(b"v") });
                let entries: Vec<_> = keys.iter().map(entry).collect();
                (Kind::SNAPSHOT, encode_piece(*snapshot, *number, &entries))
            }
            End(snapshot, pieces) => (Kind::SNAPSHOT, encode_end(*snapshot, *pieces)),
        };
        let location = Location { position: Position::default(), length: 0, crc: 0 };
        Recovered { kind, id: [0; 17], location, data: Some(payload) }
    }

    /// From where on a replay takes the groups for whole.
    fn whole_from(log: &[Says]) -> u64 {
        let dir = tempfile::tempdir().expect("a directory");
        let index = Index::open(dir.path(), 1 << 20).expect("an index");
        let settings = SledSettings::default();
        let mut replay = Replay::rebuild(&index, &settings);
        log.iter().for_each(|says| replay.visit(&recovered(says)));
        replay.end().expect("it is whole");
        replay.mark.whole_from
    }

    #[test]
    fn the_end_of_a_snapshot_counts_with_the_group_that_it_goes_with() {
        let mut log = vec![Put(1, "a"), Piece(2, 0, &["a"]), Put(2, "b"), End(2, 1)];
        assert_eq!(whole_from(&log), 1, "no node was sent the end, and its group was never answered");
        log.push(Put(3, "c"));
        assert_eq!(whole_from(&log), 1, "that one was sent without it: its head says so");
        let cut_down = [Put(4, "x"), Piece(5, 0, &["a"]), Put(5, "b"), End(5, 1)];
        assert_eq!(whole_from(&cut_down), 5, "there is nothing before it");
    }

    /// The keys that a whole replay finds.
    fn replay(log: &[Says]) -> Result<Vec<String>> {
        let dir = tempfile::tempdir().expect("a directory");
        let index = Index::open(dir.path(), 1 << 20)?;
        let settings = SledSettings { table_entries_max: 2, ..SledSettings::default() };
        let mut replay = Replay::rebuild(&index, &settings);
        log.iter().for_each(|says| replay.visit(&recovered(says)));
        replay.end()?;
        replay.move_table()?;
        let keys = |entries: &mut dyn Iterator<Item = Result<(Bytes, Entry)>>| {
            entries.map(|found| Ok(String::from_utf8_lossy(&found?.0).into_owned())).collect()
        };
        index.range(b"\0", b"\xff", keys)
    }

    #[test]
    fn a_whole_log_gives_the_state() {
        let log = [Put(1, "a"), Put(2, "b"), Piece(3, 0, &["a", "b"]), Delete(3, "a"), End(3, 1), Put(4, "c")];
        assert_eq!(replay(&log).unwrap(), ["b", "c"]);
        assert_eq!(replay(&[]).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_snapshot_that_began_behind_a_gap_closes_it() {
        let cut_down =
            [Put(8, "x"), Piece(9, 0, &["a"]), Put(9, "c"), Piece(9, 1, &["b", "c", "x"]), Delete(10, "a"), End(9, 2)];
        assert_eq!(replay(&cut_down).unwrap(), ["b", "c", "x"]);
        let begins_with_a_piece = [Piece(9, 0, &["a"]), Put(9, "c"), End(9, 1)];
        assert_eq!(replay(&begins_with_a_piece).unwrap(), ["a", "c"]);
        let lost_a_delete = [Put(1, "a"), Put(2, "b"), Put(3, "c"), Piece(5, 0, &["b", "c"]), Put(5, "d"), End(5, 1)];
        assert_eq!(replay(&lost_a_delete).unwrap(), ["b", "c", "d"], "group 4 deleted a, and is missing");
    }

    #[test]
    fn a_gap_that_no_whole_snapshot_closes_is_refused() {
        let logs: [&[Says]; 7] = [
            &[Put(2, "a")],
            &[Put(1, "a"), Put(3, "a")],
            &[Put(2, "a"), Piece(3, 0, &["a"]), Put(3, "b")],
            &[Put(2, "a"), Piece(3, 0, &["a"]), Put(3, "b"), End(3, 2)],
            &[Put(2, "a"), Piece(3, 1, &["a"]), Put(3, "b"), End(3, 1)],
            &[Put(2, "a"), Piece(3, 0, &["a"]), Put(3, "b"), Put(5, "c"), End(3, 1)],
            &[Put(2, "a"), Piece(3, 0, &["a"]), Put(3, "b"), End(3, 1), Put(5, "c")],
        ];
        for (number, log) in logs.into_iter().enumerate() {
            assert_eq!(replay(log).unwrap_err().kind, ErrorKind::Corrupt, "log {number}");
        }
        assert_eq!(replay(&[Put(1, "a"), Put(1, "a")]).unwrap_err().kind, ErrorKind::Corrupt, "out of order");
    }
}
