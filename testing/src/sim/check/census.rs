//! What must hold when everything has come to rest: records and disks compared in both directions.

use super::Oracle;
use super::view::called;
use crate::sim::node::Held;
use coordinator::metadata::keys;
use coordinator::metadata::records::{
    ChunkList, ChunkRecord, ChunkState, ObjectRecord, ObjectState, PartRecord, Record, UploadId, VersionId,
    VersionRecord,
};
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
    /// Chunks with fewer good copies on distinct nodes than their code wants: repair's work.
    pub degraded: usize,
    /// Chunks that wait for repair or a move.
    pub repairs: usize,
    /// Shards that no record names, of chunks that have none: the census's work.
    pub orphans: usize,
    /// Shards that no record names, of chunks that have one: a call that failed as a whole had stored them.
    pub unnamed: usize,
    /// Shards that are to be deleted.
    pub trash: usize,
    /// Live chunks that no version needs: the collector's work.
    pub unreferenced: usize,
    /// References by versions that are gone: the same.
    pub ownerless: usize,
    /// Versions to be taken apart, and chunks to be decided about: the same.
    pub garbage: usize,
    /// Uploads that never ended: the work of whoever expires intents.
    pub intents: usize,
    /// Multipart uploads that are open: their clients' work.
    pub uploads: usize,
    /// Records of parts, of uploads that are open or to be collected.
    pub parts: usize,
    /// Lists of parts of versions that do not exist: the collector's work.
    pub lists: usize,
    /// Versions that are to be stored as another class.
    pub transitions: usize,
}

impl Census {
    /// I4, I17: nothing is left to be done, and every chunk is whole.
    pub fn is_clean(&self) -> bool {
        let Census { versions, chunks, .. } = *self;
        *self == Census { versions, chunks, ..Census::default() }
    }
}

impl Oracle {
    /// Compares everything with everything.
    pub fn census(&self) -> Census {
        let count = |range| self.view.scan(&range).len();
        let mut census = Census {
            intents: count(keys::intents()),
            uploads: count(keys::every_upload()),
            parts: count(keys::every_part()),
            repairs: count(keys::repairs()),
            trash: count(keys::all_trash()),
            transitions: count(keys::transitions()),
            garbage: count(keys::garbages()) + count(keys::collects()),
            ..Census::default()
        };
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
            for shard in node.inventory() {
                let is_named = named.contains(&(node.id().clone(), shard))
                    || self.view.get(&keys::trash(node.id(), shard)).is_some();
                match self.view.chunk(shard.chunk) {
                    _ if is_named => {}
                    Some(record) if !record.shards.is_empty() => census.unnamed += 1,
                    Some(_) | None => census.orphans += 1,
                }
            }
        }
        self.count_references(&mut census);
        census
    }

    fn count_references(&self, census: &mut Census) {
        let (mut owners, mut of_parts): (BTreeSet<VersionId>, BTreeSet<VersionId>) = Default::default();
        for (_, entry) in self.view.scan(&keys::every_version()) {
            let version = VersionRecord::decode(&entry.value).expect("the product wrote it");
            owners.insert(version.manifest);
            // What was stored otherwise since names its chunks itself.
            if version.chunks == ChunkList::Parts {
                of_parts.insert(version.manifest);
            }
        }
        for (key, _) in self.view.scan(&keys::parts_in_every_version()) {
            let (version, _) = keys::parse_parts(&key).expect("a key of that range");
            census.lists += usize::from(!owners.contains(&version));
        }
        let listed: Vec<VersionId> =
            of_parts.iter().flat_map(|version| self.view.parts(*version)).map(|part| part.id).collect();
        owners.extend(listed);
        for (key, entry) in self.view.scan(&keys::every_part()) {
            let (upload, _) = keys::parse_part(&key).expect("a key of that range");
            owners.insert(PartRecord::decode(&entry.value).expect("the product wrote it").id);
            let is_garbage = self.view.get(&keys::garbage(VersionId(upload.0))).is_some();
            if !is_garbage && !self.is_open(upload) {
                self.violated(format!("law 4: a part of upload {upload}, which is not open, is nobody's to collect"));
            }
        }
        let mut needed = BTreeSet::new();
        for (key, _) in self.view.scan(&keys::every_reference()) {
            let (chunk, version) = keys::parse_reference(&key).expect("a key of that range");
            needed.insert(chunk);
            if self.view.chunk(chunk).is_none() {
                self.violated(format!("law 5: chunk {chunk} is referenced and has no record"));
            }
            let pending = self.view.get(&keys::intent(version)).is_some();
            census.ownerless += usize::from(!pending && !owners.contains(&version));
        }
        for (key, entry) in self.view.scan(&keys::chunks()) {
            let chunk = keys::parse_chunk(&key).expect("a key of that range");
            let live = ChunkRecord::decode(&entry.value).expect("the product wrote it").state == ChunkState::Live;
            census.unreferenced += usize::from(live && !needed.contains(&chunk));
        }
    }

    fn is_open(&self, upload: UploadId) -> bool {
        let uploads = self.view.scan(&keys::every_upload());
        uploads.iter().any(|(key, _)| keys::parse_upload(key).expect("a key of that range").2 == upload)
    }

    fn count_versions(&self, census: &mut Census) {
        for (key, entry) in self.view.scan(&keys::every_object()) {
            let (bucket, name) = keys::parse_object(&key).expect("a key of that range");
            let name = &called(bucket, name);
            let offset = self.state().offset(name);
            let object = ObjectRecord::decode(&entry.value).expect("the product wrote it");
            for number in object.purged_through + 1..=object.last_number {
                if self.state().removed.contains_key(&(name.to_owned(), offset + number)) {
                    continue;
                }
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
                        self.violated(format!(
                            "law 5: number {number} of {name} needs chunk {}, condemned",
                            entry.chunk
                        ));
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
        let good = self.view.good_copies(chunk, record);
        if good < record.code.read_quorum() {
            self.violated(format!(
                "law 1: chunk {chunk} has {good} good shards left of {}: {:?}",
                record.code, record.shards
            ));
        }
        census.degraded += usize::from(good < record.code.shards());
        let short = record.code.shards() > record.shards.len();
        if short {
            census.short += 1;
            if !self.view.is_queued(chunk) {
                self.violated(format!("law 8: chunk {chunk} is short of shards and nobody is to repair it"));
            }
        }
    }
}
