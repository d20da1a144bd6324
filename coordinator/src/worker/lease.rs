//! Who may work. One process at a time holds the lease; the others watch its heartbeat.
//!
//! What it keeps true:
//! - The fencing token is the revision of the lease's record (law 9). It changes only when the lease changes hands, and revisions are
//!   never reused, so a holder that slept through a takeover finds every commit of its refused.
//! - No clock is compared with another's: a lease may be taken when its heartbeat stood still for [`LEASE`] of the watcher's own time.
//! - Any number of processes that believe to hold it do no harm; the lease only saves work.

use crate::metadata::records::{LeaseRecord, Record};
use crate::metadata::{Batch, Entry, Expect, Metadata, Serves, keys};
use async_trait::async_trait;
use bytes::Bytes;
use protocol::{Clock, Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{info, warn};

/// How often the holder renews its heartbeat, and the others look.
pub const BEAT: Duration = Duration::from_secs(2);
/// After so long without a heartbeat the lease may be taken: another process works within 15 s of a death (contract C4).
pub const LEASE: Duration = Duration::from_secs(8);

/// The right to act, as long as the lease is what it was.
#[derive(Clone)]
pub struct Fence {
    metadata: Arc<dyn Metadata>,
    name: &'static str,
    revision: u64,
}

impl Fence {
    /// Commits `batch` if the lease is still held. `Denied` if it is not; `Conflict` if another check of the batch failed.
    pub async fn commit(&self, mut batch: Batch) -> Result<()> {
        batch.check(keys::lease(self.name), Expect::Revision(self.revision));
        let outcome = self.metadata.commit(batch).await;
        if matches!(&outcome, Err(error) if error.kind == ErrorKind::Conflict) && !self.holds().await? {
            return Err(Error::denied("the workers' lease is held by another process now"));
        }
        outcome
    }

    async fn holds(&self) -> Result<bool> {
        let entry = self.metadata.get(&keys::lease(self.name)).await?;
        Ok(entry.is_some_and(|entry| entry.revision == self.revision))
    }
}

/// The metadata as whoever holds the lease may change it, so that verbs can be a worker's, too.
#[async_trait]
impl Metadata for Fence {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.metadata.get(key).await
    }

    async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Entry)>> {
        self.metadata.scan(from, to, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        Fence::commit(self, batch).await
    }

    fn serves(&self) -> Serves {
        self.metadata.serves()
    }
}

/// One process's part in the election.
pub struct LeaseKeeper {
    metadata: Arc<dyn Metadata>,
    name: &'static str,
    holder: String,
    held: Option<u64>,
    beats: u64,
    seen: Option<Seen>,
}

/// Lease and heartbeat as they were seen, and since when they are so.
struct Seen {
    lease: Option<u64>,
    beat: Option<u64>,
    since: Instant,
}

impl LeaseKeeper {
    /// A candidate for the lease `name`; `process` is for people.
    pub fn new(metadata: Arc<dyn Metadata>, clock: &dyn Clock, name: &'static str, process: &str) -> LeaseKeeper {
        let holder = format!("{process}/{}", clock.fresh_id());
        LeaseKeeper { metadata, name, holder, held: None, beats: 0, seen: None }
    }

    /// Renews the lease, or tries to get it; called every [`BEAT`]. The right to act, if it is held now.
    pub async fn tend(&mut self) -> Result<Option<Fence>> {
        if let Some(revision) = self.held
            && self.renew(revision).await?
        {
            return Ok(Some(self.fence(revision)));
        }
        self.try_to_take().await
    }

    /// Gives the lease back, so that nobody waits for it.
    pub async fn release(&mut self) -> Result<()> {
        let Some(revision) = self.held.take() else { return Ok(()) };
        let mut commit = Batch::new();
        commit.check(keys::lease(self.name), Expect::Revision(revision));
        commit.delete(keys::lease(self.name)).delete(keys::beat(self.name)).reclaim();
        self.metadata.commit(commit).await
    }

