//! Examines one chunk: each shard that its record names, read whole from its own node. A copy proves itself by the chunk's digest; the
//! shards of a coded chunk are proved together, and then each is held against what the code makes of the chunk.

use crate::metadata::keys;
use crate::metadata::records::{ChunkRecord, FindingKind, Record, RepairRecord, ShardPlace, VerifyCounts};
use crate::object::Gathered;
use crate::worker::Work;
use bytes::Bytes;
use futures_util::future::join_all;
use protocol::{ChunkId, Content, Error, ErrorKind, NodeId, Result, ShardId};
use std::sync::Arc;

/// A chunk that changes while it is examined, as repair makes it, is examined again; no more often than this.
const ATTEMPTS_MAX: u32 = 4;

/// What was found of a chunk.
#[derive(Clone, Debug, Default)]
pub(super) struct Examined {
    /// Copies asked for.
    pub(super) copies: u64,
    /// Copies that are what was stored.
    pub(super) good: usize,
    /// Copies that the code wants.
    pub(super) wanted: usize,
    /// Shards that suffice to read.
    needed: usize,
    /// Bytes read.
    pub(super) bytes: u64,
    /// What is wrong.
    pub(super) wrong: Vec<Wrong>,
}

/// Something wrong with a chunk or one of its copies.
#[derive(Clone, Debug)]
pub(super) struct Wrong {
    pub(super) kind: FindingKind,
    pub(super) node: Option<NodeId>,
    pub(super) detail: String,
}

impl Wrong {
    /// Whether repair can do something about it: of what is unreachable nothing is known.
    pub(super) fn is_mendable(&self) -> bool {
        matches!(self.kind, FindingKind::Missing | FindingKind::Corrupt | FindingKind::BelowRedundancy)
    }

    pub(super) fn count_in(&self, counts: &mut VerifyCounts) {
        match self.kind {
            FindingKind::Missing => counts.missing += 1,
            FindingKind::Corrupt => counts.corrupt += 1,
            FindingKind::Unreachable => counts.unreachable += 1,
            FindingKind::BelowRedundancy | FindingKind::NoRecord | FindingKind::NoManifest => {}
        }
    }
}

impl Examined {
    /// Whether every copy that there should be was read and is good.
    pub(super) fn is_whole(&self) -> bool {
        self.wrong.is_empty()
    }

    /// Whether fewer good copies are known than the code wants.
    pub(super) fn is_below_redundancy(&self) -> bool {
        self.good < self.wanted
    }

    /// The repair that this asks for, and how urgent it is.
    pub(super) fn repair(&self, chunk: ChunkId, now_ms: u64) -> Option<(u8, RepairRecord)> {
        self.wrong.iter().any(Wrong::is_mendable).then(|| {
            let unreachable = self.wrong.iter().filter(|wrong| wrong.kind == FindingKind::Unreachable).count();
            let severity = (self.good + unreachable).saturating_sub(self.needed) as u8;
            let repair = RepairRecord::new(chunk, now_ms, "verification found a copy missing or damaged");
            (severity, RepairRecord { check_bytes: true, ..repair })
        })
    }
}

/// Examines `chunk` as its record names it; anew if the record changes meanwhile and something seems wrong.
pub(super) async fn examine(work: &Work, chunk: ChunkId) -> Result<Examined> {
    let mut total_bytes = 0;
    for attempt in 1..=ATTEMPTS_MAX {
        let Some(entry) = work.objects.metadata.get(&keys::chunk(chunk)).await? else {
            let detail = "the manifest names a chunk that has no record".to_owned();
            let wrong = vec![Wrong { kind: FindingKind::NoRecord, node: None, detail }];
            return Ok(Examined {
                wanted: work.objects.profiles.replication.shards(),
                bytes: total_bytes,
                wrong,
                ..Examined::default()
            });
        };
        let record = Arc::new(ChunkRecord::decode(&entry.value)?);
        let mut examined = read_all(work, chunk, &record).await;
        total_bytes += examined.bytes;
        examined.bytes = total_bytes;
        let changed = || async {
            let now = work.objects.metadata.get(&keys::chunk(chunk)).await?;
            Ok::<bool, Error>(now.is_none_or(|now| now.revision != entry.revision))
        };
        if examined.is_whole() || attempt == ATTEMPTS_MAX || !changed().await? {
            return Ok(examined);
        }
    }
    unreachable!("the last attempt answers")
}

