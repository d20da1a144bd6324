//! Where truth lives: an ordered key space with three calls. Everything that knows what an object is sits above it and is
//! written once; every engine below it passes the same conformance suite (`tests/metadata_conformance.rs`), and
//! [`memory::MemoryMetadata`] is the specification.
//!
//! What it keeps true, as [`Metadata`] spells out: a commit happens whole or not at all; what was answered is durable and
//! seen by every later read; revisions only rise and are never reused.

pub mod codec;
mod commit_log;
pub mod journal;
pub mod keys;
pub mod memory;
pub mod names;
pub mod records;
pub mod sled;

use async_trait::async_trait;
use bytes::Bytes;
use protocol::{Error, ErrorKind, NodeId, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 2048;
/// The longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 512 << 10;
/// The most checks, puts and deletes of one batch together.
pub const BATCH_OPERATIONS_MAX: usize = 1024;
/// The most bytes of keys and values of one batch together.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// The most entries one scan may ask for.
pub const SCAN_ENTRIES_MAX: usize = 4096;

/// A value and the commit that put it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was put.
    pub value: Bytes,
    /// Greater than 0, and greater than every revision this key had before, deletions in between included.
    pub revision: u64,
}

/// What a key must be for a batch to be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent,
    /// The key exists, whatever put it.
    Present,
    /// The key exists, and was last put by the commit with this revision.
    Revision(u64),
}

impl Expect {
    /// What a reader that saw this may expect to find unchanged.
    pub fn unchanged(seen: Option<&Entry>) -> Expect {
        seen.map_or(Expect::Absent, |entry| Expect::Revision(entry.revision))
    }

    /// Whether a key whose revision is `current` (`None`: it does not exist) is as expected.
    pub fn holds(self, current: Option<u64>) -> bool {
        match self {
            Expect::Absent => current.is_none(),
            Expect::Present => current.is_some(),
            Expect::Revision(revision) => current == Some(revision),
        }
    }
}

/// Conditions and changes, to be committed together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Every one must hold.
    pub checks: Vec<(Bytes, Expect)>,
    /// Keys to put, with their values.
    pub puts: Vec<(Bytes, Bytes)>,
    /// Keys to delete; deleting what does not exist is no error.
    pub deletes: Vec<Bytes>,
    /// How much it may use of what is kept free on full disks.
    pub reserve: Reserve,
}

/// How much a batch may use of what is kept free on full disks, here and in the nodes' journals.
///
/// What makes room must never find its last bytes used up by what makes none: a delete that leaves a marker frees nothing, and a client can
/// send any number of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reserve {
    /// Nothing: it is refused where disks are full.
    #[default]
    None,
    /// The first half: what is to go on while disks are full (deletes that leave a marker, moves of chunks to where there is room).
    Half,
    /// All of it: what makes room in the end, or is needed for that to go on.
    All,
}

impl Reserve {
    /// From the least to the most.
    pub const LEVELS: [Reserve; 3] = [Reserve::None, Reserve::Half, Reserve::All];
}

impl Batch {
    /// A batch that asks for nothing.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Commit only if `key` is as expected.
    pub fn check(&mut self, key: impl Into<Bytes>, expect: Expect) -> &mut Batch {
        self.checks.push((key.into(), expect));
        self
    }

