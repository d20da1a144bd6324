//! The verbs: what an object is, above the seams. Put, get, head, list, delete and the history of a key, for every dialect.
//!
//! What it keeps true:
//! - Law 1: an acknowledged write is durable: its shards are fsynced on a quorum of distinct nodes and its metadata is committed.
//! - Law 3: a version is visible whole or not at all; one commit publishes it.
//! - Law 6: a chunk is verified before its first byte leaves.
//! - Law 7: versions of a key only grow; a number is never used twice, not even after a purge.
//! - Law 10: what a stream holds in memory is bounded by its [`budget::Allowance`].
//!
//! Everything here runs over `dyn Metadata`, `dyn Node` (behind [`Nodes`]) and `dyn Clock`, so the simulated cluster runs the
//! very code that is shipped.

mod annotate;
mod attributes;
mod batch;
mod bucket;
mod buckets;
pub mod budget;
mod by_id;
mod cache;
mod checksum;
mod chunker;
mod clients;
mod compose;
mod compute;
mod condition;
mod convert;
mod copy;
mod delete;
mod delete_bucket;
mod descent;
mod digest;
mod document;
mod explain;
mod failures;
mod fetch;
mod find;
mod gather;
mod get;
mod heat;
mod incoming;
mod intent;
mod judge;
mod landing;
mod list;
mod list_versions;
mod lock;
mod manifest;
mod marker;
mod multipart;
mod name;
mod pack;
mod page;
mod profiles;
mod prove;
mod publish;
mod put;
mod reach;
mod receipt;
mod refused;
mod remove;
mod repair_queue;
mod resolve;
mod settle;
mod shared;
mod standing;
mod succession;
mod tasks;
mod upload_memory;
mod usage;
mod versions;
mod walk;
mod window;
pub mod write;

pub use attributes::{Attributes, VersionName};
pub use batch::repair_severity;
pub use bucket::{MissingBucket, NewBucket};
pub use buckets::BucketPage;
pub use cache::ChunkCache;
pub use checksum::{Checksummer, checksum_bytes};
pub use clients::Clients;
pub use compute::{COMPUTE_THREADS, Compute};
pub use condition::{Condition, ContentTag, Wanted};
pub use convert::{Conversion, Converted};
pub use copy::{CopyDone, SourceVersion};
pub use delete::{DeleteDone, DeleteMode, DeleteRequest, Deleted};
pub use document::{
    BINARY_FIELD, Change, DOCUMENT_BYTES_MAX, Document, DocumentDone, GoneDocument, HotField, HotFields, JSON, Reason,
    Strategy,
};
pub use explain::{EXPLAIN_LIMIT_MAX, ExplainPage, ExplainedChunk, ExplainedCopy, PendingRepair, Sharing};
pub use failures::{Failures, WriteOutlook};
pub(crate) use fetch::read_shard;
pub use find::Found;
pub use gather::{Gathered, Proved};
pub use get::{ObjectReader, UNCOUNTED_BYTES_MAX};
pub use heat::Heat;
pub use incoming::{BODY_QUEUE_PIECES, Body, BodyMessage, body_channel, whole_body};
pub use list::{Availability, LIST_LIMIT_MAX, ListPage, ListRequest, ListedObject};
pub use list_versions::{ListVersionsRequest, ListedVersion, VersionMarker, VersionsPage};
pub use manifest::ManifestRun;
#[cfg(test)]
pub(crate) use marker::sample as sample_version;
pub(crate) use multipart::garbage_of_part;
pub use multipart::{
    CompleteRequest, CompletedUpload, ListUploadsRequest, ListedPart, ListedUpload, NewUpload, ObjectPart,
    ObjectPartsPage, PART_BYTES_MAX, PART_BYTES_MIN, PARTS_MAX, PartClaim, PartDone, PartTarget, PartsPage,
    UploadMarker, UploadsPage,
};
pub use name::{BucketName, DOCUMENTS_BUCKET, FILES_BUCKET, KEY_BYTES_MAX, ObjectName};
pub use profiles::{Profiles, StoredAs};
pub use prove::Prover;
pub use publish::{PutDone, PutTarget};
pub use receipt::Receipt;
pub use refused::Refused;
pub use remove::{RemoveDone, RemoveRequest};
pub use repair_queue::{LostVersions, RepairQueue};
pub use resolve::{Version, VersionSelector};
pub use standing::{Standing, WeakestChunk};
pub use tasks::{Tasks, joined};
pub use usage::Usage;
pub use versions::{HistoryEntry, HistoryPage};

use crate::metadata::Metadata;
use crate::nodes::Nodes;
use budget::Budget;
use protocol::Clock;
use std::sync::Arc;

/// Everything a verb needs. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    /// Where truth lives.
    pub metadata: Arc<dyn Metadata>,
    /// Where bytes live.
    pub nodes: Arc<Nodes>,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
    /// Who runs what outlives a request.
    pub tasks: Tasks,
    /// Where processor work runs.
    pub compute: Compute,
    /// Who proves what was read.
    pub prover: Prover,
    /// How many bytes of uploads may be in flight.
    pub budget: Budget,
    /// How many bytes of downloads may be in flight.
    pub read_budget: Budget,
    /// How many clients are being served.
    pub clients: Clients,
    /// Small chunks read or written lately.
    pub cache: ChunkCache,
    /// What was let into buckets with a quota.
    pub usage: Usage,
    /// How much is read of what follows that.
    pub heat: Heat,
    /// Which fields of documents are hot.
    pub hot_fields: HotFields,
    /// How the chunks of each storage class are encoded.
    pub profiles: Profiles,
    /// What is lost, as far as was looked lately.
    pub lost: LostVersions,
}
