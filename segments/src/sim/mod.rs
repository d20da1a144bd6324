//! A disk in memory that fails as real ones do, the same way for the same seed. For tests.
//!
//! What it models, worse than any one real filesystem:
//! - Each 512-byte sector of each un-synced write, each un-synced change of length and each un-synced change of a name is kept or
//!   lost by itself when the power is cut. A process that is killed loses none of them, and none becomes durable by that.
//! - A failed sync drops the dirty pages, or writes some of them, and later syncs answer `Ok` (as Linux does): reads through the
//!   cache go on showing what the device does not have.
//! - Any call can be made to fail with any error; a failed write may have written any of its sectors.
//! - Room and the number of files are bounded. Bits flip. Blocks become unreadable.
//!
//! Not modelled: a failed directory sync that drops names. Journalling filesystems abort then, and refuse every later write.

mod chance;
mod content;

pub use chance::Chance;
pub use content::{SECTOR_BYTES, Snapshot};

use crate::disk::{Access, BLOCK_BYTES, Disk, DiskFile, Source};
use content::{Change, Content, Inode, NameChange, sectors};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// `errno` of an input/output error.
pub const EIO: i32 = 5;
/// `errno` of a full disk.
pub const ENOSPC: i32 = 28;
/// `errno` of a read-only filesystem.
pub const EROFS: i32 = 30;

/// The disk; clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// One open file of a [`SimDisk`].
#[derive(Debug)]
pub struct SimFile {
    state: Arc<Mutex<State>>,
    inode: usize,
}

#[derive(Debug)]
struct State {
    content: Content,
    bytes_max: u64,
    files_max: usize,
    chance: Chance,
    /// Calls so far that could change the disk.
    calls: u64,
    failures: BTreeMap<u64, i32>,
    fails_from: Option<(u64, i32)>,
    unreadable: Vec<(usize, u64)>,
    snapshots: Option<Vec<Snapshot>>,
}

impl SimDisk {
    /// An empty disk with room for `bytes_max` bytes in `files_max` files.
    pub fn new(seed: u64, bytes_max: u64, files_max: usize) -> SimDisk {
        let disk = SimDisk::with_content(Content::default());
        let mut state = disk.lock();
        (state.chance, state.bytes_max, state.files_max) = (Chance::new(seed), bytes_max, files_max);
        drop(state);
        disk
    }

    fn with_content(content: Content) -> SimDisk {
        let state = State {
            content,
            bytes_max: u64::MAX,
            files_max: usize::MAX,
            chance: Chance::new(0),
            calls: 0,
            failures: BTreeMap::new(),
            fails_from: None,
            unreadable: Vec::new(),
            snapshots: None,
        };
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Limits room from now on.
    pub fn set_room(&self, bytes_max: u64, files_max: usize) {
        let mut state = self.lock();
        (state.bytes_max, state.files_max) = (bytes_max, files_max);
    }

    /// Calls so far that could change the disk.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Makes call number `call` (the first is 1) fail with `errno`.
    pub fn fail_call(&self, call: u64, errno: i32) {
        self.lock().failures.insert(call, errno);
    }

    /// Makes every call from number `call` on fail with `errno`, until [`SimDisk::heal`].
    pub fn fail_from(&self, call: u64, errno: i32) {
        self.lock().fails_from = Some((call, errno));
    }

    /// No call fails any more.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.failures.clear();
        state.fails_from = None;
        state.unreadable.clear();
    }

    /// Remembers the disk after each call from now on.
    pub fn record_snapshots(&self) {
        self.lock().snapshots = Some(Vec::new());
    }

    /// What was remembered.
    pub fn take_snapshots(&self) -> Vec<Snapshot> {
        self.lock().snapshots.take().unwrap_or_default()
    }

    /// The disk right now.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.lock();
        Snapshot { call: state.calls, content: state.content.clone() }
    }

    /// Names and lengths of all files.
    pub fn files(&self) -> Vec<(String, u64)> {
        let state = self.lock();
        let length = |inode: &usize| state.content.inodes[*inode].cached.len() as u64;
        state.content.names.iter().map(|(name, inode)| (name.clone(), length(inode))).collect()
    }

    /// Flips one bit of a file, on the device and in the cache.
    pub fn flip_bit(&self, name: &str, bit: u64) {
        let mut state = self.lock();
        let inode = state.content.names[name];
        let (byte, mask) = ((bit / 8) as usize, 1 << (bit % 8));
        let Inode { cached, device, .. } = &mut state.content.inodes[inode];
        for bytes in [cached, device] {
            if let Some(byte) = bytes.get_mut(byte) {
                *byte ^= mask;
            }
        }
    }

    /// A file's bytes, as the cache shows them.
    pub fn content(&self, name: &str) -> Vec<u8> {
        let state = self.lock();
        state.content.inodes[state.content.names[name]].cached.clone()
    }

    /// Puts a file there, durably, as if by another program.
    pub fn set_content(&self, name: &str, bytes: &[u8]) {
        let mut state = self.lock();
        let inode = Inode { cached: bytes.to_vec(), device: bytes.to_vec(), pending: Vec::new() };
        state.content.inodes.push(inode);
        let number = state.content.inodes.len() - 1;
        state.content.names.insert(name.to_owned(), number);
        state.content.names_durable.insert(name.to_owned(), number);
    }

    /// Makes one 4 KiB block of a file unreadable.
    pub fn make_unreadable(&self, name: &str, block: u64) {
        let mut state = self.lock();
        let inode = state.content.names[name];
        state.unreadable.push((inode, block));
    }
}

