//! What `/metrics` tells of the coordinator's state: nodes, repair, workers, queues and their bounds. Read when it is asked for, from
//! memory and by a bounded number of reads of the catalog.

use super::Door;
use crate::metadata::records::{Quota, Record, SavingsRecord, UsageRecord};
use crate::metadata::{Serves, keys};
use crate::names::readings as names;
use crate::nodes::NodeReport;
use crate::nodes::client::QUEUE_BYTES_MAX;
use crate::object::{BucketName, Objects, RepairQueue};
use crate::placement::Circuit;
use crate::worker::savings;
use crate::worker::scrub::SCRUB;
use crate::worker::{State, Workers, pass_of};
use process::readings::Readings;
use protocol::Result;
use tracing::warn;

/// Buckets with a quota that are looked at; of more, those that come first by name.
const QUOTAS_READ_MAX: usize = 256;

/// Everything there is to be read. What cannot be read now is left out: an alert on its absence says so.
pub(super) async fn read(door: &Door) -> Readings {
    let mut readings = Readings::default();
    let objects = &door.objects;
    nodes(&mut readings, objects);
    workers(&mut readings, &door.workers);
    memory(&mut readings, objects);
    match objects.repair_queue().await {
        Ok(queue) => repair(&mut readings, &queue, objects.clock.now_ms()),
        Err(error) => warn!(%error, "the repair queue cannot be counted"),
    }
    match objects.objects_to_repair().await {
        Ok(waiting) => readings.add(&names::REPLICATION_LAG, &[], waiting as f64),
        Err(error) => warn!(%error, "the objects that wait for repair cannot be counted"),
    }
    match pass_of(objects, SCRUB).await {
        Ok(pass) => {
            let finished_ms = pass.map_or(0, |pass| pass.finished_ms);
            readings.add(&names::SCRUB_FINISHED, &[], finished_ms as f64 / 1e3);
        }
        Err(error) => warn!(%error, "when the last scrub ended cannot be read"),
    }
    match fullest_quota(objects).await {
        Ok(ratio) => readings.add(&names::QUOTA_FULLEST_RATIO, &[], ratio),
        Err(error) => warn!(%error, "how full quotas are cannot be read"),
    }
    match savings::of_all(objects).await {
        Ok(counted) => saved(&mut readings, &counted.unwrap_or_default()),
        Err(error) => warn!(%error, "what is saved cannot be read"),
    }
    readings
}

/// Whether a write would be acknowledged, as far as is known without trying.
pub(super) fn accepts_writes(objects: &Objects) -> bool {
    objects.write_outlook().now && objects.metadata.serves() == Serves::All
}

fn flag(condition: bool) -> f64 {
    f64::from(u8::from(condition))
}

fn nodes(readings: &mut Readings, objects: &Objects) {
    let (nodes, lags) = (objects.nodes.status(), objects.metadata.journal_lags());
    for node in &nodes {
        of_node(readings, node, lags.get(node.url.as_str()).copied(), objects.clock.now_ms());
    }
    let healthy = nodes.iter().filter(|node| node.healthy).count();
    let score = if nodes.is_empty() { 0.0 } else { healthy as f64 * 100.0 / nodes.len() as f64 };
    readings.add(&names::CLUSTER_HEALTH_SCORE, &[], score);
    readings.add(&names::CLUSTER_ACCEPTS_WRITES, &[], flag(accepts_writes(objects)));
    readings.add(&names::NODE_QUEUE_MAX, &[], QUEUE_BYTES_MAX as f64);
    readings.add(&names::HEDGE_AFTER_SECONDS, &[], objects.nodes.read_times.late_after().as_secs_f64());
}

fn of_node(readings: &mut Readings, report: &NodeReport, lag: Option<u64>, now_ms: u64) {
    let node = report.id.as_ref().map_or(report.url.as_str(), |id| id.as_str());
    let mut add = |reading, value| readings.add(reading, &[("node", node)], value);
    add(&names::NODE_AVAILABILITY, flag(report.healthy));
    add(&names::NODE_CALLS_IN_FLIGHT, f64::from(report.in_flight));
    if let Some(groups) = lag {
        add(&names::JOURNAL_LAG, groups as f64);
    }
    if let Some(seen_ms) = report.last_seen_ms {
        add(&names::NODE_SILENT_SECONDS, now_ms.saturating_sub(seen_ms) as f64 / 1e3);
        add(&names::STORAGE_USED_BYTES, report.used_bytes as f64);
        add(&names::STORAGE_FREE_BYTES, report.free_bytes as f64);
        add(&names::STORAGE_CAPACITY_BYTES, report.capacity_bytes as f64);
        add(&names::STORAGE_LIVE_BYTES, report.live_bytes as f64);
    }
    for (state, name) in [(Circuit::Closed, "closed"), (Circuit::HalfOpen, "half_open"), (Circuit::Open, "open")] {
        let labels = [("node", node), ("state", name)];
        readings.add(&names::NODE_CIRCUIT_STATE, &labels, flag(report.circuit_state == state));
    }
    for (operation, us) in [("read", report.read_latency_us), ("write", report.write_latency_us)] {
        let labels = [("node", node), ("operation", operation)];
        readings.add(&names::NODE_LATENCY_SECONDS, &labels, us as f64 / 1e6);
    }
}

