//! Mends one chunk.
//!
//! Steps; a crash after any of them leaves a chunk that is at least as good as before, and its repair record:
//! 1. read the chunk's record and its repair records; a chunk that is gone needs no repair, one that is condemned may be put back and
//!    waits for the collector;
//! 2. ask every node that is named what it has ([`super::inspect`]);
//! 3. damaged and absent shards are stored again where they were, the rest on the nodes that placement ranks next, under an index
//!    that was never given up; fsynced, and asked for once more. Of a code with one data shard each node copies a good one itself and
//!    proves it by the chunk's digest; of others a good shard that is to move is copied by its CRC32, and what is missing is computed
//!    from as many as reading needs, proved by the digest ([`super::rebuild`]);
//! 4. one commit: the record names what is there now; what it no longer names goes to the trash, its index behind the fence; the
//!    repair records that were read go, if nobody has changed them.

use super::Room;
use super::inspect::{Condition, Inspected, inspect};
use super::places::{fenced, free_index, is_same, names_piece};
use super::rebuild::Rebuilt;
use crate::metadata::records::{ChunkRecord, ChunkState, Record, RepairRecord, SEVERITY_DRAIN, ShardPlace};
use crate::metadata::{Batch, Entry, Expect, Reserve, keys};
use crate::placement;
use crate::worker::Work;
use crate::worker::collect::{put_trash, repair_severities};
use bytes::Bytes;
use protocol::{ChunkId, Content, Error, ErrorKind, NodeId, Result, Shard, ShardCopy, ShardId};
use std::collections::BTreeSet;

/// What became of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mended {
    /// It needs no repair any more, or less than before.
    Done {
        /// Bytes stored anew.
        copied_bytes: u64,
    },
    /// Someone changed its records meanwhile; it is looked at anew.
    GotAhead,
    /// It cannot be mended now, for this reason.
    Blocked(String),
    /// Every node that held it has answered, and none has a good copy.
    Lost,
}

/// A chunk with all that was read of it.
struct Patient {
    chunk: ChunkId,
    record: ChunkRecord,
    revision: u64,
    repairs: Vec<(u8, Bytes, Entry)>,
    check_bytes: bool,
    /// Whether shards were found missing or damaged, and not only to be elsewhere.
    is_short: bool,
    away_from: Option<NodeId>,
    /// Where it should go, if nothing else is the matter with it: nowhere else then, or moves would undo each other.
    toward: Option<NodeId>,
}

/// Mends `chunk`, which is queued under the key `queued`, as far as that is possible now.
pub(super) async fn mend(work: &Work, room: &Room, queued: Bytes, chunk: ChunkId) -> Result<Mended> {
    let entry = work.objects.metadata.get(&keys::chunk(chunk)).await?;
    let record = entry.as_ref().map(|entry| ChunkRecord::decode(&entry.value)).transpose()?;
    let (Some(entry), Some(record)) = (entry, record) else {
        return forget(work, queued).await;
    };
    if record.state == ChunkState::Condemned {
        // If the collector puts it back, it is as short of shards as it was (law 8).
        return match record.shards.is_empty() {
            true => forget(work, queued).await,
            false => Ok(Mended::Blocked("the collector is deciding about it".to_owned())),
        };
    }
    let _room = room.take(record.stored_length).await;
    let repairs = repairs_of(work, chunk, &record).await?;
    let (mut away_from, mut toward, mut check_bytes, mut is_short) = (None, None, false, false);
    for (severity, _, entry) in &repairs {
        is_short |= *severity < SEVERITY_DRAIN;
        let repair = RepairRecord::decode(&entry.value)?;
        away_from = away_from.or(repair.away_from);
        toward = toward.or(repair.toward);
        check_bytes |= repair.check_bytes;
    }
    let mut found = inspect(work, chunk, &record, away_from.as_ref(), check_bytes).await?;
    // What leaves a node that is being emptied may go anywhere: the one it was to move to may have got another shard meanwhile.
    let stays_good = |one: &Inspected| one.condition == Condition::Good && !one.drains;
    if toward.is_some() && (found.len() < record.code.shards() || !found.iter().all(stays_good)) {
        // Where it was to move it may have no place by now: what else is the matter with it comes first, and the move is planned anew.
        (toward, away_from) = (None, None);
        found.iter_mut().for_each(|one| one.leaving = one.drains);
    }
    let patient =
        Patient { chunk, record, revision: entry.revision, repairs, check_bytes, is_short, away_from, toward };
    operate(work, &patient, found).await
}

