//! What must hold when everything has come to rest: records and disks compared in both directions.

use super::Oracle;
use crate::sim::node::Held;
use coordinator::metadata::keys;
use coordinator::metadata::records::{ChunkRecord, ChunkState, ObjectRecord, ObjectState, Record};
use coordinator::object::FILES_BUCKET;
use protocol::{ChunkId, ShardId};
use std::collections::BTreeSet;

/// What a census counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Versions that can be read.
    pub versions: usize,
    /// Live chunk records.
    pub chunks: usize,
    /// Chunks short of shards, each with its repair record.
    pub short: usize,
    /// Shards that no record names: scrub's work.
    pub orphans: usize,
    /// Uploads that never ended: the work of whoever expires intents.
    pub intents: usize,
}

impl Oracle {
    /// Compares everything with everything.
    pub fn census(&self) -> Census {
        let mut census = Census { intents: self.view.scan(&keys::intents()).len(), ..Census::default() };
        self.count_versions(&mut census);
        let mut named = BTreeSet::new();
        for (key, entry) in self.view.scan(&keys::chunks()) {
            let chunk = keys::parse_chunk(&key).expect("a key of that range");
            let record = ChunkRecord::decode(&entry.value).expect("the product wrote it");
            if record.state == ChunkState::Live {
                census.chunks += 1;
                self.count_chunk(&mut census, &mut named, chunk, &record);
            }
        }
        for node in self.view.nodes() {
            let held = node.inventory();
            census.orphans += held.iter().filter(|shard| !named.contains(&(node.id().clone(), **shard))).count();
        }
        census
    }

    fn count_versions(&self, census: &mut Census) {
        for (key, entry) in self.view.scan(&keys::objects(FILES_BUCKET, "")) {
            let (_, name) = keys::parse_object(&key).expect("a key of that range");
            let object = ObjectRecord::decode(&entry.value).expect("the product wrote it");
            for number in object.purged_through + 1..=object.last_number {
                let Some(version) = self.view.version(name, number) else {
                    self.violated(format!("law 7: number {number} of {name} is gone: {object:?}"));
                    continue;
                };
                if let Err(what) = self.whole(&version) {
                    self.violated(format!("law 3: number {number} of {name} is not whole: {what}"));
                }
                for entry in self.view.entries(&version).unwrap_or_default() {
                    let live = self.view.chunk(entry.chunk).is_some_and(|record| record.state == ChunkState::Live);
                    if !live {
                        self.violated(format!("law 5: number {number} of {name} needs chunk {}, condemned", entry.chunk));
                    }
                }
                census.versions += 1;
            }
            let live = self.view.version(name, object.number).is_some();
            if object.state == ObjectState::Live && !live {
                self.violated(format!("law 3: {name} is live and has no version {}", object.number));
            }
        }
    }

    fn count_chunk(
        &self,
        census: &mut Census,
        named: &mut BTreeSet<(protocol::NodeId, ShardId)>,
        chunk: ChunkId,
        record: &ChunkRecord,
    ) {
        for place in &record.shards {
            named.insert((place.node.clone(), ShardId { chunk, index: place.index }));
            let held = self.view.held(chunk, place);
            if matches!(held, Held::Deleted | Held::Never) {
                self.violated(format!("law 4: chunk {chunk} is named on {}, where it is {held:?}", place.node));
            }
        }
        if self.view.good_copies(chunk, record) == 0 {
            self.violated(format!("law 1: chunk {chunk} has no good copy left: {:?}", record.shards));
        }
        let short = record.code.shards() > record.shards.len();
        if short {
            census.short += 1;
            let severity = (record.shards.len() as u8).saturating_sub(record.code.data);
            if self.view.get(&keys::repair(severity, chunk)).is_none() {
                self.violated(format!("law 8: chunk {chunk} is short of shards and nobody is to repair it"));
            }
        }
    }
}
