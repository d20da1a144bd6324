//! Looking at a log from outside: what counts is shown, what does not is told apart, and nothing is changed.

#![expect(clippy::disallowed_methods, reason = "renames a segment as a failed fsync would")]

use super::{id, noise, open, record, stamp};
use segments::{Inspection, Kind, Purpose, RealDisk, Scanned, inspect};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

const SEGMENT_BYTES: u64 = 1 << 20;

/// A log of two segments: the first sealed, the second left as a crash would.
fn crashed_log(directory: &Path) -> Vec<PathBuf> {
    let mut opened = open(RealDisk::open(directory).unwrap(), SEGMENT_BYTES, None);
    for number in 1..=30 {
        opened.log.append(&[record(number, 50_000)], Purpose::Data).unwrap();
    }
    drop(opened);
    let mut segments: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    segments.sort();
    assert_eq!(segments.len(), 2);
    segments
}

/// What is found, and the ids of the whole records.
fn look(directory: &Path) -> (Inspection, Vec<[u8; 17]>) {
    let mut ids = Vec::new();
    let found = inspect(directory, stamp(), &mut |found| {
        if let Scanned::Record { kind, id, data, .. } = found {
            assert_eq!((kind, data.len()), (Kind::SHARD, 50_000));
            ids.push(id);
        }
    });
    (found.unwrap(), ids)
}

#[test]
fn everything_is_shown_while_the_log_is_open_and_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(RealDisk::open(dir.path()).unwrap(), SEGMENT_BYTES, None);
    for number in 1..=30 {
        opened.log.append(&[record(number, 50_000)], Purpose::Data).unwrap();
    }
    let (found, ids) = look(dir.path());
    assert_eq!(ids, (1..=30).map(id).collect::<Vec<_>>());
    assert_eq!((found.records, found.segments, found.segments_open), (30, 2, 1));
    drop(opened);
    assert_eq!(look(dir.path()), (found, ids), "a crash changes nothing of it");
}

#[test]
fn a_torn_tail_is_no_damage_and_of_a_poisoned_segment_only_what_counts_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let segments = crashed_log(dir.path());
    let whole = look(dir.path()).1.len();
    let last = OpenOptions::new().append(true).open(&segments[1]).unwrap();
    (&last).write_all(&noise(7, 5_000)).unwrap();
    let (found, ids) = look(dir.path());
    assert_eq!((ids.len(), found.torn_tails, found.damaged_stretches), (whole, 1, 0), "{found:?}");
    // As after a failed fsync behind its third record: header 88 bytes, each record 64 and 50,000.
    let counted = 88 + 3 * (64 + 50_000);
    let poisoned = segments[1].with_file_name(format!("0000000002.poisoned-{counted:010}"));
    std::fs::rename(&segments[1], poisoned).unwrap();
    let (found, ids) = look(dir.path());
    assert_eq!((found.segments_poisoned, found.torn_tails, found.corrupt), (1, 0, 0), "{found:?}");
    assert!((3..whole).contains(&ids.len()), "{} of {whole}", ids.len());
    assert_eq!(ids, (1..=ids.len() as u64).map(id).collect::<Vec<_>>());
    let records_of_the_first = SEGMENT_BYTES / (64 + 50_000);
    assert_eq!(ids.len() as u64, records_of_the_first + 3);
}

#[test]
fn a_directory_that_is_not_there_is_said_to_be_so() {
    let dir = tempfile::tempdir().unwrap();
    let missing = inspect(&dir.path().join("nothing"), stamp(), &mut |_| {});
    assert_eq!(missing.unwrap_err().kind, protocol::ErrorKind::NotFound);
    assert!(!dir.path().join("nothing").exists(), "looking makes nothing");
}
