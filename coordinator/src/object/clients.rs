//! Whether clients are being served, so that workers can yield to them.
//!
//! What it keeps true: between two requests of a client it is still there; workers do not take the gaps for its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
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
}

/// One client; it counts until a moment after this is dropped.
#[derive(Debug)]
pub struct Served {
    shared: Arc<Shared>,
}

impl Default for Clients {
    fn default() -> Clients {
        let (served, counts_until_ms) = (AtomicUsize::new(0), AtomicU64::new(0));
        Clients { shared: Arc::new(Shared { since: Instant::now(), served, counts_until_ms }) }
    }
}

impl Clients {
    /// Counts one more.
    pub fn serve(&self) -> Served {
        self.shared.served.fetch_add(1, Ordering::Relaxed);
        Served { shared: self.shared.clone() }
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
}

impl Drop for Served {
    fn drop(&mut self) {
        let until_ms = self.shared.now_ms() + LATELY.as_millis() as u64;
        self.shared.counts_until_ms.store(until_ms, Ordering::Relaxed);
        self.shared.served.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
