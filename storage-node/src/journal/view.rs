//! Which entries of a journal count, kept in a few numbers: runs of epochs, and where a scan for an entry begins.
//!
//! What it keeps true:
//! - From `first` to `last` every entry is there; adding one of another epoch forgets all behind it.
//! - A start that reads the log from its beginning comes to the same view as the appends did, whatever a removal of old segments, a
//!   damaged record or an entry that was replaced left there.

use protocol::{JournalClaim, JournalEntry, JournalMark};
use segments::Position;
use uuid::Uuid;

/// What counts.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub claim: JournalClaim,
    pub whole_from: u64,
    /// The last entry it had when it had to begin anew; none if it never had to.
    pub promised: JournalMark,
    /// The first entry that can be read.
    begin: u64,
    first: u64,
    last: u64,
    /// Where each epoch's entries begin, in order of sequences: (sequence, epoch).
    epochs: Vec<(u64, u64)>,
    /// Where the scan for an entry begins, in order of sequences: the first entry of each segment, so that this does not grow with
    /// the number of entries.
    places: Vec<(u64, Position)>,
}

/// How an entry stands to what counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It counts already.
    Held,
    /// It goes behind the last one, or takes the place of one of another epoch.
    Next,
    /// What comes before it is missing, or of another epoch.
    Astray,
}

impl View {
    pub fn first(&self) -> u64 {
        self.first
    }

    pub fn last(&self) -> JournalMark {
        JournalMark { epoch: self.epoch_of(self.last).unwrap_or(0), sequence: self.last }
    }

    /// The epoch of an entry that can be read.
    pub fn epoch_of(&self, sequence: u64) -> Option<u64> {
        if sequence == 0 || sequence < self.begin || sequence > self.last {
            return None;
        }
        let run = self.epochs.partition_point(|(from, _)| *from <= sequence);
        self.epochs[..run].last().map(|(_, epoch)| *epoch)
    }

    pub fn fit(&self, entry: &JournalEntry, anew: bool) -> Fit {
        let JournalMark { sequence, epoch } = entry.mark;
        if anew || (self.last == 0 && sequence == 1) {
            return Fit::Next;
        }
        let held = |sequence| self.epoch_of(sequence).filter(|_| sequence >= self.first);
        match held(sequence) {
            Some(held) if held == epoch => Fit::Held,
            _ if held(sequence - 1) == Some(entry.previous) => Fit::Next,
            _ => Fit::Astray,
        }
    }

    /// Counts an entry.
    pub fn add(&mut self, mark: JournalMark, anew: bool) {
        let JournalMark { sequence, epoch } = mark;
        if anew || self.last == 0 || sequence < self.begin {
            (self.begin, self.first) = (sequence, sequence);
            self.epochs.clear();
            self.places.clear();
        } else if sequence > self.last + 1 {
            // Only a start finds that: a record was damaged. What is before it can still be read.
            self.first = sequence;
        } else if sequence <= self.last {
            self.first = self.first.min(sequence);
            self.places.retain(|(from, _)| *from < sequence);
            self.epochs.retain(|(from, _)| *from < sequence);
        }
        if self.epochs.last().is_none_or(|(_, last)| *last != epoch) {
            self.epochs.push((sequence, epoch));
        }
        self.last = sequence;
    }

    /// Notes where an entry is that was just added.
    pub fn note_place(&mut self, sequence: u64, position: Position) {
        if self.places.last().is_none_or(|(_, place)| place.segment != position.segment) {
            self.places.push((sequence, position));
        }
    }

    /// Counts an entry that a start found in the log.
    pub fn recover(&mut self, mark: JournalMark, anew: bool, position: Position) {
        // Whoever sent it held its epoch, also where the note of that is damaged: what is older must not be obeyed again.
        if mark.epoch > self.claim.epoch {
            self.claim = JournalClaim { epoch: mark.epoch, holder: Uuid::nil() };
        }
        self.add(mark, anew);
        self.note_place(mark.sequence, position);
    }

    /// Where a scan for this entry begins; `None` if it does not count.
    pub fn start(&self, sequence: u64) -> Option<Position> {
        self.epoch_of(sequence)?;
        let before = self.places.partition_point(|(from, _)| *from <= sequence);
        self.places[..before].last().map(|(_, position)| *position)
    }

