//! Get: the bytes of a version, whole or a range, as verified chunks in order, read ahead within a bounded window.
//!
//! What it keeps true: at most the allowance is held, or one chunk where that is longer, and besides it the chunk that is being sent (law 10);
//! an error in the middle is an error of the stream, never its end.

use super::Objects;
use super::budget::Allowance;
use super::clients::Served;
use super::manifest::{ManifestRun, ManifestWalk};
use super::name::ObjectName;
use super::profiles::Profiles;
use super::tasks::joined;
use crate::metadata::keys;
use crate::metadata::records::{ChunkEntry, ChunkList, DigestRecord, Record, VersionRecord};
use bytes::Bytes;
use futures_util::future::join_all;
use protocol::{ErrorKind, Result};
use std::collections::VecDeque;
use std::ops::Range;
use tokio::task::JoinHandle;

/// The smallest read-ahead, in bytes: a few chunks of a small object.
pub(super) const WINDOW_BYTES_MIN: usize = 512 << 10;
/// A chunk of so many bytes that is read alone is not counted: it costs little more than its request does. The reader of a longer one is to be
/// kept until the client has all of it.
pub const UNCOUNTED_BYTES_MAX: usize = 64 << 10;
/// The read-ahead when there is plenty, in bytes.
pub(super) const WINDOW_BYTES_MAX: usize = 4 << 20;

/// A version that is being read.
pub struct ObjectReader {
    objects: Objects,
    walk: ManifestWalk,
    /// What is still to be planned.
    rest: Range<u64>,
    planned: VecDeque<Part>,
    under_way: VecDeque<(Part, JoinHandle<Result<Bytes>>)>,
    under_way_bytes: usize,
    allowance: Option<Allowance>,
    /// Whether it reads ahead, as far as the allowance goes.
    is_ahead: bool,
    _served: Served,
}

/// A chunk, and which of its bytes are wanted.
#[derive(Clone, Debug)]
struct Part {
    entry: ChunkEntry,
    length: usize,
    wanted: Range<usize>,
}

impl Objects {
    /// Opens `range` of a version of `name`. Nothing is read yet but the plan.
    pub async fn open(&self, name: &ObjectName, version: &VersionRecord, range: Range<u64>) -> Result<ObjectReader> {
        assert!(range.start <= range.end && range.end <= version.size, "dialects check ranges against the size");
        self.heat.count(version, &range);
        let mut reader = ObjectReader {
            objects: self.clone(),
            walk: ManifestWalk::new(name.version_key(version.number), version),
            rest: range,
            planned: VecDeque::new(),
            under_way: VecDeque::new(),
            under_way_bytes: 0,
            allowance: None,
            is_ahead: false,
            _served: self.clients.serve(),
        };
        let is_inline = matches!(version.chunks, ChunkList::Inline(_) | ChunkList::Document { .. });
        if is_inline && !reader.rest.is_empty() {
            reader.plan_next_run().await?;
        }
        reader.is_ahead = !is_inline || reader.planned.len() > 1;
        let alone = reader.planned.front().map_or(0, |part| part.length);
        if reader.is_ahead {
            reader.allowance = Some(self.read_budget.admit(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX).await?);
        } else if alone > UNCOUNTED_BYTES_MAX {
            reader.allowance = Some(self.read_budget.admit(alone, alone).await?);
        }
        Ok(reader)
    }
}

impl Objects {
    /// The bytes of a chunk of a manifest. Where that one is gone because its version was stored otherwise since the manifest was read, the
    /// chunk of the same bytes that took its place.
    pub(super) async fn fetch_entry(&self, entry: &ChunkEntry) -> Result<Bytes> {
        let mut error = match self.fetch_chunk(entry.chunk).await {
            Err(error) if error.kind == ErrorKind::Corrupt => error,
            outcome => return outcome,
        };
        if self.metadata.get(&keys::chunk(entry.chunk)).await?.is_some() {
            return Err(error);
        }
        let Profiles { replication, ec, ec_fallback, .. } = self.profiles;
        for code in [Some(replication), Some(ec), ec_fallback].into_iter().flatten() {
            if let Some(found) = self.metadata.get(&keys::digest(&entry.sha256, code)).await? {
                match self.fetch_chunk(DigestRecord::decode(&found.value)?.chunk).await {
                    Ok(data) => return Ok(data),
                    // It is there, and cannot be read now.
                    Err(other) if other.kind != ErrorKind::Corrupt => error = other,
                    Err(_) => {}
                }
            }
        }
        Err(error)
    }
}

impl ObjectReader {
    /// The next verified bytes; `None` at the end of the range.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        if let Err(error) = self.read_ahead().await {
            return Some(Err(error));
        }
        if let Some((part, chunk)) = self.under_way.pop_front() {
            self.under_way_bytes -= part.length;
            return Some(joined(chunk).await.map(|data| data.slice(part.wanted)));
        }
        let part = self.planned.pop_front()?;
        Some(self.objects.fetch_entry(&part.entry).await.map(|data| data.slice(part.wanted)))
    }

    /// Starts reading what fits the window. A range within one chunk is read in place, without a task.
    async fn read_ahead(&mut self) -> Result<()> {
        let Some(window_bytes) = self.allowance.as_ref().filter(|_| self.is_ahead).map(Allowance::bytes) else {
            return Ok(());
        };
        loop {
            if self.planned.is_empty() && !self.rest.is_empty() {
                self.plan_next_run().await?;
            }
            let Some(part) = self.planned.front() else {
                return Ok(());
            };
            if !self.under_way.is_empty() && self.under_way_bytes + part.length > window_bytes {
                return Ok(());
            }
            let part = self.planned.pop_front().expect("just seen");
            let (objects, entry) = (self.objects.clone(), part.entry.clone());
            let read = self.objects.tasks.spawn_here(async move { objects.fetch_entry(&entry).await });
            self.under_way_bytes += part.length;
            self.under_way.push_back((part, read));
        }
    }

    async fn plan_next_run(&mut self) -> Result<()> {
        if let Some(run) = self.walk.from(&self.objects, self.rest.start).await? {
            self.plan(&run);
            self.rest.start = run.end().min(self.rest.end);
        }
        Ok(())
    }

    fn plan(&mut self, run: &ManifestRun) {
        for (start, entry) in run.with_starts() {
            let from = self.rest.start.max(start);
            let to = self.rest.end.min(entry.end);
            if from < to {
                let wanted = (from - start) as usize..(to - start) as usize;
                self.planned.push_back(Part { entry: entry.clone(), length: (entry.end - start) as usize, wanted });
            }
        }
    }
}

impl Drop for ObjectReader {
    /// What is being read holds its memory until it is there, whether or not anybody still waits for it.
    fn drop(&mut self) {
        let (allowance, under_way) = (self.allowance.take(), std::mem::take(&mut self.under_way));
        if let Some(allowance) = allowance.filter(|_| !under_way.is_empty()) {
            self.objects.tasks.spawn(async move {
                join_all(under_way.into_iter().map(|(_, read)| read)).await;
                drop(allowance);
            });
        }
    }
}
