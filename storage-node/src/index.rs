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

pub use blocks::Broken;
pub use census::Census;
pub use entry::{Entry, Key};

use blocks::{Blocks, Mark};
use checkpoint::{Checkpoint, boot_id, is_same_boot};
use protocol::{Clock, DiskId, Error, ErrorKind, Result};
use segments::{Position, durable};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A checkpoint is due at so many entries in memory,
const CHECKPOINT_ENTRIES: usize = 64 << 10;
/// or so many bytes of log, which a start would have to read again,
const CHECKPOINT_BYTES: u64 = 64 << 20;
/// or after so long without a change.
const CHECKPOINT_IDLE: Duration = Duration::from_secs(5);
/// Entries in memory at which writes wait for the index to catch up; about 100 MiB.
const MEMORY_ENTRIES_MAX: usize = 1 << 20;
/// Entries read at once where all are looked at.
const SCAN_ENTRIES: usize = 4096;
/// How long readers may hold on to a database that is to be removed.
const RELEASE_POLL: Duration = Duration::from_millis(10);

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

    /// What is there, if it can be trusted; else why not.
    fn adopt(&self, directory: &Path) -> std::result::Result<(), String> {
        let path = directory.join("checkpoint");
        let checkpoint = Checkpoint::read(&path).map_err(|error| match error.kind {
            ErrorKind::NotFound => "there is no checkpoint".to_owned(),
            _ => error.to_string(),
        })?;
        if checkpoint.disk != self.config.disk {
            return Err(format!("the checkpoint is of another disk, {}", checkpoint.disk));
        }
        if !checkpoint.clean && !is_same_boot(checkpoint.boot, boot_id()) {
            return Err("the machine went down without an orderly shutdown".to_owned());
        }
        if !directory.join("sled").join("db").exists() {
            return Err("the sled database is missing".to_owned());
        }
        let broken = |Broken(why)| why;
        let blocks = Blocks::open(&directory.join("sled"), self.config.cache_bytes).map_err(broken)?;
        let mark = blocks.mark().map_err(broken)?.ok_or("the sled database has no mark")?;
        if mark.lineage != checkpoint.lineage || mark.generation < checkpoint.generation {
            return Err("the sled database is not the one that the checkpoint speaks of".to_owned());
        }
        let (census, last) = count(&blocks).map_err(broken)?;
        let entries = census.shards + census.tombstones;
        if entries < mark.entries {
            return Err(format!("the sled database holds {entries} of {} entries", mark.entries));
        }
        // From now on it changes without an orderly shutdown having followed.
        let checkpoint = Checkpoint { clean: false, boot: boot_id(), ..checkpoint };
        checkpoint.write(&path).map_err(|error| error.to_string())?;
        *self.progress() =
            Progress { lineage: mark.lineage, generation: mark.generation, entries, position: checkpoint.position };
        let mut state = self.state_mut();
        (state.census, state.tree_last, state.end) = (census, last, checkpoint.position);
        state.tree = Tree::Sound(Arc::new(blocks));
        Ok(())
    }

    /// Starts with an empty database; where not even that can be made, without one.
    fn begin_tree(&self, directory: &Path, why: String) {
        *self.progress() = Progress { lineage: self.config.clock.fresh_id(), ..Progress::default() };
        let tree = match self.fresh_blocks(directory) {
            Ok(blocks) => Tree::Sound(Arc::new(blocks)),
            Err(error) => {
                tracing::error!(%error, "the index cannot be made; until then only what is in memory is known");
                Tree::Broken { why: error.to_string(), old: None }
            }
        };
        let mut state = self.state_mut();
        (state.tree, state.begun_anew) = (tree, Some(why));
    }

    /// An empty database. The checkpoint goes first, so that it never speaks of the new one.
    fn fresh_blocks(&self, directory: &Path) -> Result<Blocks> {
        durable::remove_file(directory.join("checkpoint"))?;
        durable::remove_dir_all(directory.join("sled"))?;
        Blocks::open(&directory.join("sled"), self.config.cache_bytes)
            .map_err(|why| Error::unavailable(format!("cannot make the index: {why}")))
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
        let old = match self.lookup(&key) {
            Ok(old) => old,
            // The tree broke meanwhile; the log is read once more when it is rebuilt.
            Err(error) if error.kind == ErrorKind::Unavailable => None,
            Err(error) => return Err(error),
        };
        let is_due = {
            let mut state = self.state_mut();
            state.put(key, old, entry);
            state.end = end;
            state.active.len() >= CHECKPOINT_ENTRIES
        };
        if is_due { self.checkpoint(false) } else { Ok(()) }
    }

    /// At most `limit` live entries with ids after `key`, in order, and the key to go on after.
    pub fn page(&self, key: Option<Key>, limit: usize) -> Result<(Vec<(Key, Entry)>, Option<Key>)> {
        let mut after = key;
        let mut found = Vec::with_capacity(limit);
        loop {
            let (entries, next) = self.slice(after.as_ref(), limit.max(1))?;
            for (key, entry) in entries.into_iter().filter(|(_, entry)| entry.live) {
                if found.len() == limit {
                    let last = found.last().map(|(key, _)| *key);
                    return Ok((found, last));
                }
                found.push((key, entry));
            }
            if next.is_none() {
                return Ok((found, None));
            }
            after = next;
        }
    }

    /// Some entries after `key`, dead ones too, and the key to go on after; `None` at the end.
    fn slice(&self, key: Option<&Key>, limit: usize) -> Result<(Vec<(Key, Entry)>, Option<Key>)> {
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
        let range = (key.map_or(Bound::Unbounded, |key| Bound::Excluded(*key)), next.map_or(Bound::Unbounded, Bound::Included));
        let mut entries: BTreeMap<Key, Entry> = from_tree.into_iter().collect();
        entries.extend(state.moving.range(range).map(|(key, entry)| (*key, *entry)));
        entries.extend(state.active.range(range).map(|(key, entry)| (*key, *entry)));
        Ok((entries.into_iter().collect(), next))
    }

    /// Calls `visit` for every live entry.
    pub fn for_each_live(&self, visit: &mut dyn FnMut(Key, Entry)) -> Result<()> {
        let mut after = None;
        loop {
            let (entries, next) = self.slice(after.as_ref(), SCAN_ENTRIES)?;
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

    /// Whether [`Index::checkpoint`] should be called now.
    pub fn is_due(&self) -> bool {
        let state = self.state();
        let idle = !state.active.is_empty() && state.changed_at.elapsed() >= CHECKPOINT_IDLE;
        matches!(state.tree, Tree::Sound(_))
            && (idle || state.active.len() >= CHECKPOINT_ENTRIES || state.unsaved_bytes >= CHECKPOINT_BYTES)
    }

    /// Moves what is in memory to sled, durably; `clean` says that this is the last change before an orderly end.
    pub fn checkpoint(&self, clean: bool) -> Result<()> {
        let mut progress = self.progress();
        let (blocks, moving, end) = {
            let mut state = self.state_mut();
            let Tree::Sound(blocks) = &state.tree else { return Ok(()) };
            let blocks = Arc::clone(blocks);
            state.moving = Arc::new(std::mem::take(&mut state.active));
            state.unsaved_bytes = 0;
            (blocks, Arc::clone(&state.moving), state.end)
        };
        let entries: Vec<_> = moving.iter().map(|(key, entry)| (*key, *entry)).collect();
        let saved = save(&blocks, &entries, &mut progress);
        let mut state = self.state_mut();
        match saved {
            Ok(()) => {
                state.moving = Arc::default();
                state.tree_last = state.tree_last.max(entries.last().map(|(key, _)| *key));
            }
            Err(why) => {
                let newer = std::mem::take(&mut state.active);
                state.active = moving.iter().map(|(key, entry)| (*key, *entry)).chain(newer).collect();
                state.moving = Arc::default();
                drop(state);
                return Err(self.give_up(&blocks, why));
            }
        }
        drop(state);
        progress.position = end;
        self.write_checkpoint(&progress, clean)
    }

    fn write_checkpoint(&self, progress: &Progress, clean: bool) -> Result<()> {
        let directory = self.config.directory.as_ref().expect("only an index on disk has checkpoints");
        let checkpoint = Checkpoint {
            disk: self.config.disk,
            boot: boot_id(),
            lineage: progress.lineage,
            generation: progress.generation,
            position: progress.position,
            clean,
        };
        checkpoint.write(&directory.join("checkpoint"))
    }

    /// Declares the tree broken, so that it is rebuilt: it speaks of records that the log does not have, say.
    pub fn distrust(&self, why: &str) {
        let blocks = match &self.state().tree {
            Tree::Sound(blocks) => Arc::clone(blocks),
            Tree::Absent | Tree::Broken { .. } => return,
        };
        self.give_up(&blocks, Broken(why.to_owned()));
    }

    /// Why the index must be rebuilt, if it must.
    pub fn broken(&self) -> Option<String> {
        match &self.state().tree {
            Tree::Broken { why, .. } => Some(why.clone()),
            Tree::Absent | Tree::Sound(_) => None,
        }
    }

    /// Replaces a broken tree by one made of all records, which `replay` must visit in log order.
    pub fn rebuild(&self, replay: impl FnOnce(&mut dyn FnMut(Key, Entry)) -> Result<()>) -> Result<()> {
        let Some(directory) = self.config.directory.clone() else { return Ok(()) };
        let mut progress = self.progress();
        self.release_broken();
        let blocks = self.fresh_blocks(&directory)?;
        let mut run = Run { blocks: &blocks, entries: BTreeMap::new(), failed: None };
        replay(&mut |key, entry| run.add(key, entry))?;
        run.spill();
        if let Some(why) = run.failed {
            return Err(Error::unavailable(format!("rebuilding the index failed: {why}")));
        }
        let failed = |why: Broken| Error::unavailable(format!("rebuilding the index failed: {why}"));
        // Nothing may change while what came in meanwhile is counted on top.
        let mut state = self.state_mut();
        let (mut census, last) = count(&blocks).map_err(failed)?;
        let entries = census.shards + census.tombstones;
        for (key, entry) in &state.active {
            let old = blocks.get(key).map_err(failed)?;
            census.replace(old, old.map_or(*entry, |old| old.prevail(*entry)));
        }
        (state.census, state.tree_last, state.unsaved_bytes) = (census, last, CHECKPOINT_BYTES);
        state.tree = Tree::Sound(Arc::new(blocks));
        *progress = Progress { lineage: self.config.clock.fresh_id(), entries, ..Progress::default() };
        Ok(())
    }

    /// Waits until nobody reads the broken database, and closes it.
    fn release_broken(&self) {
        let take = || match &mut self.state_mut().tree {
            Tree::Broken { old, .. } => old.take(),
            Tree::Absent | Tree::Sound(_) => None,
        };
        let Some(blocks) = take() else { return };
        while Arc::strong_count(&blocks) > 1 {
            std::thread::sleep(RELEASE_POLL);
        }
        // sled may panic when it closes what is damaged.
        if catch_unwind(AssertUnwindSafe(move || drop(blocks))).is_err() {
            tracing::warn!("sled panicked while the broken index was closed");
        }
    }

    fn give_up(&self, blocks: &Arc<Blocks>, why: Broken) -> Error {
        let mut state = self.state_mut();
        if matches!(&state.tree, Tree::Sound(current) if Arc::ptr_eq(current, blocks)) {
            tracing::error!(reason = %why, "the index is broken; it is rebuilt from the segments");
            let old = Some(Arc::clone(blocks));
            state.tree = Tree::Broken { why: why.0.clone(), old };
        }
        is_rebuilt(&why.0)
    }

    /// Live shards.
    pub fn shards(&self) -> u64 {
        self.state().census.shards
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

/// Entries on their way into a tree that is being rebuilt.
struct Run<'a> {
    blocks: &'a Blocks,
    entries: BTreeMap<Key, Entry>,
    failed: Option<Broken>,
}

impl Run<'_> {
    fn add(&mut self, key: Key, entry: Entry) {
        self.entries.entry(key).and_modify(|old| *old = old.prevail(entry)).or_insert(entry);
        if self.entries.len() >= CHECKPOINT_ENTRIES {
            self.spill();
        }
    }

    fn spill(&mut self) {
        let entries: Vec<_> = std::mem::take(&mut self.entries).into_iter().collect();
        if self.failed.is_none() {
            self.failed = self.blocks.merge(&entries).err();
        }
    }
}

/// Merges, marks and syncs.
fn save(blocks: &Blocks, entries: &[(Key, Entry)], progress: &mut Progress) -> std::result::Result<(), Broken> {
    progress.entries += blocks.merge(entries)?;
    progress.generation += 1;
    blocks.set_mark(Mark {
        lineage: progress.lineage,
        generation: progress.generation,
        entries: progress.entries,
    })?;
    blocks.sync()
}

/// Looks at every block.
fn count(blocks: &Blocks) -> std::result::Result<(Census, Option<Key>), Broken> {
    let mut census = Census::default();
    let mut last: Option<Key> = None;
    loop {
        let entries = blocks.scan(last.as_ref(), SCAN_ENTRIES)?;
        for (key, entry) in &entries {
            if last.is_some_and(|last| *key <= last) {
                return Err(Broken("the blocks of the index are out of order".into()));
            }
            census.replace(None, *entry);
            last = Some(*key);
        }
        if entries.len() < SCAN_ENTRIES {
            return Ok((census, last));
        }
    }
}

fn is_rebuilt(why: &str) -> Error {
    Error::unavailable(format!("the index is being rebuilt from the segments: {why}"))
}
