//! The nodes as keepers of the catalog's journal.
//!
//! They are asked as they are, admitted or not: the record that admits a node is itself a group of the journal. Who they are the
//! journal learns from their answers, and a node without the cluster's secret, or of another cluster, gives none. One that shows the wrong
//! disk is left out (I21).

use super::vitals::Identity;
use super::{Member, Nodes};
use crate::metadata::journal::{JournalMember, JournalMembers};
use std::sync::Arc;

impl JournalMembers for Nodes {
    fn members(&self) -> Vec<JournalMember> {
        let keeper = |member: &Arc<Member>| JournalMember { url: member.url().into(), node: Arc::clone(member.node()) };
        Nodes::members(self).iter().filter(|member| !member.is_refused()).map(keeper).collect()
    }
}

impl Member {
    /// Whether whoever answers there is not who it should be.
    fn is_refused(&self) -> bool {
        matches!(self.vitals().identity, Identity::Refused(_))
    }

    /// Whether it is nobody's address: whoever answers there was refused, and the catalog knows no node there.
    pub(super) fn is_stranger(&self) -> bool {
        self.id().is_none() && self.is_refused()
    }
}
