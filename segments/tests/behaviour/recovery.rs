//! Recovery: what is found after damage of every kind.

use super::{Opened, SEGMENT_BYTES, config, id, open, record, reopen, segment_files, sim, stamp};
use bytes::Bytes;
use protocol::{DiskId, ErrorKind};
use segments::sim::{EIO, EROFS, SimDisk};
use segments::{Kind, Location, Position, Purpose, Record, Scanned, SegmentLog, Stamp};
use uuid::Uuid;

const LENGTHS: [usize; 5] = [30, 0, 121, 8, 77];

/// A disk with one segment of five records, sealed or as a killed process leaves it.
fn one_segment(sealed: bool) -> (SimDisk, String, Vec<Location>) {
    let disk = sim();
    let mut opened = reopen(&disk);
    let locations = (1..).zip(LENGTHS).map(|(number, length)| opened.append(number, length)).collect();
    if sealed {
        opened.log.seal().unwrap();
    }
    (disk.clone(), segment_files(&disk).remove(0), locations)
}

/// A copy of a disk on which nothing is pending.
fn copy(disk: &SimDisk) -> SimDisk {
    disk.snapshot().power_cut(&mut || true)
}

/// How many of the five records are found and read whole. No wrong bytes are ever given out.
fn whole_records(opened: &Opened<SimDisk>) -> usize {
    let reader = opened.log.reader();
    let whole = |found: &&segments::Recovered| match reader.read(found.location, &found.id) {
        Ok(data) => {
            let number = u64::from_be_bytes(found.id[..8].try_into().unwrap());
            assert_eq!(found.id, id(number));
            assert_eq!(data, super::noise(number, LENGTHS[number as usize - 1]), "wrong bytes");
            true
        }
        Err(error) => {
            assert_eq!(error.kind, ErrorKind::Corrupt);
            false
        }
    };
    opened.found.iter().filter(whole).count()
}

#[test]
fn a_flipped_bit_costs_at_most_its_record() {
    for sealed in [false, true] {
        let (disk, name, locations) = one_segment(sealed);
        let used = locations[4].position.offset as u64 + locations[4].stored_bytes() + if sealed { 88 } else { 0 };
        let padding = |byte: u64| {
            locations.iter().any(|location| {
                let end = u64::from(location.position.offset) + 64 + u64::from(location.length);
                (end..u64::from(location.position.offset) + location.stored_bytes()).contains(&byte)
            })
        };
        let records = u64::from(locations[0].position.offset)
            ..u64::from(locations[4].position.offset) + locations[4].stored_bytes();
        for bit in 0..used * 8 {
            let damaged = copy(&disk);
            damaged.flip_bit(&name, bit);
            let whole = whole_records(&reopen(&damaged));
            let expected = if records.contains(&(bit / 8)) && !padding(bit / 8) { 4 } else { 5 };
            assert_eq!(whole, expected, "bit {bit}, sealed {sealed}");
        }
    }
}

#[test]
fn a_cut_costs_what_it_cuts() {
    for sealed in [false, true] {
        let (disk, name, locations) = one_segment(sealed);
        let content = disk.content(&name);
        for length in 0..700.min(content.len()) {
            let cut = copy(&disk);
            cut.set_content(&name, &content[..length]);
            let end = |location: &Location| (u64::from(location.position.offset) + location.stored_bytes()) as usize;
            let expected = locations.iter().filter(|location| end(location) <= length).count();
            let opened = reopen(&cut);
            assert_eq!(whole_records(&opened), expected, "cut to {length}, sealed {sealed}");
            assert_eq!(opened.report.damaged, 0, "a cut is a torn tail");
        }
    }
}

#[test]
fn zeros_behind_the_records_are_no_damage() {
    for sealed in [false, true] {
        let (disk, name, _) = one_segment(sealed);
        let mut content = disk.content(&name);
        content.resize(content.len() + 50_000, 0);
        disk.set_content(&name, &content);
        let opened = reopen(&disk);
        assert_eq!(whole_records(&opened), 5);
        assert_eq!((opened.report.damaged, opened.report.torn_tails), (0, 0), "{:?}", opened.report);
        assert!(disk.content(&name).len() < 4096, "the zeros are given back");
    }
}

