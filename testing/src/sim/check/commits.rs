//! What must hold of every commit at the moment it happens.

use super::documents::{is_document, is_made_of};
use super::view::{bucket_and_key, called};
use super::{Asked, Before, Moment, OPERATION, OpId, Oracle, Published, State};
use crate::sim::client::uploads::is_of_parts;
use crate::sim::node::Held;
use coordinator::metadata::records::{
    ChunkRecord, ChunkState, ObjectRecord, ObjectState, Record, ShardPlace, VersionRecord,
};
use coordinator::metadata::{Batch, keys};
use coordinator::object::{Condition, ContentTag};
use protocol::ChunkId;
use std::collections::BTreeSet;

impl Oracle {
    /// A commit happened.
    pub fn committed(&self, batch: &Batch, before: &Before) {
        self.copies_changed(batch, before);
        let chunks = keys::chunks();
        let (objects, versions) = (keys::every_object(), keys::every_version());
        for key in batch.deletes.iter().filter(|key| (&chunks.from..&chunks.to).contains(key)) {
            self.chunk_collected(keys::parse_chunk(key).expect("a key of that range"));
        }
        for key in batch.deletes.iter().filter(|key| (&objects.from..&objects.to).contains(key)) {
            let (bucket, name) = keys::parse_object(key).expect("a key of that range");
            self.object_forgotten(&called(bucket, name), batch);
        }
        for (key, value) in &batch.puts {
            if (&chunks.from..&chunks.to).contains(&key) {
                let chunk = keys::parse_chunk(key).expect("a key of that range");
                self.chunk_named(chunk, &ChunkRecord::decode(value).expect("the product wrote it"));
            } else if (&objects.from..&objects.to).contains(&key) {
                let (bucket, name) = keys::parse_object(key).expect("a key of that range");
                let record = ObjectRecord::decode(value).expect("the product wrote it");
                self.object_changed(&called(bucket, name), &record, batch);
            } else if (&versions.from..&versions.to).contains(&key) {
                self.version_switched(key, &VersionRecord::decode(value).expect("the product wrote it"));
            }
        }
        self.uploads_changed(batch);
        self.buckets_changed(batch);
    }

    /// Law 1 and law 4: no record names a shard that is not durable, and none names fewer than a quorum.
    fn chunk_named(&self, chunk: ChunkId, record: &ChunkRecord) {
        self.state().counts.chunks_named += 1;
        if record.state == ChunkState::Condemned {
            return;
        }
        let nodes: BTreeSet<_> = record.shards.iter().map(|place| &place.node).collect();
        // Copies are all the same piece; of other codes each piece is another one.
        let piece =
            |place: &ShardPlace| if record.code.data == 1 { place.index } else { record.code.piece(place.index) };
        let indexes: BTreeSet<_> = record.shards.iter().map(piece).collect();
        if nodes.len() != record.shards.len() || indexes.len() != record.shards.len() {
            self.violated(format!("law 1: chunk {chunk} is named twice on a node or by an index: {:?}", record.shards));
        }
        if nodes.len() < self.view.quorum(record) {
            self.violated(format!("law 1: chunk {chunk} is named on {} nodes only", nodes.len()));
        }
        for place in &record.shards {
            let held = self.view.held(chunk, place);
            let durable = match held {
                Held::Good { crc } => crc == place.crc,
                Held::Damaged | Held::Lost => true,
                Held::Deleted | Held::Never => false,
            };
            if !durable {
                self.violated(format!("law 1: chunk {chunk} is named on {}, where it is {held:?}", place.node));
            }
        }
    }

    /// Law 5: nothing that is referred to is collected, whatever races with what.
    fn chunk_collected(&self, chunk: ChunkId) {
        self.world.tell(|| format!("chunk {chunk} is collected"));
        for (key, _) in self.view.scan(&keys::references(chunk)) {
            let (_, version) = keys::parse_reference(&key).expect("a key of that range");
            self.violated(format!("law 5: chunk {chunk} was collected while version {version} refers to it"));
        }
    }

