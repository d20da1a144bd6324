//! How a coordinator takes its place: it claims an epoch at all but one of the nodes, so that no other one writes any more.
//!
//! An attempt, in order:
//! 1. Every node is asked what it holds and whom it obeys. Too few answers: nothing has changed, try again later.
//! 2. The answers are compared with this directory. It is refused, with nothing changed, if a node obeys a claim that this directory
//!    did not make, or holds groups that it lacks: then it is an old one, or an empty one in the place of a lost one.
//! 3. The next epoch is written into the file `claim` of the directory, durably.
//! 4. It is claimed at every node. Too few: try again later, with a higher one.
//! 5. What the nodes said in 4 is compared as in 2, because groups may have come in between.
//! 6. A group that the nodes hold right behind this directory's last one is what a crash left between sending and appending. It was not
//!    acknowledged, but may be on a quorum: it is taken over.
//!
//! What it keeps true:
//! - An epoch has one holder: one start of one process. A copy of a directory that starts takes the next one, or is refused.
//! - After 4 no older coordinator can reach a write quorum (`quorum`).
//! - Nothing acknowledged is overwritten: it is met in 2 or 5, and is either in this directory or taken over; otherwise this
//!   directory is refused.

use super::answers::{ask, claim_at, sort};
use super::lane::node;
use super::quorum::Electorate;
use super::{JournalMember, LogEnd};
use futures_util::future::join_all;
use protocol::{
    Clock, Error, ErrorKind, JOURNAL_READ_BYTES_MAX, JournalClaim, JournalEntry, JournalMark, JournalState, Result,
};
use segments::durable;
use std::path::{Path, PathBuf};

/// How to go on, for messages.
pub(in crate::metadata) const RESTORE: &str =
    "run `coordinator restore-catalog --from-nodes --data NEW_DIRECTORY --node URL …` and start with that directory";

/// The epoch that a directory claimed last.
#[derive(Clone, Debug)]
pub struct ClaimFile {
    path: PathBuf,
    /// What it claimed; epoch 0 if nothing yet.
    pub claim: JournalClaim,
}

impl ClaimFile {
    /// The file `claim` in this directory, which may not be there yet.
    pub fn read(dir: &Path) -> Result<ClaimFile> {
        let path = dir.join("claim");
        let claim = match durable::read_file(&path) {
            Err(error) if error.kind == ErrorKind::NotFound => JournalClaim::default(),
            text => serde_json::from_slice(&text?)
                .map_err(|error| Error::corrupt(format!("{}: {error}; {RESTORE}", path.display())))?,
        };
        Ok(ClaimFile { path, claim })
    }

    /// Notes a claim, durably, before it is made.
    pub fn write(&mut self, claim: JournalClaim) -> Result<()> {
        durable::write_file(&self.path, &serde_json::to_vec(&claim).expect("plain fields"))?;
        self.claim = claim;
        Ok(())
    }
}

/// An epoch that is held.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The claim.
    pub claim: JournalClaim,
    /// The group behind the last one of the log, to be appended to it first.
    pub adopted: Option<JournalEntry>,
}

/// Why there is no claim.
#[derive(Debug)]
pub enum Unclaimed {
    /// Not now: too few nodes answer, or the disk does not.
    Later(String),
    /// Never with this directory.
    Refused(String),
}

