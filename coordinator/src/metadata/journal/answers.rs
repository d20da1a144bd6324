//! What the nodes say when they are asked for their journals.
//!
//! What it keeps true: a node counts once, also where it has two addresses.

use super::JournalMember;
use super::lane::node;
use protocol::{JournalClaim, JournalState, Result};

/// Those that answered, and why the others are missing.
pub(super) type Answers<'a> = (Vec<(&'a JournalMember, JournalState)>, Vec<String>);

/// What a node holds, and whom it obeys.
pub(super) async fn ask(member: &JournalMember) -> Result<JournalState> {
    node(member)?.journal_state().await
}

/// Makes a node obey a claim.
pub(super) async fn claim_at(member: &JournalMember, claim: JournalClaim) -> Result<JournalState> {
    node(member)?.journal_claim(claim).await
}

/// Each node once, and why the others are missing.
pub(super) fn sort(answers: Vec<(&JournalMember, Result<JournalState>)>) -> Answers<'_> {
    let (mut good, mut silent): Answers<'_> = (Vec::new(), Vec::new());
    for (member, answer) in answers {
        match answer {
            Ok(state) if good.iter().any(|(_, other)| other.node == state.node) => {
                silent.push(format!("{} is {} once more", member.url, state.node));
            }
            Ok(state) => good.push((member, state)),
            Err(error) => silent.push(error.message),
        }
    }
    (good, silent)
}
