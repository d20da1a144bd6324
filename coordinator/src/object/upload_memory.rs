//! The memory that one upload works with: its allowance, divided into the stage that fills and those whose batches are being stored.
//!
//! What it keeps true: what is held stays within the allowance; only where chunks are long and nothing is free it may be two of the longest. What was
//! taken because there was plenty is given back when there is not, and all of it while others wait and the client is slow.

use super::budget::{Allowance, Budget};
use protocol::Result;
use segments::buffers::{self, Buffer};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// The smallest allowance with which a put makes progress, in bytes: three stages of one chunk of the first size class.
pub(super) const ALLOWANCE_BYTES_MIN: usize = 768 << 10;
/// What a put gets when there is plenty, in bytes.
pub(super) const ALLOWANCE_BYTES_MAX: usize = 6 << 20;
/// The same far into a long upload, where chunks are long: of them, too, a page is to name more than a few, since each takes a commit. With 10 MiB,
/// 1 GiB took 8 % less CPU than with 6 (measured, three paired runs).
const ALLOWANCE_BYTES_FAR: usize = 12 << 20;
/// By so much it grows to that at a time, and is a multiple of it then: a stage is a buffer of a size that is kept.
const ALLOWANCE_BYTES_STEP: usize = 3 << 20;
/// Batches being stored while the next stage fills.
const BATCHES_UNDER_WAY_MAX: usize = 2;
/// Where not even three fit: the stage that fills, and the batch under way.
const STAGES_MIN: usize = 2;
/// Allowance is shared by the stage that fills and the batches under way, each of which holds the memory of its stage.
const STAGES: usize = BATCHES_UNDER_WAY_MAX + 1;

/// A client that does not fill a stage in so long is slow; the smallest stage is 256 KiB.
const FILLS_STAGE_WITHIN: Duration = Duration::from_millis(100);
/// So often it is looked whether others wait.
const LOOKS_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// The allowance of one upload, while it has one. What it is asked goes by the longest chunk where the stream stands, in bytes.
pub(super) struct UploadMemory {
    allowance: Option<Allowance>,
    stage_began: Instant,
}

impl Default for UploadMemory {
    fn default() -> UploadMemory {
        UploadMemory { allowance: None, stage_began: Instant::now() }
    }
}

impl UploadMemory {
    /// Waits for an allowance, if there is none yet.
    pub(super) async fn begin(&mut self, budget: &Budget, chunk_bytes_max: usize) -> Result<()> {
        if self.allowance.is_none() {
            let least = ALLOWANCE_BYTES_MIN.max(STAGES_MIN * chunk_bytes_max);
            self.allowance = Some(budget.admit(least, ALLOWANCE_BYTES_MAX).await?);
        }
        Ok(())
    }

    /// Where the bytes of a body gather until they are cut: a buffer that begins with the rest of the one before.
    pub(super) fn begin_stage(&mut self, bytes: usize, rest: &[u8]) -> Buffer {
        self.stage_began = Instant::now();
        let mut stage = buffers::take(bytes.max(rest.len()));
        stage.fill(rest);
        stage
    }

    /// Ends when the stage has been filling for long, and others wait for memory.
    pub(super) async fn wanted_back(&self, budget: &Budget) {
        sleep_until(self.stage_began + FILLS_STAGE_WITHIN).await;
        while !budget.is_wanted() {
            sleep(LOOKS_AGAIN_AFTER).await;
        }
    }

    /// Each stage has its share of the allowance, and room for one chunk at least.
    pub(super) fn stage_bytes(&self, chunk_bytes_max: usize) -> usize {
        (self.bytes() / STAGES).max(chunk_bytes_max)
    }

    /// How many batches may be under way when a stage begins.
    pub(super) fn batches_under_way_max(&self, chunk_bytes_max: usize) -> usize {
        let stages_held = self.bytes() / self.stage_bytes(chunk_bytes_max);
        stages_held.saturating_sub(1).min(BATCHES_UNDER_WAY_MAX)
    }

    /// Whether it has more than others can begin without. Its client may be slow, and there is nothing left for another upload.
    pub(super) fn is_wanted_by_others(&self, budget: &Budget) -> bool {
        self.bytes() > ALLOWANCE_BYTES_MAX && !budget.has(ALLOWANCE_BYTES_MIN)
    }

