//! The segments of a log, as writer and readers share them: which there are, how far they count, and their open files.

use crate::config::LogConfig;
use crate::disk::{Access, Disk};
use crate::mutation::Mutation;
use crate::record::{HeaderSeal, Stamp};
use crate::segment::SegmentName;
use protocol::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Files kept open for reading; each takes up to two descriptors.
const OPEN_FILES_MAX: usize = 128;

/// What is known of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number.
    pub number: u32,
    /// Its length as far as it counts, in bytes.
    pub bytes: u64,
    /// Whether it is never written again.
    pub sealed: bool,
    /// Whether a write or sync of it failed (law 12).
    pub poisoned: bool,
}

pub(crate) struct Catalog<D: Disk> {
    pub disk: D,
    pub seal: HeaderSeal,
    pub config: LogConfig,
    state: Mutex<State<D::File>>,
}

struct State<F> {
    segments: BTreeMap<u32, Entry<F>>,
    /// Counts uses, so that the file unused for longest is closed first.
    uses: u64,
}

struct Entry<F> {
    name: SegmentName,
    end: u64,
    sealed: bool,
    file: Option<(Arc<F>, u64)>,
}

impl<D: Disk> Catalog<D> {
    pub(crate) fn new(disk: D, stamp: Stamp, config: LogConfig) -> Catalog<D> {
        let crc_ignored = config.planted(Mutation::HeaderCrcIgnored);
        let seal = HeaderSeal::new(stamp, crc_ignored, config.planted(Mutation::PositionIgnored));
        let state = Mutex::new(State { segments: BTreeMap::new(), uses: 0 });
        Catalog { disk, seal, config, state }
    }

    pub(crate) fn sync_names(&self) -> io::Result<()> {
        if self.config.planted(Mutation::NoDirectoryFsync) { Ok(()) } else { self.disk.sync_dir() }
    }

    /// The error for what the disk did not do.
    pub(crate) fn unavailable(&self, what: &str, error: io::Error) -> Error {
        Error::caused(ErrorKind::Unavailable, format!("{}: {what}: {error}", self.config.name), error)
    }

    /// The error for what there is no room for.
    pub(crate) fn full(&self, what: &str) -> Error {
        Error::full(format!("{}: {what}", self.config.name))
    }

    /// A panic never leaves the state half changed, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State<D::File>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, name: SegmentName, end: u64, sealed: bool) {
        let entry = Entry { name, end, sealed, file: None };
        let before = self.lock().segments.insert(name.number, entry);
        assert!(before.is_none(), "segment numbers are used once");
    }

    /// Adds the segment that is about to be written; its file stays open while it is in use.
    pub(crate) fn add_open(&self, number: u32, end: u64, file: Arc<D::File>) {
        self.add(SegmentName { number, poisoned_at: None }, end, false);
        let mut state = self.lock();
        state.uses += 1;
        let uses = state.uses;
        if let Some(entry) = state.segments.get_mut(&number) {
            entry.file = Some((file, uses));
        }
        state.close_unused();
    }

    pub(crate) fn forget(&self, number: u32) {
        self.lock().segments.remove(&number);
    }

    /// Everything before `end` is durable.
    pub(crate) fn set_end(&self, number: u32, end: u64) {
        self.change(number, |entry| entry.end = end);
    }

    pub(crate) fn set_sealed(&self, number: u32, end: u64) {
        self.change(number, |entry| {
            entry.end = end;
            entry.sealed = true;
        });
    }

    /// The segment is never written again, and no more of it counts than does now. The file's name follows.
    pub(crate) fn set_poisoned(&self, number: u32) {
        self.change(number, |entry| {
            entry.sealed = true;
            entry.name.poisoned_at = Some(u32::try_from(entry.end).expect("segments are shorter than 4 GiB"));
        });
    }

    fn change(&self, number: u32, change: impl FnOnce(&mut Entry<D::File>)) {
        change(self.lock().segments.get_mut(&number).expect("the writer's segments are in the catalog"));
    }

    /// Gives a poisoned segment's file the name that says so, unless it has it.
    pub(crate) fn rename_poisoned(&self, number: u32) -> io::Result<()> {
        let state = self.lock();
        let entry = state.segments.get(&number).expect("a poisoned segment stays until it is renamed");
        let plain = SegmentName { number, poisoned_at: None };
        match self.disk.rename(&plain.text(), &entry.name.text()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    pub(crate) fn file_name(&self, number: u32) -> Option<String> {
        self.lock().segments.get(&number).map(|entry| entry.name.text())
    }

    pub(crate) fn info(&self, number: u32) -> Option<SegmentInfo> {
        self.lock().segments.get(&number).map(|entry| entry.info())
    }

    /// The first segment at or after `number`.
    pub(crate) fn next(&self, number: u32) -> Option<SegmentInfo> {
        self.lock().segments.range(number..).next().map(|(_, entry)| entry.info())
    }

    pub(crate) fn last_number(&self) -> Option<u32> {
        self.lock().segments.last_key_value().map(|(number, _)| *number)
    }

    pub(crate) fn infos(&self) -> Vec<SegmentInfo> {
        self.lock().segments.values().map(Entry::info).collect()
    }

    /// The open file of a segment; `NotFound` if there is no such segment.
    pub(crate) fn file(&self, number: u32) -> Result<Arc<D::File>> {
        let mut state = self.lock();
        state.uses += 1;
        let uses = state.uses;
        let entry = state
            .segments
            .get_mut(&number)
            .ok_or_else(|| Error::not_found(format!("{}: segment {number} is gone", self.config.name)))?;
        if let Some((file, used)) = &mut entry.file {
            *used = uses;
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(self.open_file(entry.name, number)?);
        entry.file = Some((Arc::clone(&file), uses));
        state.close_unused();
        Ok(file)
    }

    fn open_file(&self, name: SegmentName, number: u32) -> Result<D::File> {
        let plain = SegmentName { number, poisoned_at: None };
        // A segment poisoned just now may still have its plain name.
        let opened = match self.disk.open(&name.text(), Access::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && name != plain => {
                self.disk.open(&plain.text(), Access::Read)
            }
            outcome => outcome,
        };
        opened.map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Unavailable,
            };
            Error::caused(kind, format!("{}: open segment {number}: {error}", self.config.name), error)
        })
    }
}

impl<F> State<F> {
    fn close_unused(&mut self) {
        let open = |entry: &Entry<F>| entry.file.as_ref().map(|(_, used)| *used);
        if self.segments.values().filter_map(open).count() <= OPEN_FILES_MAX {
            return;
        }
        if let Some(entry) =
            self.segments.values_mut().filter(|entry| entry.file.is_some()).min_by_key(|entry| open(entry))
        {
            entry.file = None;
        }
    }
}

impl<F> Entry<F> {
    fn info(&self) -> SegmentInfo {
        SegmentInfo {
            number: self.name.number,
            bytes: self.end,
            sealed: self.sealed,
            poisoned: self.name.poisoned_at.is_some(),
        }
    }
}
