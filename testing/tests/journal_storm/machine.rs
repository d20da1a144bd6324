//! A coordinator of the simulation: the real journal and the real claims over a log that is a list. What it does for each group, and in
//! which order, is what `metadata/sled/writer.rs` says it does.

use crate::keeper::{Bug, Keepers, planted};
use async_trait::async_trait;
use coordinator::metadata::journal::claim::{ClaimFile, Claimed, Unclaimed, attempt};
use coordinator::metadata::journal::quorum::Voters;
use coordinator::metadata::journal::{Journal, JournalMembers, JournalSource, LogEnd, Phase};
use coordinator::metadata::{LogStretch, Reserve};
use protocol::{Error, JournalClaim, JournalEntry, JournalMark, NodeId, Result};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testing::sim::clock::SimClock;
use tokio::runtime::Handle;
use tokio::time::sleep;

const PATIENCE: Duration = Duration::from_secs(5);
/// Entries are this long, so that few of them fill a segment.
const GROUP_BYTES: usize = 1_500;
/// A snapshot begins when so many groups stand in the log.
pub const SNAPSHOT_GROUPS: usize = 24;
/// How often a start tries to claim before it is given up.
const ATTEMPTS: usize = 6;

/// A directory: it survives its process.
#[derive(Clone)]
pub struct Directory {
    pub path: PathBuf,
    pub log: Arc<Mutex<Vec<JournalEntry>>>,
}

#[async_trait]
impl JournalSource for Directory {
    async fn entries(&self, from: u64, limit_bytes: u64) -> Result<Vec<JournalEntry>> {
        let log = self.log.lock().unwrap();
        let mut bytes = 0;
        let fits = |entry: &&JournalEntry| {
            bytes += entry.frame().len() as u64;
            bytes <= limit_bytes.min(8_000)
        };
        let behind = log.iter().filter(|entry| entry.mark.sequence >= from).take_while(fits);
        let found: Vec<JournalEntry> = behind.cloned().collect();
        match found.first() {
            Some(first) if first.mark.sequence == from => Ok(found),
            _ => Err(Error::not_found(format!("the log has no group {from}"))),
        }
    }
}

impl Directory {
    pub fn end(&self, voters: Voters) -> LogEnd {
        let log = self.log.lock().unwrap();
        let (last, whole_from) = log.last().map_or((JournalMark::default(), 1), |last| (last.mark, last.whole_from));
        LogEnd { last, whole_from, voters }
    }
}

/// What the state is after these entries: the ids committed, in order; an error if they do not give a whole one.
pub fn state_of(entries: &[JournalEntry], whole_from: u64) -> std::result::Result<Vec<u64>, String> {
    let parse = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).unwrap() };
    let ids =
        |value: &Value| value["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect::<Vec<_>>();
    let entries: Vec<&JournalEntry> = entries.iter().filter(|entry| entry.mark.sequence >= whole_from).collect();
    if entries.windows(2).any(|two| two[1].mark.sequence != two[0].mark.sequence + 1) {
        return Err("the entries have a gap".to_owned());
    }
    let mut state = Vec::new();
    if whole_from > 1 {
        let pieces: Vec<Value> = entries
            .iter()
            .filter(|entry| !entry.snapshot().is_empty())
            .map(|entry| parse(&entry.snapshot()))
            .filter(|piece| piece["begin"] == whole_from)
            .collect();
        if pieces.len() != 2 || entries.first().is_none_or(|first| first.mark.sequence != whole_from) {
            return Err(format!("{} of 2 pieces of snapshot {whole_from}", pieces.len()));
        }
        pieces.iter().for_each(|piece| state.extend(ids(piece)));
    }
    entries.iter().for_each(|entry| state.extend(ids(&parse(&entry.group()))));
    Ok(state)
}

/// What a client hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Acknowledged,
    Refused,
    Unknown,
}

/// Where a process dies while it commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    Never,
    BeforeAppend,
    BeforeQuorum,
    BeforeAnswer,
    /// It does not die: its disk fails the append.
    AppendFails,
}

/// A running coordinator.
pub struct Process {
    pub directory: Directory,
    journal: Arc<Journal>,
    keepers: Arc<Keepers>,
    clock: Arc<SimClock>,
    epoch: u64,
    state: Vec<u64>,
    late: Option<(u64, u64)>,
    snapshot: Option<(u64, Vec<u64>)>,
    pub alive: bool,
}

impl Process {
    /// Starts it: claims, takes over, sends what is missing. An error says why it does not serve.
    pub async fn start(
        directory: Directory,
        keepers: Arc<Keepers>,
        clock: Arc<SimClock>,
        barrier: u64,
    ) -> std::result::Result<Process, String> {
        let journal = Journal::new(
            Arc::clone(&keepers) as Arc<dyn JournalMembers>,
            Arc::new(directory.clone()),
            Handle::current(),
        );
        let (epoch, state) = (0, Vec::new());
        let mut process =
            Process { directory, journal, keepers, clock, epoch, state, late: None, snapshot: None, alive: true };
        process.claim().await?;
        process.commit(barrier, Death::Never).await;
        Ok(process)
    }

