//! The metadata's truth, watched: every commit that happens is told to the oracle, in the order in which it happens.

use super::check::Oracle;
use async_trait::async_trait;
use bytes::Bytes;
use coordinator::metadata::memory::MemoryMetadata;
use coordinator::metadata::{Batch, Entry, Metadata};
use protocol::Result;
use std::sync::Arc;

/// A [`MemoryMetadata`] that tells what happens to it.
pub struct Ledger {
    memory: Arc<MemoryMetadata>,
    oracle: Arc<Oracle>,
}

impl Ledger {
    /// Watches `memory` for `oracle`.
    pub fn new(memory: Arc<MemoryMetadata>, oracle: Arc<Oracle>) -> Ledger {
        Ledger { memory, oracle }
    }
}

#[async_trait]
impl Metadata for Ledger {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.memory.get(key).await
    }

    async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Entry)>> {
        self.memory.scan(from, to, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        let told = batch.clone();
        // Memory never waits: nothing happens between these.
        let before = self.oracle.before(&told);
        let outcome = self.memory.commit(batch).await;
        match &outcome {
            Ok(()) => self.oracle.committed(&told, &before),
            Err(_) => self.oracle.commit_refused(&told),
        }
        outcome
    }
}
