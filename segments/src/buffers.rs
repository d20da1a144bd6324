//! Memory for bytes on their way, used again and again: what is read from a disk or a socket, and what of a client's body waits
//! to be stored.
//!
//! Why not the allocator: blocks of this size that one thread takes and another frees were kept by it in five to ten times the
//! bytes in use (measured: 755 MiB for 100), and each fresh one costs the kernel's zeroing of its pages.
//!
//! What it keeps true:
//! - A buffer is handed to one holder at a time; when the last [`Bytes`] made of it is gone it can be taken again.
//! - What lies here unused is bounded by [`KEPT_BYTES_MAX`]; what came last stays, so that the sizes kept are those in use. What is in use is
//!   bounded by whoever takes it.
//! - Buffers are block-aligned, and never longer than asked for.

use crate::blocks::AlignedMemory;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of unused buffers that are kept.
pub const KEPT_BYTES_MAX: usize = 12 << 20;
/// Shorter ones are the allocator's business.
const POOLED_BYTES_MIN: usize = 16 << 10;
/// The longest kept.
const POOLED_BYTES_MAX: usize = 4 << 20;
/// Sizes: 16 KiB and 24 KiB, and each doubling of them up to the longest.
const CLASSES: usize = 17;

static UNUSED: Mutex<Unused> = Mutex::new(Unused::NONE);

/// Buffers that nobody holds.
struct Unused {
    bytes: usize,
    /// What was given back last is at the end.
    buffers: VecDeque<AlignedMemory>,
}

/// Memory of a length, filled from its front.
#[derive(Debug)]
pub struct Buffer {
    memory: Option<AlignedMemory>,
    length: usize,
    filled: usize,
}

/// A buffer for `length` bytes.
pub fn take(length: usize) -> Buffer {
    let memory = match class_of(length).map(class_bytes) {
        Some(bytes) => {
            let kept = unused().take(bytes);
            kept.unwrap_or_else(|| AlignedMemory::new(bytes))
        }
        None => AlignedMemory::new(length),
    };
    Buffer { memory: Some(memory), length, filled: 0 }
}

fn unused() -> MutexGuard<'static, Unused> {
    UNUSED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The smallest size that holds `length` bytes.
fn class_of(length: usize) -> Option<usize> {
    if !(POOLED_BYTES_MIN..=POOLED_BYTES_MAX).contains(&length) {
        return None;
    }
    (0..CLASSES).find(|class| class_bytes(*class) >= length)
}

fn class_bytes(class: usize) -> usize {
    let base = if class.is_multiple_of(2) { POOLED_BYTES_MIN } else { POOLED_BYTES_MIN / 2 * 3 };
    base << (class / 2)
}

impl Buffer {
    /// What is still to be filled.
    pub fn room(&mut self) -> &mut [u8] {
        let (from, to) = (self.filled, self.length);
        &mut self.memory.as_mut().expect("there until it is dropped").slice_mut(to)[from..]
    }

    /// The first `count` bytes of the room are filled now.
    pub fn advance(&mut self, count: usize) {
        assert!(self.filled + count <= self.length, "no more is filled than there is room");
        self.filled += count;
    }

    /// Fills in as many of `bytes` as there is room for; returns the others.
    pub fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let count = bytes.len().min(self.length - self.filled);
        self.room()[..count].copy_from_slice(&bytes[..count]);
        self.filled += count;
        &bytes[count..]
    }

    /// What is filled.
    pub fn filled(&self) -> &[u8] {
        self.memory.as_ref().expect("there until it is dropped").slice(self.filled)
    }

    /// Whether there is no room left.
    pub fn is_full(&self) -> bool {
        self.filled == self.length
    }

    /// What is filled, to be shared.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.filled()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(memory) = self.memory.take() else { return };
        if class_of(memory.capacity()).is_some() {
            // Freed after the lock is.
            let evicted = unused().keep(memory);
            drop(evicted);
        }
    }
}

impl Unused {
    const NONE: Unused = Unused { bytes: 0, buffers: VecDeque::new() };

    /// The buffer of so many bytes that was given back last.
    fn take(&mut self, bytes: usize) -> Option<AlignedMemory> {
        let last = self.buffers.iter().rposition(|memory| memory.capacity() == bytes)?;
        self.bytes -= bytes;
        self.buffers.remove(last)
    }

    /// Keeps this buffer in place of those that nobody took for longest, where there are too many; returns these.
    fn keep(&mut self, memory: AlignedMemory) -> Vec<AlignedMemory> {
        let mut evicted = Vec::new();
        self.bytes += memory.capacity();
        self.buffers.push_back(memory);
        while self.bytes > KEPT_BYTES_MAX
            && let Some(oldest) = self.buffers.pop_front()
        {
            self.bytes -= oldest.capacity();
            evicted.push(oldest);
        }
        evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_has_the_length_asked_for_and_is_used_by_one_holder_at_a_time() {
        for length in [0, 1, 4096, POOLED_BYTES_MIN, 100_000, POOLED_BYTES_MAX, POOLED_BYTES_MAX + 1] {
            let mut first = take(length);
            assert_eq!(first.room().len(), length);
            assert_eq!(first.fill(&vec![1; length + 3]).len(), 3);
            assert!(first.is_full());
            let shared = first.freeze();
            let slice = shared.slice(length / 2..);
            drop(shared);
            let mut second = take(length);
            second.fill(&vec![2; length]);
            assert!(slice.iter().all(|byte| *byte == 1), "still held");
            assert!(second.filled().iter().all(|byte| *byte == 2));
        }
    }

    #[test]
    fn sizes_cover_all_lengths_and_waste_at_most_a_half() {
        assert_eq!(class_bytes(CLASSES - 1), POOLED_BYTES_MAX);
        for length in (POOLED_BYTES_MIN..=POOLED_BYTES_MAX).step_by(4001) {
            let bytes = class_bytes(class_of(length).unwrap());
            assert!(bytes >= length && bytes <= length + length / 2 + 1, "{length}: {bytes}");
        }
    }

    #[test]
    fn what_is_kept_unused_is_bounded_and_of_the_sizes_that_came_last() {
        let mut unused = Unused::NONE;
        for length in [64 << 10, 1 << 20, 24 << 10, POOLED_BYTES_MAX, 16 << 10] {
            for _ in 0..=KEPT_BYTES_MAX / length {
                drop(unused.keep(AlignedMemory::new(length)));
                assert_eq!(unused.bytes, unused.buffers.iter().map(AlignedMemory::capacity).sum::<usize>());
                assert!(unused.bytes <= KEPT_BYTES_MAX);
            }
            assert!(unused.buffers.iter().all(|memory| memory.capacity() == length), "what came last is kept");
            assert_eq!(unused.take(length).map(|memory| memory.capacity()), Some(length));
            assert!(unused.take(length + 1).is_none());
        }
    }
}
