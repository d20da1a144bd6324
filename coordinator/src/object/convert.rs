//! Convert: a version's bytes stored once more, as another storage class has it, and the version switched over to them.
//!
//! Steps; a crash after any of them leaves the version as it was until the last, and as it is to be from then on:
//! 1. a manifest with an id of its own is composed of the version's chunks ([`super::compose`]): what is encoded otherwise is read, proved,
//!    stored as the new class has it at its quorum, and named as pages under an intent; a version of one batch needs none;
//! 2. a version of parts keeps the list of its parts, which is written anew under that id;
//! 3. one commit checks that the version is as it was but for what is said of it, names the last batch, has the version's record name the
//!    new manifest and class, and makes garbage of the old one, which is kept for the trash window, for those who are reading it.
//!
//! What it keeps true: id, number, ETag and bytes of the version stay what they are, and so does who may delete it. What was composed and
//! not switched to is found by its intent (law 4).

use super::Objects;
use super::batch::StoredBatch;
use super::compose::Composition;
use super::copy::SourceVersion;
use super::marker::standing_for;
use super::name::ObjectName;
use super::page::given_up;
use super::resolve::{Version, VersionSelector};
use super::settle;
use crate::code::Code;
use crate::metadata::records::{
    ChunkList, Garbage, GarbageRecord, PageRecord, PartsRecord, Record, StorageClass, TransitionRecord, VersionId,
    VersionRecord,
};
use crate::metadata::{Batch, Expect, keys};
use crate::placement::Health;
use protocol::{Error, ErrorKind, Result};

/// How often the switch is tried anew when others change the key or a chunk first.
const SWITCH_ATTEMPTS_MAX: u32 = 32;
/// Records of parts that are written anew by one commit.
const LISTS_PER_COMMIT: usize = 32;
/// A conversion leaves free as many bytes again as it takes: the rest of the room is for clients.
const ROOM_TIMES: u64 = 2;

/// A version that is being stored as another class.
pub struct Conversion {
    name: ObjectName,
    /// As it was when this began.
    source: VersionRecord,
    class: StorageClass,
    composition: Composition,
    /// Whether the list of its parts is written anew, or there is none.
    is_listed: bool,
    /// The last batch, once it is stored.
    last: Option<StoredBatch>,
}

/// What became of a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Converted {
    /// The version is of the new class.
    Done,
    /// It is gone, or was converted by somebody else.
    Overtaken,
}

impl Objects {
    /// The version with this number and id, if it can be seen and has bytes.
    pub async fn version_still(
        &self,
        name: &ObjectName,
        number: u64,
        id: VersionId,
    ) -> Result<Option<Box<VersionRecord>>> {
        Ok(match self.resolve(name, VersionSelector::Number(number)).await? {
            Version::Found(version) if version.id == id => Some(version),
            _ => None,
        })
    }

