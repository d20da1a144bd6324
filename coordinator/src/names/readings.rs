//! Gauges that are read from the coordinator's state when `/metrics` is asked for; each with its help text, spelled once.
//!
//! Labels: `node` is a node's name (its URL before it is known), `worker` a worker's, `severity`, `state`, `direction` and `by` are one
//! of a few words.

use process::readings::Reading;

/// Health of a node.
pub const NODE_AVAILABILITY: Reading =
    Reading { name: "node_availability", help: "1 while a storage node is healthy, else 0." };
/// Circuit breaker of a node: one of its states is 1.
pub const NODE_CIRCUIT_STATE: Reading =
    Reading { name: "node_circuit_state", help: "1 for the state that a node's circuit breaker is in." };
/// Silence of a node.
pub const NODE_SILENT_SECONDS: Reading =
    Reading { name: "node_silent_seconds", help: "Seconds since a storage node last answered." };
/// Calls to a node.
pub const NODE_CALLS_IN_FLIGHT: Reading =
    Reading { name: "node_calls_in_flight", help: "Calls to a storage node under way." };
/// Latency of a node's reads and writes, label `operation`.
pub const NODE_LATENCY_SECONDS: Reading = Reading {
    name: "node_latency_seconds",
    help: "Moving average of a storage node's answers, in seconds; 0 where there were none.",
};
/// The bound of what waits for one node.
pub const NODE_QUEUE_MAX: Reading =
    Reading { name: "node_queue_waiting_max", help: "The most bytes that may wait to be sent to one node." };
/// What a node's copy of the catalog's journal lacks.
pub const JOURNAL_LAG: Reading = Reading {
    name: "metadata_journal_lag",
    help: "Groups of the catalog's journal that a storage node lacks; all of them where it has told nothing yet.",
};
/// Bytes used on a node.
pub const STORAGE_USED_BYTES: Reading =
    Reading { name: "storage_used_bytes", help: "Bytes used on a storage node, by its last probe." };
/// Bytes free on a node.
pub const STORAGE_FREE_BYTES: Reading = Reading {
    name: "storage_free_bytes",
    help: "Bytes a storage node would still take, its reserve left out, by its last probe.",
};
/// Bytes a node may use.
pub const STORAGE_CAPACITY_BYTES: Reading =
    Reading { name: "storage_capacity_bytes", help: "Bytes a storage node may use in all, by its last probe." };
/// Bytes of live shards on a node.
pub const STORAGE_LIVE_BYTES: Reading =
    Reading { name: "storage_live_bytes", help: "Bytes of a storage node's live shards, by its last probe." };

/// Health of the cluster.
pub const CLUSTER_HEALTH_SCORE: Reading =
    Reading { name: "cluster_health_score", help: "Share of storage nodes that are healthy, 0 to 100." };
/// Whether writes are accepted.
pub const CLUSTER_ACCEPTS_WRITES: Reading = Reading {
    name: "cluster_accepts_writes",
    help: "1 while enough storage nodes are healthy for a write to be acknowledged, else 0.",
};
/// Objects short of shards (contract B9, B10).
pub const REPLICATION_LAG: Reading = Reading {
    name: "replication_lag",
    help: "Objects (versions) waiting for repair; of more than 4,096 chunks that are short, those of the most urgent ones.",
};
/// Chunks in the repair queue.
pub const REPAIR_QUEUE_CHUNKS: Reading = Reading {
    name: "repair_queue_chunks",
    help: "Chunks waiting for repair: last_copy can lose no more, degraded can, drain and rebalance are whole and to be moved.",
};
/// Bytes in the repair queue.
pub const REPAIR_QUEUE_BYTES: Reading = Reading {
    name: "repair_queue_bytes",
    help: "Bytes that repair has to copy, estimated from the most urgent chunks.",
};
/// Age of the repair queue.
pub const REPAIR_OLDEST_SECONDS: Reading = Reading {
    name: "repair_oldest_seconds",
    help: "Age of the oldest of the most urgent chunks waiting for repair, in seconds; 0 where none waits.",
};
/// Chunks without a good copy.
pub const REPAIR_LOST_CHUNKS: Reading = Reading {
    name: "repair_lost_chunks",
    help: "Chunks of which every node that held them has answered, and none has a good copy.",
};
/// End of the last scrub.
pub const SCRUB_FINISHED: Reading = Reading {
    name: "scrub_finished_timestamp_seconds",
    help: "When the last scrub ended that read every record of every node, in seconds since 1970; 0 if none did.",
};

