//! The catalog journal of one node: a segment log of its own in which coordinators keep copies of their catalog's log. The rules are
//! those of the [`protocol::JournalNode`] contract; what the entries say is none of its business.
//!
//! An append, in order (a crash after any step leaves a journal that holds what it held before, or some of the new entries as well):
//! 1. The claim is compared with the one held, each entry with what stands before it.
//! 2. What fits goes into the log with one fdatasync; a note follows where the place from which the entries are whole has moved.
//! 3. It is shown to readers, and answered.
//! 4. If the entries are whole by themselves from a later place on, the claim is noted again, and then the segments before that place
//!    are removed, the oldest first.
//!
//! What it keeps true:
//! - A claim is durable before it is answered, and outlives every removal of segments: a lower epoch is refused for ever.
//! - After any crash every entry that was answered is found, unless entries of a later epoch took its place.
//! - Nothing is removed before what makes it superfluous is durable here.
//! - What it has answered and holds no more, because it had to begin anew, it tells of ([`JournalState::promised`]).

mod view;

use bytes::{BufMut, Bytes, BytesMut};
use protocol::{
    DiskId, Error, JournalAppend, JournalAppended, JournalClaim, JournalEntry, JournalMark, JournalRoom, JournalState,
    NodeId, Result,
};
use segments::{Disk, Kind, LogConfig, Position, Purpose, Record, Scanned, SegmentLog, SegmentReader, Stamp};
use std::sync::{Mutex, MutexGuard, PoisonError};
use uuid::Uuid;
use view::{Fit, View};

/// Length of the journal's segments: the longest entry fits, and the spare one does not fill a small disk.
pub const SEGMENT_BYTES: u64 = 8 << 20;

/// Looked through at once, however little is asked for: a file is read by so much anyway, and where an entry is damaged all behind it is
/// looked through (30 flipped bits made a restore take 154 s instead of 2).
const SCANNED_BYTES_MIN: u64 = 2 << 20;

const NOTE_CLAIM: u8 = 1;
const NOTE_WHOLE: u8 = 2;
const NOTE_PROMISED: u8 = 3;
const ANEW: u8 = 1;

/// Settings of a journal.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// The operator's name for the node.
    pub node: NodeId,
    /// Cluster and disk; bound into every record.
    pub stamp: Stamp,
    /// Length of a segment, in bytes.
    pub segment_bytes: u64,
}

/// The journal of one node.
pub struct Journal<D: Disk> {
    node: NodeId,
    disk: DiskId,
    writer: Mutex<Writer<D>>,
    reader: SegmentReader<D>,
}

struct Writer<D: Disk> {
    log: SegmentLog<D>,
    view: View,
}

impl<D: Disk> Journal<D> {
    /// Opens the journal on `disk`, which holds nothing else.
    pub fn open(disk: D, config: JournalConfig) -> Result<Journal<D>> {
        let JournalConfig { node, stamp, segment_bytes } = config;
        #[allow(clippy::needless_update, reason = "with its feature `sim` the log has one more setting")]
        let log_config = LogConfig {
            name: "journal",
            segment_bytes,
            payload_kinds: vec![Kind::JOURNAL_NOTE],
            ..LogConfig::default()
        };
        let mut view = View::default();
        let (log, report) = SegmentLog::open(disk, stamp, log_config, None, &mut |record| match record.kind {
            Kind::JOURNAL => {
                let (mark, anew) = entry_of(&record.id);
                view.recover(mark, anew, record.location.position);
            }
            Kind::JOURNAL_NOTE => note(&mut view, record.id[16], &record.data.unwrap_or_default()),
            _ => {}
        })?;
        if report.damaged > 0 {
            tracing::error!(damaged = report.damaged, "the catalog journal is damaged; the coordinator sends it anew");
        }
        tracing::info!(last = %view.last(), claim = %view.claim, segments = report.segments, "catalog journal read");
        let reader = log.reader();
        Ok(Journal { node, disk: stamp.log, writer: Mutex::new(Writer { log, view }), reader })
    }

    /// What it holds. One that has no spare segment looks whether there is room for it again: where nothing is appended, whoever asks is all
    /// that could find out.
    pub fn state(&self) -> JournalState {
        let mut writer = self.writer();
        writer.keep_spare();
        self.describe(&writer)
    }

