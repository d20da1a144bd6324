//! The catalog journal: every group of the log is also sent to the storage nodes, and counts when a quorum of them holds it. So
//! the catalog outlives its machine (law 11), and an old coordinator is fenced.
//!
//! ```text
//! writer ─► send ─► ring ─► lane of n1 ─► POST /journal     a lane sends what its node lacks: from the ring, or, far behind, from
//!                    │   ─► lane of n2 ─►    ·              the log on disk; from the last whole snapshot on where it must be
//!        ◄─ wait ◄── quorum of acknowledgements
//! ```
//!
//! What it keeps true:
//! - A group is acknowledged by [`JOURNAL_QUORUM`] distinct nodes that the catalog knows (`quorum`), each of which holds everything
//!   before it, too. Whoever reaches all but one of the nodes therefore meets every acknowledged group, and every epoch.
//! - One holder of an epoch writes; it claims the epoch at all but one of the nodes before its first group (`claim`).
//! - Every node that answers is sent every group: the fastest that make a quorum at once, the others within [`LAG_MAX`], because a
//!   request costs more than what is in it. Where the quorum takes longer than [`HEDGE_AFTER`] all are sent it at once.
//! - A node that hangs or is away holds up nobody but its own lane. Memory is bounded: [`RING_BYTES_MAX`], and a page for each lane.
//! - The members are asked for anew with every group, because nodes join and leave.

mod answers;
pub mod claim;
mod core;
mod lane;
pub mod quorum;
pub mod restore;
mod ring;
mod scrub;

use self::core::Core;
use crate::metadata::Reserve;
use async_trait::async_trait;
use lane::{Lane, LaneState};
use protocol::{Error, JournalClaim, JournalEntry, JournalMark, Node, Result};
use quorum::Voters;
use std::collections::BTreeMap;
use std::fmt;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How many nodes must hold a group before it is answered, where there are that many: as many as hold a chunk by then.
pub const JOURNAL_QUORUM: usize = 2;
/// How long a group waits for its quorum before its callers are told that its outcome is not known.
pub const JOURNAL_PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of the last groups kept in memory for lanes that are a little behind.
pub const RING_BYTES_MAX: usize = 8 << 20;
/// How long the nodes behind the quorum may be left to lag, so that many groups go to them with one request.
pub const LAG_MAX: Duration = Duration::from_millis(20);
/// A group that has no quorum after this long is sent to every node at once.
pub const HEDGE_AFTER: Duration = Duration::from_millis(40);
/// How long an orderly stop waits for the nodes behind the quorum.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// How often it looks whether they have all.
const STOP_LOOK_EVERY: Duration = Duration::from_millis(10);

/// A node that may keep a journal.
#[derive(Clone)]
pub struct JournalMember {
    /// Its base URL: what tells it apart before it has told its name.
    pub url: Arc<str>,
    /// The way to it.
    pub node: Arc<dyn Node>,
}

/// The nodes that there are right now.
pub trait JournalMembers: Send + Sync + 'static {
    /// All of them, in any order.
    fn members(&self) -> Vec<JournalMember>;
}

/// The log on disk, for what is no longer in memory.
#[async_trait]
pub trait JournalSource: Send + Sync + 'static {
    /// Entries from `from` on, without gaps, at least one, about `limit_bytes`. `NotFound` if that one is not there, `Corrupt` if it is not whole.
    async fn entries(&self, from: u64, limit_bytes: u64) -> Result<Vec<JournalEntry>>;

    /// Has a snapshot made: it does without what the log should have and has not.
    fn want_snapshot(&self) {}
}

/// How far a coordinator's own log is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogEnd {
    /// Its last group.
    pub last: JournalMark,
    /// From this sequence on its records give the whole state; 0 and 1: from the first.
    pub whole_from: u64,
    /// The nodes that the catalog knows.
    pub voters: Voters,
}

/// Whether groups can be journalled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No epoch is held yet, or not any more; why.
    Unclaimed(String),
    /// The epoch is held.
    Claimed(JournalClaim),
    /// For good: another coordinator has taken over, or this directory is not the newest; what to do.
    Refused(String),
}

/// The journal of one coordinator.
pub struct Journal {
    members: Arc<dyn JournalMembers>,
    source: Arc<dyn JournalSource>,
    runtime: Handle,
    tasks: TaskTracker,
    core: Mutex<Core>,
    /// Raised when the quorum has moved, or the phase has.
    moved: watch::Sender<()>,
    /// Told when a group that no one waits for any more has its quorum.
    late_quorum: Notify,
    ended: CancellationToken,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("phase", &self.phase()).finish_non_exhaustive()
    }
}

