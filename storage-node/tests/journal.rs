//! The catalog journal: its contract, and what is left of it when the power goes at every call to the disk (laws 1, 11, 12; faults I11, I12).

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it says")]

use protocol::{
    ClusterId, DiskId, ErrorKind, JournalAppend, JournalAppended, JournalClaim, JournalEntry, JournalMark,
    JournalState, Result,
};
use segments::Stamp;
use segments::sim::{EIO, SimDisk};
use storage_node::journal::{Journal, JournalConfig};
use uuid::Uuid;

const SEGMENT_BYTES: u64 = 16 << 10;
const GROUP_BYTES: usize = 1_500;

fn disk() -> SimDisk {
    SimDisk::new(1, 64 << 20, 1_000)
}

fn open(disk: &SimDisk) -> Journal<SimDisk> {
    let stamp = Stamp { cluster: ClusterId(Uuid::from_u128(1)), log: DiskId(Uuid::from_u128(2)) };
    let config = JournalConfig { node: "n1".parse().unwrap(), stamp, segment_bytes: SEGMENT_BYTES };
    Journal::open(disk.clone(), config).unwrap()
}

fn claim(epoch: u64) -> JournalClaim {
    JournalClaim { epoch, holder: Uuid::from_u128(u128::from(epoch)) }
}

fn entry(sequence: u64, epoch: u64, previous: u64, whole_from: u64) -> JournalEntry {
    let group = vec![sequence as u8; GROUP_BYTES];
    JournalEntry::new(JournalMark { epoch, sequence }, previous, whole_from, b"", &group)
}

fn append(journal: &Journal<SimDisk>, epoch: u64, entries: &[JournalEntry]) -> Result<JournalAppended> {
    journal.append(JournalAppend { claim: claim(epoch), anew: false, entries: entries.to_vec() })
}

/// Appends `count` entries of epoch 1 from `from` on.
fn fill(journal: &Journal<SimDisk>, from: u64, count: u64, whole_from: u64) {
    for sequence in from..from + count {
        let appended = append(journal, 1, &[entry(sequence, 1, u64::from(sequence > 1), whole_from)]).unwrap();
        assert_eq!(appended.through, sequence);
    }
}

fn sequences(journal: &Journal<SimDisk>, from: u64) -> Vec<u64> {
    let bytes = journal.read(from, u64::MAX).unwrap();
    JournalEntry::decode_all(bytes).unwrap().iter().map(|entry| entry.mark.sequence).collect()
}

#[test]
fn what_was_appended_is_read_back_page_by_page_and_after_a_start() {
    let disk = disk();
    let journal = open(&disk);
    journal.claim(claim(1)).unwrap();
    fill(&journal, 1, 40, 1);
    for round in 0..2 {
        let journal = open(&disk);
        assert_eq!(sequences(&journal, 1), (1..=40).collect::<Vec<_>>(), "round {round}");
        let mut from = 1;
        while from <= 40 {
            let page = JournalEntry::decode_all(journal.read(from, 4_000).unwrap()).unwrap();
            assert!(!page.is_empty() && page.len() <= 2);
            assert!(page.iter().all(|entry| entry.group() == vec![entry.mark.sequence as u8; GROUP_BYTES]));
            from += page.len() as u64;
        }
        assert!(sequences(&journal, 41).is_empty());
        journal.close().unwrap();
    }
}

#[test]
fn a_lower_epoch_is_refused_for_ever() {
    let disk = disk();
    let journal = open(&disk);
    journal.claim(claim(1)).unwrap();
    fill(&journal, 1, 3, 1);
    journal.claim(claim(3)).unwrap();
    for journal in [journal, open(&disk)] {
        assert_eq!(append(&journal, 1, &[entry(4, 1, 1, 1)]).unwrap_err().kind, ErrorKind::Denied);
        assert_eq!(journal.claim(claim(2)).unwrap_err().kind, ErrorKind::Denied);
        let other = JournalClaim { holder: Uuid::from_u128(99), ..claim(3) };
        assert_eq!(journal.claim(other).unwrap_err().kind, ErrorKind::Denied, "an epoch has one holder");
        journal.claim(claim(3)).unwrap();
    }
}

#[test]
fn a_gap_is_told_and_an_entry_of_another_epoch_is_replaced() {
    let journal = open(&disk());
    journal.claim(claim(1)).unwrap();
    fill(&journal, 1, 3, 1);
    assert_eq!(append(&journal, 1, &[entry(5, 1, 1, 1)]).unwrap().through, 0);
    assert_eq!(append(&journal, 1, &[entry(2, 1, 1, 1), entry(3, 1, 1, 1)]).unwrap().through, 3, "again");
    journal.claim(claim(2)).unwrap();
    let appended = append(&journal, 2, &[entry(3, 2, 1, 1), entry(4, 2, 2, 1)]).unwrap();
    assert_eq!((appended.through, appended.state.last), (4, JournalMark { epoch: 2, sequence: 4 }));
    assert_eq!(sequences(&journal, 1), [1, 2, 3, 4]);
    assert_eq!(append(&journal, 2, &[entry(5, 2, 1, 1)]).unwrap().through, 0, "another one stands before it");
}

