//! Reads the log here, and what a node keeps of it, so that rot is found before it is needed: by a restore, or a node that catches up.
//!
//! What it keeps true:
//! - A node whose journal is rotten begins anew only while others make a quorum without it, which hold every group that was acknowledged; and
//!   one at a time ([`Core::may_begin_anew`]). Until then it is relied on for what it can give.
//! - What the log itself has lost a snapshot does without.
//! - Whoever reads on comes to an end: with the group that was the last when he began.
//! - A node that takes no groups is read as well; but whether it has what it had is known when it takes some again.
//!
//! [`Core::may_begin_anew`]: super::core::Core::may_begin_anew

use super::lane;
use super::{Journal, JournalMember, Phase};
use crate::metadata::{LogScrubbed, LogStretch, names};
use protocol::{Error, ErrorKind, JOURNAL_READ_BYTES_MAX, JournalEntry, NodeId, Result};
use std::sync::Arc;

impl Journal {
    /// Reads the beginning of a stretch of what `node` keeps, or of the log here. `Unavailable` if that cannot be read now.
    pub async fn scrub(self: &Arc<Journal>, node: Option<&NodeId>, groups: LogStretch) -> Result<LogScrubbed> {
        let Some(groups) = self.kept(node, groups)? else { return Ok(LogScrubbed::default()) };
        let from = groups.from;
        let entries = match node {
            None => self.source.entries(from, JOURNAL_READ_BYTES_MAX).await.unwrap_or_default(),
            Some(node) => {
                let Some(member) = self.member(node) else { return Ok(LogScrubbed::default()) };
                read_of(&member, from).await?
            }
        };
        if entries.first().is_some_and(|first| first.mark.sequence == from) {
            metrics::counter!(names::LOG_SCRUBBED_GROUPS_TOTAL).increment(entries.len() as u64);
            return Ok(read_well(&entries, groups));
        }
        // It may have been cut down meanwhile, or the disk replaced.
        match self.kept(node, groups)? {
            None => return Ok(LogScrubbed::default()),
            Some(now) if now.from > from => return Ok(LogScrubbed { next: Some(now), ..LogScrubbed::default() }),
            Some(_) => {}
        }
        match node {
            None => self.source.want_snapshot(),
            Some(node) if !self.core().note_rot(node, from) => return Ok(LogScrubbed::default()),
            Some(_) => {}
        }
        let place = node.map_or("the coordinator's log", NodeId::as_str);
        tracing::warn!(target: "degradation", place, group = from, "scrub found damage in the catalog's journal");
        metrics::counter!(names::LOG_DAMAGED_TOTAL).increment(1);
        Ok(LogScrubbed { damaged: 1, ..LogScrubbed::default() })
    }

    /// What of these groups is there; `None` if nothing is.
    fn kept(&self, node: Option<&NodeId>, groups: LogStretch) -> Result<Option<LogStretch>> {
        let core = self.core();
        let Phase::Claimed(_) = &core.phase else {
            return Err(Error::unavailable("catalog journal: the epoch is not held"));
        };
        let last = match node {
            // The last one may be on its way to the disk.
            None => core.end.sequence.saturating_sub(1),
            Some(node) => {
                let lane = core.lanes.values().find(|lane| lane.node.as_ref() == Some(node));
                lane.map_or(0, |lane| lane.through.min(core.end.sequence))
            }
        };
        let (from, through) = (groups.from.max(core.whole_from), groups.through.min(last));
        Ok((from <= through).then_some(LogStretch { from, through }))
    }

    fn member(&self, node: &NodeId) -> Option<JournalMember> {
        let core = self.core();
        let (url, lane) = core.lanes.iter().find(|(_, lane)| lane.node.as_ref() == Some(node))?;
        Some(JournalMember { url: Arc::clone(url), node: Arc::clone(&lane.keeper) })
    }
}

/// What a node gives from a group on; nothing where it has that group no more. What was damaged on its way is asked for again.
async fn read_of(member: &JournalMember, from: u64) -> Result<Vec<JournalEntry>> {
    let is_lost = |error: &Error| matches!(error.kind, ErrorKind::NotFound | ErrorKind::Corrupt);
    let node = lane::node(member)?;
    match node.journal_read(from, JOURNAL_READ_BYTES_MAX).await {
        Err(error) if is_lost(&error) => match node.journal_read(from, JOURNAL_READ_BYTES_MAX).await {
            Err(error) if is_lost(&error) => Ok(Vec::new()),
            read => read,
        },
        read => read,
    }
}

/// What was read of these groups.
fn read_well(entries: &[JournalEntry], groups: LogStretch) -> LogScrubbed {
    let last = entries.last().map_or(groups.through, |last| last.mark.sequence);
    LogScrubbed {
        groups: entries.len() as u64,
        bytes: entries.iter().map(|entry| entry.frame().len() as u64).sum(),
        damaged: 0,
        next: (last < groups.through).then_some(LogStretch { from: last + 1, ..groups }),
    }
}