impl Journal {
    /// A journal at these nodes; lanes run on `runtime`. Nothing is sent before [`Journal::begin`].
    pub fn new(members: Arc<dyn JournalMembers>, source: Arc<dyn JournalSource>, runtime: Handle) -> Arc<Journal> {
        Arc::new(Journal {
            members,
            source,
            runtime,
            tasks: TaskTracker::new(),
            core: Mutex::new(Core::default()),
            moved: watch::channel(()).0,
            late_quorum: Notify::new(),
            ended: CancellationToken::new(),
        })
    }

    /// The nodes, as they are now.
    pub fn members(&self) -> Vec<JournalMember> {
        self.members.members()
    }

    /// Begins to write under a claim, behind `end`.
    pub fn begin(self: &Arc<Journal>, claim: JournalClaim, end: &LogEnd) {
        let mut core = self.core();
        core.begin(claim, end);
        self.refresh(&mut core);
        drop(core);
        self.moved.send_replace(());
    }

    /// Sends the next group to every node. It counts when [`Journal::wait`] says so.
    pub fn send(self: &Arc<Journal>, entry: JournalEntry) {
        let mut core = self.core();
        core.extend(entry);
        self.refresh(&mut core);
    }

    /// The nodes that count from the next group on.
    pub fn set_voters(&self, voters: Voters) {
        self.core().electorate.voters = voters;
    }

    /// Whether a group sent now is likely to be acknowledged: `Unavailable` if the epoch is not held or too few nodes answer, `Full`
    /// if too few nodes have room for what may use so much of the reserve.
    pub fn check(self: &Arc<Journal>, reserve: Reserve) -> Result<()> {
        let mut core = self.core();
        let outcome = core.check(reserve);
        if outcome.is_ok() || !matches!(core.phase, Phase::Claimed(_)) {
            return outcome;
        }
        // The last group may have recorded a node that has no lane yet; if no other counts, no group is sent that would begin one.
        self.refresh(&mut core);
        core.check(reserve)
    }

    /// Whether a quorum holds this group.
    pub fn holds(&self, sequence: u64) -> bool {
        self.core().quorum >= sequence
    }

