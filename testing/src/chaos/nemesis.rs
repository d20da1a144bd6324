//! Carries the schedule out on a real cluster, and puts everything right again.
//!
//! What it keeps true: a disk or a copy is lost for good only while the cluster says that it is whole (fault model: one permanent loss at a
//! time); and when [`Nemesis::run`] returns, every process runs and no fault is left.

use super::schedule::{Kind, Step, Target};
use super::whole::{Healing, Until, look_again, wait_until};
use crate::real::{Cluster, Server, Toxic, flip_bits_in, mix};
use segments::durable;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long a process may take to end when it is asked to: requests under way have 30 s.
const STOP_WAIT: Duration = Duration::from_secs(40);
/// How long the cluster may take to mend one loss under load before the next: workers yield to clients, and a debug build on two busy cores
/// mends about a hundred chunks a second.
const MEND_WAIT: Duration = Duration::from_secs(600);
/// What a full disk is given back.
pub(super) const SMALL_DISK_BYTES: u64 = 6 << 30;

/// What goes wrong, as it does.
pub(super) struct Nemesis<'a> {
    pub cluster: &'a mut Cluster,
    pub healing: Healing,
    pub seed: u64,
    pub begun: Instant,
    /// Connections that are put right later.
    later: JoinSet<()>,
    fired: BTreeMap<Kind, u64>,
}

