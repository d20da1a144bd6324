//! A model of the workers that give space back, as an adversary of the verbs: it expires intents, takes garbage apart, collects
//! chunks without references and removes orphans, at any time and in any interleaving, by the protocol of design 5 and of
//! `docs/decisions/0003-fenced-fast-path.md`. The real workers take its place when they exist.
//!
//! What it keeps true: no clock decides; every step may be repeated, and may be the last.
//! 1. An intent is deleted first; whoever would publish it fails from then on. Only then go its pages and references.
//! 2. References go before the records they protect; a version's go only when it can never be seen again.
//! 3. A chunk is condemned, then its references are looked for, then its record goes, then its shards.
//! 4. An unnamed shard goes only after a condemned record was put where its chunk's would be.

use super::cluster::Coordinator;
use super::world::{World, pass};
use coordinator::code::Code;
use coordinator::metadata::keys::{self, KeyRange};
use coordinator::metadata::records::{
    ChunkRecord, ChunkState, DigestRecord, Garbage, GarbageRecord, PageRecord, Record, VersionId, VersionRecord,
};
use coordinator::metadata::{Batch, Entry, Expect, Metadata, SCAN_ENTRIES_MAX};
use protocol::{ChunkId, ErrorKind, Result, ShardId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The longest rest between two steps.
const REST_MS_MAX: u64 = 60;
/// Deletes of one commit.
const DELETES_MAX: usize = 40;

/// The workers of one process.
pub struct Collector {
    world: Arc<World>,
    process: Arc<Coordinator>,
}

/// A conflict means that someone else got ahead: the next round sees what they left.
fn or_conflict(outcome: Result<()>) -> Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.kind == ErrorKind::Conflict => Ok(false),
        Err(error) => Err(error),
    }
}

impl Collector {
    /// Workers that call by way of `process`.
    pub fn new(world: Arc<World>, process: Arc<Coordinator>) -> Collector {
        Collector { world, process }
    }

    /// One round of everything; an error ends it where it is. Of the intents it expires so many in a thousand.
    pub async fn round(&self, expired_per_mille: u64) -> Result<()> {
        self.expire_intents(expired_per_mille).await?;
        self.take_garbage_apart().await?;
        self.rest().await;
        self.sweep_references().await?;
        self.rest().await;
        self.collect_chunks().await?;
        self.rest().await;
        self.remove_orphans().await
    }

    /// A worker is slow, and much happens between two of its steps.
    async fn rest(&self) {
        let rest_ms = self.world.draw(|rng| if rng.chance(400) { rng.between(1, REST_MS_MAX) } else { 0 });
        pass(Duration::from_millis(rest_ms)).await;
    }

    fn metadata(&self) -> &Arc<dyn Metadata> {
        &self.process.objects.metadata
    }

    async fn scan(&self, range: KeyRange) -> Result<Vec<(bytes::Bytes, Entry)>> {
        self.metadata().scan(&range.from, &range.to, SCAN_ENTRIES_MAX).await
    }

    /// Whatever its age: an upload whose intent is gone must fail, not do harm.
    async fn expire_intents(&self, expired_per_mille: u64) -> Result<()> {
        for (key, entry) in self.scan(keys::intents()).await? {
            if !self.world.draw(|rng| rng.chance(expired_per_mille)) {
                continue;
            }
            let mut commit = Batch::new();
            commit.check(key.clone(), Expect::Revision(entry.revision)).delete(key);
            or_conflict(self.metadata().commit(commit).await)?;
        }
        Ok(())
    }

    async fn take_garbage_apart(&self) -> Result<()> {
        for (key, entry) in self.scan(keys::garbages()).await? {
            let Garbage::Versions { bucket, key: name, after, through } = GarbageRecord::decode(&entry.value)?.garbage
            else {
                continue;
            };
            for number in after + 1..=through {
                let version = keys::version(&bucket, &name, number);
                let Some(entry) = self.metadata().get(&version).await? else { continue };
                let record = VersionRecord::decode(&entry.value)?;
                // First out of the list of owners; the sweep does the rest.
                let mut commit = Batch::new();
                commit.check(version.clone(), Expect::Revision(entry.revision)).delete(version);
                or_conflict(self.metadata().commit(commit).await)?;
                self.remove_pages(record.id).await?;
            }
            let mut commit = Batch::new();
            commit.delete(key);
            self.metadata().commit(commit).await?;
        }
        Ok(())
    }

    async fn remove_pages(&self, version: VersionId) -> Result<()> {
        for (key, entry) in self.scan(keys::pages_from(version, 0)).await? {
            PageRecord::decode(&entry.value)?;
            let mut commit = Batch::new();
            commit.delete(key);
            self.metadata().commit(commit).await?;
        }
        Ok(())
    }