/// A chunk that is gone for ever: so is what was to be done for it.
async fn forget(work: &Work, queued: Bytes) -> Result<Mended> {
    let mut commit = Batch::new();
    commit.delete(queued).reclaim();
    work.commit(commit).await?;
    Ok(Mended::Done { copied_bytes: 0 })
}

/// What is queued for the chunk, by severity.
async fn repairs_of(work: &Work, chunk: ChunkId, record: &ChunkRecord) -> Result<Vec<(u8, Bytes, Entry)>> {
    let mut repairs = Vec::new();
    for severity in repair_severities(record) {
        let key = keys::repair(severity, chunk);
        if let Some(entry) = work.objects.metadata.get(&key).await? {
            repairs.push((severity, key, entry));
        }
    }
    Ok(repairs)
}

async fn operate(work: &Work, patient: &Patient, found: Vec<Inspected>) -> Result<Mended> {
    let good = with(&found, &[Condition::Good]);
    let unknown = with(&found, &[Condition::Unknown]);
    if good.len() < usize::from(patient.record.code.data) {
        return Ok(match unknown.is_empty() {
            true => Mended::Lost,
            false => Mended::Blocked(format!("{} of its nodes do not answer", unknown.len())),
        });
    }
    let mut operation =
        Operation { work, patient, sources: good, rebuilt: None, copied_bytes: 0, met_damage: false, why_not: None };
    let wanted = patient.record.code.shards();
    let staying = |one: &&Inspected| !one.leaving && matches!(one.condition, Condition::Good | Condition::Unknown);
    let mut kept: Vec<ShardPlace> = found.iter().filter(staying).map(|one| one.place.clone()).collect();
    for one in found.iter().filter(|one| !one.leaving && matches!(one.condition, Condition::Bad | Condition::Absent)) {
        if kept.len() < wanted
            && let Some(crc) = operation.store(&one.place.node, one.place.index).await?
        {
            kept.push(ShardPlace { crc, ..one.place.clone() });
        }
    }
    operation.fill_up(&mut kept, wanted).await?;
    // What is to leave, is gone or cannot be mended stays named until something is in its place.
    let order = |one: &&Inspected| (!one.leaving, one.condition);
    let has = |kept: &[ShardPlace], place: &ShardPlace| kept.iter().any(|other| is_same(other, place));
    let mut rest: Vec<&Inspected> = found.iter().filter(|one| !has(&kept, &one.place)).collect();
    rest.sort_by_key(order);
    let mut sound = kept.len();
    for one in rest {
        if kept.len() < wanted && !names_piece(patient.record.code, &kept, one.place.index) {
            sound += usize::from(one.leaving && one.condition == Condition::Good);
            kept.push(one.place.clone());
        }
    }
    let short = (sound < wanted).then(|| (sound as u8).saturating_sub(patient.record.code.data));
    // The shard that is missing may be one of a node that is silent just now.
    let waits = (patient.check_bytes || patient.is_short) && !unknown.is_empty();
    operation.finish(kept, short, waits).await
}

fn with(found: &[Inspected], conditions: &[Condition]) -> Vec<ShardPlace> {
    found.iter().filter(|one| conditions.contains(&one.condition)).map(|one| one.place.clone()).collect()
}

/// What came of a copy.
enum Copied {
    /// It is there, with this CRC32.
    Done(u32),
    /// The node that was to have it does not.
    NotHere,
    /// There is nothing to copy it from where it was looked for.
    NoSource,
}

struct Operation<'a> {
    work: &'a Work,
    patient: &'a Patient,
    /// Good copies that were not found wrong by whoever read them.
    sources: Vec<ShardPlace>,
    /// The shards of a coded chunk, once one of them had to be computed.
    rebuilt: Option<Rebuilt>,
    copied_bytes: u64,
    /// Whether a copy that seemed good turned out not to be.
    met_damage: bool,
    why_not: Option<String>,
}

