//! What stragglers still bring after the acknowledgement: their shards are added to the chunk records, and the repair records
//! that the commit left are taken away again. If this never runs, nothing is lost: the repair records stand (law 8).

use super::Objects;
use super::batch::repair_severity;
use super::write::{LateShard, Stragglers};
use crate::metadata::records::{ChunkRecord, Record, RepairRecord, ShardPlace};
use crate::metadata::{Batch, Expect, keys};
use protocol::{ErrorKind, Result};
use tracing::{debug, warn};

/// How often one late shard is tried to be noted before repair is left to do it.
const NOTE_ATTEMPTS_MAX: u32 = 4;

/// Follows the stragglers of a committed batch to their end, as long as what they hold in memory fits the budget of uploads;
/// beyond that they are let go, and repair does their work (law 10).
pub(super) fn start(objects: &Objects, stragglers: Vec<Stragglers>) {
    for straggler in stragglers {
        let Some(allowance) = objects.budget.try_admit(straggler.bytes()) else {
            debug!(bytes = straggler.bytes(), "no memory to follow a straggler; repair will");
            continue;
        };
        let objects = objects.clone();
        // Where the put ran: the calls under way have their timers and sockets there, and end with it.
        drop(objects.tasks.clone().spawn_here(async move {
            for late in straggler.finish().await {
                if let Err(error) = objects.note(&late).await {
                    warn!(chunk = %late.chunk, node = %late.place.node, %error, "late shard not noted; repair will");
                }
            }
            drop(allowance);
        }));
    }
}

impl Objects {
    /// Adds a shard that became durable late to its chunk's record. Not if repair got ahead, nor under an index behind the fence:
    /// that shard may be on its way out.
    async fn note(&self, late: &LateShard) -> Result<()> {
        for _ in 0..NOTE_ATTEMPTS_MAX {
            let Some(entry) = self.metadata.get(&keys::chunk(late.chunk)).await? else {
                return Ok(());
            };
            let mut record = ChunkRecord::decode(&entry.value)?;
            let code = record.code;
            let same_piece =
                |place: &ShardPlace| code.data > 1 && code.piece(place.index) == code.piece(late.place.index);
            let taken = |place: &ShardPlace| {
                place.node == late.place.node || place.index == late.place.index || same_piece(place)
            };
            let whole = record.shards.len() >= record.code.shards();
            if whole || late.place.index < record.fence || record.shards.iter().any(taken) {
                return Ok(());
            }
            let mut commit = Batch::new();
            commit.check(keys::chunk(late.chunk), Expect::Revision(entry.revision));
            if let Some(severity) = repair_severity(&record) {
                commit.delete(keys::repair(severity, late.chunk));
            }
            record.shards.push(late.place.clone());
            if let Some(severity) = repair_severity(&record) {
                let repair = RepairRecord::new(late.chunk, self.clock.now_ms(), "written short of replicas");
                commit.put(keys::repair(severity, late.chunk), repair.encode());
            }
            commit.put(keys::chunk(late.chunk), record.encode());
            match self.metadata.commit(commit).await {
                Err(error) if error.kind == ErrorKind::Conflict => {}
                outcome => return outcome,
            }
        }
        Ok(())
    }
}
