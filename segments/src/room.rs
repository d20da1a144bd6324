//! Makes segments, and keeps one to spare.
//!
//! What it keeps true:
//! - A segment is used only when its file, its room, its header and its name are durable.
//! - Ordinary data gets a segment only while a spare one is held, so that what makes room (tombstones, compaction) finds some on
//!   a full disk, be it bytes or inodes that are lacking.
//! - What could not be made costs its number and nothing else: the next try may succeed.

use crate::catalog::Catalog;
use crate::disk::{Access, Disk, DiskFile, is_full};
use crate::segment::{RESERVE, SegmentName};
use crate::writer::SegmentWriter;
use protocol::Result;
use std::io;
use std::sync::Arc;

/// What an append is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// New data: refused when the disk is nearly full.
    Data,
    /// What makes room in the end (tombstones, compaction): may use the spare segment.
    Reclaim,
}

pub(crate) struct Room<D: Disk> {
    catalog: Arc<Catalog<D>>,
    next_number: u32,
    has_reserve: bool,
}

impl<D: Disk> Room<D> {
    pub(crate) fn new(catalog: Arc<Catalog<D>>, next_number: u32, has_reserve: bool) -> Room<D> {
        Room { catalog, next_number, has_reserve }
    }

    pub(crate) fn next_number(&self) -> u32 {
        self.next_number
    }

    pub(crate) fn has_reserve(&self) -> bool {
        self.has_reserve
    }

    /// Bytes of segments that ordinary data may still make.
    pub(crate) fn free_bytes(&self) -> u64 {
        let config = &self.catalog.config;
        let kept = config.free_floor_bytes + if self.has_reserve { 0 } else { config.segment_bytes };
        self.catalog.disk.free_bytes().map_or(0, |free| free.saturating_sub(kept))
    }

    /// `Full` unless a spare segment is held.
    pub(crate) fn require_reserve(&mut self) -> Result<()> {
        if self.has_reserve || self.make_reserve()? {
            return Ok(());
        }
        Err(self.catalog.full("no room for a spare segment"))
    }

    /// Makes the spare segment if there is none; `false` if there is no room for it.
    pub(crate) fn make_reserve(&mut self) -> Result<bool> {
        if self.has_reserve {
            return Ok(true);
        }
        let make = || -> io::Result<()> {
            if self.catalog.disk.free_bytes()? < self.catalog.config.segment_bytes {
                return Err(io::ErrorKind::StorageFull.into());
            }
            // One that could not be removed when it failed.
            self.discard_file(RESERVE);
            let file = self.catalog.disk.create(RESERVE)?;
            file.allocate(self.catalog.config.segment_bytes)?;
            file.sync_data()?;
            self.catalog.sync_names()
        };
        match make() {
            Ok(()) => self.has_reserve = true,
            Err(error) => {
                self.discard_file(RESERVE);
                if !is_full(&error) {
                    return Err(self.catalog.unavailable("make the spare segment", error));
                }
            }
        }
        Ok(self.has_reserve)
    }

    /// Makes the next segment. On failure nothing has changed but that its number is not used again.
    pub(crate) fn begin_segment(&mut self, purpose: Purpose) -> Result<SegmentWriter<D::File>> {
        let number = self.next_number;
        let name = SegmentName { number, poisoned_at: None }.text();
        self.next_number += 1;
        let made = match self.create_file(&name, purpose) {
            Err(error) if is_full(&error) && purpose == Purpose::Reclaim && self.has_reserve => {
                self.take_reserve(&name)
            }
            outcome => outcome,
        };
        match made.and_then(|file| self.begin_in(file, number, &name)) {
            Ok(writer) => {
                self.catalog.add_open(number, writer.end(), Arc::clone(&writer.file));
                Ok(writer)
            }
            Err(error) if is_full(&error) => Err(self.catalog.full("no room for a segment")),
            Err(error) => Err(self.catalog.unavailable("begin a segment", error)),
        }
    }

    /// An empty file with room for a segment; none if that fails.
    fn create_file(&self, name: &str, purpose: Purpose) -> io::Result<D::File> {
        if purpose == Purpose::Data {
            let needed = self.catalog.config.segment_bytes + self.catalog.config.free_floor_bytes;
            if self.catalog.disk.free_bytes()? < needed {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let file = self.catalog.disk.create(name)?;
        file.allocate(self.catalog.config.segment_bytes).inspect_err(|_| self.discard_file(name))?;
        Ok(file)
    }

    /// Header and name, durable; no file if that fails.
    fn begin_in(&self, file: D::File, number: u32, name: &str) -> io::Result<SegmentWriter<D::File>> {
        let begun = SegmentWriter::begin(file, &self.catalog.seal, number);
        let begun = begun.and_then(|writer| self.catalog.sync_names().map(|()| writer));
        begun.inspect_err(|_| self.discard_file(name))
    }

    fn take_reserve(&mut self, name: &str) -> io::Result<D::File> {
        // Opened first: where no file can be opened it is still there for the next try.
        let file = self.catalog.disk.open(RESERVE, Access::Write)?;
        self.catalog.disk.rename(RESERVE, name)?;
        self.has_reserve = false;
        tracing::warn!(log = self.catalog.config.name, "disk full: the spare segment is in use");
        Ok(file)
    }

    /// Removes a file that never counted, as far as that is possible.
    fn discard_file(&self, name: &str) {
        match self.catalog.disk.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(log = self.catalog.config.name, file = name, %error, "cannot remove a file that was not used");
            }
            _ => {}
        }
    }
}
