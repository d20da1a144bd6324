//! Whether a store may hold less than it did before it was opened: a mount that is missing or another's, a segment that somebody removed.
//!
//! What it keeps true: where it says no, nothing that was acknowledged is missing, as far as index and segments tell. Where it says yes nothing need be.

use segments::{Position, SegmentInfo};

/// What a store finds when it is opened.
pub(super) struct Findings<'a> {
    /// The files that there were before.
    pub files: &'a [String],
    pub segments: &'a [SegmentInfo],
    /// Where the index ends, if there is one.
    pub indexed: Option<Position>,
    /// Whether the index that there was could not be used.
    pub index_is_new: bool,
    /// Whether there are no records at all.
    pub is_empty: bool,
    /// How many starts there were, this one included.
    pub starts: u64,
}

impl Findings<'_> {
    /// Whether something may be missing that the index does not name.
    pub fn may_be_short(&self) -> bool {
        self.is_emptied() || self.is_cut() || (self.index_is_new && self.has_gaps())
    }

    /// The first start leaves a file that keeps room for deletes, and the first write a segment. An index that there is knows better.
    fn is_emptied(&self) -> bool {
        let has_segments = self.files.iter().any(|name| name.ends_with(".seg"));
        self.indexed.is_none() && self.is_empty && self.starts > 1 && (self.files.is_empty() || has_segments)
    }

    /// Whether the segment with which the index ends is shorter than that.
    fn is_cut(&self) -> bool {
        let bytes = |number| self.segments.iter().find(|info| info.number == number).map_or(0, |info| info.bytes);
        self.indexed.is_some_and(|end| bytes(end.segment) < u64::from(end.offset))
    }

    /// What compaction has removed leaves gaps, too; an index would know.
    fn has_gaps(&self) -> bool {
        self.segments.iter().zip(1..).any(|(segment, number)| segment.number != number)
    }
}
