//! What must hold of every commit that says where bytes are, or that gives some of them up: what workers do, and how coordinators
//! take part in it.
//!
//! - I15: a commit that stops naming a good copy names another one that is durable; nothing is deleted that is named.
//! - Law 2: an index that was given up is never named anew; a fence stays for ever.
//! - Law 4: what a commit stops naming is in the trash by the same commit, and leaves it only when its node has deleted it.
//! - Law 5: a chunk goes only after it was condemned.
//! - Law 8: as long as a chunk is short of shards it is queued for repair.
//! - Law 9: what only workers do is done under the lease.

use super::Oracle;
use crate::sim::node::Held;
use coordinator::metadata::keys::{self, KeyRange};
use coordinator::metadata::records::{ChunkRecord, ChunkState, ShardPlace};
use coordinator::metadata::{Batch, Expect};
use protocol::{ChunkId, NodeId, ShardId};
use std::collections::{BTreeMap, BTreeSet};

/// The lease of all workers.
pub const LEASE: &str = "workers";

/// The chunks that a batch changes, as they are before it.
pub struct Before {
    chunks: BTreeMap<ChunkId, Option<ChunkRecord>>,
}

/// A change of a chunk's record.
struct Change<'a> {
    chunk: ChunkId,
    before: Option<&'a ChunkRecord>,
    after: Option<ChunkRecord>,
    batch: &'a Batch,
}

fn within(key: &[u8], range: &KeyRange) -> bool {
    (&range.from[..]..&range.to[..]).contains(&key)
}

fn is_fence(record: &ChunkRecord) -> bool {
    record.state == ChunkState::Condemned && record.shards.is_empty()
}

fn puts_trash(batch: &Batch, chunk: ChunkId, place: &ShardPlace) -> bool {
    let key = keys::trash(&place.node, ShardId { chunk, index: place.index });
    batch.puts.iter().any(|(put, _)| *put == key)
}

impl Oracle {
    /// What the batch is about to change.
    pub fn before(&self, batch: &Batch) -> Before {
        let range = keys::chunks();
        let touched = batch.puts.iter().map(|(key, _)| key).chain(&batch.deletes).filter(|key| within(key, &range));
        let chunks = touched.map(|key| keys::parse_chunk(key).expect("a key of that range"));
        Before { chunks: chunks.map(|chunk| (chunk, self.view().chunk(chunk))).collect() }
    }

    /// A commit was refused; if for a lease that is not held any more, that is what leases are for.
    pub fn commit_refused(&self, batch: &Batch) {
        let lease = self.view().get(&keys::lease(LEASE)).map(|entry| entry.revision);
        let stale = |(key, expect): &(_, Expect)| *key == keys::lease(LEASE) && !expect.holds(lease);
        self.state().counts.stale_commits += u64::from(batch.checks.iter().any(stale));
    }

    /// A commit happened.
    pub(super) fn copies_changed(&self, batch: &Batch, before: &Before) {
        for (chunk, before) in &before.chunks {
            let change = Change { chunk: *chunk, before: before.as_ref(), after: self.view().chunk(*chunk), batch };
            if let Err(what) = self.check_change(&change) {
                self.violated(format!("{what}: {:?} becomes {:?}", change.before, change.after));
            }
        }
        self.check_repairs(batch, before);
        self.check_trash(batch);
        self.check_lease(batch, before);
        self.count_work(batch, before);
    }

    /// A node has deleted a shard: nobody may have named it.
    pub fn shard_deleted(&self, node: &NodeId, shard: ShardId) {
        self.world.tell(|| format!("{node} deleted {shard}"));
        self.state().counts.shards_deleted += 1;
        let record = self.view().chunk(shard.chunk);
        let named =
            |record: &ChunkRecord| record.shards.iter().any(|place| place.node == *node && place.index == shard.index);
        if record.as_ref().is_some_and(named) {
            self.violated(format!("I15: {node} deleted shard {shard}, which is named: {record:?}"));
        }
    }

    fn check_change(&self, change: &Change<'_>) -> Result<(), String> {
        let Change { chunk, before, after, batch } = change;
        let Some(before) = before else { return Ok(()) };
        if is_fence(before) {
            return match after {
                Some(after) if is_fence(after) => Ok(()),
                _ => Err(format!("law 2: the fence of chunk {chunk} did not stay")),
            };
        }
        let Some(after) = after else { return self.check_removal(*chunk, before, batch) };
        let dropped: Vec<&ShardPlace> = before.shards.iter().filter(|place| !after.shards.contains(place)).collect();
        let added: Vec<&ShardPlace> = after.shards.iter().filter(|place| !before.shards.contains(place)).collect();
        if after.sha256 != before.sha256 || after.fence < before.fence {
            return Err(format!("law 2: chunk {chunk} is another one, or its fence fell"));
        }
        if added.iter().any(|place| place.index < before.fence) {
            return Err(format!("law 2: chunk {chunk} has a shard under an index that was given up"));
        }
        if dropped.iter().any(|place| place.index >= after.fence) {
            return Err(format!("law 2: chunk {chunk} gave up an index that is not behind the fence"));
        }
        if dropped.iter().any(|place| !puts_trash(batch, *chunk, place)) {
            return Err(format!("law 4: chunk {chunk} stopped naming a shard that is in no trash"));
        }
        let good =
            |place: &&&ShardPlace| matches!(self.view().held(*chunk, place), Held::Good { crc } if crc == place.crc);
        let lost = dropped.iter().filter(good).count();
        if lost > added.len() {
            return Err(format!("I15: chunk {chunk} has fewer good copies than before"));
        }
        Ok(())
    }

