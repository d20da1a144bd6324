//! The writer's part in snapshots: a piece with each group, then the removal of what they made superfluous.

use super::Writer;
use crate::metadata::sled::snapshot::{Finished, Piece, Snapshot};
use protocol::Result;
use segments::Location;

impl Writer {
    /// The piece of the snapshot that goes with the next group, if there is one to be made.
    pub(super) fn next_piece(&mut self) -> Result<Option<Piece>> {
        // One that is wanted for what is damaged begins at once: until it is whole, a node that lacks that takes no groups.
        if self.snapshot.is_none() && (self.source.take_want() || self.log.used_bytes() >= self.snapshot_at_bytes) {
            self.snapshot = Some(Snapshot::begin(self.mark.sequence + 1));
        }
        let bytes = self.settings.piece_bytes();
        self.snapshot.as_ref().map(|snapshot| snapshot.next_piece(&self.state, bytes)).transpose()
    }

    pub(super) fn note_piece(&mut self, piece: Piece, locations: &[Location]) {
        let Some(snapshot) = &mut self.snapshot else { return };
        if let Some(Finished { begin, bytes }) = snapshot.appended(piece, locations[0].position.segment) {
            tracing::info!(begin, bytes, sequence = self.mark.sequence, "metadata snapshot is whole");
            self.snapshot = None;
            // What was wanted meanwhile was wanted for what lies before it.
            self.source.take_want();
            self.removable_before = begin;
            self.mover.set_snapshot_bytes(bytes);
            self.snapshot_at_bytes = self.settings.snapshot_at_bytes(bytes);
        }
    }

    /// A snapshot must not be what a group fails for: it begins anew when the log has grown by a segment.
    pub(super) fn put_off_snapshot(&mut self) {
        if self.snapshot.take().is_some() {
            self.snapshot_at_bytes = self.log.used_bytes() + self.settings.segment_bytes;
        }
    }

    /// Removes what the last snapshot made superfluous, once no restart would begin there.
    pub(super) fn remove_segments(&mut self) {
        if self.removable_before == 0 {
            return;
        }
        if self.state.replay_segment() < self.removable_before {
            // The checkpoint follows the next table; have that moved now.
            if self.state.has_room()
                && let Err(error) = self.mover.move_active(false)
            {
                tracing::warn!(%error, "old metadata segments stay");
            }
            return;
        }
        let old = self.log.segments().into_iter().filter(|segment| segment.number < self.removable_before);
        for segment in old.collect::<Vec<_>>() {
            if let Err(error) = self.log.remove_segment(segment.number) {
                tracing::warn!(%error, segment = segment.number, "an old metadata segment stays until the next snapshot");
                break;
            }
        }
        self.removable_before = 0;
    }
}
