//! The log on a real directory.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use bytes::Bytes;
use protocol::{ClusterId, DiskId, ErrorKind};
use segments::{Kind, LogConfig, Position, Purpose, RealDisk, Record, Recovered, RecoveryReport, SegmentLog, Stamp};
use uuid::Uuid;

fn stamp() -> Stamp {
    Stamp { cluster: ClusterId(Uuid::from_u128(7)), log: DiskId(Uuid::from_u128(8)) }
}

fn config(segment_bytes: u64) -> LogConfig {
    LogConfig { segment_bytes, payload_kinds: vec![Kind::COMMIT], ..LogConfig::default() }
}

/// Bytes that no compressor and no accident repeats.
fn noise(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn id(number: u64) -> [u8; 17] {
    let mut id = [0; 17];
    id[..8].copy_from_slice(&number.to_be_bytes());
    id
}

type Opened = (SegmentLog<RealDisk>, RecoveryReport, Vec<Recovered>);

fn open(path: &std::path::Path, segment_bytes: u64, from: Option<Position>) -> Opened {
    let mut found = Vec::new();
    let disk = RealDisk::open(path).unwrap();
    let (log, report) =
        SegmentLog::open(disk, stamp(), config(segment_bytes), from, &mut |record| found.push(record)).unwrap();
    (log, report, found)
}

#[test]
fn what_was_appended_is_read_now_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let lengths = [0, 1, 7, 8, 63, 64, 4000, 4096, 70_000, 131_072, 300_001, 900_000];
    let (mut log, ..) = open(dir.path(), 1 << 20, None);
    let mut written = Vec::new();
    for round in 0..3 {
        for (index, length) in lengths.into_iter().enumerate() {
            let number = round * 100 + index as u64;
            let data = noise(number, length);
            let record = Record::new(Kind::SHARD, id(number), data.clone());
            let locations = log.append(&[record], Purpose::Data).unwrap();
            written.push((id(number), locations[0], data));
        }
    }
    let reader = log.reader();
    for (id, location, data) in &written {
        assert_eq!(reader.read(*location, id).unwrap(), data);
    }
    drop((reader, log));
    let (log, report, found) = open(dir.path(), 1 << 20, None);
    assert_eq!(report.damaged + report.torn_tails + report.write_failures, 0, "{report:?}");
    assert_eq!(found.len(), written.len());
    for (found, (id, location, _)) in found.iter().zip(&written) {
        assert_eq!((found.id, found.location), (*id, *location));
    }
    let reader = log.reader();
    for (id, location, data) in &written {
        assert_eq!(reader.read(*location, id).unwrap(), data);
        assert_eq!(reader.read(*location, &[9; 17]).unwrap_err().kind, ErrorKind::Corrupt, "id must match");
        if let Some(cached) = reader.read_cached(*location, id) {
            assert_eq!(cached.unwrap(), data);
        }
    }
}
