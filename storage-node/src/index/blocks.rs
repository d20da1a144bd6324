//! The part of the index that lies in sled: entries in blocks of up to 64, each block one sled value.
//!
//! A sled entry costs about 18 µs and 230 bytes whatever its size, and reopening costs seconds per million. Sixty-four index
//! entries to one sled entry make that a sixty-fourth; ids rise with time, so new ones mostly go to the last block.
//!
//! ```text
//! tree "shards"  key   = the least id that the block may hold; that of the first block is 17 zeros
//!                value = entries (`entry.rs`) in id order, without gaps
//! tree "marks"   key   = "mark"
//!                value = lineage 16 · generation u64 LE · entries u64 LE
//! ```
//!
//! What it keeps true:
//! - A block holds only ids from its key up to the next block's key.
//! - The mark is written after all that it tells of; the number of entries only grows, so fewer than marked means damage.
//! - sled never panics through here: whatever it does wrong comes out as [`Broken`], and the index is rebuilt.

use super::entry::{ENTRY_BYTES, Entry, Key};
use segments::durable;
use sled::IVec;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Entries in one block. sled keeps 16 values in a leaf and rewrites the leaf whole; 16 × 64 × 34 bytes stay below the
/// 128 KiB at which it would use a file of its own.
const BLOCK_ENTRIES_MAX: usize = 64;
/// Entries merged into one block at once; a sled batch stops all readers, so it must be short.
const MERGE_ENTRIES_MAX: usize = 1024;

const MARK: &[u8] = b"mark";
const MARK_BYTES: usize = 32;

/// The sled database cannot be trusted any more; the text says why. The cure is to remove and rebuild it.
#[derive(Debug, Clone)]
pub struct Broken(pub String);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Up to which checkpoint the blocks are complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Drawn when the database was made, so that another one put in its place is noticed.
    pub lineage: Uuid,
    /// Number of the checkpoint.
    pub generation: u64,
    /// Entries in all blocks then.
    pub entries: u64,
}

/// The blocks of one index.
#[derive(Debug)]
pub struct Blocks {
    db: sled::Db,
    shards: sled::Tree,
    marks: sled::Tree,
    directory: PathBuf,
}

impl Blocks {
    /// Opens the database, or makes an empty one.
    pub fn open(directory: &Path, cache_bytes: u64) -> Result<Blocks, Broken> {
        guarded(|| {
            // Flushing is ours: sled's own flusher neither covers all that is needed nor tells of errors.
            let config = sled::Config::new().path(directory).cache_capacity(cache_bytes).flush_every_ms(None);
            let db = config.open()?;
            let (shards, marks) = (db.open_tree("shards")?, db.open_tree("marks")?);
            Ok(Blocks { db, shards, marks, directory: directory.to_owned() })
        })
    }

