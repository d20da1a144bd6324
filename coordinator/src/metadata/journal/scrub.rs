//! Reads the log here, and what a node keeps of it, so that rot is found before it is needed: by a restore, or a node that catches up.
//!
//! What it keeps true: a node whose journal is rotten is sent everything anew, and only while every other node has every group: there are
//! never two that begin anew at once. What the log itself has lost a snapshot does without.

use super::lane::{self, LaneState};
use super::{Journal, JournalMember, Phase};
use crate::metadata::{LogScrubbed, names};
use protocol::{Error, ErrorKind, JOURNAL_READ_BYTES_MAX, JournalEntry, JournalMark, NodeId, Result};
use std::sync::Arc;

/// A node that lacks so many groups is catching up, and does not only lag behind the fastest.
const CATCHING_UP: u64 = 1_000;

/// A node's journal, as far as its lane knows of it.
struct Kept {
    member: JournalMember,
    /// It holds everything up to this group.
    through: u64,
}

impl Journal {
    /// Reads a stretch from group `from` on, of what `node` keeps, or of the log here. `Unavailable` if that cannot be read now, or if another
    /// node has to catch up before this one may begin anew.
    pub async fn scrub(self: &Arc<Journal>, node: Option<&NodeId>, from: u64) -> Result<LogScrubbed> {
        let (end, whole_from) = self.extent()?;
        let from = from.max(whole_from);
        let read = match node {
            // The last one may be on its way to the disk.
            None if from >= end.sequence => return Ok(LogScrubbed::default()),
            None => self.source.entries(from, JOURNAL_READ_BYTES_MAX).await,
            Some(node) => {
                let Some(kept) = self.kept_by(node)? else { return Ok(LogScrubbed::default()) };
                if from > kept.through {
                    return Ok(LogScrubbed::default());
                }
                lane::node(&kept.member)?.journal_read(from, JOURNAL_READ_BYTES_MAX).await
            }
        };
        let entries = match read {
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Corrupt) => Vec::new(),
            read => read?,
        };
        if entries.first().is_some_and(|first| first.mark.sequence == from) {
            metrics::counter!(names::LOG_SCRUBBED_GROUPS_TOTAL).increment(entries.len() as u64);
            return Ok(read_well(&entries));
        }
        let whole_from = self.extent()?.1;
        if from < whole_from {
            // Cut down meanwhile.
            return Ok(LogScrubbed { next: Some(whole_from), ..LogScrubbed::default() });
        }
        match node {
            None => self.source.want_snapshot(),
            Some(node) => self.begin_anew(node)?,
        }
        let place = node.map_or("the coordinator's log", NodeId::as_str);
        tracing::warn!(target: "degradation", place, group = from, "scrub found damage in the catalog's journal");
        metrics::counter!(names::LOG_DAMAGED_TOTAL).increment(1);
        Ok(LogScrubbed { damaged: 1, ..LogScrubbed::default() })
    }

    /// Where the log ends, and from where on its records give the whole state.
    fn extent(&self) -> Result<(JournalMark, u64)> {
        let core = self.core();
        match &core.phase {
            Phase::Claimed(_) => Ok((core.end, core.whole_from)),
            _ => Err(Error::unavailable("catalog journal: the epoch is not held")),
        }
    }

    /// What a node keeps; `None` if it keeps nothing. `Unavailable` while it takes no groups.
    fn kept_by(&self, node: &NodeId) -> Result<Option<Kept>> {
        let core = self.core();
        let Some((url, lane)) = core.lanes.iter().find(|(_, lane)| lane.node.as_ref() == Some(node)) else {
            return Ok(None);
        };
        if let Some(trouble) = &lane.trouble {
            return Err(Error::unavailable(format!("its catalog journal takes no groups: {}", trouble.message)));
        }
        let member = JournalMember { url: Arc::clone(url), node: Arc::clone(&lane.keeper) };
        Ok(Some(Kept { member, through: lane.through.min(core.end.sequence) }))
    }

    /// Has a node sent everything anew, from the last whole snapshot on.
    fn begin_anew(&self, node: &NodeId) -> Result<()> {
        let mut core = self.core();
        let end = core.end.sequence;
        let is_behind = |lane: &LaneState| {
            lane.trouble.is_some() || lane.is_rotten || lane.through.saturating_add(CATCHING_UP) < end
        };
        if core.lanes.values().any(|lane| lane.node.as_ref() != Some(node) && is_behind(lane)) {
            let why = "its catalog journal is damaged; it is sent anew once every other node has caught up";
            return Err(Error::unavailable(why));
        }
        for lane in core.lanes.values_mut().filter(|lane| lane.node.as_ref() == Some(node)) {
            (lane.through, lane.is_rotten) = (0, true);
            lane.wake.notify_one();
        }
        Ok(())
    }
}

fn read_well(entries: &[JournalEntry]) -> LogScrubbed {
    LogScrubbed {
        groups: entries.len() as u64,
        bytes: entries.iter().map(|entry| entry.frame().len() as u64).sum(),
        damaged: 0,
        next: entries.last().map(|last| last.mark.sequence + 1),
    }
}
