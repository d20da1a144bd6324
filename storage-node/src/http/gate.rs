//! How many bytes of bodies are in memory at once, and that no more are let in.

use protocol::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts bytes against a bound.
#[derive(Debug)]
pub(super) struct Gate {
    bytes_max: u64,
    held_bytes: AtomicU64,
}

/// Bytes that were let in; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Arc<Gate>,
    bytes: u64,
}

impl Gate {
    pub(super) fn new(bytes_max: u64) -> Gate {
        Gate { bytes_max, held_bytes: AtomicU64::new(0) }
    }

    /// Lets `bytes` in, or says `Unavailable`.
    pub(super) fn admit(self: &Arc<Gate>, bytes: u64) -> Result<Permit> {
        let mut permit = Permit { gate: Arc::clone(self), bytes: 0 };
        permit.grow_to(bytes)?;
        Ok(permit)
    }

    pub(super) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    pub(super) fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }
}

impl Permit {
    /// Makes this permit one for `bytes`, if it is for less.
    pub(super) fn grow_to(&mut self, bytes: u64) -> Result<()> {
        let more = bytes.saturating_sub(self.bytes);
        let take = |held: u64| held.checked_add(more).filter(|held| *held <= self.gate.bytes_max);
        match self.gate.held_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => {
                self.bytes += more;
                Ok(())
            }
            Err(held) => Err(Error::unavailable(format!(
                "{held} bytes of bodies are in memory; {more} more would exceed {}",
                self.gate.bytes_max
            ))),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_let_in_than_the_bound_and_all_is_given_back() {
        let gate = Arc::new(Gate::new(10));
        let mut first = gate.admit(4).unwrap();
        let second = gate.admit(6).unwrap();
        assert!(gate.admit(1).is_err());
        assert!(first.grow_to(5).is_err());
        drop(second);
        first.grow_to(10).unwrap();
        assert_eq!(gate.held_bytes(), 10);
        assert!(gate.admit(u64::MAX).is_err());
        drop(first);
        assert_eq!(gate.held_bytes(), 0);
    }
}
