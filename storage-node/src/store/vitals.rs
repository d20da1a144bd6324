//! What health and metrics tell of a store, kept apart from the writer, so that nobody waits for its fsync to hear it.

use super::Store;
use super::writer::Writer;
use crate::names;
use process::logs::DEGRADATION;
use protocol::{Error, ErrorKind, NodeHealth, NodeStatus};
use segments::Disk;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Segments are counted this often at most while writes go on: there may be tens of thousands.
const RECOUNT_INTERVAL: Duration = Duration::from_secs(1);

/// What health and metrics tell of the writer, without waiting for its fsync.
#[derive(Clone, Debug, Default)]
pub(super) struct Vitals {
    capacity_bytes: u64,
    reserve_bytes: u64,
    free_bytes: u64,
    used_bytes: u64,
    segments: u64,
    poisoned_segments: u64,
    fsync_us: u64,
    full: bool,
    read_only: bool,
    counted_at: Option<Instant>,
}

/// Whether to look at every segment.
#[derive(PartialEq, Eq)]
pub(super) enum Recount {
    Now,
    Sometimes,
}

impl<D: Disk> Store<D> {
    /// What it can do right now.
    pub fn health(&self) -> NodeHealth {
        let vitals = self.vitals().clone();
        let census = self.index.census();
        let read_only = vitals.read_only || self.index.broken().is_some();
        let status = match (read_only, vitals.full) {
            (true, _) => NodeStatus::ReadOnly,
            (false, true) => NodeStatus::Full,
            (false, false) => NodeStatus::Ok,
        };
        NodeHealth {
            node: self.config.node.clone(),
            cluster: self.config.cluster,
            disk: self.config.disk,
            replaced: self.config.replaced,
            status,
            zone: self.config.zone.clone(),
            capacity_bytes: vitals.capacity_bytes,
            used_bytes: vitals.used_bytes,
            free_bytes: vitals.free_bytes,
            shards: census.shards,
            live_bytes: census.live_bytes,
            segments: vitals.segments,
            poisoned_segments: vitals.poisoned_segments,
            fsync_us: vitals.fsync_us,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            starts: self.config.starts.clone(),
        }
    }

    /// What is wrong with the index, or was when the store was opened.
    pub fn index_state(&self) -> String {
        match (self.index.broken(), &self.rebuilt) {
            (Some(why), _) => format!("being rebuilt: {why}"),
            (None, Some(why)) => format!("rebuilt at start: {why}"),
            (None, None) => "ok".to_owned(),
        }
    }

    /// Sets the gauges; cheap, for the metrics page.
    pub fn publish_gauges(&self) {
        let health = self.health();
        let census = self.index.census();
        let (index_entries, index_bytes) = self.index.sizes();
        let set = |name: &'static str, value: f64| metrics::gauge!(name).set(value);
        set(names::USED_BYTES, health.used_bytes as f64);
        set(names::FREE_BYTES, health.free_bytes as f64);
        set(names::CAPACITY_BYTES, health.capacity_bytes as f64);
        set(names::RESERVE_BYTES, self.vitals().reserve_bytes as f64);
        set(names::LIVE_BYTES, census.live_bytes as f64);
        set(names::SHARDS, census.shards as f64);
        set(names::TOMBSTONES, census.tombstones as f64);
        set(names::SEGMENTS, health.segments as f64);
        set(names::SEGMENTS_POISONED, health.poisoned_segments as f64);
        set(names::READ_ONLY, f64::from(u8::from(health.status == NodeStatus::ReadOnly)));
        set(names::FSYNC_SECONDS, health.fsync_us as f64 / 1e6);
        set(names::INDEX_MEMORY_ENTRIES, index_entries as f64);
        set(names::INDEX_BYTES, index_bytes as f64);
    }

    pub(super) fn note_vitals(&self, writer: &Writer<D>, recount: Recount) {
        let mut vitals = self.vitals();
        vitals.capacity_bytes = writer.space.capacity_bytes();
        vitals.reserve_bytes = writer.space.reserve_bytes();
        vitals.free_bytes = writer.space.free_bytes();
        vitals.fsync_us = writer.fsync_us;
        let (full, read_only) = (writer.space.is_full(), writer.is_read_only());
        if full != vitals.full {
            tracing::warn!(target: DEGRADATION, full, free_bytes = vitals.free_bytes, "the node's room changed");
        }
        if read_only != vitals.read_only {
            tracing::warn!(target: DEGRADATION, read_only, "whether the disk takes writes changed");
        }
        (vitals.full, vitals.read_only) = (full, read_only);
        let stale = vitals.counted_at.is_none_or(|then| then.elapsed() >= RECOUNT_INTERVAL);
        if recount == Recount::Now || stale {
            let segments = writer.log.segments();
            vitals.used_bytes = segments.iter().map(|segment| segment.bytes).sum();
            vitals.segments = segments.len() as u64;
            vitals.poisoned_segments = segments.iter().filter(|segment| segment.poisoned).count() as u64;
            vitals.counted_at = Some(Instant::now());
        }
    }

    fn vitals(&self) -> MutexGuard<'_, Vitals> {
        self.vitals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes how long an operation took, and whether it failed for reasons that are ours.
pub(crate) fn note_operation(operation: &'static str, started: Instant, error: Option<&Error>) {
    metrics::histogram!(names::OPERATION_SECONDS, "operation" => operation).record(started.elapsed().as_secs_f64());
    match error.map(|error| error.kind) {
        None | Some(ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::Invalid | ErrorKind::Denied) => {}
        Some(kind) => {
            metrics::counter!(names::OPERATION_ERRORS, "operation" => operation, "kind" => kind.as_str()).increment(1);
            metrics::counter!(names::ERRORS).increment(1);
        }
    }
}
