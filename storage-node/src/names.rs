//! The names of every metric this crate writes; those of the segment log are in `segments::names`, those of the process in
//! `process::metrics`.

/// Requests answered, by `method`, `endpoint` (a route, never a path), `status_code`, `server_id`; counter.
pub const HTTP_REQUESTS: &str = "http_requests_total";
/// Seconds from head to answer, by `endpoint`, `method`; histogram.
pub const HTTP_SECONDS: &str = "http_request_duration_seconds";
/// Requests answered with 4xx or 5xx, by `endpoint`, `status_code`; counter.
pub const HTTP_ERRORS: &str = "http_errors_total";
/// Requests being served; gauge.
pub const ACTIVE_CONNECTIONS: &str = "active_connections";
/// Bytes of shards in and out, by `direction`; counter.
pub const TRANSFER_BYTES: &str = "data_transfer_bytes_total";
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
/// Bytes of request bodies in memory; gauge.
pub const IN_FLIGHT_BYTES: &str = "in_flight_body_size";