async fn read_all(work: &Work, chunk: ChunkId, record: &Arc<ChunkRecord>) -> Examined {
    let reads = join_all(record.shards.iter().map(|place| read(work, chunk, record, place))).await;
    let reads = if record.code.data > 1 { prove_together(work, record, reads).await } else { reads };
    let mut examined = Examined {
        copies: record.shards.len() as u64,
        wanted: record.code.shards(),
        needed: record.code.read_quorum(),
        ..Examined::default()
    };
    for (place, outcome) in record.shards.iter().zip(reads) {
        let kind = match outcome {
            Ok(data) => {
                examined.good += 1;
                examined.bytes += data.len() as u64;
                continue;
            }
            Err(error) => (kind_of(error.kind), error.message),
        };
        let (kind, detail) = kind;
        examined.wrong.push(Wrong { kind, node: Some(place.node.clone()), detail });
    }
    if record.shards.len() < record.code.shards() {
        let detail = format!("{} copies are on record, and {} are wanted", record.shards.len(), record.code.shards());
        examined.wrong.push(Wrong { kind: FindingKind::BelowRedundancy, node: None, detail });
    }
    examined
}

/// Three-valued: only an answer about the copy says anything about it (faults S7).
fn kind_of(kind: ErrorKind) -> FindingKind {
    match kind {
        ErrorKind::NotFound => FindingKind::Missing,
        ErrorKind::Corrupt => FindingKind::Corrupt,
        ErrorKind::Conflict
        | ErrorKind::Invalid
        | ErrorKind::Denied
        | ErrorKind::Unavailable
        | ErrorKind::Full
        | ErrorKind::Unknown => FindingKind::Unreachable,
    }
}

/// Reads one copy and proves it: against its CRC32, and where one copy is the whole chunk, against the chunk's digest (law 6).
async fn read(work: &Work, chunk: ChunkId, record: &Arc<ChunkRecord>, place: &ShardPlace) -> Result<Bytes> {
    let Some(member) = work.objects.nodes.member(&place.node) else {
        return Err(Error::unavailable(format!("node {} has not answered yet", place.node)));
    };
    if !member.available() {
        return Err(Error::unavailable(format!("node {} does not answer", place.node)));
    }
    let data = member.get(ShardId { chunk, index: place.index }).await?;
    let (bytes, crc, record) = (data.len(), place.crc, record.clone());
    work.objects.compute.run(bytes, move || prove(data, crc, &record)).await
}

fn prove(data: Bytes, crc: u32, record: &ChunkRecord) -> Result<Bytes> {
    let found = crc32fast::hash(&data);
    if found != crc {
        return Err(Error::corrupt(format!("its CRC32 is {found:08x}, and {crc:08x} was stored")));
    }
    if record.code.data == 1 {
        let content = Content { sha256: record.sha256, length: record.length, compressed: record.compressed };
        content.unpack(data.clone())?;
    }
    Ok(data)
}

/// The shards that were read, but for those that are not what the code makes of the chunk. Fewer than reading needs prove nothing, and
/// stay what they seemed.
async fn prove_together(work: &Work, record: &Arc<ChunkRecord>, reads: Vec<Result<Bytes>>) -> Vec<Result<Bytes>> {
    let (cost, record) = (2 * record.stored_length as usize + record.length as usize, record.clone());
    work.objects.compute.run(cost, move || proved_together(&record, reads)).await
}

