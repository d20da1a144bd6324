//! The names of every metric of the metadata engines.

/// Seconds from a commit's call to its answer; histogram, label `outcome`: `ok`, or an error's kind.
pub const COMMIT_SECONDS: &str = "metadata_commit_seconds";
/// Batches committed with one append; histogram.
pub const GROUP_BATCHES: &str = "metadata_group_batches";
/// Seconds to move one table into the index, its flush included; histogram.
pub const MOVE_SECONDS: &str = "metadata_move_seconds";
/// Bytes of the commit log; gauge.
pub const LOG_BYTES: &str = "metadata_log_bytes";
/// Times the index was made anew from the log; counter.
pub const INDEX_REBUILDS: &str = "metadata_index_rebuilds_total";
/// Groups that a node's catalog journal lacks; gauge, label `node`.
pub const JOURNAL_LAG: &str = "metadata_journal_lag";
/// The epoch that this coordinator holds; gauge.
pub const JOURNAL_EPOCH: &str = "metadata_journal_epoch";
/// Seconds that a group waited for its quorum after its local fsync; histogram.
pub const JOURNAL_WAIT_SECONDS: &str = "metadata_journal_wait_seconds";
