//! How long reads of shards take, and so when one that has not answered is late: past the 95th percentile of the last ones, another
//! replica is asked as well ("The Tail at Scale", Dean and Barroso, 2013).
//!
//! What it keeps true: the answer costs a load; a note costs a store, and every [`RECOUNT_EVERY`]th a sort of [`WINDOW`] numbers.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// How many reads are remembered.
const WINDOW: usize = 128;
/// How many are noted between two counts.
const RECOUNT_EVERY: u64 = 16;
/// The percentile past which a read is late.
const PERCENTILE: usize = 95;
/// No read is late before this: asking twice costs more than waiting so long.
const LATE_US_MIN: u32 = 10_000;
/// After this every read is late, and so it is before anything is known.
const LATE_US_MAX: u32 = 150_000;

/// The last reads.
pub struct ReadTimes {
    recent_us: [AtomicU32; WINDOW],
    noted: AtomicU64,
    late_us: AtomicU32,
}

impl Default for ReadTimes {
    fn default() -> ReadTimes {
        ReadTimes {
            recent_us: std::array::from_fn(|_| AtomicU32::new(LATE_US_MAX)),
            noted: AtomicU64::new(0),
            late_us: AtomicU32::new(LATE_US_MAX),
        }
    }
}

impl ReadTimes {
    /// Takes note of a read that took so long.
    pub fn note(&self, took: Duration) {
        let took_us = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let noted = self.noted.fetch_add(1, Ordering::Relaxed);
        self.recent_us[noted as usize % WINDOW].store(took_us, Ordering::Relaxed);
        if noted % RECOUNT_EVERY == RECOUNT_EVERY - 1 {
            self.recount();
        }
    }

    /// Takes note of a read that was late and is not waited for alone any more. What it would have taken is not known; that it is
    /// twice what is late now makes that grow when more than one in twenty are late, and otherwise changes nothing.
    pub fn note_late(&self) {
        self.note(2 * self.late_after());
    }

    /// How long to wait for a read before another replica is asked.
    pub fn late_after(&self) -> Duration {
        Duration::from_micros(u64::from(self.late_us.load(Ordering::Relaxed)))
    }

    fn recount(&self) {
        let mut recent_us: [u32; WINDOW] = std::array::from_fn(|at| self.recent_us[at].load(Ordering::Relaxed));
        let (_, late_us, _) = recent_us.select_nth_unstable(WINDOW * PERCENTILE / 100);
        self.late_us.store((*late_us).clamp(LATE_US_MIN, LATE_US_MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn after(reads: impl Iterator<Item = Duration>) -> Duration {
        let times = ReadTimes::default();
        reads.for_each(|took| times.note(took));
        times.late_after()
    }

    #[test]
    fn late_is_what_one_in_twenty_exceeds() {
        assert_eq!(ReadTimes::default().late_after(), 150 * MS, "nothing is known");
        assert_eq!(after((0..1_280).map(|n| (n % 100) as u32 * MS)).as_millis() / 10, 9, "the 95th of 0 to 99 ms");
        assert_eq!(after((0..1_280).map(|_| MS / 2)), 10 * MS, "fast reads are waited for a little");
        assert_eq!(after((0..1_280).map(|_| 900 * MS)), 150 * MS, "slow ones not for ever");
        assert_eq!(
            after((0..1_280).map(|n| if n % 50 == 0 { 5_000 * MS } else { 12 * MS })),
            12 * MS,
            "2 % do not count"
        );
    }

    #[test]
    fn what_is_late_too_often_is_late_later() {
        let times = ReadTimes::default();
        (0..WINDOW).for_each(|_| times.note(20 * MS));
        assert_eq!(times.late_after(), 20 * MS);
        for n in 0..WINDOW {
            if n % 5 == 0 { times.note_late() } else { times.note(20 * MS) }
        }
        assert!(times.late_after() >= 40 * MS, "{:?} although one in five was late", times.late_after());
    }
}
