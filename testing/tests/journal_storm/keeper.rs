//! A node of the simulation: the real journal on a simulated disk, behind calls that are late, lost, or done and unanswered.

use async_trait::async_trait;
use coordinator::metadata::journal::quorum::Voters;
use coordinator::metadata::journal::{JournalMember, JournalMembers};
use protocol::{
    ClusterId, DiskId, Error, JournalAppend, JournalAppended, JournalClaim, JournalEntry, JournalNode, JournalState,
    Node, NodeHealth, NodeId, PutOutcome, Result, Shard, ShardCopy, ShardHead, ShardId, ShardPage, VerifyCursor,
    VerifyReport,
};
use segments::Stamp;
use segments::sim::SimDisk;
use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use storage_node::journal::{Journal, JournalConfig};
use testing::sim::rng::Rng;
use tokio::time::sleep;
use uuid::Uuid;

/// Short, so that journals are cut down often.
pub const SEGMENT_BYTES: u64 = 16 << 10;
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// A bug that is planted in what the keepers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    None,
    /// The coordinator acknowledges when its own log has the group.
    AckBeforeQuorum,
    /// A node takes entries under any claim, and grants any claim.
    NoEpochCheck,
    /// The coordinator says that a snapshot is whole with its first piece.
    TrimBeforeWhole,
}

thread_local! {
    static PLANTED: Cell<Bug> = const { Cell::new(Bug::None) };
}

/// Plants a bug in the simulation that runs on this thread.
pub fn plant(bug: Bug) {
    PLANTED.set(bug);
}

/// The planted bug.
pub fn planted() -> Bug {
    PLANTED.get()
}

/// How a keeper's calls fare.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Out of a thousand: requests that never arrive, and answers that are lost.
    pub lost_per_mille: u64,
    /// The longest delay of a call, in milliseconds.
    pub delay_ms_max: u64,
}

/// One node.
pub struct Keeper {
    pub name: NodeId,
    state: Mutex<State>,
}

struct State {
    rng: Rng,
    weather: Weather,
    up: bool,
    life: u64,
    disk: SimDisk,
    disk_id: u128,
    /// The disk that the catalog knows of it.
    admitted: u128,
    journal: Option<Arc<Journal<SimDisk>>>,
}

impl Keeper {
    pub fn new(number: usize, seed: u64) -> Arc<Keeper> {
        let disk = SimDisk::new(seed, 64 << 20, 10_000);
        let mut state = State {
            rng: Rng::new(seed, 100 + number as u64),
            weather: Weather::default(),
            up: true,
            life: 0,
            disk,
            disk_id: number as u128,
            admitted: number as u128,
            journal: None,
        };
        let name: NodeId = format!("n{number}").parse().unwrap();
        state.open(&name);
        Arc::new(Keeper { name, state: Mutex::new(state) })
    }

    /// The disk that the catalog knows of it.
    pub fn disk(&self) -> DiskId {
        DiskId(Uuid::from_u128(self.state.lock().unwrap().admitted))
    }

    /// The catalog learns of its disk.
    fn admit(&self) {
        let mut state = self.state.lock().unwrap();
        state.admitted = state.disk_id;
    }

    pub fn set_weather(&self, weather: Weather) {
        self.state.lock().unwrap().weather = weather;
    }

    pub fn is_up(&self) -> bool {
        self.state.lock().unwrap().up
    }

    /// The power goes: what was not synced is lost, or some of it.
    pub fn power_cut(&self) {
        let mut state = self.state.lock().unwrap();
        let State { disk, rng, .. } = &mut *state;
        let after = disk.snapshot().power_cut(&mut || rng.chance(500));
        (state.disk, state.up, state.journal) = (after, false, None);
        state.life += 1;
    }

    /// Comes up again.
    pub fn start(&self) {
        let mut state = self.state.lock().unwrap();
        if !state.up {
            state.up = true;
            state.open(&self.name);
        }
    }

    /// Comes up with an empty disk.
    pub fn replace(&self) {
        let mut state = self.state.lock().unwrap();
        state.life += 1;
        state.disk_id += 1000;
        state.disk = SimDisk::new(state.life, 64 << 20, 10_000);
        state.up = true;
        state.open(&self.name);
    }

    /// Bits flip in the middle of each of its segments but the newest; false if it has no other.
    pub fn rot(&self) -> bool {
        let state = self.state.lock().unwrap();
        let mut segments: Vec<(String, u64)> =
            state.disk.files().into_iter().filter(|(name, _)| name.ends_with(".seg")).collect();
        segments.sort();
        segments.pop();
        for (name, bytes) in &segments {
            state.disk.flip_bit(name, bytes / 2 * 8);
        }
        !segments.is_empty()
    }

    /// What it holds, without a call.
    pub fn holds(&self) -> Option<JournalState> {
        self.state.lock().unwrap().journal.as_ref().map(|journal| journal.state())
    }

