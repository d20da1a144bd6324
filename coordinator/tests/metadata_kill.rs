//! `kill -9` under load: a process of its own commits and says what was acknowledged; it is killed, and its directory is opened.
//! The index is trusted then (the machine stayed up), so this is also the test of the moves and their checkpoints.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it says")]

mod metadata_support;

use coordinator::metadata::{Batch, Metadata};
use metadata_support::{Dir, everything, index_was_kept, mark_index};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const WRITERS: u64 = 8;
const DIRECTORY: &str = "HOLDFAST_TEST_DIRECTORY";

fn settings(mut dir: Dir) -> Dir {
    dir.settings.table_entries_max = 64;
    dir.settings.segment_bytes = 64 << 10;
    dir.settings.snapshot_log_bytes = 512 << 10;
    dir
}

#[tokio::test]
async fn kill_minus_9_loses_nothing_acknowledged() {
    let dir = settings(Dir::new());
    let mut committed = 0;
    for round in 0..8 {
        if round > 0 {
            mark_index(&dir);
        }
        let acknowledged = run_and_kill(&dir, Duration::from_millis(120 + round * 70));
        let engine = dir.open();
        assert!(round == 0 || index_was_kept(&dir), "round {round}: the machine stayed up, so the index should do");
        committed = 0;
        for (writer, sure) in acknowledged.into_iter().enumerate() {
            let found = engine.get(format!("writer/{writer}/last").as_bytes()).await.unwrap();
            let last = found.map_or(0, |entry| std::str::from_utf8(&entry.value).unwrap().parse::<u64>().unwrap());
            assert!(last == sure || last == sure + 1, "round {round}, writer {writer}: {last}, acknowledged {sure}");
            committed += last;
        }
        let entries = everything(&engine).await;
        let kept: u64 = entries.iter().filter(|(key, _)| key.starts_with(b"kept/")).count() as u64;
        assert_eq!(kept, committed, "round {round}: each commit put one");
        let gone = entries.iter().filter(|(key, _)| key.starts_with(b"gone/")).count() as u64;
        assert!(gone <= WRITERS, "round {round}: {gone}; each writer had at most one under way");
        engine.stop().await.unwrap();
    }
    assert!(committed > 500, "{committed} commits in all: too few to mean something");
}

/// The last number each writer was told is committed, over all rounds so far.
fn run_and_kill(dir: &Dir, after: Duration) -> Vec<u64> {
    let mut child = start(dir);
    let mut acknowledged = vec![0; WRITERS as usize];
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut first = None;
    for line in lines.map_while(Result::ok) {
        let mut words = line.split(' ');
        if words.next() != Some("acknowledged") {
            continue;
        }
        let (writer, number): (usize, u64) =
            (words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap());
        acknowledged[writer] = number;
        if first.get_or_insert_with(Instant::now).elapsed() > after {
            // What it says until it is dead counts, too.
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success(), "it was killed");
    acknowledged
}

fn start(dir: &Dir) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_that_is_killed", "--nocapture"])
        .env(DIRECTORY, &dir.path)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Started by `kill_minus_9_loses_nothing_acknowledged`; on its own it does nothing.
#[test]
fn the_process_that_is_killed() {
    let Some(path) = std::env::var_os(DIRECTORY) else { return };
    let mut dir = settings(Dir::new());
    dir.path = PathBuf::from(path);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let engine: Arc<dyn Metadata> = Arc::new(dir.open());
        futures_util::future::join_all((0..WRITERS).map(|writer| write(Arc::clone(&engine), writer))).await;
    });
}

async fn write(engine: Arc<dyn Metadata>, writer: u64) {
    let last = engine.get(format!("writer/{writer}/last").as_bytes()).await.unwrap();
    let first = last.map_or(0, |entry| std::str::from_utf8(&entry.value).unwrap().parse::<u64>().unwrap()) + 1;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "acknowledged {writer} {}", first - 1).unwrap();
    for number in first.. {
        engine.commit(Batch::new().put(format!("gone/{writer}/{number}"), "short-lived").clone()).await.unwrap();
        let mut batch = Batch::new();
        batch.put(format!("writer/{writer}/last"), number.to_string());
        batch.put(format!("kept/{writer}/{number:08}"), vec![7; 100]);
        batch.delete(format!("gone/{writer}/{number}"));
        engine.commit(batch).await.unwrap();
        writeln!(stdout, "acknowledged {writer} {number}").unwrap();
    }
}
