//! Every metric of the coordinator, spelled once (contract A16 and B9). Labels never hold a bucket, a key or a version.
//!
//! What is read from state when it is asked for stands in [`readings`].
//!
//! Two pairs carry the same measurement under two names, because dashboards of two systems ask for it: they are recorded together.

pub mod readings;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

pub use process::requests::{
    ACTIVE_CONNECTIONS, DATA_TRANSFER_BYTES_TOTAL, HTTP_ERRORS_TOTAL, HTTP_REQUEST_DURATION,
    HTTP_REQUEST_DURATION_SECONDS, HTTP_REQUESTS_TOTAL,
};

/// Calls to storage nodes; labels `operation` (put, get …), `node`.
pub const STORAGE_OPERATION_DURATION_SECONDS: &str = "storage_operation_duration_seconds";
/// Calls to storage nodes that failed; labels `operation`, `node`, `kind` (of the error).
pub const STORAGE_ERRORS_TOTAL: &str = "storage_errors_total";
/// The same count, without labels (contract B9).
pub const STORAGE_ERRORS: &str = "storage_errors";
/// Damaged or missing copies that were met and queued for repair; label `found_by`: `read` or `scrub`.
pub const DAMAGED_COPIES_TOTAL: &str = "damaged_copies_total";
/// Reads for which another replica was asked because the first was late.
pub const HEDGED_READS_TOTAL: &str = "hedged_reads_total";
/// Chunks asked of the cache; label `outcome`: `hit` or `miss`.
pub const CACHE_REQUESTS_TOTAL: &str = "cache_requests_total";
/// Plain bytes of chunks that came in; label `outcome`: `stored`, or `reused` where the same bytes were there.
pub const CHUNK_BYTES_TOTAL: &str = "chunk_bytes_total";
/// What the stored ones of them take, compressed where that pays, before replication.
pub const CHUNK_STORED_BYTES_TOTAL: &str = "chunk_stored_bytes_total";
/// Bytes that wait to be sent to a node; label `url`. Its bound is shown as [`readings::NODE_QUEUE_MAX`].
pub const NODE_QUEUE_WAITING: &str = "node_queue_waiting";

/// Chunks, records or shards that a worker has done; label `worker`.
pub const WORKER_ITEMS_TOTAL: &str = "worker_items_total";
/// Bytes that a worker has read, copied or freed; label `worker`.
pub const WORKER_BYTES_TOTAL: &str = "worker_bytes_total";
/// Steps of a worker that failed; label `worker`.
pub const WORKER_ERRORS_TOTAL: &str = "worker_errors_total";
/// Seconds of a worker's step; label `worker`.
pub const WORKER_STEP_SECONDS: &str = "worker_step_seconds";

/// Uploads published.
pub const FILE_UPLOADS_TOTAL: &str = "file_uploads_total";
/// Downloads begun.
pub const FILE_DOWNLOADS_TOTAL: &str = "file_downloads_total";
/// Deletes committed.
pub const FILE_DELETIONS_TOTAL: &str = "file_deletions_total";

/// Lines of the audit log handed to its writer.
pub const AUDIT_LINES_TOTAL: &str = "audit_lines_total";
/// Lines of the audit log that were not written: more came than the disk took.
pub const AUDIT_LINES_DROPPED_TOTAL: &str = "audit_lines_dropped_total";
/// Requests refused by a limit; label `limit`: `address`, `key`, `requests` or `quota`.
pub const REQUESTS_LIMITED_TOTAL: &str = "requests_limited_total";

