//! A moving, block-aligned view of a file, for those who read it from front to back.

use crate::blocks::AlignedMemory;
use crate::disk::{BLOCK_BYTES, DiskFile, Source};
use std::io;

/// Bytes read ahead at most, unless one record is longer.
const READ_BYTES_MAX: u64 = 2 << 20;
/// Read-ahead where only headers are wanted and records are small.
const READ_BYTES_HEADERS: u64 = 256 << 10;
/// From this stride on, hopping from header to header reads single blocks.
const STRIDE_BYTES_LONG: u64 = 64 << 10;

pub(crate) struct Window<'a, F> {
    file: &'a F,
    /// No byte from here on is asked for.
    end: u64,
    memory: AlignedMemory,
    start: u64,
    length: usize,
    read_bytes: u64,
    read_bytes_max: u64,
}

impl<'a, F: DiskFile> Window<'a, F> {
    pub(crate) fn new(file: &'a F, end: u64) -> Window<'a, F> {
        let read_bytes_max = READ_BYTES_MAX.min(end.next_multiple_of(BLOCK_BYTES)).max(BLOCK_BYTES);
        let memory = AlignedMemory::new(0);
        Window { file, end, memory, start: 0, length: 0, read_bytes: read_bytes_max, read_bytes_max }
    }

    /// Tells that the next read is for a header about `stride` bytes further on, and that nothing between is wanted.
    pub(crate) fn expect_stride(&mut self, stride: u64) {
        self.read_bytes_max = if stride >= STRIDE_BYTES_LONG { BLOCK_BYTES } else { READ_BYTES_HEADERS };
        self.read_bytes = self.read_bytes_max;
    }

    /// Tells that everything is wanted.
    pub(crate) fn expect_all(&mut self) {
        self.read_bytes_max = READ_BYTES_MAX;
    }

    /// The bytes from `at` on: at least `need`, and what else is at hand. An error costs no more than the blocks needed.
    pub(crate) fn bytes(&mut self, at: u64, need: usize) -> io::Result<&[u8]> {
        if at < self.start || at + need as u64 > self.start + self.length as u64 {
            self.fill(at, need)?;
        }
        let from = (at - self.start) as usize;
        Ok(&self.memory.slice(self.length)[from..])
    }

    fn fill(&mut self, at: u64, need: usize) -> io::Result<()> {
        let start = at - at % BLOCK_BYTES;
        let needed = (at + need as u64).next_multiple_of(BLOCK_BYTES) - start;
        let wanted = self.read_bytes.max(needed).min((self.end.next_multiple_of(BLOCK_BYTES) - start).max(needed));
        let filled = match self.read(start, wanted) {
            // Somewhere in it is a bad block: read less until it is passed, so that it costs only itself.
            Err(_) if wanted > needed => {
                self.read_bytes = BLOCK_BYTES;
                self.read(start, needed)
            }
            outcome => {
                self.read_bytes = (self.read_bytes * 2).min(self.read_bytes_max);
                outcome
            }
        };
        if let Err(error) = filled {
            self.length = 0;
            return Err(error);
        }
        if at + need as u64 > self.start + self.length as u64 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than it was"));
        }
        Ok(())
    }

    /// Moves the view to `start`, keeping what it holds already of the new stretch.
    fn read(&mut self, start: u64, wanted: u64) -> io::Result<()> {
        let held_end = self.start + self.length as u64;
        let keep = start >= self.start && start < held_end && held_end.is_multiple_of(BLOCK_BYTES);
        let kept = if keep { (held_end - start).min(wanted) as usize } else { 0 };
        let wanted = wanted as usize;
        if self.memory.capacity() < wanted {
            let mut larger = AlignedMemory::new(wanted);
            let from = (start.wrapping_sub(self.start)) as usize;
            if kept > 0 {
                larger.slice_mut(kept).copy_from_slice(&self.memory.slice(self.length)[from..from + kept]);
            }
            self.memory = larger;
        } else if kept > 0 {
            let from = (start - self.start) as usize;
            self.memory.slice_mut(self.length).copy_within(from..from + kept, 0);
        }
        (self.start, self.length) = (start, kept);
        let target = &mut self.memory.slice_mut(wanted)[kept..];
        let read = self.file.read_at(target, start + kept as u64, Source::Device)?;
        let limit = (self.end - start.min(self.end)) as usize;
        self.length = (kept + read).min(limit.max(kept));
        Ok(())
    }
}
