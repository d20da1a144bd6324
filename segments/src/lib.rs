//! The append-only, checksummed, fsynced log engine under the storage node's shards and the coordinator's commit log.
//!
//! A log is a directory of segment files ([`SegmentLog`]), each a row of records (their bytes: `record.rs`; the files: `segment.rs`).
//! Owners keep an index of their own over it; the log is what that index is rebuilt from.
//!
//! What it keeps true:
//! - An append that answered `Ok` is durable, names of files included, and every later open finds it (law 1).
//! - A record is found whole, at its own place, or not at all; a bad one costs only itself (law 6).
//! - A segment whose write or fsync failed is never written or synced again, and nothing of the failed append counts (law 12).
//! - Only this crate syncs, renames or removes files; small ones through [`durable`].

mod blocks;
pub mod buffers;
mod catalog;
mod config;
mod disk;
pub mod durable;
mod group;
mod inspect;
mod log;
mod mutation;
pub mod names;
mod reader;
mod real_disk;
mod record;
mod recovery;
mod room;
mod scan;
mod segment;
#[cfg(feature = "sim")]
pub mod sim;
mod window;
mod writer;

pub use catalog::SegmentInfo;
pub use config::LogConfig;
pub use disk::{Access, BLOCK_BYTES, Disk, DiskFile, Source};
pub use group::{GroupCommit, GroupLimits};
pub use inspect::{Inspection, inspect};
pub use log::SegmentLog;
#[cfg(feature = "sim")]
pub use mutation::Mutation;
pub use reader::{ScanEnd, Scanned, SegmentReader};
pub use real_disk::{RealDisk, RealFile};
pub use record::{HEADER_BYTES, Kind, Location, PAYLOAD_BYTES_MAX, Position, Record, Stamp};
pub use recovery::{DamagedStretch, Recovered, RecoveryReport};
pub use room::Purpose;
