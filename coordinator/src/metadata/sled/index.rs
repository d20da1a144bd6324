//! The materialised index: a sled database that can be thrown away, because the log is the truth.
//!
//! ```text
//! tree "entries"  key -> revision u64 BE · value
//! tree "mark"     "sequence" -> u64 BE: the last group whose changes are all here
//! ```
//!
//! What it keeps true:
//! - Whatever sled does, an error comes back: its panics are caught here, so that a damaged index costs a rebuild and no process.
//! - [`Index::apply`] answers after `flush`, so what it took survives the end of this process. It need not survive a power cut:
//!   sled's flush does not (measured; it never calls fsync), so after one the index is rebuilt unless [`Index::close`] had synced it.
//! - There is no background flusher, and `flush_async`, which deadlocks under concurrency, is never called: one thread writes.

use super::table::Table;
use crate::metadata::Entry;
use ::sled::{Batch, Db, IVec, Tree};
use bytes::Bytes;
use protocol::{Error, ErrorKind, Result};
use segments::durable;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

/// Changes in one sled batch: other users of the tree wait while one is applied.
const BATCH_CHANGES: usize = 1024;
const SEQUENCE: &[u8] = b"sequence";
const REVISION_BYTES: usize = 8;

/// The sled database, until it is closed.
#[derive(Debug)]
pub(super) struct Index {
    path: PathBuf,
    open: RwLock<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    db: Db,
    entries: Tree,
    mark: Tree,
}

impl Index {
    /// Opens or makes the database at `path`. Any error means that it has to be rebuilt.
    pub fn open(path: &Path, cache_bytes: u64) -> Result<Index> {
        let open = shielded("open", || {
            let config = ::sled::Config::new().path(path).cache_capacity(cache_bytes).flush_every_ms(None);
            let db = config.open()?;
            let (entries, mark) = (db.open_tree("entries")?, db.open_tree("mark")?);
            Ok(Ok(Open { db, entries, mark }))
        })?;
        Ok(Index { path: path.to_owned(), open: RwLock::new(Some(open)) })
    }

    fn with<T>(&self, verb: &str, call: impl FnOnce(&Open) -> ::sled::Result<Result<T>>) -> Result<T> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let open = open.as_ref().ok_or_else(|| Error::unavailable("metadata: closed"))?;
        shielded(verb, || call(open))
    }

    /// The last group whose changes are all here; 0 in a fresh index.
    pub fn sequence(&self) -> Result<u64> {
        self.with("read", |open| {
            let Some(value) = open.mark.get(SEQUENCE)? else { return Ok(Ok(0)) };
            let bytes =
                value.as_ref().try_into().map_err(|_| Error::corrupt("metadata index: its mark is not 8 bytes"));
            Ok(bytes.map(u64::from_be_bytes))
        })
    }

    /// The entry at `key`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.with("read", |open| Ok(open.entries.get(key)?.map(|value| decode(key, &value)).transpose()))
    }

    /// Gives the entries of `[from, to)` to `read`, in key order; `from` is below `to`.
    pub fn range<T>(
        &self,
        from: &[u8],
        to: &[u8],
        read: impl FnOnce(&mut dyn Iterator<Item = Result<(Bytes, Entry)>>) -> Result<T>,
    ) -> Result<T> {
        self.with("scan", |open| {
            let mut entries = open.entries.range::<&[u8], _>(from..to).map(|found| {
                let (key, value) = found.map_err(|error| failed("scan", error))?;
                Ok((Bytes::copy_from_slice(&key), decode(&key, &value)?))
            });
            Ok(read(&mut entries))
        })
    }

    /// Puts and removes what `table` says, then notes that everything up to group `sequence` is here.
    pub fn apply(&self, table: &Table, sequence: u64) -> Result<()> {
        self.with("write", |open| {
            let mut batch = Batch::default();
            let mut changes = 0;
            for (key, slot) in table.slots() {
                match slot {
                    Some(entry) => batch.insert(&key[..], encode(entry)),
                    // Looking costs a tenth of a removal, and most of what is deleted so soon never came here.
                    None if !open.entries.contains_key(key)? => continue,
                    None => batch.remove(&key[..]),
                }
                changes += 1;
                if changes % BATCH_CHANGES == 0 {
                    open.entries.apply_batch(std::mem::take(&mut batch))?;
                }
            }
            open.entries.apply_batch(batch)?;
            open.mark.insert(SEQUENCE, &sequence.to_be_bytes())?;
            open.db.flush()?;
            Ok(Ok(()))
        })
    }

    /// Forgets everything.
    pub fn clear(&self) -> Result<()> {
        self.with("clear", |open| {
            open.entries.clear()?;
            open.mark.clear()?;
            Ok(Ok(()))
        })
    }

    /// Whether [`Index::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.open.read().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Closes the database and makes every file of it durable. Reads and writes after this are `Unavailable`.
    pub fn close(&self) -> Result<()> {
        let open = self.open.write().unwrap_or_else(PoisonError::into_inner).take();
        shielded("close", || {
            if let Some(open) = &open {
                open.db.flush()?;
            }
            drop(open);
            Ok(Ok(()))
        })?;
        sync_tree(&self.path)
    }
}

/// Syncs all files below a directory, and the directories.
fn sync_tree(path: &Path) -> Result<()> {
    let unreadable =
        |error| Error::caused(ErrorKind::Unavailable, format!("metadata index: {}", path.display()), error);
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.file_type().map_err(unreadable)?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            // Opens and syncs what the path names; a file will do.
            durable::sync_dir(entry.path())?;
        }
    }
    durable::sync_dir(path)
}

fn encode(entry: &Entry) -> IVec {
    let mut value = Vec::with_capacity(REVISION_BYTES + entry.value.len());
    value.extend_from_slice(&entry.revision.to_be_bytes());
    value.extend_from_slice(&entry.value);
    IVec::from(value)
}

fn decode(key: &[u8], value: &[u8]) -> Result<Entry> {
    let (revision, value) = value
        .split_first_chunk::<REVISION_BYTES>()
        .ok_or_else(|| Error::corrupt(format!("metadata index: {} has no revision", key.escape_ascii())))?;
    Ok(Entry { revision: u64::from_be_bytes(*revision), value: Bytes::copy_from_slice(value) })
}

/// Calls sled, with its errors and panics made ours.
fn shielded<T>(verb: &str, call: impl FnOnce() -> ::sled::Result<Result<T>>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => Err(failed(verb, error)),
        Err(_) => Err(Error::unavailable(format!("metadata index: panic in {verb}; a restart rebuilds it"))),
    }
}

fn failed(verb: &str, error: ::sled::Error) -> Error {
    // sled gives this case no kind of its own.
    if error.to_string().contains("could not acquire lock") {
        return Error::caused(ErrorKind::Conflict, "metadata index: in use by another process", error);
    }
    Error::caused(ErrorKind::Unavailable, format!("metadata index: {verb}: {error}; a restart rebuilds it"), error)
}
