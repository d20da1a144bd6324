//! Safe mode: from its start on, a process repairs nothing and deletes nothing until every registered node has answered it once, or
//! the operator says so. Who has not answered may hold what seems to be missing, and what seems to be superfluous may be the rest
//! (faults 2.3, rows 65 and S7).

use crate::metadata::records::{NodeRecord, NodeState, Record};
use crate::metadata::{Metadata, SCAN_ENTRIES_MAX, keys};
use crate::nodes::Nodes;
use protocol::Result;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::warn;

/// Whether it lasts, and for whom it waits.
#[derive(Debug)]
pub struct SafeMode {
    over: AtomicBool,
    waits_for: Mutex<Vec<String>>,
}

impl Default for SafeMode {
    fn default() -> SafeMode {
        SafeMode { over: AtomicBool::new(false), waits_for: Mutex::new(Vec::new()) }
    }
}

impl SafeMode {
    /// Whether repair and deletes may go on.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Nodes that have not answered yet; empty when it is over.
    pub fn waits_for(&self) -> Vec<String> {
        if self.is_over() { Vec::new() } else { self.names().clone() }
    }

    /// The operator takes it upon them.
    pub fn leave(&self) {
        if !self.over.swap(true, Ordering::Relaxed) {
            warn!(target: "degradation", waits_for = ?*self.names(), "safe mode left by the operator");
        }
    }

    /// Looks whether all have answered. Nodes recorded as lost or drained need not: what they held is cared for without them.
    pub async fn check(&self, nodes: &Nodes, metadata: &dyn Metadata) -> Result<bool> {
        if self.is_over() {
            return Ok(true);
        }
        let members = nodes.members();
        let mut silent: Vec<String> =
            members.iter().filter(|member| !member.has_answered()).map(|member| member.label().to_owned()).collect();
        let range = keys::nodes();
        for (_, entry) in metadata.scan(&range.from, &range.to, SCAN_ENTRIES_MAX).await? {
            let record = NodeRecord::decode(&entry.value)?;
            let name = record.node.to_string();
            let needed = matches!(record.state, NodeState::Active | NodeState::Draining);
            let answered = nodes.member(&record.node).is_some_and(|member| member.has_answered());
            silent.retain(|silent| needed || *silent != name && *silent != record.url);
            if needed && !answered && !silent.contains(&name) && !silent.contains(&record.url) {
                silent.push(name);
            }
        }
        if silent.is_empty() {
            self.over.store(true, Ordering::Relaxed);
        }
        *self.names() = silent;
        Ok(self.is_over())
    }

    fn names(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.waits_for.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