fn proved_together(record: &ChunkRecord, reads: Vec<Result<Bytes>>) -> Vec<Result<Bytes>> {
    let mut gathered = Gathered::of(record);
    let mut proved = None;
    for (place, data) in record.shards.iter().zip(&reads) {
        let Ok(data) = data else { continue };
        gathered.add(place.index, data.clone());
        if proved.is_none() && gathered.len() >= record.code.read_quorum() {
            proved = gathered.solve().ok();
        }
    }
    if gathered.len() < record.code.read_quorum() {
        return reads;
    }
    let shards = proved.map(|proved| record.code.encode(&proved.stored));
    let judged = |(place, read): (&ShardPlace, Result<Bytes>)| {
        let data = read?;
        let made = shards.as_ref().map(|shards| &shards[usize::from(record.code.piece(place.index))].0);
        match made {
            Some(made) if *made == data => Ok(data),
            Some(_) => Err(Error::corrupt("it is not what the code makes of the chunk")),
            None => Err(Error::corrupt("with the other shards it does not come to the chunk's digest")),
        }
    };
    record.shards.iter().zip(reads).map(judged).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::Code;
    use crate::metadata::records::ChunkState;
    use uuid::Uuid;

    fn examined(good: usize, wrong: &[FindingKind]) -> Examined {
        let wrong =
            wrong.iter().map(|kind| Wrong { kind: *kind, node: None, detail: String::new() }).collect::<Vec<Wrong>>();
        Examined { good, wanted: 3, needed: 1, wrong, ..Examined::default() }
    }

    #[test]
    fn what_is_unknown_asks_for_no_repair() {
        let chunk = ChunkId(Uuid::nil());
        assert!(examined(3, &[]).repair(chunk, 7).is_none());
        let away = examined(2, &[FindingKind::Unreachable]);
        assert!(away.repair(chunk, 7).is_none() && away.is_below_redundancy() && !away.is_whole());
        let (severity, repair) =
            examined(1, &[FindingKind::Corrupt, FindingKind::Unreachable]).repair(chunk, 7).unwrap();
        assert_eq!((severity, repair.check_bytes), (1, true));
        assert_eq!(examined(1, &[FindingKind::Corrupt, FindingKind::Missing]).repair(chunk, 7).unwrap().0, 0);
        assert_eq!(examined(0, &[FindingKind::Corrupt]).repair(chunk, 7).unwrap().0, 0);
    }

    #[test]
    fn the_shards_of_a_coded_chunk_prove_each_other() {
        let code = Code::new(4, 2).unwrap();
        let chunk = Bytes::from("what is stored in pieces".repeat(9));
        let shards = code.encode(&chunk);
        let place = |index: u8| ShardPlace { node: format!("n{index}").parse().unwrap(), index, crc: 0 };
        let sha256 = ring::digest::digest(&ring::digest::SHA256, &chunk).as_ref().try_into().unwrap();
        let record = ChunkRecord {
            length: chunk.len() as u32,
            stored_length: chunk.len() as u32,
            sha256,
            compressed: false,
            code,
            shards: (0..6).map(place).collect(),
            state: ChunkState::Live,
            fence: 0,
        };
        let read = |index: usize| Ok(shards[index].0.clone());
        let wrong = || Ok(Bytes::from(vec![1; shards[0].0.len()]));
        let gone = || Err(Error::unavailable("away"));
        let kinds = |reads: Vec<Result<Bytes>>| {
            let judged = proved_together(&record, reads);
            judged.iter().map(|one| one.as_ref().err().map(|error| error.kind)).collect::<Vec<_>>()
        };
        assert_eq!(kinds((0..6).map(read).collect()), [None; 6]);
        let corrupt = Some(ErrorKind::Corrupt);
        assert_eq!(
            kinds(vec![read(0), wrong(), read(2), read(3), read(4), gone()]),
            [None, corrupt, None, None, None, Some(ErrorKind::Unavailable)]
        );
        assert_eq!(kinds(vec![wrong(), wrong(), wrong(), read(3), read(4), read(5)]), [corrupt; 6]);
        let away = Some(ErrorKind::Unavailable);
        assert_eq!(
            kinds(vec![read(0), gone(), gone(), gone(), read(4), read(5)]),
            [None, away, away, away, None, None]
        );
    }
}
