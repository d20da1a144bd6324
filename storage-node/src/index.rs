//! Where each shard lies: a map in memory in front of blocks in sled. A cache of the log, nothing more.
//!
//! Writers touch only the map. A background thread moves it to sled in large sorted runs ([`Index::checkpoint`]):
//! 1. the map becomes the moving map, a new one takes its place, and the log position that both cover is noted;
//! 2. the moving map is merged into the blocks, then the mark, then flush and fsync;
//! 3. the checkpoint file is replaced;
//! 4. the moving map is dropped.
//!
//! A crash anywhere leaves a checkpoint whose position is covered by the blocks; replaying records that are in them already
//! changes nothing.
//!
//! What it keeps true:
//! - Losing, damaging or exchanging the sled directory or the checkpoint file loses nothing: it is noticed, and the index is
//!   rebuilt from the segments (I13). After an unclean stop across a reboot it is rebuilt too.
//! - An index that broke while running answers "unknown", never "absent", until it is rebuilt.
//! - Entries only ever change by [`Entry::prevail`].

mod blocks;
mod census;
mod checkpoint;
mod entry;
mod saving;

pub use blocks::Broken;
pub use census::Census;
pub use entry::{Entry, Key};

use blocks::Blocks;
use protocol::{Clock, DiskId, Error, Result};
use segments::{Position, durable};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;
use uuid::Uuid;

/// A checkpoint is due at so many entries in memory,
const CHECKPOINT_ENTRIES: usize = 64 << 10;
/// or so many bytes of log, which a start would have to read again.
const CHECKPOINT_BYTES: u64 = 64 << 20;
/// Entries in memory at which writes wait for the index to catch up; about 100 MiB.
const MEMORY_ENTRIES_MAX: usize = 1 << 20;
/// Entries read at once where all are looked at; writers wait meanwhile.
const SCAN_ENTRIES: usize = 512;
/// Entries that one page of a listing looks at, about: tombstones stay for ever, and a caller does not wait for all of them.
const LOOKED_AT_MAX: usize = 64 << 10;

/// Settings of the index.
pub struct IndexConfig {
    /// Its directory; `None` keeps it in memory only, for simulated disks.
    pub directory: Option<PathBuf>,
    /// Bytes for sled's cache.
    pub cache_bytes: u64,
    /// The disk whose records it names.
    pub disk: DiskId,
    /// Where a new database's lineage is drawn.
    pub clock: Arc<dyn Clock>,
}

/// One record that the log took in.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// Which id.
    pub key: Key,
    /// Its record.
    pub entry: Entry,
    /// What the index held of it when the record was decided on.
    pub old: Option<Entry>,
}

/// Some entries, in id order.
#[derive(Clone, Debug)]
pub struct IndexPage {
    /// The entries.
    pub entries: Vec<(Key, Entry)>,
    /// The key to go on after; `None` at the end.
    pub next: Option<Key>,
}

/// The index of one node.
pub struct Index {
    config: IndexConfig,
    state: RwLock<State>,
    /// Held by whoever writes a checkpoint or rebuilds.
    progress: Mutex<Progress>,
}

struct State {
    active: BTreeMap<Key, Entry>,
    moving: Arc<BTreeMap<Key, Entry>>,
    tree: Tree,
    /// No id after this one is in the tree.
    tree_last: Option<Key>,
    /// Every record before this position is in the maps or the tree.
    end: Position,
    unsaved_bytes: u64,
    changed_at: Instant,
    census: Census,
    begun_anew: Option<String>,
}

enum Tree {
    /// There is none; everything stays in memory.
    Absent,
    Sound(Arc<Blocks>),
    /// Until it is rebuilt. The old database is kept until nobody reads it, since sled writes files by path when it closes.
    Broken {
        why: String,
        old: Option<Arc<Blocks>>,
    },
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    lineage: Uuid,
    generation: u64,
    entries: u64,
    /// What the checkpoint file says, for when it must be written anew.
    position: Position,
}

impl Index {
    /// Opens the index. Then every record from [`Index::position`] on must be replayed.
    pub fn open(config: IndexConfig) -> Result<Index> {
        let state = State {
            active: BTreeMap::new(),
            moving: Arc::default(),
            tree: Tree::Absent,
            tree_last: None,
            end: Position::default(),
            unsaved_bytes: 0,
            changed_at: Instant::now(),
            census: Census::default(),
            begun_anew: None,
        };
        let index = Index { config, state: RwLock::new(state), progress: Mutex::default() };
        if let Some(directory) = index.config.directory.clone() {
            durable::create_dir_all(&directory)?;
            if let Err(why) = index.adopt(&directory) {
                index.begin_tree(&directory, why);
            }
        }
        Ok(index)
    }

    /// Every record before this position is in the index; `None` if there may be none at all.
    pub fn position(&self) -> Option<Position> {
        Some(self.state().end).filter(|end| *end != Position::default())
    }

    /// Why this start could not use the index that it found.
    pub fn begun_anew(&self) -> Option<String> {
        self.state().begun_anew.clone()
    }

    /// What the index knows of an id. `Unavailable` means unknown.
    pub fn lookup(&self, key: &Key) -> Result<Option<Entry>> {
        let blocks = {
            let state = self.state();
            if let Some(entry) = state.in_memory(key) {
                return Ok(Some(entry));
            }
            match &state.tree {
                Tree::Absent => return Ok(None),
                Tree::Broken { why, .. } => return Err(is_rebuilt(why)),
                Tree::Sound(_) if state.tree_last.is_none_or(|last| *key > last) => return Ok(None),
                Tree::Sound(blocks) => Arc::clone(blocks),
            }
        };
        // Entries move from memory to the tree only, so what was in neither is in neither.
        blocks.get(key).map_err(|why| self.give_up(&blocks, why))
    }