#[test]
fn garbage_behind_the_records_is_a_torn_tail_and_stays_as_it_is() {
    let (disk, name, locations) = one_segment(false);
    let mut content = disk.content(&name);
    let end = (u64::from(locations[4].position.offset) + locations[4].stored_bytes()) as usize;
    content[end..end + 100].fill(0xaa);
    disk.set_content(&name, &content);
    for _ in 0..2 {
        let mut opened = reopen(&disk);
        assert_eq!(whole_records(&opened), 5);
        assert_eq!((opened.report.damaged, opened.report.torn_tails), (0, 1), "{:?}", opened.report);
        assert_eq!(
            disk.content(&name)[end..],
            [&[0xaa; 100][..], &[0; 4]].concat(),
            "rounded up to 8 bytes, not written"
        );
        let later = opened.log.append(&[record(9, 10)], Purpose::Data).unwrap()[0];
        assert!(later.position.segment > 1, "appends go to a new segment");
        opened.log.remove_segment(later.position.segment).unwrap_err();
        drop(opened);
        disk.set_content(&name, &disk.content(&name));
        let later: Vec<String> = segment_files(&disk).into_iter().filter(|other| *other != name).collect();
        later.iter().for_each(|name| segments::Disk::remove(&disk, name).unwrap());
    }
}

#[test]
fn unreadable_blocks_cost_only_the_records_in_them() {
    for sealed in [false, true] {
        let disk = sim();
        let mut opened = reopen(&disk);
        let locations: Vec<Location> = (1..=12).map(|number| opened.append(number, 1000)).collect();
        if sealed {
            opened.log.seal().unwrap();
        }
        drop(opened);
        disk.make_unreadable(&segment_files(&disk)[0], 1);
        let opened = reopen(&disk);
        let reader = opened.log.reader();
        for (number, location) in (1..).zip(&locations) {
            let (first, last) = (location.position.offset / 4096, (location.position.offset + 1063) / 4096);
            let hit = (first..=last).contains(&1);
            assert_eq!(reader.read(*location, &id(number)).is_err(), hit, "record {number}, sealed {sealed}");
            // Where only the payload is hit, the header of a sealed segment's record is still found.
            let found = opened.ids().contains(&id(number));
            assert!(found != hit || (sealed && first == 0), "record {number}, sealed {sealed}");
        }
    }
}

#[test]
fn records_count_only_where_they_were_written() {
    let (disk, name, locations) = one_segment(false);
    let content = disk.content(&name);
    let end = (u64::from(locations[4].position.offset) + locations[4].stored_bytes()) as usize;
    let first = locations[0].position.offset as usize;
    // Duplicated behind the others, and the whole file under another number.
    let mut doubled = content.clone();
    doubled.copy_within(first..end, end);
    disk.set_content(&name, &doubled);
    disk.set_content("0000000007.seg", &content);
    let opened = reopen(&disk);
    assert_eq!(opened.ids(), (1..=5).map(id).collect::<Vec<_>>());
    assert!(opened.log.segments().iter().any(|segment| segment.number == 7), "nothing is thrown away unread");
    assert!(opened.log.end().segment > 7);
}

#[test]
fn records_of_another_log_never_count() {
    let (disk, ..) = one_segment(true);
    let mut shown = 0;
    let other = Stamp { log: DiskId(Uuid::from_u128(99)), ..stamp() };
    let opened = SegmentLog::open(disk, other, config(SEGMENT_BYTES), None, &mut |_| shown += 1);
    assert_eq!(opened.unwrap().1.records, 0);
    assert_eq!(shown, 0);
}

