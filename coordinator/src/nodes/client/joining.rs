//! Small puts to one node, joined: what comes while the node is busy goes into one request when it is free again.
//!
//! ```text
//! put ─────────────▶ lane 1 ──▶ PUT /shards/{id}       a lane is free: the put takes it and sends by itself
//! put ──▶ queue ──▶ lane 2 ──▶ POST /shards-batch      a lane takes all that waits, up to a request's bounds, sends it,
//! put ──▶   ·                                          answers it, and ends when nothing waits any more
//! ```
//!
//! What it keeps true:
//! - A put that finds a lane free leaves at once, without another task: a task and the way to it and back cost a lone put
//!   60 µs. None waits for company.
//! - The queue has bounds, and a put over them is refused at once ([`QUEUE_BYTES_MAX`], [`QUEUE_SHARDS_MAX`]).
//! - A put whose caller has gone, or waited past its deadline, is not sent any more.
//! - Nothing is left waiting without a lane: a lane ends only under the lock under which it saw the queue empty.

use super::call::Origin;
use super::wire::{Wire, deadline};
use crate::names;
use crate::nodes::{Refused, request_id};
use metrics::Gauge;
use process::traces;
use protocol::{Error, PutOutcome, Result, Shard};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// The largest put that is joined with others, in bytes; larger ones have a request of their own.
pub const JOINED_PUT_BYTES_MAX: usize = 256 << 10;
/// The most bytes that wait for one node.
pub const QUEUE_BYTES_MAX: usize = 16 << 20;
/// The most shards that wait for one node.
pub const QUEUE_SHARDS_MAX: usize = 8192;
/// How many joined requests may be under way to one node.
const LANES_MAX: usize = 2;
/// The most bytes of shards in a joined request.
const JOINED_BYTES_MAX: usize = 1 << 20;
/// The most shards in a joined request.
const JOINED_SHARDS_MAX: usize = 256;
/// How many client requests a joined request names.
const REQUEST_IDS_MAX: usize = 8;

/// The queue in front of one node.
pub(super) struct Joining {
    wire: Arc<Wire>,
    tasks: TaskTracker,
    runtime: Handle,
    queue: Mutex<Queue>,
    /// Bytes that wait; every node of a process adds to its own.
    waiting: Gauge,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    bytes: usize,
    shards: usize,
    lanes: usize,
}

struct Job {
    shards: Vec<Shard>,
    bytes: usize,
    request: Option<Arc<str>>,
    traceparent: Option<String>,
    answer: oneshot::Sender<Result<Vec<PutOutcome>>>,
}

impl Joining {
    pub(super) fn new(wire: Arc<Wire>, tasks: TaskTracker, runtime: Handle) -> Joining {
        let waiting = metrics::gauge!(names::NODE_QUEUE_WAITING, "url" => wire.url().to_owned());
        waiting.increment(0.0); // Shown before anything waits.
        Joining { wire, tasks, runtime, queue: Mutex::default(), waiting }
    }

