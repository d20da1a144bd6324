//! Time and chance, the two things a simulated cluster must own. Product code takes both from here and nowhere else.

use std::time::{SystemTime, UNIX_EPOCH};
use uuid::{Builder, Uuid};

/// The wall clock and the source of fresh ids. Waiting is `tokio::time`, which a simulation pauses.
///
/// Wall-clock time is for people and for id order only: no protocol step is correct because of it (`docs/reliability.md`).
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970-01-01 UTC.
    fn now_ms(&self) -> u64;

    /// 128 bits that nobody has seen before.
    fn random(&self) -> u128;

    /// A fresh UUIDv7 (RFC 9562, 5.7): 48 bits of [`Clock::now_ms`], then 74 bits of [`Clock::random`], of which
    /// [`SystemClock`]'s leave 68 to chance.
    fn fresh_id(&self) -> Uuid {
        let mut bytes = [0; 10];
        bytes.copy_from_slice(&self.random().to_le_bytes()[..10]);
        Builder::from_unix_timestamp_millis(self.now_ms(), &bytes).into_uuid()
    }
}

/// The machine's own clock and randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now_ms(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that draws randomness")]
    fn random(&self) -> u128 {
        Uuid::new_v4().as_u128()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;
    impl Clock for Fixed {
        fn now_ms(&self) -> u64 {
            0x0192_0000_0001
        }
        fn random(&self) -> u128 {
            u128::MAX
        }
    }

    #[test]
    fn fresh_ids_are_version_7_and_carry_the_time() {
        let id = Fixed.fresh_id();
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(&id.as_bytes()[..6], &[0x01, 0x92, 0, 0, 0, 1]);
        assert_ne!(SystemClock.fresh_id(), SystemClock.fresh_id());
    }
}
