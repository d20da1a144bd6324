//! Where processor work of more than a moment runs: hashing, cutting, compressing, verifying.
//!
//! What it keeps true: an async thread is never held for longer than it takes to hash [`INLINE_BYTES_MAX`]; in a simulation
//! everything runs in place, so that a seed decides the order of all that happens.

/// Work on fewer bytes than this runs in place: SHA-256 takes 40 µs for 64 KiB here, as much as two hops between threads.
pub const INLINE_BYTES_MAX: usize = 64 << 10;

/// How to run processor work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compute {
    /// On the runtime's blocking threads, when there is enough of it.
    Threads,
    /// In place, always: for the simulated cluster.
    Inline,
}

impl Compute {
    /// Runs `work`, which touches about `bytes` bytes.
    pub async fn run<T: Send + 'static>(self, bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
        if self == Compute::Inline || bytes < INLINE_BYTES_MAX {
            return work();
        }
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}
