//! What the journal knows, under one lock: how far it is, what each lane told, and what follows from that.

use super::lane::{LaneState, Rot};
use super::quorum::{self, Electorate};
use super::ring::Ring;
use super::{LogEnd, Phase, RING_BYTES_MAX};
use crate::metadata::{FullDisks, Reserve};
use protocol::{Error, ErrorKind, JournalClaim, JournalEntry, JournalMark, NodeId, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// After so many acknowledgements it is looked anew which nodes are the fastest.
const CHOOSE_EVERY: u32 = 256;

/// All that changes.
pub(super) struct Core {
    pub phase: Phase,
    pub electorate: Electorate,
    pub end: JournalMark,
    pub whole_from: u64,
    pub ring: Ring,
    pub lanes: BTreeMap<Arc<str>, LaneState>,
    /// The last group that a quorum holds.
    pub quorum: u64,
    /// The last group behind which this claim began: any before it may be acknowledged.
    begun: u64,
    /// The group whose callers have gone.
    pub late: Option<u64>,
    /// The nodes that are sent a group at once; all while there are none.
    prompt: BTreeSet<Arc<str>>,
    /// Up to this group every node is sent all at once.
    pub urgent: u64,
    acknowledgements: u32,
}

impl Default for Core {
    fn default() -> Core {
        Core {
            phase: Phase::Unclaimed("the nodes have not been asked yet".to_owned()),
            electorate: Electorate::default(),
            end: JournalMark::default(),
            whole_from: 1,
            ring: Ring::new(RING_BYTES_MAX),
            lanes: BTreeMap::new(),
            quorum: 0,
            begun: 0,
            late: None,
            prompt: BTreeSet::new(),
            urgent: 0,
            acknowledgements: 0,
        }
    }
}

impl Core {
    /// Writes under `claim` from now on, behind `end`; nothing is known of any node.
    pub fn begin(&mut self, claim: JournalClaim, end: &LogEnd) {
        self.phase = Phase::Claimed(claim);
        (self.end, self.whole_from) = (end.last, end.whole_from.max(1));
        (self.quorum, self.late, self.begun) = (0, None, end.last.sequence);
        self.ring = Ring::new(RING_BYTES_MAX);
        self.electorate.voters = end.voters.clone();
        self.lanes.values_mut().for_each(LaneState::restart);
        self.prompt.clear();
    }

    /// Whether a group sent now is likely to be acknowledged.
    pub fn check(&self, reserve: Reserve) -> Result<()> {
        match &self.phase {
            Phase::Claimed(_) => {}
            Phase::Unclaimed(why) => return Err(Error::unavailable(format!("catalog journal: not ready: {why}"))),
            Phase::Refused(why) => return Err(Error::unavailable(format!("catalog journal: refused: {why}"))),
        }
        let needed = self.electorate.write_quorum();
        let answering = self.count(|lane| lane.trouble.is_none());
        if answering < needed {
            let troubles = self.lanes.values().filter_map(|lane| lane.trouble.as_ref());
            let why: Vec<&str> = troubles.map(|trouble| trouble.message.as_str()).collect();
            let why = format!("catalog journal: {answering} nodes take groups, {needed} must: {}", why.join("; "));
            let is_full = |lane: &LaneState| lane.trouble.as_ref().is_none_or(|why| why.kind == ErrorKind::Full);
            return Err(if self.count(is_full) >= needed {
                FullDisks::Nodes.full(why)
            } else {
                Error::unavailable(why)
            });
        }
        if !self.has_room(reserve) {
            let for_what = match reserve {
                Reserve::None | Reserve::All => "",
                Reserve::Half => " but for what makes room, as a purge does",
            };
            let why = format!("catalog journal: fewer than {needed} storage nodes have room for it{for_what}");
            return Err(FullDisks::Nodes.full(why));
        }
        Ok(())
    }

    /// Whether enough nodes have room for what may use so much of the reserve.
    pub fn has_room(&self, reserve: Reserve) -> bool {
        let has_room = |lane: &LaneState| match reserve {
            Reserve::None => lane.room.spare,
            Reserve::Half => lane.room.spare || lane.room.half_spare,
            Reserve::All => true,
        };
        self.count(|lane| lane.trouble.is_none() && has_room(lane)) >= self.electorate.write_quorum()
    }

    /// How many groups each node lacks, by its URL.
    pub fn lags(&self) -> BTreeMap<Arc<str>, u64> {
        let claimed = matches!(self.phase, Phase::Claimed(_));
        let lag = |lane: &LaneState| self.end.sequence.saturating_sub(lane.through);
        self.lanes.iter().filter(|_| claimed).map(|(url, lane)| (Arc::clone(url), lag(lane))).collect()
    }

    /// Counts what a lane told; whether the quorum has moved.
    pub fn count_again(&mut self) -> bool {
        let before = self.quorum;
        self.quorum = before.max(self.held_by_quorum());
        self.acknowledgements += 1;
        let in_trouble = |url: &Arc<str>| self.lanes.get(url).is_none_or(|lane| lane.trouble.is_some());
        if self.acknowledgements >= CHOOSE_EVERY || self.prompt.is_empty() || self.prompt.iter().any(in_trouble) {
            self.choose_prompt();
        }
        self.quorum > before
    }

    /// The nodes that count, one state each, also where one has two URLs.
    fn counted(&self) -> BTreeMap<&NodeId, &LaneState> {
        let mut counted: BTreeMap<&NodeId, &LaneState> = BTreeMap::new();
        for lane in self.lanes.values() {
            let Some(node) = lane.node.as_ref().filter(|node| self.electorate.counts(node)) else { continue };
            let better = counted.get(node).is_none_or(|other| other.through < lane.through);
            if better {
                counted.insert(node, lane);
            }
        }
        counted
    }

    /// How many of the nodes that count are as `is` says. One that was not heard of yet counts: it may be any of them.
    fn count(&self, is: impl Fn(&LaneState) -> bool) -> usize {
        let unheard = self.lanes.values().filter(|lane| lane.node.is_none() && is(lane)).count();
        self.counted().values().filter(|lane| is(lane)).count() + unheard
    }

    /// Whether a node is sent each group at once.
    pub fn is_prompt(&self, url: &Arc<str>) -> bool {
        self.prompt.is_empty() || self.prompt.contains(url)
    }

    /// Chooses the fastest nodes that make a quorum, where that many are known and answer.
    fn choose_prompt(&mut self) {
        let answers = |(_, lane): &(&Arc<str>, &LaneState)| {
            lane.trouble.is_none()
                && lane.rot == Rot::None
                && lane.node.as_ref().is_some_and(|node| self.electorate.counts(node))
        };
        let mut lanes: Vec<(&Arc<str>, &LaneState)> = self.lanes.iter().filter(answers).collect();
        lanes.sort_by_key(|(_, lane)| lane.latency_us);
        let needed = self.electorate.write_quorum();
        let enough = lanes.len() >= needed;
        self.prompt = lanes.into_iter().take(needed).map(|(url, _)| Arc::clone(url)).collect();
        if !enough {
            self.prompt.clear();
        }
        self.acknowledgements = 0;
        // Those that were not sent things at once until now must not wait for the next group.
        self.lanes.iter().filter(|(url, _)| self.is_prompt(url)).for_each(|(_, lane)| lane.wake.notify_one());
    }

    /// The last group that a write quorum holds.
    fn held_by_quorum(&self) -> u64 {
        let through: Vec<u64> = self.counted().values().map(|lane| lane.through).collect();
        quorum::held_by(through, self.electorate.write_quorum())
    }

    /// Some of what a node holds cannot be read: it begins anew when that can be, and no group depends on it from now on. False for a node
    /// that takes no groups: it may have lost its disk.
    pub fn note_rot(&mut self, node: &NodeId, at: u64) -> bool {
        let its = |lane: &&mut LaneState| lane.node.as_ref() == Some(node) && lane.trouble.is_none();
        let mut takes_groups = false;
        for lane in self.lanes.values_mut().filter(its) {
            takes_groups = true;
            if lane.rot == Rot::None {
                lane.rot = Rot::Found { at };
                lane.wake.notify_one();
            }
        }
        self.choose_prompt();
        takes_groups
    }

    /// The next group, and what stands before the last whole snapshot no more: nor does the rot in it.
    pub fn extend(&mut self, entry: JournalEntry) {
        (self.end, self.whole_from) = (entry.mark, entry.whole_from);
        let is_behind = |rot| matches!(rot, Rot::Found { at } if at < entry.whole_from);
        self.lanes.values_mut().filter(|lane| is_behind(lane.rot)).for_each(|lane| lane.rot = Rot::None);
        self.ring.push(entry);
    }

    /// Whether the node of a lane is to begin anew now; then nothing of what it held counts any more.
    pub fn begins_anew(&mut self, url: &Arc<str>) -> bool {
        let end = self.end.sequence;
        let is_found = self.lanes.get(url).is_some_and(|lane| matches!(lane.rot, Rot::Found { .. }));
        if !is_found || !matches!(self.phase, Phase::Claimed(_)) || !self.may_begin_anew(url) {
            return false;
        }
        let Some(lane) = self.lanes.get_mut(url) else { return false };
        (lane.rot, lane.through) = (Rot::BeginsAnew { until: end }, 0);
        true
    }

    /// Whether the others make a quorum that holds all that was acknowledged, and none of them begins anew.
    fn may_begin_anew(&self, url: &Arc<str>) -> bool {
        let own = self.lanes.get(url).and_then(|lane| lane.node.as_ref());
        let others: Vec<&LaneState> =
            self.counted().into_iter().filter(|(node, _)| Some(*node) != own).map(|(_, lane)| lane).collect();
        let acknowledged = self.quorum.max(self.begun);
        let has_all =
            |lane: &&&LaneState| lane.trouble.is_none() && lane.rot == Rot::None && lane.through >= acknowledged;
        others.iter().all(|lane| !matches!(lane.rot, Rot::BeginsAnew { .. }))
            && others.iter().filter(has_all).count() >= self.electorate.write_quorum()
    }

    /// Why this coordinator can never have a quorum again.
    pub fn refusal(&self) -> Option<String> {
        let Phase::Claimed(claim) = &self.phase else { return None };
        let obeying_others = self.counted().values().filter(|lane| lane.obeys.is_some()).count();
        let left = self.electorate.total().saturating_sub(obeying_others);
        let other = self.counted().values().find_map(|lane| lane.obeys)?;
        (left < self.electorate.write_quorum()).then(|| {
            format!(
                "another coordinator has taken over ({other}; this one held {claim}): what was acknowledged here is there; stop \
                 this process, and do not start it with this directory again"
            )
        })
    }
}