const COUNTERS: [(&str, Unit, &str); 19] = [
    (DAMAGED_COPIES_TOTAL, Unit::Count, "Damaged or missing copies that were met and queued for repair."),
    (HEDGED_READS_TOTAL, Unit::Count, "Reads for which another replica was asked because the first was late."),
    (CACHE_REQUESTS_TOTAL, Unit::Count, "Chunks asked of the cache, by outcome."),
    (
        CHUNK_BYTES_TOTAL,
        Unit::Bytes,
        "Plain bytes of chunks that came in: stored, or reused where the same were there.",
    ),
    (
        CHUNK_STORED_BYTES_TOTAL,
        Unit::Bytes,
        "Bytes that stored chunks take, compressed where that pays, before replication.",
    ),
    (WORKER_ITEMS_TOTAL, Unit::Count, "Chunks, records or shards that a worker has done."),
    (WORKER_BYTES_TOTAL, Unit::Bytes, "Bytes that a worker has read, copied or freed."),
    (WORKER_ERRORS_TOTAL, Unit::Count, "Steps of a worker that failed."),
    (HTTP_REQUESTS_TOTAL, Unit::Count, "Requests answered."),
    (HTTP_ERRORS_TOTAL, Unit::Count, "Requests answered 4xx or 5xx."),
    (DATA_TRANSFER_BYTES_TOTAL, Unit::Bytes, "Bytes of request bodies (in) and reply bodies (out)."),
    (STORAGE_ERRORS_TOTAL, Unit::Count, "Calls to storage nodes that failed, by operation, node and kind."),
    (STORAGE_ERRORS, Unit::Count, "Calls to storage nodes that failed."),
    (AUDIT_LINES_TOTAL, Unit::Count, "Lines of the audit log handed to its writer."),
    (AUDIT_LINES_DROPPED_TOTAL, Unit::Count, "Lines of the audit log that were not written."),
    (REQUESTS_LIMITED_TOTAL, Unit::Count, "Requests refused by a limit."),
    (FILE_UPLOADS_TOTAL, Unit::Count, "Uploads published."),
    (FILE_DOWNLOADS_TOTAL, Unit::Count, "Downloads begun."),
    (FILE_DELETIONS_TOTAL, Unit::Count, "Deletes committed."),
];

const GAUGES: [(&str, Unit, &str); 2] = [
    (ACTIVE_CONNECTIONS, Unit::Count, "Requests whose answer has not left to its last byte."),
    (NODE_QUEUE_WAITING, Unit::Bytes, "Bytes that wait to be sent to a node."),
];

const HISTOGRAMS: [(&str, Unit, &str); 4] = [
    (WORKER_STEP_SECONDS, Unit::Seconds, "Seconds of a worker's step."),
    (
        HTTP_REQUEST_DURATION_SECONDS,
        Unit::Seconds,
        "Seconds from a request's head to the head of its answer, by endpoint.",
    ),
    (HTTP_REQUEST_DURATION, Unit::Seconds, "Seconds from a request's head to the head of its answer."),
    (STORAGE_OPERATION_DURATION_SECONDS, Unit::Seconds, "Seconds of a call to a storage node."),
];

/// Registers the help texts, and zeroes for what has few labels: a scrape shows it before it first happens, and the first time is seen
/// as a rise.
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
    for name in [
        STORAGE_ERRORS,
        FILE_UPLOADS_TOTAL,
        FILE_DOWNLOADS_TOTAL,
        FILE_DELETIONS_TOTAL,
        HEDGED_READS_TOTAL,
        CHUNK_STORED_BYTES_TOTAL,
        AUDIT_LINES_DROPPED_TOTAL,
    ] {
        counter!(name).absolute(0);
    }
    for limit in ["address", "key", "requests", "quota"] {
        counter!(REQUESTS_LIMITED_TOTAL, "limit" => limit).absolute(0);
    }
    for found_by in ["read", "scrub"] {
        counter!(DAMAGED_COPIES_TOTAL, "found_by" => found_by).absolute(0);
    }
    for outcome in ["hit", "miss"] {
        counter!(CACHE_REQUESTS_TOTAL, "outcome" => outcome).absolute(0);
    }
    for outcome in ["stored", "reused"] {
        counter!(CHUNK_BYTES_TOTAL, "outcome" => outcome).absolute(0);
    }
    gauge!(ACTIVE_CONNECTIONS).increment(0.0);
    // A histogram is shown from its first sample on; asking for it is enough to make it known.
    drop(histogram!(HTTP_REQUEST_DURATION));
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics_exporter_prometheus::PrometheusBuilder;

    #[test]
    fn the_names_of_b9_are_there_before_anything_happened() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, describe_all);
        let text = recorder.handle().render();
        for line in
            ["# TYPE storage_errors counter", "storage_errors 0", "file_uploads_total 0", "active_connections 0"]
        {
            assert!(text.lines().any(|found| found == line), "no {line:?} in {text}");
        }
        assert!(text.contains("# TYPE http_request_duration "), "{text}");
    }
}
