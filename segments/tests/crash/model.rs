//! What must, may and must not be found on a disk after a crash.

use bytes::Bytes;
use protocol::{ClusterId, DiskId, ErrorKind};
use segments::sim::{Chance, SimDisk};
use segments::{Disk, Kind, Location, LogConfig, Mutation, Purpose, Record, SegmentLog, Stamp};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// So short that the scripts rotate, span and fill.
pub const SEGMENT_BYTES: u64 = 8192;

pub type Id = [u8; 17];
/// What is wrong, in words.
pub type Verdict<T> = Result<T, String>;

/// Records found, in log order.
pub type Visited = Vec<(Id, Location)>;

pub fn config(mutation: Option<Mutation>) -> LogConfig {
    // Half of the records have their payloads read by recovery, the others by a reader.
    let payload_kinds = vec![Kind::COMMIT];
    LogConfig { name: "crash", segment_bytes: SEGMENT_BYTES, payload_kinds, mutation, ..LogConfig::default() }
}

pub fn stamp() -> Stamp {
    Stamp { cluster: ClusterId(Uuid::from_u128(1)), log: DiskId(Uuid::from_u128(2)) }
}

/// Records that were submitted, and what came of them, on the time axis of disk calls.
#[derive(Default)]
pub struct Model {
    pub payloads: BTreeMap<Id, Bytes>,
    submitted: Vec<Submitted>,
    removals: Vec<Removal>,
    last_id: u64,
}

struct Submitted {
    id: Id,
    begun: u64,
    settled: u64,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Acknowledged(Location),
    /// Answered with an error that says that nothing counts.
    Refused,
    Unknown,
}

struct Removal {
    segment: u32,
    begun: u64,
    done: Option<u64>,
}

/// What a recovery may show.
#[derive(Clone, Default)]
pub struct Expected {
    pub must: BTreeMap<Id, Location>,
    pub may: BTreeSet<Id>,
}

impl Model {
    /// A model of what is submitted from now on, that knows the payloads of what was.
    pub fn successor(&self) -> Model {
        Model { payloads: self.payloads.clone(), last_id: self.last_id, ..Model::default() }
    }

    /// Records of these lengths. Every third one holds a whole segment file of the same log: it must stay data.
    pub fn make_records(&mut self, lengths: &[usize], chance: &mut Chance) -> Vec<Record> {
        lengths.iter().map(|length| self.make_record(*length, chance)).collect()
    }

    fn make_record(&mut self, length: usize, chance: &mut Chance) -> Record {
        self.last_id += 1;
        let mut id = [0; 17];
        id[..8].copy_from_slice(&self.last_id.to_le_bytes());
        id[8..16].copy_from_slice(&chance.next_u64().to_le_bytes());
        let kind = if self.last_id.is_multiple_of(2) { Kind::COMMIT } else { Kind::SHARD };
        let noise = std::iter::repeat_with(|| chance.next_u64() as u8).take(length);
        let data: Bytes = if self.last_id.is_multiple_of(3) { phantoms(length) } else { noise.collect() };
        self.payloads.insert(id, data.clone());
        Record::new(kind, id, data)
    }

    /// Appends, notes the answer, and reads back what was acknowledged.
    pub fn append(
        &mut self,
        log: &mut SegmentLog<SimDisk>,
        disk: &SimDisk,
        records: &[Record],
        purpose: Purpose,
    ) -> Verdict<Result<(), ErrorKind>> {
        let begun = disk.calls();
        let answer = log.append(records, purpose);
        let settled = disk.calls();
        let outcome_of = |index: usize| match &answer {
            Ok(locations) => Outcome::Acknowledged(locations[index]),
            Err(error) if error.kind == ErrorKind::Unknown => Outcome::Unknown,
            Err(_) => Outcome::Refused,
        };
        for (index, record) in records.iter().enumerate() {
            self.submitted.push(Submitted { id: record.id, begun, settled, outcome: outcome_of(index) });
        }
        for (record, location) in records.iter().zip(answer.iter().flatten()) {
            let read = log.reader().read(*location, &record.id).map_err(|error| format!("read at once: {error}"))?;
            if read != self.payloads[&record.id] {
                return Err("wrong bytes at the acknowledgement".to_owned());
            }
        }
        Ok(answer.map(|_| ()).map_err(|error| error.kind))
    }

