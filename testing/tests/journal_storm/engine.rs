//! The real engine on disk over the keepers: what its callers hear, and its readers see, when the nodes do not answer (faults I9).

use crate::keeper::{Keeper, Keepers, SEGMENT_BYTES, Weather};
use crate::machine::Directory;
use coordinator::metadata::journal::{JOURNAL_PATIENCE, Journal, Phase};
use coordinator::metadata::records::{NodeRecord, NodeState, Record};
use coordinator::metadata::sled::{SledMetadata, SledSettings};
use coordinator::metadata::{Batch, LogScrubbed, LogStretch, Metadata, Serves, keys};
use protocol::{ClusterId, ErrorKind, JournalClaim, JournalNode, Result, SystemClock};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(1));
const ALL: [&str; 4] = ["sim://n1", "sim://n2", "sim://n3", "sim://n4"];
const WAIT: Duration = Duration::from_secs(30);

fn open(dir: &Path, keepers: &Arc<Keepers>) -> SledMetadata {
    // As short as the keepers' own.
    let segment_bytes = SEGMENT_BYTES;
    let settings =
        SledSettings { segment_bytes, free_floor_bytes: 0, journalled: Some(CLUSTER), ..SledSettings::default() };
    let engine = SledMetadata::open(dir, CLUSTER, Arc::new(SystemClock), settings).unwrap();
    engine.keep_journal(Arc::clone(keepers) as _, Handle::current()).unwrap();
    engine
}

async fn claimed(engine: &SledMetadata) {
    let phase = timeout(WAIT, engine.journal_settled()).await.unwrap();
    assert!(matches!(phase, Phase::Claimed(_)), "{phase:?}");
}

fn nodes(count: usize) -> Arc<Keepers> {
    Arc::new(Keepers((1..=count).map(|number| Keeper::new(number, 1)).collect()))
}

fn put(key: &str) -> Batch {
    Batch::new().put(key.to_owned(), "value").clone()
}

/// Makes the catalog know its nodes, as their admission does.
async fn admit(engine: &SledMetadata, keepers: &Keepers) {
    for keeper in &keepers.0 {
        let record = NodeRecord {
            node: keeper.name.clone(),
            url: format!("sim://{}", keeper.name),
            zone: String::new(),
            disk: keeper.disk(),
            weight: 100,
            known_since_ms: 1,
            state: NodeState::Active,
            state_since_ms: 1,
            decommissioned: false,
            unproved: false,
            start: None,
        };
        engine.commit(Batch::new().put(keys::node(&keeper.name), record.encode()).clone()).await.unwrap();
    }
}

async fn is_there(engine: &SledMetadata, key: &str) -> bool {
    engine.get(key.as_bytes()).await.unwrap().is_some()
}

