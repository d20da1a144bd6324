//! The names of every metric of the metadata engines.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Seconds from a commit's call to its answer; histogram, label `outcome`: `ok`, or an error's kind.
pub const COMMIT_SECONDS: &str = "metadata_commit_seconds";
/// Batches committed with one append; histogram.
pub const GROUP_BATCHES: &str = "metadata_group_batches";
/// Commits that wait for the writer; gauge.
pub const QUEUE_COMMITS: &str = "metadata_queue_commits";
/// The most that may wait; gauge.
pub const QUEUE_COMMITS_MAX: &str = "metadata_queue_commits_max";
/// Seconds to move one table into the index, its flush included; histogram.
pub const MOVE_SECONDS: &str = "metadata_move_seconds";
/// Bytes of the commit log; gauge.
pub const LOG_BYTES: &str = "metadata_log_bytes";
/// Times the index was made anew from the log; counter.
pub const INDEX_REBUILDS: &str = "metadata_index_rebuilds_total";
/// The epoch that this coordinator holds; gauge.
pub const JOURNAL_EPOCH: &str = "metadata_journal_epoch";
/// Seconds that a group waited for its quorum after its local fsync; histogram.
pub const JOURNAL_WAIT_SECONDS: &str = "metadata_journal_wait_seconds";
/// Groups that scrubs have read, of the log and of the nodes' copies of it; counter.
pub const LOG_SCRUBBED_GROUPS_TOTAL: &str = "metadata_log_scrubbed_groups_total";
/// Places at which one of them should be and is not whole; counter.
pub const LOG_DAMAGED_TOTAL: &str = "metadata_log_damaged_total";

/// Registers the help texts.
pub fn describe_all() {
    describe_histogram!(COMMIT_SECONDS, Unit::Seconds, "Seconds from a commit's call to its answer, by outcome.");
    describe_histogram!(GROUP_BATCHES, Unit::Count, "Batches committed with one append.");
    describe_gauge!(QUEUE_COMMITS, Unit::Count, "Commits that wait for the catalog's writer.");
    describe_gauge!(QUEUE_COMMITS_MAX, Unit::Count, "The most commits that may wait for the catalog's writer.");
    describe_histogram!(MOVE_SECONDS, Unit::Seconds, "Seconds to move one table into the index.");
    describe_gauge!(LOG_BYTES, Unit::Bytes, "Bytes of the commit log.");
    describe_counter!(INDEX_REBUILDS, Unit::Count, "Times the catalog's index was made anew from its log.");
    describe_gauge!(JOURNAL_EPOCH, Unit::Count, "The epoch of the catalog that this coordinator holds.");
    describe_histogram!(JOURNAL_WAIT_SECONDS, Unit::Seconds, "Seconds that a group of commits waited for the nodes.");
    describe_counter!(
        LOG_SCRUBBED_GROUPS_TOTAL,
        Unit::Count,
        "Groups of commits that scrubs have read, of the catalog's log and of the copies that nodes keep of it."
    );
    describe_counter!(
        LOG_DAMAGED_TOTAL,
        Unit::Count,
        "Places in the catalog's log, and in the copies that nodes keep of it, at which a scrub found a group damaged or missing."
    );
    for counter in [INDEX_REBUILDS, LOG_SCRUBBED_GROUPS_TOTAL, LOG_DAMAGED_TOTAL] {
        metrics::counter!(counter).increment(0);
    }
}
