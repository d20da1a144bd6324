//! Every metric of the coordinator, spelled once (contract A16 and B9). Labels never hold a bucket, a key or a version.
//!
//! Two pairs carry the same measurement under two names, because dashboards of two systems ask for it: they are recorded together.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Requests answered; labels `method`, `endpoint` (the route, not the path), `status_code`, `server_id`.
pub const HTTP_REQUESTS_TOTAL: &str = "http_requests_total";
/// Time from a request's head to its reply's last byte; labels `method`, `endpoint`.
pub const HTTP_REQUEST_DURATION_SECONDS: &str = "http_request_duration_seconds";
/// The same measurement, without labels (contract B9).
pub const HTTP_REQUEST_DURATION: &str = "http_request_duration";
/// Requests answered 4xx or 5xx; labels `method`, `endpoint`, `status_code`.
pub const HTTP_ERRORS_TOTAL: &str = "http_errors_total";
/// Requests under way.
pub const ACTIVE_CONNECTIONS: &str = "active_connections";
/// Bytes of bodies; label `direction`: `in` or `out`.
pub const DATA_TRANSFER_BYTES_TOTAL: &str = "data_transfer_bytes_total";

/// Calls to storage nodes; labels `operation` (put, get …), `node`.
pub const STORAGE_OPERATION_DURATION_SECONDS: &str = "storage_operation_duration_seconds";
/// Calls to storage nodes that failed; labels `operation`, `node`, `kind` (of the error).
pub const STORAGE_ERRORS_TOTAL: &str = "storage_errors_total";
/// The same count, without labels (contract B9).
pub const STORAGE_ERRORS: &str = "storage_errors";
/// Bytes used on a storage node, by its last probe; label `node`.
pub const STORAGE_USED_BYTES: &str = "storage_used_bytes";
/// Bytes a storage node would still take, by its last probe; label `node`.
pub const STORAGE_FREE_BYTES: &str = "storage_free_bytes";
/// 1 while a storage node is healthy, else 0; label `node`.
pub const NODE_AVAILABILITY: &str = "node_availability";
/// Share of storage nodes that are healthy: 0 to 100.
pub const CLUSTER_HEALTH_SCORE: &str = "cluster_health_score";
/// Objects waiting for repair (contract B9, B10).
pub const REPLICATION_LAG: &str = "replication_lag";

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
/// Requests refused by a limit; label `limit`: `address`, `key` or `requests`.
pub const REQUESTS_LIMITED_TOTAL: &str = "requests_limited_total";

const COUNTERS: [(&str, Unit, &str); 14] = [
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

const GAUGES: [(&str, Unit, &str); 6] = [
    (ACTIVE_CONNECTIONS, Unit::Count, "Requests under way."),
    (STORAGE_USED_BYTES, Unit::Bytes, "Bytes used on a storage node, by its last probe."),
    (STORAGE_FREE_BYTES, Unit::Bytes, "Bytes a storage node would still take, by its last probe."),
    (NODE_AVAILABILITY, Unit::Count, "1 while a storage node is healthy, else 0."),
    (CLUSTER_HEALTH_SCORE, Unit::Percent, "Share of storage nodes that are healthy, 0 to 100."),
    (REPLICATION_LAG, Unit::Count, "Objects waiting for repair."),
];

const HISTOGRAMS: [(&str, Unit, &str); 4] = [
    (WORKER_STEP_SECONDS, Unit::Seconds, "Seconds of a worker's step."),
    (
        HTTP_REQUEST_DURATION_SECONDS,
        Unit::Seconds,
        "Seconds from a request's head to its reply's last byte, by endpoint.",
    ),
    (HTTP_REQUEST_DURATION, Unit::Seconds, "Seconds from a request's head to its reply's last byte."),
    (STORAGE_OPERATION_DURATION_SECONDS, Unit::Seconds, "Seconds of a call to a storage node."),
];

/// Registers the help texts, and zeroes for what has no labels: a scrape shows it before it first happens.
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
    for name in [STORAGE_ERRORS, FILE_UPLOADS_TOTAL, FILE_DOWNLOADS_TOTAL, FILE_DELETIONS_TOTAL] {
        metrics::counter!(name).absolute(0);
    }
    metrics::gauge!(ACTIVE_CONNECTIONS).increment(0.0);
    metrics::gauge!(REPLICATION_LAG).increment(0.0);
    // A histogram is shown from its first sample on; asking for it is enough to make it known.
    drop(metrics::histogram!(HTTP_REQUEST_DURATION));
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
        for line in [
            "# TYPE storage_errors counter",
            "storage_errors 0",
            "# TYPE replication_lag gauge",
            "replication_lag 0",
            "file_uploads_total 0",
            "active_connections 0",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line:?} in {text}");
        }
        assert!(text.contains("# TYPE http_request_duration "), "{text}");
    }
}
