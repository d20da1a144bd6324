//! Proves chunks that were read, several at a time where several are there: their digests take turns ([`protocol::sha256_of_each`]), and where
//! there is much to do one hop to another thread serves all.
//!
//! What it keeps true: a chunk never waits for another to come; whoever brings one proves what is there, and leaves when its own is proved.

use super::compute::Compute;
use super::gather::{Gathered, Proved};
use protocol::{Error, Result};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;
use tokio::task::yield_now;

/// Work on less than this is done before another could come, in bytes.
const JOINED_BYTES_MIN: usize = 64 << 10;
/// Chunks that are proved together at most: the first has to wait for the last.
const JOINED_MAX: usize = 2;

/// The chunks that wait to be proved. Cheap to clone.
#[derive(Clone, Default)]
pub struct Prover {
    waiting: Arc<Mutex<VecDeque<Waiting>>>,
}

struct Waiting {
    read: Gathered,
    cost: usize,
    tell: oneshot::Sender<Result<Proved>>,
}

impl Prover {
    /// The chunk that these pieces come to, which takes about as long as hashing `cost` bytes. `Corrupt` if they do not.
    pub(super) async fn prove(&self, compute: Compute, cost: usize, read: Gathered) -> Result<Proved> {
        if cost < JOINED_BYTES_MIN {
            return compute.run(cost, move || read.solve()).await;
        }
        let (tell, told) = oneshot::channel();
        self.change(|waiting| waiting.push_back(Waiting { read, cost, tell }));
        // Other reads of this thread whose bytes are there join in.
        yield_now().await;
        let joined = self.change(take_some);
        if !joined.is_empty() {
            compute.run(joined.iter().map(|waiting| waiting.cost).sum(), move || prove_now(joined)).await;
        }
        told.await.unwrap_or_else(|_| Err(Error::unavailable("the coordinator is shutting down")))
    }

    fn change<T>(&self, change: impl FnOnce(&mut VecDeque<Waiting>) -> T) -> T {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The next for which somebody still waits.
fn take_some(waiting: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    waiting.retain(|waiting| !waiting.tell.is_closed());
    waiting.drain(..waiting.len().min(JOINED_MAX)).collect()
}

fn prove_now(joined: Vec<Waiting>) {
    let (reads, tells): (Vec<_>, Vec<_>) = joined.into_iter().map(|waiting| (waiting.read, waiting.tell)).unzip();
    for (tell, proved) in tells.into_iter().zip(Gathered::solve_each(&reads)) {
        // Whoever asked may be gone by now.
        drop(tell.send(proved));
    }
}
