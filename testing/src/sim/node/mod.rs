//! A storage node in memory that keeps the contract of [`protocol::Node`] and breaks in every way the fault model allows.
//!
//! What it keeps true:
//! - A put answers `Ok` only after its shard is durable, and durable shards survive every crash (law 1).
//! - A shard id names the same bytes for ever; a tombstone refuses it for ever (law 2). Only a wipe forgets either, and what a
//!   wipe took is remembered for the oracle.
//! - The same bytes again are `Ok` only where they are found whole; a damaged shard is stored anew.
//! - What was received and not synced may survive a crash or not, each shard by its own chance.

mod serve;

use super::world::World;
use bytes::Bytes;
use protocol::{ClusterId, DiskId, NodeId, ShardId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use uuid::Uuid;

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
    zone: String,
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

impl SimNode {
    /// A running node with an empty disk.
    pub fn new(name: &str, cluster: ClusterId, world: Arc<World>) -> Arc<SimNode> {
        let disk = world.draw(|rng| DiskId(Uuid::from_u64_pair(rng.next_u64(), rng.next_u64())));
        let state = State {
            mode: Mode::Up,
            epoch: 0,
            disk,
            replaced: false,
            zone: String::new(),
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

    /// Its failure domain.
    pub fn set_zone(&self, zone: &str) {
        zone.clone_into(&mut self.state().zone);
    }

    /// Whether it lost a disk, and with it all that it ever refused.
    pub fn was_wiped(&self) -> bool {
        self.state().replaced
    }

    /// What lies on its disk under `id`, good or not: what a node that does not check would give out.
    pub fn unchecked(&self, id: ShardId) -> Option<Bytes> {
        self.state().durable.get(&id).map(|stored| stored.data.clone())
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
}
