//! Who is a member: the nodes named by flags, those that the catalog knows, and those that join while the process runs.
//!
//! What it keeps true:
//! - One name is one member. A second URL that claims a name is refused while the first one answers to it, and followed when it does
//!   not: nodes move, disks do not ([`super::KnownNodes::admit`] looks at the disk).
//! - A node is a member only after it was admitted, or while the catalog or a flag names it (I21). While the catalog knows none, one that
//!   shows the cluster's id is a member before; it is used only after it was admitted, as every member.
//! - [`Nodes::members`] costs a lock and a reference count.

use super::probe::PROBE_TIMEOUT;
use super::{Known, Member, MemberConfig, Nodes};
use crate::metadata::records::NodeRecord;
use crate::placement::{Health, WEIGHT_PERCENT_DEFAULT};
use protocol::{Error, ErrorKind, Node, NodeHealth, NodeId, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// The most nodes of a cluster: one page of the catalog holds all their records.
pub const NODES_MAX: usize = 1_024;
/// How often [`Nodes::follow_records`] reads them.
const RECORDS_READ_EVERY: Duration = Duration::from_secs(2);

/// Makes the way to the node at a URL. `Invalid` if that is no base URL.
pub type Connect = Box<dyn Fn(&str) -> Result<Arc<dyn Node>> + Send + Sync>;

impl Nodes {
    /// Says how nodes that are not known yet are reached; without it there are only those that were given.
    pub fn connecting(mut self, connect: Connect) -> Nodes {
        self.connect = Some(connect);
        self
    }

    /// All members, in the order in which they came.
    pub fn members(&self) -> Arc<Vec<Arc<Member>>> {
        Arc::clone(&self.members.read().expect("no one panics while changing the members"))
    }

    /// Takes in the node at `url`, or looks again at the one that is known there; what it said. `Unavailable` if it does not answer,
    /// `Denied` if it is not who it should be, or its name is another's.
    pub async fn join(&self, url: &str) -> Result<NodeHealth> {
        let _one_at_a_time = self.joining.lock().await;
        let members = self.members();
        let known = members.iter().find(|member| member.url() == url);
        let refused = match known {
            Some(member) => match self.probe(member).await {
                Err(error) if error.kind == ErrorKind::Denied => Some(error),
                answer => return answer,
            },
            None => None,
        };
        let member = self.newcomer(url, None)?;
        let health = match timeout(PROBE_TIMEOUT, member.node().health()).await {
            Ok(answer) => answer?,
            Err(_) => {
                let within_ms = PROBE_TIMEOUT.as_millis();
                return Err(Error::unavailable(format!("{url} did not answer within {within_ms} ms")));
            }
        };
        // Another node moved to where a known one was; that one will say where it is now.
        let is_another = known.and_then(|known| known.id()).is_some_and(|name| *name != health.node);
        if let Some(error) = refused.filter(|_| !is_another) {
            return Err(error);
        }
        if members.len() >= NODES_MAX && !members.iter().any(|member| member.id() == Some(&health.node)) {
            return Err(Error::denied(format!("a cluster has at most {NODES_MAX} nodes")));
        }
        let admitted = self.admit(&member, &health).await;
        if admitted.as_ref().is_err_and(|error| error.kind == ErrorKind::Unavailable) && self.is_newborn() {
            // The record that admits a cluster's first nodes is kept by them: they are members before it (`super::journal`).
            self.add_member(member);
        } else if admitted.is_ok() {
            member.note_probe(&Ok(health.clone()));
        }
        admitted.map(|()| health)
    }

    /// Asks a node how it is, now. `NotFound` if there is none of that name.
    pub async fn ask(&self, id: &NodeId) -> Result<NodeHealth> {
        let member = self.member(id).ok_or_else(|| Error::not_found(format!("there is no node '{id}'")))?;
        self.probe(&member).await
    }

    /// Brings members, states and weights in line with what the catalog says: a node that is recorded is a member, one whose record
    /// is gone is none, and one that moved while nobody could reach it is where its record says.
    pub(super) fn note_records(&self, records: &[NodeRecord]) {
        let now: BTreeMap<NodeId, Known> =
            records.iter().map(|record| (record.node.clone(), Known::of(record))).collect();
        let before = {
            let mut known = self.records.write().expect("no one panics while noting records");
            if *known != now {
                self.changes.fetch_add(1, Ordering::Release);
            }
            std::mem::replace(&mut *known, now.clone())
        };
        for gone in before.keys().filter(|id| !now.contains_key(*id)) {
            self.drop_member(gone);
        }
        for record in records {
            self.note_place(record);
        }
    }

    /// What the catalog says of every node.
    pub async fn records(&self) -> Result<Vec<NodeRecord>> {
        self.known.recorded().await
    }

    /// Reads the catalog's records and notes them; one after the other, since what was read earlier and noted later would take members
    /// away that came in between.
    pub async fn refresh(&self) -> Result<()> {
        let _one_at_a_time = self.refreshing.lock().await;
        let records = self.records().await?;
        self.note_records(&records);
        Ok(())
    }

    /// Refreshes again and again, until it is dropped: other processes change the records, too.
    pub async fn follow_records(&self) {
        let mut reads = interval(RECORDS_READ_EVERY);
        reads.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            reads.tick().await;
            if let Err(error) = self.refresh().await {
                tracing::debug!(%error, "the records of nodes could not be read");
            }
        }
    }

    /// A node that was taken out of the catalog is no member any more.
    pub fn forget(&self, id: &NodeId) {
        self.records.write().expect("no one panics while noting records").remove(id);
        self.drop_member(id);
    }

    /// The member that has this name, whether or not it answers.
    pub(super) fn namesake(&self, member: &Member, name: &NodeId) -> Option<Arc<Member>> {
        let members = self.members();
        let namesake = |other: &&Arc<Member>| other.id() == Some(name) && !std::ptr::eq(other.as_ref(), member);
        members.iter().find(namesake).cloned()
    }

    /// Gives `member` its name, and the place of `gone`, which had it. `Denied` if another has got it meanwhile.
    pub(super) fn settle(&self, member: &Arc<Member>, name: &NodeId, gone: Option<&Arc<Member>>) -> Result<()> {
        let mut members = self.members.write().expect("no one panics while changing the members");
        let place = |wanted: &Arc<Member>| members.iter().position(|other| Arc::ptr_eq(other, wanted));
        let namesake = members.iter().position(|other| other.id() == Some(name) && !Arc::ptr_eq(other, member));
        if let Some(at) = namesake
            && !gone.is_some_and(|gone| Arc::ptr_eq(gone, &members[at]))
            && members[at].has_answered()
        {
            let (url, other) = (member.url(), members[at].url());
            return Err(Error::denied(format!("{url} says it is {name}, but that is {other}")));
        }
        member.set_id(name);
        let (present, mut now) = (place(member), members.as_ref().clone());
        match (present, namesake) {
            (Some(_), None) => return Ok(()),
            (Some(_), Some(at)) => drop(now.remove(at)),
            (None, Some(at)) => now[at] = Arc::clone(member),
            (None, None) => now.push(Arc::clone(member)),
        }
        if let Some(at) = namesake {
            let (from, to) = (members[at].url(), member.url());
            if from != to {
                tracing::warn!(target: "degradation", node = %name, from, to, "node is at another address now");
            }
        }
        *members = Arc::new(now);
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn note_place(&self, record: &NodeRecord) {
        let mut members = self.members.write().expect("no one panics while changing the members");
        let at = members.iter().position(|member| member.id() == Some(&record.node));
        let unnamed = |member: &Arc<Member>| member.id().is_none() && member.url() == record.url;
        let settled = match at {
            Some(at) => members[at].url() == record.url || members[at].vitals().health() != Health::Down,
            // The one at that address will say who it is.
            None => members.iter().any(unnamed),
        };
        if settled || self.connect.is_none() {
            return;
        }
        let member = match self.newcomer(&record.url, Some(record.node.clone())) {
            Ok(member) => member,
            Err(error) => {
                tracing::debug!(node = %record.node, %error, "a recorded address cannot be used");
                return;
            }
        };
        let mut now = members.as_ref().clone();
        match at {
            Some(at) => now[at] = member,
            None => now.push(member),
        }
        *members = Arc::new(now);
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Whether the catalog knows no node yet.
    fn is_newborn(&self) -> bool {
        self.records.read().expect("no one panics while noting records").is_empty()
    }

    fn add_member(&self, member: Arc<Member>) {
        let mut members = self.members.write().expect("no one panics while changing the members");
        let mut now = members.as_ref().clone();
        now.push(member);
        *members = Arc::new(now);
        self.changes.fetch_add(1, Ordering::Release);
    }

    fn newcomer(&self, url: &str, id: Option<NodeId>) -> Result<Arc<Member>> {
        let connect = self.connect.as_ref().ok_or_else(|| Error::invalid("this process takes no further nodes"))?;
        let config = MemberConfig { url: url.to_owned(), id, weight_percent: WEIGHT_PERCENT_DEFAULT };
        Ok(Arc::new(Member::new(config, connect(url)?, Arc::clone(&self.changes))))
    }

    fn drop_member(&self, id: &NodeId) {
        let mut members = self.members.write().expect("no one panics while changing the members");
        let now: Vec<Arc<Member>> = members.iter().filter(|member| member.id() != Some(id)).cloned().collect();
        if now.len() < members.len() {
            *members = Arc::new(now);
            self.changes.fetch_add(1, Ordering::Release);
        }
    }
}