    /// Records that are durable now, and the position they end at.
    pub fn apply(&self, updates: &[Update], end: Position) {
        let mut state = self.state_mut();
        for update in updates {
            // What is in memory is never older than what was looked up before.
            let old = state.in_memory(&update.key).or(update.old);
            state.put(update.key, old, update.entry);
        }
        state.end = end;
    }

    /// One record met while the log is opened, in log order; `end` is the position one past it.
    pub fn replay(&self, key: Key, entry: Entry, end: Position) -> Result<()> {
        let Ok(old) = self.lookup(&key) else {
            // Broken: the whole log is read once more when it is rebuilt, and a part of it in memory would mislead.
            self.state_mut().active.clear();
            return Ok(());
        };
        let is_due = {
            let mut state = self.state_mut();
            state.put(key, old, entry);
            state.end = end;
            state.active.len() >= CHECKPOINT_ENTRIES
        };
        if is_due { self.checkpoint(false) } else { Ok(()) }
    }

    /// At most `limit` live entries with ids after `key`, in order; fewer, or none, where there are many dead ones.
    pub fn page(&self, key: Option<Key>, limit: usize) -> Result<IndexPage> {
        let (mut after, mut looked_at) = (key, 0);
        let mut found = Vec::with_capacity(limit);
        loop {
            let IndexPage { entries, next } = self.slice(after.as_ref(), limit.max(1))?;
            looked_at += entries.len();
            for (key, entry) in entries.into_iter().filter(|(_, entry)| entry.live) {
                if found.len() == limit {
                    let last = found.last().map(|(key, _)| *key);
                    return Ok(IndexPage { entries: found, next: last });
                }
                found.push((key, entry));
            }
            if next.is_none() || looked_at >= LOOKED_AT_MAX {
                return Ok(IndexPage { entries: found, next });
            }
            after = next;
        }
    }

    /// Some entries after `key`, dead ones too.
    fn slice(&self, key: Option<&Key>, limit: usize) -> Result<IndexPage> {
        // Under one lock, so that nothing moves from memory to the tree in between.
        let state = self.state();
        let from_tree = match &state.tree {
            Tree::Absent => Vec::new(),
            Tree::Broken { why, .. } => return Err(is_rebuilt(why)),
            Tree::Sound(blocks) => match blocks.scan(key, limit) {
                Ok(entries) => entries,
                Err(why) => {
                    let blocks = Arc::clone(blocks);
                    drop(state);
                    return Err(self.give_up(&blocks, why));
                }
            },
        };
        let next = if from_tree.len() < limit { None } else { from_tree.last().map(|(key, _)| *key) };
        let range =
            (key.map_or(Bound::Unbounded, |key| Bound::Excluded(*key)), next.map_or(Bound::Unbounded, Bound::Included));
        let mut entries: BTreeMap<Key, Entry> = from_tree.into_iter().collect();
        entries.extend(state.moving.range(range).map(|(key, entry)| (*key, *entry)));
        entries.extend(state.active.range(range).map(|(key, entry)| (*key, *entry)));
        Ok(IndexPage { entries: entries.into_iter().collect(), next })
    }

    /// Calls `visit` for every live entry.
    pub fn for_each_live(&self, visit: &mut dyn FnMut(Key, Entry)) -> Result<()> {
        let mut after = None;
        loop {
            let IndexPage { entries, next } = self.slice(after.as_ref(), SCAN_ENTRIES)?;
            entries.into_iter().filter(|(_, entry)| entry.live).for_each(|(key, entry)| visit(key, entry));
            if next.is_none() {
                return Ok(());
            }
            after = next;
        }
    }

    /// Whether so much lies in memory that writes must wait.
    pub fn is_behind(&self) -> bool {
        let state = self.state();
        !matches!(state.tree, Tree::Absent) && state.active.len() + state.moving.len() >= MEMORY_ENTRIES_MAX
    }

    /// The counts.
    pub fn census(&self) -> Census {
        self.state().census.clone()
    }

    /// Bytes of one segment that are needed.
    pub fn needed_bytes(&self, segment: u32) -> u64 {
        self.state().census.needed_bytes(segment)
    }

    /// A segment was removed.
    pub fn forget_segment(&self, segment: u32) {
        self.state_mut().census.forget(segment);
    }

    /// Entries not yet in sled, and sled's bytes on disk.
    pub fn sizes(&self) -> (usize, u64) {
        let (entries, blocks) = {
            let state = self.state();
            let blocks = match &state.tree {
                Tree::Sound(blocks) => Some(Arc::clone(blocks)),
                Tree::Absent | Tree::Broken { .. } => None,
            };
            (state.active.len() + state.moving.len(), blocks)
        };
        (entries, blocks.map_or(0, |blocks| blocks.size_bytes()))
    }

    // No panic leaves these half changed but those that end the process, so a poisoned lock is as good as any.
    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn in_memory(&self, key: &Key) -> Option<Entry> {
        self.active.get(key).or_else(|| self.moving.get(key)).copied()
    }

    fn put(&mut self, key: Key, old: Option<Entry>, new: Entry) {
        let now = old.map_or(new, |old| old.prevail(new));
        self.unsaved_bytes += new.location.stored_bytes();
        self.changed_at = Instant::now();
        if Some(now) != old {
            self.census.replace(old, now);
            self.active.insert(key, now);
        }
    }
}

fn is_rebuilt(why: &str) -> Error {
    Error::unavailable(format!("the index is being rebuilt from the segments: {why}"))
}
