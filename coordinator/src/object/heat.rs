//! How much versions are read whose class follows that.
//!
//! What it keeps true:
//! - Memory is bounded: beyond [`VERSIONS_MAX`] versions, reads of others are not counted until the worker has noted these.
//! - Others cost nothing here. What was not noted yet when a process ends is not counted: heat decides where bytes lie, never what they say.

use crate::metadata::records::{VersionId, VersionRecord};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Versions whose reads are counted at once.
const VERSIONS_MAX: usize = 65_536;

/// Reads that nobody has noted yet. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Heat {
    milli_reads: Arc<Mutex<HashMap<VersionId, u64>>>,
}

impl Heat {
    /// Counts a read. What counts is how often the bytes are read: a range counts for its share of the whole.
    pub(super) fn count(&self, version: &VersionRecord, range: &Range<u64>) {
        if !version.tiered || range.is_empty() {
            return;
        }
        let share = u128::from(range.end - range.start) * 1_000 / u128::from(version.size.max(1));
        let mut reads = self.reads();
        if reads.len() < VERSIONS_MAX || reads.contains_key(&version.id) {
            *reads.entry(version.id).or_default() += share as u64;
        }
    }

    /// What was counted of so many versions at most, in thousandths of a read; it is not counted any more.
    pub fn take(&self, most: usize) -> Vec<(VersionId, u64)> {
        let mut reads = self.reads();
        let some: Vec<VersionId> = reads.keys().take(most).copied().collect();
        some.into_iter().filter_map(|id| reads.remove_entry(&id)).collect()
    }

    fn reads(&self) -> MutexGuard<'_, HashMap<VersionId, u64>> {
        self.milli_reads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::marker::sample;
    use super::*;

    #[test]
    fn a_range_counts_for_its_share_and_what_is_not_tiered_for_nothing() {
        let heat = Heat::default();
        let version = VersionRecord { size: 1_000, tiered: true, ..sample() };
        heat.count(&version, &(0..1_000));
        heat.count(&version, &(500..750));
        heat.count(&version, &(0..0));
        heat.count(&VersionRecord { tiered: false, ..version.clone() }, &(0..1_000));
        assert_eq!(heat.take(9), [(version.id, 1_250)]);
        assert!(heat.take(9).is_empty());
    }
}