    async fn renew(&mut self, revision: u64) -> Result<bool> {
        self.beats += 1;
        let mut commit = Batch::new();
        commit.check(keys::lease(self.name), Expect::Revision(revision));
        commit.put(keys::beat(self.name), self.record().encode());
        match self.metadata.commit(commit).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind == ErrorKind::Conflict => {
                warn!(target: "degradation", holder = self.holder, "the workers' lease was taken over");
                self.held = None;
                Ok(false)
            }
            // What this process commits meanwhile is fenced; whoever takes over makes it stop. On a full disk, where it may use nothing of the
            // reserve, it is how the engine hears of room.
            Err(error) => Err(error),
        }
    }

    async fn try_to_take(&mut self) -> Result<Option<Fence>> {
        let lease = self.metadata.get(&keys::lease(self.name)).await?;
        if let Some(entry) = &lease
            && LeaseRecord::decode(&entry.value)?.holder == self.holder
        {
            // Taken by a commit whose answer was lost.
            return Ok(Some(self.hold(entry.revision)));
        }
        let beat = self.metadata.get(&keys::beat(self.name)).await?;
        let (lease, beat) = (lease.map(|entry| entry.revision), beat.map(|entry| entry.revision));
        let now = Instant::now();
        let seen = match self.seen.take() {
            Some(seen) if (seen.lease, seen.beat) == (lease, beat) => seen,
            _ => Seen { lease, beat, since: now },
        };
        let free = lease.is_none() || now.duration_since(seen.since) >= LEASE;
        self.seen = Some(seen);
        if !free {
            return Ok(None);
        }
        let expect = |revision: Option<u64>| revision.map_or(Expect::Absent, Expect::Revision);
        let mut commit = Batch::new();
        commit.check(keys::lease(self.name), expect(lease)).check(keys::beat(self.name), expect(beat));
        commit.put(keys::lease(self.name), self.record().encode());
        // Without somebody at work nothing that is deleted ever makes room.
        commit.put(keys::beat(self.name), self.record().encode()).reclaim();
        match self.metadata.commit(commit).await {
            Ok(()) => {}
            Err(error) if error.kind == ErrorKind::Conflict => return Ok(None),
            Err(error) => return Err(error),
        }
        let taken = self.metadata.get(&keys::lease(self.name)).await?;
        let Some(entry) = taken else { return Ok(None) };
        let mine = LeaseRecord::decode(&entry.value)?.holder == self.holder;
        Ok(mine.then(|| self.hold(entry.revision)))
    }

    fn hold(&mut self, revision: u64) -> Fence {
        info!(holder = self.holder, "this process does the workers' work now");
        (self.held, self.seen) = (Some(revision), None);
        self.fence(revision)
    }

    fn fence(&self, revision: u64) -> Fence {
        Fence { metadata: self.metadata.clone(), name: self.name, revision }
    }

    fn record(&self) -> LeaseRecord {
        LeaseRecord { holder: self.holder.clone(), beats: self.beats }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::memory::MemoryMetadata;
    use protocol::SystemClock;
    use tokio::time::advance;

    fn keeper(metadata: &Arc<MemoryMetadata>, process: &str) -> LeaseKeeper {
        LeaseKeeper::new(metadata.clone(), &SystemClock, "test", process)
    }

    fn put(key: &'static str) -> Batch {
        let mut batch = Batch::new();
        batch.put(key, "value");
        batch
    }

    #[tokio::test(start_paused = true)]
    async fn one_holds_it_and_another_takes_over_only_when_the_heartbeat_stands_still() {
        let metadata = Arc::new(MemoryMetadata::new());
        let (mut first, mut second) = (keeper(&metadata, "first"), keeper(&metadata, "second"));
        let fence = first.tend().await.unwrap().expect("nobody had it");
        for _ in 0..20 {
            advance(BEAT).await;
            assert!(second.tend().await.unwrap().is_none(), "law 9: the first one lives");
            assert!(first.tend().await.unwrap().is_some());
        }
        fence.commit(put("a")).await.unwrap();
        let mut beats = 0;
        let takeover = loop {
            advance(BEAT).await;
            beats += 1;
            if let Some(fence) = second.tend().await.unwrap() {
                break fence;
            }
        };
        assert!((4..=6).contains(&beats), "{beats} beats");
        assert_eq!(
            fence.commit(put("b")).await.unwrap_err().kind,
            ErrorKind::Denied,
            "law 9: a stale token is refused"
        );
        assert!(metadata.get(b"b").await.unwrap().is_none());
        takeover.commit(put("b")).await.unwrap();
        assert!(first.tend().await.unwrap().is_none(), "it learns that it lost the lease");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_was_given_back_is_free_at_once_and_old_tokens_stay_refused() {
        let metadata = Arc::new(MemoryMetadata::new());
        let (mut first, mut second) = (keeper(&metadata, "first"), keeper(&metadata, "second"));
        let old = first.tend().await.unwrap().unwrap();
        first.release().await.unwrap();
        assert!(second.tend().await.unwrap().is_some());
        assert_eq!(old.commit(put("a")).await.unwrap_err().kind, ErrorKind::Denied);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_check_of_the_batch_is_no_loss_of_the_lease() {
        let metadata = Arc::new(MemoryMetadata::new());
        let fence = keeper(&metadata, "first").tend().await.unwrap().unwrap();
        let mut batch = put("a");
        batch.check("absent", Expect::Present);
        assert_eq!(fence.commit(batch).await.unwrap_err().kind, ErrorKind::Conflict);
    }
}