    /// The entry of one id.
    pub fn get(&self, key: &Key) -> Result<Option<Entry>, Broken> {
        let Some((_, block)) = guarded(|| self.shards.get_lt(after(key)))? else { return Ok(None) };
        let (entries, rest) = block.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(undecodable());
        }
        match entries.binary_search_by(|entry| entry[..key.len()].cmp(key)) {
            Err(_) => Ok(None),
            Ok(found) => Entry::decode(&entries[found]).map(|(_, entry)| Some(entry)).ok_or_else(undecodable),
        }
    }

    /// Entries with ids after `key` (all, if `None`), in order: at least `limit` of them, fewer only at the end.
    pub fn scan(&self, key: Option<&Key>, limit: usize) -> Result<Vec<(Key, Entry)>, Broken> {
        let mut found = Vec::with_capacity(limit + BLOCK_ENTRIES_MAX);
        let from = match key {
            None => IVec::from(&[] as &[u8]),
            Some(key) => guarded(|| self.shards.get_lt(after(key)))?.map_or(IVec::from(&key[..]), |(first, _)| first),
        };
        let mut blocks = self.shards.range(from..);
        while found.len() < limit {
            let Some((_, block)) = guarded(|| blocks.next().transpose())? else { break };
            let entries = decode(&block)?;
            found.extend(entries.into_iter().filter(|(id, _)| key.is_none_or(|key| id > key)));
        }
        Ok(found)
    }

    /// Merges entries, given in id order; [`Entry::prevail`] decides between two of one id. Returns how many ids are new.
    pub fn merge(&self, entries: &[(Key, Entry)]) -> Result<u64, Broken> {
        let mut added = 0;
        let mut rest = entries;
        while let Some((first, _)) = rest.first() {
            let block = guarded(|| self.shards.get_lt(after(first)))?;
            let (block_key, old) = match &block {
                Some((key, block)) => (key.clone(), decode(block)?),
                None => (IVec::from(&Key::default()[..]), Vec::new()),
            };
            let next = guarded(|| self.shards.get_gt(&block_key))?.map(|(key, _)| key);
            let end = rest.partition_point(|(key, _)| next.as_ref().is_none_or(|next| key[..] < next[..]));
            let (mine, later) = rest.split_at(end.min(MERGE_ENTRIES_MAX));
            let merged = merged(&old, mine);
            added += (merged.len() - old.len()) as u64;
            self.write(block_key, &merged, next.is_none())?;
            rest = later;
        }
        Ok(added)
    }

    /// Replaces a block by one or more, atomically.
    fn write(&self, key: IVec, entries: &[(Key, Entry)], is_last: bool) -> Result<(), Broken> {
        // At the end more ids will follow, so blocks are filled; in the middle they will come anywhere, so there is room left.
        let dense = is_last || entries.len() > 2 * BLOCK_ENTRIES_MAX;
        let pieces = entries.len().div_ceil(BLOCK_ENTRIES_MAX);
        let piece_entries = if dense { BLOCK_ENTRIES_MAX } else { entries.len().div_ceil(pieces) };
        let mut batch = sled::Batch::default();
        for (index, piece) in entries.chunks(piece_entries).enumerate() {
            let piece_key = if index == 0 { key.clone() } else { IVec::from(&piece[0].0[..]) };
            batch.insert(piece_key, encode(piece));
        }
        guarded(|| self.shards.apply_batch(batch))
    }

    /// The mark of the last checkpoint; `None` in a new database.
    pub fn mark(&self) -> Result<Option<Mark>, Broken> {
        let Some(value) = guarded(|| self.marks.get(MARK))? else { return Ok(None) };
        let bytes: &[u8; MARK_BYTES] = value[..].try_into().map_err(|_| undecodable())?;
        let number = |at: usize| bytes[at..at + 8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let mut lineage = [0; 16];
        lineage.copy_from_slice(&bytes[..16]);
        Ok(Some(Mark { lineage: Uuid::from_bytes(lineage), generation: number(16), entries: number(24) }))
    }

    /// Writes the mark.
    pub fn set_mark(&self, mark: Mark) -> Result<(), Broken> {
        let mut value = Vec::with_capacity(MARK_BYTES);
        value.extend_from_slice(mark.lineage.as_bytes());
        value.extend_from_slice(&mark.generation.to_le_bytes());
        value.extend_from_slice(&mark.entries.to_le_bytes());
        guarded(|| self.marks.insert(MARK, value)).map(drop)
    }

    /// Makes all of it durable. sled's flush neither syncs file size nor journal, hence our own fsync of its file.
    pub fn sync(&self) -> Result<(), Broken> {
        guarded(|| self.db.flush())?;
        durable::sync_dir(self.directory.join("db")).map_err(|error| Broken(error.to_string()))?;
        durable::sync_dir(&self.directory).map_err(|error| Broken(error.to_string()))
    }

    /// Bytes of the database on disk.
    pub fn size_bytes(&self) -> u64 {
        guarded(|| self.db.size_on_disk()).unwrap_or(0)
    }
}

/// The least key greater than `key`.
fn after(key: &Key) -> [u8; 18] {
    let mut bytes = [0; 18];
    bytes[..17].copy_from_slice(key);
    bytes
}