impl Operation<'_> {
    /// Nodes that may get another shard, the best first: those in zones that hold as few of `kept` as can be.
    fn spare_nodes(&self, avoided: &BTreeSet<NodeId>, kept: &[ShardPlace]) -> Vec<NodeId> {
        let candidates = self.work.objects.nodes.candidates();
        let zone = |node: &NodeId| candidates.iter().find(|one| one.id == *node).map(|one| one.zone.as_str());
        let ranked = placement::choose(self.patient.chunk, self.patient.record.code, &candidates);
        let wanted = |node: &&NodeId| self.patient.toward.as_ref().is_none_or(|toward| toward == *node);
        let usable = ranked.ids().take(ranked.usable());
        let mut spare: Vec<NodeId> = usable.filter(|node| !avoided.contains(*node)).filter(wanted).cloned().collect();
        spare.sort_by_key(|node| kept.iter().filter(|place| zone(&place.node) == zone(node)).count());
        spare
    }

    /// Has `node` hold the chunk's shard `index`, fsynced; its CRC32. `None` if it does not; `why_not` then says why.
    async fn store(&mut self, node: &NodeId, index: u8) -> Result<Option<u32>> {
        let code = self.patient.record.code;
        let (wanted, copies) = (code.piece(index), code.data == 1);
        let is_source = |place: &ShardPlace| copies || code.piece(place.index) == wanted;
        while let Some(source) = self.best_source(is_source) {
            match self.copy(node, index, &source).await? {
                Copied::Done(crc) => return Ok(Some(crc)),
                Copied::NotHere => return Ok(None),
                Copied::NoSource => self.sources.retain(|place| place.node != source.node),
            }
        }
        match copies || self.sources.is_empty() {
            true => self.no_source(Error::unavailable("no source for a copy is left; its shards are looked at again")),
            false => self.rebuild(node, index).await,
        }
    }

    /// What seemed good was not, and nothing is left: next time each node reads what it has.
    fn no_source(&mut self, error: Error) -> Result<Option<u32>> {
        if !self.met_damage || self.patient.check_bytes {
            return Err(error);
        }
        self.sources.clear();
        self.why_not = Some(error.message);
        Ok(None)
    }

    /// Has `node` copy the bytes of `source` from the node that holds them.
    async fn copy(&mut self, node: &NodeId, index: u8, source: &ShardPlace) -> Result<Copied> {
        let ChunkRecord { length, sha256, compressed, code, .. } = self.patient.record;
        let Some(target) = self.work.objects.nodes.member(node) else {
            return Ok(self.fails(node, "is not registered"));
        };
        let Some(holder) = self.work.objects.nodes.member(&source.node) else { return Ok(Copied::NoSource) };
        let content = (code.data == 1).then_some(Content { sha256, length, compressed });
        let shard = ShardId { chunk: self.patient.chunk, index };
        let copy = ShardCopy {
            source: holder.url().to_owned(),
            shard: ShardId { chunk: self.patient.chunk, index: source.index },
            length: self.shard_length(),
            crc: source.crc,
            content,
        };
        match target.copy_from(shard, &copy).await {
            Ok(()) => Ok(self.look_again(node, shard, source.crc).await),
            // The source is gone or not what it was taken for: another one.
            Err(error) if matches!(error.kind, ErrorKind::Corrupt | ErrorKind::NotFound) => {
                self.met_damage |= error.kind == ErrorKind::Corrupt;
                Ok(Copied::NoSource)
            }
            Err(error) => Ok(self.fails(node, &error.message)),
        }
    }

    /// Computes the shard and stores it.
    async fn rebuild(&mut self, node: &NodeId, index: u8) -> Result<Option<u32>> {
        let Some(target) = self.work.objects.nodes.member(node) else {
            self.fails(node, "is not registered");
            return Ok(None);
        };
        let Patient { chunk, record, .. } = self.patient;
        if self.rebuilt.is_none() {
            match Rebuilt::from(self.work, *chunk, record, &self.sources).await {
                Ok(rebuilt) => {
                    self.met_damage |= rebuilt.met_damage;
                    self.rebuilt = Some(rebuilt);
                }
                Err(error) => {
                    self.met_damage |= error.kind == ErrorKind::Corrupt;
                    return self.no_source(error);
                }
            }
        }
        let rebuilt = self.rebuilt.as_ref().expect("just computed");
        let (data, crc) = rebuilt.piece(record.code.piece(index));
        let id = ShardId { chunk: *chunk, index };
        let stored = match target.put(vec![Shard { id, crc, data }]).await {
            Ok(outcomes) if outcomes.first() == Some(&Ok(())) => self.look_again(node, id, crc).await,
            Ok(outcomes) => {
                let why = outcomes.first().and_then(|outcome| outcome.err()).map_or("no answer", ErrorKind::as_str);
                self.fails(node, why)
            }
            Err(error) => self.fails(node, &error.message),
        };
        Ok(if let Copied::Done(crc) = stored { Some(crc) } else { None })
    }

    /// A shard counts when its node says, asked again, that it has it.
    async fn look_again(&mut self, node: &NodeId, shard: ShardId, crc: u32) -> Copied {
        let length = self.shard_length();
        self.copied_bytes += u64::from(length);
        let Some(target) = self.work.objects.nodes.member(node) else { return self.fails(node, "is not registered") };
        let verified = target.head(shard).await;
        match verified.is_ok_and(|head| head.crc == crc && head.length == length) {
            true => Copied::Done(crc),
            false => self.fails(node, "does not have what it said it stored"),
        }
    }

    fn shard_length(&self) -> u32 {
        self.patient.record.shard_length()
    }

    fn fails(&mut self, node: &NodeId, why: &str) -> Copied {
        self.why_not = Some(format!("node {node}: {why}"));
        Copied::NotHere
    }

    fn best_source(&self, is_source: impl Fn(&ShardPlace) -> bool) -> Option<ShardPlace> {
        let sources = || self.sources.iter().filter(|place| is_source(place));
        let nodes: Vec<NodeId> = sources().map(|place| place.node.clone()).collect();
        let best = self.work.objects.nodes.read_order(&nodes).into_iter().next()?;
        sources().find(|place| place.node == best).cloned()
    }

    /// Stores pieces that are not kept on nodes that have none, until `wanted` shards are kept; what has no good shard comes first.
    async fn fill_up(&mut self, kept: &mut Vec<ShardPlace>, wanted: usize) -> Result<()> {
        let record = &self.patient.record;
        let avoided: BTreeSet<NodeId> = record.shards.iter().map(|place| place.node.clone()).collect();
        for node in self.spare_nodes(&avoided, kept) {
            if kept.len() >= wanted {
                break;
            }
            let Some(index) = self.next_index(kept) else {
                self.why_not = Some("it was moved so often that it has no index left".to_owned());
                break;
            };
            if let Some(crc) = self.store(&node, index).await? {
                kept.push(ShardPlace { node, index, crc });
            }
        }
        Ok(())
    }

    fn next_index(&self, kept: &[ShardPlace]) -> Option<u8> {
        let record = &self.patient.record;
        let code = record.code;
        if code.data == 1 {
            return free_index(record, kept, |_| true);
        }
        let missing = || (0..code.shards() as u8).filter(|piece| !names_piece(code, kept, *piece));
        let piece = missing().find(|piece| !names_piece(code, &self.sources, *piece)).or_else(|| missing().next())?;
        free_index(record, kept, |index| code.piece(index) == piece)
    }

    /// Commits what the chunk's record is to name from now on. `short`: the severity under which it stays queued. `waits`: shards
    /// were found missing or damaged, and not every node could be asked.
    async fn finish(self, kept: Vec<ShardPlace>, short: Option<u8>, waits: bool) -> Result<Mended> {
        let Patient { chunk, record, revision, repairs, away_from, toward, check_bytes, .. } = self.patient;
        let (now, dropped) = fenced(record, ChunkRecord { shards: kept, ..record.clone() });
        let leaving = self.work.objects.nodes.leaving();
        let drains = now.shards.iter().any(|place| leaving.contains(&place.node));
        let learnt = self.met_damage && !check_bytes;
        if now == *record && self.copied_bytes == 0 && !learnt && (short.is_some() || waits || drains) {
            let why =
                self.why_not.unwrap_or_else(|| "no other node takes a copy, or a node does not answer".to_owned());
            return Ok(Mended::Blocked(why));
        }
        let mut commit = Batch::new();
        commit.check(keys::chunk(*chunk), Expect::Revision(*revision)).use_reserve(Reserve::Half);
        if now != *record {
            commit.put(keys::chunk(*chunk), now.encode());
        }
        let now_ms = self.work.objects.clock.now_ms();
        for place in dropped {
            put_trash(&mut commit, &place.node, ShardId { chunk: *chunk, index: place.index }, now_ms);
        }
        let damaged = self.met_damage.then(|| (now.shards.len() as u8).saturating_sub(1 + record.code.data));
        let requeued = short.or(damaged).map(|severity| keys::repair(severity, *chunk));
        for (_, key, entry) in repairs {
            commit.check(key.clone(), Expect::Revision(entry.revision));
            if requeued.as_ref() != Some(key) && !waits && !drains {
                commit.delete(key.clone());
            }
        }
        if let Some(key) = requeued {
            // What was asked for stays asked for: a copy found wrong once seems good to who does not read it.
            let rest = RepairRecord {
                away_from: away_from.clone(),
                toward: toward.clone(),
                check_bytes: *check_bytes || self.met_damage,
                ..RepairRecord::new(*chunk, now_ms, "repaired as far as there are nodes and good copies")
            };
            commit.put(key, rest.encode());
        }
        Ok(match self.work.commit(commit).await? {
            true => Mended::Done { copied_bytes: self.copied_bytes },
            false => Mended::GotAhead,
        })
    }
}
