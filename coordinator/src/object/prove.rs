//! Proves chunks that were read, two at a time where two are there: their digests take turns ([`protocol::sha256_of_each`]), and where there
//! is much to do one hop to another thread serves both.
//!
//! What it keeps true: a chunk never waits for another to come. Whoever brings one takes it out again, with another or alone, unless someone
//! else did; so none stays behind, also when whoever brought it gives up.

use super::compute::{Compute, INLINE_BYTES_MAX};
use super::gather::{Gathered, Proved};
use protocol::{Error, Result};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;
use tokio::task::yield_now;

/// Work on less than this is done before another could come, in bytes.
const JOINED_BYTES_MIN: usize = 64 << 10;

/// The chunks that wait to be proved: as many as are being read, for a moment. Cheap to clone.
#[derive(Clone, Default)]
pub struct Prover {
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    next_id: u64,
}

struct Job {
    id: u64,
    read: Gathered,
    cost: usize,
    tell: oneshot::Sender<Result<Proved>>,
}

/// A job that was brought. Dropped, it leaves the queue if it is there.
struct Brought<'a> {
    prover: &'a Prover,
    id: u64,
}

impl Drop for Brought<'_> {
    fn drop(&mut self) {
        // Freed after the lock is.
        let left = self.prover.change(|queue| queue.take(self.id));
        drop(left);
    }
}

impl Prover {
    /// The chunk that these pieces come to, which takes about as long as hashing `cost` bytes. `Corrupt` if they do not.
    pub(super) async fn prove(&self, compute: Compute, cost: usize, read: Gathered) -> Result<Proved> {
        if cost < JOINED_BYTES_MIN {
            return compute.run(cost, move || read.solve()).await;
        }
        let (tell, told) = oneshot::channel();
        let brought = Brought { prover: self, id: self.change(|queue| queue.bring(read, cost, tell)) };
        // Other reads of this thread whose bytes are there join in.
        yield_now().await;
        if let Some(joined) = self.change(|queue| queue.take_with_another(brought.id)) {
            compute.run(joined.iter().map(|job| job.cost).sum(), move || prove_now(joined)).await;
        }
        told.await.unwrap_or_else(|_| Err(Error::unavailable("proving the chunk was cut off")))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        change(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Queue {
    fn bring(&mut self, read: Gathered, cost: usize, tell: oneshot::Sender<Result<Proved>>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.jobs.push_back(Job { id, read, cost, tell });
        id
    }

    /// This job, if nobody took it.
    fn take(&mut self, id: u64) -> Option<Job> {
        let place = self.jobs.iter().position(|job| job.id == id)?;
        self.jobs.remove(place)
    }

    /// The same with another one, if there is one: what is done in place is not to wait for what takes long.
    fn take_with_another(&mut self, id: u64) -> Option<Vec<Job>> {
        let own = self.take(id)?;
        let is_short = |job: &Job| job.cost < INLINE_BYTES_MAX;
        let alike = self.jobs.iter().position(|job| is_short(job) == is_short(&own));
        let other = alike.and_then(|place| self.jobs.remove(place));
        Some([own].into_iter().chain(other).collect())
    }
}

fn prove_now(joined: Vec<Job>) {
    let (reads, tells): (Vec<_>, Vec<_>) = joined.into_iter().map(|job| (job.read, job.tell)).unzip();
    for (tell, proved) in tells.into_iter().zip(Gathered::solve_each(&reads)) {
        // Whoever asked may be gone by now.
        drop(tell.send(proved));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::gather::sample_read;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn proving(prover: &Prover, text: &'static str) -> impl Future<Output = Result<Proved>> {
        prover.prove(Compute::Inline, JOINED_BYTES_MIN, sample_read(text))
    }

    #[test]
    fn two_are_proved_at_a_time_and_each_hears_of_its_own() {
        let prover = Prover::default();
        let mut reads = ["one", "two", "three"].map(|text| (text, Box::pin(proving(&prover, text))));
        assert!(reads.iter_mut().all(|(_, read)| poll(read.as_mut()).is_pending()));
        for (left, (text, read)) in [1, 1, 0].into_iter().zip(&mut reads) {
            let Poll::Ready(Ok(proved)) = poll(read.as_mut()) else { panic!("{text} is there") };
            assert_eq!(proved.plain, *text);
            assert_eq!(prover.change(|queue| queue.jobs.len()), left);
        }
    }

    #[test]
    fn whoever_gives_up_leaves_nothing_behind_and_holds_nobody_up() {
        let prover = Prover::default();
        let mut last = pin!(proving(&prover, "last"));
        {
            let (mut one, mut other) = (pin!(proving(&prover, "one")), pin!(proving(&prover, "other")));
            assert!(poll(one.as_mut()).is_pending() && poll(other.as_mut()).is_pending());
            assert!(poll(last.as_mut()).is_pending());
            assert_eq!(prover.change(|queue| queue.jobs.len()), 3);
        }
        assert_eq!(prover.change(|queue| queue.jobs.len()), 1);
        assert!(poll(last.as_mut()).is_ready());
    }

    #[test]
    fn a_short_one_does_not_wait_for_a_long_one() {
        let (prover, long) = (Prover::default(), INLINE_BYTES_MAX);
        let mut long = pin!(prover.prove(Compute::Inline, long, sample_read("long")));
        let mut short = pin!(proving(&prover, "short"));
        assert!(poll(long.as_mut()).is_pending() && poll(short.as_mut()).is_pending());
        assert!(poll(short.as_mut()).is_ready());
        assert_eq!(prover.change(|queue| queue.jobs.len()), 1, "the long one is still there");
        assert!(poll(long.as_mut()).is_ready());
    }
}
