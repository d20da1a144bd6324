//! Counts kept beside the index: how many shards live, and how many bytes of each segment are still needed.
//!
//! What it keeps true: the counts are what counting all entries anew would give. They say when to compact a segment; they are
//! never a reason to remove one (`compaction.rs` looks at every record).

use super::entry::Entry;
use segments::SegmentInfo;
use std::collections::HashMap;

/// The counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Live shards.
    pub shards: u64,
    /// Their bytes.
    pub live_bytes: u64,
    /// Tombstones.
    pub tombstones: u64,
    needed_bytes: HashMap<u32, u64>,
}

impl Census {
    /// An id's entry changed.
    pub fn replace(&mut self, old: Option<Entry>, new: Entry) {
        if let Some(old) = old {
            // What was looked up before an index was rebuilt may not have been found again: hence saturating.
            let bytes = self.needed_bytes.entry(old.location.position.segment).or_default();
            *bytes = bytes.saturating_sub(old.location.stored_bytes());
            let count = self.count(old.live);
            *count = count.saturating_sub(1);
            if old.live {
                self.live_bytes = self.live_bytes.saturating_sub(u64::from(old.location.length));
            }
        }
        *self.needed_bytes.entry(new.location.position.segment).or_default() += new.location.stored_bytes();
        *self.count(new.live) += 1;
        if new.live {
            self.live_bytes += u64::from(new.location.length);
        }
    }

    /// Bytes of a segment's records that the index names.
    pub fn needed_bytes(&self, segment: u32) -> u64 {
        self.needed_bytes.get(&segment).copied().unwrap_or(0)
    }

    /// A segment that is missing, or holds less than is needed of it.
    pub fn lost_segment(&self, segments: &[SegmentInfo]) -> Option<u32> {
        let bytes: HashMap<u32, u64> = segments.iter().map(|segment| (segment.number, segment.bytes)).collect();
        let lost = |number: &u32, needed: u64| needed > bytes.get(number).copied().unwrap_or(0);
        self.needed_bytes.iter().find(|(number, needed)| lost(number, **needed)).map(|(number, _)| *number)
    }

    /// A segment was removed.
    pub fn forget(&mut self, segment: u32) {
        self.needed_bytes.remove(&segment);
    }

    fn count(&mut self, live: bool) -> &mut u64 {
        if live { &mut self.shards } else { &mut self.tombstones }
    }
}