    /// Makes it obey this claim only.
    pub fn claim(&self, claim: JournalClaim) -> Result<JournalState> {
        let mut writer = self.writer();
        let held = writer.view.claim;
        if !claim.supersedes(&held) || claim.epoch == 0 {
            return Err(Error::denied(format!("the catalog journal obeys {held}, and {claim} is not above it")));
        }
        if claim != held {
            writer.log.append(&[claim_note(claim)], Purpose::Reclaim)?;
            writer.view.claim = claim;
            tracing::info!(%claim, before = %held, "the catalog journal was claimed");
        }
        Ok(self.describe(&writer))
    }

    /// Adds entries as one group, with one fdatasync.
    pub fn append(&self, append: JournalAppend) -> Result<JournalAppended> {
        let mut writer = self.writer();
        let held = writer.view.claim;
        if append.claim != held {
            let claim = append.claim;
            return Err(Error::denied(format!(
                "the catalog journal obeys {held}, not {claim}: a coordinator took over"
            )));
        }
        let mut after = writer.view.clone();
        let (mut records, mut through, mut anew) = (Vec::new(), 0, append.anew);
        for entry in &append.entries {
            match after.fit(entry, anew) {
                Fit::Held => through = entry.mark.sequence,
                Fit::Next => {
                    records.push((record_of(entry, anew), entry, anew));
                    after.add(entry.mark, anew);
                    through = entry.mark.sequence;
                }
                Fit::Astray => break,
            }
            anew = false;
        }
        writer.store(records)?;
        writer.remove_superfluous();
        Ok(JournalAppended { through, state: self.describe(&writer) })
    }

    /// Frames of the entries from `from` on, without gaps, at least one if there is one, about `limit_bytes`.
    pub fn read(&self, from: u64, limit_bytes: u64) -> Result<Bytes> {
        let view = self.writer().view.clone();
        let (mut found, mut next, mut full) = (BytesMut::new(), from, false);
        let mut at = view.start(from);
        while let Some(position) = at {
            let end = self.reader.scan(position, limit_bytes.max(SCANNED_BYTES_MIN), &mut |scanned| {
                let Scanned::Record { kind: Kind::JOURNAL, id, data, .. } = scanned else { return };
                let (mark, _) = entry_of(&id);
                if full || mark.sequence != next || view.epoch_of(next) != Some(mark.epoch) {
                    return;
                }
                full = !found.is_empty() && found.len() as u64 + data.len() as u64 > limit_bytes;
                if !full {
                    found.put_slice(data);
                    next += 1;
                }
            })?;
            let goes_on = |position: &Position| !full && view.may_hold(next, *position);
            at = end.next.filter(goes_on);
        }
        Ok(found.freeze())
    }

    /// The orderly end: the next start reads headers only.
    pub fn close(&self) -> Result<()> {
        self.writer().log.seal()
    }

    fn describe(&self, writer: &Writer<D>) -> JournalState {
        JournalState {
            node: self.node.clone(),
            disk: self.disk,
            claim: writer.view.claim,
            first: writer.view.first(),
            last: writer.view.last(),
            whole_from: writer.view.whole_from,
            promised: writer.view.promised,
            room: JournalRoom { spare: writer.log.has_reserve(), half_spare: writer.log.has_half_reserve() },
            bytes: writer.log.used_bytes(),
        }
    }

    /// A panic never leaves the view half changed, so a poisoned lock is as good as any.
    fn writer(&self) -> MutexGuard<'_, Writer<D>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Disk> Writer<D> {
    /// Makes entries durable, then counts them.
    fn store(&mut self, fitting: Vec<(Record, &JournalEntry, bool)>) -> Result<()> {
        let Some((_, last, _)) = fitting.last() else { return Ok(()) };
        let whole_from = last.whole_from;
        let begins_anew = fitting.iter().any(|(.., anew)| *anew);
        let promised = self.view.promised.max(if begins_anew { self.view.last() } else { JournalMark::default() });
        let mut records = Vec::with_capacity(fitting.len() + 2);
        if promised != self.view.promised {
            // Before the entries: a crash must not leave them without it.
            records.push(promised_note(promised));
        }
        let before = records.len();
        records.extend(fitting.iter().map(|(record, ..)| record.clone()));
        if whole_from != self.view.whole_from {
            records.push(whole_note(whole_from, last.mark.sequence));
        }
        // A journal that stops on a full disk would stop the deletes that make room there.
        let locations = self.log.append(&records, Purpose::Reclaim)?;
        self.view.promised = promised;
        for ((_, entry, anew), location) in fitting.iter().zip(&locations[before..]) {
            self.view.add(entry.mark, *anew);
            self.view.note_place(entry.mark.sequence, location.position);
        }
        self.view.whole_from = whole_from;
        Ok(())
    }