/// One attempt.
pub async fn attempt(
    members: &[JournalMember],
    end: &LogEnd,
    file: &mut ClaimFile,
    clock: &dyn Clock,
) -> std::result::Result<Claimed, Unclaimed> {
    let electorate = Electorate { voters: end.voters.clone(), members: members.len() };
    let asked = members.iter().map(|member| async move { (member, ask(member).await) });
    let (answers, failures) = sort(join_all(asked).await);
    // That a directory is not the newest any one of them can say.
    newer(file.claim, end.last, &answers)?;
    enough(&electorate, end.last, &answers, &failures, "answer")?;
    let highest = answers.iter().map(|(_, state)| state.claim.epoch).max().unwrap_or(0);
    let claim = JournalClaim { epoch: file.claim.epoch.max(highest) + 1, holder: clock.fresh_id() };
    file.write(claim).map_err(|error| Unclaimed::Later(error.message))?;
    let claimed = answers.iter().map(|(member, _)| async move { (*member, claim_at(member, claim).await) });
    let (answers, failures) = sort(join_all(claimed).await);
    enough(&electorate, end.last, &answers, &failures, "obey a claim")?;
    let adopted = match newer(claim, end.last, &answers)? {
        Some((member, mark)) => {
            let entry = adopt(member, mark).await.map_err(|error| Unclaimed::Later(error.message))?;
            if entry.previous != end.last.epoch {
                let (last, previous) = (end.last, entry.previous);
                return Err(Unclaimed::Refused(format!(
                    "the nodes' {mark} follows one of epoch {previous}, and this directory ends with {last}: it is of another \
                     line; {RESTORE}"
                )));
            }
            Some(entry)
        }
        None => None,
    };
    Ok(Claimed { claim, adopted })
}

type Answers<'a> = Vec<(&'a JournalMember, JournalState)>;

/// Refuses answers that do not meet every write quorum; each node counts once.
fn enough(
    electorate: &Electorate,
    last: JournalMark,
    answers: &Answers<'_>,
    failures: &[String],
    what: &str,
) -> std::result::Result<(), Unclaimed> {
    let newest = answers.iter().map(|(_, state)| state.last).fold(last, JournalMark::max);
    let remembering = answers.iter().filter(|(_, state)| electorate.remembers(state, newest));
    let (found, needed) = (remembering.count(), electorate.read_quorum());
    if found < needed {
        let (total, failures) = (electorate.total(), failures.join("; "));
        return Err(Unclaimed::Later(format!("{found} of {total} nodes {what}, {needed} must: {failures}")));
    }
    Ok(())
}

/// The group that these nodes hold behind the last one of a directory, and who holds it; an error if the directory is not the newest.
fn newer<'a>(
    own: JournalClaim,
    last: JournalMark,
    answers: &Answers<'a>,
) -> std::result::Result<Option<(&'a JournalMember, JournalMark)>, Unclaimed> {
    if own.epoch == 0 && last == JournalMark::default() {
        if let Some((_, state)) = answers.iter().find(|(_, state)| state.last.sequence > 0) {
            let (node, found) = (&state.node, state.last);
            return Err(Unclaimed::Refused(format!(
                "this directory is empty, but node {node} keeps the journal of this cluster's catalog ({found}): {RESTORE}"
            )));
        }
        return Ok(None);
    }
    if let Some((_, state)) = answers.iter().find(|(_, state)| !own.supersedes(&state.claim)) {
        let (node, theirs) = (&state.node, state.claim);
        return Err(Unclaimed::Refused(format!(
            "node {node} obeys {theirs}, and this directory claimed {own} last: another coordinator has taken over since; use the \
             directory of that one, or {RESTORE}"
        )));
    }
    let Some((member, state)) = answers.iter().max_by_key(|(_, state)| state.last) else { return Ok(None) };
    let newest = state.last;
    if newest <= last {
        return Ok(None);
    }
    if newest.sequence == last.sequence + 1 {
        return Ok(Some((member, newest)));
    }
    Err(Unclaimed::Refused(format!(
        "node {} holds {newest}, and this directory ends with {last}: it is an old copy; {RESTORE}",
        state.node
    )))
}

async fn adopt(member: &JournalMember, mark: JournalMark) -> Result<JournalEntry> {
    let entries = node(member)?.journal_read(mark.sequence, JOURNAL_READ_BYTES_MAX).await?;
    let entry = entries.into_iter().next().filter(|entry| entry.mark == mark);
    entry.ok_or_else(|| Error::unavailable(format!("{}: does not give {mark}", member.url)))
}
