//! Asking the nodes how they are, and whether they are who they should be.
//!
//! What it keeps true:
//! - A node is used only after it named this cluster, the name it is known by, and a disk that [`KnownNodes`] accepts (I21).
//! - A node that comes back is used again soon: good probes are the trial calls of a half-open breaker.
//! - A round takes at most [`PROBE_TIMEOUT`] per call and [`PROBE_CALLS_MAX`] calls per node, [`PROBES_AT_ONCE`] nodes at once.

use super::breaker::TRIALS;
use super::vitals::{Identity, Vitals};
use super::{Member, Nodes};
use crate::metadata::records::NodeRecord;
use crate::placement::{Circuit, Health};
use async_trait::async_trait;
use futures_util::stream::{self, StreamExt};
use protocol::{DiskId, Error, ErrorKind, NodeHealth, NodeId, Result, Start};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

/// How long one probe may take.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often [`Nodes::watch`] asks again those that are unreachable.
pub const UNREACHABLE_PROBE_EVERY: Duration = Duration::from_secs(2);
/// How many nodes are probed at the same time.
const PROBES_AT_ONCE: usize = 64;
/// The first probe may bring the breaker to HALF_OPEN, the others are its trials.
const PROBE_CALLS_MAX: u32 = TRIALS + 1;

/// The record of which disk belongs to which node.
#[async_trait]
pub trait KnownNodes: Send + Sync + 'static {
    /// Accepts a node that answered from `url`: one that is new (and records it), one whose disk is the recorded one, or one that
    /// says it was replaced (and records the new disk). `Denied` if its disk is another one, or an older copy; `Unavailable` if that cannot
    /// be found out now.
    ///
    /// Whether all of it is on record: a start that could not be recorded keeps nobody from using the node, and is to be told again.
    async fn admit(&self, health: &NodeHealth, url: &str) -> Result<bool>;

    /// Every node that is recorded.
    async fn recorded(&self) -> Result<Vec<NodeRecord>>;
}

/// What must stay the same between two answers for the admission to stay good.
#[derive(PartialEq, Eq)]
struct Admission<'a> {
    node: &'a NodeId,
    disk: DiskId,
    replaced: bool,
    zone: &'a str,
    start: Option<Start>,
}

impl<'a> Admission<'a> {
    fn of(health: &'a NodeHealth) -> Admission<'a> {
        let NodeHealth { node, disk, replaced, zone, starts, .. } = health;
        Admission { node, disk: *disk, replaced: *replaced, zone, start: starts.last() }
    }
}

impl Nodes {
    /// Asks every node how it is, and tells the log in one line for each.
    pub async fn probe_all(&self) {
        let members: Vec<Arc<Member>> = self.members().to_vec();
        let probes = members.into_iter().map(|member| async move {
            let began = Instant::now();
            let result = self.probe(&member).await;
            log_probe(&member, &result, began.elapsed());
        });
        stream::iter(probes).buffer_unordered(PROBES_AT_ONCE).collect::<()>().await;
    }

    /// Asks those that are down or whose breaker is not closed; only changes are logged.
    pub async fn probe_unreachable(&self) {
        let out =
            |member: &&Arc<Member>| member.vitals().health() != Health::Healthy || member.circuit() != Circuit::Closed;
        let members: Vec<Arc<Member>> = self.members().iter().filter(out).cloned().collect();
        let probes = members.into_iter().map(|member| async move {
            // The result is kept in the member, and a change was logged.
            self.probe(&member).await.ok();
        });
        stream::iter(probes).buffer_unordered(PROBES_AT_ONCE).collect::<()>().await;
    }

