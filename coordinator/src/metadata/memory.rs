//! The key space in memory: the specification of [`Metadata`], and what simulations run on.
//!
//! What it keeps true: the same calls in the same order give the same answers and revisions. Nothing is durable.

use crate::metadata::{Batch, Entry, Metadata, conflict, validate_key, validate_scan};
use async_trait::async_trait;
use bytes::Bytes;
use protocol::Result;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A [`Metadata`] that forgets everything when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryMetadata {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<Bytes, Entry>,
    revision_last: u64,
}

impl MemoryMetadata {
    /// An empty key space.
    pub fn new() -> MemoryMetadata {
        MemoryMetadata::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A batch is applied after it was checked, by code that cannot panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Metadata for MemoryMetadata {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        validate_key(key)?;
        Ok(self.state().entries.get(key).cloned())
    }

    async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Entry)>> {
        validate_scan(limit)?;
        if from >= to {
            return Ok(Vec::new());
        }
        let state = self.state();
        let range = state.entries.range::<[u8], _>((std::ops::Bound::Included(from), std::ops::Bound::Excluded(to)));
        Ok(range.take(limit).map(|(key, entry)| (key.clone(), entry.clone())).collect())
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        batch.validate()?;
        let mut state = self.state();
        for (key, expect) in &batch.checks {
            let current = state.entries.get(key).map(|entry| entry.revision);
            if !expect.holds(current) {
                return Err(conflict(key, *expect, current));
            }
        }
        if !batch.puts.is_empty() || !batch.deletes.is_empty() {
            state.revision_last += 1;
        }
        let revision = state.revision_last;
        for key in batch.deletes {
            state.entries.remove(&key);
        }
        for (key, value) in batch.puts {
            state.entries.insert(key, Entry { value, revision });
        }
        Ok(())
    }
}
