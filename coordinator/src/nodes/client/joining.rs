//! Small calls of a kind to one node, joined: what comes while the node is busy goes into one request when it is free again.
//!
//! ```text
//! call ─────────────▶ lane 1 ──▶ a request of its own   a lane is free: the call takes it and sends by itself
//! call ──▶ queue ──▶ lane 2 ──▶ a request of many       a lane takes all that waits, up to a request's bounds, sends it,
//! call ──▶   ·                                          answers it, and ends when nothing waits any more
//! ```
//!
//! What it keeps true:
//! - A call that finds a lane free leaves at once, without another task: a task and the way to it and back cost a lone put
//!   60 µs. None waits for company.
//! - The queue has bounds, and a call over them is refused at once.
//! - A call whose caller has gone, or waited past its deadline, is not sent any more.
//! - Nothing is left waiting without a lane: a lane ends only under the lock under which it saw the queue empty.

use super::call::Origin;
use super::wire::{Wire, deadline};
use crate::nodes::{Refused, request_id};
use metrics::Gauge;
use process::traces;
use protocol::{Error, Result};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// How many joined requests may be under way to one node.
const LANES_MAX: usize = 2;
/// How many client requests a joined request names.
const REQUEST_IDS_MAX: usize = 8;

/// A kind of call that may be joined with others of its kind.
pub(super) trait Kind: Send + Sync + 'static {
    /// What is asked, for one shard.
    type Item: Send + Sync;
    /// What is answered, for one shard.
    type Answer: Send;
    /// The most bytes and shards in a joined request,
    const REQUEST_MAX: Bounds;
    /// and waiting for one node.
    const QUEUE_MAX: Bounds;

    /// Sends a request; one answer for each item, in order. An `Err` says nothing of any of them.
    fn send(
        wire: &Wire,
        items: &[Self::Item],
        origin: Origin,
    ) -> impl Future<Output = Result<Vec<Self::Answer>>> + Send;
}

/// Bytes and shards, of a request or of what waits. Bytes are those that the call has the node move.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    pub(super) bytes: usize,
    pub(super) shards: usize,
}

/// The queue in front of one node.
pub(super) struct Joining<K: Kind> {
    wire: Arc<Wire>,
    tasks: TaskTracker,
    runtime: Handle,
    queue: Mutex<Queue<K>>,
    /// Bytes that wait.
    waiting: Gauge,
}

struct Queue<K: Kind> {
    jobs: VecDeque<Job<K>>,
    held: Bounds,
    lanes: usize,
}

struct Job<K: Kind> {
    items: Vec<K::Item>,
    bytes: usize,
    request: Option<Arc<str>>,
    traceparent: Option<String>,
    answer: oneshot::Sender<Result<Vec<K::Answer>>>,
}

impl<K: Kind> Joining<K> {
    pub(super) fn new(wire: Arc<Wire>, tasks: TaskTracker, runtime: Handle, waiting: Gauge) -> Joining<K> {
        waiting.increment(0.0); // Shown before anything waits.
        let queue = Queue { jobs: VecDeque::new(), held: Bounds::default(), lanes: 0 };
        Joining { wire, tasks, runtime, queue: Mutex::new(queue), waiting }
    }

