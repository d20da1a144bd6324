//! The one write buffer of a log: block-aligned memory, so that appends can go past the page cache without another copy.

use crate::disk::{BLOCK_BYTES, DiskFile};
use std::io;

/// Bytes gathered before a write, at most; the buffer lives as long as its log.
const BUFFER_BYTES_MAX: u64 = 1 << 20;
const BLOCK: usize = BLOCK_BYTES as usize;

/// Memory of which a block-aligned part is used. No `unsafe`: it is longer than needed, and the part is found by address.
#[derive(Debug)]
pub(crate) struct AlignedMemory {
    memory: Vec<u8>,
    start: usize,
}

impl AlignedMemory {
    pub(crate) fn new(length: usize) -> AlignedMemory {
        let memory = vec![0; length + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK);
        assert!(start <= BLOCK, "an aligned byte is never more than a block away");
        AlignedMemory { memory, start }
    }

    /// The first `length` aligned bytes.
    pub(crate) fn slice(&self, length: usize) -> &[u8] {
        &self.memory[self.start..self.start + length]
    }

    /// The first `length` aligned bytes.
    pub(crate) fn slice_mut(&mut self, length: usize) -> &mut [u8] {
        &mut self.memory[self.start..self.start + length]
    }

    /// How many aligned bytes there are.
    pub(crate) fn capacity(&self) -> usize {
        self.memory.len() - BLOCK
    }
}

/// Gathers bytes that go to consecutive offsets of one file, and writes them in whole blocks.
#[derive(Debug)]
pub(crate) struct Blocks {
    memory: AlignedMemory,
    /// The offset in the file of the first gathered byte; a multiple of a block.
    offset: u64,
    used: usize,
}

impl Blocks {
    /// A buffer for segments of this length.
    pub(crate) fn new(segment_bytes: u64) -> Blocks {
        Blocks { memory: AlignedMemory::new(BUFFER_BYTES_MAX.min(segment_bytes) as usize), offset: 0, used: 0 }
    }

    /// Begins with the bytes that the file's last, partly filled block holds already.
    pub(crate) fn begin(&mut self, tail: &[u8], tail_offset: u64) {
        assert!(tail.len() < BLOCK && tail_offset.is_multiple_of(BLOCK_BYTES), "a tail is part of one block");
        self.offset = tail_offset;
        self.used = tail.len();
        self.memory.slice_mut(tail.len()).copy_from_slice(tail);
    }

    /// The file offset that the next byte goes to.
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.used as u64
    }

    pub(crate) fn put(&mut self, mut bytes: &[u8], file: &impl DiskFile) -> io::Result<()> {
        while !bytes.is_empty() {
            let capacity = self.memory.capacity();
            let count = bytes.len().min(capacity - self.used);
            self.memory.slice_mut(capacity)[self.used..self.used + count].copy_from_slice(&bytes[..count]);
            self.used += count;
            bytes = &bytes[count..];
            if self.used == capacity {
                file.write_at(self.memory.slice(capacity), self.offset)?;
                self.offset += capacity as u64;
                self.used = 0;
            }
        }
        Ok(())
    }

    /// Zeros up to the next multiple of `align`.
    pub(crate) fn pad(&mut self, align: u64, file: &impl DiskFile) -> io::Result<()> {
        let zeros = [0; 8];
        let count = self.end().next_multiple_of(align) - self.end();
        self.put(&zeros[..count as usize], file)
    }

    /// Writes what is gathered, the last block filled up with zeros; `tail` gets what that block holds.
    pub(crate) fn finish(&mut self, tail: &mut Vec<u8>, file: &impl DiskFile) -> io::Result<()> {
        let whole = self.used.next_multiple_of(BLOCK);
        self.memory.slice_mut(whole)[self.used..].fill(0);
        if whole > 0 {
            file.write_at(self.memory.slice(whole), self.offset)?;
        }
        let kept = self.used % BLOCK;
        tail.clear();
        tail.extend_from_slice(&self.memory.slice(self.used)[self.used - kept..]);
        Ok(())
    }
}