    /// Gives that back. Nothing may be held then but the rest of a stage.
    pub(super) fn give_back(&mut self) {
        let excess = self.bytes().saturating_sub(ALLOWANCE_BYTES_MAX);
        if let Some(allowance) = &mut self.allowance {
            allowance.give_back(excess);
        }
    }

    /// Asks for more where chunks have become longer. It must not wait for it with what it has: what others have may be all there is.
    pub(super) fn widen(&mut self, budget: &Budget, chunk_bytes_max: usize, is_far: bool) {
        let Some(allowance) = &mut self.allowance else { return };
        let (held, needed) = (allowance.bytes(), STAGES_MIN * chunk_bytes_max);
        let more = match held < needed {
            true => budget.try_admit(needed - held),
            false if is_far && held < ALLOWANCE_BYTES_FAR => {
                budget.admit_of_plenty(ALLOWANCE_BYTES_STEP - held % ALLOWANCE_BYTES_STEP)
            }
            false => None,
        };
        if let Some(more) = more {
            allowance.add(more);
        }
    }

    /// What it has, for as long as something of the upload is still held.
    pub(super) fn take(&mut self) -> Option<Allowance> {
        self.allowance.take()
    }

    fn bytes(&self) -> usize {
        self.allowance.as_ref().map_or(ALLOWANCE_BYTES_MIN, Allowance::bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    /// So many steps far into an upload, with chunks of up to 1 MiB.
    fn widened(budget: &Budget, memory: &mut UploadMemory, steps: usize) -> usize {
        (0..steps).for_each(|_| memory.widen(budget, MIB, true));
        memory.bytes()
    }

    #[tokio::test]
    async fn a_long_upload_grows_while_there_is_plenty_and_yields_when_there_is_nothing() {
        let budget = Budget::new(24 * MIB);
        let mut memory = UploadMemory::default();
        memory.begin(&budget, 256 << 10).await.unwrap();
        assert_eq!(memory.bytes(), ALLOWANCE_BYTES_MAX);
        memory.widen(&budget, 256 << 10, false);
        assert_eq!(memory.bytes(), ALLOWANCE_BYTES_MAX, "chunks are short");
        assert_eq!(widened(&budget, &mut memory, 9), ALLOWANCE_BYTES_FAR);
        assert_eq!((memory.stage_bytes(MIB), memory.batches_under_way_max(MIB)), (4 * MIB, 2));
        assert!(!memory.is_wanted_by_others(&budget));

        let others = budget.try_admit(budget.held_and_most().1 - budget.held_and_most().0).expect("all that is left");
        assert!(memory.is_wanted_by_others(&budget));
        memory.give_back();
        assert_eq!(memory.bytes(), ALLOWANCE_BYTES_MAX);
        assert!(budget.has(ALLOWANCE_BYTES_MIN) && !memory.is_wanted_by_others(&budget));
        assert_eq!(widened(&budget, &mut memory, 9), ALLOWANCE_BYTES_MAX, "three others could not have as much");
        drop(others);
        assert_eq!(widened(&budget, &mut memory, 9), ALLOWANCE_BYTES_FAR);
    }

    #[tokio::test]
    async fn with_little_there_is_room_for_two_of_the_longest_chunks() {
        let budget = Budget::new(16 * MIB);
        let most = budget.try_admit(16 * MIB - ALLOWANCE_BYTES_MIN).expect("nothing is held");
        let mut memory = UploadMemory::default();
        memory.begin(&budget, 256 << 10).await.unwrap();
        assert_eq!((memory.bytes(), memory.stage_bytes(256 << 10)), (ALLOWANCE_BYTES_MIN, 256 << 10));
        memory.widen(&budget, MIB, true);
        assert_eq!((memory.bytes(), memory.stage_bytes(MIB)), (ALLOWANCE_BYTES_MIN, MIB), "nothing is free");
        assert_eq!(memory.batches_under_way_max(MIB), 0);
        drop(most);
        memory.widen(&budget, MIB, true);
        assert_eq!((memory.bytes(), memory.batches_under_way_max(MIB)), (2 * MIB, 1));
        assert_eq!(widened(&budget, &mut memory, 1), 3 * MIB, "a multiple of a step");
    }
}