    /// Makes a call, together with others that wait. `Unavailable` if too much waits already.
    pub(super) async fn call(self: &Arc<Joining<K>>, items: Vec<K::Item>, bytes: usize) -> Result<Vec<K::Answer>> {
        if let Some(lane) = self.free_lane() {
            let outcome = K::send(&self.wire, &items, Origin::current()).await;
            drop(lane);
            return outcome;
        }
        let (answer, answered) = oneshot::channel();
        let traceparent = traces::current();
        let job = Job { items, bytes, request: request_id::current(), traceparent, answer };
        let ahead_bytes = self.enqueue(job)?;
        let allowed = deadline((ahead_bytes + bytes) as u64);
        let waited = {
            let _entered = self.runtime.enter();
            timeout(allowed, answered)
        };
        match waited.await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::unavailable(format!("{}: the request was given up", self.wire))),
            Err(_) => Err(Error::unavailable(format!("{}: no answer within {} ms", self.wire, allowed.as_millis()))),
        }
    }

    /// A lane for the caller itself, if one is free. Whatever waits meanwhile is sent when it is given back.
    fn free_lane(self: &Arc<Joining<K>>) -> Option<OwnLane<K>> {
        let mut queue = self.queue();
        if queue.lanes == LANES_MAX {
            return None;
        }
        queue.lanes += 1;
        Some(OwnLane { joining: Arc::clone(self) })
    }

    /// Tells how many bytes wait before the job. Starts a lane if one is free.
    fn enqueue(self: &Arc<Joining<K>>, job: Job<K>) -> Result<usize> {
        let mut queue = self.queue();
        if !queue.held.fits(&job, K::QUEUE_MAX) {
            let Bounds { bytes, shards } = queue.held;
            return Err(Error::unavailable(format!(
                "{}: {shards} shards of {bytes} bytes wait for it already",
                self.wire
            )));
        }
        let ahead_bytes = queue.held.bytes;
        queue.held.add(&job);
        queue.jobs.push_back(job);
        self.waiting.set(queue.held.bytes as f64);
        if queue.lanes < LANES_MAX {
            queue.lanes += 1;
            drop(queue);
            let lane = Lane { joining: Arc::clone(self), ended: false };
            self.tasks.spawn_on(lane.run(), &self.runtime);
        }
        Ok(ahead_bytes)
    }

    async fn send(&self, mut jobs: Vec<Job<K>>) {
        // A request has one place: that of the first call it serves. The others' traces show how long they waited.
        let traceparent = jobs.iter().find_map(|job| job.traceparent.clone());
        let origin = Origin { requests: join_requests(&jobs), traceparent };
        let mut items = Vec::new();
        let counts: Vec<usize> = jobs.iter().map(|job| job.items.len()).collect();
        for job in &mut jobs {
            items.append(&mut job.items);
        }
        match K::send(&self.wire, &items, origin).await {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                for (job, count) in jobs.into_iter().zip(counts) {
                    job.answer(Ok(answers.by_ref().take(count).collect()));
                }
            }
            Err(error) => {
                for job in jobs {
                    job.answer(Err(same(&error)));
                }
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue<K>> {
        self.queue.lock().expect("no one panics while holding the queue")
    }
}

impl<K: Kind> Job<K> {
    fn answer(self, result: Result<Vec<K::Answer>>) {
        // A caller that has gone does not want the answer.
        self.answer.send(result).ok();
    }
}

impl Bounds {
    /// Whether there is still room for a job within `most`.
    fn fits<K: Kind>(self, job: &Job<K>, most: Bounds) -> bool {
        self.bytes + job.bytes <= most.bytes && self.shards + job.items.len() <= most.shards
    }

    fn add<K: Kind>(&mut self, job: &Job<K>) {
        self.bytes += job.bytes;
        self.shards += job.items.len();
    }

    fn subtract<K: Kind>(&mut self, job: &Job<K>) {
        self.bytes -= job.bytes;
        self.shards -= job.items.len();
    }
}

impl<K: Kind> Queue<K> {
    /// The jobs for the next request; those that no one waits for are dropped. Empty if nothing waits.
    fn take(&mut self) -> Vec<Job<K>> {
        let mut taken = Bounds::default();
        let mut jobs = Vec::new();
        while let Some(job) = self.jobs.pop_front_if(|job| jobs.is_empty() || taken.fits(job, K::REQUEST_MAX)) {
            self.held.subtract(&job);
            if job.answer.is_closed() {
                continue;
            }
            taken.add(&job);
            jobs.push(job);
        }
        jobs
    }
}

/// A lane that a call took for itself.
struct OwnLane<K: Kind> {
    joining: Arc<Joining<K>>,
}

impl<K: Kind> Drop for OwnLane<K> {
    /// Passes the lane on to what waits, also when the call was given up.
    fn drop(&mut self) {
        let mut queue = self.joining.queue();
        if queue.jobs.is_empty() {
            queue.lanes -= 1;
            return;
        }
        drop(queue);
        let lane = Lane { joining: Arc::clone(&self.joining), ended: false };
        self.joining.tasks.spawn_on(lane.run(), &self.joining.runtime);
    }
}

/// One of the requests that may be under way at the same time.
struct Lane<K: Kind> {
    joining: Arc<Joining<K>>,
    ended: bool,
}

impl<K: Kind> Lane<K> {
    async fn run(mut self) {
        while let Some(jobs) = self.next() {
            self.joining.send(jobs).await;
        }
    }

    fn next(&mut self) -> Option<Vec<Job<K>>> {
        let mut queue = self.joining.queue();
        let jobs = queue.take();
        self.joining.waiting.set(queue.held.bytes as f64);
        if jobs.is_empty() {
            queue.lanes -= 1;
            self.ended = true;
            return None;
        }
        Some(jobs)
    }
}

impl<K: Kind> Drop for Lane<K> {
    /// A lane that is cut short by a panic or a shutdown gives its place back.
    fn drop(&mut self) {
        if !self.ended {
            self.joining.queue().lanes -= 1;
        }
    }
}

/// The ids of the client requests that these jobs serve, as many as are told.
fn join_requests<K: Kind>(jobs: &[Job<K>]) -> Option<String> {
    let mut ids: Vec<&str> = Vec::with_capacity(REQUEST_IDS_MAX);
    for id in jobs.iter().filter_map(|job| job.request.as_deref()) {
        if ids.len() < REQUEST_IDS_MAX && !ids.contains(&id) {
            ids.push(id);
        }
    }
    (!ids.is_empty()).then(|| ids.join(","))
}

/// The error again, for each of those that waited.
fn same(error: &Error) -> Error {
    let refused = error.source.as_ref().is_some_and(|source| source.is::<Refused>());
    if refused {
        return Error::caused(error.kind, error.message.clone(), Refused);
    }
    Error::new(error.kind, error.message.clone())
}
