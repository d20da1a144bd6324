//! The way from one incarnation to the metadata: where an answer is lost after the commit, a commit refused before it, and
//! everything late.

use super::call::{Calls, Target};
use super::world::{World, pass};
use async_trait::async_trait;
use bytes::Bytes;
use coordinator::metadata::{Batch, Entry, Metadata};
use protocol::{Error, Result};
use std::sync::Arc;
use tokio::sync::oneshot;

/// A [`Metadata`] behind a network.
pub struct FaultyMetadata {
    world: Arc<World>,
    calls: Arc<Calls>,
    inner: Arc<dyn Metadata>,
}

impl FaultyMetadata {
    /// `inner` as one incarnation reaches it.
    pub fn new(world: Arc<World>, calls: Arc<Calls>, inner: Arc<dyn Metadata>) -> FaultyMetadata {
        FaultyMetadata { world, calls, inner }
    }

    async fn read<T: Send + 'static>(&self, read: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let read = async {
            pass(self.world.metadata_delay()).await;
            if self.world.strikes(|rates| rates.metadata_read_fails) {
                return Err(Error::unavailable("the metadata does not answer (injected)"));
            }
            let found = read.await;
            pass(self.world.metadata_delay()).await;
            found
        };
        self.calls.call(Target::MetadataRead, || {}, read).await
    }

    async fn exchange(&self, batch: Batch) -> Result<()> {
        if self.world.strikes(|rates| rates.commit_refused) {
            pass(self.world.metadata_delay()).await;
            return Err(Error::unavailable("the metadata takes no commits now (injected)"));
        }
        let (out, back) = (self.world.metadata_delay(), self.world.metadata_delay());
        let lands_late = self.world.strikes(|rates| rates.commit_lands_late);
        let reply_lost = self.world.strikes(|rates| rates.commit_reply_lost);
        let inner = self.inner.clone();
        let (sender, receiver) = oneshot::channel();
        let later = self.world.draw(|rng| std::time::Duration::from_millis(rng.between(5, 500)));
        // The commit happens whatever becomes of its sender.
        self.world.spawn(async move {
            pass(out).await;
            if lands_late {
                pass(later).await;
            }
            let outcome = inner.commit(batch).await;
            pass(back).await;
            drop(sender.send(outcome));
        });
        if lands_late {
            pass(self.world.metadata_delay()).await;
            return Err(Error::unknown("the commit was sent and not answered (injected)"));
        }
        let outcome = receiver.await.unwrap_or_else(|_| Err(Error::unknown("the metadata went away")));
        match reply_lost {
            true => Err(Error::unknown("the answer to the commit was lost (injected)")),
            false => outcome,
        }
    }
}

#[async_trait]
impl Metadata for FaultyMetadata {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.read(self.inner.get(key)).await
    }

    async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Entry)>> {
        self.read(self.inner.scan(from, to, limit)).await
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        self.calls.call(Target::MetadataCommit, || {}, self.exchange(batch)).await
    }
}
