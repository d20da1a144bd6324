//! What a simulated disk holds, durable and not, and what a crash makes of it.

use super::SimDisk;
use std::collections::BTreeMap;

/// What a power cut keeps or loses as one.
pub const SECTOR_BYTES: usize = 512;

/// Everything on a disk at one moment, durable or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub inodes: Vec<Inode>,
    /// Names as processes see them.
    pub names: BTreeMap<String, usize>,
    /// Names as a power cut leaves them.
    pub names_durable: BTreeMap<String, usize>,
    pub names_pending: Vec<NameChange>,
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Put(String, usize),
    Remove(String),
    Rename { from: String, to: String, inode: usize },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// Bytes as the page cache shows them.
    pub cached: Vec<u8>,
    /// Bytes on the device.
    pub device: Vec<u8>,
    pub pending: Vec<Change>,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Resize(usize),
}

/// The disk right after a call.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// How many calls had been made.
    pub call: u64,
    pub(super) content: Content,
}

impl Snapshot {
    /// How many yes-or-no questions a power cut asks here.
    pub fn choices(&self) -> usize {
        let data = self.content.inodes.iter().flat_map(|inode| &inode.pending).map(Change::choices);
        self.content.names_pending.len() + data.sum::<usize>()
    }

    /// The disk after a power cut that keeps what `keep` says, asked once for each choice.
    pub fn power_cut(&self, keep: &mut dyn FnMut() -> bool) -> SimDisk {
        let mut content = self.content.clone();
        let mut names = std::mem::take(&mut content.names_durable);
        for change in content.names_pending.drain(..) {
            if keep() {
                change.apply(&mut names);
            }
        }
        for inode in &mut content.inodes {
            for change in std::mem::take(&mut inode.pending) {
                change.apply_some(&mut inode.device, keep);
            }
            inode.cached.clone_from(&inode.device);
        }
        content.names_durable.clone_from(&names);
        content.names = names;
        SimDisk::with_content(content)
    }

    /// The disk after the process was killed: nothing is lost, nothing more is durable.
    pub fn kill(&self) -> SimDisk {
        SimDisk::with_content(self.content.clone())
    }
}

impl Change {
    fn choices(&self) -> usize {
        match self {
            Change::Write { offset, bytes } => sectors(*offset, bytes.len()).count(),
            Change::Resize(_) => 1,
        }
    }

    pub(super) fn apply_all(&self, to: &mut Vec<u8>) {
        self.clone().apply_some(to, &mut || true);
    }

    pub(super) fn apply_some(self, to: &mut Vec<u8>, keep: &mut dyn FnMut() -> bool) {
        match self {
            Change::Resize(length) => {
                if keep() {
                    to.resize(length, 0);
                }
            }
            Change::Write { offset, bytes } => {
                for (from, until) in sectors(offset, bytes.len()) {
                    if keep() {
                        to.resize(to.len().max(until), 0);
                        to[from..until].copy_from_slice(&bytes[from - offset..until - offset]);
                    }
                }
            }
        }
    }
}

/// The parts of `length` bytes at `offset` that lie in one sector each.
pub(super) fn sectors(offset: usize, length: usize) -> impl Iterator<Item = (usize, usize)> {
    let end = offset + length;
    (offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES))
        .map(move |sector| ((sector * SECTOR_BYTES).max(offset), ((sector + 1) * SECTOR_BYTES).min(end)))
}

impl NameChange {
    pub(super) fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self {
            NameChange::Put(name, inode) => {
                names.insert(name, inode);
            }
            NameChange::Remove(name) => {
                names.remove(&name);
            }
            NameChange::Rename { from, to, inode } => {
                names.remove(&from);
                names.insert(to, inode);
            }
        }
    }
}