    /// Removes the oldest segment, if it may be.
    pub fn remove_oldest(&mut self, log: &mut SegmentLog<SimDisk>, disk: &SimDisk) {
        let segments = log.segments();
        let Some(oldest) = segments.first().filter(|oldest| oldest.sealed && segments.len() > 1) else { return };
        let begun = disk.calls();
        let done = log.remove_segment(oldest.number).is_ok().then(|| disk.calls());
        self.removals.push(Removal { segment: oldest.number, begun, done });
    }

    /// A recovery has shown these: they count from now on, and whatever else was open does not.
    pub fn adopt(&mut self, visited: &Visited, now: u64) {
        let found: BTreeMap<Id, Location> = visited.iter().copied().collect();
        for submitted in self.submitted.iter_mut().filter(|submitted| submitted.outcome == Outcome::Unknown) {
            submitted.settled = now;
            submitted.outcome = found.get(&submitted.id).map_or(Outcome::Refused, |at| Outcome::Acknowledged(*at));
        }
    }

    /// What a disk may hold that crashed right after call number `call`.
    pub fn expected_at(&self, call: u64) -> Expected {
        let mut expected = Expected::default();
        for Submitted { id, begun, settled, outcome } in &self.submitted {
            match outcome {
                _ if call < *settled => {
                    if call > *begun {
                        expected.may.insert(*id);
                    }
                }
                Outcome::Acknowledged(location) => match self.removal_of(location.position.segment, call) {
                    None => {
                        expected.must.insert(*id, *location);
                    }
                    Some(Removal { done: Some(done), .. }) if *done <= call => {}
                    Some(_) => {
                        expected.may.insert(*id);
                    }
                },
                Outcome::Unknown => {
                    expected.may.insert(*id);
                }
                Outcome::Refused => {}
            }
        }
        expected
    }

    fn removal_of(&self, segment: u32, call: u64) -> Option<&Removal> {
        self.removals.iter().rev().find(|removal| removal.segment == segment && removal.begun < call)
    }

    /// Opens the log on a crashed disk and compares. `losses`: acknowledged records that may be missing or unreadable because bits
    /// were flipped; never may one have other bytes.
    pub fn check(
        &self,
        expected: &Expected,
        disk: &SimDisk,
        mutation: Option<Mutation>,
        losses: usize,
    ) -> Verdict<(SegmentLog<SimDisk>, Visited)> {
        let mut visited = Visited::new();
        let mut wrong = None;
        let opened = SegmentLog::open(disk.clone(), stamp(), config(mutation), None, &mut |record| {
            if record.data.as_ref().is_some_and(|data| self.payloads.get(&record.id) != Some(data)) {
                wrong = Some(record.location);
            }
            visited.push((record.id, record.location));
        });
        let (log, _) = opened.map_err(|error| format!("open: {error}"))?;
        if let Some(location) = wrong {
            return Err(format!("recovery gave wrong bytes for {location:?}"));
        }
        let mut lost = expected.must.iter().filter(|(id, at)| !visited.contains(&(**id, **at))).count();
        let reader = log.reader();
        for (id, location) in &visited {
            if !expected.must.contains_key(id) && !expected.may.contains(id) {
                let known = self.payloads.contains_key(id);
                return Err(format!("found a record that does not count (submitted: {known}) at {location:?}"));
            }
            match reader.read(*location, id) {
                Ok(data) if self.payloads.get(id) == Some(&data) => {}
                Ok(_) => return Err(format!("read wrong bytes at {location:?}")),
                Err(_) => lost += 1,
            }
        }
        if lost > losses {
            return Err(format!("{lost} records lost"));
        }
        let unique: BTreeSet<&Id> = visited.iter().map(|(id, _)| id).collect();
        if unique.len() != visited.len() {
            return Err("a record was found twice".to_owned());
        }
        Ok((log, visited))
    }
}

/// The first bytes of a segment file of the same cluster and log.
fn phantoms(length: usize) -> Bytes {
    thread_local! {
        static IMAGE: Bytes = phantom_image();
    }
    IMAGE.with(|image| image.slice(88.min(length)..length.min(image.len()).max(88.min(length))))
}

fn phantom_image() -> Bytes {
    let disk = SimDisk::new(0, u64::MAX, usize::MAX);
    let (mut log, _) = SegmentLog::open(disk.clone(), stamp(), config(None), None, &mut |_| {}).unwrap();
    let records: Vec<Record> =
        (0..80).map(|number| Record::new(Kind::SHARD, [0xee; 17], Bytes::from(vec![number; 24]))).collect();
    log.append(&records, Purpose::Data).unwrap();
    let name = disk.list().unwrap().into_iter().find(|name| name.ends_with(".seg")).unwrap();
    disk.content(&name).into()
}