impl State {
    /// Counts a call; its error if it is to fail.
    fn call(&mut self) -> Option<io::Error> {
        self.calls += 1;
        let from = self.fails_from.filter(|(from, _)| self.calls >= *from).map(|(_, errno)| errno);
        let errno = self.failures.get(&self.calls).copied().or(from);
        errno.map(io::Error::from_raw_os_error)
    }

    fn remember(&mut self) {
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.push(Snapshot { call: self.calls, content: self.content.clone() });
        }
    }

    /// Counts a call that changes a name, and makes the change unless the call is to fail.
    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        let failure = self.call();
        if failure.is_none() {
            change.clone().apply(&mut self.content.names);
            self.content.names_pending.push(change);
        }
        self.remember();
        failure.map_or(Ok(()), Err)
    }

    fn used_bytes(&self) -> u64 {
        self.content.names.values().map(|inode| self.content.inodes[*inode].cached.len() as u64).sum()
    }

    fn inode_of(&self, name: &str) -> io::Result<usize> {
        self.content.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().content.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let mut state = self.lock();
        if state.content.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if state.content.names.len() >= state.files_max {
            state.calls += 1;
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        state.content.inodes.push(Inode::default());
        let inode = state.content.inodes.len() - 1;
        state.change_name(NameChange::Put(name.to_owned(), inode))?;
        Ok(SimFile { state: Arc::clone(&self.state), inode })
    }

    fn open(&self, name: &str, _access: Access) -> io::Result<SimFile> {
        let inode = self.lock().inode_of(name)?;
        Ok(SimFile { state: Arc::clone(&self.state), inode })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        let inode = state.inode_of(from)?;
        state.change_name(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), inode })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.inode_of(name)?;
        state.change_name(NameChange::Remove(name.to_owned()))
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.lock();
        let failure = state.call();
        if failure.is_none() {
            let Content { names_durable, names_pending, .. } = &mut state.content;
            for change in names_pending.drain(..) {
                change.apply(names_durable);
            }
        }
        state.remember();
        failure.map_or(Ok(()), Err)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.lock();
        Ok(state.bytes_max.saturating_sub(state.used_bytes()))
    }
}

impl SimFile {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call that changes this file. A failed one changes some of it.
    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.lock();
        let failure = state.call();
        let State { content, chance, .. } = &mut *state;
        let inode = &mut content.inodes[self.inode];
        let kept = match (&failure, change) {
            (None, change) => vec![change],
            (Some(_), Change::Resize(_)) => Vec::new(),
            (Some(_), Change::Write { offset, bytes }) => sectors(offset, bytes.len())
                .filter(|_| chance.coin())
                .map(|(from, until)| Change::Write {
                    offset: from,
                    bytes: bytes[from - offset..until - offset].to_vec(),
                })
                .collect(),
        };
        for change in kept {
            change.apply_all(&mut inode.cached);
            inode.pending.push(change);
        }
        state.remember();
        failure.map_or(Ok(()), Err)
    }
}

/// Copies what `from` has at `offset`.
fn copy(from: &[u8], buffer: &mut [u8], offset: u64) -> usize {
    let from = from.get(offset as usize..).unwrap_or_default();
    let count = from.len().min(buffer.len());
    buffer[..count].copy_from_slice(&from[..count]);
    count
}

impl DiskFile for SimFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.lock().content.inodes[self.inode].cached.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64, source: Source) -> io::Result<usize> {
        let state = self.lock();
        let blocks = offset / BLOCK_BYTES..(offset + buffer.len() as u64).div_ceil(BLOCK_BYTES);
        if state.unreadable.iter().any(|(inode, block)| *inode == self.inode && blocks.contains(block)) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let inode = &state.content.inodes[self.inode];
        if source == Source::Cache {
            return Ok(copy(&inode.cached, buffer, offset));
        }
        if inode.pending.is_empty() {
            return Ok(copy(&inode.device, buffer, offset));
        }
        // A read past the cache writes dirty pages out first; that does not make them durable.
        let mut written = inode.device.clone();
        inode.pending.iter().for_each(|change| change.apply_all(&mut written));
        Ok(copy(&written, buffer, offset))
    }

    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        let count = self.read_at(buffer, offset, Source::Cache)?;
        Ok((count == buffer.len()).then_some(count))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(Change::Write { offset: offset as usize, bytes: bytes.to_vec() })
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut state = self.lock();
        let held = state.content.inodes[self.inode].cached.len() as u64;
        if state.used_bytes() + length.saturating_sub(held) > state.bytes_max {
            state.calls += 1;
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        drop(state);
        self.change(Change::Resize(length as usize))
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.change(Change::Resize(length as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.lock();
        let failure = state.call();
        let State { content, chance, .. } = &mut *state;
        let Inode { device, pending, .. } = &mut content.inodes[self.inode];
        let drops_all = chance.coin();
        for change in pending.drain(..) {
            match &failure {
                None => change.apply_all(device),
                Some(_) => change.apply_some(device, &mut || !drops_all && chance.coin()),
            }
        }
        state.remember();
        failure.map_or(Ok(()), Err)
    }
}