    fn check_removal(&self, chunk: ChunkId, before: &ChunkRecord, batch: &Batch) -> Result<(), String> {
        if before.state != ChunkState::Condemned {
            return Err(format!("law 5: chunk {chunk} went without being condemned"));
        }
        match before.shards.iter().all(|place| puts_trash(batch, chunk, place)) {
            true => Ok(()),
            false => Err(format!("law 4: chunk {chunk} went and left shards that are in no trash")),
        }
    }

    /// Law 8, of chunks that the batch changed or took out of the queue.
    fn check_repairs(&self, batch: &Batch, before: &Before) {
        let range = keys::repairs();
        let dequeued = batch.deletes.iter().filter(|key| within(key, &range));
        let dequeued = dequeued.map(|key| keys::parse_repair(key).expect("a key of that range").1);
        let chunks: BTreeSet<ChunkId> = dequeued.chain(before.chunks.keys().copied()).collect();
        for chunk in chunks {
            let Some(record) = self.view().chunk(chunk) else { continue };
            let short = record.state == ChunkState::Live && record.shards.len() < record.code.shards();
            if short && !self.view().is_queued(chunk) {
                self.violated(format!(
                    "law 8: chunk {chunk} is short of shards and nobody is to repair it: {record:?}"
                ));
            }
        }
    }

    fn check_trash(&self, batch: &Batch) {
        let range = keys::all_trash();
        for (key, _) in batch.puts.iter().filter(|(key, _)| within(key, &range)) {
            let (node, shard) = keys::parse_trash(key).expect("a key of that range");
            let record = self.view().chunk(shard.chunk);
            let named = |place: &ShardPlace| place.node == node && place.index == shard.index;
            if record.is_some_and(|record| record.shards.iter().any(named)) {
                self.violated(format!("law 4: shard {shard} on {node} is in the trash and named"));
            }
        }
        for key in batch.deletes.iter().filter(|key| within(key, &range)) {
            let (node, shard) = keys::parse_trash(key).expect("a key of that range");
            let Some(node) = self.view().nodes().iter().find(|other| *other.id() == node) else { continue };
            // A disk that is lost takes its tombstones along.
            if node.held(shard) != Held::Deleted && !node.was_wiped() {
                let (held, node) = (node.held(shard), node.id());
                self.violated(format!("law 4: shard {shard} left the trash of {node}, where it is {held:?}"));
            }
        }
    }

    /// Law 9. That the check holds is the engine's word; that it is made is the workers'.
    fn check_lease(&self, batch: &Batch, before: &Before) {
        let trash = keys::all_trash();
        let given_back = [keys::garbages(), keys::collects(), trash.clone()];
        // A late shard may be noted in a condemned chunk; it goes with it.
        let chunks = before.chunks.iter().any(|(chunk, before)| match (before, self.view().chunk(*chunk)) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(before), Some(after)) => before.state == ChunkState::Live && after.state == ChunkState::Condemned,
        });
        let worked = chunks
            || batch.puts.iter().any(|(key, _)| within(key, &trash))
            || batch.deletes.iter().any(|key| given_back.iter().any(|range| within(key, range)));
        let fenced = |(key, expect): &(_, Expect)| *key == keys::lease(LEASE) && matches!(expect, Expect::Revision(_));
        if worked && !batch.checks.iter().any(fenced) {
            self.violated(format!("law 9: a worker's commit does not check its lease: {batch:?}"));
        }
        let changed = batch.puts.iter().map(|(key, _)| key).chain(&batch.deletes).any(|key| *key == keys::lease(LEASE));
        if changed && !batch.checks.iter().any(|(key, _)| *key == keys::lease(LEASE)) {
            self.violated("law 9: the lease was taken without looking whose it is");
        }
    }

    fn count_work(&self, batch: &Batch, before: &Before) {
        let mended = before.chunks.iter().filter(|(chunk, before)| {
            let now = self.view().chunk(**chunk);
            matches!((before, now), (Some(before), Some(now)) if now.shards.iter().any(|place| !before.shards.contains(place)))
        });
        let count = |range: &KeyRange| batch.deletes.iter().filter(|key| within(key, range)).count() as u64;
        let (mended, collected, intents) = (mended.count() as u64, count(&keys::chunks()), count(&keys::intents()));
        let garbage = batch.puts.iter().any(|(key, _)| within(key, &keys::garbages()));
        let mut state = self.state();
        state.counts.chunks_mended += mended;
        state.counts.chunks_collected += collected;
        state.counts.uploads_given_up += if garbage { intents } else { 0 };
        state.counts.leases_taken += u64::from(batch.puts.iter().any(|(key, _)| *key == keys::lease(LEASE)));
    }
}