    /// One call: late, lost on the way, done, lost on the way back.
    async fn call<T>(&self, work: impl FnOnce(&Journal<SimDisk>) -> Result<T>) -> Result<T> {
        let (before_ms, after_ms, arrives, answered, life) = {
            let mut state = self.state.lock().unwrap();
            let Weather { lost_per_mille, delay_ms_max } = state.weather;
            let (before_ms, after_ms) = (state.rng.below(delay_ms_max + 1), state.rng.below(delay_ms_max + 1));
            (before_ms, after_ms, !state.rng.chance(lost_per_mille), !state.rng.chance(lost_per_mille), state.life)
        };
        sleep(Duration::from_millis(before_ms)).await;
        let journal = {
            let state = self.state.lock().unwrap();
            state.journal.clone().filter(|_| state.up && state.life == life)
        };
        let Some(journal) = journal else {
            return Err(Error::unavailable(format!("{}: refused", self.name)));
        };
        if !arrives {
            sleep(CALL_TIMEOUT).await;
            return Err(Error::unavailable(format!("{}: no answer", self.name)));
        }
        let outcome = work(&journal);
        sleep(Duration::from_millis(after_ms)).await;
        if !answered {
            sleep(CALL_TIMEOUT).await;
        }
        if !answered || self.state.lock().unwrap().life != life {
            return Err(Error::unavailable(format!("{}: no answer", self.name)));
        }
        outcome
    }
}

impl State {
    fn open(&mut self, name: &NodeId) {
        let stamp = Stamp { cluster: ClusterId(Uuid::from_u128(1)), log: DiskId(Uuid::from_u128(self.disk_id)) };
        let config = JournalConfig { node: name.clone(), stamp, segment_bytes: SEGMENT_BYTES };
        self.journal = Some(Arc::new(Journal::open(self.disk.clone(), config).unwrap()));
    }
}

/// The claim above the one held that lets anything through.
fn forged(journal: &Journal<SimDisk>, claim: JournalClaim) -> JournalClaim {
    let held = journal.state().claim;
    if claim.supersedes(&held) { claim } else { JournalClaim { epoch: held.epoch + 1, ..claim } }
}

#[async_trait]
impl JournalNode for Keeper {
    async fn journal_state(&self) -> Result<JournalState> {
        self.call(|journal| Ok(journal.state())).await
    }

    async fn journal_claim(&self, claim: JournalClaim) -> Result<JournalState> {
        let forge = planted() == Bug::NoEpochCheck;
        self.call(|journal| journal.claim(if forge { forged(journal, claim) } else { claim })).await
    }

    async fn journal_append(&self, mut append: JournalAppend) -> Result<JournalAppended> {
        if planted() == Bug::NoEpochCheck {
            return self
                .call(|journal| {
                    append.claim = journal.state().claim;
                    journal.append(append)
                })
                .await;
        }
        self.call(|journal| journal.append(append)).await
    }

    async fn journal_read(&self, from: u64, limit_bytes: u64) -> Result<Vec<JournalEntry>> {
        JournalEntry::decode_all(self.call(|journal| journal.read(from, limit_bytes)).await?)
    }
}

/// It keeps nothing else.
fn no_shards<T>() -> Result<T> {
    Err(Error::unavailable("this node keeps a journal only"))
}

#[async_trait]
impl Node for Keeper {
    async fn put(&self, _: Vec<Shard>) -> Result<Vec<PutOutcome>> {
        no_shards()
    }
    async fn get(&self, _: ShardId) -> Result<bytes::Bytes> {
        no_shards()
    }
    async fn head(&self, _: ShardId) -> Result<ShardHead> {
        no_shards()
    }
    async fn delete(&self, _: Vec<ShardId>) -> Result<Vec<PutOutcome>> {
        no_shards()
    }
    async fn list(&self, _: Option<ShardId>, _: usize) -> Result<ShardPage> {
        no_shards()
    }
    async fn verify(&self, _: VerifyCursor, _: u64) -> Result<VerifyReport> {
        no_shards()
    }
    async fn copy_from(&self, _: ShardId, _: &ShardCopy) -> Result<()> {
        no_shards()
    }
    async fn health(&self) -> Result<NodeHealth> {
        no_shards()
    }
    fn journal(&self) -> Option<&dyn JournalNode> {
        Some(self)
    }
}

/// All nodes.
pub struct Keepers(pub Vec<Arc<Keeper>>);

impl Keepers {
    /// Those that count, as the catalog knows them.
    pub fn voters(&self) -> Voters {
        self.0.iter().map(|keeper| (keeper.name.clone(), keeper.disk())).collect()
    }

    /// What a commit that a quorum holds may bring: disks that were replaced are those of their nodes now.
    pub fn admit_all(&self) {
        self.0.iter().for_each(|keeper| keeper.admit());
    }
}

impl JournalMembers for Keepers {
    fn members(&self) -> Vec<JournalMember> {
        let member = |keeper: &Arc<Keeper>| JournalMember {
            url: format!("sim://{}", keeper.name).into(),
            node: Arc::clone(keeper) as Arc<dyn Node>,
        };
        self.0.iter().map(member).collect()
    }
}
