//! Which code a storage class stands for in this cluster, and whether there are nodes enough for it.
//!
//! What it keeps true:
//! - A write that the cluster cannot hold as it was asked for is refused before a byte of it is stored, and the refusal says how many nodes
//!   it takes. It is stored otherwise only where the operator has said how.
//! - A chunk's own record says how it is encoded; a profile that is changed holds for what is written from then on.

use super::Objects;
use crate::code::Code;
use crate::metadata::records::StorageClass;
use protocol::{Error, Result};

/// The codes of the storage classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profiles {
    /// Of [`StorageClass::Standard`].
    pub replication: Code,
    /// Of [`StorageClass::StandardIa`].
    pub ec: Code,
    /// Of the same while there are too few nodes for that one, if the operator wants it.
    pub ec_fallback: Option<Code>,
}

impl Profiles {
    /// Three copies, and 4+2 or nothing.
    pub const DEFAULT: Profiles =
        Profiles { replication: Code::REPLICATION, ec: Code { data: 4, parity: 2 }, ec_fallback: None };
}

impl Objects {
    /// How a write of this class is encoded now.
    ///
    /// `Unavailable` if the nodes that are there are too few for it: each shard has a node of its own, and the write's quorum must answer.
    pub fn code_of(&self, class: StorageClass) -> Result<Code> {
        let Profiles { replication, ec, ec_fallback } = self.profiles;
        let wanted = match class {
            // Copies are taken by as few nodes as a quorum has; what is short of that is said by the write, node by node.
            StorageClass::Standard => return Ok(replication),
            StorageClass::StandardIa => ec,
        };
        let leaving = self.nodes.leaving();
        let stays = |node: &&protocol::NodeId| !leaving.contains(*node);
        let registered = self.nodes.registered().iter().filter(stays).count();
        let answering = self.nodes.answering().iter().filter(stays).count();
        let fits = |code: &Code| registered >= code.shards() && answering >= code.write_quorum();
        [Some(wanted), ec_fallback].into_iter().flatten().find(fits).ok_or_else(|| {
            Error::unavailable(format!(
                "Service unavailable: Insufficient EC nodes (need {}): code {wanted} stores each of {} shards on a node of its own and \
                 acknowledges at {}; {registered} nodes are registered and {answering} answer",
                wanted.shards(),
                wanted.shards(),
                wanted.write_quorum()
            ))
        })
    }
}