    fn keep_spare(&mut self) {
        if !self.log.has_reserve()
            && let Err(error) = self.log.keep_reserve()
        {
            tracing::warn!(%error, "the catalog journal has no spare segment");
        }
    }

    /// Step 4. What fails here is tried again after the next append.
    fn remove_superfluous(&mut self) {
        self.keep_spare();
        let Some(keep) = self.view.superfluous_before() else { return };
        let old: Vec<u32> =
            self.log.segments().iter().map(|info| info.number).filter(|number| *number < keep).collect();
        if old.is_empty() {
            return;
        }
        let mut notes = vec![claim_note(self.view.claim), whole_note(self.view.whole_from, self.view.last().sequence)];
        if self.view.promised > self.view.last() {
            notes.push(promised_note(self.view.promised));
        }
        let removed = self
            .log
            .append(&notes, Purpose::Reclaim)
            .and_then(|_| old.into_iter().try_for_each(|number| self.log.remove_segment(number)));
        match removed {
            Ok(()) => self.view.forget_before(keep),
            Err(error) => tracing::warn!(%error, "old segments of the catalog journal stay for now"),
        }
    }
}

/// The id says which entry it is, so that a start need not read any: sequence, epoch, flags.
fn record_of(entry: &JournalEntry, anew: bool) -> Record {
    let mut id = [0; 17];
    id[..8].copy_from_slice(&entry.mark.sequence.to_be_bytes());
    id[8..16].copy_from_slice(&entry.mark.epoch.to_be_bytes());
    id[16] = if anew { ANEW } else { 0 };
    Record::new(Kind::JOURNAL, id, entry.frame().clone())
}

fn entry_of(id: &[u8; 17]) -> (JournalMark, bool) {
    let number = |at: usize| u64::from_be_bytes(id[at..at + 8].try_into().expect("eight bytes"));
    (JournalMark { sequence: number(0), epoch: number(8) }, id[16] == ANEW)
}

fn claim_note(claim: JournalClaim) -> Record {
    let mut payload = BytesMut::with_capacity(24);
    payload.put_u64_le(claim.epoch);
    payload.put_slice(claim.holder.as_bytes());
    noted(NOTE_CLAIM, payload.freeze())
}

/// `last`: the entry that says so.
fn whole_note(whole_from: u64, last: u64) -> Record {
    noted(NOTE_WHOLE, [whole_from.to_le_bytes(), last.to_le_bytes()].concat().into())
}

fn promised_note(promised: JournalMark) -> Record {
    noted(NOTE_PROMISED, [promised.sequence.to_le_bytes(), promised.epoch.to_le_bytes()].concat().into())
}

fn noted(what: u8, payload: Bytes) -> Record {
    let mut id = [0; 17];
    id[16] = what;
    Record::new(Kind::JOURNAL_NOTE, id, payload)
}

fn note(view: &mut View, what: u8, payload: &[u8]) {
    let Some((number, rest)) = payload.split_first_chunk::<8>() else { return };
    let number = u64::from_le_bytes(*number);
    let second = rest.first_chunk::<8>().map_or(0, |second| u64::from_le_bytes(*second));
    match (what, Uuid::from_slice(rest)) {
        (NOTE_CLAIM, Ok(holder)) => view.claim = JournalClaim { epoch: number, holder },
        // A power cut may leave the note of an entry that it did not leave. The first notes do not say whose they are.
        (NOTE_WHOLE, _) if second <= view.last().sequence => view.whole_from = number,
        (NOTE_PROMISED, _) => view.promised = view.promised.max(JournalMark { epoch: second, sequence: number }),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_of_an_entry_that_is_not_there_says_nothing() {
        let mut view = View::default();
        view.add(JournalMark { epoch: 1, sequence: 499 }, true);
        let payload = |record: Record| record.data.concat();
        note(&mut view, NOTE_WHOLE, &payload(whole_note(480, 500)));
        assert_eq!(view.whole_from, 0, "a power cut left it without its entry");
        note(&mut view, NOTE_WHOLE, &payload(whole_note(480, 499)));
        assert_eq!(view.whole_from, 480);
        note(&mut view, NOTE_WHOLE, &490_u64.to_le_bytes());
        assert_eq!(view.whole_from, 490, "as the first ones were written");
    }
}
