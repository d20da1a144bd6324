//! One storm from a seed: what happens, and whether what was promised holds.

use crate::keeper::{Bug, Keeper, Keepers, Weather, plant};
use crate::machine::{Answer, Death, Directory, Process, SNAPSHOT_GROUPS, state_of};
use coordinator::metadata::journal::JournalMembers;
use coordinator::metadata::journal::claim::ClaimFile;
use coordinator::metadata::journal::quorum::Electorate;
use coordinator::metadata::journal::restore::{Survey, claim, read_back, survey};
use protocol::{JournalEntry, JournalState};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use testing::sim::clock::SimClock;
use testing::sim::rng::Rng;
use testing::sim::runtime::simulate;
use tokio::time::{Instant, sleep, timeout};

const STEPS: u64 = 90;
/// Storms have so many nodes, or one or two more.
const NODES_MIN: usize = 3;
/// How long an emptied node is given to catch up.
const CATCH_UP_S: u64 = 120;

/// How often things happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    acknowledged: u64,
    refused: u64,
    unknown: u64,
    deaths: u64,
    power_cuts: u64,
    replaced: u64,
    rotten: u64,
    restores: u64,
    copies_refused: u64,
    copies_served: u64,
}

impl Counts {
    pub fn add(&mut self, other: &Counts) {
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.deaths += other.deaths;
        self.power_cuts += other.power_cuts;
        self.replaced += other.replaced;
        self.rotten += other.rotten;
        self.restores += other.restores;
        self.copies_refused += other.copies_refused;
        self.copies_served += other.copies_served;
    }

    /// A storm in which one of these never happened has tested less than it says.
    pub fn require_all_happened(&self) {
        let Counts { acknowledged, refused, unknown, deaths, power_cuts, replaced, restores, .. } = *self;
        let all = [
            acknowledged,
            refused,
            unknown,
            deaths,
            power_cuts,
            replaced,
            self.rotten,
            restores,
            self.copies_refused,
            self.copies_served,
        ];
        assert!(all.iter().all(|count| *count > 0), "{self:?}");
    }
}

struct Storm {
    rng: Rng,
    dir: TempDir,
    clock: Arc<SimClock>,
    keepers: Arc<Keepers>,
    process: Option<Process>,
    directory: Directory,
    /// A copy of the directory, made at some time.
    backup: Option<Directory>,
    /// The node whose disk is not known to be whole again.
    emptied: Option<usize>,
    /// Whether that is because it rotted, and nobody has read all of it since.
    is_rotten: bool,
    next_id: u64,
    directories: u64,
    acknowledged: Vec<u64>,
    refused: BTreeSet<u64>,
    counts: Counts,
    violations: Vec<String>,
}

/// What is acknowledged under the claims before counts, too.
#[test]
fn a_rotten_journal_is_kept_after_a_new_claim_until_others_hold_what_was_acknowledged() {
    let ((), panics) = simulate(async {
        let dir = tempfile::tempdir().unwrap();
        let keepers = Arc::new(Keepers((1..=4).map(|number| Keeper::new(number, 1)).collect()));
        let [rotten, well, behind, gone] = [0, 1, 2, 3].map(|place| &*keepers.0[place]);
        let directory = Directory { path: dir.path().to_owned(), log: Arc::default() };
        let clock = SimClock::new(Instant::now(), 1, 1, 0);
        let mut process = Process::start(directory, Arc::clone(&keepers), clock, 1).await.unwrap();
        behind.power_cut();
        gone.power_cut();
        for id in 2..=SNAPSHOT_GROUPS as u64 / 2 {
            assert_eq!(process.commit(id, Death::Never).await, Answer::Acknowledged);
        }
        assert!(rotten.rot());
        assert!(!process.scrub(&rotten.name).await.unwrap());
        let acknowledged = well.holds().unwrap().last;
        assert_eq!(rotten.holds().unwrap().promised.sequence, 0, "it cannot be done without");

        behind.start();
        assert_eq!(process.commit(100, Death::AppendFails).await, Answer::Unknown);
        behind.set_weather(Weather { lost_per_mille: 0, delay_ms_max: 1_000 });
        let begins_anew = async {
            while rotten.holds().unwrap().promised.sequence == 0 {
                sleep(Duration::from_millis(1)).await;
            }
            behind.holds().unwrap().last >= acknowledged
        };
        let writes = async {
            for id in 101.. {
                process.commit(id, Death::Never).await;
                sleep(Duration::from_secs(1)).await;
            }
        };
        let is_elsewhere = tokio::select! {
            is_elsewhere = timeout(Duration::from_secs(60), begins_anew) => is_elsewhere.expect("it begins anew"),
            () = writes => unreachable!("ids do not end"),
        };
        assert!(is_elsewhere, "what was acknowledged was on one node, whole");
        process.kill(Duration::ZERO);
        sleep(Duration::from_secs(1)).await;
    });
    assert!(panics.is_empty(), "{panics:?}");
}

