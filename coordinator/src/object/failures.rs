//! What the failure of one node, and of two, does to a chunk and to writes: pure, so that what `explain` says can be tested.
//!
//! What it keeps true: only the smallest sets are named: a pair is left out where one of the two does it alone.

use serde::Serialize;
use std::collections::BTreeSet;

use protocol::NodeId;

/// The most sets named of a kind; a code with many shards has many pairs.
pub const SETS_SHOWN_MAX: usize = 32;

/// What failures do to a chunk, in sets of nodes that must fail together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Failures {
    /// Sets whose end, for ever, is the end of the chunk.
    pub lost_by: Vec<Vec<NodeId>>,
    /// Sets that, while they are away, keep the chunk from being read; its bytes are still there.
    pub blocked_by: Vec<Vec<NodeId>>,
    /// Whether there are more such sets than are named.
    pub more: bool,
}

impl Failures {
    /// What the failure of `failing` nodes at once, 1 or 2, does to a chunk of which `needed` shards must be read, whose shards
    /// lie on `holders`, of which `answering` answer.
    pub fn of(failing: usize, holders: &[NodeId], answering: &BTreeSet<NodeId>, needed: usize) -> Failures {
        let mut failures = Failures::default();
        let up = holders.iter().filter(|node| answering.contains(*node)).count();
        for set in sets(failing, holders) {
            let up_in_it = set.iter().filter(|node| answering.contains(*node)).count();
            let lost = holders.len() - set.len() < needed && holders.len() - (set.len() - 1) >= needed;
            let blocked =
                up >= needed && up - up_in_it < needed && up_in_it == set.len() && up - (up_in_it - 1) >= needed;
            let list = match (lost, blocked) {
                (true, _) => &mut failures.lost_by,
                (false, true) => &mut failures.blocked_by,
                (false, false) => continue,
            };
            if list.len() == SETS_SHOWN_MAX {
                failures.more = true;
                continue;
            }
            list.push(set);
        }
        failures
    }
}

fn sets(size: usize, nodes: &[NodeId]) -> Vec<Vec<NodeId>> {
    match size {
        1 => nodes.iter().map(|node| vec![node.clone()]).collect(),
        _ => {
            let pairs_with = |(at, one): (usize, &NodeId)| -> Vec<Vec<NodeId>> {
                nodes[at + 1..].iter().map(|other| vec![one.clone(), other.clone()]).collect()
            };
            nodes.iter().enumerate().flat_map(pairs_with).collect()
        }
    }
}

/// Whether writes are accepted now, and after the worst one or two further failures (law 1, decision 0004).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WriteOutlook {
    /// Registered nodes.
    pub nodes: usize,
    /// Those that answer.
    pub answering: usize,
    /// Those of them that take writes.
    pub accepting: usize,
    /// Whether writes are accepted now.
    pub now: bool,
    /// Whether they are after any one more node fails.
    pub after_one_failure: bool,
    /// Whether they are after any two more nodes fail.
    pub after_two_failures: bool,
}

impl WriteOutlook {
    /// The outlook of a cluster where a write needs `quorum` nodes that take it, and more than half of all to answer.
    pub fn of(nodes: usize, answering: usize, accepting: usize, quorum: usize) -> WriteOutlook {
        let writable =
            |failed: usize| 2 * answering.saturating_sub(failed) > nodes && accepting.saturating_sub(failed) >= quorum;
        WriteOutlook {
            nodes,
            answering,
            accepting,
            now: writable(0),
            after_one_failure: writable(1),
            after_two_failures: writable(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &[&str]) -> Vec<NodeId> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn up(names: &[&str]) -> BTreeSet<NodeId> {
        nodes(names).into_iter().collect()
    }

    #[test]
    fn three_copies_survive_any_two() {
        let holders = nodes(&["a", "b", "c"]);
        for failing in [1, 2] {
            assert_eq!(Failures::of(failing, &holders, &up(&["a", "b", "c"]), 1), Failures::default());
        }
    }

    #[test]
    fn two_copies_are_lost_by_that_pair() {
        let holders = nodes(&["a", "b"]);
        assert_eq!(Failures::of(1, &holders, &up(&["a", "b"]), 1), Failures::default());
        let two = Failures::of(2, &holders, &up(&["a", "b"]), 1);
        assert_eq!((two.lost_by, two.blocked_by), (vec![nodes(&["a", "b"])], vec![]));
    }

    #[test]
    fn with_two_of_three_copies_away_the_last_blocks_and_loses_nothing() {
        let holders = nodes(&["a", "b", "c"]);
        let one = Failures::of(1, &holders, &up(&["c"]), 1);
        assert_eq!((one.lost_by, one.blocked_by), (vec![], vec![nodes(&["c"])]));
        let two = Failures::of(2, &holders, &up(&["c"]), 1);
        assert_eq!(two, Failures::default(), "c does it alone, so no pair is named");
        let two = Failures::of(2, &holders, &up(&["b", "c"]), 1);
        assert_eq!(two.blocked_by, [nodes(&["b", "c"])]);
    }

    #[test]
    fn a_wide_code_names_its_pairs_within_a_bound() {
        let names: Vec<String> = (0..14).map(|n| format!("n{n}")).collect();
        let holders: Vec<NodeId> = names.iter().map(|name| name.parse().unwrap()).collect();
        let answering = holders.iter().cloned().collect();
        let two = Failures::of(2, &holders, &answering, 13);
        assert_eq!((two.lost_by.len(), two.more), (SETS_SHOWN_MAX, true));
        assert_eq!(Failures::of(1, &holders, &answering, 13), Failures::default());
    }

    #[test]
    fn writes_need_a_quorum_and_a_majority() {
        let four = WriteOutlook::of(4, 4, 4, 2);
        assert_eq!((four.now, four.after_one_failure, four.after_two_failures), (true, true, false));
        let full = WriteOutlook::of(4, 4, 2, 2);
        assert_eq!((full.now, full.after_one_failure), (true, false));
        assert!(!WriteOutlook::of(4, 2, 2, 2).now);
        assert!(!WriteOutlook::of(0, 0, 0, 2).now);
    }
}