    /// References first, then uploads under way, then versions: who is missing then will never be an owner again.
    async fn sweep_references(&self) -> Result<()> {
        let references = self.scan(keys::every_reference()).await?;
        let mut owners = BTreeSet::new();
        for (key, _) in self.scan(keys::intents()).await? {
            owners.insert(keys::parse_intent(&key)?);
        }
        for (_, entry) in self.scan(keys::every_version()).await? {
            owners.insert(VersionRecord::decode(&entry.value)?.id);
        }
        let mut ownerless = Vec::new();
        for (key, _) in references {
            let (_, version) = keys::parse_reference(&key)?;
            if !owners.contains(&version) {
                ownerless.push((key, version));
            }
        }
        for some in ownerless.chunks(DELETES_MAX) {
            let mut commit = Batch::new();
            for (key, _) in some {
                commit.delete(key.clone());
            }
            self.metadata().commit(commit).await?;
        }
        let versions: BTreeSet<VersionId> = ownerless.into_iter().map(|(_, version)| version).collect();
        for version in versions {
            self.remove_pages(version).await?;
        }
        Ok(())
    }

    async fn collect_chunks(&self) -> Result<()> {
        for (key, entry) in self.scan(keys::chunks()).await? {
            let chunk = keys::parse_chunk(&key)?;
            let record = ChunkRecord::decode(&entry.value)?;
            if record.state == ChunkState::Live {
                if self.is_referenced(chunk).await? {
                    continue;
                }
                let condemned = ChunkRecord { state: ChunkState::Condemned, ..record };
                if !self.replace(chunk, entry.revision, &condemned).await? {
                    continue;
                }
            }
            self.decide(chunk).await?;
        }
        Ok(())
    }

    /// The chunk is condemned: it is put back, or goes.
    async fn decide(&self, chunk: ChunkId) -> Result<()> {
        let Some(entry) = self.metadata().get(&keys::chunk(chunk)).await? else { return Ok(()) };
        let record = ChunkRecord::decode(&entry.value)?;
        if record.state != ChunkState::Condemned || record.shards.is_empty() {
            return Ok(());
        }
        if self.is_referenced(chunk).await? {
            let live = ChunkRecord { state: ChunkState::Live, ..record };
            return self.replace(chunk, entry.revision, &live).await.map(drop);
        }
        self.rest().await;
        let mut commit = Batch::new();
        commit.check(keys::chunk(chunk), Expect::Revision(entry.revision)).delete(keys::chunk(chunk));
        for severity in 0..=u8::try_from(record.code.shards()).expect("few shards") {
            commit.delete(keys::repair(severity, chunk));
        }
        let digest = keys::digest(&record.sha256, record.code);
        if let Some(entry) = self.metadata().get(&digest).await?
            && DigestRecord::decode(&entry.value)?.chunk == chunk
        {
            commit.check(digest.clone(), Expect::Revision(entry.revision)).delete(digest);
        }
        if or_conflict(self.metadata().commit(commit).await)? {
            self.remove_shards(record.shards.iter().map(|place| (place.node.clone(), place.index)), chunk).await;
        }
        Ok(())
    }

    async fn is_referenced(&self, chunk: ChunkId) -> Result<bool> {
        Ok(!self.scan(keys::references(chunk)).await?.is_empty())
    }

    async fn replace(&self, chunk: ChunkId, revision: u64, record: &ChunkRecord) -> Result<bool> {
        let mut commit = Batch::new();
        commit.check(keys::chunk(chunk), Expect::Revision(revision)).put(keys::chunk(chunk), record.encode());
        or_conflict(self.metadata().commit(commit).await)
    }

    /// What fails here is an orphan from now on.
    async fn remove_shards(&self, places: impl Iterator<Item = (protocol::NodeId, u8)>, chunk: ChunkId) {
        for (node, index) in places {
            if let Some(member) = self.process.objects.nodes.member(&node) {
                drop(member.delete(vec![ShardId { chunk, index }]).await);
            }
        }
    }

    /// Shards whose chunk has no record: fenced, then removed. The fence stays: nobody can say how long a writer sleeps.
    async fn remove_orphans(&self) -> Result<()> {
        let nodes = self.process.objects.nodes.clone();
        for member in nodes.members().iter() {
            let Ok(page) = member.list(None, usize::MAX).await else { continue };
            for shard in page.shards {
                let chunk = shard.id.chunk;
                let fenced = match self.metadata().get(&keys::chunk(chunk)).await? {
                    Some(entry) => ChunkRecord::decode(&entry.value)?.shards.is_empty(),
                    None => self.fence(chunk).await?,
                };
                if fenced {
                    drop(member.delete(vec![shard.id]).await);
                }
            }
        }
        Ok(())
    }

    async fn fence(&self, chunk: ChunkId) -> Result<bool> {
        let fence = ChunkRecord {
            length: 0,
            stored_length: 0,
            sha256: [0; 32],
            compressed: false,
            code: Code::REPLICATION,
            shards: Vec::new(),
            state: ChunkState::Condemned,
            fence: 0,
        };
        let mut commit = Batch::new();
        commit.check(keys::chunk(chunk), Expect::Absent).put(keys::chunk(chunk), fence.encode());
        or_conflict(self.metadata().commit(commit).await)
    }
}
