//! How the index gets to sled and back: adopting what is there, checkpoints, rebuilding what is broken. The order of steps is in
//! `index.rs`.

use super::blocks::{Blocks, Broken, Mark};
use super::census::Census;
use super::checkpoint::{Checkpoint, boot_id, is_same_boot};
use super::entry::{ENTRY_BYTES, Entry, Key};
use super::{CHECKPOINT_BYTES, CHECKPOINT_ENTRIES, Index, Progress, SCAN_ENTRIES, Tree, is_rebuilt};
use protocol::{Error, ErrorKind, Result};
use segments::durable;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A checkpoint is due after so long without a change.
const CHECKPOINT_IDLE: Duration = Duration::from_secs(5);
/// Room on disk that sled must find before anything is saved: its files grow in such steps.
const ROOM_BYTES_MIN: u64 = 4 << 20;
/// sled writes so many times what it is given: leaves whole, then again when it makes room.
const WRITE_FACTOR: u64 = 8;
/// How often to look whether readers have let go of a database that is to be removed.
const RELEASE_POLL: Duration = Duration::from_millis(10);

impl Index {
    /// What is there, if it can be trusted; else why not.
    pub(super) fn adopt(&self, directory: &Path) -> std::result::Result<(), String> {
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
        // From now on it changes without an orderly shutdown having followed. A full disk has room to say so by a removal; the
        // next start then rebuilds, unless there is a checkpoint again by then.
        let unclean = Checkpoint { clean: false, boot: boot_id(), ..checkpoint };
        unclean.write(&path).or_else(|_| durable::remove_file(&path)).map_err(|error| error.to_string())?;
        *self.progress() =
            Progress { lineage: mark.lineage, generation: mark.generation, entries, position: checkpoint.position };
        let mut state = self.state_mut();
        (state.census, state.tree_last, state.end) = (census, last, checkpoint.position);
        state.tree = Tree::Sound(Arc::new(blocks));
        Ok(())
    }

    /// Starts with an empty database; where not even that can be made, without one.
    pub(super) fn begin_tree(&self, directory: &Path, why: String) {
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
        if self.is_read_only() || !self.has_room() {
            // What sled could not write would break it, and reads with it. Puts are refused on such a disk, so little comes to memory.
            return Ok(());
        }
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

    /// Whether the disk has turned read-only. That is asked of a file: since Linux 6.14 the filesystem's flags do not say so after an error.
    fn is_read_only(&self) -> bool {
        let database = self.config.directory.as_ref().map(|directory| directory.join("sled").join("db"));
        let opened = database.map(|path| OpenOptions::new().write(true).open(path));
        opened.is_some_and(|opened| opened.is_err_and(|error| error.kind() == io::ErrorKind::ReadOnlyFilesystem))
    }

    /// Whether the disk has room for what is in memory, and for what sled writes besides.
    fn has_room(&self) -> bool {
        let Some(directory) = &self.config.directory else { return true };
        let entries = self.state().active.len() as u64;
        let needed_bytes = ROOM_BYTES_MIN + entries * ENTRY_BYTES as u64 * WRITE_FACTOR;
        // What cannot be asked is tried.
        rustix::fs::statvfs(directory).map_or(true, |found| found.f_bavail * found.f_frsize >= needed_bytes)
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
        // Nobody else has the new tree yet, so this keeps no one waiting.
        let (mut census, last) = count(&blocks).map_err(failed)?;
        let entries = census.shards + census.tombstones;
        // Nothing may change while what came in meanwhile is counted on top.
        let mut state = self.state_mut();
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

    pub(super) fn give_up(&self, blocks: &Arc<Blocks>, why: Broken) -> Error {
        let mut state = self.state_mut();
        if matches!(&state.tree, Tree::Sound(current) if Arc::ptr_eq(current, blocks)) {
            tracing::error!(reason = %why, "the index is broken; it is rebuilt from the segments");
            let old = Some(Arc::clone(blocks));
            state.tree = Tree::Broken { why: why.0.clone(), old };
        }
        is_rebuilt(&why.0)
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
    blocks.set_mark(Mark { lineage: progress.lineage, generation: progress.generation, entries: progress.entries })?;
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
