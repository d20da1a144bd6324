//! Whether clients are being served, so that workers can yield to them, and which manifests are read for them, so that nobody takes those apart.
//!
//! What it keeps true: between two requests of a client it is still there; workers do not take the gaps for its end.

use crate::metadata::records::VersionId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A client that was served so lately will send another request.
const LATELY: Duration = Duration::from_secs(1);

/// The count, shared by all verbs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clients {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    since: Instant,
    served: AtomicUsize,
    /// Until when the last client counts that was served, in milliseconds after `since`.
    counts_until_ms: AtomicU64,
    /// How many read which manifest.
    read: Mutex<BTreeMap<VersionId, usize>>,
}

/// One client; it counts until a moment after this is dropped.
#[derive(Debug)]
pub struct Served {
    shared: Arc<Shared>,
    reads: Option<VersionId>,
}

impl Default for Clients {
    fn default() -> Clients {
        let (served, counts_until_ms) = (AtomicUsize::new(0), AtomicU64::new(0));
        let read = Mutex::default();
        Clients { shared: Arc::new(Shared { since: Instant::now(), served, counts_until_ms, read }) }
    }
}

impl Clients {
    /// Counts one more.
    pub fn serve(&self) -> Served {
        self.shared.served.fetch_add(1, Ordering::Relaxed);
        Served { shared: self.shared.clone(), reads: None }
    }

    /// The same for one that reads what `manifest` names.
    pub fn serve_reader(&self, manifest: VersionId) -> Served {
        *self.shared.read().entry(manifest).or_default() += 1;
        let mut served = self.serve();
        served.reads = Some(manifest);
        served
    }

    /// Whether somebody reads what `manifest` names.
    pub fn read(&self, manifest: VersionId) -> bool {
        self.shared.read().contains_key(&manifest)
    }

    /// Whether anyone is being served, or was a moment ago.
    pub fn any(&self) -> bool {
        self.shared.served.load(Ordering::Relaxed) > 0
            || self.shared.now_ms() < self.shared.counts_until_ms.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn now_ms(&self) -> u64 {
        self.since.elapsed().as_millis() as u64
    }

    fn read(&self) -> MutexGuard<'_, BTreeMap<VersionId, usize>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(manifest) = self.reads {
            let mut read = self.shared.read();
            match read.get_mut(&manifest) {
                Some(readers) if *readers > 1 => *readers -= 1,
                _ => drop(read.remove(&manifest)),
            }
        }
        let until_ms = self.shared.now_ms() + LATELY.as_millis() as u64;
        self.shared.counts_until_ms.store(until_ms, Ordering::Relaxed);
        self.shared.served.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[tokio::test(start_paused = true)]
    async fn a_client_is_there_between_its_requests_and_gone_a_moment_after() {
        let clients = Clients::default();
        assert!(!clients.any());
        let (one, other) = (clients.serve(), clients.serve());
        drop(one);
        tokio::time::advance(2 * LATELY).await;
        assert!(clients.any(), "the other is being served");
        drop(other);
        tokio::time::advance(LATELY / 2).await;
        assert!(clients.any());
        tokio::time::advance(LATELY).await;
        assert!(!clients.any());
    }

    #[tokio::test]
    async fn a_manifest_is_read_until_the_last_reader_is_gone() {
        let (clients, manifest) = (Clients::default(), VersionId(Uuid::from_u128(1)));
        let readers = [clients.serve_reader(manifest), clients.serve_reader(manifest)];
        assert!(!clients.read(VersionId(Uuid::from_u128(2))));
        for reader in readers {
            assert!(clients.read(manifest) && clients.any());
            drop(reader);
        }
        assert!(!clients.read(manifest));
    }
}