/// Runs a storm; what happened, and what was violated.
pub fn storm(seed: u64, bug: Bug) -> (Counts, Vec<String>) {
    plant(bug);
    let ((counts, mut violations), panics) = simulate(async move {
        let mut storm = Storm::new(seed);
        storm.run().await;
        (storm.counts, storm.violations)
    });
    plant(Bug::None);
    violations.extend(panics);
    (counts, violations)
}

impl Storm {
    fn new(seed: u64) -> Storm {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
        let keepers =
            Arc::new(Keepers((1..=NODES_MIN + seed as usize % 3).map(|number| Keeper::new(number, seed)).collect()));
        let directory = Directory { path: dir.path().join("0"), log: Arc::default() };
        std::fs::create_dir(&directory.path).unwrap();
        Storm {
            rng: Rng::new(seed, 1),
            dir,
            clock: SimClock::new(Instant::now(), seed, 1, 0),
            keepers,
            process: None,
            directory,
            backup: None,
            emptied: None,
            is_rotten: false,
            next_id: 1,
            directories: 1,
            acknowledged: Vec::new(),
            refused: BTreeSet::new(),
            counts: Counts::default(),
            violations: Vec::new(),
        }
    }

    async fn run(&mut self) {
        self.start().await;
        for _ in 0..STEPS {
            self.step().await;
            if !self.violations.is_empty() {
                return;
            }
        }
        // The end: the coordinator's disk is lost, and the disk of one node.
        self.calm();
        let lost = self.emptied.unwrap_or_else(|| self.pick_node());
        self.emptied = Some(lost);
        self.keepers.0[lost].power_cut();
        self.lose_and_restore().await;
    }

    async fn step(&mut self) {
        match self.rng.below(100) {
            0..62 => self.commit(Death::Never).await,
            62..70 => {
                let deaths = [Death::BeforeAppend, Death::BeforeQuorum, Death::BeforeAnswer, Death::AppendFails];
                let death = *self.rng.pick(&deaths);
                self.commit(death).await;
            }
            70..78 => {
                let node = self.pick_node();
                let keeper = &self.keepers.0[node];
                if keeper.is_up() {
                    keeper.power_cut();
                    self.counts.power_cuts += 1;
                } else {
                    keeper.start();
                }
            }
            78..84 => self.keepers.0.iter().for_each(|keeper| keeper.start()),
            84..88 => self.change_weather(),
            88..90 => self.restart().await,
            90..92 => self.backup = Some(self.copy_directory()),
            92..95 => self.start_backup().await,
            95..97 => self.lose_disk().await,
            _ => {
                self.keepers.0.iter().for_each(|keeper| keeper.start());
                self.lose_and_restore().await;
            }
        }
    }

    fn change_weather(&mut self) {
        let lost_per_mille = *self.rng.pick(&[0, 0, 30, 150]);
        let delay_ms_max = *self.rng.pick(&[1, 20, 400]);
        self.keepers.0.iter().for_each(|keeper| keeper.set_weather(Weather { lost_per_mille, delay_ms_max }));
    }

    fn calm(&self) {
        self.keepers.0.iter().for_each(|keeper| {
            keeper.set_weather(Weather::default());
            keeper.start();
        });
    }