    /// Put `value` at `key`.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> &mut Batch {
        self.puts.push((key.into(), value.into()));
        self
    }

    /// Delete `key`.
    pub fn delete(&mut self, key: impl Into<Bytes>) -> &mut Batch {
        self.deletes.push(key.into());
        self
    }

    /// Say that this makes room in the end (a purge, a collection), or that making room needs it: it is committed on a full disk, too, while
    /// the reserve lasts.
    pub fn reclaim(&mut self) -> &mut Batch {
        self.use_reserve(Reserve::All)
    }

    /// Say how much this may use of what is kept free on a full disk.
    pub fn use_reserve(&mut self, reserve: Reserve) -> &mut Batch {
        self.reserve = reserve;
        self
    }

    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.checks.is_empty() && self.puts.is_empty() && self.deletes.is_empty()
    }

    /// Checks, puts and deletes.
    pub fn operations(&self) -> usize {
        self.checks.len() + self.puts.len() + self.deletes.len()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.keys().map(Bytes::len).sum::<usize>() + self.puts.iter().map(|(_, value)| value.len()).sum::<usize>()
    }

    fn keys(&self) -> impl Iterator<Item = &Bytes> {
        let checked = self.checks.iter().map(|(key, _)| key);
        checked.chain(self.puts.iter().map(|(key, _)| key)).chain(&self.deletes)
    }

    /// Refuses what no engine takes: `Invalid`, with the bound that was passed.
    pub fn validate(&self) -> Result<()> {
        if self.operations() > BATCH_OPERATIONS_MAX {
            let operations = self.operations();
            return Err(Error::invalid(format!("batch: {operations} operations, at most {BATCH_OPERATIONS_MAX}")));
        }
        if self.bytes() > BATCH_BYTES_MAX {
            return Err(Error::invalid(format!("batch: {} bytes, at most {BATCH_BYTES_MAX}", self.bytes())));
        }
        for key in self.keys() {
            validate_key(key)?;
        }
        if let Some((key, value)) = self.puts.iter().find(|(_, value)| value.len() > VALUE_BYTES_MAX) {
            let (key, length) = (keys::display(key), value.len());
            return Err(Error::invalid(format!(
                "batch: the value of {key} has {length} bytes, at most {VALUE_BYTES_MAX}"
            )));
        }
        let mut changed = BTreeSet::new();
        for key in self.puts.iter().map(|(key, _)| key).chain(&self.deletes) {
            if !changed.insert(key) {
                return Err(Error::invalid(format!("batch: {} is put or deleted twice", keys::display(key))));
            }
        }
        Ok(())
    }
}

/// Refuses a key that is empty or too long.
pub fn validate_key(key: &[u8]) -> Result<()> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Error::invalid(format!("key: {} bytes, must be 1 to {KEY_BYTES_MAX}", key.len())));
    }
    Ok(())
}

/// Refuses a scan that asks for too much at once.
pub fn validate_scan(limit: usize) -> Result<()> {
    if limit > SCAN_ENTRIES_MAX {
        return Err(Error::invalid(format!("scan: {limit} entries asked for, at most {SCAN_ENTRIES_MAX}")));
    }
    Ok(())
}

/// The refusal of a batch whose check of `key` does not hold.
pub(crate) fn conflict(key: &[u8], expect: Expect, current: Option<u64>) -> Error {
    let found =
        current.map_or_else(|| "it does not exist".to_owned(), |revision| format!("it has revision {revision}"));
    let expected = match expect {
        Expect::Absent => "not to exist".to_owned(),
        Expect::Present => "to exist".to_owned(),
        Expect::Revision(revision) => format!("to have revision {revision}"),
    };
    Error::conflict(format!("{} was expected {expected}, but {found}", keys::display(key)))
}

/// Which disks have no room for a commit: the source of the `Full` error that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FullDisks {
    /// The one with the coordinator's directory.
    #[error("the coordinator's disk is full")]
    Coordinators,
    /// Those of the storage nodes, which keep the catalog's journal.
    #[error("the storage nodes' disks are full")]
    Nodes,
}

impl FullDisks {
    /// The error that these are full.
    pub fn full(self, why: impl Into<String>) -> Error {
        Error::caused(ErrorKind::Full, why, self)
    }

    /// Which disks this error says are full, if it says so.
    pub fn of(error: &Error) -> Option<FullDisks> {
        error.source.as_ref()?.downcast_ref::<FullDisks>().copied()
    }
}

