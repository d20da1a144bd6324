//! The connections to one node: how many there may be, and those that are free.

use super::connection::Connection;
use crate::nodes::home;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Calls under way to one node at most; more wait. A node answers from a few cores and one disk: more connections make neither
/// faster, and each costs both sides its buffers (a read of many small chunks by sixteen clients opened two hundred).
pub(super) const CALLS_MAX: usize = 32;
/// A free connection is used again for this long; nodes close theirs after 75 s.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The free connections of a node, for each home the one used last on top: a socket is driven by the runtime it was made on.
pub(super) struct Pool {
    places: Semaphore,
    free: Mutex<HashMap<Option<ThreadId>, Vec<Free>>>,
}

struct Free {
    connection: Connection,
    since: Instant,
}

impl Default for Pool {
    fn default() -> Pool {
        Pool { places: Semaphore::new(CALLS_MAX), free: Mutex::default() }
    }
}

impl Pool {
    /// Waits for a place among the calls under way; it is given back when dropped.
    pub(super) async fn place(&self) -> SemaphorePermit<'_> {
        self.places.acquire().await.expect("it is never closed")
    }

    /// A free connection that the node should still hold open.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut homes = self.free();
        let free = homes.get_mut(&home::here())?;
        let last = free.pop()?;
        if last.since.elapsed() < IDLE_MAX {
            return Some(last.connection);
        }
        // Those below have been free for longer still.
        free.clear();
        None
    }

    /// Keeps a connection for the next call, if it can serve one.
    pub(super) fn give_back(&self, connection: Connection) {
        if connection.is_reusable() {
            let mut homes = self.free();
            let free = homes.entry(home::here()).or_default();
            if free.len() < CALLS_MAX {
                free.push(Free { connection, since: Instant::now() });
            }
        }
    }

    /// Closes the free connections of this home: one of them was found broken, and most breaks are the node's end.
    pub(super) fn clear(&self) {
        self.free().remove(&home::here());
    }

    fn free(&self) -> MutexGuard<'_, HashMap<Option<ThreadId>, Vec<Free>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
