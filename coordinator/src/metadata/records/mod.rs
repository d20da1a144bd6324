//! What the metadata holds: one file per record, each with its released layouts as types (`v1`, …) and `pub type X = v1::X` for
//! the current one. [`crate::metadata::codec`] makes values of them, [`crate::metadata::keys`] says under which keys they live.
//!
//! What it keeps true: a manifest ([`VersionRecord`], [`PageRecord`]) says what an object is; a [`ChunkRecord`] says where bytes
//! are. Repair and rebalance change chunk records only. No record grows with the size of an object beyond [`PAGE_ENTRIES_MAX`].

mod attributes;
mod bucket;
mod chunk;
mod cluster;
mod collect;
mod credential;
mod digest;
mod garbage;
mod heat;
mod intent;
mod lease;
mod node;
mod object;
mod page;
mod part;
mod reference;
mod repair;
mod savings;
mod transition;
mod trash;
mod upload;
mod usage;
mod verify;
mod version;
mod wanted;
mod worker;

pub use attributes::{
    Checksum, ChecksumAlgorithm, ChecksumKind, ETag, Headers, Retention, RetentionMode, StorageClass, Strategy,
};
pub use bucket::{
    BucketRecord, BucketState, CorsRule, DefaultRetention, LifecycleRule, NoncurrentTransition, ObjectLock, Quota,
    RuleFilter, Transition, TransitionMinimum, Versioning,
};
pub use chunk::{ChunkRecord, ChunkState, ShardPlace};
pub use cluster::ClusterRecord;
pub use collect::CollectRecord;
pub use credential::{CredentialRecord, GrantRecord};
pub use digest::DigestRecord;
pub use garbage::{Garbage, GarbageRecord};
pub use heat::HeatRecord;
pub use intent::IntentRecord;
pub use lease::LeaseRecord;
pub use node::{NodeRecord, NodeState};
pub use object::{ObjectRecord, ObjectState};
pub use page::{ChunkEntry, PAGE_ENTRIES_MAX, PageRecord};
pub use part::{PARTS_ENTRIES_MAX, PartEntry, PartRecord, PartsRecord};
pub use reference::RefRecord;
pub use repair::{RepairRecord, SEVERITY_DRAIN, SEVERITY_REBALANCE};
pub use savings::SavingsRecord;
pub use transition::TransitionRecord;
pub use trash::TrashRecord;
pub use upload::{CompletedRecord, UploadRecord};
pub use usage::UsageRecord;
pub use verify::{FindingKind, FindingRecord, VerifyCounts, VerifyRecord};
pub use version::{ChunkList, VersionRecord, VersionState, in_order};
pub use wanted::WantedRecord;
pub use worker::WorkerRecord;

use crate::metadata::codec::{self, Migrate};
use bytes::Bytes;
use protocol::Result;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// A version of an object: a UUIDv7, never reused. The same id names its manifest, the upload that makes it and the garbage it becomes; a
/// version whose class was changed has a manifest with an id of its own, for all of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VersionId(pub Uuid);

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A multipart upload: a UUIDv7, never reused. The same id names the garbage that its records become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UploadId(pub Uuid);

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A SHA-256, of 32 bytes.
pub type Sha256 = [u8; 32];

/// What a value of the metadata can be.
pub trait Record: Migrate {
    /// The value that holds this record.
    fn encode(&self) -> Bytes {
        codec::encode(self)
    }

    /// The record in this value; `Corrupt` if it holds none of this kind, or of a version not known.
    fn decode(value: &[u8]) -> Result<Self> {
        codec::decode(value)
    }
}

impl<R: Migrate> Record for R {}
