//! The format of version 1, for ever: a segment file written by the first release is read by every later one.

use super::{id, noise, open, record, sim, stamp};
use segments::{Disk, Kind, Purpose, Record};

const GOLDEN: &[u8] = include_bytes!("golden-segment-v1.seg");

fn records() -> Vec<Record> {
    let tombstone = Record { kind: Kind::TOMBSTONE, ..record(2, 0) };
    let commit = Record { kind: Kind::COMMIT, ..record(3, 13) };
    vec![record(1, 300), tombstone, commit]
}

#[test]
fn a_segment_of_version_1_is_read_and_written_the_same() {
    let disk = sim();
    let mut opened = open(disk.clone(), 16 << 10, None);
    opened.log.append(&records(), Purpose::Data).unwrap();
    opened.log.seal().unwrap();
    let written = disk.content("0000000001.seg");
    if std::env::var_os("HOLDFAST_WRITE_GOLDEN").is_some() {
        segments::durable::write_file(
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/behaviour/golden-segment-v1.seg"),
            &written,
        )
        .unwrap();
    }
    assert_eq!(written, GOLDEN);

    let disk = sim();
    disk.set_content("0000000001.seg", GOLDEN);
    let opened = open(disk.clone(), 16 << 10, None);
    let found: Vec<_> = opened.found.iter().map(|found| (found.kind, found.id, found.location.length)).collect();
    assert_eq!(found, [(Kind::SHARD, id(1), 300), (Kind::TOMBSTONE, id(2), 0), (Kind::COMMIT, id(3), 13)]);
    assert_eq!(opened.found[2].data, Some(noise(3, 13)));
    assert_eq!((opened.report.segments_unsealed, opened.report.damaged), (0, 0));
    assert_eq!(disk.list().unwrap().len(), 2, "the segment and the reserve");
    assert_eq!(opened.log.reader().read(opened.found[0].location, &id(1)).unwrap(), noise(1, 300));
    assert_eq!(stamp().cluster.0.as_u128(), 7, "part of the golden file");
}
