//! The way of the journal to one node: one request at a time, what waits meanwhile goes with the next.
//!
//! A lane, in order:
//! 1. It makes the node obey the claim, and hears what the node holds.
//! 2. It sends the node's last entry again, to learn whether the node agrees, and what comes behind it. Where the node holds nothing, is
//!    not whole, is of another opinion, or lacks more than the log still has, everything from the last whole snapshot on is sent, and
//!    the node begins anew with it. What the log should have and has not waits for a snapshot that does without it.
//! 3. It sends what comes, as it comes.
//!
//! After any failure it begins again with 1, a little later each time.

use super::claim::RESTORE;
use super::{Journal, JournalMember, LAG_MAX, Phase};
use futures_util::FutureExt;
use protocol::{
    Error, ErrorKind, JOURNAL_APPEND_BYTES_MAX, JournalAppend, JournalClaim, JournalEntry, JournalNode, JournalRoom,
    JournalState, Node, NodeId, Result,
};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// How long after a failure a lane tries again: at first, and at most.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The rate at which one node is sent what it lacks from the log on disk, in bytes per second.
const CATCH_UP_BYTES_PER_S: u64 = 64 << 20;
/// How often a node whose journal has no room is asked whether it has some again: nothing else tells, where nothing is sent.
const ROOM_LOOK_EVERY: Duration = Duration::from_secs(2);

/// One part in so many of a new measurement goes into the moving average.
const AVERAGE_WEIGHT: u64 = 8;

/// What a lane tells of its node.
pub(super) struct LaneState {
    /// The way to it.
    pub keeper: Arc<dyn Node>,
    /// Its name, once it has told it.
    pub node: Option<NodeId>,
    /// It holds everything up to this group, under the claim.
    pub through: u64,
    /// Why it takes no groups.
    pub trouble: Option<Trouble>,
    pub room: JournalRoom,
    /// Moving average of one append, in microseconds.
    pub latency_us: u64,
    /// It waits to be told of the next group.
    pub idle: bool,
    /// The claim above ours that it obeys.
    pub obeys: Option<JournalClaim>,
    /// Whether what it holds can be read.
    pub rot: Rot,
    pub wake: Arc<Notify>,
    pub ended: CancellationToken,
}

/// Why a node takes no groups.
pub(super) struct Trouble {
    pub kind: ErrorKind,
    pub message: String,
}

/// Whether what a node holds can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rot {
    /// As far as is known.
    None,
    /// Not what it has from this group on; it begins anew once the others do without it.
    Found { at: u64 },
    /// It is sent everything anew, up to this group at least.
    BeginsAnew { until: u64 },
}

impl LaneState {
    pub fn new(keeper: Arc<dyn Node>, ended: CancellationToken) -> LaneState {
        let (wake, room) = (Arc::new(Notify::new()), JournalRoom::default());
        let (latency_us, idle) = (0, false);
        LaneState {
            keeper,
            node: None,
            through: 0,
            trouble: None,
            room,
            latency_us,
            idle,
            obeys: None,
            rot: Rot::None,
            wake,
            ended,
        }
    }

    fn measure(&mut self, took_us: u64) {
        let before_us = if self.latency_us == 0 { took_us } else { self.latency_us };
        self.latency_us = before_us - before_us / AVERAGE_WEIGHT + took_us / AVERAGE_WEIGHT;
    }

    /// Nothing is known under a new claim.
    pub fn restart(&mut self) {
        (self.through, self.obeys) = (0, None);
    }
}

pub(super) struct Lane {
    journal: Arc<Journal>,
    member: JournalMember,
    wake: Arc<Notify>,
    ended: CancellationToken,
    /// The claim that the node obeys, as far as is known.
    joined: Option<JournalClaim>,
    /// The next group to send, and whether the node begins anew with it.
    next: u64,
    anew: bool,
    /// The last group that the node held when it joined: what it is sent up to there it need not write.
    held: u64,
    /// Whether what the node holds is not to be relied on.
    is_rotten: bool,
    /// Whether the last entries sent did not fit.
    astray: bool,
    pause: Duration,
    /// It has waited for more to come.
    lingered: bool,
    /// When a node without room is asked next.
    look_for_room_at: Instant,
}

enum Work {
    /// Nothing to send.
    Idle,
    /// Nothing to send, and the node had no room when it was last heard of.
    LookForRoom(JournalClaim),
    /// Something, but more may come to go with it.
    Linger,
    Join(JournalClaim),
    Send(JournalClaim, Vec<JournalEntry>),
    Fetch(JournalClaim),
}

