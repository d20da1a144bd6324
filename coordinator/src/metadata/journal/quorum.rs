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
use protocol::NodeId;
use std::collections::BTreeSet;

/// Whether the journal of a node counts: one that was drained may be switched off, and one that is lost gives no answer.
pub fn is_voter(record: &NodeRecord) -> bool {
    matches!(record.state, NodeState::Active | NodeState::Draining)
}

/// Who counts.
#[derive(Clone, Debug, Default)]
pub struct Electorate {
    /// The nodes that the catalog knows. While there are none, which is at the birth of a cluster, any member counts.
    pub voters: BTreeSet<NodeId>,
    /// How many members there are.
    pub members: usize,
}

impl Electorate {
    /// Whether this node counts.
    pub fn counts(&self, node: &NodeId) -> bool {
        self.voters.is_empty() || self.voters.contains(node)
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

    #[test]
    fn every_write_quorum_meets_every_read_quorum_and_two_claims_never_both_write() {
        for total in 1..9 {
            let electorate = Electorate { voters: BTreeSet::new(), members: total };
            let (write, read) = (electorate.write_quorum(), electorate.read_quorum());
            assert!(write <= total && read <= total, "{total}");
            assert!(write + read > total, "{total}: they meet");
            assert!(total - read < write, "{total}: what does not obey the claim is no quorum");
        }
    }

    #[test]
    fn the_quorum_holds_what_its_slowest_does() {
        assert_eq!(held_by(vec![7, 9, 3], 2), 7);
        assert_eq!(held_by(vec![7], 2), 0);
        assert_eq!(held_by(vec![7], 1), 7);
    }
}
