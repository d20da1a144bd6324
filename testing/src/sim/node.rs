//! A storage node in memory that keeps the contract of [`protocol::Node`] and breaks in every way the fault model allows.
//!
//! What it keeps true:
//! - A put answers `Ok` only after its shard is durable, and durable shards survive every crash (law 1).
//! - A shard id names the same bytes for ever; a tombstone refuses it for ever (law 2). Only a wipe forgets either, and what a
//!   wipe took is remembered for the oracle.
//! - What was received and not synced may survive a crash or not, each shard by its own chance.

use super::world::{World, pass};
use bytes::Bytes;
use protocol::{
    ByteRange, ClusterId, DiskId, Error, ErrorKind, NodeHealth, NodeId, NodeStatus, PutOutcome, Result, Shard,
    ShardHead, ShardId, ShardPage, VerifyCursor, VerifyReport,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use uuid::Uuid;

const CAPACITY_BYTES: u64 = 1 << 40;

/// Whether a node's process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It runs.
    Up,
    /// It does not: connections are refused.
    Down,
    /// It is stopped: connections are taken, and nothing is answered until it goes on.
    Stopped,
}

/// A shard on a disk.
#[derive(Clone, Debug)]
pub struct Stored {
    data: Bytes,
    crc: u32,
}

impl Stored {
    fn is_good(&self) -> bool {
        crc32fast::hash(&self.data) == self.crc
    }
}

/// What the oracle sees of a shard on a node's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Durable, and as it was stored.
    Good {
        /// CRC32 of its bytes.
        crc: u32,
    },
    /// Durable, and damaged since.
    Damaged,
    /// It was durable once, and the disk was lost.
    Lost,
    /// It was durable once, and was deleted.
    Deleted,
    /// It never was durable here.
    Never,
}

/// A simulated storage node.
pub struct SimNode {
    id: NodeId,
    cluster: ClusterId,
    world: Arc<World>,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    mode: Mode,
    /// Raised by every crash: work begun before it never ends.
    epoch: u64,
    disk: DiskId,
    replaced: bool,
    durable: BTreeMap<ShardId, Stored>,
    tombstones: BTreeSet<ShardId>,
    received: BTreeMap<ShardId, Stored>,
    lost: BTreeSet<ShardId>,
    damaged: BTreeSet<ShardId>,
    full: bool,
    read_only: bool,
    slow: Duration,
    lying: bool,
    poisoned: u64,
}

/// `None`: the node crashed before it could answer.
type Answer<T> = Option<Result<T>>;

impl SimNode {
    /// A running node with an empty disk.
    pub fn new(name: &str, cluster: ClusterId, world: Arc<World>) -> Arc<SimNode> {
        let disk = world.draw(|rng| DiskId(Uuid::from_u64_pair(rng.next_u64(), rng.next_u64())));
        let state = State {
            mode: Mode::Up,
            epoch: 0,
            disk,
            replaced: false,
            durable: BTreeMap::new(),
            tombstones: BTreeSet::new(),
            received: BTreeMap::new(),
            lost: BTreeSet::new(),
            damaged: BTreeSet::new(),
            full: false,
            read_only: false,
            slow: Duration::ZERO,
            lying: false,
            poisoned: 0,
        };
        let id = name.parse().expect("a simulated node has a proper name");
        Arc::new(SimNode { id, cluster, world, state: Mutex::new(state), changed: Notify::new() })
    }

    /// Its name.
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// Whether it runs.
    pub fn mode(&self) -> Mode {
        self.state().mode
    }

    /// `kill -9`, or a power cut: what was not synced is lost or not, by chance; calls in flight are never answered.
    pub fn crash(&self) {
        let mut state = self.state();
        if state.mode == Mode::Down {
            return;
        }
        state.mode = Mode::Down;
        state.epoch += 1;
        let received = std::mem::take(&mut state.received);
        for (id, shard) in received {
            let survives = self.world.draw(|rng| rng.chance(500));
            if survives && !state.tombstones.contains(&id) {
                state.durable.entry(id).or_insert(shard);
            }
        }
        drop(state);
        self.world.tell(|| format!("{} crashes", self.id));
        self.changed.notify_waiters();
    }

    /// Starts it again.
    pub fn start(&self) {
        self.set_mode(Mode::Up);
    }

    /// `SIGSTOP`; nothing happens to a node that is down.
    pub fn stop(&self) {
        if self.mode() == Mode::Up {
            self.set_mode(Mode::Stopped);
        }
    }

    /// `SIGCONT`.
    pub fn resume(&self) {
        if self.mode() == Mode::Stopped {
            self.set_mode(Mode::Up);
        }
    }

    /// Its disk is lost; the operator starts it with an empty one and `--replace`.
    pub fn wipe(&self) {
        self.crash();
        let mut state = self.state();
        let durable = std::mem::take(&mut state.durable);
        state.lost.extend(durable.into_keys());
        state.tombstones.clear();
        state.damaged.clear();
        state.disk = self.world.draw(|rng| DiskId(Uuid::from_u64_pair(rng.next_u64(), rng.next_u64())));
        state.replaced = true;
        drop(state);
        self.world.tell(|| format!("{} loses its disk", self.id));
    }