    /// Stores shards, together with others that wait. `Unavailable` if too much waits already.
    pub(super) async fn put(self: &Arc<Joining>, shards: Vec<Shard>, bytes: usize) -> Result<Vec<PutOutcome>> {
        if let Some(lane) = self.free_lane() {
            let outcome = self.wire.put(&shards, Origin::current()).await;
            drop(lane);
            return outcome;
        }
        let (answer, answered) = oneshot::channel();
        let traceparent = traces::current();
        let job = Job { shards, bytes, request: request_id::current(), traceparent, answer };
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
    fn free_lane(self: &Arc<Joining>) -> Option<OwnLane> {
        let mut queue = self.queue();
        if queue.lanes == LANES_MAX {
            return None;
        }
        queue.lanes += 1;
        Some(OwnLane { joining: Arc::clone(self) })
    }

    /// Tells how many bytes wait before the job. Starts a lane if one is free.
    fn enqueue(self: &Arc<Joining>, job: Job) -> Result<usize> {
        let mut queue = self.queue();
        if queue.bytes + job.bytes > QUEUE_BYTES_MAX || queue.shards + job.shards.len() > QUEUE_SHARDS_MAX {
            return Err(Error::unavailable(format!(
                "{}: {} shards of {} bytes wait for it already",
                self.wire, queue.shards, queue.bytes
            )));
        }
        let ahead_bytes = queue.bytes;
        queue.push(job);
        self.waiting.set(queue.bytes as f64);
        if queue.lanes < LANES_MAX {
            queue.lanes += 1;
            drop(queue);
            let lane = Lane { joining: Arc::clone(self), ended: false };
            self.tasks.spawn_on(lane.run(), &self.runtime);
        }
        Ok(ahead_bytes)
    }

    async fn send(&self, mut jobs: Vec<Job>) {
        // A request has one place: that of the first put it serves. The others' traces show how long they waited.
        let traceparent = jobs.iter().find_map(|job| job.traceparent.clone());
        let origin = Origin { requests: join_requests(&jobs), traceparent };
        let mut shards = Vec::new();
        let counts: Vec<usize> = jobs.iter().map(|job| job.shards.len()).collect();
        for job in &mut jobs {
            shards.append(&mut job.shards);
        }
        match self.wire.put(&shards, origin).await {
            Ok(mut outcomes) => {
                for (job, count) in jobs.into_iter().zip(counts) {
                    let rest = outcomes.split_off(count);
                    job.answer(Ok(std::mem::replace(&mut outcomes, rest)));
                }
            }
            Err(error) => {
                for job in jobs {
                    job.answer(Err(same(&error)));
                }
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no one panics while holding the queue")
    }
}

impl Job {
    fn answer(self, result: Result<Vec<PutOutcome>>) {
        // A caller that has gone does not want the answer.
        self.answer.send(result).ok();
    }
}

impl Queue {
    fn push(&mut self, job: Job) {
        self.bytes += job.bytes;
        self.shards += job.shards.len();
        self.jobs.push_back(job);
    }

    /// The jobs for the next request; those that no one waits for are dropped. Empty if nothing waits.
    fn take(&mut self) -> Vec<Job> {
        let (mut bytes, mut shards) = (0, 0);
        let mut taken = Vec::new();
        while let Some(job) = self.jobs.front() {
            let fits = bytes + job.bytes <= JOINED_BYTES_MAX && shards + job.shards.len() <= JOINED_SHARDS_MAX;
            if !fits && !taken.is_empty() {
                break;
            }
            let job = self.jobs.pop_front().expect("it was in front");
            self.bytes -= job.bytes;
            self.shards -= job.shards.len();
            if job.answer.is_closed() {
                continue;
            }
            bytes += job.bytes;
            shards += job.shards.len();
            taken.push(job);
        }
        taken
    }
}

/// A lane that a put took for itself.
struct OwnLane {
    joining: Arc<Joining>,
}

impl Drop for OwnLane {
    /// Passes the lane on to what waits, also when the put was given up.
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
struct Lane {
    joining: Arc<Joining>,
    ended: bool,
}

impl Lane {
    async fn run(mut self) {
        while let Some(jobs) = self.next() {
            self.joining.send(jobs).await;
        }
    }

    fn next(&mut self) -> Option<Vec<Job>> {
        let mut queue = self.joining.queue();
        let jobs = queue.take();
        self.joining.waiting.set(queue.bytes as f64);
        if jobs.is_empty() {
            queue.lanes -= 1;
            self.ended = true;
            return None;
        }
        Some(jobs)
    }
}

impl Drop for Lane {
    /// A lane that is cut short by a panic or a shutdown gives its place back.
    fn drop(&mut self) {
        if !self.ended {
            self.joining.queue().lanes -= 1;
        }
    }
}

/// The ids of the client requests that these jobs serve, as many as are told.
fn join_requests(jobs: &[Job]) -> Option<String> {
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
