//! How many bytes of clients' data the coordinator holds at once (law 10): memory grows neither with object size nor with the
//! number of clients.
//!
//! What it keeps true: every stream works within its own allowance, and waits for no other of the same budget while it holds one. Who holds what
//! nobody asks for gives it back when others wait. Changes of
//! documents and copies with a checksum hold one of each budget: a circle of them ends when a wait does. Who gets no allowance in time is told to come again (`Unavailable`).

use protocol::{Error, Result};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a stream waits for its allowance; meanwhile its client is slowed down, which is what a queue is for.
const ADMISSION_WAIT: Duration = Duration::from_secs(60);
/// What is more than this part of the budget is not waited for in line at once.
const IN_LINE_SHARE: usize = 4;
/// One that wants more looks so often whether it is there, five seconds in all.
const LOOKS_MAX: u32 = 250;
const LOOKS_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// More than the least is given only while so many could have it, the one that asks among them. Of the default that is the first upload
/// and the first two downloads; with the least for the others 21 and 18 go on at once, and 12 beside an upload of long chunks.
const PLENTY: usize = 3;
/// The smallest budget: any one stream can work.
pub const BUDGET_BYTES_MIN: usize = 16 << 20;
const UNIT_BYTES: usize = 4 << 10;
/// Share of `--memory-bytes` for uploads; downloads get the rest.
const UPLOAD_SHARE_PERCENT: u64 = 67;

/// Who waits looks so often for what nobody has asked for lately,
const TAKES_BACK_EVERY: Duration = Duration::from_millis(100);
/// which is for so long.
const IDLE_MIN: Duration = Duration::from_millis(500);

/// The whole budget, shared by all streams.
#[derive(Clone)]
pub struct Budget {
    units: Arc<Semaphore>,
    bytes: usize,
    /// How many wait for an allowance.
    waiting: Arc<AtomicUsize>,
    lenders: Arc<Mutex<Lenders>>,
}

/// Who can do without what was given to it.
pub(super) trait Lender: Send + Sync {
    /// Gives back what nobody has asked for, for so long; how many bytes that are.
    fn take_back(&self, idle: Duration) -> usize;
}

#[derive(Default)]
struct Lenders {
    number: u64,
    by_number: BTreeMap<u64, Weak<dyn Lender>>,
}

/// That a lender may be asked; it is not any more when this is dropped.
pub(super) struct Lent {
    number: u64,
    lenders: Arc<Mutex<Lenders>>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        known(&self.lenders).by_number.remove(&self.number);
    }
}

fn known(lenders: &Mutex<Lenders>) -> MutexGuard<'_, Lenders> {
    lenders.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One that waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Waiting<'a> {
        waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One stream's share; given back when dropped.
#[derive(Debug)]
pub struct Allowance {
    permit: OwnedSemaphorePermit,
}

impl Budget {
    /// What uploads and downloads may hold of `memory_bytes`.
    pub fn of(memory_bytes: u64) -> (Budget, Budget) {
        let upload_bytes = memory_bytes * UPLOAD_SHARE_PERCENT / 100;
        (Budget::new(upload_bytes as usize), Budget::new((memory_bytes - upload_bytes) as usize))
    }

    /// A budget of about `bytes`, at least [`BUDGET_BYTES_MIN`].
    pub fn new(bytes: usize) -> Budget {
        let bytes = bytes.max(BUDGET_BYTES_MIN);
        let units = Arc::new(Semaphore::new(bytes / UNIT_BYTES));
        Budget { units, bytes, waiting: Arc::default(), lenders: Arc::default() }
    }

    /// Waits for an allowance of `least` bytes, and takes up to `most` while there is plenty; `Unavailable` when none came free
    /// in time.
    pub async fn admit(&self, least: usize, most: usize) -> Result<Allowance> {
        let admitted = match self.try_admit(least) {
            None => tokio::time::timeout(ADMISSION_WAIT, self.wait_or_take_back(least)).await.ok().and_then(Result::ok),
            now => now,
        };
        let Some(Allowance { mut permit }) = admitted else {
            return Err(Error::unavailable(format!(
                "too many transfers at once: no part of the {} bytes for data in flight came free within {} s; retry later",
                self.bytes,
                ADMISSION_WAIT.as_secs()
            )));
        };
        if let Some(extra) = self.admit_of_plenty(most - least) {
            permit.merge(extra.permit);
        }
        Ok(Allowance { permit })
    }

    /// Waits, and has others give back meanwhile what nobody has asked them for lately.
    async fn wait_or_take_back(&self, bytes: usize) -> Result<Allowance> {
        let _waiting = Waiting::new(&self.waiting);
        let waiting = self.wait_for(bytes);
        tokio::pin!(waiting);
        loop {
            match tokio::time::timeout(TAKES_BACK_EVERY, &mut waiting).await {
                Ok(admitted) => return admitted,
                Err(_) => self.take_back(bytes),
            }
        }
    }

    fn take_back(&self, bytes: usize) {
        let lenders: Vec<Weak<dyn Lender>> = known(&self.lenders).by_number.values().cloned().collect();
        let mut taken = 0;
        for lender in lenders.iter().filter_map(Weak::upgrade) {
            if taken >= bytes {
                return;
            }
            taken += lender.take_back(IDLE_MIN);
        }
    }

    /// Asks this one, too, when others wait; those that came first are asked first.
    pub(super) fn lend(&self, lender: Weak<dyn Lender>) -> Lent {
        let mut known = known(&self.lenders);
        known.number += 1;
        let number = known.number;
        known.by_number.insert(number, lender);
        Lent { number, lenders: Arc::clone(&self.lenders) }
    }