    /// No room for shards, or room again.
    pub fn set_full(&self, full: bool) {
        self.state().full = full;
        self.world.tell(|| format!("{} full {full}", self.id));
    }

    /// Takes no writes, or does again.
    pub fn set_read_only(&self, read_only: bool) {
        self.state().read_only = read_only;
    }

    /// Every call takes this much longer.
    pub fn set_slow(&self, slow: Duration) {
        self.state().slow = slow;
        self.world.tell(|| format!("{} slow {slow:?}", self.id));
    }

    /// It gives out wrong bytes as if they were right: bad memory after the check, or a CRC that happens to fit.
    pub fn set_lying(&self, lying: bool) {
        self.state().lying = lying;
    }

    /// Flips a bit of a stored shard; false if there is nothing to flip.
    pub fn flip(&self, id: ShardId) -> bool {
        let mut state = self.state();
        let Some(stored) = state.durable.get_mut(&id).filter(|stored| !stored.data.is_empty()) else {
            return false;
        };
        let mut data = stored.data.to_vec();
        let at = self.world.draw(|rng| rng.below(data.len() as u64 * 8));
        data[(at / 8) as usize] ^= 1 << (at % 8);
        stored.data = data.into();
        state.damaged.insert(id);
        drop(state);
        self.world.tell(|| format!("{} rots at {id}", self.id));
        true
    }

    /// What is on its disk of a shard, whether it runs or not.
    pub fn held(&self, id: ShardId) -> Held {
        let state = self.state();
        match state.durable.get(&id) {
            Some(_) if state.damaged.contains(&id) => Held::Damaged,
            Some(stored) => Held::Good { crc: stored.crc },
            None if state.tombstones.contains(&id) => Held::Deleted,
            None if state.lost.contains(&id) => Held::Lost,
            None => Held::Never,
        }
    }

    /// Every shard on its disk, for censuses.
    pub fn inventory(&self) -> Vec<ShardId> {
        self.state().durable.keys().copied().collect()
    }

