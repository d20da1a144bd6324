//! What the log does, call by call, on the simulated disk and on a real directory.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod appends;
mod golden;
mod groups;
mod inspect;
mod properties;
mod real_disk;
mod recovery;

use bytes::Bytes;
use protocol::{ClusterId, DiskId};
use segments::sim::SimDisk;
use segments::{
    Disk, Kind, Location, LogConfig, Position, Purpose, Record, Recovered, RecoveryReport, SegmentLog, Stamp,
};
use uuid::Uuid;

const SEGMENT_BYTES: u64 = 16 << 10;

fn stamp() -> Stamp {
    Stamp { cluster: ClusterId(Uuid::from_u128(7)), log: DiskId(Uuid::from_u128(8)) }
}

fn config(segment_bytes: u64) -> LogConfig {
    LogConfig { segment_bytes, payload_kinds: vec![Kind::COMMIT], ..LogConfig::default() }
}

/// Bytes that no accident repeats.
fn noise(seed: u64, length: usize) -> Bytes {
    let mut chance = segments::sim::Chance::new(seed);
    std::iter::repeat_with(|| chance.next_u64() as u8).take(length).collect()
}

fn id(number: u64) -> [u8; 17] {
    let mut id = [0; 17];
    id[..8].copy_from_slice(&number.to_be_bytes());
    id
}

fn record(number: u64, length: usize) -> Record {
    Record::new(Kind::SHARD, id(number), noise(number, length))
}

struct Opened<D: Disk> {
    log: SegmentLog<D>,
    report: RecoveryReport,
    found: Vec<Recovered>,
}

impl<D: Disk> Opened<D> {
    fn ids(&self) -> Vec<[u8; 17]> {
        self.found.iter().map(|found| found.id).collect()
    }

    fn append(&mut self, number: u64, length: usize) -> Location {
        self.log.append(&[record(number, length)], Purpose::Data).unwrap()[0]
    }
}

fn open<D: Disk>(disk: D, segment_bytes: u64, from: Option<Position>) -> Opened<D> {
    let mut found = Vec::new();
    let opened = SegmentLog::open(disk, stamp(), config(segment_bytes), from, &mut |record| found.push(record));
    let (log, report) = opened.unwrap();
    Opened { log, report, found }
}

fn sim() -> SimDisk {
    SimDisk::new(1, u64::MAX, usize::MAX)
}

fn reopen(disk: &SimDisk) -> Opened<SimDisk> {
    open(disk.clone(), SEGMENT_BYTES, None)
}

/// The names of the segment files on a disk.
fn segment_files(disk: &SimDisk) -> Vec<String> {
    disk.files().into_iter().map(|(name, _)| name).filter(|name| name != "reserve").collect()
}
