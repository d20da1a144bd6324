//! The last groups, in memory, bounded: what a lane that keeps up sends.

use protocol::{JOURNAL_APPEND_BYTES_MAX, JournalEntry};
use std::collections::VecDeque;

pub(super) struct Ring {
    entries: VecDeque<JournalEntry>,
    bytes: usize,
    bytes_max: usize,
}

impl Ring {
    pub fn new(bytes_max: usize) -> Ring {
        Ring { entries: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds the group behind the last one; the oldest go where there are too many.
    pub fn push(&mut self, entry: JournalEntry) {
        if self.entries.back().is_some_and(|last| last.mark.sequence + 1 != entry.mark.sequence) {
            self.entries.clear();
            self.bytes = 0;
        }
        self.bytes += entry.frame().len();
        self.entries.push_back(entry);
        while self.bytes > self.bytes_max && self.entries.len() > 1 {
            self.bytes -= self.entries.pop_front().map_or(0, |entry| entry.frame().len());
        }
    }

    /// Groups from `from` on, at least one, as many as one append takes; `None` if that one is not here.
    pub fn from(&self, from: u64) -> Option<Vec<JournalEntry>> {
        let first = self.entries.front()?.mark.sequence;
        let skipped = usize::try_from(from.checked_sub(first)?).ok()?;
        let mut bytes = 0;
        let fits = |entry: &&JournalEntry| {
            bytes += entry.frame().len();
            bytes <= JOURNAL_APPEND_BYTES_MAX || bytes == entry.frame().len()
        };
        let entries: Vec<JournalEntry> = self.entries.iter().skip(skipped).take_while(fits).cloned().collect();
        (!entries.is_empty()).then_some(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::JournalMark;

    fn entry(sequence: u64, bytes: usize) -> JournalEntry {
        JournalEntry::new(JournalMark { epoch: 1, sequence }, 1, 1, &[], &vec![0; bytes])
    }

    #[test]
    fn the_oldest_go_first_and_the_last_one_stays() {
        let mut ring = Ring::new(1000);
        (1..=9).for_each(|sequence| ring.push(entry(sequence, 200)));
        assert!(ring.from(5).is_none());
        assert_eq!(ring.from(7).unwrap().len(), 3);
        assert!(ring.from(10).is_none());
        ring.push(entry(10, 4000));
        assert_eq!(ring.from(10).unwrap().len(), 1);
        ring.push(entry(20, 10));
        assert!(ring.from(10).is_none(), "a gap begins it anew");
    }
}