    /// Waits until a quorum holds this group. `Unknown` after `patience`, or when another coordinator has taken over.
    pub async fn wait(&self, sequence: u64, patience: Duration) -> Result<()> {
        let mut moved = self.moved.subscribe();
        let reached = async {
            loop {
                {
                    let core = self.core();
                    if core.quorum >= sequence {
                        return Ok(());
                    }
                    if let Phase::Refused(why) = &core.phase {
                        return Err(Error::unknown(format!("catalog journal: group {sequence}: refused: {why}")));
                    }
                }
                if moved.changed().await.is_err() {
                    return Err(Error::unknown("catalog journal: ended"));
                }
            }
        };
        let hedged = async {
            tokio::pin!(reached);
            match timeout(HEDGE_AFTER, &mut reached).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    self.hurry(sequence);
                    reached.await
                }
            }
        };
        timeout(patience, hedged).await.unwrap_or_else(|_| {
            let needed = self.core().electorate.write_quorum();
            Err(Error::unknown(format!(
                "catalog journal: group {sequence} is not on {needed} nodes after {} ms; it may count later",
                patience.as_millis()
            )))
        })
    }

    /// Has every node sent what it lacks up to this group at once.
    fn hurry(&self, sequence: u64) {
        let mut core = self.core();
        core.urgent = core.urgent.max(sequence);
        core.lanes.values().for_each(|lane| lane.wake.notify_one());
    }

    /// Notes that nobody waits for this group any more; [`Journal::late_or_moved`] ends once it has its quorum.
    pub fn give_up_waiting(&self, sequence: u64) {
        self.core().late = Some(sequence);
        self.tell_late();
    }

    /// Waits until a group that was given up has its quorum after all (`true`), or the epoch is no longer held.
    pub async fn late_or_moved(&self) -> bool {
        let mut moved = self.moved.subscribe();
        let lost = async { while matches!(self.phase(), Phase::Claimed(_)) && moved.changed().await.is_ok() {} };
        tokio::select! {
            () = self.late_quorum.notified() => true,
            () = lost => false,
        }
    }

    /// Runs `work` beside the lanes, until the journal is stopped.
    pub fn run_beside(&self, work: impl Future<Output = ()> + Send + 'static) {
        let ended = self.ended.clone();
        let until_then = async move {
            ended.run_until_cancelled(work).await;
        };
        self.tasks.spawn_on(until_then, &self.runtime);
    }

    /// [`Journal::wait`] for a thread that is no task's.
    pub fn wait_blocking(&self, sequence: u64, patience: Duration) -> Result<()> {
        self.runtime.block_on(self.wait(sequence, patience))
    }

    /// No group is sent any more until an epoch is claimed again.
    pub fn lose_claim(&self, why: impl Into<String>) {
        self.set_phase(Phase::Unclaimed(why.into()));
    }

    /// No group is sent any more, for good.
    pub fn refuse(&self, why: impl Into<String>) {
        let why = why.into();
        tracing::error!(reason = why, "this coordinator commits nothing any more");
        self.set_phase(Phase::Refused(why));
    }

    /// Whether the epoch is held.
    pub fn phase(&self) -> Phase {
        self.core().phase.clone()
    }

    /// Waits until the epoch is held, or refused for good.
    pub async fn settled(&self) -> Phase {
        let mut moved = self.moved.subscribe();
        loop {
            let phase = self.phase();
            if !matches!(phase, Phase::Unclaimed(_)) || moved.changed().await.is_err() {
                return phase;
            }
        }
    }

    /// Waits until the epoch is refused for good; why.
    pub async fn refused(&self) -> String {
        let mut moved = self.moved.subscribe();
        loop {
            if let Phase::Refused(why) = self.phase() {
                return why;
            }
            moved.changed().await.expect("the sender is this journal's own");
        }
    }

    /// Lets the nodes that answer have what they lack, for a moment, then ends all lanes.
    pub async fn stop(&self) {
        let caught_up = async {
            self.hurry(u64::MAX);
            while self.is_behind() {
                sleep(STOP_LOOK_EVERY).await;
            }
        };
        if timeout(STOP_PATIENCE, caught_up).await.is_err() {
            tracing::warn!("some nodes' catalog journals are behind; the next start sends what they lack");
        }
        self.end();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Ends all lanes where they are, as the end of the process would.
    pub fn end(&self) {
        self.ended.cancel();
    }

    /// Starts lanes for members that have none, ends those of members that are gone, and wakes all.
    fn refresh(self: &Arc<Journal>, core: &mut Core) {
        let members = self.members.members();
        core.electorate.members = members.len();
        core.lanes.retain(|url, lane| {
            // The same address with another way to it is another lane: what the old one knows of the node may be of its former disk.
            let keeper = Arc::as_ptr(&lane.keeper);
            let is_its = |member: &JournalMember| member.url == *url && ptr::addr_eq(Arc::as_ptr(&member.node), keeper);
            let stays = members.iter().any(is_its);
            if !stays {
                lane.ended.cancel();
            }
            stays
        });
        for member in members {
            let prompt = core.is_prompt(&member.url);
            if let Some(lane) = core.lanes.get_mut(&member.url) {
                if prompt || std::mem::take(&mut lane.idle) {
                    lane.wake.notify_one();
                }
                continue;
            }
            let state = LaneState::new(Arc::clone(&member.node), self.ended.child_token());
            let lane = Lane::new(Arc::clone(self), member.clone(), &state);
            core.lanes.insert(member.url, state);
            self.tasks.spawn_on(lane.run(), &self.runtime);
        }
    }

    /// How many groups each node lacks, by its URL: all of them where it has told nothing yet. Nothing while no epoch is held.
    pub fn lags(&self) -> BTreeMap<Arc<str>, u64> {
        self.core().lags()
    }

    fn set_phase(&self, phase: Phase) {
        self.core().phase = phase;
        self.moved.send_replace(());
    }

    /// Whether a node that answers lacks groups.
    fn is_behind(&self) -> bool {
        let core = self.core();
        let behind = |lane: &LaneState| lane.trouble.is_none() && lane.through < core.end.sequence;
        matches!(core.phase, Phase::Claimed(_)) && core.lanes.values().any(behind)
    }

    /// Lets a lane change its state by what it learnt under `claim`, then counts again. Another claim's groups may have been replaced since.
    fn note(&self, url: &Arc<str>, claim: JournalClaim, change: impl FnOnce(&mut LaneState)) {
        let mut core = self.core();
        if core.phase != Phase::Claimed(claim) {
            return;
        }
        let Some(lane) = core.lanes.get_mut(url) else { return };
        change(lane);
        let (moved, refused) = (core.count_again(), core.refusal());
        drop(core);
        if let Some(why) = refused {
            self.refuse(why);
        }
        if moved {
            self.moved.send_replace(());
            self.tell_late();
        }
    }

    fn tell_late(&self) {
        let mut core = self.core();
        if core.late.is_some_and(|late| core.quorum >= late) {
            core.late = None;
            self.late_quorum.notify_one();
        }
    }

    /// A panic never leaves the core half changed, so a poisoned lock is as good as any.
    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
