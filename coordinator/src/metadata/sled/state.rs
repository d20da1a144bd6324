//! The state after the last commit, as readers, writer and mover share it: the tables over the index.
//!
//! What it keeps true:
//! - A reader sees every batch whole or not at all: the writer adds a group under the tables' lock, and a scan holds it.
//! - Once the index has failed, nothing is answered from it and nothing is committed; its checkpoint is gone, so that a restart
//!   rebuilds it from the log. Whoever runs the process is told, and ends it ([`State::failure`]).

use super::checkpoint::{Checkpoint, Paths};
use super::index::Index;
use super::table::{Mark, Table, Tables};
use crate::metadata::Entry;
use bytes::Bytes;
use protocol::{Error, Result};
use segments::durable;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::watch;

#[derive(Debug)]
pub(super) struct State {
    paths: Paths,
    index: Index,
    tables: RwLock<Tables>,
    /// Taken after `tables`, never before.
    moves: Mutex<Moves>,
    moved: Condvar,
    /// Why the index can no longer be used, once it cannot.
    failed: watch::Sender<Option<String>>,
    has_failed: AtomicBool,
    /// Nothing is moved while less than this is free: sled does not survive a full disk.
    room_bytes: u64,
}

/// How far the index is.
#[derive(Debug)]
struct Moves {
    /// What the checkpoint file says.
    checkpoint: Checkpoint,
    /// Whether a frozen table is on its way.
    under_way: bool,
}