fn encode(entries: &[(Key, Entry)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    for (key, entry) in entries {
        entry.encode(key, &mut bytes);
    }
    bytes
}

fn decode(block: &[u8]) -> Result<Vec<(Key, Entry)>, Broken> {
    let (entries, rest) = block.as_chunks::<ENTRY_BYTES>();
    let decoded: Option<Vec<_>> = entries.iter().map(Entry::decode).collect();
    decoded.filter(|entries| rest.is_empty() && entries.is_sorted_by(|a, b| a.0 < b.0)).ok_or_else(undecodable)
}

/// Both lists in one, in id order.
fn merged(old: &[(Key, Entry)], new: &[(Key, Entry)]) -> Vec<(Key, Entry)> {
    let mut all = Vec::with_capacity(old.len() + new.len());
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    while let (Some(a), Some(b)) = (old.peek(), new.peek()) {
        match a.0.cmp(&b.0) {
            std::cmp::Ordering::Less => all.extend(old.next()),
            std::cmp::Ordering::Greater => all.extend(new.next()),
            std::cmp::Ordering::Equal => {
                all.push((a.0, a.1.prevail(b.1)));
                old.next();
                new.next();
            }
        }
    }
    all.extend(old);
    all.extend(new);
    all
}

fn undecodable() -> Broken {
    Broken("a block of the index does not decode".into())
}

/// Runs a sled call; an error or a panic (it has some for damaged files) makes the database [`Broken`].
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, Broken> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| Broken(format!("sled: {error}"))),
        Err(_) => Err(Broken("sled panicked".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};
    use segments::{Location, Position};
    use std::collections::BTreeMap;

    fn key(n: u64) -> Key {
        let mut key = Key::default();
        key[8..16].copy_from_slice(&n.to_be_bytes());
        key
    }

    fn entry(live: bool, offset: u32) -> Entry {
        Entry { live, location: Location { position: Position { segment: 1, offset }, length: 3, crc: 4 } }
    }

    /// sled's threads let go of a closed database's lock a moment later.
    fn open(dir: &Path) -> Blocks {
        for _ in 0..200 {
            if let Ok(blocks) = Blocks::open(dir, 1 << 20) {
                return blocks;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Blocks::open(dir, 1 << 20).unwrap()
    }

    #[test]
    fn appended_runs_fill_blocks_and_survive_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let blocks = open(dir.path());
        let all: Vec<_> = (0..5000).map(|n| (key(n), entry(true, n as u32))).collect();
        assert_eq!(blocks.merge(&all[..3]).unwrap(), 3);
        assert_eq!(blocks.merge(&all[2..]).unwrap(), 4997);
        assert!(blocks.shards.len() <= 5000 / BLOCK_ENTRIES_MAX + 1, "{} blocks", blocks.shards.len());
        let mark = Mark { lineage: Uuid::from_u128(5), generation: 7, entries: 5000 };
        blocks.set_mark(mark).unwrap();
        blocks.sync().unwrap();
        drop(blocks);
        let blocks = open(dir.path());
        assert_eq!(blocks.mark().unwrap(), Some(mark));
        assert_eq!(blocks.scan(None, 10_000).unwrap(), all);
        assert_eq!(blocks.get(&key(4999)).unwrap(), Some(all[4999].1));
        assert_eq!(blocks.get(&key(5000)).unwrap(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn blocks_hold_what_a_map_holds(runs in prop::collection::vec(prop::collection::vec((0u64..2000, any::<bool>()), 1..300), 1..8), after in 0u64..2100) {
            let dir = tempfile::tempdir().unwrap();
            let blocks = open(dir.path());
            let mut model: BTreeMap<Key, Entry> = BTreeMap::new();
            let mut offset = 0;
            for run in runs {
                let mut batch = BTreeMap::new();
                for (n, live) in run {
                    offset += 1;
                    batch.insert(key(n), entry(live, offset));
                }
                let before = model.len();
                for (key, new) in &batch {
                    model.entry(*key).and_modify(|old| *old = old.prevail(*new)).or_insert(*new);
                }
                let batch: Vec<_> = batch.into_iter().collect();
                prop_assert_eq!(blocks.merge(&batch).unwrap(), (model.len() - before) as u64);
            }
            let all: Vec<_> = model.iter().map(|(key, entry)| (*key, *entry)).collect();
            prop_assert_eq!(&blocks.scan(None, 1 << 20).unwrap(), &all);
            for n in 0..2000 {
                prop_assert_eq!(blocks.get(&key(n)).unwrap(), model.get(&key(n)).copied());
            }
            let start = key(after);
            let expected: Vec<_> = all.iter().filter(|(key, _)| *key > start).take(10).copied().collect();
            let mut page = blocks.scan(Some(&start), 10).unwrap();
            page.truncate(10);
            prop_assert_eq!(page, expected);
        }
    }
}
