//! What was committed and is not in the index yet: the changes of the last few seconds, in memory, in key order.
//!
//! What it keeps true:
//! - Looking into the active table, then the frozen one, then the index gives the state after the last commit: a table remembers
//!   deletes as well as puts, and a frozen table stays until all it holds is in the index.
//! - The two together are bounded: [`Table::is_full`] says when to freeze, and the writer waits where the mover falls behind.

use crate::metadata::Entry;
use bytes::Bytes;
use protocol::Result;
use segments::Position;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// What a table knows of a key: its entry, or that it was deleted.
pub(super) type Slot = Option<Entry>;

/// How far the log had come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Where the next record of the log would begin, or a place before it behind the last group.
    pub position: Position,
    /// The last group.
    pub sequence: u64,
    /// The last revision given.
    pub revision: u64,
    /// The epoch of the last group.
    pub epoch: u64,
    /// The records from the snapshot that begins with this group on give the whole state; 0 and 1: from the first.
    pub whole_from: u64,
}

/// The changes since some mark.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: BTreeMap<Bytes, Slot>,
    bytes: usize,
}

impl Table {
    pub fn set(&mut self, key: Bytes, slot: Slot) {
        // Bytes of slots that are replaced stay counted: an upper bound is all that is needed.
        self.bytes += key.len() + slot.as_ref().map_or(0, |entry| entry.value.len());
        self.slots.insert(key, slot);
    }

    pub fn get(&self, key: &[u8]) -> Option<&Slot> {
        self.slots.get(key)
    }

    pub fn range(&self, from: &[u8], to: &[u8]) -> impl Iterator<Item = (Bytes, Slot)> {
        let range = self.slots.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        range.map(|(key, slot)| (key.clone(), slot.clone()))
    }

    pub fn slots(&self) -> impl Iterator<Item = (&Bytes, &Slot)> {
        self.slots.iter()
    }

    pub fn clear(&mut self) {
        *self = Table::default();
    }

    /// Whether it holds more than `entries_max` slots or `bytes_max` bytes of keys and values.
    pub fn is_full(&self, entries_max: usize, bytes_max: usize) -> bool {
        self.slots.len() >= entries_max || self.bytes >= bytes_max
    }
}

/// Both tables, as readers see them.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// What the writer adds to.
    pub active: Table,
    /// What the mover is moving into the index.
    pub frozen: Option<Arc<Table>>,
    /// How far the log had come when `active` got its last change.
    pub mark: Mark,
}

impl Tables {
    /// What the tables know of a key; `None` where only the index can tell.
    pub fn get(&self, key: &[u8]) -> Option<&Slot> {
        self.active.get(key).or_else(|| self.frozen.as_ref().and_then(|frozen| frozen.get(key)))
    }

    /// The live entries of a range, where `index` gives those of the index; `from` is below `to`.
    pub fn entries(
        &self,
        from: &[u8],
        to: &[u8],
        index: impl Iterator<Item = Result<(Bytes, Entry)>>,
    ) -> impl Iterator<Item = Result<(Bytes, Entry)>> {
        let index = index.map(|found| found.map(|(key, entry)| (key, Some(entry))));
        let frozen = self.frozen.iter().flat_map(|frozen| frozen.range(from, to));
        let slots = overlay(self.active.range(from, to), overlay(frozen, index));
        slots.filter_map(|found| found.map(|(key, slot)| slot.map(|entry| (key, entry))).transpose())
    }
}

/// Two ordered sequences as one; where both have a key, the upper one counts.
fn overlay(
    upper: impl Iterator<Item = (Bytes, Slot)>,
    lower: impl Iterator<Item = Result<(Bytes, Slot)>>,
) -> impl Iterator<Item = Result<(Bytes, Slot)>> {
    let (mut upper, mut lower) = (upper.peekable(), lower.peekable());
    std::iter::from_fn(move || {
        let order = match (upper.peek(), lower.peek()) {
            (None, _) | (_, Some(Err(_))) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some((above, _)), Some(Ok((below, _)))) => above.cmp(below),
        };
        if order == Ordering::Equal {
            lower.next();
        }
        if order == Ordering::Greater { lower.next() } else { upper.next().map(Ok) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn entry(revision: u64) -> Entry {
        Entry { revision, value: key("v") }
    }

    #[test]
    fn the_active_table_hides_the_frozen_one_and_both_hide_the_index() {
        let mut tables = Tables::default();
        for (name, revision) in [("a", 10), ("b", 11), ("d", 12)] {
            tables.active.set(key(name), Some(entry(revision)));
        }
        tables.active.set(key("c"), Some(entry(13)));
        tables.active.set(key("c"), None);
        tables.frozen = Some(Arc::new(std::mem::take(&mut tables.active)));
        tables.active.set(key("b"), None);
        tables.active.set(key("d"), Some(entry(20)));
        let index = ["a", "b", "c", "e"].map(|name| Ok((key(name), entry(1))));
        let seen: Vec<_> = tables.entries(b"a", b"z", index.into_iter()).map(Result::unwrap).collect();
        assert_eq!(seen, [(key("a"), entry(10)), (key("d"), entry(20)), (key("e"), entry(1))]);
        assert_eq!(tables.get(b"b"), Some(&None));
        assert_eq!(tables.get(b"c"), Some(&None));
        assert_eq!(tables.get(b"e"), None);
    }
}