/// What an engine does right now, as far as it knows without asking anyone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serves {
    /// Reads and commits.
    All,
    /// Reads, and commits that make room; there is none for others on these disks, for this reason.
    DeletesOnly(FullDisks, String),
    /// Reads; commits are refused for this reason, and may be taken later.
    ReadsOnly(String),
    /// Neither, for this reason.
    Nothing(String),
    /// Another coordinator has taken over: what is read grows old, and commits are refused for good. What to do.
    Superseded(String),
}

impl Serves {
    /// The error that a commit would end with, if it is known beforehand.
    pub fn require_commits(self) -> Result<()> {
        match self {
            Serves::All => Ok(()),
            Serves::DeletesOnly(disks, why) => Err(disks.full(why)),
            Serves::ReadsOnly(why) | Serves::Nothing(why) | Serves::Superseded(why) => Err(Error::unavailable(why)),
        }
    }
}

/// Groups of the catalog's log, from one through another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogStretch {
    /// The first.
    pub from: u64,
    /// The last.
    pub through: u64,
}

impl LogStretch {
    /// All that there are.
    pub const ALL: LogStretch = LogStretch { from: 0, through: u64::MAX };
}

/// What reading the beginning of a stretch came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogScrubbed {
    /// Groups read.
    pub groups: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Places where a group should be and is not whole: one at most, behind which nothing was read.
    pub damaged: u64,
    /// What is left of the stretch, which ends with what there was when it was begun; `None` at the end.
    pub next: Option<LogStretch>,
}

/// An ordered key space. Contract of every engine:
///
/// - **All or nothing.** `commit` applies every put and delete of the batch, or none. `Conflict` if a check does not hold (the
///   message names the key), `Invalid` beyond the bounds above or if a key is put or deleted twice, `Full` or `Unavailable` if it
///   could not be made durable: in all these cases nothing of the batch was committed, now or later. `Unknown` if it may or may
///   not have been committed: read before you repeat. A batch that conflicts fails alone, whatever it was grouped with.
/// - **Durable.** `Ok` means that it survives whatever the engine is made to survive; no reader saw it before.
/// - **Serial.** Commits happen one after the other. A read that starts after a commit was answered sees it; a `get` or `scan`
///   sees each batch whole or not at all.
/// - **Revisions.** Each batch that puts something has a revision, greater than 0 and than that of every batch before it; its
///   puts carry it. A put of the same bytes is a change. No revision is used twice, restarts and deletions included.
/// - **Order.** `scan` gives entries of `[from, to)` in byte order of their keys, the first `limit` of them: fewer only if there
///   are no more. An empty range (`from >= to`) or a limit of 0 gives none; a limit beyond [`SCAN_ENTRIES_MAX`] is `Invalid`.
/// - **An empty batch** is `Ok` and changes nothing. One with checks only is `Ok` if they held at one moment during the call.
/// - Dropping the future of a `commit` leaves its outcome unknown; it still happens whole or not at all.
#[async_trait]
pub trait Metadata: Send + Sync + 'static {
    /// The entry at `key`.
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>>;

    /// The first `limit` entries of `[from, to)`, in key order.
    async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Entry)>>;

    /// Commits the batch if every check holds.
    async fn commit(&self, batch: Batch) -> Result<()>;

    /// Whether it takes commits; from memory, at once. Who wraps an engine says what that one says.
    fn serves(&self) -> Serves {
        Serves::All
    }

    /// Reads and checks the beginning of a stretch of what `node` keeps of the catalog's log, or of the log itself. What is damaged is mended
    /// from elsewhere. Nothing is read where no journal is kept. `Unavailable` if it cannot be read now.
    async fn scrub_log(&self, _node: Option<&NodeId>, _groups: LogStretch) -> Result<LogScrubbed> {
        Ok(LogScrubbed::default())
    }

    /// Groups of the catalog's journal that each node lacks, by its base URL; none where no journal is kept.
    fn journal_lags(&self) -> BTreeMap<Arc<str>, u64> {
        BTreeMap::new()
    }
}