    /// Probes all nodes every `every`, and the unreachable ones every [`UNREACHABLE_PROBE_EVERY`], until it is dropped. The first
    /// round is [`Nodes::probe_all`] at the start, which the caller awaits.
    pub async fn watch(&self, every: Duration) {
        let now = Instant::now();
        let mut rounds = interval_at(now + every, every);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut between = interval_at(now + UNREACHABLE_PROBE_EVERY, UNREACHABLE_PROBE_EVERY);
        between.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = rounds.tick() => self.probe_all().await,
                _ = between.tick() => self.probe_unreachable().await,
            }
        }
    }

    pub(super) async fn probe(&self, member: &Arc<Member>) -> Result<NodeHealth> {
        let mut health = self.probe_once(member).await?;
        for _ in 1..PROBE_CALLS_MAX {
            if member.circuit() != Circuit::HalfOpen {
                break;
            }
            health = self.probe_once(member).await?;
        }
        Ok(health)
    }

    async fn probe_once(&self, member: &Arc<Member>) -> Result<NodeHealth> {
        let asked = member.ask_health().await;
        let result = match asked {
            Ok(health) => self.admit(member, &health).await.map(|()| health),
            Err(error) => Err(error),
        };
        member.note_probe(&result);
        result
    }

    pub(super) async fn admit(&self, member: &Arc<Member>, health: &NodeHealth) -> Result<()> {
        if health.cluster != self.cluster {
            return Err(Error::denied(format!(
                "{} belongs to cluster {}, not to {}",
                member.label(),
                health.cluster,
                self.cluster
            )));
        }
        let name = &health.node;
        if let Some(wanted) = member.id()
            && wanted != name
        {
            return Err(Error::denied(format!("{} should be node {wanted} but says it is {name}", member.url())));
        }
        let namesake = self.namesake(member, name);
        if let Some(other) = &namesake
            && self.is_still(other, name).await
        {
            return Err(Error::denied(format!("{} says it is {name}, but that is {}", member.url(), other.url())));
        }
        if namesake.is_none() && member.is_admitted_as(health) {
            return Ok(());
        }
        let admitted = timeout(PROBE_TIMEOUT, self.known.admit(health, member.url())).await;
        let is_on_record =
            admitted.map_err(|_| Error::unavailable("the record of known nodes did not answer in time"))??;
        member.vitals().is_on_record = is_on_record;
        // Who it is holds before the node is used.
        self.refresh().await?;
        self.settle(member, name, namesake.as_ref())
    }

    /// Whether the member that has this name answers to it.
    async fn is_still(&self, member: &Member, name: &NodeId) -> bool {
        let answer = timeout(PROBE_TIMEOUT, member.node().health()).await;
        matches!(answer, Ok(Ok(health)) if health.node == *name && health.cluster == self.cluster)
    }
}

impl Member {
    /// Asks for its health; the breaker and passive health learn from it as from any call, and so before it is admitted.
    async fn ask_health(&self) -> Result<NodeHealth> {
        let ask = async {
            match timeout(PROBE_TIMEOUT, self.node().health()).await {
                Ok(result) => result,
                Err(_) => Err(Error::unavailable(format!("no answer within {} ms", PROBE_TIMEOUT.as_millis()))),
            }
        };
        self.watched_probe(ask).await
    }

    fn is_admitted_as(&self, health: &NodeHealth) -> bool {
        let vitals = self.vitals();
        vitals.identity == Identity::Admitted
            && vitals.is_on_record
            && vitals.health.as_ref().is_some_and(|before| Admission::of(before) == Admission::of(health))
    }

    pub(super) fn note_probe(&self, result: &Result<NodeHealth>) {
        let mut vitals = self.vitals();
        let (health_before, identity_before, shown_before) = (vitals.health(), vitals.identity.clone(), shown(&vitals));
        let was_seen = vitals.health.is_some() || vitals.probe_failed;
        match result {
            Ok(health) => {
                self.node().admitted(health.disk);
                vitals.identity = Identity::Admitted;
                vitals.silent_since = None;
                vitals.health = Some(health.clone());
                (vitals.probe_failed, vitals.suspect, vitals.full, vitals.error) = (false, false, false, None);
                self.restart_free_bytes();
            }
            Err(error) => {
                if error.kind == ErrorKind::Denied {
                    vitals.identity = Identity::Refused(error.message.clone());
                }
                vitals.silent_since.get_or_insert_with(Instant::now);
                vitals.probe_failed = true;
                vitals.error = Some(error.message.clone());
            }
        }
        let (health, identity) = (vitals.health(), vitals.identity.clone());
        let changed = identity != identity_before || shown(&vitals) != shown_before;
        drop(vitals);
        if changed {
            self.raise_changes();
        }
        // A change is told once, not at every probe.
        if identity != identity_before
            && let Identity::Refused(reason) = &identity
        {
            tracing::warn!(target: "degradation", node = self.label(), url = self.url(), error = reason, "node refused");
        } else if health_before != Health::Down && health == Health::Down || !was_seen && result.is_err() {
            let error = result.as_ref().err().map(|error| error.message.as_str());
            tracing::warn!(target: "degradation", node = self.label(), url = self.url(), error, "node is down");
        } else if was_seen && health_before == Health::Down && health != Health::Down {
            self.tell_up();
        }
    }
}

/// What candidates show of a node and a probe can change.
fn shown(vitals: &Vitals) -> (Health, bool, Option<(u64, String)>) {
    let room_and_zone = vitals.health.as_ref().map(|health| (health.free_bytes, health.zone.clone()));
    (vitals.health(), vitals.accepts_writes(), room_and_zone)
}

fn log_probe(member: &Member, result: &Result<NodeHealth>, took: Duration) {
    let (node, url, circuit) = (member.label(), member.url(), member.circuit().to_string());
    let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    match result {
        Ok(health) => {
            let (free_bytes, used_bytes) = (health.free_bytes, health.used_bytes);
            let status = format!("{:?}", health.status);
            tracing::info!(node, url, circuit, status, free_bytes, used_bytes, took_us, "health check passed");
        }
        Err(error) => tracing::info!(node, url, circuit, error = error.message, took_us, "health check failed"),
    }
}