/// How full quotas are.
pub const QUOTA_FULLEST_RATIO: Reading = Reading {
    name: "quota_fullest_ratio",
    help: "Share of its quota that the fullest bucket has used, by its last count; 0 where no bucket has a quota.",
};

/// What is kept, plainly.
pub const SAVINGS_LOGICAL_BYTES: Reading = Reading {
    name: "savings_logical_bytes",
    help: "Plain bytes of all versions that are kept, by the last count; 0 before the first one.",
};
/// The same, each chunk once.
pub const SAVINGS_UNIQUE_BYTES: Reading = Reading {
    name: "savings_unique_bytes",
    help: "Plain bytes of the chunks that versions are made of, each once, by the last count.",
};
/// The same, compressed.
pub const SAVINGS_STORED_BYTES: Reading = Reading {
    name: "savings_stored_bytes",
    help: "Bytes of these chunks as they are stored, compressed where that pays, one copy, by the last count.",
};
/// The same, with copies and shards.
pub const SAVINGS_NODE_BYTES: Reading = Reading {
    name: "savings_node_bytes",
    help: "Bytes that the copies and shards of these chunks take on storage nodes, by the last count.",
};
/// What is saved, label `by`.
pub const SAVINGS_SAVED_BYTES: Reading = Reading {
    name: "savings_saved_bytes",
    help: "Bytes saved by dedup and by compression of one copy, and by coding instead of copies, by the last count.",
};
/// When that was counted.
pub const SAVINGS_COUNTED: Reading = Reading {
    name: "savings_counted_timestamp_seconds",
    help: "When the last count of what is saved ended, in seconds since 1970; 0 before the first one.",
};

/// What a worker is doing: one of its states is 1.
pub const WORKER_STATE: Reading =
    Reading { name: "worker_state", help: "1 for the state that a worker of this process is in." };
/// Items that a worker has before it.
pub const WORKER_QUEUE_ITEMS: Reading =
    Reading { name: "worker_queue_items", help: "Items that a worker has before it, where that is known." };
/// Bytes that a worker has before it.
pub const WORKER_QUEUE_SIZE: Reading =
    Reading { name: "worker_queue_size_bytes", help: "Bytes that a worker has before it, where that is known." };
/// Time that a worker needs.
pub const WORKER_ETA_SECONDS: Reading = Reading {
    name: "worker_eta_seconds",
    help: "Seconds until a worker is done at its present rate; NaN where that cannot be told.",
};
/// Whether this process works.
pub const WORKER_LEASE: Reading =
    Reading { name: "worker_lease", help: "1 while this process is the one whose workers work, else 0." };
/// Whether repair waits for nodes.
pub const SAFE_MODE: Reading = Reading {
    name: "safe_mode",
    help: "1 while repairs and deletes wait for the first answer of every registered node, else 0.",
};

/// Memory for bytes on their way.
pub const TRANSFER_MEMORY_BYTES: Reading = Reading {
    name: "transfer_memory_bytes",
    help: "Bytes of memory handed out to uploads (in) and downloads (out) under way.",
};
/// Its bound.
pub const TRANSFER_MEMORY_MAX_BYTES: Reading = Reading {
    name: "transfer_memory_max_bytes",
    help: "Bytes of memory that uploads (in) and downloads (out) may have together.",
};
/// Size of the cache.
pub const CACHE_SIZE_BYTES: Reading = Reading { name: "cache_size_bytes", help: "Bytes in the cache of small chunks." };
/// Its bound.
pub const CACHE_MAX_BYTES: Reading =
    Reading { name: "cache_max_bytes", help: "The most bytes in the cache of small chunks." };
/// When another replica is asked.
pub const HEDGE_AFTER_SECONDS: Reading = Reading {
    name: "hedge_after_seconds",
    help: "Seconds after which another replica is asked as well: the 95th percentile of the last reads.",
};
