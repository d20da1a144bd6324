//! Which code a storage class stands for in this cluster, and whether there are nodes enough for it.
//!
//! What it keeps true:
//! - A write that the cluster cannot hold as it was asked for is refused before a byte of it is stored, and the refusal says how many nodes
//!   it takes. It is stored otherwise only where the operator has said how.
//! - A chunk's own record says how it is encoded; a profile that is changed holds for what is written from then on.

use super::{Attributes, BucketName, Objects, Refused};
use crate::code::Code;
use crate::metadata::keys;
use crate::metadata::records::{BucketRecord, Record, StorageClass, Strategy};
use protocol::{Error, NodeId, Result};

/// The codes of the storage classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profiles {
    /// Of [`StorageClass::Standard`].
    pub replication: Code,
    /// Of [`StorageClass::StandardIa`].
    pub ec: Code,
    /// Of the same while there are too few nodes for that one, if the operator wants it.
    pub ec_fallback: Option<Code>,
    /// From how many bytes on [`Strategy::Auto`] is the second class: below it, six shards cost more than the bytes they save.
    pub auto_ec_bytes: u64,
}

impl Profiles {
    /// Three copies, and 4+2 or nothing.
    pub const DEFAULT: Profiles = Profiles {
        replication: Code::REPLICATION,
        ec: Code { data: 4, parity: 2 },
        ec_fallback: None,
        auto_ec_bytes: 1 << 20,
    };
}

/// How a write is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredAs {
    /// Its class.
    pub class: StorageClass,
    /// What that stands for now.
    pub code: Code,
    /// Whether its class follows its size and how much it is read.
    pub tiered: bool,
}

impl StoredAs {
    /// Has the version's record say so.
    pub fn describe(self, attributes: &mut Attributes) {
        (attributes.storage_class, attributes.tiered) = (self.class, self.tiered);
    }
}

impl Objects {
    /// How a write is stored: as `asked`, or as its bucket has it. `length` is that of the body; one that is not known is taken for a
    /// long one.
    ///
    /// `Unavailable` as [`Objects::code_of`].
    pub async fn storage_of(
        &self,
        bucket: &BucketName,
        asked: Option<Strategy>,
        length: Option<u64>,
    ) -> Result<StoredAs> {
        let strategy = match asked {
            Some(asked) => asked,
            None => self.strategy_of(bucket).await?,
        };
        let class = match strategy {
            Strategy::Replication => StorageClass::Standard,
            Strategy::Ec => StorageClass::StandardIa,
            Strategy::Auto => {
                let is_long = length.is_none_or(|length| length >= self.profiles.auto_ec_bytes);
                let fits = is_long && self.code_of(StorageClass::StandardIa).is_ok();
                if fits { StorageClass::StandardIa } else { StorageClass::Standard }
            }
        };
        Ok(StoredAs { class, code: self.code_of(class)?, tiered: strategy == Strategy::Auto })
    }

    async fn strategy_of(&self, bucket: &BucketName) -> Result<Strategy> {
        let entry = self.metadata.get(&keys::bucket(bucket.as_str())).await?;
        let record = entry.map(|entry| BucketRecord::decode(&entry.value)).transpose()?;
        Ok(record.and_then(|record| record.strategy).unwrap_or(Strategy::Replication))
    }

    /// How a write of this class is encoded now.
    ///
    /// `Unavailable` if the nodes that are there are too few for it: each shard has a node of its own, and the write's quorum must answer.
    pub fn code_of(&self, class: StorageClass) -> Result<Code> {
        let Profiles { replication, ec, ec_fallback, .. } = self.profiles;
        let wanted = match class {
            // Copies are taken by as few nodes as a quorum has; what is short of that is said by the write, node by node.
            StorageClass::Standard => return Ok(replication),
            StorageClass::StandardIa => ec,
        };
        let leaving = self.nodes.leaving();
        let stays = |node: &&NodeId| !leaving.contains(*node);
        let registered = self.nodes.registered().iter().filter(stays).count();
        let answering = self.nodes.answering().iter().filter(stays).count();
        let fits = |code: &Code| registered >= code.shards() && answering >= code.write_quorum();
        [Some(wanted), ec_fallback].into_iter().flatten().find(fits).ok_or_else(|| too_few_for(wanted))
    }

    /// `Unavailable` if too few nodes answer for a write that leans on chunks of this code: who stores something else with them asks first.
    pub fn require_quorum_of(&self, code: Code) -> Result<()> {
        let answering = self.nodes.answering().len();
        if answering < code.write_quorum() { Err(too_few_for(code)) } else { Ok(()) }
    }
}

/// Contract C12, to the letter.
fn too_few_for(code: Code) -> Error {
    let needed = code.shards();
    Refused::TooFewNodes.error(format!("Service unavailable: Insufficient EC nodes (need {needed})"))
}