    fn pick_node(&mut self) -> usize {
        self.rng.below(self.keepers.0.len() as u64) as usize
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    async fn commit(&mut self, death: Death) {
        if self.process.is_none() {
            self.start().await;
        }
        let id = self.fresh_id();
        let Some(process) = &mut self.process else {
            self.refused.insert(id);
            return;
        };
        let answer = process.commit(id, death).await;
        let died = !process.alive;
        self.note(id, answer);
        if died {
            self.counts.deaths += 1;
            self.kill();
        }
    }

    fn note(&mut self, id: u64, answer: Answer) {
        match answer {
            Answer::Acknowledged => {
                self.counts.acknowledged += 1;
                self.acknowledged.push(id);
            }
            Answer::Refused => {
                self.counts.refused += 1;
                self.refused.insert(id);
            }
            Answer::Unknown => self.counts.unknown += 1,
        }
    }

    fn kill(&mut self) {
        let linger = Duration::from_millis(self.rng.below(600));
        if let Some(mut process) = self.process.take() {
            process.kill(linger);
        }
    }

    async fn restart(&mut self) {
        self.kill();
        self.start().await;
    }

    async fn start(&mut self) {
        let barrier = self.fresh_id();
        let (directory, keepers) = (self.directory.clone(), Arc::clone(&self.keepers));
        let started = Process::start(directory, keepers, Arc::clone(&self.clock), barrier).await;
        let Ok(process) = started else { return };
        let log = process.directory.log.lock().unwrap().clone();
        let whole_from = log.last().map_or(1, |last| last.whole_from);
        self.check("a start", state_of(&log, whole_from));
        self.process = Some(process);
    }

    fn new_directory(&mut self, log: Vec<JournalEntry>) -> Directory {
        let path = self.dir.path().join(self.directories.to_string());
        self.directories += 1;
        std::fs::create_dir(&path).unwrap();
        Directory { path, log: Arc::new(Mutex::new(log)) }
    }

    fn copy_directory(&mut self) -> Directory {
        let log = self.directory.log.lock().unwrap().clone();
        let claim = ClaimFile::read(&self.directory.path).unwrap().claim;
        let copy = self.new_directory(log);
        ClaimFile::read(&copy.path).unwrap().write(claim).unwrap();
        copy
    }

    /// An old copy is started beside the coordinator that runs. If it is equal to it, it may take over; then the other is fenced.
    async fn start_backup(&mut self) {
        let Some(backup) = self.backup.take() else { return };
        let barrier = self.fresh_id();
        let started = Process::start(backup, Arc::clone(&self.keepers), Arc::clone(&self.clock), barrier).await;
        let Ok(mut copy) = started else {
            self.counts.copies_refused += 1;
            return;
        };
        self.counts.copies_served += 1;
        for _ in 0..3 {
            let (one, other) = (self.fresh_id(), self.fresh_id());
            let answer = copy.commit(one, Death::Never).await;
            self.note(one, answer);
            if let Some(process) = &mut self.process {
                let answer = process.commit(other, Death::Never).await;
                self.note(other, answer);
            }
        }
        // From here on the copy is the coordinator; the other process goes on for a moment, and its directory is forgotten.
        self.kill();
        self.directory = copy.directory.clone();
        self.process = Some(copy);
    }

    /// The fault model knows one lost or rotten disk at a time: the next one only when this one has all again.
    async fn lose_disk(&mut self) {
        if !self.has_caught_up().await {
            return;
        }
        let node = self.pick_node();
        self.emptied = Some(node);
        self.is_rotten = self.rng.chance(500) && self.keepers.0[node].rot();
        match self.is_rotten {
            true => self.counts.rotten += 1,
            false => {
                self.keepers.0[node].replace();
                self.counts.replaced += 1;
            }
        }
    }

    /// A scrub reads the whole of what the node keeps; what it finds is sent anew.
    async fn scrub(&mut self, node: usize) {
        let Some(process) = &self.process else { return };
        if let Ok(true) = process.scrub(&self.keepers.0[node].name).await {
            self.is_rotten = false;
        }
    }

    async fn has_caught_up(&mut self) -> bool {
        let Some(node) = self.emptied else { return true };
        self.calm();
        for _ in 0..CATCH_UP_S {
            self.commit(Death::Never).await;
            sleep(Duration::from_secs(1)).await;
            if self.is_rotten {
                self.scrub(node).await;
            }
            let newest = self.keepers.0.iter().filter_map(|keeper| keeper.holds()).map(|state| state.last).max();
            let caught_up =
                self.keepers.0[node].holds().is_some_and(|state| state.is_whole() && Some(state.last) == newest);
            if caught_up && !self.is_rotten {
                self.emptied = None;
                return true;
            }
        }
        // Where a start or a restore died between two claims, the node may obey one that is not below this process's: then only a restore helps.
        let obeys = self.keepers.0[node].holds().map(|state| state.claim).unwrap_or_default();
        if self.process.as_ref().is_some_and(|process| process.is_above(&obeys)) {
            self.violations.push(format!("n{} did not catch up", node + 1));
        }
        false
    }

    /// The coordinator's directory is gone; the catalog is made from the nodes.
    async fn lose_and_restore(&mut self) {
        self.kill();
        self.counts.restores += 1;
        let members = self.keepers.members();
        let survey = match survey(&members).await {
            Ok(survey) => survey,
            Err(error) if self.acknowledged.is_empty() => {
                assert!(!error.message.is_empty());
                return self.begin_anew();
            }
            // Too few answered: it is tried again by whoever lost it.
            Err(_) => return,
        };
        let electorate = Electorate { voters: self.keepers.voters(), members: members.len() };
        let holding = |survey: &Survey| {
            let newest = survey.newest();
            let holds = |state: &JournalState| state.last.sequence > 0 && electorate.remembers(state, newest);
            survey.answers.iter().filter(|(_, state)| holds(state)).count()
        };
        if holding(&survey) < electorate.read_quorum() {
            return;
        }
        let survey = claim(&survey, &*self.clock).await;
        let holding = holding(&survey);
        if holding < electorate.read_quorum() {
            return;
        }
        let mut entries = Vec::new();
        let read = read_back(&survey, &mut |page| {
            entries.extend_from_slice(page);
            Ok(())
        })
        .await;
        match read {
            Ok(read) => {
                self.check("a restore", state_of(&entries, read.first));
                let directory = self.new_directory(entries);
                ClaimFile::read(&directory.path).unwrap().write(survey.claim).unwrap();
                (self.directory, self.backup) = (directory, None);
                self.start().await;
            }
            // Answers may be lost on the way; in calm weather they are not.
            Err(error) if error.message.contains("no answer") || error.message.contains("refused") => {}
            // A node away and another one rotten are two at once.
            Err(_) if self.is_rotten && survey.answers.len() < members.len() => {}
            Err(error) => self.violations.push(format!("a restore failed: {error}")),
        }
    }

    fn begin_anew(&mut self) {
        self.directory = self.new_directory(Vec::new());
        self.backup = None;
    }

    fn check(&mut self, when: &str, state: std::result::Result<Vec<u64>, String>) {
        let state = match state {
            Ok(state) => state,
            Err(why) => return self.violations.push(format!("{when}: {why}")),
        };
        let mut seen = BTreeSet::new();
        if let Some(twice) = state.iter().find(|id| !seen.insert(**id)) {
            self.violations.push(format!("{when}: {twice} is there twice"));
        }
        if let Some(refused) = state.iter().find(|id| self.refused.contains(*id)) {
            self.violations.push(format!("{when}: {refused} is there, and was refused"));
        }
        let acknowledged: BTreeSet<u64> = self.acknowledged.iter().copied().collect();
        let found: Vec<u64> = state.iter().copied().filter(|id| acknowledged.contains(id)).collect();
        if found != self.acknowledged {
            let lost: Vec<&u64> = self.acknowledged.iter().filter(|id| !seen.contains(*id)).collect();
            self.violations.push(format!("{when}: acknowledged and lost, or in another order: {lost:?}"));
        }
    }
}
