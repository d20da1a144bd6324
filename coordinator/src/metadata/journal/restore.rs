//! Reads the catalog's log back from the nodes, for a directory that is to take the place of a lost one.
//!
//! In order:
//! 1. Every node is asked what it holds, and whoever asks looks whether those that answered are enough.
//! 2. The next epoch is claimed at all that answered, so that no coordinator writes any more. A restore that finds too little comes to
//!    no claim, and leaves the coordinator that there is alone. One that fails after the claim, on a full disk say, has ended that one; it
//!    is run again.
//! 3. The journal with the greatest mark is the newest: with all but one of the nodes it ends with, or behind, the last group that was
//!    acknowledged (`quorum`).
//! 4. Its groups are read from where they give the whole catalog. One that is damaged there is taken from another node, if it is the one
//!    that the next group names as the one before it.
//!
//! What it keeps true: what is given to the caller is one line of groups without gaps, or an error that says what is missing.

use super::JournalMember;
use super::answers::{ask, claim_at, sort};
use super::lane::node;
use futures_util::future::join_all;
use protocol::{
    Clock, Error, JOURNAL_READ_BYTES_MAX, JournalClaim, JournalEntry, JournalMark, JournalState, NodeId, Result,
};
use std::collections::BTreeMap;

/// What the nodes said.
#[derive(Clone)]
pub struct Survey {
    /// The highest claim that any of them obeys.
    pub claim: JournalClaim,
    /// Those that answered, the newest first.
    pub answers: Vec<(JournalMember, JournalState)>,
    /// Those that did not, and why.
    pub silent: Vec<String>,
}

impl Survey {
    /// The last group that any of them holds.
    pub fn newest(&self) -> JournalMark {
        self.answers.first().map_or_else(JournalMark::default, |(_, state)| state.last)
    }
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadBack {
    /// The last group.
    pub last: JournalMark,
    /// The first one read.
    pub first: u64,
    /// How many groups each node gave.
    pub given: BTreeMap<NodeId, u64>,
    /// Bytes of them all.
    pub bytes: u64,
}

/// Step 1. `NotFound` if no node that answers holds a group.
pub async fn survey(members: &[JournalMember]) -> Result<Survey> {
    let asked = members.iter().map(|member| async move { (member, ask(member).await) });
    let (answers, silent) = sort(join_all(asked).await);
    let highest = answers.iter().map(|(_, state)| state.claim).max_by_key(|claim| claim.epoch);
    match highest.filter(|_| answers.iter().any(|(_, state)| state.last.sequence > 0)) {
        Some(claim) => Ok(newest_first(claim, answers, silent)),
        None => {
            let (asked, silent) = (members.len(), silent.join("; "));
            Err(Error::not_found(format!("none of {asked} nodes holds a catalog journal of this cluster: {silent}")))
        }
    }
}

/// Step 2: what those that answered hold now that they obey the next epoch. It may be more than they said before.
pub async fn claim(survey: &Survey, clock: &dyn Clock) -> Survey {
    let claim = JournalClaim { epoch: survey.claim.epoch + 1, holder: clock.fresh_id() };
    let claimed = survey.answers.iter().map(|(member, _)| async move { (member, claim_at(member, claim).await) });
    let (answers, failed) = sort(join_all(claimed).await);
    newest_first(claim, answers, survey.silent.iter().cloned().chain(failed).collect())
}

fn newest_first(claim: JournalClaim, answers: Vec<(&JournalMember, JournalState)>, silent: Vec<String>) -> Survey {
    let mut answers: Vec<_> = answers.into_iter().map(|(member, state)| (member.clone(), state)).collect();
    answers.sort_by_key(|(_, answer)| std::cmp::Reverse(answer.last));
    Survey { claim, answers, silent }
}

/// Steps 3 and 4: gives the groups to `take`, in order.
pub async fn read_back(survey: &Survey, take: &mut dyn FnMut(&[JournalEntry]) -> Result<()>) -> Result<ReadBack> {
    let Some((_, newest)) = survey.answers.first() else {
        return Err(Error::not_found("no node answered"));
    };
    let first = newest.whole_from.max(1);
    let mut read = ReadBack { first, ..ReadBack::default() };
    let mut next = first;
    while next <= newest.last.sequence {
        let (from, mut entries) = page(survey, next, (next > first).then_some(read.last.epoch)).await?;
        // Whoever still writes has come further since it was looked at.
        entries.retain(|entry| entry.mark.sequence <= newest.last.sequence);
        let Some(last) = entries.last() else { break };
        read.last = last.mark;
        next = last.mark.sequence + 1;
        read.bytes += entries.iter().map(|entry| entry.frame().len() as u64).sum::<u64>();
        *read.given.entry(from).or_default() += entries.len() as u64;
        take(&entries)?;
    }
    if read.last != newest.last {
        let (found, wanted) = (read.last, newest.last);
        return Err(Error::corrupt(format!("the groups read end with {found}, not with {wanted}")));
    }
    Ok(read)
}

/// Groups from `next` on that follow one of epoch `previous`; from the newest journal, or, where that lacks it, one from another.
async fn page(survey: &Survey, next: u64, previous: Option<u64>) -> Result<(NodeId, Vec<JournalEntry>)> {
    let mut troubles = Vec::new();
    let mut wanted = None;
    for (number, (member, state)) in survey.answers.iter().enumerate() {
        let found = match node(member)?.journal_read(next, JOURNAL_READ_BYTES_MAX).await {
            Ok(entries) => in_line(entries, next, previous),
            Err(error) => {
                troubles.push(error.message);
                Vec::new()
            }
        };
        if number == 0 && found.is_empty() {
            let behind = node(member)?.journal_read(next + 1, 1).await.unwrap_or_default();
            wanted = behind.first().map(|entry| entry.previous);
        }
        let fits = |entry: &JournalEntry| wanted.is_none_or(|epoch| entry.mark.epoch == epoch);
        let count = if number == 0 { found.len() } else { usize::from(found.first().is_some_and(fits)) };
        if count > 0 {
            return Ok((state.node.clone(), found[..count].to_vec()));
        }
    }
    let why = troubles.join("; ");
    Err(Error::corrupt(format!("group {next} is whole on none of the nodes that answer; {why}")))
}

/// The entries as far as each follows the one before it.
fn in_line(mut entries: Vec<JournalEntry>, next: u64, previous: Option<u64>) -> Vec<JournalEntry> {
    let (mut next, mut previous) = (next, previous);
    let follows = |entry: &JournalEntry| {
        let fits = entry.mark.sequence == next && previous.is_none_or(|previous| entry.previous == previous);
        (next, previous) = (next + 1, Some(entry.mark.epoch));
        fits
    };
    let count = entries.iter().map(follows).take_while(|fits| *fits).count();
    entries.truncate(count);
    entries
}
