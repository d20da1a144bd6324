//! Appends: what is refused, what a failed disk costs, what a full one allows.

use super::{SEGMENT_BYTES, id, open, record, reopen, segment_files, sim};
use protocol::ErrorKind;
use segments::sim::{EIO, ENOSPC, SimDisk};
use segments::{Purpose, SegmentInfo};

#[test]
fn what_cannot_fit_a_segment_is_invalid_and_costs_nothing() {
    let disk = sim();
    let mut opened = reopen(&disk);
    let room = SEGMENT_BYTES as usize - 88 - 88 - 64;
    let before = disk.calls();
    let error = opened.log.append(&[record(1, 10), record(2, room + 1)], Purpose::Data).unwrap_err();
    assert_eq!((error.kind, disk.calls()), (ErrorKind::Invalid, before));
    assert!(opened.log.append(&[], Purpose::Data).unwrap().is_empty());
    let locations = opened.log.append(&[record(1, 10), record(2, room), record(3, room)], Purpose::Data).unwrap();
    assert_eq!(locations.iter().map(|location| location.position.segment).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(reopen(&disk).ids(), [id(1), id(2), id(3)]);
}

#[test]
fn bad_settings_are_refused() {
    for segment_bytes in [0, 4096, 8191, 8193, 4 << 30] {
        let config = super::config(segment_bytes);
        let error = segments::SegmentLog::open(sim(), super::stamp(), config, None, &mut |_| {}).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
    }
}

/// Law 12: a failed write or sync poisons the segment.
#[test]
fn a_failed_write_or_sync_poisons_the_segment_for_good() {
    for (failing, errno) in [(1, EIO), (2, EIO), (1, ENOSPC), (2, ENOSPC)] {
        let disk = sim();
        let mut opened = reopen(&disk);
        let first = opened.append(1, 100);
        disk.fail_call(disk.calls() + failing, errno);
        let error = opened.log.append(&[record(2, 100)], Purpose::Data).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "the failure is durable: nothing counts");
        let end = u64::from(first.position.offset) + first.stored_bytes();
        let poisoned = SegmentInfo { number: 1, bytes: end, sealed: true, poisoned: true };
        assert_eq!(opened.log.segments(), [poisoned]);
        assert_eq!(segment_files(&disk), [format!("0000000001.poisoned-{end:010}")]);
        let second = opened.append(3, 100);
        assert_eq!(second.position.segment, 2, "appends go on elsewhere");
        assert_eq!(opened.log.reader().read(first, &id(1)).unwrap(), super::noise(1, 100), "it is still read");
        drop(opened);
        let opened = reopen(&disk);
        assert_eq!(opened.ids(), [id(1), id(3)], "not even after a restart");
        assert_eq!((opened.report.segments_poisoned, opened.report.damaged), (1, 0));
        assert_eq!(opened.log.segments()[0], poisoned);
    }
}

#[test]
fn a_failure_that_cannot_be_made_durable_is_unknown_and_nothing_is_appended_before_it_is() {
    let disk = sim();
    let mut opened = reopen(&disk);
    opened.append(1, 100);
    disk.fail_from(disk.calls() + 2, EIO);
    let error = opened.log.append(&[record(2, 100)], Purpose::Data).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unknown);
    let error = opened.log.append(&[record(3, 100)], Purpose::Data).unwrap_err();
    assert_eq!((error.kind, opened.log.failures_in_a_row()), (ErrorKind::Unavailable, 2));
    disk.heal();
    opened.append(4, 100);
    drop(opened);
    assert_eq!(reopen(&disk).ids(), [id(1), id(4)]);
}

#[test]
fn an_append_over_several_segments_counts_whole_or_not_at_all() {
    let records = || (1..=6).map(|number| record(number, 6000)).collect::<Vec<_>>();
    let disk = sim();
    let mut opened = reopen(&disk);
    opened.append(9, 100);
    let calls_before = disk.calls();
    opened.log.append(&records(), Purpose::Data).unwrap();
    let calls = disk.calls() - calls_before;
    for failing in 1..=calls {
        let disk = sim();
        let mut opened = reopen(&disk);
        opened.append(9, 100);
        disk.fail_call(disk.calls() + failing, EIO);
        let expected = match opened.log.append(&records(), Purpose::Data) {
            Ok(_) => vec![id(9), id(1), id(2), id(3), id(4), id(5), id(6), id(10)],
            Err(_) => vec![id(9), id(10)],
        };
        opened.append(10, 100);
        drop(opened);
        assert_eq!(reopen(&disk).ids(), expected, "call {failing} failed");
    }
}

/// Fills a disk with room for four segments, or files.
fn fill(disk: &SimDisk) {
    let mut opened = reopen(disk);
    for number in 1..=6 {
        opened.append(number, 7000);
    }
    let error = opened.log.append(&[record(7, 7000)], Purpose::Data).unwrap_err();
    assert_eq!((error.kind, opened.log.failures_in_a_row()), (ErrorKind::Full, 0));
    assert!(opened.log.has_reserve());
}

