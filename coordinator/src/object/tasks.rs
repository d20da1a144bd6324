//! The one place that starts tasks. Every task is counted and joined at shutdown; none is detached (law 8).

use crate::nodes::home;
use std::future::Future;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Starts tasks, on the coordinator's own runtime whichever thread asks, or where they are asked for.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    runtime: Handle,
}

impl Tasks {
    /// Tasks on `runtime`.
    pub fn new(runtime: Handle) -> Tasks {
        Tasks { tracker: TaskTracker::new(), runtime }
    }

    /// Starts `work`; it ends with its own deadlines, also when nobody waits for it any more.
    pub fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.tracker.spawn_on(work.in_current_span(), &self.runtime)
    }

    /// The same on this thread, if it is a home: what serves one request and is worth no hop to another thread.
    pub fn spawn_here<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        match home::here() {
            Some(_) => self.tracker.spawn_local(work.in_current_span()),
            None => self.spawn(work),
        }
    }

    /// The counter behind it, for those who start tasks themselves.
    pub fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// Waits until all tasks ended, `patience` at most; says whether they did.
    pub async fn join(&self, patience: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(patience, self.tracker.wait()).await.is_ok()
    }
}

/// The result of a task; a panic in it goes on in the caller.
pub async fn joined<T>(handle: JoinHandle<T>) -> T {
    match handle.await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
