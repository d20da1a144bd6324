//! Group commit: one thread takes whatever waits and applies it as one group, so that one fsync answers for many.
//!
//! What it keeps true:
//! - Jobs are applied in the order in which they were submitted, each exactly once, also those that wait when it is stopped.
//! - Submitting never waits for the disk: a full queue gives the job back.
//! - A panic while a group is applied ends the process. What reached the disk is then unknown to this process, and a restart
//!   finds out; going on would mean guessing.

use protocol::{Error, ErrorKind, Result};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// How much one group and the queue may hold.
#[derive(Clone, Copy, Debug)]
pub struct GroupLimits {
    /// Jobs in one group.
    pub jobs_max: usize,
    /// Bytes in one group; a longer job is a group of its own.
    pub bytes_max: u64,
    /// Jobs that may wait,
    pub queue_max: usize,
    /// and their bytes; a longer job may wait alone.
    pub queue_bytes_max: u64,
}

/// A queue with its thread.
#[derive(Debug)]
pub struct GroupCommit<J> {
    queue: Arc<Queue<J>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Queue<J> {
    limits: GroupLimits,
    state: Mutex<State<J>>,
    arrived: Condvar,
}

#[derive(Debug)]
struct State<J> {
    waiting: VecDeque<(J, u64)>,
    waiting_bytes: u64,
    stopping: bool,
}

impl<J: Send + 'static> GroupCommit<J> {
    /// Starts the thread `name`; `apply` is given each group, never an empty one.
    pub fn start(
        name: &str,
        limits: GroupLimits,
        mut apply: impl FnMut(Vec<J>) + Send + 'static,
    ) -> Result<GroupCommit<J>> {
        assert!(limits.jobs_max > 0 && limits.queue_max > 0, "a group and a queue hold at least one job");
        let state = Mutex::new(State { waiting: VecDeque::new(), waiting_bytes: 0, stopping: false });
        let queue = Arc::new(Queue { limits, state, arrived: Condvar::new() });
        let jobs = Arc::clone(&queue);
        let run = move || {
            while let Some(group) = jobs.next_group() {
                if catch_unwind(AssertUnwindSafe(|| apply(group))).is_err() {
                    tracing::error!("panic while a group was applied: the process ends, a restart recovers");
                    std::process::abort();
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .map_err(|error| Error::caused(ErrorKind::Unavailable, format!("start thread {name}"), error))?;
        Ok(GroupCommit { queue, thread: Mutex::new(Some(thread)) })
    }

    /// Hands a job of about `bytes` to the thread. `Err` gives it back: the queue is full or stopped.
    pub fn submit(&self, job: J, bytes: u64) -> std::result::Result<(), J> {
        let mut state = self.queue.lock();
        let limits = &self.queue.limits;
        let is_long = !state.waiting.is_empty() && state.waiting_bytes.saturating_add(bytes) > limits.queue_bytes_max;
        if state.stopping || state.waiting.len() >= limits.queue_max || is_long {
            return Err(job);
        }
        state.waiting_bytes += bytes;
        state.waiting.push_back((job, bytes));
        drop(state);
        self.queue.arrived.notify_one();
        Ok(())
    }

    /// Jobs that wait right now.
    pub fn waiting(&self) -> usize {
        self.queue.lock().waiting.len()
    }

    /// Accepts nothing more, applies what waits, and returns when the thread has ended.
    pub fn stop(&self) {
        self.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            thread.join().expect("the thread aborts rather than panics");
        }
    }
}

impl<J> Drop for GroupCommit<J> {
    /// Tells the thread to end once it is done; [`GroupCommit::stop`] also waits for that.
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl<J> Queue<J> {
    /// A panic never happens under this lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().stopping = true;
        self.arrived.notify_all();
    }

    /// Everything that waits, up to the limits; `None` when stopped and empty.
    fn next_group(&self) -> Option<Vec<J>> {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.stopping {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let mut group = Vec::new();
        let mut taken = 0;
        while let Some((_, next_bytes)) = state.waiting.front() {
            let bytes = taken + next_bytes;
            if group.len() == self.limits.jobs_max || (!group.is_empty() && bytes > self.limits.bytes_max) {
                break;
            }
            taken = bytes;
            group.extend(state.waiting.pop_front().map(|(job, _)| job));
        }
        state.waiting_bytes -= taken;
        Some(group)
    }
}