impl Lane {
    pub fn new(journal: Arc<Journal>, member: JournalMember, state: &LaneState) -> Lane {
        let (wake, ended) = (Arc::clone(&state.wake), state.ended.clone());
        Lane {
            journal,
            member,
            wake,
            ended,
            joined: None,
            next: 1,
            anew: false,
            held: 0,
            is_rotten: false,
            astray: false,
            pause: PAUSE_MIN,
            lingered: false,
            look_for_room_at: Instant::now(),
        }
    }

    pub async fn run(mut self) {
        let ended = self.ended.clone();
        let lane = ended.run_until_cancelled(async { while self.step().await {} });
        if AssertUnwindSafe(lane).catch_unwind().await.is_err() {
            // A lane that is gone would count as one that answers, and every commit would wait for it.
            tracing::error!("panic in a lane of the journal: the process ends, a restart recovers");
            std::process::abort();
        }
    }

    /// One request, or a wait for something to send; always `true`, so that it goes on until it is ended.
    async fn step(&mut self) -> bool {
        let (claim, outcome) = match self.work() {
            Work::Idle => {
                self.wake.notified().await;
                return true;
            }
            Work::Linger => {
                self.lingered = timeout(LAG_MAX, self.wake.notified()).await.is_err();
                return true;
            }
            // However often it is woken by commits that find none.
            Work::LookForRoom(claim) if Instant::now() >= self.look_for_room_at => {
                self.look_for_room_at = Instant::now() + ROOM_LOOK_EVERY;
                (claim, self.look_for_room(claim).await)
            }
            Work::LookForRoom(_) => {
                // Either way it looks again what there is to do.
                timeout_at(self.look_for_room_at, self.wake.notified()).await.ok();
                return true;
            }
            Work::Join(claim) => (claim, self.join(claim).await),
            Work::Send(claim, entries) => (claim, self.send(claim, entries).await),
            Work::Fetch(claim) => (claim, self.fetch(claim).await),
        };
        if let Err(error) = outcome {
            self.fail(claim, error).await;
        }
        true
    }

    fn work(&mut self) -> Work {
        let mut core = self.journal.core();
        let lingered = std::mem::take(&mut self.lingered);
        if core.begins_anew(&self.member.url) {
            (self.joined, self.is_rotten) = (None, true);
        }
        let claim = match core.phase.clone() {
            Phase::Claimed(claim) if self.joined != Some(claim) => return Work::Join(claim),
            Phase::Claimed(claim) if self.next <= core.end.sequence => claim,
            phase => {
                let Some(lane) = core.lanes.get_mut(&self.member.url) else { return Work::Idle };
                lane.idle = true;
                return match phase {
                    Phase::Claimed(claim) if !lane.room.spare => Work::LookForRoom(claim),
                    _ => Work::Idle,
                };
            }
        };
        if !lingered && self.next > core.urgent && !core.is_prompt(&self.member.url) {
            return Work::Linger;
        }
        core.ring.from(self.next).map_or(Work::Fetch(claim), |entries| Work::Send(claim, entries))
    }

    async fn join(&mut self, claim: JournalClaim) -> Result<()> {
        let state = node(&self.member)?.journal_claim(claim).await?;
        let (end, whole_from) = {
            let core = self.journal.core();
            (core.end, core.whole_from)
        };
        // There is nothing yet that it could lack.
        let agrees = state.last == end && (state.is_whole() || end.sequence == 0) && !self.is_rotten;
        let last = state.last.sequence.min(end.sequence).max(1);
        let is_whole = state.is_whole() && !self.is_rotten;
        self.anew = !agrees && (last < whole_from || (state.last.sequence > 0 && !is_whole));
        self.next = match (agrees, self.anew) {
            (true, _) => end.sequence + 1,
            (false, true) => whole_from,
            (false, false) => last,
        };
        (self.joined, self.astray, self.held) = (Some(claim), false, state.last.sequence);
        match agrees {
            true => self.holds(claim, &state, end.sequence, None),
            // What it held and lacks now it holds no more: its disk is another one, or was.
            false => self.note(claim, &state, 0, |lane| {
                // Nor what it holds that begins anew, whatever for.
                if state.last.sequence < lane.through || self.anew {
                    lane.through = 0;
                }
                if self.anew && matches!(lane.rot, Rot::Found { .. }) {
                    lane.rot = Rot::BeginsAnew { until: end.sequence };
                }
            }),
        }
        Ok(())
    }

    async fn look_for_room(&mut self, claim: JournalClaim) -> Result<()> {
        let state = node(&self.member)?.journal_state().await?;
        if state.claim != claim {
            let held = state.claim;
            return Err(Error::denied(format!("{}: obeys {held} by now, not {claim}", self.member.url)));
        }
        self.note(claim, &state, 0, |_| {});
        Ok(())
    }