#[test]
fn a_segment_file_kept_as_data_stays_data() {
    let (disk, name, _) = one_segment(true);
    let image = Bytes::from(disk.content(&name));
    let mut opened = reopen(&disk);
    for pad in 0..8 {
        let data = [&vec![0; pad][..], &image].concat();
        let location = opened.log.append(&[Record::new(Kind::SHARD, id(50), data.into())], Purpose::Data).unwrap()[0];
        // Its own header is destroyed: the walk looks for the next one inside the payload.
        let torn = copy(&disk);
        torn.flip_bit(&format!("{:010}.seg", location.position.segment), u64::from(location.position.offset) * 8);
        let found = reopen(&torn).ids();
        assert_eq!(found.iter().filter(|found| **found != id(50)).count(), 5, "only the five real ones");
    }
}

#[test]
fn a_newer_format_is_refused_not_skipped() {
    let (disk, name, _) = one_segment(true);
    // The header CRC of a record that says version 2, as a newer program would write it.
    let mut content = disk.content(&name);
    content[4] = 2;
    let mut crc = crc32fast::Hasher::new();
    crc.update(stamp().cluster.0.as_bytes());
    crc.update(stamp().log.0.as_bytes());
    crc.update(&content[..60]);
    content[60..64].copy_from_slice(&crc.finalize().to_le_bytes());
    disk.set_content(&name, &content);
    let error = SegmentLog::open(disk, stamp(), config(SEGMENT_BYTES), None, &mut |_| {}).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
}

#[test]
fn a_checkpoint_spares_what_lies_before_it() {
    let disk = sim();
    let mut opened = reopen(&disk);
    (1..=20).for_each(|number| {
        opened.append(number, 2000);
    });
    let checkpoint = opened.log.end();
    assert!(checkpoint.segment > 1);
    (21..=23).for_each(|number| {
        opened.append(number, 100);
    });
    drop(opened);
    let opened = open(disk.clone(), SEGMENT_BYTES, Some(checkpoint));
    assert_eq!(opened.ids(), (21..=23).map(id).collect::<Vec<_>>());
    assert_eq!(opened.report.segments_skipped, u64::from(checkpoint.segment) - 1);
    assert_eq!(opened.log.segments().len() as u64, opened.report.segments);
    let end = opened.log.end();
    drop(opened);
    let opened = reopen(&disk);
    assert_eq!(opened.report.segments_unsealed, 0, "sealed although only its end was looked at");
    assert_eq!((opened.report.damaged, opened.found.len()), (0, 23));
    drop(opened);
    assert!(open(disk, SEGMENT_BYTES, Some(end)).found.is_empty());
}

#[test]
fn empty_segments_do_not_pile_up_and_numbers_are_not_used_again() {
    let disk = sim();
    for round in 1..10 {
        let mut opened = reopen(&disk);
        assert!(opened.log.segments().len() <= 2, "{:?}", opened.log.segments());
        opened.append(round, 10);
        let written = opened.log.end().segment;
        assert_eq!(u64::from(written), round, "each start has its own segment, each number is used once");
        let before: Vec<u32> = opened.log.segments().iter().map(|segment| segment.number).collect();
        before
            .iter()
            .filter(|number| **number < written)
            .for_each(|number| opened.log.remove_segment(*number).unwrap());
    }
    // A process that dies between making a segment and writing to it.
    disk.set_content("0000000020.seg", &[0; 16384]);
    disk.set_content("0000000021.seg", &[]);
    let opened = reopen(&disk);
    assert_eq!(opened.report.segments_removed, 1, "all but the last");
    assert_eq!(opened.log.end().segment, 22);
}

#[test]
fn a_disk_that_takes_no_writes_is_read() {
    let (disk, ..) = one_segment(false);
    let disk = copy(&disk);
    disk.fail_from(1, EROFS);
    let mut opened = reopen(&disk);
    assert_eq!(whole_records(&opened), 5);
    assert!(opened.report.write_failures > 0);
    let error = opened.log.append(&[record(6, 10)], Purpose::Data).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    opened.log.append(&[record(6, 10)], Purpose::Reclaim).unwrap_err();
    assert_eq!(opened.log.failures_in_a_row(), 2);
    disk.heal();
    opened.append(6, 10);
    assert_eq!(opened.log.failures_in_a_row(), 0);
}

