//! The seam between the log and its disk: a directory of files, as few calls as the log needs. Its second user is the
//! simulated disk of the crash tests.
//!
//! What every implementation keeps true:
//! - Bytes written, and changes of length, last through a power cut only after [`DiskFile::sync_data`] answered `Ok`.
//! - Files made, renamed or removed last through a power cut only after [`Disk::sync_dir`] answered `Ok`.
//! - After a failed `sync_data` nothing is known of what it should have made durable, whatever a later one answers.

use std::io;

/// Files are read and written in blocks of this many bytes where it matters for speed.
pub const BLOCK_BYTES: u64 = 4096;

/// Where a read may take its bytes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Anywhere; the page cache is best.
    Cache,
    /// The device where the filesystem allows it: recovery and scrub want to know what is really there, and large reads
    /// cost half as much so.
    Device,
}

/// How to open a file that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read (and sync).
    Read,
    /// To read and write.
    Write,
}

/// One directory of files with plain names.
pub trait Disk: Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;

    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes an empty file to read and write; `AlreadyExists` if there is one.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// Opens a file that exists.
    fn open(&self, name: &str, access: Access) -> io::Result<Self::File>;
    /// Renames a file.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file; those who have it open may go on reading.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// Bytes that could still be allocated.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// One file. Offsets are absolute; calls may come from many threads.
pub trait DiskFile: Send + Sync + 'static {
    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Reads until `buffer` is full or the file ends; how many bytes were read.
    fn read_at(&self, buffer: &mut [u8], offset: u64, source: Source) -> io::Result<usize>;
    /// The same if no I/O is needed for all of it; `None` if it would have to wait.
    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>>;
    /// Writes all of `bytes`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the file `length` bytes long, zeros where nothing was written, with room on disk for all of it.
    fn allocate(&self, length: u64) -> io::Result<()>;
    /// Cuts the file to `length` bytes.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Makes bytes and length durable.
    fn sync_data(&self) -> io::Result<()>;
}

/// Whether this error means that there is no room (bytes, inodes or quota).
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