    /// Has the worker store a version as `class`; false if it is that already, is waiting to be, or is a document by its fields.
    pub async fn order_transition(
        &self,
        name: &ObjectName,
        version: &VersionRecord,
        class: StorageClass,
        reason: String,
    ) -> Result<bool> {
        if matches!(version.chunks, ChunkList::Document { .. }) {
            return Ok(false);
        }
        let key = keys::transition(version.id);
        let entry = self.metadata.get(&key).await?;
        let waiting = entry.as_ref().map(|entry| TransitionRecord::decode(&entry.value)).transpose()?;
        let mut commit = Batch::new();
        commit.check(key.clone(), Expect::unchanged(entry.as_ref()));
        match waiting {
            Some(waiting) if waiting.class == class => return Ok(false),
            // The worker would find nothing to do.
            Some(_) if version.storage_class == class => commit.delete(key),
            None if version.storage_class == class => return Ok(false),
            _ => {
                let record = TransitionRecord {
                    bucket: name.bucket().as_str().to_owned(),
                    key: name.key().to_owned(),
                    number: version.number,
                    class,
                    size: version.size,
                    reason,
                    since_ms: self.clock.now_ms(),
                };
                commit.put(key, record.encode())
            }
        };
        match self.metadata.commit(commit).await {
            Ok(()) => Ok(version.storage_class != class),
            // Somebody else ordered something at the same time; whoever still wants this asks again.
            Err(error) if error.kind == ErrorKind::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The versions that are to be stored otherwise, after the one with this id.
    pub async fn transitions(
        &self,
        after: Option<VersionId>,
        limit: usize,
    ) -> Result<Vec<(VersionId, TransitionRecord)>> {
        let mut range = keys::transitions();
        if let Some(after) = after {
            range.from = keys::after(&keys::transition(after));
        }
        let found = self.metadata.scan(&range.from, &range.to, limit).await?;
        let listed = found.iter();
        listed.map(|(key, entry)| Ok((keys::parse_transition(key)?, TransitionRecord::decode(&entry.value)?))).collect()
    }

    /// Begins to store `source` as `class`. Nothing is done yet.
    ///
    /// `Unavailable` as [`Objects::code_of`]; `Full` without room for both; `Invalid` for a document by its fields, which is in two codes.
    pub fn convert(&self, name: &ObjectName, source: VersionRecord, class: StorageClass) -> Result<Conversion> {
        if matches!(source.chunks, ChunkList::Document { .. }) {
            return Err(Error::invalid("a document by its fields is in two codes and has no class of its own"));
        }
        let code = self.code_of(class)?;
        self.require_space(code, source.size)?;
        let composition = Composition::of(self, SourceVersion { name, version: &source }, code);
        let is_listed = source.parts.is_none();
        Ok(Conversion { name: name.clone(), source, class, composition, is_listed, last: None })
    }

    fn require_space(&self, code: Code, bytes: u64) -> Result<()> {
        let needed = u128::from(bytes) * code.shards() as u128 / u128::from(code.data);
        let candidates = self.nodes.candidates();
        let open = candidates.iter().filter(|node| node.accepts_writes && node.health != Health::Down);
        let free: u128 = open.map(|node| u128::from(node.free_bytes)).sum();
        if free >= needed * u128::from(ROOM_TIMES) {
            return Ok(());
        }
        Err(Error::full(format!(
            "storing {bytes} bytes as {code} takes {needed} bytes more until the old ones go, and the nodes have {free} free; \
             add a node or delete something"
        )))
    }
}

impl Conversion {
    /// The version.
    pub fn source(&self) -> &VersionRecord {
        &self.source
    }

    /// Stores and names some more of it; of how many bytes, or `None` when only the end is left, which is stored then.
    ///
    /// `Unavailable` while too many shards of a chunk cannot be read, or too few written; the conversion is to be discarded then.
    pub async fn advance(&mut self) -> Result<Option<u64>> {
        if !self.is_listed {
            self.copy_list().await?;
            self.is_listed = true;
        }
        let from = self.composition.next_page_start;
        if self.composition.send_next().await? {
            self.composition.join_all().await?;
            return Ok(Some(self.composition.next_page_start - from));
        }
        self.last = Some(self.composition.last().await?);
        Ok(None)
    }

    /// Writes the list of parts anew, under the new manifest.
    async fn copy_list(&mut self) -> Result<()> {
        let Composition { objects, id, intent, .. } = &mut self.composition;
        intent.begin(objects).await?;
        let mut range = keys::parts_in(self.source.manifest);
        loop {
            let found = objects.metadata.scan(&range.from, &range.to, LISTS_PER_COMMIT).await?;
            let Some((last, _)) = found.last() else { return Ok(()) };
            range.from = keys::after(last);
            let lists = found.iter().map(|(_, entry)| PartsRecord::decode(&entry.value));
            objects.write_list(*id, &lists.collect::<Result<Vec<PartsRecord>>>()?).await?;
        }
    }

    /// Switches the version over, once [`Conversion::advance`] has come to the end.
    ///
    /// `Unknown` if the outcome of the commit could not be learnt: look at the version's manifest before this is done again.
    pub async fn switch(&mut self) -> Result<Converted> {
        let objects = self.composition.objects.clone();
        let mut last = self.last.take().expect("a conversion is switched when all of it is stored");
        let mut is_unsure = false;
        for attempt in 0..SWITCH_ATTEMPTS_MAX {
            objects.back_off(attempt).await;
            let Some((commit, is_done)) = self.plan(&objects, &last).await? else { return Ok(Converted::Overtaken) };
            if is_done {
                return Ok(self.settled(&objects, last));
            }
            if attempt > 0 {
                let intent = keys::intent(self.composition.id);
                if self.composition.intent.is_begun() && objects.metadata.get(&intent).await?.is_none() {
                    return Err(if is_unsure { unknown(&self.source) } else { given_up() });
                }
            }
            match objects.metadata.commit(commit).await {
                Ok(()) => return Ok(self.settled(&objects, last)),
                Err(error) if error.kind == ErrorKind::Conflict => objects.refresh_batch(&mut last).await?,
                Err(error) if error.kind == ErrorKind::Unknown => is_unsure = true,
                Err(error) => return Err(error),
            }
        }
        if is_unsure {
            return Err(unknown(&self.source));
        }
        Err(Error::unavailable(format!("'{}' is being written by too many at once", self.name.key())))
    }

    fn settled(&self, objects: &Objects, last: StoredBatch) -> Converted {
        last.log_shortfall();
        settle::start(objects, last.stragglers);
        Converted::Done
    }

    /// The commit, and whether it has happened already; `None` if there is nothing to switch any more.
    async fn plan(&self, objects: &Objects, last: &StoredBatch) -> Result<Option<(Batch, bool)>> {
        let seen = objects.see_key(&self.name).await?;
        let (bucket, key) = (self.name.bucket().as_str(), self.name.key());
        let number = self.source.number;
        let Some(object) = seen.object.filter(|object| number > object.purged_through) else { return Ok(None) };
        let version_key = keys::version(bucket, key, number);
        let Some(entry) = objects.metadata.get(&version_key).await? else { return Ok(None) };
        let before = VersionRecord::decode(&entry.value)?;
        let id = self.composition.id;
        if before.id == self.source.id && before.manifest == id {
            return Ok(Some((Batch::new(), true)));
        }
        // The order may have been taken back meanwhile.
        if objects.metadata.get(&keys::transition(self.source.id)).await?.is_none() {
            return Ok(None);
        }
        if before.id != self.source.id || before.manifest != self.source.manifest {
            return Ok(None);
        }
        let now_ms = objects.clock.now_ms();
        let mut commit = Batch::new();
        commit.check(keys::object(bucket, key), seen.expect);
        commit.check(version_key.clone(), Expect::Revision(entry.revision));
        last.name_in(&mut commit, id, now_ms);
        if self.composition.intent.is_begun() {
            commit.check(keys::intent(id), Expect::Present).delete(keys::intent(id));
            if !last.entries().is_empty() {
                let page = PageRecord { start: self.composition.next_page_start, entries: last.entries().to_vec() };
                commit.put(keys::page(id, self.source.size), page.encode());
            }
        }
        let version = VersionRecord {
            manifest: id,
            chunks: self.chunks(last),
            storage_class: self.class,
            stored_bytes: self.composition.stored_bytes + last.fresh_stored_bytes(),
            ..before.clone()
        };
        // A listing shows the class of the newest. Of others it is written anew all the same: a removal that has read this version, to have it
        // stand for the key, looks again.
        let object = if object.current == version.id { standing_for(Some(&object), &version) } else { object };
        commit.put(keys::object(bucket, key), object.encode());
        commit.put(version_key, version.encode());
        let garbage = GarbageRecord { garbage: Garbage::Manifest { chunks: before.chunks }, since_ms: now_ms.max(1) };
        commit.put(keys::garbage(before.manifest), garbage.encode());
        commit.check(keys::transition(version.id), Expect::Present).delete(keys::transition(version.id));
        Ok(Some((commit, false)))
    }

    fn chunks(&self, last: &StoredBatch) -> ChunkList {
        match self.composition.intent.is_begun() {
            true => ChunkList::Paged { pages: self.composition.pages + u64::from(!last.entries().is_empty()) },
            false => ChunkList::Inline(last.entries().to_vec()),
        }
    }

    /// Gives up what was stored for it.
    pub async fn discard(mut self) {
        let objects = self.composition.objects.clone();
        drop(self.composition.join_all().await);
        self.composition.intent.discard(&objects).await;
    }
}

fn unknown(version: &VersionRecord) -> Error {
    Error::unknown(format!("the switch of version {} was sent but its outcome is unknown", version.id))
}
