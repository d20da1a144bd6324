//! What the bodies of requests and answers look like, in the notation of [`super::notation`].

/// Every schema there is.
pub(super) const SCHEMAS: &[&str] = &[
    "Error: error text, detail? text",
    "Message: message text",
    "Receipt: copies int, fsynced int, pending int, survives int",
    // The file door.
    "Upload: message text, filename text, version int, versionId uuid, size int, chunks int, sha256 text|null, stored_bytes int, strategy replication/ec, receipt Receipt",
    "File: filename text, size int, last_modified time, version int, availability_status available/degraded/unavailable",
    "Files: files [File], count int, next text|null",
    "FileVersion: version int, versionId uuid, created time, current flag, deleted flag, size? int, sha256? text|null, content_type? text, chunks? int, shared_bytes? int, stored_bytes? int",
    "FileVersions: filename text, versions [FileVersion], next int|null",
    "Deleted: message text, filename text",
    // The gateway door.
    "Stored: message text, versionId text, version int, size int, etag text, sha256 text|null, chunks int, stored_bytes int, strategy replication/ec, receipt Receipt",
    "Object: key text, size int, last_modified time, version int, content_type text, sha256 text|null, availability_status available/degraded/unavailable",
    "Objects: bucket text, prefix text, objects? [Object], count? int, versions? [Version], prefixes [text], next text|null, next_version? text|null",
    "Version: key? text, versionId text, version int, last_modified time, is_latest flag, is_delete_marker flag, size? int, etag? text, content_type? text",
    // The bucket door.
    "NewBucket: bucket_name text",
    "Bucket: bucket_name text, created_at time, owner text, versioning off/enabled/suspended, message? text",
    "Buckets: buckets [Bucket], count int, next text|null",
    "Uploaded: message text, path text, etag text, storage text, object_id uuid, bucket_name text, object_name text, size_bytes int, created_at time, content_type text, md5? text, version int, versionId text, receipt Receipt",
    "BucketObject: object_name text, size_bytes int, content_type text, etag text, created_at time, versionId text",
    "BucketObjects: bucket_name text, prefix text, objects [BucketObject], prefixes [text], count int, next text|null",
    "Line: Bucket text, Key text, Hash text, Size int",
    "BucketSettings: bucket text, owner text, created time, public_read flag, quota Quota|null, strategy replication/ec/auto, usage BucketUsage|null",
    "BucketChange: owner? text|null, public_read? flag|null, quota? Quota|null, strategy? text|null",
    "Quota: bytes? int|null, objects? int|null",
    "BucketUsage: bytes int, objects int, counted time",
    // The document door.
    "Written: status text, strategy replication/ec/field_hybrid, key text, latency_ms number, version int, versionId text, size int, etag text, receipt Receipt, nodes_written? [text], chunks_written? int, total_chunks? int, trace_id? text, is_pure_hot_update? flag, hot_nodes_written? int, cold_chunks_written? int, operation_type? text, ignored_fields? [text]",
    "DocumentDeleted: status text, strategy replication/ec/field_hybrid/blind_delete, key text, latency_ms number, nodes_deleted? [text], chunks_deleted? int, hot_nodes_deleted? int, cold_chunks_deleted? int, detail? text",
    "HotField: name text, field text, reason key_changes/collection_changes, changed int, of int",
    "HotFields: configured [text], collections [HotField], keys [HotField]",
    // Health.
    "Health: status healthy/degraded, service text, hostname text, serverID text, role text, version text",
    "Live: status text",
    "Ready: status text, acceptsWrites flag",
    "SystemHealth: status healthy/degraded, totalNodes int, healthyNodes int, unhealthyNodes int, openCircuits int, acceptsWrites flag, code text, bytesUsed int, bytesFree int",
    "NodeReport: id text|null, url text, healthy flag, circuitState CLOSED/HALF_OPEN/OPEN, health healthy/suspect/down, status text|null, error text|null, used_bytes int, free_bytes int, capacity_bytes int, shards int, live_bytes int, last_seen_ms int|null, last_seen time|null, read_latency_us int, write_latency_us int, in_flight int, zone text, version text",
    "NodeReports: nodes [NodeReport]",
    "Usage: total_system_size int, active_nodes_with_data int, total_nodes_queried int",
    // What becomes of a version.
    "Standing: bucket text, key text, version int, versionId uuid, size int, receipt Receipt, recorded int, chunks int, weakest Weakest|null",
    "Weakest: chunk text, offset int, nodes [text], away [text]",
    "Explanation: bucket text, key text, version int, versionId uuid, size int, sha256 text|null, chunk_count int, writes any, chunks [any], next int|null",
    "VerifyOrder: bucket? text|null, prefix? text, bytes_per_s? int, after? text|null",
    "VerifyBegun: id uuid, state text, report text",
    "Verification: id uuid, state queued/running/done, clean flag, bucket text|null, prefix text, bytes_per_s int, requested time, finished time|null, counts {int}, finding_count int, findings? [any], next? int|null",
    "Verifications: verifications [Verification]",
    "Diagnosis: status healthy/degraded/critical, summary text, checked time, findings [Finding], recent_events [any]",
    "Finding: urgency now/soon/note, alert text, what text, since time|null, being_done text, to_do text, runbook text",
    // A chunk can be so short that coding it saves less than nothing.
    "Saved: bucket? text, versions int, logical_bytes int, unique_bytes int, stored_bytes int, node_bytes int, saved_by_dedup_bytes int, saved_by_compression_bytes int, saved_by_coding_bytes number, began time|null, ended time|null",
    "Savings: buckets [Saved], total Saved, next text|null",
    // Workers.
    "Tuning: paused flag, bytes_per_s int, tranquility int",
    "Worker: name text, state no_lease/safe_mode/paused/idle/working/waiting/failing, reason text|null, steps int, items int, bytes int, bytes_per_s int, items_per_s number, queued int|null, queued_bytes int|null, eta_s int|null, tuning Tuning",
    "SafeMode: on flag, waits_for [text]",
    "Workers: has_lease flag, safe_mode SafeMode, workers [Worker]",
    "WorkerOrder: paused? flag|null, bytes_per_s? int|null, tranquility? int|null, run? flag, allow_removal? flag",
    // Nodes.
    "Node: id text|null, url text, state text|null, state_since? time, decommissioned? flag, zone? text, disk? text, weight? int, known_since? time, report NodeReport|null",
    "Nodes: nodes [Node]",
    "Announcement: url text",
    "Weight: weight int",
    // Keys.
    "Grant: buckets [text], actions [read/write/list/delete/admin], any_owner? flag",
    "NewKey: name? text, owner? text|null, policy? [Grant]|null, expires_in_s? int|null",
    "Key: id text, name text, owner text, policy [Grant], state enabled/disabled, created time, rotated time, expires time|null",
    "Keys: keys [Key], count int",
    "FreshKey: id text, name text, owner text, policy [Grant], state enabled/disabled, created time, rotated time, expires time|null, api_key text, access_key_id text, secret_access_key text",
    "Expiry: expires_in_s int|null",
    "Policy: policy [Grant]",
];
