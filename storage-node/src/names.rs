//! The names of every metric this crate writes; those of the segment log are in `segments::names`, those of the process in
//! `process::metrics`.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use process::readings::Reading;
use process::requests::{
    ACTIVE_CONNECTIONS, DATA_TRANSFER_BYTES_TOTAL, HTTP_ERRORS_TOTAL, HTTP_REQUEST_DURATION,
    HTTP_REQUEST_DURATION_SECONDS, HTTP_REQUESTS_TOTAL,
};

/// Seconds of one operation of the store, by `operation`; histogram.
pub const OPERATION_SECONDS: &str = "storage_operation_duration_seconds";
/// Operations that failed for the disk's or the data's reasons, by `operation`, `kind`; counter.
pub const OPERATION_ERRORS: &str = "storage_errors_total";
/// The same without labels; counter.
pub const ERRORS: &str = "storage_errors";
/// Bytes of segments that count; gauge.
pub const USED_BYTES: &str = "storage_used_bytes";
/// Bytes that would still be accepted; gauge.
pub const FREE_BYTES: &str = "storage_free_bytes";
/// Bytes it may use in all; gauge.
pub const CAPACITY_BYTES: &str = "storage_capacity_bytes";
/// Bytes kept back for deletes and compaction; gauge.
pub const RESERVE_BYTES: &str = "storage_reserve_bytes";
/// Bytes of live shards; gauge.
pub const LIVE_BYTES: &str = "storage_live_bytes";
/// Live shards; gauge.
pub const SHARDS: &str = "storage_shards";
/// Tombstones kept; gauge.
pub const TOMBSTONES: &str = "storage_tombstones";
/// Segment files; gauge.
pub const SEGMENTS: &str = "storage_segments";
/// Segments whose write or fsync failed; gauge.
pub const SEGMENTS_POISONED: &str = "storage_segments_poisoned";
/// 1 while writes are refused because the disk fails them; gauge.
pub const READ_ONLY: &str = "storage_read_only";
/// Moving average of one append and fsync; gauge.
pub const FSYNC_SECONDS: &str = "storage_fsync_average";
/// Entries of the index that are not in sled yet; gauge.
pub const INDEX_MEMORY_ENTRIES: &str = "index_memory_entries";
/// Size of the sled database on disk; gauge.
pub const INDEX_BYTES: &str = "index_disk_size";
/// Times the index was made anew from the segments; counter.
pub const INDEX_REBUILDS: &str = "index_rebuilds_total";
/// Bytes that compaction read; counter.
pub const COMPACTED_BYTES: &str = "compaction_read_bytes_total";
/// Bytes that compaction wrote again; counter.
pub const MOVED_BYTES: &str = "compaction_moved_bytes_total";
/// Bytes of request bodies in memory.
pub const IN_FLIGHT_BYTES: Reading =
    Reading { name: "in_flight_body_size", help: "Bytes of request bodies in memory." };
/// Their bound.
pub const IN_FLIGHT_BYTES_MAX: Reading =
    Reading { name: "in_flight_body_size_max", help: "The most bytes of request bodies in memory." };
/// Calls that wait for the disk.
pub const QUEUE_CALLS: Reading =
    Reading { name: "commit_queue_calls", help: "Puts and deletes that wait for the next fsync." };
/// Their bound.
pub const QUEUE_CALLS_MAX: Reading =
    Reading { name: "commit_queue_calls_max", help: "The most puts and deletes that may wait for an fsync." };

const COUNTERS: [(&str, Unit, &str); 8] = [
    (HTTP_REQUESTS_TOTAL, Unit::Count, "Requests answered."),
    (HTTP_ERRORS_TOTAL, Unit::Count, "Requests answered 4xx or 5xx."),
    (DATA_TRANSFER_BYTES_TOTAL, Unit::Bytes, "Bytes of shards in and out."),
    (OPERATION_ERRORS, Unit::Count, "Operations that failed for the disk's or the data's reasons, by kind."),
    (ERRORS, Unit::Count, "Operations that failed for the disk's or the data's reasons."),
    (INDEX_REBUILDS, Unit::Count, "Times the index was made anew from the segments."),
    (COMPACTED_BYTES, Unit::Bytes, "Bytes that compaction read."),
    (MOVED_BYTES, Unit::Bytes, "Bytes that compaction wrote again."),
];

const GAUGES: [(&str, Unit, &str); 14] = [
    (ACTIVE_CONNECTIONS, Unit::Count, "Requests under way."),
    (USED_BYTES, Unit::Bytes, "Bytes of segments that count."),
    (FREE_BYTES, Unit::Bytes, "Bytes that would still be accepted, the reserve left out."),
    (CAPACITY_BYTES, Unit::Bytes, "Bytes that may be used in all."),
    (RESERVE_BYTES, Unit::Bytes, "Bytes kept back for deletes and compaction."),
    (LIVE_BYTES, Unit::Bytes, "Bytes of live shards."),
    (SHARDS, Unit::Count, "Live shards."),
    (TOMBSTONES, Unit::Count, "Tombstones kept."),
    (SEGMENTS, Unit::Count, "Segment files."),
    (SEGMENTS_POISONED, Unit::Count, "Segments whose write or fsync failed."),
    (READ_ONLY, Unit::Count, "1 while writes are refused because the disk fails them, else 0."),
    (FSYNC_SECONDS, Unit::Seconds, "Moving average of one append and fsync."),
    (INDEX_MEMORY_ENTRIES, Unit::Count, "Entries of the index that are not on disk yet."),
    (INDEX_BYTES, Unit::Bytes, "Size of the index on disk."),
];

const HISTOGRAMS: [(&str, Unit, &str); 3] = [
    (HTTP_REQUEST_DURATION_SECONDS, Unit::Seconds, "Seconds from a request's head to its answer, by endpoint."),
    (HTTP_REQUEST_DURATION, Unit::Seconds, "Seconds from a request's head to its answer."),
    (OPERATION_SECONDS, Unit::Seconds, "Seconds of one operation of the store."),
];

/// Registers the help texts, and a zero for what should be seen before it first happens.
pub fn describe_all() {
    for (name, unit, help) in COUNTERS {
        describe_counter!(name, unit, help);
    }
    for (name, unit, help) in GAUGES {
        describe_gauge!(name, unit, help);
    }
    for (name, unit, help) in HISTOGRAMS {
        describe_histogram!(name, unit, help);
    }
    for name in [ERRORS, COMPACTED_BYTES, MOVED_BYTES] {
        metrics::counter!(name).absolute(0);
    }
}