    fn object_changed(&self, key: &str, record: &ObjectRecord, batch: &Batch) {
        let mut state = self.state();
        let removed = state.removed_versions(key, batch);
        let annotates = state.annotates(key, batch);
        let made = state.made_version(key, record, batch);
        let before = state.moment(key);
        state.sequence += 1;
        let offset = state.offset(key);
        let moment = Moment {
            since: state.sequence,
            last_number: offset + record.last_number,
            purged_through: offset + record.purged_through,
            live: (record.state == ObjectState::Live).then_some(offset + record.number),
            purged: record.state == ObjectState::Purged,
        };
        self.world.tell(|| format!("commit {key} {:?} number {}", record.state, record.number));
        let stays = (annotates || !removed.is_empty()) && moment.last_number == before.last_number;
        let grows = moment.last_number > before.last_number || stays;
        if !grows || moment.purged_through < before.purged_through {
            let what = format!("law 7: numbers of {key} do not grow: {before:?}, then {moment:?}");
            state.violated(&self.world, what);
        }
        // A conversion of an older version writes the key's record as it was.
        let is_as_it_was = removed.is_empty() && Moment { since: before.since, ..moment } == before;
        if !is_as_it_was {
            state.keys.entry(key.to_owned()).or_default().push(moment);
        }
        for number in &removed {
            state.removed.insert((key.to_owned(), *number), moment.since);
        }
        state.counts.nulls_replaced += u64::from(made.is_some() && !removed.is_empty());
        drop(state);
        self.nulls_are_one(key, record);
        self.bucket_is_there(key, record);
        match (moment.live, made) {
            (None, _) => {}
            (Some(_), Some(version)) => self.version_published(key, record, &version, before),
            (Some(_), None)
                if self.view.version(key, record.number).is_some_and(|version| version.id == record.current) => {}
            (Some(number), None) => {
                self.violated(format!("law 3: number {number} of {key} is current and has no version"));
            }
        }
    }

    /// A key's record went with its last version, or after it.
    fn object_forgotten(&self, key: &str, batch: &Batch) {
        let mut state = self.state();
        let removed = state.removed_versions(key, batch);
        let before = state.moment(key);
        state.counts.keys_forgotten += 1;
        state.offsets.insert(key.to_owned(), before.last_number);
        self.world.tell(|| format!("commit {key} is forgotten"));
        if before.purged {
            return;
        }
        state.sequence += 1;
        let since = state.sequence;
        for number in removed {
            state.removed.insert((key.to_owned(), number), since);
        }
        let moment = Moment { since, purged_through: before.last_number, live: None, purged: true, ..before };
        state.keys.entry(key.to_owned()).or_default().push(moment);
        drop(state);
        let (bucket, name) = bucket_and_key(key);
        let left = self.view.scan(&keys::versions(bucket, name)).len();
        if left > 0 {
            self.violated(format!("law 7: {key} was forgotten while {left} versions have its numbers"));
        }
    }

    /// S3 calls one version of a key null, and no more.
    fn nulls_are_one(&self, key: &str, object: &ObjectRecord) {
        let (bucket, name) = bucket_and_key(key);
        let versions = self.view.scan(&keys::versions(bucket, name)).into_iter();
        let versions = versions.map(|(_, entry)| VersionRecord::decode(&entry.value).expect("the product wrote it"));
        let nulls: Vec<u64> = versions
            .filter(|version| version.is_null && version.number > object.purged_through)
            .map(|version| version.number)
            .collect();
        if nulls != Vec::from_iter(object.null_number) {
            self.violated(format!("{key} has null versions {nulls:?}, and its record says {object:?}"));
        }
    }

    fn version_published(&self, key: &str, object: &ObjectRecord, version: &VersionRecord, before: Moment) {
        if version.id != object.current || version.number != object.number || object.number != object.last_number {
            self.violated(format!("law 7: object and version of {key} disagree: {object:?}, {version:?}"));
        }
        let mut state = self.state();
        if let Some(what) = state.publish(key, version, before) {
            state.violated(&self.world, what);
        }
        drop(state);
        if let Err(what) = self.whole(version) {
            self.violated(format!("law 3: {key} number {} became visible, but {what}", version.number));
        }
    }

    /// Law 3: what a version is switched over to is all there, and nobody put the version out of sight.
    fn version_switched(&self, key: &[u8], version: &VersionRecord) {
        if version.manifest == version.id {
            return;
        }
        let (bucket, name, number) = keys::parse_version(key).expect("a key of that range");
        self.state().counts.switched += 1;
        if let Err(what) = self.whole(version) {
            self.violated(format!("law 3: {bucket}/{name} number {number} was switched over, but {what}"));
        }
        let object: Option<ObjectRecord> = self.view.record(&keys::object(bucket, name));
        if object.is_none_or(|object| number <= object.purged_through) {
            self.violated(format!("law 7: {bucket}/{name} number {number} was switched over after its purge"));
        }
    }

    /// Every chunk of the version has a live record and a reference by this version, or by the part it came with.
    pub(super) fn whole(&self, version: &VersionRecord) -> Result<(), String> {
        for (owner, entry) in self.view.owned(version)? {
            let Some(record) = self.view.chunk(entry.chunk) else {
                return Err(format!("chunk {} has no record", entry.chunk));
            };
            if record.sha256 != entry.sha256 {
                return Err(format!("chunk {} has another digest", entry.chunk));
            }
            if self.view.get(&keys::reference(entry.chunk, owner)).is_none() {
                return Err(format!("law 5: chunk {} is not referenced", entry.chunk));
            }
        }
        Ok(())
    }
}

