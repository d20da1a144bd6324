//! A clock that may be wrong and jump, and chance from the seed.

use super::rng::Rng;
use protocol::Clock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// Where simulated time starts: 2025-01-01.
const EPOCH_MS: i64 = 1_735_689_600_000;

/// One process's clock: the runtime's paused time plus an offset that a test may change at any time.
pub struct SimClock {
    born: Instant,
    offset_ms: AtomicI64,
    rng: Mutex<Rng>,
}

impl SimClock {
    /// A clock that starts at `offset_ms` off the true time. No two streams of one seed draw alike.
    pub fn new(born: Instant, seed: u64, stream: u64, offset_ms: i64) -> Arc<SimClock> {
        let rng = Mutex::new(Rng::new(seed, 1_000 + stream));
        Arc::new(SimClock { born, offset_ms: AtomicI64::new(offset_ms), rng })
    }

    /// Makes the clock jump, back or forth.
    pub fn jump(&self, by_ms: i64) {
        self.offset_ms.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now_ms(&self) -> u64 {
        let elapsed_ms = i64::try_from(self.born.elapsed().as_millis()).unwrap_or(i64::MAX / 4);
        let now_ms = EPOCH_MS + elapsed_ms + self.offset_ms.load(Ordering::Relaxed);
        u64::try_from(now_ms).unwrap_or(0)
    }

    fn random(&self) -> u128 {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())
    }
}
