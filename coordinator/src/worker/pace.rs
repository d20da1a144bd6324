//! How fast a worker goes: never faster than its rate, and slower while clients are being served.

use super::board::Tuning;
use std::time::Duration;

/// The longest rest between two steps, whatever the rate says: a worker that seems dead cannot be told from one that is.
const REST_MAX: Duration = Duration::from_secs(60);

/// How long to rest after a step of `bytes` that took `took`.
pub fn rest(tuning: &Tuning, bytes: u64, took: Duration, clients_served: bool) -> Duration {
    let at_rate = match tuning.bytes_per_s {
        0 => Duration::ZERO,
        // What no `Duration` holds is more than the longest rest, too.
        rate => Duration::try_from_secs_f64(bytes as f64 / rate as f64).unwrap_or(Duration::MAX).saturating_sub(took),
    };
    let yielded = if clients_served { took * tuning.tranquility } else { Duration::ZERO };
    at_rate.max(yielded).min(REST_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn tuning(bytes_per_s: u64, tranquility: u32) -> Tuning {
        Tuning { paused: false, bytes_per_s, tranquility }
    }

    #[test]
    fn the_rate_is_kept_and_clients_come_first() {
        assert_eq!(rest(&tuning(0, 3), 1 << 20, SECOND, false), Duration::ZERO);
        assert_eq!(rest(&tuning(0, 3), 1 << 20, SECOND, true), 3 * SECOND);
        assert_eq!(rest(&tuning(1 << 20, 0), 4 << 20, SECOND, true), 3 * SECOND);
        assert_eq!(rest(&tuning(1 << 20, 0), 1, SECOND, true), Duration::ZERO);
        assert_eq!(rest(&tuning(1, 0), u64::MAX, SECOND, false), REST_MAX);
    }
}
