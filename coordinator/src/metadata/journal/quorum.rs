//! Who counts, and how many are enough.
//!
//! With N nodes and a write quorum W, a group is acknowledged by W of them. All but W − 1 of them meet every such set: they are what a
//! coordinator must reach to claim an epoch, and what a restore must reach. After that fewer than W nodes obey an older epoch, so
//! nothing can be acknowledged under one.
//!
//! The nodes that count for a group are those that the catalog knew before it. A node's joining or leaving is a group like any other, so
//! whoever restores knows of exactly the nodes that may hold what comes after it: the groups before it are on a quorum of the nodes
//! before, and those after it follow it on every node that has them.

use super::JOURNAL_QUORUM;
use crate::metadata::records::{NodeRecord, NodeState};
use protocol::{DiskId, JournalMark, JournalState, NodeId};
use std::collections::BTreeMap;

/// Whether the journal of a node counts: one that was drained may be switched off, and one that is lost gives no answer.
pub fn is_voter(record: &NodeRecord) -> bool {
    matches!(record.state, NodeState::Active | NodeState::Draining)
}

/// The nodes that count, each with the disk that the catalog knows of it.
pub type Voters = BTreeMap<NodeId, DiskId>;

/// Who counts.
#[derive(Clone, Debug, Default)]
pub struct Electorate {
    /// The nodes that the catalog knows, and the disks they had. While there are none, which is at the birth of a cluster, any member counts.
    pub voters: Voters,
    /// How many members there are.
    pub members: usize,
}

impl Electorate {
    /// Whether what this node holds counts.
    pub fn counts(&self, node: &NodeId) -> bool {
        self.voters.is_empty() || self.voters.contains_key(node)
    }

    /// Whether what this node says it does *not* hold, and whom it does not obey, counts: only on the disk that held what was acknowledged.
    /// A disk that was replaced knows nothing of what the one before it held, until the catalog says that this one is the node's. Nor does a
    /// journal that had to begin anew, unless what it had before is met elsewhere: `newest` is the last group that is known of, and whoever holds one of a later epoch holds all
    /// that was acknowledged in those before.
    pub fn remembers(&self, answer: &JournalState, newest: JournalMark) -> bool {
        let is_voter = self.voters.is_empty() || self.voters.get(&answer.node) == Some(&answer.disk);
        is_voter && answer.promised <= newest
    }

    /// How many count.
    pub fn total(&self) -> usize {
        if self.voters.is_empty() { self.members } else { self.voters.len() }
    }

    /// How many must hold a group before it is acknowledged.
    pub fn write_quorum(&self) -> usize {
        JOURNAL_QUORUM.min(self.total()).max(1)
    }

    /// How many meet every write quorum.
    pub fn read_quorum(&self) -> usize {
        (self.total() + 1).saturating_sub(self.write_quorum()).max(1)
    }
}

/// The greatest sequence that `needed` of these hold.
pub fn held_by(mut through: Vec<u64>, needed: usize) -> u64 {
    through.sort_unstable_by(|one, other| other.cmp(one));
    through.get(needed - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{JournalClaim, JournalRoom};
    use uuid::Uuid;

    #[test]
    fn every_write_quorum_meets_every_read_quorum_and_two_claims_never_both_write() {
        for total in 1..9 {
            let electorate = Electorate { voters: Voters::new(), members: total };
            let (write, read) = (electorate.write_quorum(), electorate.read_quorum());
            assert!(write <= total && read <= total, "{total}");
            assert!(write + read > total, "{total}: they meet");
            assert!(total - read < write, "{total}: what does not obey the claim is no quorum");
        }
    }

    #[test]
    fn a_disk_in_the_place_of_another_does_not_remember_what_that_one_held() {
        let (node, disk): (NodeId, _) = ("n1".parse().unwrap(), |number| DiskId(Uuid::from_u128(number)));
        let state = |disk| JournalState {
            node: node.clone(),
            disk,
            claim: JournalClaim::default(),
            first: 1,
            last: JournalMark::default(),
            whole_from: 1,
            promised: JournalMark::default(),
            room: JournalRoom::default(),
            bytes: 0,
        };
        let electorate = Electorate { voters: Voters::from([(node.clone(), disk(1))]), members: 1 };
        assert!(electorate.counts(&node) && electorate.remembers(&state(disk(1)), JournalMark::default()));
        assert!(
            !electorate.remembers(&state(disk(2)), JournalMark::default()),
            "it was not there when groups were acknowledged"
        );
        assert!(
            Electorate::default().remembers(&state(disk(2)), JournalMark::default()),
            "at the birth of a cluster anyone counts"
        );
    }

    #[test]
    fn a_journal_that_began_anew_counts_where_what_it_had_is_met() {
        let state = JournalState {
            node: "n1".parse().unwrap(),
            disk: DiskId(Uuid::nil()),
            claim: JournalClaim::default(),
            first: 300,
            last: JournalMark { epoch: 1, sequence: 380 },
            whole_from: 300,
            promised: JournalMark { epoch: 1, sequence: 500 },
            room: JournalRoom::default(),
            bytes: 0,
        };
        let electorate = Electorate::default();
        let newest = |epoch, sequence| electorate.remembers(&state, JournalMark { epoch, sequence });
        assert!(!newest(1, 400), "it has answered 401 to 500, and does not know it");
        assert!(newest(1, 500) && newest(2, 390));
    }

    #[test]
    fn the_quorum_holds_what_its_slowest_does() {
        assert_eq!(held_by(vec![7, 9, 3], 2), 7);
        assert_eq!(held_by(vec![7], 2), 0);
        assert_eq!(held_by(vec![7], 1), 7);
    }
}