    /// Whether a quarter of it is free: two readers alone hold half of the default.
    pub(super) fn is_roomy(&self) -> bool {
        4 * self.units.available_permits() * UNIT_BYTES >= self.bytes
    }

    /// Whether somebody waits for an allowance.
    pub(super) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Whoever stands in line is given what comes free until it is enough, and all behind it get nothing meanwhile: one that wants much looks
    /// now and then first, and stands in line only where others leave it nothing.
    async fn wait_for(&self, bytes: usize) -> Result<Allowance> {
        if bytes > self.bytes / IN_LINE_SHARE {
            for _ in 0..LOOKS_MAX {
                if let Some(allowance) = self.try_admit(bytes) {
                    return Ok(allowance);
                }
                tokio::time::sleep(LOOKS_AGAIN_AFTER).await;
            }
        }
        let permit = self.units.clone().acquire_many_owned(units(bytes)).await;
        permit.map(|permit| Allowance { permit }).map_err(|error| Error::unavailable(error.to_string()))
    }

    /// An allowance of `bytes` now if there is plenty.
    pub fn admit_of_plenty(&self, bytes: usize) -> Option<Allowance> {
        let is_plenty = self.units.available_permits() >= PLENTY * units(bytes) as usize;
        is_plenty.then(|| self.try_admit(bytes)).flatten()
    }
}

impl Budget {
    /// Bytes handed out now, and the most there are.
    pub fn held_and_most(&self) -> (usize, usize) {
        let most = self.bytes / UNIT_BYTES * UNIT_BYTES;
        (most - self.units.available_permits() * UNIT_BYTES, most)
    }

    /// Whether so many bytes could be had now.
    pub fn has(&self, bytes: usize) -> bool {
        self.units.available_permits() >= units(bytes) as usize
    }

    /// An allowance of `bytes` now, or none.
    pub fn try_admit(&self, bytes: usize) -> Option<Allowance> {
        let permit = self.units.clone().try_acquire_many_owned(units(bytes)).ok()?;
        Some(Allowance { permit })
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).expect("allowances are small")
}

impl Allowance {
    /// Takes another one in.
    pub fn add(&mut self, more: Allowance) {
        self.permit.merge(more.permit);
    }

    /// Gives so many bytes back, which must not be in use any more.
    pub fn give_back(&mut self, bytes: usize) {
        drop(self.permit.split(units(bytes) as usize));
    }

    /// Gives back what is more than so many bytes.
    pub fn keep(&mut self, bytes: usize) {
        let units = (units(bytes) as usize).min(self.permit.num_permits());
        drop(self.permit.split(self.permit.num_permits() - units));
    }

    /// How many bytes this stream may hold.
    pub fn bytes(&self) -> usize {
        self.permit.num_permits() * UNIT_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::object::get::{WINDOW_BYTES_MAX, WINDOW_BYTES_MIN};
    use crate::object::upload_memory::{ALLOWANCE_BYTES_MAX, ALLOWANCE_BYTES_MIN};
    use clap::Parser;
    use protocol::ErrorKind;

    /// With a quarter of it an upload makes four times as many requests, fsyncs and commits, and takes a third more CPU.
    #[tokio::test]
    async fn a_lone_transfer_gets_all_that_it_can_use_of_the_default() {
        let memory_bytes = Config::parse_from(["coordinator"]).memory_bytes;
        let (uploads, downloads) = Budget::of(memory_bytes);
        for (budget, least, most) in
            [(uploads, ALLOWANCE_BYTES_MIN, ALLOWANCE_BYTES_MAX), (downloads, WINDOW_BYTES_MIN, WINDOW_BYTES_MAX)]
        {
            assert_eq!(budget.admit(least, most).await.expect("nothing is held").bytes(), most);
        }
    }

    #[tokio::test]
    async fn of_what_is_not_plenty_nothing_more_is_given() {
        let budget = Budget::new(32 << 20);
        let held = budget.admit_of_plenty(10 << 20).expect("three could have it");
        assert!(budget.admit_of_plenty(10 << 20).is_none());
        let more = budget.admit_of_plenty(7 << 20).expect("three could have less");
        assert_eq!(budget.held_and_most().0, held.bytes() + more.bytes());
        assert!(budget.has(15 << 20) && !budget.has(16 << 20));
        let mut held = held;
        held.give_back(4 << 20);
        assert_eq!((held.bytes(), budget.held_and_most().0), (6 << 20, 13 << 20));
        drop((held, more));
        assert_eq!(budget.held_and_most().0, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_wants_much_keeps_nobody_waiting() {
        let budget = Budget::new(21 << 20);
        let held = budget.admit(6 << 20, 6 << 20).await.unwrap();
        let large = budget.admit(16 << 20, 16 << 20);
        let others = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let small = tokio::time::timeout(Duration::from_millis(1), budget.admit(1 << 20, 1 << 20)).await;
            drop((small.expect("there is room for it").unwrap(), held));
        };
        let (large, ()) = tokio::join!(large, others);
        assert_eq!(large.unwrap().bytes(), 16 << 20);
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_is_never_exceeded_and_the_excess_is_told_to_retry() {
        let budget = Budget::new(32 << 20);
        let mut held = Vec::new();
        let refused = loop {
            match budget.admit(1 << 20, 4 << 20).await {
                Ok(allowance) => held.push(allowance),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind, ErrorKind::Unavailable);
        assert!(held.iter().map(Allowance::bytes).sum::<usize>() <= 32 << 20);
        assert!(held.len() >= 4);
        let sum = held.iter().map(Allowance::bytes).sum();
        assert_eq!(budget.held_and_most(), (sum, 32 << 20));
        held.pop();
        assert!(budget.admit(1 << 20, 4 << 20).await.is_ok());
    }
}
