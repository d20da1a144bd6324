//! The oracle: it knows what every client asked and was told, and sees every commit as it happens, so it can say of each answer
//! whether it was true at that moment.
//!
//! What must hold at any time ([`operations`], [`reads`], [`commits`], [`copies`], [`census`]):
//! - Law 1: at the acknowledgement, every chunk of the version is durable on a write quorum of distinct nodes, looked up in the
//!   nodes' own state; and so is every chunk at the moment a record names it.
//! - Law 3: what failed is never visible, now or later; what may have happened happens at most once.
//! - Law 6: bytes that were read are the bytes that were put.
//! - Law 7: every read, list and delete agrees with one of the states its key had between call and answer; numbers of a key grow
//!   with every commit, and with real time between acknowledged puts.
//! - Law 4 and 5: what manifests name is referenced, what is referenced has a record, and no record names a shard that was
//!   acknowledged and is gone.
//! - A bucket goes only while nothing is visible in it, and nothing becomes visible where there is none ([`buckets`]).
//! - What workers do is told in [`copies`], what becomes of uploads in parts in [`uploads`], what documents are in [`documents`].
//!
//! Keys of the file door's bucket are called by their own name, those of others by bucket, slash and key.

mod buckets;
mod census;
mod commits;
mod copies;
mod documents;
mod operations;
mod reads;
mod uploads;
mod view;

pub use buckets::BucketVerb;
pub use census::Census;
pub use copies::{Before, LEASE};
pub use operations::{Ended, Got, OpId};
pub use view::{View, bucket_and_key, called};

use super::body::TestBody;
use super::client::uploads::Begun;
use super::document::FieldChanges;
use super::node::SimNode;
use super::rng::Rng;
use super::world::World;
use coordinator::metadata::memory::MemoryMetadata;
use coordinator::metadata::records::{ETag, UploadId, VersionId};
use coordinator::object::{Condition, DeleteMode};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The client's metadata key that says which operation made a version.
pub const OPERATION: &str = "operation";

/// What violations keep: the first ones tell enough.
const VIOLATIONS_MAX: usize = 20;

/// The oracle of one simulation.
pub struct Oracle {
    world: Arc<World>,
    view: View,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Rises with every commit of an object record.
    sequence: u64,
    keys: BTreeMap<String, Vec<Moment>>,
    operations: Vec<Operation>,
    /// What is added to a key's numbers, so that those of one that was forgotten and put anew go on growing here.
    offsets: BTreeMap<String, u64>,
    /// The number of every version and marker, with its key's offset.
    numbers: BTreeMap<VersionId, u64>,
    /// From when on a bucket existed, or did not.
    buckets: BTreeMap<String, Vec<(u64, bool)>>,
    uploads: BTreeMap<UploadId, uploads::Upload>,
    left_open: Vec<Begun>,
    published: BTreeMap<(String, u64), Published>,
    acknowledged: BTreeMap<(String, u64), OpId>,
    /// Versions removed by themselves, and the sequence number of the commit that did it.
    removed: BTreeMap<(String, u64), u64>,
    violations: Vec<String>,
    counts: Counts,
}

/// The state of a key from one commit to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    since: u64,
    last_number: u64,
    purged_through: u64,
    /// The number of the live version.
    live: Option<u64>,
    purged: bool,
}

#[derive(Clone, Copy, Debug)]
struct Published {
    op: OpId,
    id: VersionId,
    /// Its number as its readers see it.
    shown: u64,
    etag: ETag,
}

#[derive(Clone, Debug)]
enum Asked {
    Put {
        body: TestBody,
        condition: Condition,
    },
    /// A change of a document; once it is visible, what it made.
    Change {
        changes: FieldChanges,
        if_match: Option<ETag>,
        became: Option<TestBody>,
    },
    Delete {
        mode: DeleteMode,
    },
    Remove {
        number: u64,
    },
    /// Anything that is asked of a bucket.
    Bucket,
}

#[derive(Clone, Debug)]
struct Operation {
    key: String,
    asked: Asked,
    began: u64,
    /// The highest number acknowledged for this key when it began.
    acknowledged_before: u64,
    refused: bool,
    landed: Option<(u64, u64, VersionId)>,
}

/// How much happened, so that a test that saw nothing does not pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Puts acknowledged.
    pub puts_done: u64,
    /// Puts that failed and said so.
    pub puts_refused: u64,
    /// Puts whose outcome the client does not know.
    pub puts_unknown: u64,
    /// Deletes acknowledged.
    pub deletes_done: u64,
    /// Removals of single versions acknowledged.
    pub removals_done: u64,
    /// Null versions whose place another took.
    pub nulls_replaced: u64,
    /// Keys whose records went with their last version.
    pub keys_forgotten: u64,
    /// Buckets that were made.
    pub buckets_made: u64,
    /// Buckets that were deleted.
    pub buckets_deleted: u64,
    /// Buckets that a write kept from being deleted.
    pub buckets_revived: u64,
    /// Parts acknowledged.
    pub parts_done: u64,
    /// Completions acknowledged.
    pub uploads_completed: u64,
    /// Abortions acknowledged.
    pub uploads_aborted: u64,
    /// Uploads that were left open in buckets, and closed by their deletions.
    pub uploads_gone_with_buckets: u64,
    /// Copies acknowledged.
    pub copies_done: u64,
    /// Versions that were switched over to another class.
    pub switched: u64,
    /// Changes of documents acknowledged.
    pub changes_done: u64,
    /// Reads that gave the right bytes.
    pub reads_done: u64,
    /// Reads and listings that were told to come again.
    pub reads_refused: u64,
    /// Chunk records written.
    pub chunks_named: u64,
    /// Puts that stored nothing, because all their bytes were there.
    pub chunks_reused: u64,
    /// Chunk records that came to name another shard.
    pub chunks_mended: u64,
    /// Chunk records that went.
    pub chunks_collected: u64,
    /// Shards deleted on nodes.
    pub shards_deleted: u64,
    /// Uploads given up by expire.
    pub uploads_given_up: u64,
    /// Times that a process took the workers' lease.
    pub leases_taken: u64,
    /// Commits refused because another process has the lease.
    pub stale_commits: u64,
}

