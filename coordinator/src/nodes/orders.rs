//! What an operator may order of a node, written into its record: empty it, keep it after all, take it out, give it more or less.
//!
//! What it keeps true:
//! - Every order is one commit that checks the records it was decided by, so two orders at the same time cannot leave fewer nodes than
//!   a chunk needs.
//! - A node is taken out only when it is empty or lost, does not answer, and no chunk names it any more (law 4).
//! - Nothing is moved here: the records say what is wanted, and workers do it.

use super::Nodes;
use super::registry::{CENSUS, REBALANCE, Registry};
use crate::code::Code;
use crate::metadata::records::{ChunkRecord, NodeRecord, NodeState, Record, WantedRecord};
use crate::metadata::{Batch, Entry, Expect, SCAN_ENTRIES_MAX, keys};
use protocol::{Error, ErrorKind, NodeId, Result};

/// The highest weight, in percent of an ordinary node.
pub const WEIGHT_PERCENT_MAX: u32 = 1_000;
/// How often an order is tried again when a record changed meanwhile.
const ATTEMPTS_MAX: usize = 4;
/// Records of one commit.
const DELETES_MAX: usize = 512;

/// A node's record as it was read.
struct Read {
    record: NodeRecord,
    entry: Entry,
}

impl Registry {
    /// The record of a node. `NotFound` if there is none.
    pub async fn record(&self, node: &NodeId) -> Result<NodeRecord> {
        Ok(self.read(node).await?.record)
    }

    /// Has a node emptied. `Conflict` if fewer nodes would stay than a chunk of `code` has shards. A lost node is emptied when it
    /// comes back.
    pub async fn decommission(&self, node: &NodeId, code: Code) -> Result<NodeRecord> {
        for _ in 0..ATTEMPTS_MAX {
            let read = self.read(node).await?;
            let state = match read.record.state {
                NodeState::Active => NodeState::Draining,
                NodeState::Lost if !read.record.decommissioned => NodeState::Lost,
                NodeState::Draining | NodeState::Drained | NodeState::Lost => return Ok(read.record),
            };
            let mut commit = Batch::new();
            if state == NodeState::Draining {
                self.check_who_stays(node, code, &mut commit).await?;
            }
            let now = self.in_state(&read.record, state, true);
            if self.replace(&read, &now, commit).await? {
                return Ok(now);
            }
        }
        Err(changed(node))
    }

    /// Has a node keep what it holds and get more, whatever was ordered before.
    pub async fn recommission(&self, node: &NodeId) -> Result<NodeRecord> {
        for _ in 0..ATTEMPTS_MAX {
            let read = self.read(node).await?;
            let state = match read.record.state {
                NodeState::Draining | NodeState::Drained => NodeState::Active,
                same @ (NodeState::Active | NodeState::Lost) => same,
            };
            let now = self.in_state(&read.record, state, false);
            if now == read.record || self.replace(&read, &now, Batch::new()).await? {
                return Ok(now);
            }
        }
        Err(changed(node))
    }

    /// Sets a node's part of the chunks, in percent of an ordinary node's; 0 takes it out of placement and moves what it holds.
    pub async fn weigh(&self, node: &NodeId, percent: u32) -> Result<NodeRecord> {
        if percent > WEIGHT_PERCENT_MAX {
            return Err(Error::invalid(format!("weight {percent}: must be from 0 to {WEIGHT_PERCENT_MAX}")));
        }
        for _ in 0..ATTEMPTS_MAX {
            let read = self.read(node).await?;
            let now = NodeRecord { weight: percent, ..read.record.clone() };
            let mut commit = Batch::new();
            self.want(&mut commit, REBALANCE, format!("node {node} has the weight {percent} now"));
            if now == read.record || self.replace(&read, &now, commit).await? {
                return Ok(now);
            }
        }
        Err(changed(node))
    }

