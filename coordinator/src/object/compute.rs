//! Where processor work of more than a moment runs: hashing, cutting, compressing, verifying.
//!
//! What it keeps true: an async thread is never held for longer than it takes to hash [`INLINE_BYTES_MAX`]; in a simulation
//! everything runs in place, so that a seed decides the order of all that happens.

/// Work of less than this runs in place: 0.3 ms. Two hops between threads cost a tenth of that on a busy machine, and on one
/// with few cores the work delays others wherever it runs.
pub const INLINE_BYTES_MAX: usize = 512 << 10;
/// Cutting and hashing a byte twice takes as long as hashing this many.
pub const CUT_COST: usize = 2;
/// Compressing a byte takes as long as hashing this many.
pub const PACK_COST: usize = 4;

/// Encoding a byte, and computing the CRC32 of what that gives, takes no longer than hashing this many.
pub const ENCODE_COST: usize = 1;

/// Threads of a runtime for such work: on each core there is one runtime per door. With more, each upload of many had one of its own, and its
/// stack and the allocator's cache with it.
pub const COMPUTE_THREADS: usize = 2;

/// How to run processor work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compute {
    /// On the runtime's blocking threads, of which it has [`COMPUTE_THREADS`], when there is enough of it.
    Threads,
    /// In place, always: for the simulated cluster.
    Inline,
}

impl Compute {
    /// Runs `work`, which takes about as long as hashing `bytes` bytes.
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
