//! Which class a version should be of whose redundancy follows its size and how much it is read. Pure.
//!
//! What it keeps true: a version does not go back and forth: what was hot is cold only when a fraction of that is left.

use crate::metadata::records::{HeatRecord, StorageClass, VersionRecord};
use std::time::Duration;

/// Smaller versions stay in copies: a code would save little of them and make twice as many records. S3 draws the line here, too
/// (`TransitionDefaultMinimumObjectSize`).
pub const CODED_BYTES_MIN: u64 = 128 << 10;
/// Read less than this, in thousandths of a read that counts still, a version is cold.
const COLD_MILLI_READS: u64 = 1_000;

/// When the class of a version changes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiering {
    /// From the end of one look at all versions to the beginning of the next.
    pub interval: Duration,
    /// How old a version must be to be cold.
    pub cold_after: Duration,
    /// After this time a read counts for half.
    pub half_life: Duration,
    /// So many reads make a version hot.
    pub hot_reads: u32,
}

impl Tiering {
    /// A month to grow cold, days to be hot.
    pub const DEFAULT: Tiering = Tiering {
        interval: Duration::from_secs(900),
        cold_after: Duration::from_secs(30 * 86_400),
        half_life: Duration::from_secs(86_400),
        hot_reads: 8,
    };

    /// What of a count is left now, in thousandths of a read.
    pub fn left(&self, heat: HeatRecord, now_ms: u64) -> u64 {
        let half_lives = now_ms.saturating_sub(heat.at_ms) as f64 / self.half_life.as_millis().max(1) as f64;
        (heat.milli_reads as f64 * (-half_lives).exp2()) as u64
    }

    /// The class that a version should be of, and why, if that is another one; `large` is the length from which on a version is coded
    /// whatever its age.
    pub(super) fn verdict(
        &self,
        version: &VersionRecord,
        milli_reads: u64,
        large: u64,
        now_ms: u64,
    ) -> Option<(StorageClass, String)> {
        let reads = milli_reads as f64 / 1e3;
        match version.storage_class {
            StorageClass::StandardIa if milli_reads >= u64::from(self.hot_reads) * 1_000 => {
                Some((StorageClass::Standard, format!("hot: {reads:.1} reads that count")))
            }
            StorageClass::Standard if version.size >= CODED_BYTES_MIN && milli_reads < COLD_MILLI_READS => {
                let age_ms = now_ms.saturating_sub(version.created_ms);
                let is_old = u128::from(age_ms) >= self.cold_after.as_millis();
                let reason = match (version.size >= large, is_old) {
                    (true, _) => format!("large: {} bytes, {reads:.1} reads that count", version.size),
                    (false, true) => format!("cold: {} days old, {reads:.1} reads that count", age_ms / 86_400_000),
                    (false, false) => return None,
                };
                Some((StorageClass::StandardIa, reason))
            }
            StorageClass::Standard | StorageClass::StandardIa => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::sample_version;

    const DAY_MS: u64 = 86_400_000;
    const LARGE: u64 = 1 << 20;

    fn class_of(size: u64, class: StorageClass, reads: u64, age_days: u64) -> Option<StorageClass> {
        let sample = sample_version();
        let version = VersionRecord { size, storage_class: class, created_ms: 0, tiered: true, ..sample };
        Tiering::DEFAULT.verdict(&version, reads * 1_000, LARGE, age_days * DAY_MS).map(|(class, _)| class)
    }

    #[test]
    fn tiny_or_read_in_copies_large_or_cold_coded() {
        use StorageClass::{Standard, StandardIa};
        for (size, class, reads, age, expected) in [
            (LARGE, Standard, 0, 0, Some(StandardIa)),
            (LARGE, Standard, 1, 99, None),
            (LARGE - 1, Standard, 0, 29, None),
            (LARGE - 1, Standard, 0, 30, Some(StandardIa)),
            (CODED_BYTES_MIN - 1, Standard, 0, 999, None),
            (LARGE, StandardIa, 7, 0, None),
            (LARGE, StandardIa, 8, 0, Some(Standard)),
            (LARGE, StandardIa, 0, 999, None),
        ] {
            assert_eq!(class_of(size, class, reads, age), expected, "{size} {class:?} {reads} {age}");
        }
    }

    #[test]
    fn reads_fade() {
        let heat = HeatRecord { milli_reads: 8_000, at_ms: 5 };
        let tiering = Tiering::DEFAULT;
        assert_eq!(tiering.left(heat, 5), 8_000);
        assert_eq!(tiering.left(heat, 5 + DAY_MS), 4_000);
        assert_eq!(tiering.left(heat, 5 + 3 * DAY_MS), 1_000);
        assert_eq!(tiering.left(heat, 0), 8_000, "a clock that was set back");
        assert_eq!(tiering.left(heat, u64::MAX), 0);
    }
}
