//! The shards of a coded chunk, computed anew from those that are left.
//!
//! What it keeps true:
//! - Nothing is computed from what was not proved: the chunk comes to its digest first (law 6, faults S8).
//! - As many shards are read as reading needs, one more for each that fails, and each once, however many are to be stored anew.
//! - What is held in memory meanwhile is part of the budget of reads (law 10).

use crate::metadata::records::{ChunkRecord, ShardPlace};
use crate::object::budget::Allowance;
use crate::object::{Gathered, read_shard};
use crate::worker::Work;
use bytes::Bytes;
use futures_util::future::join_all;
use protocol::{ChunkId, Error, ErrorKind, NodeId, Result};

/// What a chunk takes while it is computed: its pieces, the whole, and all its shards.
const BYTES_PER_STORED_BYTE: usize = 4;

/// A chunk's shards, proved.
pub(super) struct Rebuilt {
    shards: Vec<(Bytes, u32)>,
    /// Whether a source was not what it should be.
    pub(super) met_damage: bool,
    _allowance: Allowance,
}

impl Rebuilt {
    /// Reads as many of `sources` as it takes, and computes every shard. `Unavailable` if they do not suffice now, `Corrupt` if one of them is
    /// damaged.
    pub(super) async fn from(
        work: &Work,
        chunk: ChunkId,
        record: &ChunkRecord,
        sources: &[ShardPlace],
    ) -> Result<Rebuilt> {
        let bytes = BYTES_PER_STORED_BYTE * record.stored_length as usize;
        let allowance = work.objects.read_budget.admit(bytes, bytes).await?;
        let mut waiting = in_read_order(work, record, sources).into_iter();
        let mut read = Gathered::of(record);
        let mut wanted = record.code.read_quorum();
        let mut met_damage = false;
        loop {
            let next: Vec<ShardPlace> = waiting.by_ref().take(wanted.saturating_sub(read.len())).collect();
            if next.is_empty() {
                let why = "too few good shards can be read; they are looked at again";
                return Err(if met_damage { Error::corrupt(why) } else { Error::unavailable(why) });
            }
            let reads = join_all(next.iter().map(|place| read_shard(&work.objects.nodes, chunk, place))).await;
            for (place, outcome) in next.iter().zip(reads) {
                match outcome {
                    Ok(data) => read.add(place.index, data),
                    Err(error) => met_damage |= error.kind == ErrorKind::Corrupt,
                }
            }
            if read.len() < wanted {
                continue;
            }
            let (code, gathered) = (record.code, read.clone());
            let shards = move || gathered.solve().map(|proved| code.encode(&proved.stored));
            match work.objects.compute.run(bytes, shards).await {
                Ok(shards) => return Ok(Rebuilt { shards, met_damage, _allowance: allowance }),
                Err(_) => (met_damage, wanted) = (true, read.len() + 1),
            }
        }
    }

    /// A piece, and its CRC32.
    pub(super) fn piece(&self, piece: u8) -> (Bytes, u32) {
        self.shards[usize::from(piece)].clone()
    }
}

/// Data pieces first: of these alone nothing has to be computed but parity.
fn in_read_order(work: &Work, record: &ChunkRecord, sources: &[ShardPlace]) -> Vec<ShardPlace> {
    let nodes: Vec<NodeId> = sources.iter().map(|place| place.node.clone()).collect();
    let order = work.objects.nodes.read_order(&nodes);
    let place = |node: &NodeId| sources.iter().find(|place| place.node == *node).cloned();
    let mut places: Vec<ShardPlace> = order.iter().filter_map(place).collect();
    places.sort_by_key(|place| record.code.piece(place.index) >= record.code.data);
    places
}
