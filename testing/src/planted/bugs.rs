//! The bugs that can be planted: each is one that such a system has had, and that a test here must catch.

/// A bug known from systems of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A node acknowledges what it has not stored yet.
    NodeAcksBeforeSync,
    /// A node acknowledges what it never stores, so that a quorum of two is one copy.
    NodeAcksNothing,
    /// One copy is called enough.
    QuorumOfOne,
    /// As many shards as reading needs are called enough.
    QuorumOfData,
    /// A retry sends a drained body, under a CRC that fits it.
    DrainedBody,
    /// A node that cannot be reached is taken for one that holds nothing.
    UnreachableIsMissing,
    /// The next number is taken without comparing.
    VersionWithoutCompare,
    /// An upload is published although its intent is gone.
    CommitWithoutIntentCheck,
    /// A chunk is reused although its record has changed since.
    ReuseWithoutRevisionCheck,
    /// A chunk is reused although the collector has condemned it.
    ReuseOfTheCondemned,
    /// A dedup hit takes no reference.
    DedupWithoutReference,
    /// A fresh chunk is named without looking whether scrub has fenced its id.
    NamedWithoutFence,
    /// A lost answer is taken for a failure, and cleaned up after.
    CleanupOnUnknown,
    /// A lost answer is taken for a failure, and the commit is sent again without its checks.
    RetryOnUnknown,
    /// A commit is acknowledged and lost.
    CommitLost,
    /// A commit happens in two parts.
    CommitTorn,
    /// Reads may see the state before the last commit.
    StaleReads,
    /// Nobody looks whether the upload is still open, and as it was, that a part is put into, or that is closed.
    UploadUnwatched,
    /// An aborted upload leaves its parts to nobody.
    AbortForgetsParts,
    /// A write does not look whether its bucket is being deleted.
    BucketUnwatched,
    /// A null version stays when another takes its place.
    NullsPileUp,
    /// A document that is written anew takes the cold part of the version before, if that is as long.
    ColdOfAnother,
    /// A change of a document is published although another writer came first.
    ChangeUnwatched,
    /// Shortfalls leave no repair record.
    ShortfallForgotten,
    /// A chunk record names a node that never answered.
    NamesWhoNeverAnswered,
    /// A healer copies from a replica that it did not verify, and asks no more than whether there is a copy (S8, S14).
    HealerTrustsSource,
    /// A healer stores shards that it computed from what it did not prove, and believes its nodes that they are right.
    RebuiltUnproved,
    /// A healer takes silence for absence, and forgets the copies of those that are silent (S7).
    HealerDropsOnSilence,
    /// A healer that could do a part forgets the rest.
    HealerForgetsTheRest,
    /// A healer stores under an index that was given up.
    FencedIndexRenamed,
    /// A healer throws away what it goes on naming.
    NamedInTrash,
    /// A collector deletes shards before their chunk's record is gone.
    DeleteBeforeUnlink,
    /// A collector does not look for references again after it has condemned a chunk.
    NoSecondLook,
    /// A collector forgets shards that a silent node did not confirm to have deleted.
    DeleteUnconfirmed,
    /// A census removes orphans without the commit that stops their writer.
    OrphansWithoutFence,
    /// An upload's pages go before its intent does.
    PagesBeforeIntent,
    /// A collector does not look which parts of a closed upload are a version's.
    ListedPartsCollected,
    /// A version is switched over to another class without a look whether it and its key are as they were.
    SwitchUnwatched,
    /// What a version was made of before it was switched over is left to nobody.
    SwitchForgetsTheOld,
    /// A collector gives back a document's hot part and forgets the cold one.
    ColdPartKept,
    /// Workers' commits do not check that they still hold the lease (S5).
    CommitWithoutLease,
}

/// Every bug.
pub const BUGS: [Bug; 41] = [
    Bug::UploadUnwatched,
    Bug::AbortForgetsParts,
    Bug::ListedPartsCollected,
    Bug::NodeAcksBeforeSync,
    Bug::NodeAcksNothing,
    Bug::QuorumOfOne,
    Bug::QuorumOfData,
    Bug::DrainedBody,
    Bug::UnreachableIsMissing,
    Bug::VersionWithoutCompare,
    Bug::CommitWithoutIntentCheck,
    Bug::ReuseWithoutRevisionCheck,
    Bug::ReuseOfTheCondemned,
    Bug::DedupWithoutReference,
    Bug::NamedWithoutFence,
    Bug::CleanupOnUnknown,
    Bug::RetryOnUnknown,
    Bug::CommitLost,
    Bug::CommitTorn,
    Bug::StaleReads,
    Bug::BucketUnwatched,
    Bug::NullsPileUp,
    Bug::ColdOfAnother,
    Bug::ChangeUnwatched,
    Bug::ShortfallForgotten,
    Bug::NamesWhoNeverAnswered,
    Bug::HealerTrustsSource,
    Bug::RebuiltUnproved,
    Bug::HealerDropsOnSilence,
    Bug::HealerForgetsTheRest,
    Bug::FencedIndexRenamed,
    Bug::NamedInTrash,
    Bug::DeleteBeforeUnlink,
    Bug::NoSecondLook,
    Bug::DeleteUnconfirmed,
    Bug::OrphansWithoutFence,
    Bug::PagesBeforeIntent,
    Bug::SwitchUnwatched,
    Bug::SwitchForgetsTheOld,
    Bug::ColdPartKept,
    Bug::CommitWithoutLease,
];
