//! Bugs of healers and collectors: each sits between a workers' process and its metadata and nodes, and does what a worker with that
//! bug would do.

use super::{Bug, within};
use crate::sim::check::LEASE;
use crate::sim::link::url;
use crate::sim::node::{Mode, SimNode};
use async_trait::async_trait;
use bytes::Bytes;
use coordinator::metadata::records::{
    ChunkList, ChunkRecord, ChunkState, Garbage, GarbageRecord, Record, ShardPlace, TrashRecord, VersionId,
    VersionRecord,
};
use coordinator::metadata::{Batch, Entry, Metadata, SCAN_ENTRIES_MAX, keys};
use protocol::{
    ChunkId, Error, ErrorKind, Node, NodeHealth, PutOutcome, Result, Shard, ShardCopy, ShardHead, ShardId, ShardPage,
    VerifyCursor, VerifyReport,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A bug in one process, and what it remembers.
struct Sabotage {
    bug: Bug,
    nodes: Vec<Arc<SimNode>>,
    links: Vec<Arc<dyn Node>>,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// Copies as they should have been.
    claimed: BTreeMap<(usize, ShardId), ShardHead>,
    /// Shards whose nodes did not answer.
    silent: BTreeSet<(usize, ShardId)>,
    /// Where the references of condemned chunks are.
    condemned: BTreeSet<Bytes>,
}

/// The process's metadata and nodes with the bug.
pub(super) fn plant(
    bug: Bug,
    nodes: &[Arc<SimNode>],
    inner: Arc<dyn Metadata>,
    links: Vec<Arc<dyn Node>>,
) -> (Arc<dyn Metadata>, Vec<Arc<dyn Node>>) {
    let sabotage = Arc::new(Sabotage { bug, nodes: nodes.to_vec(), links: links.clone(), memory: Mutex::default() });
    let links = links.into_iter().enumerate();
    let links = links
        .map(|(place, inner)| -> Arc<dyn Node> { Arc::new(BuggyNode { sabotage: sabotage.clone(), place, inner }) });
    let links = links.collect();
    (Arc::new(BuggyMetadata { sabotage, inner }), links)
}

impl Sabotage {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_silent(&self, chunk: ChunkId, place: &ShardPlace) -> bool {
        let node = self.nodes.iter().position(|node| *node.id() == place.node);
        let shard = ShardId { chunk, index: place.index };
        node.is_some_and(|node| self.memory().silent.contains(&(node, shard)))
    }

    fn spoilt(&self, mut batch: Batch) -> Batch {
        let chunks = keys::chunks();
        let lease = keys::lease(LEASE);
        match self.bug {
            Bug::CommitWithoutLease
                if !batch.puts.iter().any(|(key, _)| *key == lease || *key == keys::beat(LEASE)) =>
            {
                batch.checks.retain(|(key, _)| *key != lease);
            }
            Bug::OrphansWithoutFence => {
                let is_fence = |value: &Bytes| ChunkRecord::decode(value).is_ok_and(|record| record.shards.is_empty());
                let fences: Vec<Bytes> = batch
                    .puts
                    .iter()
                    .filter(|(key, value)| within(key, &chunks) && is_fence(value))
                    .map(|(key, _)| key.clone())
                    .collect();
                batch.puts.retain(|(key, _)| !fences.contains(key));
                batch.checks.retain(|(key, _)| !fences.contains(key));
            }
            Bug::SwitchUnwatched if switches(&batch) => {
                batch.checks.retain(|(key, _)| keys::parse_object(key).is_err() && keys::parse_version(key).is_err())
            }
            Bug::SwitchForgetsTheOld if switches(&batch) => {
                batch.puts.retain(|(key, _)| !within(key, &keys::garbages()))
            }
            Bug::HealerForgetsTheRest => batch.puts.retain(|(key, _)| !within(key, &keys::repairs())),
            Bug::HealerDropsOnSilence => self.drop_the_silent(&mut batch),
            Bug::NamedInTrash => {
                let trash = |(chunk, record): (ChunkId, ChunkRecord)| {
                    let key = move |place: ShardPlace| keys::trash(&place.node, ShardId { chunk, index: place.index });
                    record.shards.into_iter().map(key)
                };
                let named: Vec<Bytes> = live_chunks(&batch).flat_map(trash).collect();
                for key in named {
                    batch.put(key, TrashRecord::default().encode());
                }
            }
            _ => {}
        }
        batch
    }

    /// Who did not answer has nothing, and what has nothing need not be named.
    fn drop_the_silent(&self, batch: &mut Batch) {
        for (chunk, mut record) in live_chunks(batch).collect::<Vec<_>>() {
            let (silent, rest): (Vec<ShardPlace>, Vec<ShardPlace>) =
                record.shards.iter().cloned().partition(|place| self.is_silent(chunk, place));
            if rest.len() < 2 {
                continue;
            }
            record.shards = rest;
            for place in silent {
                record.fence = record.fence.max(place.index + 1);
                let trash = keys::trash(&place.node, ShardId { chunk, index: place.index });
                batch.put(trash, TrashRecord::default().encode());
            }
            let key = keys::chunk(chunk);
            batch.puts.iter_mut().filter(|(put, _)| *put == key).for_each(|(_, value)| *value = record.encode());
        }
    }
}

/// The live chunks that a batch puts.
fn live_chunks(batch: &Batch) -> impl Iterator<Item = (ChunkId, ChunkRecord)> {
    let range = keys::chunks();
    let chunks = batch.puts.iter().filter(move |(key, _)| within(key, &range));
    let chunks = chunks.map(|(key, value)| Some((keys::parse_chunk(key).ok()?, ChunkRecord::decode(value).ok()?)));
    chunks.flatten().filter(|(_, record)| record.state == ChunkState::Live)
}

/// What is garbage of a document without its cold part.
fn forget_cold(entry: &mut Entry) {
    if let Ok(GarbageRecord { garbage: Garbage::Manifest { chunks: ChunkList::Document { hot, .. } }, since_ms }) =
        GarbageRecord::decode(&entry.value)
    {
        let garbage = Garbage::Manifest { chunks: ChunkList::Document { hot, cold: Vec::new() } };
        entry.value = GarbageRecord { garbage, since_ms }.encode();
    }
}

struct BuggyMetadata {
    sabotage: Arc<Sabotage>,
    inner: Arc<dyn Metadata>,
}

impl BuggyMetadata {
    /// Deletes at once what the batch only puts into the trash.
    async fn delete_first(&self, batch: &Batch) {
        if !batch.deletes.iter().any(|key| within(key, &keys::chunks())) {
            return;
        }
        for (key, _) in batch.puts.iter().filter(|(key, _)| within(key, &keys::all_trash())) {
            let (node, shard) = keys::parse_trash(key).expect("a key of that range");
            let place = self.sabotage.nodes.iter().position(|other| *other.id() == node).expect("records name nodes");
            drop(self.sabotage.links[place].delete(vec![shard]).await);
        }
    }

    /// Takes an upload apart, and only then gives it up.
    async fn take_apart_first(&self, batch: &Batch) -> Result<()> {
        let given_up = batch.deletes.iter().find_map(|key| keys::parse_intent(key).ok());
        let Some(version) =
            given_up.filter(|version| batch.puts.iter().any(|(key, _)| *key == keys::garbage(*version)))
        else {
            return Ok(());
        };
        let mut commit = Batch::new();
        for key in self.pages(version).await? {
            commit.delete(key);
        }
        self.inner.commit(commit).await
    }

    async fn pages(&self, version: VersionId) -> Result<Vec<Bytes>> {
        let range = keys::pages_from(version, 0);
        let pages = self.inner.scan(&range.from, &range.to, SCAN_ENTRIES_MAX).await?;
        Ok(pages.into_iter().map(|(key, _)| key).collect())
    }

    fn note_condemned(&self, batch: &Batch) {
        for (key, value) in batch.puts.iter().filter(|(key, _)| within(key, &keys::chunks())) {
            let condemned = ChunkRecord::decode(value).is_ok_and(|record| record.state == ChunkState::Condemned);
            let from = keys::references(keys::parse_chunk(key).expect("a key of that range")).from;
            if condemned {
                self.sabotage.memory().condemned.insert(from);
            }
        }
    }
}

/// Whether a batch switches a version over to another manifest.
fn switches(batch: &Batch) -> bool {
    let versions = batch.puts.iter().filter(|(key, _)| within(key, &keys::every_version()));
    let mut records = versions.filter_map(|(_, value)| VersionRecord::decode(value).ok());
    records.any(|version| version.manifest != version.id)
}

#[async_trait]
impl Metadata for BuggyMetadata {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        let found = self.inner.get(key).await?;
        let Some(entry) = &found else { return Ok(None) };
        match ChunkRecord::decode(&entry.value) {
            Ok(record) if self.sabotage.bug == Bug::FencedIndexRenamed && record.state == ChunkState::Live => {
                let record = ChunkRecord { fence: 0, ..record };
                Ok(Some(Entry { value: record.encode(), revision: entry.revision }))
            }
            _ => Ok(found),
        }
    }

    async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Entry)>> {
        let lists = keys::parts_in_every_version();
        let is_list = (&lists.from[..]..&lists.to[..]).contains(&from);
        if self.sabotage.bug == Bug::ListedPartsCollected && is_list {
            return Ok(Vec::new());
        }
        if self.sabotage.bug == Bug::NoSecondLook && self.sabotage.memory().condemned.contains(from) {
            return Ok(Vec::new());
        }
        let mut found = self.inner.scan(from, to, limit).await?;
        if self.sabotage.bug == Bug::ColdPartKept {
            found.iter_mut().for_each(|(_, entry)| forget_cold(entry));
        }
        Ok(found)
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        match self.sabotage.bug {
            Bug::DeleteBeforeUnlink => self.delete_first(&batch).await,
            Bug::PagesBeforeIntent => self.take_apart_first(&batch).await?,
            Bug::NoSecondLook => self.note_condemned(&batch),
            _ => {}
        }
        self.inner.commit(self.sabotage.spoilt(batch)).await
    }
}

