//! Reads groups back from the log on disk, for a node that lacks more of them than memory still has.

use crate::metadata::commit_log::{GroupHead, decode_group_head};
use crate::metadata::journal::JournalSource;
use async_trait::async_trait;
use bytes::Bytes;
use protocol::{Error, ErrorKind, JournalEntry, Result};
use segments::{Kind, Position, RealDisk, Scanned, SegmentReader};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Places of groups kept at most; where one is not known the scan begins further ahead.
const PLACES_MAX: usize = 1024;
/// Bytes scanned between two looks at what was found.
const SCAN_BYTES: u64 = 4 << 20;

/// The log, to be read beside its writer.
pub(super) struct LogSource {
    reader: SegmentReader<RealDisk>,
    /// Where some groups begin, the piece of a snapshot before them included.
    places: Mutex<BTreeMap<u64, Position>>,
    /// Whether a node lacks what is damaged or missing here: a snapshot does without it.
    wants_snapshot: AtomicBool,
}

impl LogSource {
    pub fn new(reader: SegmentReader<RealDisk>) -> LogSource {
        LogSource { reader, places: Mutex::default(), wants_snapshot: AtomicBool::new(false) }
    }

    /// Whether a snapshot was wanted since this was asked last.
    pub fn take_want(&self) -> bool {
        self.wants_snapshot.swap(false, Ordering::Relaxed)
    }

    /// Notes that this group, or what belongs to it, begins here.
    pub fn note(&self, sequence: u64, position: Position) {
        let mut places = self.places();
        if places.last_key_value().is_none_or(|(_, last)| last.segment != position.segment) {
            places.insert(sequence, position);
        }
        while places.len() > PLACES_MAX {
            places.pop_first();
        }
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<u64, Position>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, from: u64, limit_bytes: u64) -> Result<Vec<JournalEntry>> {
        let start = self.places().range(..=from).next_back().map(|(_, position)| *position);
        let mut page = Page {
            next: from,
            limit_bytes,
            bytes: 0,
            entries: Vec::new(),
            piece: None,
            is_damaged: false,
            is_cut: false,
            is_over: false,
            ends_at: None,
        };
        let mut at = Some(start.unwrap_or_default());
        while let Some(position) = at {
            let end = self.reader.scan(position, SCAN_BYTES, &mut |scanned| page.take(&scanned))?;
            at = end.next.filter(|_| !page.is_over);
        }
        if page.entries.is_empty() && page.is_cut {
            return Err(Error::corrupt(format!("metadata: what the log has before group {from} is damaged")));
        }
        if page.entries.is_empty() {
            return Err(Error::not_found(format!("metadata: the log has no group {from}")));
        }
        if let Some(position) = page.ends_at {
            // The next page begins there.
            self.places().insert(page.next, position);
        }
        Ok(page.entries)
    }
}

#[async_trait]
impl JournalSource for Arc<LogSource> {
    async fn entries(&self, from: u64, limit_bytes: u64) -> Result<Vec<JournalEntry>> {
        let source = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || source.read(from, limit_bytes)).await;
        read.map_err(|error| Error::caused(ErrorKind::Unavailable, "metadata: read the log", error))?
    }

    fn want_snapshot(&self) {
        self.wants_snapshot.store(true, Ordering::Relaxed);
    }
}

/// Groups found so far.
struct Page {
    next: u64,
    limit_bytes: u64,
    bytes: u64,
    entries: Vec<JournalEntry>,
    /// The piece of a snapshot before the group that comes next,
    piece: Option<(Position, Bytes)>,
    /// and whether something there is damaged: it may be that piece.
    is_damaged: bool,
    /// Whether a damaged piece ended it,
    is_cut: bool,
    /// or anything did.
    is_over: bool,
    /// Where the first group begins that did not fit.
    ends_at: Option<Position>,
}

impl Page {
    fn take(&mut self, scanned: &Scanned<'_>) {
        if self.is_over {
            return;
        }
        let (kind, location, data) = match *scanned {
            Scanned::Record { kind, location, data, .. } => (kind, location, data),
            Scanned::BadPayload { kind, .. } => {
                self.is_damaged |= kind == Kind::SNAPSHOT;
                self.piece = None;
                return;
            }
            // Behind a torn tail nothing was answered.
            Scanned::Damage { tail, .. } => {
                self.is_damaged |= !tail;
                self.piece = None;
                return;
            }
        };
        match kind {
            Kind::SNAPSHOT => self.piece = Some((location.position, Bytes::copy_from_slice(data))),
            Kind::COMMIT => {
                let piece = self.piece.take();
                let position = piece.as_ref().map_or(location.position, |(position, _)| *position);
                let is_damaged = std::mem::take(&mut self.is_damaged);
                let Ok(head) = decode_group_head(data) else { return };
                if head.mark.sequence > self.next {
                    // It is not in what follows, either.
                    self.is_over = true;
                    return;
                }
                if head.mark.sequence == self.next {
                    if is_damaged && piece.is_none() {
                        // Without its piece a node would hold it for ever, and take itself for whole.
                        (self.is_over, self.is_cut) = (true, true);
                        return;
                    }
                    self.add(head, position, piece.map(|(_, piece)| piece).unwrap_or_default(), data);
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, head: GroupHead, position: Position, piece: Bytes, group: &[u8]) {
        let bytes = (piece.len() + group.len()) as u64;
        if !self.entries.is_empty() && self.bytes + bytes > self.limit_bytes {
            (self.is_over, self.ends_at) = (true, Some(position));
            return;
        }
        self.bytes += bytes;
        self.next += 1;
        self.entries.push(JournalEntry::new(head.mark, head.previous, head.whole_from, &piece, group));
    }
}
