//! One storage node as the coordinator sees it: every call to it is watched, and what the calls tell is kept.
//!
//! What it keeps true:
//! - Every call ends in the breaker and the moving averages, also one that its caller gave up.
//! - A node that is not who it should be is neither read nor written (I21): its calls answer `Denied`, or `Unavailable` as long
//!   as it has not shown who it is.
//! - An open breaker stops nothing (I20); callers go by [`Member::available`] and by the order of `Nodes::read_order`.

use super::breaker::{Change, Outcome, Ticket};
use super::operation::Operation;
use super::vitals::{Identity, Vitals};
use crate::names;
use crate::placement::{Circuit, Health};
use bytes::Bytes;
use metrics::{counter, histogram};
use protocol::{
    Error, ErrorKind, Node, NodeHealth, NodeId, PutOutcome, Result, Shard, ShardCopy, ShardHead, ShardId, ShardPage,
    VerifyCursor, VerifyReport,
};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{Instrument, debug, debug_span};

/// A call that its caller gave up after this long counts as failed: a node that hangs is noticed even where every caller turns to
/// another node in time.
pub const GIVEN_UP_COUNTS_AFTER: Duration = Duration::from_secs(1);

/// What the configuration says of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberConfig {
    /// Its base URL.
    pub url: String,
    /// The name it must answer to; learnt from its first answer where none is given.
    pub id: Option<NodeId>,
    /// Its weight in placement, in percent.
    pub weight_percent: u32,
}

/// A storage node, watched.
pub struct Member {
    config: MemberConfig,
    id: OnceLock<NodeId>,
    node: Arc<dyn Node>,
    in_flight: AtomicU32,
    /// Bytes stored since the last probe told the free space.
    stored_bytes: AtomicU64,
    vitals: Mutex<Vitals>,
    /// Raised whenever something changed that candidates show; shared by all members.
    changes: Arc<AtomicU64>,
}

impl Member {
    pub(super) fn new(config: MemberConfig, node: Arc<dyn Node>, changes: Arc<AtomicU64>) -> Member {
        let id = OnceLock::new();
        if let Some(given) = &config.id {
            id.set(given.clone()).expect("nothing was set before");
        }
        Member {
            config,
            id,
            node,
            in_flight: AtomicU32::new(0),
            stored_bytes: AtomicU64::new(0),
            vitals: Mutex::new(Vitals::new(Instant::now())),
            changes,
        }
    }

    /// Its name, once it is known.
    pub fn id(&self) -> Option<&NodeId> {
        self.id.get()
    }

    /// Its base URL: where other nodes pull shards from.
    pub fn url(&self) -> &str {
        &self.config.url
    }

    /// Its name, or its URL as long as the name is not known; for logs.
    pub fn label(&self) -> &str {
        self.id().map_or(&self.config.url, NodeId::as_str)
    }

    /// Whether calls should go to it while there are others: it is who it should be, it is not down, and its breaker is closed or
    /// wants another trial.
    pub fn available(&self) -> bool {
        let vitals = self.vitals();
        vitals.health() != Health::Down && vitals.breaker.has_trial(Instant::now())
    }

    /// Whether it has answered since this process knows of it, and is who it should be.
    pub fn has_answered(&self) -> bool {
        self.vitals().identity == Identity::Admitted
    }

    /// Whether it may have less than it had, and the catalog does not know yet.
    pub fn is_doubted(&self) -> bool {
        let vitals = self.vitals();
        !vitals.is_on_record && vitals.health.as_ref().is_some_and(|health| health.starts.doubtful.is_some())
    }