#[test]
fn what_a_whole_snapshot_makes_superfluous_goes_and_the_claim_stays() {
    let disk = disk();
    let journal = open(&disk);
    journal.claim(claim(1)).unwrap();
    fill(&journal, 1, 60, 1);
    let before = journal.state().bytes;
    fill(&journal, 61, 1, 50);
    let state = journal.state();
    assert!(state.bytes < before / 2 && state.first > 30 && state.first <= 50 && state.is_whole(), "{state:?}");
    drop(journal);
    let journal = open(&disk);
    assert_eq!(JournalState { bytes: state.bytes, ..journal.state() }, state, "a start finds the same");
    assert_eq!(sequences(&journal, 50), (50..=61).collect::<Vec<_>>());
    assert_eq!(
        journal.claim(JournalClaim { holder: Uuid::from_u128(9), ..claim(1) }).unwrap_err().kind,
        ErrorKind::Denied
    );
}

/// I14: what it answered and had to give up, it does not count as what it holds.
#[test]
fn a_journal_that_begins_anew_tells_what_it_had() {
    let disk = disk();
    let journal = open(&disk);
    journal.claim(claim(1)).unwrap();
    fill(&journal, 1, 50, 1);
    let anew = JournalAppend { claim: claim(1), anew: true, entries: vec![entry(30, 1, 1, 30)] };
    let had = JournalMark { epoch: 1, sequence: 50 };
    let state = journal.append(anew).unwrap().state;
    assert_eq!((state.last.sequence, state.promised), (30, had));
    drop(journal);
    let journal = open(&disk);
    assert_eq!(journal.state().promised, had, "a start finds the same");
    // Its old segments go, and the note with them was not lost.
    fill(&journal, 31, 10, 30);
    fill(&journal, 41, 5, 41);
    assert_eq!(open(&disk).state().promised, had);
}

#[test]
fn it_goes_on_on_a_full_disk_as_deletes_do_and_says_when_its_reserve_is_gone() {
    let disk = disk();
    let journal = open(&disk);
    journal.claim(claim(1)).unwrap();
    fill(&journal, 1, 1, 1);
    let used: u64 = disk.files().iter().map(|(_, bytes)| bytes).sum();
    disk.set_room(used, 1_000);
    let mut sequence = 2;
    while append(&journal, 1, &[entry(sequence, 1, 1, 1)]).is_ok_and(|appended| appended.state.room.spare) {
        sequence += 1;
    }
    assert!(sequence > 5 && !journal.state().room.spare);
    disk.set_room(64 << 20, 1_000);
    let state = append(&journal, 1, &[entry(journal.state().last.sequence + 1, 1, 1, 1)]).unwrap().state;
    assert!(state.room.spare, "with room again it keeps a spare segment again");
}

#[test]
fn a_failed_fsync_is_not_an_acknowledgement() {
    let disk = disk();
    let journal = open(&disk);
    journal.claim(claim(1)).unwrap();
    fill(&journal, 1, 3, 1);
    disk.fail_from(disk.calls() + 1, EIO);
    assert!(append(&journal, 1, &[entry(4, 1, 1, 1)]).is_err());
    disk.heal();
    fill(&journal, 4, 3, 1);
    assert_eq!(sequences(&open(&disk), 1), [1, 2, 3, 4, 5, 6]);
}

/// Law 1: at every call to the disk the power goes, and any part of what was not synced with it.
#[test]
fn a_power_cut_at_any_call_keeps_what_was_answered() {
    let disk = disk();
    disk.record_snapshots();
    // After each answer: the number of calls so far, the claim and the last entry that must be there from then on.
    let mut answered = vec![(0, 0, 0)];
    let journal = open(&disk);
    journal.claim(claim(1)).unwrap();
    answered.push((disk.calls(), 1, 0));
    for sequence in 1..=30 {
        let whole_from = if sequence < 24 { 1 } else { 16 };
        let entry = entry(sequence, 1, u64::from(sequence > 1), whole_from);
        append(&journal, 1, &[entry]).unwrap();
        answered.push((disk.calls(), 1, sequence));
    }
    journal.claim(claim(2)).unwrap();
    answered.push((disk.calls(), 2, 30));
    let mut cuts = 0;
    for snapshot in disk.take_snapshots() {
        let (_, epoch, last) = *answered.iter().rev().find(|(calls, ..)| *calls <= snapshot.call).unwrap();
        for pattern in 0..4_u32 {
            let mut asked = 0_u32;
            let after = snapshot.power_cut(&mut || {
                asked += 1;
                match pattern {
                    0 => false,
                    1 => true,
                    2 => asked.is_multiple_of(2),
                    _ => !asked.is_multiple_of(3),
                }
            });
            let state = open(&after).state();
            cuts += 1;
            assert!(state.claim.epoch >= epoch, "call {}: claim {}", snapshot.call, state.claim);
            assert!(state.last.sequence >= last, "call {}: {} of {last}", snapshot.call, state.last);
            assert!(last == 0 || state.is_whole(), "call {}: {state:?}", snapshot.call);
            let journal = open(&after);
            let found = sequences(&journal, state.first.max(1));
            assert_eq!(found.last().copied().unwrap_or(0), state.last.sequence, "call {}", snapshot.call);
        }
    }
    assert!(cuts > 400, "{cuts} cuts");
}
