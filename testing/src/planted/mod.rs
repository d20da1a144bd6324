//! Bugs to be planted, so that the tests are known to be able to fail. Each sits in a wrapper around a seam and
//! does what a coordinator, a node or an engine with that bug would do; the product is not touched. Those of healers and collectors
//! are in [`workers`].

mod bugs;
mod documents;
mod workers;

pub use bugs::{BUGS, Bug};

use crate::sim::cluster::Plants;
use crate::sim::node::SimNode;
use crate::sim::world::World;
use async_trait::async_trait;
use bytes::Bytes;
use coordinator::code::Code;
use coordinator::metadata::keys::{self, KeyRange};
use coordinator::metadata::records::{ChunkRecord, ChunkState, Record};
use coordinator::metadata::{Batch, Entry, Expect, Metadata};
use protocol::{
    Error, ErrorKind, Node, NodeHealth, PutOutcome, Result, Shard, ShardCopy, ShardHead, ShardId, ShardPage,
    VerifyCursor, VerifyReport,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

impl Bug {
    /// What to plant.
    pub fn plants(self) -> Plants {
        let code = if self == Bug::QuorumOfOne { Code { data: 1, parity: 0 } } else { Code::REPLICATION };
        let ec = (self == Bug::QuorumOfData).then_some(Code { data: 2, parity: 0 });
        Plants { bug: Some(self), code, ec }
    }

    /// Whether it shows only where a collector is slow, so that the processes that collect are slowed with it.
    pub fn slows_workers(self) -> bool {
        self == Bug::ReuseOfTheCondemned
    }

    /// Whether it is a bug of those who heal and collect.
    pub fn is_workers(self) -> bool {
        matches!(
            self,
            Bug::HealerTrustsSource
                | Bug::RebuiltUnproved
                | Bug::HealerDropsOnSilence
                | Bug::HealerForgetsTheRest
                | Bug::FencedIndexRenamed
                | Bug::NamedInTrash
                | Bug::DeleteBeforeUnlink
                | Bug::NoSecondLook
                | Bug::DeleteUnconfirmed
                | Bug::OrphansWithoutFence
                | Bug::PagesBeforeIntent
                | Bug::ListedPartsCollected
                | Bug::SwitchUnwatched
                | Bug::SwitchForgetsTheOld
                | Bug::ColdPartKept
                | Bug::CommitWithoutLease
        )
    }

    /// A process's metadata and its links to `nodes`, with the bug.
    pub fn planted(
        self,
        world: &Arc<World>,
        nodes: &[Arc<SimNode>],
        metadata: Arc<dyn Metadata>,
        links: Vec<Arc<dyn Node>>,
    ) -> (Arc<dyn Metadata>, Vec<Arc<dyn Node>>) {
        if self.is_workers() {
            return workers::plant(self, nodes, metadata, links);
        }
        let in_node = |inner| -> Arc<dyn Node> { Arc::new(BuggyNode { bug: self, world: world.clone(), inner }) };
        let links = links.into_iter().map(in_node).collect();
        (
            Arc::new(BuggyMetadata {
                bug: self,
                world: world.clone(),
                inner: metadata,
                before: Mutex::default(),
                just_condemned: Mutex::default(),
                read_last: documents::ReadLast::default(),
            }),
            links,
        )
    }
}

struct BuggyMetadata {
    bug: Bug,
    world: Arc<World>,
    inner: Arc<dyn Metadata>,
    /// What each key held before its last commit.
    before: Mutex<BTreeMap<Bytes, Option<Entry>>>,
    /// Chunks that were condemned and not looked at since: the collector looks again, and sees what it did.
    just_condemned: Mutex<BTreeSet<Bytes>>,
    read_last: documents::ReadLast,
}

fn within(key: &Bytes, range: &KeyRange) -> bool {
    (&range.from..&range.to).contains(&key)
}

impl BuggyMetadata {
    fn before(&self) -> MutexGuard<'_, BTreeMap<Bytes, Option<Entry>>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn just_condemned(&self) -> MutexGuard<'_, BTreeSet<Bytes>> {
        self.just_condemned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spoilt(&self, mut batch: Batch) -> Batch {
        let (chunks, repairs, intents) = (keys::chunks(), keys::repairs(), keys::intents());
        match self.bug {
            Bug::VersionWithoutCompare => batch.checks.retain(|(key, _)| keys::parse_object(key).is_err()),
            Bug::CommitWithoutIntentCheck => batch.checks.retain(|(key, _)| !within(key, &intents)),
            Bug::ReuseWithoutRevisionCheck => {
                batch.checks.retain(|(key, expect)| !(within(key, &chunks) && matches!(expect, Expect::Revision(_))))
            }
            Bug::NamedWithoutFence => {
                batch.checks.retain(|(key, expect)| !(within(key, &chunks) && *expect == Expect::Absent))
            }
            Bug::DedupWithoutReference => {
                let fresh: Vec<Bytes> = batch.puts.iter().map(|(key, _)| key.clone()).collect();
                let pins_known = |key: &Bytes| {
                    keys::parse_reference(key).is_ok_and(|(chunk, _)| !fresh.contains(&keys::chunk(chunk)))
                };
                batch.puts.retain(|(key, _)| !pins_known(key));
            }
            Bug::UploadUnwatched => batch.checks.retain(|(key, _)| keys::parse_upload(key).is_err()),
            Bug::AbortForgetsParts => {
                let garbage = keys::garbages();
                let aborts = batch.deletes.iter().any(|key| keys::parse_upload(key).is_ok());
                batch.puts.retain(|(key, _)| !(aborts && within(key, &garbage)));
            }
            Bug::BucketUnwatched => batch.checks.retain(|(key, _)| keys::parse_bucket(key).is_err()),
            Bug::NullsPileUp if batch.puts.iter().any(|(key, _)| keys::parse_version(key).is_ok()) => {
                batch.deletes.retain(|key| keys::parse_version(key).is_err());
            }
            Bug::ShortfallForgotten => batch.puts.retain(|(key, _)| !within(key, &repairs)),
            Bug::NamesWhoNeverAnswered => {
                for (_, value) in batch.puts.iter_mut().filter(|(key, _)| within(key, &chunks)) {
                    *value = named_too_many(value).expect("a chunk record with shards");
                }
            }
            _ => {}
        }
        batch
    }

    /// Keeps what the keys held before, for stale reads.
    async fn remember(&self, batch: &Batch) -> Result<()> {
        for (key, _) in &batch.puts {
            let entry = self.inner.get(key).await?;
            self.before().insert(key.clone(), entry);
        }
        Ok(())
    }

    async fn clean_up(&self, batch: Batch) -> Error {
        let mut cleanup = Batch::new();
        for (key, _) in batch.puts.into_iter().filter(|(key, _)| within(key, &keys::chunks())) {
            cleanup.delete(key);
        }
        drop(self.inner.commit(cleanup).await);
        Error::unavailable("the commit failed (planted)")
    }
}

/// The chunk with all its shards, on n1, n2 …, whoever holds them.
fn named_too_many(value: &Bytes) -> Option<Bytes> {
    let mut record = ChunkRecord::decode(value).ok()?;
    let first = record.shards.first()?.clone();
    for index in 0..record.code.shards() as u8 {
        let node = format!("n{}", index + 1).parse().ok()?;
        if record.shards.iter().all(|place| place.node != node && place.index != index) {
            record.shards.push(coordinator::metadata::records::ShardPlace { node, index, ..first.clone() });
        }
    }
    Some(record.encode())
}

/// The chunks that a batch condemns.
fn condemned(batch: &Batch) -> impl Iterator<Item = &Bytes> {
    let is_condemned = |value| ChunkRecord::decode(value).is_ok_and(|record| record.state == ChunkState::Condemned);
    batch
        .puts
        .iter()
        .filter(move |(key, value)| within(key, &keys::chunks()) && is_condemned(value))
        .map(|(key, _)| key)
}

#[async_trait]
impl Metadata for BuggyMetadata {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        let found = self.inner.get(key).await?;
        if self.bug == Bug::StaleReads && self.world.draw(|rng| rng.chance(50)) {
            return Ok(self.before().get(key).cloned().unwrap_or(found));
        }
        if self.bug == Bug::ChangeUnwatched {
            return Ok(found.map(|entry| self.read_last.newest(key, entry)));
        }
        if let (Bug::ReuseOfTheCondemned, Some(entry)) = (self.bug, &found)
            && let Ok(record) = ChunkRecord::decode(&entry.value)
            && !record.shards.is_empty()
            && !self.just_condemned().remove(key)
        {
            let live = ChunkRecord { state: ChunkState::Live, ..record };
            return Ok(Some(Entry { value: live.encode(), revision: entry.revision }));
        }
        Ok(found)
    }

    async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Entry)>> {
        self.inner.scan(from, to, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        let mut batch = self.spoilt(batch);
        match self.bug {
            Bug::CommitLost if self.world.draw(|rng| rng.chance(30)) => return Ok(()),
            Bug::StaleReads => self.remember(&batch).await?,
            Bug::ColdOfAnother => documents::take_older_cold(&*self.inner, &mut batch).await?,
            Bug::ReuseOfTheCondemned => {
                self.just_condemned().extend(condemned(&batch).cloned());
                // The collector is slow between its last look and its commit: a reuse comes in between.
                if batch.deletes.iter().any(|key| within(key, &keys::chunks())) {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
            Bug::CommitTorn if batch.puts.len() > 1 => {
                let (mut first, mut rest) = (batch.clone(), Batch::new());
                rest.puts = first.puts.drain(..batch.puts.len() / 2).collect();
                self.inner.commit(first).await?;
                return self.inner.commit(rest).await;
            }
            _ => {}
        }
        let outcome = self.inner.commit(batch.clone()).await;
        match (&outcome, self.bug) {
            (Err(error), Bug::CleanupOnUnknown) if error.kind == ErrorKind::Unknown => Err(self.clean_up(batch).await),
            (Err(error), Bug::RetryOnUnknown) if error.kind == ErrorKind::Unknown => {
                self.inner.commit(Batch { checks: Vec::new(), ..batch }).await
            }
            _ => outcome,
        }
    }
}

struct BuggyNode {
    bug: Bug,
    world: Arc<World>,
    inner: Arc<dyn Node>,
}

#[async_trait]
impl Node for BuggyNode {
    async fn put(&self, shards: Vec<Shard>) -> Result<Vec<PutOutcome>> {
        match self.bug {
            Bug::NodeAcksBeforeSync => {
                let (inner, outcomes) = (self.inner.clone(), vec![Ok(()); shards.len()]);
                self.world.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    drop(inner.put(shards).await);
                });
                Ok(outcomes)
            }
            Bug::NodeAcksNothing if self.world.draw(|rng| rng.chance(30)) => Ok(vec![Ok(()); shards.len()]),
            Bug::DrainedBody if self.world.draw(|rng| rng.chance(30)) => {
                let drained = shards.into_iter().map(|shard| Shard::new(shard.id, Bytes::new()));
                self.inner.put(drained.collect()).await
            }
            _ => self.inner.put(shards).await,
        }
    }

    async fn get(&self, id: ShardId) -> Result<Bytes> {
        match self.inner.get(id).await {
            Err(error) if self.bug == Bug::UnreachableIsMissing && error.kind == ErrorKind::Unavailable => {
                Err(Error::not_found(error.message))
            }
            outcome => outcome,
        }
    }

    async fn head(&self, id: ShardId) -> Result<ShardHead> {
        self.inner.head(id).await
    }

    async fn delete(&self, ids: Vec<ShardId>) -> Result<Vec<PutOutcome>> {
        self.inner.delete(ids).await
    }

    async fn list(&self, after: Option<ShardId>, limit: usize) -> Result<ShardPage> {
        self.inner.list(after, limit).await
    }

    async fn verify(&self, cursor: VerifyCursor, limit_bytes: u64) -> Result<VerifyReport> {
        self.inner.verify(cursor, limit_bytes).await
    }

    async fn copy_from(&self, id: ShardId, copy: &ShardCopy) -> Result<()> {
        self.inner.copy_from(id, copy).await
    }

    async fn health(&self) -> Result<NodeHealth> {
        self.inner.health().await
    }
}