    /// For how long it has been asked in vain. One that is not who it should be answers in vain.
    pub fn silent_for(&self) -> Duration {
        self.vitals().silent_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// The state of its breaker.
    pub fn circuit(&self) -> Circuit {
        self.vitals().breaker.circuit(Instant::now())
    }

    /// Stores shards; see [`Node::put`].
    pub async fn put(&self, shards: Vec<Shard>) -> Result<Vec<PutOutcome>> {
        let sizes: Vec<u64> = shards.iter().map(|shard| shard.data.len() as u64).collect();
        let result = self.watched(Operation::Put, self.node.put(shards), |outcomes| judge_outcomes(outcomes)).await;
        if let Ok(outcomes) = &result {
            let stored = sizes.iter().zip(outcomes).filter(|(_, outcome)| outcome.is_ok()).map(|(size, _)| size).sum();
            self.stored_bytes.fetch_add(stored, Ordering::Relaxed);
            self.note_room(outcomes);
        }
        result
    }

    /// The bytes of a shard; see [`Node::get`].
    pub async fn get(&self, id: ShardId) -> Result<Bytes> {
        self.watched(Operation::Get, self.node.get(id), answered).await
    }

    /// Length and CRC of a shard; see [`Node::head`].
    pub async fn head(&self, id: ShardId) -> Result<ShardHead> {
        self.watched(Operation::Head, self.node.head(id), answered).await
    }

    /// Deletes shards; see [`Node::delete`].
    pub async fn delete(&self, ids: Vec<ShardId>) -> Result<Vec<PutOutcome>> {
        self.watched(Operation::Delete, self.node.delete(ids), |outcomes| judge_outcomes(outcomes)).await
    }

    /// A page of its shards; see [`Node::list`].
    pub async fn list(&self, after: Option<ShardId>, limit: usize) -> Result<ShardPage> {
        self.watched(Operation::List, self.node.list(after, limit), answered).await
    }

    /// Reads and checks some of its records; see [`Node::verify`].
    pub async fn verify(&self, cursor: VerifyCursor, limit_bytes: u64) -> Result<VerifyReport> {
        self.watched(Operation::Verify, self.node.verify(cursor, limit_bytes), answered).await
    }

    /// Has it pull a shard from another node; see [`Node::copy_from`]. A failure may be the source's, so it says nothing of this
    /// node.
    pub async fn copy_from(&self, id: ShardId, copy: &ShardCopy) -> Result<()> {
        self.check_identity()?;
        self.node.copy_from(id, copy).await
    }

    async fn watched<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T>>,
        judge: impl FnOnce(&T) -> Outcome,
    ) -> Result<T> {
        self.check_identity()?;
        self.watched_unchecked(operation, call, judge).await
    }