    /// Takes a node out of the catalog, with what waits to be deleted on it. `Conflict` if it is needed, or answers.
    pub async fn remove(&self, nodes: &Nodes, node: &NodeId) -> Result<()> {
        let read = self.read(node).await?;
        if !matches!(read.record.state, NodeState::Drained | NodeState::Lost) {
            return Err(Error::conflict(format!(
                "node {node} is in use: decommission it, and wait until it is drained"
            )));
        }
        if nodes.ask(node).await.is_ok() {
            return Err(Error::conflict(format!("node {node} still answers: stop it first, or it joins again")));
        }
        if let Some(chunk) = self.first_chunk_on(node).await? {
            return Err(Error::conflict(format!(
                "node {node} is still named by chunk {chunk} and maybe more: they are repaired elsewhere first"
            )));
        }
        loop {
            let trash = self.metadata.scan(&keys::trash_of(node).from, &keys::trash_of(node).to, DELETES_MAX).await?;
            let last = trash.len() < DELETES_MAX;
            let mut commit = Batch::new();
            commit.check(keys::node(node), Expect::Revision(read.entry.revision)).reclaim();
            for (key, _) in trash {
                commit.delete(key);
            }
            if last {
                commit.delete(keys::node(node));
                // A write that it had acknowledged may have been committed after the look at the chunks.
                self.want(&mut commit, CENSUS, format!("node {node} was taken out"));
            }
            self.metadata.commit(commit).await.map_err(|error| match error.kind {
                ErrorKind::Conflict => changed(node),
                _ => error,
            })?;
            if last {
                break;
            }
        }
        nodes.forget(node);
        Ok(())
    }

    async fn read(&self, node: &NodeId) -> Result<Read> {
        let entry = self.metadata.get(&keys::node(node)).await?;
        let entry = entry.ok_or_else(|| Error::not_found(format!("there is no node '{node}'")))?;
        Ok(Read { record: NodeRecord::decode(&entry.value)?, entry })
    }

    fn in_state(&self, record: &NodeRecord, state: NodeState, decommissioned: bool) -> NodeRecord {
        let state_since_ms = if state == record.state { record.state_since_ms } else { self.clock.now_ms() };
        NodeRecord { state, state_since_ms, decommissioned, ..record.clone() }
    }

    /// False if the record is not any more what was read, or another check of the batch does not hold.
    async fn replace(&self, read: &Read, now: &NodeRecord, mut commit: Batch) -> Result<bool> {
        let key = keys::node(&now.node);
        commit.check(key.clone(), Expect::Revision(read.entry.revision)).put(key, now.encode());
        match self.metadata.commit(commit).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind == ErrorKind::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Refuses to leave fewer active nodes than a chunk has shards; the commit checks that those that count stay what they are.
    async fn check_who_stays(&self, leaving: &NodeId, code: Code, commit: &mut Batch) -> Result<()> {
        let mut stay = 0;
        for (key, entry) in self.metadata.scan(&keys::nodes().from, &keys::nodes().to, SCAN_ENTRIES_MAX).await? {
            let record = NodeRecord::decode(&entry.value)?;
            if record.node != *leaving && record.state == NodeState::Active && stay < code.shards() {
                commit.check(key, Expect::Revision(entry.revision));
                stay += 1;
            }
        }
        if stay < code.shards() {
            return Err(Error::conflict(format!(
                "without {leaving} only {stay} nodes would stay in use, and every chunk needs {}: add a node first",
                code.shards()
            )));
        }
        Ok(())
    }

    async fn first_chunk_on(&self, node: &NodeId) -> Result<Option<protocol::ChunkId>> {
        let range = keys::chunks();
        let mut from = range.from;
        loop {
            let entries = self.metadata.scan(&from, &range.to, SCAN_ENTRIES_MAX).await?;
            for (key, entry) in &entries {
                if ChunkRecord::decode(&entry.value)?.shards.iter().any(|place| place.node == *node) {
                    return keys::parse_chunk(key).map(Some);
                }
            }
            match entries.last() {
                Some((last, _)) if entries.len() == SCAN_ENTRIES_MAX => from = keys::after(last),
                _ => return Ok(None),
            }
        }
    }

    fn want(&self, commit: &mut Batch, worker: &str, reason: String) {
        let wanted = WantedRecord { since_ms: self.clock.now_ms(), reason };
        commit.put(keys::wanted(worker, self.clock.fresh_id()), wanted.encode());
    }
}

fn changed(node: &NodeId) -> Error {
    Error::unavailable(format!("the record of node {node} changed meanwhile; look again"))
}
