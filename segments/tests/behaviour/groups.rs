//! Group commit.

use segments::{GroupCommit, GroupLimits};
use std::process::Command;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const LIMITS: GroupLimits = GroupLimits { jobs_max: 3, bytes_max: 100, queue_max: 8, queue_bytes_max: 1_000 };

type Groups = Arc<Mutex<Vec<Vec<u32>>>>;

/// A group commit that waits for a word before it applies each group.
fn held(limits: GroupLimits) -> (GroupCommit<u32>, Groups, SyncSender<()>, Receiver<()>) {
    let groups = Groups::default();
    let seen = Arc::clone(&groups);
    let (go, wait) = sync_channel(100);
    let (begun, has_begun) = channel();
    let apply = move |group: Vec<u32>| {
        begun.send(()).unwrap_or_default();
        wait.recv_timeout(Duration::from_secs(30)).unwrap();
        seen.lock().unwrap().push(group);
    };
    (GroupCommit::start("test-groups", limits, apply).unwrap(), groups, go, has_begun)
}

#[test]
fn what_waits_is_taken_together_in_order_within_the_limits() {
    let (commit, groups, go, has_begun) = held(LIMITS);
    commit.submit(0, 1).unwrap();
    has_begun.recv().unwrap();
    for (job, bytes) in [(1, 10), (2, 10), (3, 10), (4, 60), (5, 60), (6, 500), (7, 1), (8, 1)] {
        commit.submit(job, bytes).unwrap();
    }
    assert_eq!(commit.waiting(), 8);
    assert_eq!(commit.submit(9, 1), Err(9), "a full queue gives the job back and does not wait");
    (0..10).for_each(|_| go.send(()).unwrap());
    commit.stop();
    assert_eq!(*groups.lock().unwrap(), [vec![0], vec![1, 2, 3], vec![4], vec![5], vec![6], vec![7, 8]]);
}

#[test]
fn the_bytes_that_wait_are_bounded_and_a_long_job_may_wait_alone() {
    let (commit, groups, go, has_begun) = held(LIMITS);
    commit.submit(0, 1).unwrap();
    has_begun.recv().unwrap();
    commit.submit(1, 5_000).unwrap();
    assert_eq!(commit.submit(2, 1), Err(2), "more bytes wait than may");
    go.send(()).unwrap();
    has_begun.recv().unwrap();
    commit.submit(3, 999).unwrap();
    commit.submit(4, 1).unwrap();
    assert_eq!(commit.submit(5, 1), Err(5), "what was taken into a group does not wait any more");
    (0..3).for_each(|_| go.send(()).unwrap());
    commit.stop();
    assert_eq!(*groups.lock().unwrap(), [vec![0], vec![1], vec![3], vec![4]]);
}

#[test]
fn a_stop_applies_what_waits_and_accepts_nothing_more() {
    let (commit, groups, go, has_begun) = held(LIMITS);
    commit.submit(0, 1).unwrap();
    has_begun.recv().unwrap();
    commit.submit(1, 1).unwrap();
    (0..2).for_each(|_| go.send(()).unwrap());
    commit.stop();
    commit.stop();
    assert_eq!(commit.submit(2, 1), Err(2));
    assert_eq!(*groups.lock().unwrap(), [vec![0], vec![1]]);
}

#[test]
fn a_panic_ends_the_process() {
    const CHILD: &str = "HOLDFAST_TEST_PANIC_IN_GROUP";
    if std::env::var_os(CHILD).is_some() {
        let commit = GroupCommit::start("test-panic", LIMITS, |_: Vec<()>| panic!("planted")).unwrap();
        commit.submit((), 1).unwrap();
        commit.stop();
        std::process::exit(0);
    }
    let name = "groups::a_panic_ends_the_process";
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args([name, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
    assert_eq!(output.status.code(), None, "ended by a signal: {output:?}");
}