    async fn send(&mut self, claim: JournalClaim, entries: Vec<JournalEntry>) -> Result<()> {
        let Some(last) = entries.last().map(|entry| entry.mark.sequence) else { return Ok(()) };
        let append = JournalAppend { claim, anew: self.anew, entries };
        let sent = Instant::now();
        let appended = node(&self.member)?.journal_append(append).await?;
        let took_us = u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX);
        if appended.through >= last {
            let wrote = self.anew || last > self.held || last >= self.journal.core().end.sequence;
            (self.next, self.anew, self.astray, self.is_rotten) = (last + 1, false, false, false);
            match wrote {
                true => self.holds(claim, &appended.state, last, Some(took_us)),
                false => self.note(claim, &appended.state, last, |_| {}),
            }
            return Ok(());
        }
        if self.astray && self.anew {
            return Err(Error::unavailable(format!("{}: its journal takes no entries", self.member.url)));
        }
        // Once it may only lack a few; then it is of another opinion, or the log has no longer what it lacks.
        let lacks = appended.state.last.sequence;
        let whole_from = self.journal.core().whole_from;
        self.anew = self.astray || lacks >= self.next || lacks < whole_from;
        self.next = if self.anew { whole_from } else { lacks.max(1) };
        self.astray = true;
        Ok(())
    }

    /// Sends what is no longer in memory, at a bounded rate.
    async fn fetch(&mut self, claim: JournalClaim) -> Result<()> {
        let found = self.journal.source.entries(self.next, JOURNAL_APPEND_BYTES_MAX as u64).await;
        let entries = match found {
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Corrupt) => {
                let whole_from = self.journal.core().whole_from;
                if self.next < whole_from {
                    // A snapshot has cut the log down since, or does without what is damaged.
                    (self.anew, self.next) = (true, whole_from);
                    return Ok(());
                }
                self.journal.source.want_snapshot();
                return Err(Error::corrupt(format!(
                    "{}; a snapshot that does without it is made with the next writes, and where none are taken: {RESTORE}",
                    error.message
                )));
            }
            found => found?,
        };
        let bytes: usize = entries.iter().map(|entry| entry.frame().len()).sum();
        self.send(claim, entries).await?;
        sleep(Duration::from_micros(bytes as u64 * 1_000_000 / CATCH_UP_BYTES_PER_S)).await;
        Ok(())
    }

    /// The node holds everything up to `through`. That it takes groups is known by this only: one whose disk is broken obeys claims, too.
    fn holds(&mut self, claim: JournalClaim, state: &JournalState, through: u64, took_us: Option<u64>) {
        self.pause = PAUSE_MIN;
        self.note(claim, state, through, |lane| {
            if lane.trouble.take().is_some() {
                tracing::info!(target: "degradation", node = %state.node, "the node's catalog journal takes groups again");
            }
            took_us.into_iter().for_each(|took_us| lane.measure(took_us));
        });
    }

    fn note(&self, claim: JournalClaim, state: &JournalState, through: u64, change: impl FnOnce(&mut LaneState)) {
        self.journal.note(&self.member.url, claim, |lane| {
            if lane.node.as_ref() != Some(&state.node) {
                lane.node = Some(state.node.clone());
            }
            lane.room = state.room;
            lane.obeys = None;
            lane.through = lane.through.max(through);
            change(lane);
            if matches!(lane.rot, Rot::BeginsAnew { until } if lane.through >= until) {
                lane.rot = Rot::None;
            }
        });
    }

    async fn fail(&mut self, claim: JournalClaim, error: Error) {
        self.joined = None;
        let other = if error.kind == ErrorKind::Denied { self.obeying_another(claim).await } else { None };
        let url = Arc::clone(&self.member.url);
        self.journal.note(&url, claim, |lane| {
            if lane.trouble.is_none() {
                tracing::warn!(target: "degradation", node = %url, %error, "the node's catalog journal does not take groups");
            }
            lane.trouble = Some(Trouble { kind: error.kind, message: error.message.clone() });
            if let Some(state) = other {
                // Also one that has never obeyed this claim, and so was not heard of.
                (lane.node, lane.obeys) = (Some(state.node), Some(state.claim));
            }
        });
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// What the node says, if it obeys another claim instead of ours.
    async fn obeying_another(&self, claim: JournalClaim) -> Option<JournalState> {
        let state = node(&self.member).ok()?.journal_state().await.ok()?;
        (!claim.supersedes(&state.claim)).then_some(state)
    }
}

/// The journal that a member keeps.
pub(super) fn node(member: &JournalMember) -> Result<&dyn JournalNode> {
    member.node.journal().ok_or_else(|| Error::unavailable(format!("{}: keeps no catalog journal", member.url)))
}