impl Counts {
    /// The sum of both.
    pub fn plus(self, other: Counts) -> Counts {
        Counts {
            puts_done: self.puts_done + other.puts_done,
            puts_refused: self.puts_refused + other.puts_refused,
            puts_unknown: self.puts_unknown + other.puts_unknown,
            deletes_done: self.deletes_done + other.deletes_done,
            removals_done: self.removals_done + other.removals_done,
            nulls_replaced: self.nulls_replaced + other.nulls_replaced,
            keys_forgotten: self.keys_forgotten + other.keys_forgotten,
            buckets_made: self.buckets_made + other.buckets_made,
            buckets_deleted: self.buckets_deleted + other.buckets_deleted,
            buckets_revived: self.buckets_revived + other.buckets_revived,
            parts_done: self.parts_done + other.parts_done,
            uploads_completed: self.uploads_completed + other.uploads_completed,
            uploads_aborted: self.uploads_aborted + other.uploads_aborted,
            uploads_gone_with_buckets: self.uploads_gone_with_buckets + other.uploads_gone_with_buckets,
            copies_done: self.copies_done + other.copies_done,
            switched: self.switched + other.switched,
            changes_done: self.changes_done + other.changes_done,
            reads_done: self.reads_done + other.reads_done,
            reads_refused: self.reads_refused + other.reads_refused,
            chunks_named: self.chunks_named + other.chunks_named,
            chunks_reused: self.chunks_reused + other.chunks_reused,
            chunks_mended: self.chunks_mended + other.chunks_mended,
            chunks_collected: self.chunks_collected + other.chunks_collected,
            shards_deleted: self.shards_deleted + other.shards_deleted,
            uploads_given_up: self.uploads_given_up + other.uploads_given_up,
            leases_taken: self.leases_taken + other.leases_taken,
            stale_commits: self.stale_commits + other.stale_commits,
        }
    }
}

impl Oracle {
    /// An oracle over the truth itself: `memory` below all faults, and the nodes' own state.
    pub fn new(world: Arc<World>, memory: Arc<MemoryMetadata>, nodes: Vec<Arc<SimNode>>) -> Arc<Oracle> {
        Arc::new(Oracle { world, view: View::new(memory, nodes), state: Mutex::default() })
    }

    /// The truth it looks at.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Draws from the simulation's chance.
    pub fn draw<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        self.world.draw(draw)
    }

    /// What was violated so far, with what went before.
    pub fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    /// How much happened so far.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Every version that was published and not purged: key and number.
    pub fn readable(&self) -> Vec<(String, u64)> {
        let state = self.state();
        let kept = |((key, number), _): &(&(String, u64), &Published)| {
            state.moment(key).purged_through < *number && !state.removed.contains_key(&((*key).clone(), *number))
        };
        let kept = state.published.iter().filter(kept);
        kept.map(|((key, _), published)| (key.clone(), published.shown)).collect()
    }

    /// Notes a violation.
    pub fn violated(&self, what: impl Into<String>) {
        let mut state = self.state();
        state.violated(&self.world, what.into());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn violated(&mut self, world: &World, what: String) {
        world.tell(|| format!("VIOLATION {what}"));
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(format!("at {} ms: {what}", world.elapsed().as_millis()));
        }
    }

    /// Whether the version was removed by itself by then.
    fn is_removed(&self, key: &str, number: u64, moment: &Moment) -> bool {
        self.removed.get(&(key.to_owned(), number)).is_some_and(|since| *since <= moment.since)
    }

    fn moment(&self, key: &str) -> Moment {
        self.keys.get(key).and_then(|moments| moments.last()).copied().unwrap_or(Moment::START)
    }

    /// The states `key` had from sequence number `began` to now.
    fn moments_since(&self, key: &str, began: u64) -> Vec<Moment> {
        let Some(moments) = self.keys.get(key) else { return vec![Moment::START] };
        let first = moments.iter().rposition(|moment| moment.since <= began);
        let mut window: Vec<Moment> = if first.is_none() { vec![Moment::START] } else { Vec::new() };
        window.extend(&moments[first.unwrap_or(0)..]);
        window
    }
}

impl Moment {
    const START: Moment = Moment { since: 0, last_number: 0, purged_through: 0, live: None, purged: true };
}