    async fn claim(&mut self) -> std::result::Result<(), String> {
        let mut file = ClaimFile::read(&self.directory.path).unwrap();
        for _ in 0..ATTEMPTS {
            let end = self.directory.end(self.keepers.voters());
            match attempt(&self.keepers.members(), &end, &mut file, &*self.clock).await {
                Ok(Claimed { claim, adopted }) => {
                    let mut log = self.directory.log.lock().unwrap();
                    log.extend(adopted);
                    let whole_from = log.last().map_or(1, |last| last.whole_from);
                    self.state = state_of(&log, whole_from)?;
                    drop(log);
                    (self.epoch, self.late, self.snapshot) = (claim.epoch, None, None);
                    self.journal.begin(claim, &self.directory.end(self.keepers.voters()));
                    return Ok(());
                }
                Err(Unclaimed::Refused(why)) => return Err(why),
                Err(Unclaimed::Later(_)) => sleep(Duration::from_secs(1)).await,
            }
        }
        Err("too few nodes answer".to_owned())
    }

    /// Commits one id.
    pub async fn commit(&mut self, id: u64, death: Death) -> Answer {
        if matches!(self.journal.phase(), Phase::Unclaimed(_)) && self.claim().await.is_err() {
            return Answer::Refused;
        }
        if let Some((sequence, id)) = self.late.take_if(|(sequence, _)| self.journal.holds(*sequence)) {
            assert!(sequence > 0);
            self.state.push(id);
        }
        if self.late.is_some() || self.journal.check(Reserve::None).is_err() {
            return Answer::Refused;
        }
        let entry = self.next_entry(id);
        let sequence = entry.mark.sequence;
        self.journal.send(entry.clone());
        match death {
            Death::BeforeAppend => return self.die(),
            Death::AppendFails => {
                self.journal.lose_claim("the disk failed");
                return Answer::Unknown;
            }
            Death::Never | Death::BeforeQuorum | Death::BeforeAnswer => {}
        }
        self.directory.log.lock().unwrap().push(entry);
        if death == Death::BeforeQuorum {
            return self.die();
        }
        if planted() != Bug::AckBeforeQuorum && self.journal.wait(sequence, PATIENCE).await.is_err() {
            self.late = Some((sequence, id));
            self.journal.give_up_waiting(sequence);
            return Answer::Unknown;
        }
        self.keepers.admit_all();
        self.state.push(id);
        self.cut_down(sequence);
        if death == Death::BeforeAnswer { self.die() } else { Answer::Acknowledged }
    }

    /// The next group; a piece of a snapshot goes with its first and its third one.
    /// Whether it holds an epoch that a node which obeys this claim would obey.
    pub fn is_above(&self, obeyed: &JournalClaim) -> bool {
        matches!(self.journal.phase(), Phase::Claimed(claim) if claim.supersedes(obeyed))
    }

    /// Reads what a node keeps to its end; whether all of it is whole.
    pub async fn scrub(&self, node: &NodeId) -> Result<bool> {
        let mut next = Some(LogStretch::ALL);
        while let Some(groups) = next {
            let read = self.journal.scrub(Some(node), groups).await?;
            if read.damaged > 0 {
                return Ok(false);
            }
            next = read.next;
        }
        Ok(true)
    }

    fn next_entry(&mut self, id: u64) -> JournalEntry {
        let log = self.directory.log.lock().unwrap();
        let (last, mut whole_from) =
            log.last().map_or((JournalMark::default(), 1), |last| (last.mark, last.whole_from));
        let sequence = last.sequence + 1;
        if self.snapshot.is_none() && log.len() >= SNAPSHOT_GROUPS {
            self.snapshot = Some((sequence, self.state.clone()));
        }
        let mut piece = Vec::new();
        if let Some((begin, ids)) = &self.snapshot {
            let half = ids.len() / 2;
            let part = match sequence - begin {
                0 => Some(&ids[..half]),
                2 => Some(&ids[half..]),
                _ => None,
            };
            if let Some(part) = part {
                piece = serde_json::to_vec(&json!({ "begin": begin, "ids": part })).unwrap();
            }
            if sequence - begin == 2 || planted() == Bug::TrimBeforeWhole {
                whole_from = *begin;
            }
        }
        let mut group = serde_json::to_vec(&json!({ "ids": [id] })).unwrap();
        group.resize(GROUP_BYTES, b' ');
        let mark = JournalMark { epoch: self.epoch, sequence };
        JournalEntry::new(mark, last.epoch, whole_from, &piece, &group)
    }

    /// With a whole snapshot on a quorum the log begins with it.
    fn cut_down(&mut self, sequence: u64) {
        if let Some((begin, _)) = self.snapshot.take_if(|(begin, _)| sequence - *begin >= 2) {
            self.directory.log.lock().unwrap().retain(|entry| entry.mark.sequence >= begin);
        }
    }

    fn die(&mut self) -> Answer {
        self.alive = false;
        Answer::Unknown
    }

    /// Ends it; what it had sent may still be on its way for a while.
    pub fn kill(&mut self, linger: Duration) {
        self.alive = false;
        let journal = Arc::clone(&self.journal);
        tokio::task::spawn_local(async move {
            sleep(linger).await;
            journal.end();
        });
    }
}