    fn set_mode(&self, mode: Mode) {
        self.state().mode = mode;
        self.world.tell(|| format!("{} {mode:?}", self.id));
        self.changed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while the process is stopped, then for as long as it is slow. `None` if it is down by then.
    async fn running(&self) -> Option<u64> {
        loop {
            let changed = self.changed.notified();
            match self.mode() {
                Mode::Up => break,
                Mode::Down => return None,
                Mode::Stopped => changed.await,
            }
        }
        let (epoch, slow) = {
            let state = self.state();
            (state.epoch, state.slow)
        };
        pass(slow).await;
        self.same_life(epoch).await
    }

    /// `None` if the node crashed since `epoch`; waits while it is stopped.
    async fn same_life(&self, epoch: u64) -> Option<u64> {
        loop {
            let changed = self.changed.notified();
            let (mode, now) = {
                let state = self.state();
                (state.mode, state.epoch)
            };
            match mode {
                _ if now != epoch => return None,
                Mode::Stopped => changed.await,
                Mode::Up | Mode::Down => return Some(epoch),
            }
        }
    }

    async fn sync(&self, epoch: u64) -> Option<bool> {
        let fsync_ms = self.world.draw(|rng| rng.between(1, 3));
        pass(Duration::from_millis(fsync_ms)).await;
        self.same_life(epoch).await?;
        Some(!self.world.strikes(|rates| rates.fsync_fails))
    }

    /// See [`protocol::Node::put`].
    pub async fn put(&self, shards: Vec<Shard>) -> Answer<Vec<PutOutcome>> {
        let epoch = self.running().await?;
        let mut outcomes: Vec<PutOutcome> = shards.iter().map(|shard| self.receive(shard)).collect();
        if outcomes.iter().all(PutOutcome::is_err) {
            return Some(Ok(outcomes));
        }
        let synced = self.sync(epoch).await?;
        let mut state = self.state();
        state.poisoned += u64::from(!synced);
        for (shard, outcome) in shards.iter().zip(&mut outcomes) {
            if outcome.is_ok() {
                *outcome = state.settle(shard, synced);
            }
        }
        Some(Ok(outcomes))
    }

    fn receive(&self, shard: &Shard) -> PutOutcome {
        shard.verify().map_err(|error| error.kind)?;
        let mut state = self.state();
        if state.tombstones.contains(&shard.id) {
            return Err(ErrorKind::Conflict);
        }
        let known = state.durable.get(&shard.id).or_else(|| state.received.get(&shard.id));
        match known {
            Some(known) if known.crc == shard.crc => return Ok(()),
            Some(_) => return Err(ErrorKind::Conflict),
            None => {}
        }
        if state.full {
            return Err(ErrorKind::Full);
        }
        if state.read_only {
            return Err(ErrorKind::Unavailable);
        }
        state.received.insert(shard.id, Stored { data: shard.data.clone(), crc: shard.crc });
        Ok(())
    }

    /// See [`protocol::Node::get`].
    pub async fn get(&self, id: ShardId, range: Option<ByteRange>) -> Answer<Bytes> {
        self.running().await?;
        let stored = self.state().durable.get(&id).cloned();
        let Some(stored) = stored else {
            return Some(Err(Error::not_found(format!("{} holds no shard {id}", self.id))));
        };
        if !stored.is_good() {
            return Some(Err(Error::corrupt(format!("shard {id} on {} is damaged", self.id))));
        }
        let length = stored.data.len() as u64;
        let range = range.unwrap_or(0..length);
        if range.start > range.end || range.end > length {
            return Some(Err(Error::invalid(format!("shard {id} has {length} bytes"))));
        }
        let data = stored.data.slice(range.start as usize..range.end as usize);
        Some(Ok(if self.state().lying { flipped(&data) } else { data }))
    }

    /// See [`protocol::Node::head`].
    pub async fn head(&self, id: ShardId) -> Answer<ShardHead> {
        self.running().await?;
        let head = self.state().durable.get(&id).map(|stored| head(id, stored));
        Some(head.ok_or_else(|| Error::not_found(format!("{} holds no shard {id}", self.id))))
    }

    /// See [`protocol::Node::delete`]: a tombstone, on a full disk too.
    pub async fn delete(&self, ids: Vec<ShardId>) -> Answer<Vec<PutOutcome>> {
        let epoch = self.running().await?;
        let synced = self.sync(epoch).await?;
        let mut state = self.state();
        let outcome = |id: ShardId| match synced {
            true => {
                state.durable.remove(&id);
                state.received.remove(&id);
                state.damaged.remove(&id);
                state.tombstones.insert(id);
                Ok(())
            }
            false => Err(ErrorKind::Unavailable),
        };
        Some(Ok(ids.into_iter().map(outcome).collect()))
    }

    /// See [`protocol::Node::list`].
    pub async fn list(&self, after: Option<ShardId>, limit: usize) -> Answer<ShardPage> {
        self.running().await?;
        let state = self.state();
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let mut rest = state.durable.range((from, std::ops::Bound::Unbounded));
        let shards: Vec<ShardHead> = rest.by_ref().take(limit).map(|(id, stored)| head(*id, stored)).collect();
        let next = rest.next().and(shards.last()).map(|last| last.id);
        Some(Ok(ShardPage { shards, next }))
    }

    /// See [`protocol::Node::verify`]: all of it in one step.
    pub async fn verify(&self, _cursor: VerifyCursor, _limit_bytes: u64) -> Answer<VerifyReport> {
        self.running().await?;
        let state = self.state();
        let bytes = state.durable.values().map(|stored| stored.data.len() as u64).sum();
        let corrupt = state.durable.iter().filter(|(_, stored)| !stored.is_good()).map(|(id, _)| *id).collect();
        let records = state.durable.len() as u64;
        Some(Ok(VerifyReport { records, bytes, corrupt, damaged_stretches: 0, next: None }))
    }

    /// See [`protocol::Node::health`].
    pub async fn health(&self) -> Answer<NodeHealth> {
        self.running().await?;
        let state = self.state();
        let status = match (state.read_only, state.full) {
            (true, _) => NodeStatus::ReadOnly,
            (false, true) => NodeStatus::Full,
            (false, false) => NodeStatus::Ok,
        };
        let used_bytes = state.durable.values().map(|stored| stored.data.len() as u64).sum();
        Some(Ok(NodeHealth {
            node: self.id.clone(),
            cluster: self.cluster,
            disk: state.disk,
            replaced: state.replaced,
            status,
            zone: String::new(),
            capacity_bytes: CAPACITY_BYTES,
            used_bytes,
            free_bytes: if state.full { 0 } else { CAPACITY_BYTES - used_bytes },
            shards: state.durable.len() as u64,
            segments: 1,
            poisoned_segments: state.poisoned,
            fsync_us: 1_000,
            version: "simulated".to_owned(),
        }))
    }
}

impl State {
    /// After the sync: what was received is durable, or gone.
    fn settle(&mut self, shard: &Shard, synced: bool) -> PutOutcome {
        if self.tombstones.contains(&shard.id) {
            return Err(ErrorKind::Conflict);
        }
        if self.durable.contains_key(&shard.id) {
            return Ok(());
        }
        match (self.received.remove(&shard.id), synced) {
            (Some(stored), true) => {
                self.durable.insert(shard.id, stored);
                Ok(())
            }
            // Another call for the same shard had the failed sync: it is not known to be on disk.
            (None, _) | (_, false) => Err(ErrorKind::Unavailable),
        }
    }
}

fn flipped(data: &Bytes) -> Bytes {
    let mut data = data.to_vec();
    if let Some(last) = data.last_mut() {
        *last ^= 1;
    }
    data.into()
}

fn head(id: ShardId, stored: &Stored) -> ShardHead {
    ShardHead { id, length: stored.data.len() as u32, crc: stored.crc }
}
