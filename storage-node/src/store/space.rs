//! How much more a node accepts. What is kept back belongs to tombstones, compaction and the index, so that a full node can
//! still delete, and becomes writable again by itself.

use segments::{Disk, SegmentLog};
use std::time::{Duration, Instant};

/// The filesystem is asked this often at most.
const MEASURE_INTERVAL: Duration = Duration::from_secs(1);
/// Below this much room a node calls itself full: a large shard might not fit.
const FULL_BYTES: u64 = protocol::SHARD_BYTES_MAX as u64;

/// What the operator allows, and what the filesystem has.
#[derive(Debug)]
pub(super) struct Space {
    limits: SpaceLimits,
    measured_at: Option<Instant>,
    capacity_bytes: u64,
    reserve_bytes: u64,
    free_bytes: u64,
}

/// What the operator allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpaceLimits {
    /// 0 = what the filesystem has.
    pub capacity_bytes: u64,
    /// 0 = two segments or 1 %.
    pub reserve_bytes: u64,
    pub segment_bytes: u64,
}

impl Space {
    pub(super) fn new(limits: SpaceLimits) -> Space {
        Space { limits, measured_at: None, capacity_bytes: 0, reserve_bytes: 0, free_bytes: 0 }
    }

    /// Whether this many bytes of new records may be appended; if so they are counted.
    pub(super) fn admit<D: Disk>(&mut self, bytes: u64, log: &SegmentLog<D>) -> bool {
        if self.free_bytes < bytes {
            self.measure(log);
        }
        if self.free_bytes < bytes {
            return false;
        }
        self.free_bytes -= bytes;
        true
    }

    /// Asks the filesystem again, unless that was done a moment ago.
    pub(super) fn measure<D: Disk>(&mut self, log: &SegmentLog<D>) {
        if self.measured_at.is_some_and(|then| then.elapsed() < MEASURE_INTERVAL) {
            return;
        }
        self.measured_at = Some(Instant::now());
        let (used, on_disk) = (log.used_bytes(), log.free_bytes());
        let there_is = used.saturating_add(on_disk);
        let SpaceLimits { capacity_bytes: limit, reserve_bytes, segment_bytes } = self.limits;
        self.capacity_bytes = if limit == 0 { there_is } else { limit.min(there_is) };
        let reserve =
            if reserve_bytes == 0 { (2 * segment_bytes).max(self.capacity_bytes / 100) } else { reserve_bytes };
        self.reserve_bytes = reserve;
        // The log's spare segment is a part of the reserve that the filesystem counts as used already.
        let spare = if log.has_reserve() { segment_bytes.min(reserve) } else { 0 };
        let under_limit = if limit == 0 { u64::MAX } else { limit.saturating_sub(used).saturating_sub(reserve) };
        self.free_bytes = under_limit.min(on_disk.saturating_sub(reserve - spare));
    }

    /// Something changed that a measurement a moment ago does not know.
    pub(super) fn forget_measurement(&mut self) {
        self.measured_at = None;
    }

    /// The log said that there is no room.
    pub(super) fn set_full(&mut self) {
        self.free_bytes = 0;
        self.measured_at = Some(Instant::now());
    }

    pub(super) fn is_full(&self) -> bool {
        self.free_bytes < FULL_BYTES.min(self.limits.segment_bytes)
    }

    pub(super) fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes
    }

    /// What is kept back, in bytes.
    pub(super) fn reserve_bytes(&self) -> u64 {
        self.reserve_bytes
    }

    pub(super) fn free_bytes(&self) -> u64 {
        self.free_bytes
    }
}