#[test]
fn files_that_are_no_segments_are_left_alone() {
    let (disk, ..) = one_segment(true);
    for name in
        ["identity", "1.seg", "0000000001.seg.bak", "00000000001.seg", "0000000002.poisoned-1", "000000000é.seg"]
    {
        disk.set_content(name, b"mine");
    }
    let opened = reopen(&disk);
    assert_eq!((opened.report.foreign_files, opened.found.len()), (6, 5));
    assert_eq!(disk.content("identity"), b"mine");
}

#[test]
fn payloads_are_shown_for_the_kinds_asked_for_and_checked() {
    for sealed in [false, true] {
        let disk = sim();
        let mut opened = reopen(&disk);
        let commit = |number: u64| Record { kind: Kind::COMMIT, ..record(number, 500) };
        let locations = opened.log.append(&[commit(1), record(2, 500), commit(3)], Purpose::Data).unwrap();
        if sealed {
            opened.log.seal().unwrap();
        }
        drop(opened);
        let shown: Vec<bool> = reopen(&disk).found.iter().map(|found| found.data.is_some()).collect();
        assert_eq!(shown, [true, false, true]);
        disk.flip_bit(&segment_files(&disk)[0], (u64::from(locations[0].position.offset) + 100) * 8);
        let opened = reopen(&disk);
        assert_eq!(opened.ids(), [id(2), id(3)], "a commit with wrong bytes is not shown");
        assert_eq!(opened.report.damaged, 1);
        assert_eq!(opened.report.damaged_first[0].from, locations[0].position);
    }
}

#[test]
fn a_scan_checks_everything_in_bounded_steps() {
    let disk = sim();
    let mut opened = reopen(&disk);
    let locations: Vec<Location> = (1..=40).map(|number| opened.append(number, 1000)).collect();
    // Still being written: the last segment is scanned, too.
    disk.flip_bit("0000000001.seg", (u64::from(locations[3].position.offset) + 64) * 8);
    disk.flip_bit("0000000002.seg", u64::from(locations[20].position.offset) * 8);
    let reader = opened.log.reader();
    let (mut from, mut steps, mut seen, mut bad, mut stretches) = (Position::default(), 0, Vec::new(), Vec::new(), 0);
    loop {
        let end = reader.scan(from, 5000, &mut |found| match found {
            Scanned::Record { id, data, .. } => {
                let number = u64::from_be_bytes(id[..8].try_into().unwrap());
                assert_eq!(data, super::noise(number, 1000));
                seen.push(id);
            }
            Scanned::BadPayload { id, .. } => bad.push(id),
            Scanned::Damage { from, bytes, tail } => {
                assert_eq!((from, bytes, tail), (locations[20].position, locations[20].stored_bytes(), false));
                stretches += 1;
            }
        });
        let end = end.unwrap();
        assert!(end.bytes <= 5000 + 1064, "one find more than asked for at most");
        steps += 1;
        match end.next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert!(steps >= 8, "{steps}");
    assert_eq!((seen.len(), bad, stretches), (38, vec![id(4)], 1));
}

#[test]
fn what_the_cache_shows_after_a_failed_sync_is_not_believed() {
    // fsyncgate: the sync fails, drops the pages, and the process dies before it can mark the segment.
    for seed in 0..20 {
        let disk = SimDisk::new(seed, u64::MAX, usize::MAX);
        let mut opened = reopen(&disk);
        opened.append(1, 100);
        // Calls of an append: write, sync, rename, directory sync.
        disk.fail_call(disk.calls() + 2, EIO);
        disk.record_snapshots();
        opened.log.append(&[record(2, 3000)], Purpose::Data).unwrap_err();
        let killed = disk.take_snapshots()[1].kill();
        let found = reopen(&killed).ids();
        let after_power_cut = reopen(&killed.snapshot().power_cut(&mut || false)).ids();
        assert_eq!(found, after_power_cut, "what recovery shows is durable");
        assert!(found.contains(&id(1)));
    }
}