    /// Whether this entry may stand at or behind `position`.
    pub fn may_hold(&self, sequence: u64, position: Position) -> bool {
        let behind = self.places.partition_point(|(from, _)| *from <= sequence);
        sequence <= self.last && self.places.get(behind).is_none_or(|(_, next)| position < *next)
    }

    /// Segments before this one hold nothing that is needed; `None` as long as the entries are not whole by themselves.
    pub fn superfluous_before(&self) -> Option<u32> {
        if self.first == 0 || self.first > self.whole_from || self.whole_from > self.last {
            return None;
        }
        self.start(self.whole_from).map(|position| position.segment)
    }

    pub fn forget_before(&mut self, segment: u32) {
        let kept = self.places.partition_point(|(_, position)| position.segment < segment);
        self.places.drain(..kept);
        let Some((from, _)) = self.places.first().copied() else { return };
        (self.begin, self.first) = (self.begin.max(from), self.first.max(from));
        let run = self.epochs.partition_point(|(begins, _)| *begins <= from);
        self.epochs.drain(..run.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sequence: u64, epoch: u64, previous: u64) -> JournalEntry {
        JournalEntry::new(JournalMark { sequence, epoch }, previous, 1, b"", b"g")
    }

    fn view(marks: &[(u64, u64)]) -> View {
        let mut view = View::default();
        marks.iter().for_each(|(sequence, epoch)| view.add(JournalMark { sequence: *sequence, epoch: *epoch }, false));
        view
    }

    #[test]
    fn an_entry_fits_behind_the_one_it_names() {
        let view = view(&[(1, 1), (2, 1), (3, 2)]);
        assert_eq!(view.fit(&entry(4, 2, 2), false), Fit::Next);
        assert_eq!(view.fit(&entry(4, 3, 1), false), Fit::Astray, "another one stands before it");
        assert_eq!(view.fit(&entry(5, 2, 2), false), Fit::Astray, "a gap");
        assert_eq!(view.fit(&entry(3, 2, 1), false), Fit::Held);
        assert_eq!(view.fit(&entry(3, 3, 1), false), Fit::Next, "takes the place of an entry of another epoch");
        assert_eq!(view.fit(&entry(1, 3, 0), false), Fit::Astray, "never the first one");
        assert_eq!(view.fit(&entry(9, 3, 0), true), Fit::Next);
        assert_eq!(View::default().fit(&entry(1, 1, 0), false), Fit::Next);
        assert_eq!(View::default().fit(&entry(2, 1, 1), false), Fit::Astray);
    }

    #[test]
    fn an_entry_tells_the_epoch_whose_note_is_damaged() {
        let mut view = View { claim: JournalClaim { epoch: 3, holder: Uuid::from_u128(3) }, ..View::default() };
        let place = Position { segment: 1, offset: 0 };
        view.recover(JournalMark { sequence: 1, epoch: 3 }, false, place);
        assert_eq!(view.claim.holder, Uuid::from_u128(3));
        view.recover(JournalMark { sequence: 2, epoch: 9 }, false, place);
        assert!(!JournalClaim { epoch: 8, holder: Uuid::from_u128(8) }.supersedes(&view.claim));
        assert!(JournalClaim { epoch: 9, holder: Uuid::from_u128(9) }.supersedes(&view.claim));
    }

    #[test]
    fn what_is_replaced_no_longer_counts() {
        let mut view = view(&[(1, 1), (2, 1), (3, 1), (4, 2)]);
        view.add(JournalMark { sequence: 3, epoch: 5 }, false);
        assert_eq!((view.first(), view.last()), (1, JournalMark { sequence: 3, epoch: 5 }));
        assert_eq!((view.epoch_of(2), view.epoch_of(3), view.epoch_of(4)), (Some(1), Some(5), None));
        view.add(JournalMark { sequence: 9, epoch: 6 }, true);
        assert_eq!((view.first(), view.epoch_of(3), view.epoch_of(9)), (9, None, Some(6)));
    }

    #[test]
    fn behind_a_gap_nothing_before_it_counts_as_held() {
        let view = view(&[(1, 1), (2, 1), (5, 1), (6, 1)]);
        assert_eq!((view.first(), view.last().sequence), (5, 6));
        assert_eq!(view.epoch_of(2), Some(1), "it can still be read");
        assert_eq!(view.fit(&entry(2, 1, 1), false), Fit::Astray);
        assert_eq!(view.fit(&entry(6, 1, 1), false), Fit::Held);
    }
}