    /// A probe is watched as other calls are, but goes to nodes that are not admitted, too.
    pub(super) async fn watched_probe<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.watched_unchecked(Operation::Health, call, answered).await
    }

    async fn watched_unchecked<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T>>,
        judge: impl FnOnce(&T) -> Outcome,
    ) -> Result<T> {
        let watch = self.begin(operation);
        let span = debug_span!("node call", node = self.label(), operation = operation.as_str());
        let result = call.instrument(span).await;
        match &result {
            Ok(value) => watch.end(judge(value), None),
            Err(error) => watch.end(Outcome::of(error), Some(error)),
        }
        result
    }

    fn check_identity(&self) -> Result<()> {
        match &self.vitals().identity {
            Identity::Admitted => Ok(()),
            Identity::Unseen => Err(Error::unavailable(format!("node {} has not answered yet", self.label()))),
            Identity::Refused(reason) => Err(Error::denied(reason.clone())),
        }
    }

    fn begin(&self, operation: Operation) -> Watch<'_> {
        let began = Instant::now();
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let (ticket, change) = self.vitals().breaker.begin(began);
        self.tell(change, None);
        Watch { member: self, operation, began, ticket, ended: false }
    }

    fn end(
        &self,
        operation: Operation,
        began: Instant,
        ticket: Ticket,
        outcome: Option<Outcome>,
        error: Option<&Error>,
    ) {
        let now = Instant::now();
        let elapsed = now.duration_since(began);
        let message = error.map(|error| error.message.as_str());
        debug!(
            node = self.label(),
            operation = operation.as_str(),
            ?outcome,
            us = elapsed.as_micros() as u64,
            error = message,
            "node call"
        );
        if let Some(outcome) = outcome {
            self.measure(operation, elapsed, outcome, error);
        }
        let mut vitals = self.vitals();
        let average = match operation {
            Operation::Get => Some(&mut vitals.reads),
            Operation::Put => Some(&mut vitals.writes),
            _ => None,
        };
        match (average, outcome) {
            (Some(average), Some(Outcome::Answered)) => average.add(elapsed, now),
            (Some(average), Some(Outcome::Failed) | None) => average.add_at_least(elapsed, now),
            (Some(_), Some(Outcome::Refused)) | (None, _) => {}
        }
        let change = vitals.breaker.end(ticket, outcome, now);
        let was_down = vitals.health() == Health::Down;
        let changed = outcome.is_some_and(|outcome| vitals.note(operation != Operation::Health, outcome, message, now));
        let is_up = was_down && vitals.health() != Health::Down;
        drop(vitals);
        if changed {
            self.raise_changes();
        }
        if is_up {
            self.tell_up();
        }
        self.tell(change, message);
    }

    fn measure(&self, operation: Operation, elapsed: Duration, outcome: Outcome, error: Option<&Error>) {
        let (operation, node) = (operation.as_str(), self.label().to_owned());
        histogram!(names::STORAGE_OPERATION_DURATION_SECONDS, "operation" => operation, "node" => node.clone())
            .record(elapsed.as_secs_f64());
        let kind = match error {
            Some(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Conflict) => return,
            Some(error) => error.kind,
            None if outcome == Outcome::Answered => return,
            None => ErrorKind::Unavailable,
        };
        counter!(names::STORAGE_ERRORS_TOTAL, "operation" => operation, "node" => node, "kind" => kind.as_str())
            .increment(1);
        counter!(names::STORAGE_ERRORS).increment(1);
    }

    pub(super) fn tell_up(&self) {
        tracing::info!(target: "degradation", node = self.label(), url = self.url(), "node is up again");
    }

    fn tell(&self, change: Option<Change>, error: Option<&str>) {
        let Some(Change { from, to }) = change else { return };
        self.raise_changes();
        let (node, from) = (self.label(), from.to_string());
        match to {
            Circuit::Open => {
                tracing::warn!(target: "degradation", node, from, to = "OPEN", error, "circuit breaker opened")
            }
            Circuit::HalfOpen => {
                tracing::info!(target: "degradation", node, from, to = "HALF_OPEN", "circuit breaker tries the node again")
            }
            Circuit::Closed => {
                tracing::info!(target: "degradation", node, from, to = "CLOSED", "circuit breaker closed")
            }
        }
    }

    /// A write that found no room takes the node out of placement until a probe or a write finds room again.
    fn note_room(&self, outcomes: &[PutOutcome]) {
        let refused = outcomes.contains(&Err(ErrorKind::Full));
        let stored = outcomes.iter().any(PutOutcome::is_ok);
        let mut vitals = self.vitals();
        if vitals.full == refused || !(refused || stored) {
            return;
        }
        vitals.full = refused;
        drop(vitals);
        self.raise_changes();
        if refused {
            tracing::warn!(target: "degradation", node = self.label(), "node has no room for more shards");
        } else {
            tracing::info!(target: "degradation", node = self.label(), "node has room again");
        }
    }

    pub(super) fn vitals(&self) -> MutexGuard<'_, Vitals> {
        self.vitals.lock().expect("no one panics while holding the vitals")
    }

    pub(super) fn raise_changes(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Its name is learnt once and never changes.
    pub(super) fn set_id(&self, id: &NodeId) {
        assert_eq!(self.id.get_or_init(|| id.clone()), id, "a member's name never changes");
        // Shown before the first error happens.
        let (operation, kind) = (Operation::Health.as_str(), ErrorKind::Unavailable.as_str());
        counter!(names::STORAGE_ERRORS_TOTAL, "operation" => operation, "node" => id.to_string(), "kind" => kind)
            .increment(0);
    }

    /// A probe just told the free space: what was stored before is in it.
    pub(super) fn restart_free_bytes(&self) {
        self.stored_bytes.store(0, Ordering::Relaxed);
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn node(&self) -> &Arc<dyn Node> {
        &self.node
    }

    pub(super) fn config(&self) -> &MemberConfig {
        &self.config
    }

    /// Free bytes by the last probe, less what was stored since.
    pub(super) fn free_bytes(&self, health: &NodeHealth) -> u64 {
        health.free_bytes.saturating_sub(self.stored_bytes.load(Ordering::Relaxed))
    }
}

fn answered<T>(_: &T) -> Outcome {
    Outcome::Answered
}

fn judge_outcomes(outcomes: &[PutOutcome]) -> Outcome {
    let failed = |outcome: &PutOutcome| matches!(outcome, Err(ErrorKind::Unavailable | ErrorKind::Unknown));
    if outcomes.iter().any(failed) { Outcome::Failed } else { Outcome::Answered }
}

/// A call under way. Ends by [`Watch::end`], or by being dropped when the caller gives up.
struct Watch<'a> {
    member: &'a Member,
    operation: Operation,
    began: Instant,
    ticket: Ticket,
    ended: bool,
}

impl Watch<'_> {
    fn end(mut self, outcome: Outcome, error: Option<&Error>) {
        self.ended = true;
        self.member.end(self.operation, self.began, self.ticket, Some(outcome), error);
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.member.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.ended {
            return;
        }
        let waited = self.began.elapsed();
        if waited < GIVEN_UP_COUNTS_AFTER {
            self.member.end(self.operation, self.began, self.ticket, None, None);
            return;
        }
        let error = Error::unavailable(format!("no answer within {} ms, given up", waited.as_millis()));
        self.member.end(self.operation, self.began, self.ticket, Some(Outcome::Failed), Some(&error));
    }
}