fn workers(readings: &mut Readings, workers: &Workers) {
    let has_lease = workers.has_lease();
    readings.add(&names::WORKER_LEASE, &[], flag(has_lease));
    readings.add(&names::SAFE_MODE, &[], flag(!workers.safe_mode().is_over()));
    for worker in workers.status() {
        for (state, name) in State::ALL {
            let labels = [("worker", worker.name), ("state", name)];
            readings.add(&names::WORKER_STATE, &labels, flag(worker.state == state));
        }
        // What another process does now is not known here.
        if !has_lease {
            continue;
        }
        let mut add = |reading, value| readings.add(reading, &[("worker", worker.name)], value);
        add(&names::WORKER_ETA_SECONDS, worker.eta_s.map_or(f64::NAN, |seconds| seconds as f64));
        if let Some(items) = worker.queued {
            add(&names::WORKER_QUEUE_ITEMS, items as f64);
        }
        if let Some(bytes) = worker.queued_bytes {
            add(&names::WORKER_QUEUE_SIZE, bytes as f64);
        }
    }
}

fn memory(readings: &mut Readings, objects: &Objects) {
    for (direction, budget) in [("in", &objects.budget), ("out", &objects.read_budget)] {
        let (held, most) = budget.held_and_most();
        readings.add(&names::TRANSFER_MEMORY_BYTES, &[("direction", direction)], held as f64);
        readings.add(&names::TRANSFER_MEMORY_MAX_BYTES, &[("direction", direction)], most as f64);
    }
    let (size, most) = objects.cache.size_and_most();
    readings.add(&names::CACHE_SIZE_BYTES, &[], size as f64);
    readings.add(&names::CACHE_MAX_BYTES, &[], most as f64);
}

fn repair(readings: &mut Readings, queue: &RepairQueue, now_ms: u64) {
    let classes = [
        ("last_copy", queue.last_copy),
        ("degraded", queue.degraded),
        ("drain", queue.drain),
        ("rebalance", queue.rebalance),
    ];
    for (severity, chunks) in classes {
        readings.add(&names::REPAIR_QUEUE_CHUNKS, &[("severity", severity)], chunks as f64);
    }
    let waited_ms = queue.oldest_ms.map_or(0, |oldest| now_ms.saturating_sub(oldest));
    readings.add(&names::REPAIR_LOST_CHUNKS, &[], queue.lost as f64);
    readings.add(&names::REPAIR_QUEUE_BYTES, &[], queue.bytes as f64);
    readings.add(&names::REPAIR_OLDEST_SECONDS, &[], waited_ms as f64 / 1e3);
}

fn saved(readings: &mut Readings, counted: &SavingsRecord) {
    readings.add(&names::SAVINGS_LOGICAL_BYTES, &[], counted.logical_bytes as f64);
    readings.add(&names::SAVINGS_UNIQUE_BYTES, &[], counted.unique_bytes as f64);
    readings.add(&names::SAVINGS_STORED_BYTES, &[], counted.stored_bytes as f64);
    readings.add(&names::SAVINGS_NODE_BYTES, &[], counted.node_bytes as f64);
    readings.add(&names::SAVINGS_COUNTED, &[], counted.ended_ms as f64 / 1e3);
    for (by, bytes) in [
        ("dedup", counted.saved_by_dedup_bytes() as f64),
        ("compression", counted.saved_by_compression_bytes() as f64),
        ("coding", counted.saved_by_coding_bytes() as f64),
    ] {
        readings.add(&names::SAVINGS_SAVED_BYTES, &[("by", by)], bytes);
    }
}

/// How full that bucket is which has used most of its quota, by its last count; 0 where none has a quota.
async fn fullest_quota(objects: &Objects) -> Result<f64> {
    let range = keys::usages();
    let mut fullest: f64 = 0.0;
    for (key, entry) in objects.metadata.scan(&range.from, &range.to, QUOTAS_READ_MAX).await? {
        let bucket = BucketName::parse(keys::parse_usage(&key)?)?;
        let quota = objects.bucket(&bucket).await?.and_then(|record| record.quota);
        let used = UsageRecord::decode(&entry.value)?;
        fullest = quota.map_or(0.0, |quota| filled(quota, &used)).max(fullest);
    }
    Ok(fullest)
}

/// The larger of both shares; a quota of nothing is full.
fn filled(Quota { bytes, objects }: Quota, used: &UsageRecord) -> f64 {
    let share = |used: u64, most: Option<u64>| most.map_or(0.0, |most| used as f64 / most.max(1) as f64);
    share(used.bytes, bytes).max(share(used.objects, objects))
}
