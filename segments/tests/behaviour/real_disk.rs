//! The log on a real directory, on the disk and in memory.

use super::{Opened, id, noise, open, record};
use protocol::ErrorKind;
use segments::{Location, Purpose, RealDisk};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

/// A directory on the disk, and one on tmpfs where there is one: they differ in what they do past the page cache.
fn directories() -> Vec<TempDir> {
    let memory = Path::new("/dev/shm");
    let on_disk = tempfile::tempdir().unwrap();
    let in_memory = memory.is_dir().then(|| tempfile::tempdir_in(memory).unwrap());
    [Some(on_disk), in_memory].into_iter().flatten().collect()
}

fn open_dir(path: &Path, segment_bytes: u64) -> Opened<RealDisk> {
    open(RealDisk::open(path).unwrap(), segment_bytes, None)
}

#[test]
fn what_was_appended_is_read_now_and_after_a_restart() {
    for dir in directories() {
        for seals in [false, true] {
            let path = dir.path().join(format!("a/b/{seals}"));
            let mut opened = open_dir(&path, MIB);
            let lengths = [0, 1, 7, 8, 63, 64, 4000, 4096, 70_000, 131_072, 300_001, 900_000];
            let written: Vec<(u64, usize, Location)> = (1..)
                .zip(lengths.repeat(3))
                .map(|(number, length)| (number, length, opened.append(number, length)))
                .collect();
            check(&opened, &written);
            if seals {
                opened.log.seal().unwrap();
            }
            drop(opened);
            let opened = open_dir(&path, MIB);
            let report = &opened.report;
            assert_eq!(report.damaged + report.torn_tails + report.write_failures, 0, "{report:?}");
            assert_eq!(report.segments_unsealed, u64::from(!seals));
            let found: Vec<Location> = opened.found.iter().map(|found| found.location).collect();
            assert_eq!(found, written.iter().map(|(.., location)| *location).collect::<Vec<_>>());
            check(&opened, &written);
            drop(opened);
            assert_eq!(open_dir(&path, MIB).report.segments_unsealed, 0, "recovery has sealed what it found");
        }
    }
}

fn check(opened: &Opened<RealDisk>, written: &[(u64, usize, Location)]) {
    let reader = opened.log.reader();
    for (number, length, location) in written {
        let expected = noise(*number, *length);
        assert_eq!(reader.read(*location, &id(*number)).unwrap(), expected);
        assert_eq!(reader.read(*location, &id(number + 1)).unwrap_err().kind, ErrorKind::Corrupt);
        if let Some(cached) = reader.read_cached(*location, &id(*number)) {
            assert_eq!(cached.unwrap(), expected);
        }
    }
}

#[test]
fn the_longest_shards_fit_the_default_segment() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_dir(dir.path(), 64 * MIB);
    let longest = 8 << 20;
    let records: Vec<_> = (1..=9).map(|number| record(number, longest)).collect();
    let locations = opened.log.append(&records, Purpose::Data).unwrap();
    assert_eq!(locations.last().unwrap().position.segment, 2, "seven fit the first segment");
    let reader = opened.log.reader();
    for (record, location) in records.iter().zip(&locations) {
        assert_eq!(reader.read(*location, &record.id).unwrap(), record.data[0]);
    }
    drop((opened, reader));
    assert_eq!(open_dir(dir.path(), 64 * MIB).found.len(), 9);
}

#[test]
fn pieces_are_put_together() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_dir(dir.path(), MIB);
    let whole = record(1, 100_003);
    let mut pieces = whole.clone();
    pieces.data = whole.data[0].chunks(999).map(bytes::Bytes::copy_from_slice).collect();
    let location = opened.log.append(&[pieces], Purpose::Data).unwrap()[0];
    assert_eq!(location.length, 100_003);
    assert_eq!(opened.log.reader().read(location, &whole.id).unwrap(), whole.data[0]);
}

#[test]
fn a_directory_has_one_log_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = RealDisk::open(dir.path()).unwrap();
    assert_eq!(RealDisk::open(dir.path()).unwrap_err().kind, ErrorKind::Conflict);
    drop(first);
    RealDisk::open(dir.path()).unwrap();
}

#[test]
fn readers_see_every_acknowledged_record_while_others_are_appended() {
    for dir in directories() {
        let mut opened = open_dir(dir.path(), MIB);
        let reader = opened.log.reader();
        let acknowledged: Mutex<Vec<(u64, usize, Location)>> = Mutex::default();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let (reader, acknowledged, done) = (reader.clone(), &acknowledged, &done);
                scope.spawn(move || {
                    let mut chance = segments::sim::Chance::new(thread);
                    while !done.load(Ordering::Relaxed) {
                        let known = acknowledged.lock().unwrap().clone();
                        // The newest first: it shares a block with what is being written.
                        let newest = known.len().saturating_sub(1 + chance.below(3) as usize);
                        if let Some((number, length, location)) = known.get(newest) {
                            assert_eq!(reader.read(*location, &id(*number)).unwrap(), noise(*number, *length));
                        }
                    }
                });
            }
            for number in 1..=150 {
                // Small ones go through the page cache, large ones past it.
                let length = if number % 3 == 0 { 100_000 } else { 100 + number as usize };
                let location = opened.append(number, length);
                acknowledged.lock().unwrap().push((number, length, location));
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn more_segments_than_open_files_are_read() {
    let dir = tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" }).unwrap();
    let mut opened = open_dir(dir.path(), 8192);
    let locations: Vec<Location> = (1..=300).map(|number| opened.append(number, 7000)).collect();
    assert_eq!(opened.log.segments().len(), 300);
    let reader = opened.log.reader();
    for _ in 0..2 {
        for (number, location) in (1..).zip(&locations) {
            assert_eq!(reader.read(*location, &id(number)).unwrap(), noise(number, 7000));
        }
    }
    let open_files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let open_files = open_files.filter_map(|fd| std::fs::read_link(fd.path()).ok());
    let open_files = open_files.filter(|file| file.starts_with(dir.path())).count();
    assert!(open_files <= 2 * 128 + 4, "{open_files}");
}