impl State {
    /// What is added to a key's numbers.
    pub(super) fn offset(&self, key: &str) -> u64 {
        self.offsets.get(key).copied().unwrap_or(0)
    }

    /// The numbers whose versions a commit of the key removes by themselves.
    fn removed_versions(&self, key: &str, batch: &Batch) -> Vec<u64> {
        let (bucket, name) = bucket_and_key(key);
        let range = keys::versions(bucket, name);
        let removed = batch.deletes.iter().filter(|key| (&range.from..&range.to).contains(key));
        let (offset, number) = (self.offset(key), |key| keys::parse_version(key).expect("a key of that range").2);
        removed.map(|key| offset + number(key)).collect()
    }

    /// Whether a commit changes what is said of a version that was there before.
    fn annotates(&self, key: &str, batch: &Batch) -> bool {
        let (bucket, name) = bucket_and_key(key);
        let range = keys::versions(bucket, name);
        let mut put = batch.puts.iter().filter(|(key, _)| (&range.from..&range.to).contains(&key));
        put.any(|(_, value)| {
            let version = VersionRecord::decode(value).expect("the product wrote it");
            self.numbers.get(&version.id) == Some(&(self.offset(key) + version.number))
        })
    }

    /// The newest version of the key, if a commit makes it.
    fn made_version(&mut self, key: &str, object: &ObjectRecord, batch: &Batch) -> Option<VersionRecord> {
        let (bucket, name) = bucket_and_key(key);
        let version_key = keys::version(bucket, name, object.number);
        let (_, value) = batch.puts.iter().find(|(key, _)| *key == version_key)?;
        let version = VersionRecord::decode(value).expect("the product wrote it");
        let number = self.offset(key) + version.number;
        // One that was there before was told something new of.
        self.numbers.insert(version.id, number).is_none().then_some(version)
    }

    /// Notes a published version; gives what is wrong with it.
    fn publish(&mut self, key: &str, version: &VersionRecord, before: Moment) -> Option<String> {
        let since = self.sequence;
        let named: OpId = version.metadata.get(OPERATION)?.parse().ok()?;
        let op = match self.operations[named].landed {
            // What a document is changed to keeps what was said of it before.
            Some(_) if is_document(key) => match self.change_that_made(key, version, before) {
                Ok(op) => op,
                Err(what) => return Some(what),
            },
            _ => named,
        };
        let (id, number) = (version.id, self.offset(key) + version.number);
        let published = Published { op, id, shown: version.number, etag: version.etag };
        let twice = self.published.insert((key.to_owned(), number), published);
        let landed_before = self.operations[op].landed.replace((number, since, id));
        let operation = &self.operations[op];
        let Some(body) = self.body(op) else {
            return Some(format!("operation {op} is no put and published number {number} of {key}"));
        };
        if let Some(other) = twice {
            return Some(format!("law 7: number {number} of {key} was published twice: {other:?}, then by {op}"));
        }
        if let Some(first) = landed_before {
            return Some(format!("law 3: operation {op} was published twice: {first:?}, then as number {number}"));
        }
        if operation.refused {
            return Some(format!("law 3: operation {op} was refused, and became number {number} of {key}"));
        }
        // What is put together from parts is hashed by nobody; its readers are.
        let is_right = version.sha256.map_or(is_of_parts(version.etag), |sha256| sha256 == body.sha256)
            && (!is_document(key) || is_made_of(version, &body.data));
        if operation.key != key || !is_right || version.size != body.data.len() as u64 {
            return Some(format!("law 6: number {number} of {key} is not what operation {op} sent"));
        }
        let Asked::Put { condition, .. } = &operation.asked else { return None };
        let current = before.live.and_then(|number| self.digest(key, number));
        let holds = match condition {
            Condition::None => true,
            Condition::Absent => before.live.is_none(),
            Condition::Matches(wanted) => {
                current.is_some_and(|digest| wanted.is_empty() || wanted.contains(&ContentTag::Sha256(digest)))
            }
            Condition::Is(_) | Condition::UnmodifiedSince(_) => {
                unreachable!("no client asks for {condition:?} of a put")
            }
            Condition::Current(version) => {
                unreachable!("changes of documents name no operation; this one follows {version}")
            }
        };
        (!holds).then(|| format!("operation {op} was published although its condition did not hold: {before:?}"))
    }

    /// The digest of a version that was published.
    fn digest(&self, key: &str, number: u64) -> Option<[u8; 32]> {
        let published = self.published.get(&(key.to_owned(), number))?;
        match &self.operations[published.op].asked {
            Asked::Put { body, .. } => Some(body.sha256),
            Asked::Change { .. } | Asked::Delete { .. } | Asked::Remove { .. } | Asked::Bucket => None,
        }
    }
}