/// What it tells without being written to.
async fn until_it_serves(engine: &SledMetadata, what: &str, is_so: impl Fn(&Serves) -> bool) {
    let told = async {
        while !is_so(&engine.serves()) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(WAIT, told).await.unwrap_or_else(|_| panic!("it does not tell {what}: {:?}", engine.serves()));
}

async fn until_committed(engine: &SledMetadata, key: &str) {
    timeout(WAIT, async {
        while engine.commit(put(key)).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_without_a_quorum_is_unknown_unseen_and_counts_once_the_nodes_are_back() {
    let (dir, keepers) = (tempfile::tempdir().unwrap(), nodes(3));
    let engine = open(dir.path(), &keepers);
    claimed(&engine).await;
    admit(&engine, &keepers).await;
    engine.commit(put("a")).await.unwrap();
    keepers.0[0].power_cut();
    engine.commit(put("b")).await.unwrap();
    keepers.0[1].power_cut();

    let error = timeout(3 * JOURNAL_PATIENCE, engine.commit(put("c"))).await.unwrap().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Unknown | ErrorKind::Unavailable), "{error}");
    let unknown = error.kind == ErrorKind::Unknown;
    assert!(!is_there(&engine, "c").await, "what is not on a quorum is not shown");
    let error = engine.commit(put("d")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "nothing goes before it: {error}");
    until_it_serves(&engine, "that it refuses writes", |serves| matches!(serves, Serves::ReadsOnly(_))).await;
    keepers.0[1].start();
    until_committed(&engine, "e").await;
    until_it_serves(&engine, "that it takes them", |serves| *serves == Serves::All).await;
    assert_eq!(is_there(&engine, "c").await, unknown, "unknown means that it may count; here it does");
    assert!(!is_there(&engine, "d").await, "what was refused never comes");
    engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rot_in_the_log_keeps_no_node_out_of_the_journal() {
    all_catch_up_although(|segment| segment.write_all_at(b"rot", SEGMENT_BYTES / 2).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hole_in_the_log_keeps_no_node_out_of_the_journal() {
    all_catch_up_although(|segment| segment.set_len(SEGMENT_BYTES / 2).unwrap()).await;
}

/// A node that lacks what is damaged in the coordinator's log cannot get it from there; a snapshot does without it.
async fn all_catch_up_although(damage: impl FnOnce(&File)) {
    let (dir, keepers) = (tempfile::tempdir().unwrap(), nodes(3));
    let here = dir.path().join("here");
    let engine = open(&here, &keepers);
    claimed(&engine).await;
    admit(&engine, &keepers).await;
    for number in 0..300 {
        engine.commit(Batch::new().put(format!("old-{number}"), "value".repeat(100)).clone()).await.unwrap();
    }
    engine.stop().await.unwrap();
    let rotten = dir.path().join("rotten");
    assert!(Command::new("cp").arg("-a").arg(&here).arg(&rotten).status().unwrap().success());
    let segment = rotten.join("log").join("0000000003.seg");
    let file = std::fs::OpenOptions::new().write(true).open(segment).unwrap();
    damage(&file);

    let engine = open(&rotten, &keepers);
    claimed(&engine).await;
    keepers.0[0].replace();
    let caught_up = async || {
        let [one, other] = [&keepers.0[0], &keepers.0[1]].map(|keeper| async { keeper.journal_state().await.unwrap() });
        let (one, other) = (one.await, other.await);
        one.is_whole() && one.last == other.last
    };
    let (mut number, mut lag) = (0, 0);
    timeout(WAIT, async {
        while !caught_up().await {
            lag = lag.max(engine.journal_lags()["sim://n1"]);
            number += 1;
            engine.commit(put(&format!("new-{number}"))).await.unwrap();
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("a snapshot is made, and the node begins anew with it");
    assert!(lag > 300, "its disk held none of them: {lag}");
    let sent = keepers.0[0].journal_state().await.unwrap();
    assert!(sent.whole_from > 300, "{sent:?}: it has the catalog from there on");
    for key in ["old-0", "old-299", "new-1"] {
        assert!(is_there(&engine, key).await, "{key}");
    }
    engine.stop().await.unwrap();
}

/// Its nodes may all have been claimed between its own claim and the first group.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_no_node_ever_obeyed_learns_that_another_has_taken_over() {
    let keepers = nodes(3);
    let claim = |epoch| JournalClaim { epoch, holder: Uuid::from_u128(epoch.into()) };
    for keeper in &keepers.0 {
        keeper.journal_claim(claim(2)).await.unwrap();
    }
    let directory = Directory { path: PathBuf::new(), log: Arc::default() };
    let end = directory.end(keepers.voters());
    let journal = Journal::new(Arc::clone(&keepers) as _, Arc::new(directory), Handle::current());
    journal.begin(claim(1), &end);
    let why = timeout(WAIT, journal.refused()).await.expect("it is told so");
    assert!(why.contains("another coordinator has taken over"), "{why}");
    journal.stop().await;
}

/// Reads the log, or what a node keeps of it, to its end.
async fn scrubbed(engine: &SledMetadata, node: Option<&Keeper>) -> Result<LogScrubbed> {
    let (mut sum, mut next) = (LogScrubbed::default(), Some(LogStretch::ALL));
    while let Some(groups) = next {
        let read = engine.scrub_log(node.map(|keeper| &keeper.name), groups).await?;
        sum.groups += read.groups;
        sum.damaged += read.damaged;
        next = read.next;
    }
    Ok(sum)
}

async fn until_none_lags(engine: &SledMetadata, of: &[&str]) {
    let caught_up = async {
        while engine.journal_lags().iter().any(|(url, lag)| of.contains(&&**url) && *lag > 0) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(WAIT, caught_up).await.expect("every node is sent all");
}

/// An engine over so many nodes, which hold a few hundred groups.
async fn filled(dir: &Path, count: usize) -> (SledMetadata, Arc<Keepers>) {
    let keepers = nodes(count);
    let engine = open(dir, &keepers);
    claimed(&engine).await;
    admit(&engine, &keepers).await;
    for number in 0..300 {
        engine.commit(Batch::new().put(format!("old-{number}"), "value".repeat(100)).clone()).await.unwrap();
    }
    until_none_lags(&engine, &ALL[..count]).await;
    (engine, keepers)
}

async fn is_mended(engine: &SledMetadata, keeper: &Keeper) {
    timeout(WAIT, async {
        // It begins anew with the next group, or the one after.
        while engine.journal_lags().values().any(|lag| *lag > 0)
            || scrubbed(engine, Some(keeper)).await.unwrap().damaged > 0
        {
            engine.commit(put("more")).await.unwrap();
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("it is sent anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn journals_that_rot_are_sent_anew_one_at_a_time_while_others_make_a_quorum() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, keepers) = filled(dir.path(), 4).await;
    let [one, other, away, gone] = [0, 1, 2, 3].map(|place| &*keepers.0[place]);
    assert!(one.rot() && other.rot());
    let told = [one, other].map(|keeper| keeper.holds().unwrap());
    // Every group needs both of them from here on.
    away.power_cut();
    gone.power_cut();
    engine.commit(put("missed")).await.unwrap();
    for keeper in [one, other] {
        assert_eq!(scrubbed(&engine, Some(keeper)).await.unwrap().damaged, 1);
    }
    for number in 0..50 {
        engine.commit(put(&format!("new-{number}"))).await.unwrap();
    }
    let begun = |keeper: &Keeper| keeper.holds().unwrap().promised.sequence > 0;
    assert!(!begun(one) && !begun(other), "nobody makes a quorum without them");

    away.start();
    gone.start();
    // A node that begins anew lacks everything until it has answered.
    for keeper in [one, other] {
        keeper.set_weather(Weather { lost_per_mille: 0, delay_ms_max: 200 });
    }
    timeout(WAIT, async {
        while !begun(one) || !begun(other) {
            let lags = engine.journal_lags();
            assert!(lags[ALL[0]] < 300 || lags[ALL[1]] < 300, "two at once: {lags:?}");
            engine.commit(put("more")).await.unwrap();
        }
    })
    .await
    .expect("they begin anew");
    for keeper in [one, other] {
        keeper.set_weather(Weather::default());
    }
    for (keeper, told) in [one, other].into_iter().zip(told) {
        is_mended(&engine, keeper).await;
        let holds = keeper.holds().unwrap();
        assert!(holds.is_whole() && holds.last >= told.last, "{holds:?}, and it had {told:?}");
    }
    engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_two_keep_the_journal_one_that_rots_goes_on_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, keepers) = filled(dir.path(), 2).await;
    assert!(keepers.0[0].rot());
    assert_eq!(scrubbed(&engine, Some(&keepers.0[0])).await.unwrap().damaged, 1);
    for number in 0..20 {
        engine.commit(put(&format!("new-{number}"))).await.expect("both are needed for every group");
    }
    assert_eq!(keepers.0[0].holds().unwrap().promised.sequence, 0);
    engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrub_ends_although_groups_keep_coming() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, keepers) = filled(dir.path(), 3).await;
    let writes = async {
        loop {
            engine.commit(put("new")).await.unwrap();
        }
    };
    let scrubs = async {
        for node in [None, Some(&*keepers.0[0]), Some(&*keepers.0[1]), Some(&*keepers.0[2])] {
            let mut next = Some(LogStretch::ALL);
            while let Some(groups) = next {
                let read = engine.scrub_log(node.map(|keeper| &keeper.name), groups).await.unwrap();
                assert_eq!(read.damaged, 0, "{groups:?}");
                next = read.next;
                // As long as a worker rests between two steps.
                sleep(Duration::from_millis(20)).await;
            }
        }
    };
    tokio::select! {
        () = writes => {}
        ended = timeout(WAIT, scrubs) => ended.expect("it comes to an end"),
    }
    engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rots_in_the_log_is_found_and_a_snapshot_does_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _keepers) = filled(dir.path(), 3).await;
    let whole = scrubbed(&engine, None).await.unwrap();
    assert!(whole.damaged == 0 && whole.groups >= 290, "{whole:?}");
    let segment = dir.path().join("log").join("0000000003.seg");
    let file = std::fs::OpenOptions::new().write(true).open(segment).unwrap();
    file.write_all_at(b"rot", SEGMENT_BYTES / 2).unwrap();
    assert_eq!(scrubbed(&engine, None).await.unwrap().damaged, 1);
    timeout(WAIT, async {
        let mut number = 0;
        while scrubbed(&engine, None).await.unwrap().damaged > 0 {
            number += 1;
            engine.commit(put(&format!("new-{number}"))).await.unwrap();
        }
    })
    .await
    .expect("a snapshot is made with the next writes");
    for key in ["old-0", "old-299"] {
        assert!(is_there(&engine, key).await, "{key}");
    }
    engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_only_the_nodes_hold_is_taken_over_and_an_older_directory_is_refused() {
    let (dir, keepers) = (tempfile::tempdir().unwrap(), nodes(3));
    let here = dir.path().join("here");
    let engine = open(&here, &keepers);
    claimed(&engine).await;
    admit(&engine, &keepers).await;
    engine.commit(put("a")).await.unwrap();
    // As a crash between sending and appending leaves it: the log ends one group before the nodes do; then two.
    let copy = |name: &str| {
        let to = dir.path().join(name);
        let status = Command::new("cp").arg("-a").arg(&here).arg(&to).status().unwrap();
        assert!(status.success());
        to
    };
    let two_behind = copy("two-behind");
    engine.commit(put("b")).await.unwrap();
    engine.commit(put("c")).await.unwrap();

    let old = open(&two_behind, &keepers);
    let phase = timeout(WAIT, old.journal_settled()).await.unwrap();
    assert!(
        matches!(&phase, Phase::Refused(why) if why.contains("old copy") && why.contains("restore-catalog")),
        "{phase:?}"
    );
    assert_eq!(old.commit(put("x")).await.unwrap_err().kind, ErrorKind::Unavailable);
    old.stop().await.unwrap();
    engine.commit(put("d")).await.expect("the newest directory is not disturbed by that");
    let newest = copy("one-behind");
    engine.commit(put("e")).await.unwrap();
    engine.stop().await.unwrap();

    let next = open(&newest, &keepers);
    claimed(&next).await;
    until_committed(&next, "f").await;
    for key in ["a", "b", "c", "d", "e", "f"] {
        assert!(is_there(&next, key).await, "{key}");
    }
    next.stop().await.unwrap();
}