struct BuggyNode {
    sabotage: Arc<Sabotage>,
    place: usize,
    inner: Arc<dyn Node>,
}

impl BuggyNode {
    /// Copies what is there, whatever it is, and believes that it is what was wanted.
    async fn copy_unchecked(&self, id: ShardId, copy: &ShardCopy) -> Result<()> {
        let source = self.sabotage.nodes.iter().find(|node| url(node) == copy.source && node.mode() == Mode::Up);
        let Some(source) = source else { return Err(Error::unavailable("the source does not answer")) };
        let Some(data) = source.unchecked(copy.shard) else { return Err(Error::not_found("nothing to copy")) };
        self.inner.put(vec![Shard::new(id, data)]).await?[0]?;
        let head = ShardHead { id, length: copy.length, crc: copy.crc };
        self.sabotage.memory().claimed.insert((self.place, id), head);
        Ok(())
    }

    /// Stores other bytes than were to be stored, and believes that they are those.
    async fn put_wrong(&self, shards: Vec<Shard>) -> Result<Vec<PutOutcome>> {
        let claimed =
            shards.iter().map(|Shard { id, crc, data }| ShardHead { id: *id, length: data.len() as u32, crc: *crc });
        let claimed: Vec<ShardHead> = claimed.collect();
        let wrong = |shard: Shard| Shard::new(shard.id, shard.data.iter().map(|byte| !byte).collect());
        let outcomes = self.inner.put(shards.into_iter().map(wrong).collect()).await?;
        self.sabotage.memory().claimed.extend(claimed.into_iter().map(|head| ((self.place, head.id), head)));
        Ok(outcomes)
    }