impl<'a> Nemesis<'a> {
    pub fn new(cluster: &'a mut Cluster, healing: Healing, seed: u64) -> Nemesis<'a> {
        let fired = BTreeMap::new();
        Nemesis { cluster, healing, seed, begun: Instant::now(), later: JoinSet::new(), fired }
    }

    /// Carries out the steps for as long as faults are to last, and until each of their kinds has struck: a loss waits until the one before
    /// is mended, so not all steps may be reached. Gives how often each kind came to pass. An error says why the cluster could not be
    /// mended.
    pub async fn run(mut self, steps: &[Step], lasts: Duration) -> Result<BTreeMap<Kind, u64>, String> {
        for (number, step) in steps.iter().enumerate() {
            if self.begun.elapsed() >= lasts && steps.iter().all(|step| self.fired.contains_key(&step.kind)) {
                println!("{:8.1?} time is up; {} steps are left out", self.begun.elapsed(), steps.len() - number);
                break;
            }
            tokio::time::sleep(Duration::from_millis(step.pause_ms)).await;
            if step.kind.is_permanent() {
                self.calm().await;
                self.mended().await.map_err(|why| {
                    format!("step {number}, {:?}: what was lost before is not mended: {why}", step.kind)
                })?;
            }
            println!("{:8.1?} step {number}: {}", self.begun.elapsed(), serde_json::json!(step));
            if self.step(number as u64, step).await {
                *self.fired.entry(step.kind).or_default() += 1;
            }
        }
        self.calm().await;
        Ok(self.fired)
    }

    /// Waits until one more thing may be lost. What has rotted is only known to whoever looks for it.
    async fn mended(&self) -> Result<(), String> {
        let client = self.cluster.client();
        match self.fired.keys().any(|kind| kind.is_permanent()) {
            true => look_again(Until::Mended, &client, self.healing, MEND_WAIT).await,
            false => wait_until(Until::Mended, &client, self.healing, MEND_WAIT).await.map(drop),
        }
    }

    /// Waits until no connection is troubled any more.
    async fn calm(&mut self) {
        while let Some(done) = self.later.join_next().await {
            done.expect("a valve does not panic");
        }
    }

    /// One step; `false` if there was nothing to do it to.
    async fn step(&mut self, number: u64, step: &Step) -> bool {
        let lasts = Duration::from_millis(step.lasts_ms);
        match step.kind {
            Kind::Kill | Kind::KillAll => {
                step.targets.iter().for_each(|target| self.server(*target).kill());
                tokio::time::sleep(lasts).await;
                self.start(&step.targets).await;
            }
            Kind::Terminate => {
                for target in &step.targets {
                    self.terminate(*target).await;
                }
                tokio::time::sleep(lasts).await;
                self.start(&step.targets).await;
            }
            Kind::Stop => {
                step.targets.iter().for_each(|target| self.server(*target).freeze());
                tokio::time::sleep(lasts).await;
                step.targets.iter().for_each(|target| self.server(*target).thaw());
            }
            Kind::Partition => self.partition(step, lasts),
            Kind::Disk => return self.fill(step, lasts).await,
            Kind::Wipe => {
                for target in &step.targets {
                    self.wipe(*target, lasts).await;
                }
            }
            Kind::Rot => return self.rot(number, step),
        }
        true
    }

    fn server(&mut self, target: Target) -> &mut Server {
        match target {
            Target::Coordinator => &mut self.cluster.coordinator,
            Target::Node(number) => self.cluster.node(number),
        }
    }

    /// Nodes first, as an operator would.
    async fn start(&mut self, targets: &[Target]) {
        for target in targets {
            if let Target::Node(number) = target {
                self.cluster.start_node(*number).await;
            }
        }
        if targets.contains(&Target::Coordinator) {
            self.cluster.start_coordinator().await;
        }
    }

    async fn terminate(&mut self, target: Target) {
        let server = self.server(target);
        server.terminate();
        let deadline = Instant::now() + STOP_WAIT;
        while server.is_running() {
            assert!(
                Instant::now() < deadline,
                "{} did not end within {STOP_WAIT:?}\n{}",
                server.name,
                server.log_tail()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let status = server.wait(STOP_WAIT).expect("it has ended");
        assert!(status.success(), "{} ended with {status}\n{}", server.name, server.log_tail());
    }

    /// Lasts beyond the next steps, so that faults meet.
    fn partition(&mut self, step: &Step, lasts: Duration) {
        let toxic = step.toxic.expect("a partition has its toxic");
        for target in &step.targets {
            let Target::Node(number) = target else { continue };
            let valve = self.cluster.proxies[number - 1].valve();
            valve.set(toxic);
            self.later.spawn(async move {
                tokio::time::sleep(lasts).await;
                valve.set(Toxic::None);
            });
        }
    }

    async fn fill(&mut self, step: &Step, lasts: Duration) -> bool {
        let disks: Vec<usize> = step.targets.iter().filter_map(|target| self.small_disk(*target)).collect();
        disks.iter().for_each(|number| self.cluster.disks[number].squeeze());
        tokio::time::sleep(lasts).await;
        disks.iter().for_each(|number| self.cluster.disks[number].resize(SMALL_DISK_BYTES));
        !disks.is_empty()
    }

    fn small_disk(&self, target: Target) -> Option<usize> {
        match target {
            Target::Node(number) if self.cluster.disks.contains_key(&number) => Some(number),
            _ => None,
        }
    }

    async fn wipe(&mut self, target: Target, lasts: Duration) {
        let Target::Node(number) = target else { return };
        let directory = self.cluster.data(&format!("n{number}"));
        self.cluster.node(number).kill();
        for entry in std::fs::read_dir(&directory).expect("a node has a directory").flatten() {
            let path = entry.path();
            let removed = if path.is_dir() { durable::remove_dir_all(&path) } else { durable::remove_file(&path) };
            removed.unwrap_or_else(|error| panic!("cannot remove {}: {error}", path.display()));
        }
        tokio::time::sleep(lasts).await;
        self.cluster.node(number).switch("--replace");
        self.cluster.start_node(number).await;
        self.cluster.node(number).drop_switch("--replace");
    }

    /// All flips hit one node, so of every chunk one copy at most.
    fn rot(&mut self, number: u64, step: &Step) -> bool {
        let Some(Target::Node(node)) = step.targets.first() else { return false };
        let sealed = sealed_segments(&self.cluster.data(&format!("n{node}")).join("segments"));
        !sealed.is_empty() && flip_bits_in(&sealed, mix(self.seed ^ mix(number)), step.flips.unwrap_or(1)) > 0
    }
}

/// All segments but the one that may still be written.
fn sealed_segments(directory: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a node has segments").flatten();
    let mut segments: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    segments.sort();
    segments.pop();
    segments
}