/// Locks are never held across code that panics half-way through a change: a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    pub fn new(paths: Paths, index: Index, tables: Tables, checkpoint: Checkpoint, room_bytes: u64) -> State {
        let moves = Mutex::new(Moves { checkpoint, under_way: false });
        let (failed, has_failed) = (watch::Sender::new(None), AtomicBool::new(false));
        let (tables, moved) = (RwLock::new(tables), Condvar::new());
        State { paths, index, tables, moves, moved, failed, has_failed, room_bytes }
    }

    /// Whether the disk has room for the index to take a table.
    pub fn has_room(&self) -> bool {
        // Where the disk cannot be asked, the move will tell.
        rustix::fs::statvfs(&self.paths.index).map_or(true, |disk| disk.f_bavail * disk.f_frsize >= self.room_bytes)
    }

    pub fn tables(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn tables_mut(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        if let Some(slot) = self.tables().get(key) {
            return Ok(slot.clone());
        }
        // What is in neither table is in the index, now and whenever a table is moved there.
        self.in_index(|index| index.get(key))
    }

    /// The revision of `key` under the lock that `tables` stands for.
    pub fn revision(&self, tables: &Tables, key: &[u8]) -> Result<Option<u64>> {
        match tables.get(key) {
            Some(slot) => Ok(slot.as_ref().map(|entry| entry.revision)),
            None => Ok(self.in_index(|index| index.get(key))?.map(|entry| entry.revision)),
        }
    }

    /// Live entries of `[from, to)` in order, until there are `entries_max` or their bytes reach `bytes_max`.
    pub fn scan(&self, from: &[u8], to: &[u8], entries_max: usize, bytes_max: usize) -> Result<Vec<(Bytes, Entry)>> {
        let mut found = Vec::new();
        if from >= to || entries_max == 0 {
            return Ok(found);
        }
        let tables = self.tables();
        self.in_index(|index| {
            index.range(from, to, |entries| {
                let mut bytes = 0;
                for entry in tables.entries(from, to, entries) {
                    let (key, entry) = entry?;
                    bytes += key.len() + entry.value.len();
                    found.push((key, entry));
                    if found.len() == entries_max || bytes >= bytes_max {
                        break;
                    }
                }
                Ok(())
            })
        })?;
        Ok(found)
    }

    /// Calls the index, unless it has failed; an error of it is its last.
    fn in_index<T>(&self, call: impl FnOnce(&Index) -> Result<T>) -> Result<T> {
        self.require_index()?;
        call(&self.index).inspect_err(|error| self.distrust(error))
    }

    /// Has the index rebuilt by the next start.
    fn distrust(&self, error: &Error) {
        let moves = lock(&self.moves);
        if self.has_failed() || self.index.is_closed() {
            return;
        }
        // In this order: whoever sees that it has failed finds why.
        self.failed.send_replace(Some(error.message.clone()));
        self.has_failed.store(true, Ordering::Release);
        tracing::error!(%error, "metadata index failed: nothing is read or committed until a restart rebuilds it");
        if let Err(error) = durable::remove_file(&self.paths.checkpoint) {
            tracing::error!(%error, "the checkpoint of a failed metadata index remains: delete the index before a restart");
        }
        drop(moves);
        self.moved.notify_all();
    }

    fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// `Unavailable` once the index has failed.
    pub fn require_index(&self) -> Result<()> {
        match self.why_failed() {
            Some(message) => Err(Error::unavailable(format!("{message}; the catalog's index is rebuilt by a restart"))),
            None => Ok(()),
        }
    }

    /// Why the index can no longer be used, if it cannot.
    pub fn why_failed(&self) -> Option<String> {
        // Read at every look into the index, where a lock would be felt.
        if self.has_failed() { self.failed.borrow().clone() } else { None }
    }

    /// Waits until the index can no longer be used; why.
    pub async fn failure(&self) -> String {
        let mut failed = self.failed.subscribe();
        let why = failed.wait_for(Option::is_some).await.expect("the sender is this state's own");
        why.clone().unwrap_or_default()
    }

    /// Freezes the active table so that it can be moved. `None` while another one is under way, unless `wait`.
    pub fn freeze(&self, wait: bool) -> Result<Option<(Arc<Table>, Mark)>> {
        let mut moves = lock(&self.moves);
        while wait && moves.under_way && !self.has_failed() {
            moves = self.moved.wait(moves).unwrap_or_else(PoisonError::into_inner);
        }
        self.require_index()?;
        if moves.under_way {
            return Ok(None);
        }
        moves.under_way = true;
        drop(moves);
        let mut tables = self.tables_mut();
        let table = Arc::new(std::mem::take(&mut tables.active));
        tables.frozen = Some(Arc::clone(&table));
        Ok(Some((table, tables.mark)))
    }

    /// Moves a frozen table into the index and notes how far that is.
    pub fn move_frozen(&self, table: &Table, mark: Mark, snapshot_bytes: u64) {
        if let Err(error) = self.index.apply(table, mark.sequence) {
            return self.distrust(&error);
        }
        let mut moves = lock(&self.moves);
        if self.has_failed() {
            return;
        }
        let checkpoint = Checkpoint::at(mark, &moves.checkpoint.boot, snapshot_bytes);
        match checkpoint.write(&self.paths.checkpoint) {
            Ok(()) => moves.checkpoint = checkpoint,
            // The index is ahead of its checkpoint: a restart replays a little more.
            Err(error) => tracing::warn!(%error, "metadata checkpoint not written"),
        }
        drop(moves);
        self.tables_mut().frozen = None;
        lock(&self.moves).under_way = false;
        self.moved.notify_all();
    }

    /// The segment from which a restart replays the log.
    pub fn replay_segment(&self) -> u32 {
        lock(&self.moves).checkpoint.segment
    }

    /// Closes the index; once it is durable, says so in a clean checkpoint.
    pub fn close(&self) -> Result<()> {
        self.index.close()?;
        let moves = lock(&self.moves);
        if self.has_failed() || moves.under_way {
            return Ok(());
        }
        Checkpoint { clean: true, ..moves.checkpoint.clone() }.write(&self.paths.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Mark;
    use super::*;
    use protocol::ErrorKind;

    #[tokio::test]
    async fn an_index_that_has_failed_answers_nothing_any_more_and_is_rebuilt() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path());
        let index = Index::open(&paths.index, 1 << 20).unwrap();
        let entry = |revision| Entry { revision, value: Bytes::from_static(b"v") };
        let mut moved = Table::default();
        moved.set(Bytes::from_static(b"moved"), Some(entry(1)));
        index.apply(&moved, 1).unwrap();
        let mut tables = Tables::default();
        tables.active.set(Bytes::from_static(b"new"), Some(entry(2)));
        let checkpoint = Checkpoint::at(Mark::default(), "boot", 0);
        checkpoint.write(&paths.checkpoint).unwrap();
        let state = State::new(paths.clone(), index, tables, checkpoint, 0);
        assert_eq!(state.get(b"moved").unwrap(), Some(entry(1)));
        assert_eq!(state.why_failed(), None);

        state.distrust(&Error::corrupt("a page is damaged"));
        let refused =
            |error: Error| error.kind == ErrorKind::Unavailable && error.message.contains("a page is damaged");
        assert!(refused(state.get(b"moved").unwrap_err()));
        assert!(refused(state.get(b"absent").unwrap_err()), "least of all that it is not there");
        assert!(refused(state.scan(b"a", b"z", 9, usize::MAX).unwrap_err()));
        assert!(refused(state.require_index().unwrap_err()));
        assert_eq!(state.get(b"new").unwrap(), Some(entry(2)), "the tables are as good as ever");
        assert_eq!(state.failure().await, "a page is damaged");
        assert!(!paths.checkpoint.exists(), "so that the next start rebuilds it");
    }
}