    fn silence_is_absence<T>(&self, id: ShardId, outcome: Result<T>) -> Result<T> {
        match outcome {
            Err(error) if self.sabotage.bug == Bug::HealerDropsOnSilence && error.kind == ErrorKind::Unavailable => {
                self.sabotage.memory().silent.insert((self.place, id));
                Err(Error::not_found(error.message))
            }
            outcome => outcome,
        }
    }
}

#[async_trait]
impl Node for BuggyNode {
    async fn put(&self, shards: Vec<Shard>) -> Result<Vec<PutOutcome>> {
        match self.sabotage.bug {
            Bug::RebuiltUnproved => self.put_wrong(shards).await,
            _ => self.inner.put(shards).await,
        }
    }

    async fn get(&self, id: ShardId) -> Result<Bytes> {
        self.silence_is_absence(id, self.inner.get(id).await)
    }

    async fn head(&self, id: ShardId) -> Result<ShardHead> {
        if let Some(head) = self.sabotage.memory().claimed.get(&(self.place, id)) {
            return Ok(*head);
        }
        self.silence_is_absence(id, self.inner.head(id).await)
    }

    async fn delete(&self, ids: Vec<ShardId>) -> Result<Vec<PutOutcome>> {
        let count = ids.len();
        match self.inner.delete(ids).await {
            Err(_) if self.sabotage.bug == Bug::DeleteUnconfirmed => Ok(vec![Ok(()); count]),
            outcome => outcome,
        }
    }

    async fn list(&self, after: Option<ShardId>, limit: usize) -> Result<ShardPage> {
        self.inner.list(after, limit).await
    }

    async fn verify(&self, cursor: VerifyCursor, limit_bytes: u64) -> Result<VerifyReport> {
        self.inner.verify(cursor, limit_bytes).await
    }

    async fn copy_from(&self, id: ShardId, copy: &ShardCopy) -> Result<()> {
        match self.sabotage.bug {
            Bug::HealerTrustsSource => self.copy_unchecked(id, copy).await,
            _ => self.inner.copy_from(id, copy).await,
        }
    }

    async fn health(&self) -> Result<NodeHealth> {
        self.inner.health().await
    }
}