#[test]
fn a_full_disk_takes_what_makes_room_and_is_not_wedged() {
    let disks = [SimDisk::new(1, 4 * SEGMENT_BYTES, 99), SimDisk::new(1, 99 * SEGMENT_BYTES, 4)];
    for disk in disks {
        fill(&disk);
        // As a restart finds it.
        let mut opened = reopen(&disk);
        assert_eq!(opened.found.len(), 6);
        assert!(opened.log.has_reserve());
        assert_eq!(opened.log.append(&[record(7, 7000)], Purpose::Data).unwrap_err().kind, ErrorKind::Full);
        let tombstone = opened.log.append(&[record(8, 0)], Purpose::Reclaim).unwrap()[0];
        assert!(!opened.log.has_reserve(), "the spare segment is in use");
        let error = opened.log.append(&[record(9, 0)], Purpose::Data).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Full, "data must not eat the room of tombstones");
        // What is alive of segment 1 moves, and it goes.
        opened.log.append(&[record(1, 7000)], Purpose::Reclaim).unwrap();
        opened.log.remove_segment(1).unwrap();
        opened.append(10, 7000);
        assert!(opened.log.has_reserve(), "room is back: a spare segment was made first");
        assert_eq!(opened.log.reader().read(tombstone, &id(8)).unwrap(), "");
        drop(opened);
        assert_eq!(reopen(&disk).ids(), [3, 4, 5, 6, 8, 1, 10].map(id));
    }
}

#[test]
fn the_floor_is_kept_free() {
    let disk = SimDisk::new(1, 10 * SEGMENT_BYTES, 99);
    let mut config = super::config(SEGMENT_BYTES);
    config.free_floor_bytes = 5 * SEGMENT_BYTES;
    let (mut log, _) = segments::SegmentLog::open(disk, super::stamp(), config, None, &mut |_| {}).unwrap();
    let accepted = (0..100).take_while(|number| log.append(&[record(*number, 15_000)], Purpose::Data).is_ok()).count();
    assert_eq!(accepted, 4, "ten, less the spare one, less the floor");
    assert_eq!(log.free_bytes(), 4 * (SEGMENT_BYTES - 88 - 88 - 15_064), "what is left of four segments");
    log.append(&[record(200, 15_000)], Purpose::Reclaim).unwrap();
}

#[test]
fn removal_is_for_sealed_segments_that_are_not_the_last() {
    let disk = sim();
    let mut opened = reopen(&disk);
    let first = opened.append(1, 15_000);
    assert_eq!(opened.log.remove_segment(1).unwrap_err().kind, ErrorKind::Invalid, "it is being written");
    opened.log.seal().unwrap();
    assert_eq!(opened.log.remove_segment(1).unwrap_err().kind, ErrorKind::Invalid, "it is the last");
    opened.append(2, 15_000);
    let reader = opened.log.reader();
    opened.log.remove_segment(1).unwrap();
    opened.log.remove_segment(1).unwrap();
    assert_eq!(reader.read(first, &id(1)).unwrap_err().kind, ErrorKind::NotFound);
    drop((opened, reader));
    let found = reopen(&disk.snapshot().power_cut(&mut || false)).ids();
    assert_eq!(found, [id(2)], "durable when it answered");
}

/// Law 6: bytes are checked on every read.
#[test]
fn reads_check_everything() {
    let disk = sim();
    let mut opened = reopen(&disk);
    let (first, second) = (opened.append(1, 1000), opened.append(2, 1000));
    let reader = opened.log.reader();
    let kind = |location, id: u64| reader.read(location, &super::id(id)).map_err(|error| error.kind);
    assert_eq!(kind(first, 1).unwrap(), super::noise(1, 1000));
    assert_eq!(reader.read_cached(first, &id(1)).unwrap().unwrap(), super::noise(1, 1000));
    assert_eq!(kind(first, 2), Err(ErrorKind::Corrupt), "another id");
    assert_eq!(kind(segments::Location { length: 999, ..first }, 1), Err(ErrorKind::Corrupt), "another length");
    assert_eq!(kind(segments::Location { length: u32::MAX, ..first }, 1), Err(ErrorKind::Corrupt), "an absurd length");
    assert_eq!(kind(segments::Location { crc: first.crc ^ 1, ..first }, 1), Err(ErrorKind::Corrupt), "another CRC");
    assert_eq!(
        kind(segments::Location { position: second.position, ..first }, 1),
        Err(ErrorKind::Corrupt),
        "another place"
    );
    disk.flip_bit("0000000001.seg", (u64::from(first.position.offset) + 500) * 8);
    assert_eq!(kind(first, 1), Err(ErrorKind::Corrupt));
    assert!(reader.read_cached(first, &id(1)).is_none(), "the waiting read decides");
    disk.make_unreadable("0000000001.seg", 0);
    assert_eq!(kind(second, 2), Err(ErrorKind::Corrupt), "EIO is a damaged record");
}

#[test]
fn a_clean_stop_leaves_nothing_to_check() {
    let disk = sim();
    let mut opened = open(disk.clone(), SEGMENT_BYTES, None);
    opened.append(1, 100);
    opened.log.seal().unwrap();
    let used = opened.log.used_bytes();
    assert_eq!(used, 88 + 64 + 104 + 88);
    drop(opened);
    let opened = reopen(&disk);
    assert_eq!((opened.report.segments_unsealed, opened.report.bytes, opened.report.records), (0, used, 1));
    assert!(opened.report.damaged_first.is_empty());
}
