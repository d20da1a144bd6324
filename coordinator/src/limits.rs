//! How much is taken of whom: requests per minute of an address and of a key, and requests at once of all together. Bytes on their way
//! have a bound of their own (`object/budget.rs`).
//!
//! What it keeps true: memory does not grow with the number of addresses ([`TRACKED_MAX`]); who is refused learns when to come again.

use crate::config::{Access, RATE_PER_IP};
use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use quick_cache::sync::Cache;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Addresses, and keys, whose rate is known at once. Whoever is pushed out by others begins anew, with a full allowance.
pub const TRACKED_MAX: usize = 64 << 10;
/// Seconds after which to come again when too many are served at once.
const BUSY_RETRY_AFTER_S: u64 = 1;

/// Why a request is not served now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too many requests in a minute: 429.
    TooOften {
        /// Seconds until one more is taken.
        retry_after_s: u64,
    },
    /// Too many requests at once: 503, `SlowDown`.
    Busy {
        /// Seconds after which to try again.
        retry_after_s: u64,
    },
}

/// A request that is served; it counts until this is dropped.
#[derive(Debug)]
pub struct Admission {
    _place: OwnedSemaphorePermit,
}

/// The limits of a process.
pub struct Limits {
    ip: Option<Rates<IpAddr>>,
    /// Whether listeners on loopback are free of the limit by address.
    loopback_is_free: bool,
    key: Option<Rates<String>>,
    requests: Arc<Semaphore>,
}

impl Limits {
    /// The limits that the settings ask for.
    pub fn new(access: &Access) -> Limits {
        let per_ip = access.rate_per_ip.map_or(Some(RATE_PER_IP), NonZeroU32::new);
        Limits {
            ip: per_ip.map(|rate| Rates::new(rate, MonotonicClock)),
            loopback_is_free: access.rate_per_ip.is_none(),
            key: NonZeroU32::new(access.rate_per_key).map(|rate| Rates::new(rate, MonotonicClock)),
            requests: Arc::new(Semaphore::new(access.requests_max)),
        }
    }

    /// A place among the requests served at once.
    pub fn admit(&self) -> Result<Admission, Refused> {
        let place = self.requests.clone().try_acquire_owned();
        let place = place.map_err(|_| Refused::Busy { retry_after_s: BUSY_RETRY_AFTER_S })?;
        Ok(Admission { _place: place })
    }

    /// Counts a request from `peer` to the listener at `local`. Asked before anything is proved: guessing keys is limited, too.
    pub fn of_address(&self, peer: IpAddr, local: IpAddr) -> Result<(), Refused> {
        match &self.ip {
            Some(rates) if self.counts(local) => rates.take(network(peer)),
            _ => Ok(()),
        }
    }

    /// Whether requests to the listener at `local` are counted by their addresses.
    pub fn counts(&self, local: IpAddr) -> bool {
        self.ip.is_some() && !(self.loopback_is_free && local.is_loopback())
    }

    /// Counts a request with this key.
    pub fn of_key(&self, id: &str) -> Result<(), Refused> {
        self.key.as_ref().map_or(Ok(()), |rates| rates.take(id.to_owned()))
    }
}

/// Who an address is counted as: one IPv6 customer has 2⁶⁴ of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

type Limiter<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// One rate for each of many.
struct Rates<K, C: Clock = MonotonicClock> {
    quota: Quota,
    clock: C,
    known: Cache<K, Arc<Limiter<C>>>,
}

impl<K: Hash + Eq + Clone, C: Clock + Clone> Rates<K, C> {
    fn new(per_minute: NonZeroU32, clock: C) -> Rates<K, C> {
        Rates { quota: Quota::per_minute(per_minute), clock, known: Cache::new(TRACKED_MAX) }
    }

    fn take(&self, who: K) -> Result<(), Refused> {
        let limiter = match self.known.get(&who) {
            Some(limiter) => limiter,
            None => {
                let fresh =
                    || Ok::<_, Refused>(Arc::new(RateLimiter::direct_with_clock(self.quota, self.clock.clone())));
                self.known.get_or_insert_with(&who, fresh)?
            }
        };
        limiter.check().map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            Refused::TooOften { retry_after_s: wait.as_secs() + 1 }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use std::time::Duration;

    fn rates(per_minute: u32) -> (Rates<IpAddr, FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Rates::new(NonZeroU32::new(per_minute).unwrap(), clock.clone()), clock)
    }

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn so_many_in_a_minute_and_one_more_when_it_is_said() {
        let (rates, clock) = rates(100);
        assert!((0..100).all(|_| rates.take(v4(1)).is_ok()));
        let Err(Refused::TooOften { retry_after_s }) = rates.take(v4(1)) else { panic!("the 101st is refused") };
        assert!((1..=2).contains(&retry_after_s), "{retry_after_s}");
        assert!(rates.take(v4(2)).is_ok(), "another address has its own");
        clock.advance(Duration::from_secs(retry_after_s));
        assert!(rates.take(v4(1)).is_ok());
        clock.advance(Duration::from_secs(60));
        assert_eq!((0..200).filter(|_| rates.take(v4(1)).is_ok()).count(), 100);
    }

    #[test]
    fn memory_does_not_grow_with_addresses() {
        let (rates, _) = rates(1);
        for address in 0..(TRACKED_MAX as u32 + 10_000) {
            assert!(rates.take(IpAddr::from(address.to_be_bytes())).is_ok());
        }
        assert!(rates.known.len() <= TRACKED_MAX, "{}", rates.known.len());
    }

    #[test]
    fn one_customer_is_one_address() {
        let one: IpAddr = "2001:db8:1:2:3:4:5:6".parse().unwrap();
        let same: IpAddr = "2001:db8:1:2::9".parse().unwrap();
        let other: IpAddr = "2001:db8:1:3::9".parse().unwrap();
        assert_eq!(network(one), network(same));
        assert_ne!(network(one), network(other));
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), v4(1));
    }

    fn limits(rate_per_ip: Option<u32>, rate_per_key: u32, requests_max: usize) -> Limits {
        use clap::Parser;
        let mut config = crate::config::Config::parse_from(["coordinator"]);
        config.access.rate_per_ip = rate_per_ip;
        (config.access.rate_per_key, config.access.requests_max) = (rate_per_key, requests_max);
        Limits::new(&config.access)
    }

    #[test]
    fn loopback_is_free_unless_a_rate_is_given() {
        let taken =
            |limits: &Limits, local: IpAddr| (0..200).filter(|_| limits.of_address(v4(1), local).is_ok()).count();
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let usual = limits(None, 0, 1);
        assert_eq!((taken(&usual, loopback), taken(&usual, v4(9))), (200, 100));
        assert_eq!(taken(&limits(Some(7), 0, 1), loopback), 7);
        assert_eq!(taken(&limits(Some(0), 0, 1), v4(9)), 200);
        let by_key = limits(None, 3, 1);
        assert_eq!((0..9).filter(|_| by_key.of_key("HFA").is_ok()).count(), 3);
        assert!(by_key.of_key("HFB").is_ok());
    }

    #[test]
    fn no_more_are_served_at_once_than_may_be() {
        let limits = limits(None, 0, 2);
        let (one, two) = (limits.admit().unwrap(), limits.admit().unwrap());
        assert_eq!(limits.admit().unwrap_err(), Refused::Busy { retry_after_s: BUSY_RETRY_AFTER_S });
        drop(one);
        assert!(limits.admit().is_ok());
        drop(two);
    }
}
