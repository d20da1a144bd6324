//! Chaos: a cluster of real processes under load while a nemesis kills, freezes, cuts off, fills, wipes and rots; then all faults end, and
//! what clients were told is held against what is there (faults 4.4). `scripts/chaos.sh` runs it.
//!
//! What it keeps true:
//! - The seed decides bodies, clients' choices and the schedule of faults; what real processes make of it differs from run to run.
//! - Safety while faults last, liveness afterwards: in a bounded time the cluster says that it is whole, and a census that asks no server
//!   ([`crate::fsck`]) agrees.
//! - A run that tested too little fails ([`verdict`]).

pub mod body;
pub mod checker;
mod clients;
pub mod history;
mod nemesis;
pub mod schedule;
pub mod seeds;
pub mod verdict;
mod whole;

use crate::fsck;
use crate::real::{Cluster, Plan, SmallDisk, mix, program, skipped};
use checker::FINAL;
use clients::Clients;
use history::History;
use nemesis::{Nemesis, SMALL_DISK_BYTES};
use schedule::{Kind, Schedule, Step, letters_of};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use verdict::Verdict;
use whole::{Healing, Until, look_again};

/// How long the cluster may take to be whole when all faults are over.
const QUIET_WAIT: Duration = Duration::from_secs(300);
/// Short segments, so that some are sealed soon.
const SEGMENT_BYTES: &str = "16MiB";
/// Short times, so that a run sees what an operator sees in days. A coordinator that lacks a flag runs without it.
const SHORT_TIMES: [(&str, &str); 7] = [
    ("--probe-interval-s", "1"),
    ("--trash-window-s", "2"),
    ("--orphan-grace-s", "5"),
    ("--upload-expires-s", "15"),
    ("--node-lost-after-s", "8"),
    ("--scrub-interval-s", "20"),
    ("--census-interval-s", "10"),
];

/// What to run.
#[derive(Clone, Debug)]
pub struct Run {
    /// What everything is drawn from.
    pub seed: u64,
    /// How long faults last at least.
    pub minutes: f64,
    /// Storage nodes.
    pub nodes: usize,
    /// Which faults.
    pub kinds: BTreeSet<Kind>,
    /// Where the cluster keeps its data; `None`: a temporary directory.
    pub data: Option<PathBuf>,
}

impl Run {
    /// Runs it. Panics where the harness itself, or a start or stop of a process, fails.
    pub async fn run(&self) -> Verdict {
        let (kinds, disk_node) = self.possible_kinds();
        let mut cluster = self.plan(&kinds, disk_node).start().await;
        cluster.keep_directory();
        let client = cluster.client();
        let healing = Healing::of(&client).await;
        let kinds = permitted(kinds, healing);
        let lasts = Duration::from_millis((self.minutes * 60_000.0) as u64);
        let steps = Schedule::new(self.seed, &kinds, self.nodes, disk_node).within(lasts.as_millis() as u64);
        println!("{}", self.describe(&kinds, healing, &cluster, &steps));
        let history = Arc::new(History::create(&cluster.root().join("history.jsonl")));
        let clients = Clients::begin(self.seed, &client, &history);
        let fired = Nemesis::new(&mut cluster, healing, self.seed).run(&steps, lasts).await;
        let asker = clients.end(FINAL, self.seed, &client, &history).await;
        let mut verdict = Verdict::default();
        match fired {
            Ok(fired) => verdict.fired(&steps, &fired),
            Err(why) => verdict.violation("mended", why),
        }
        let quiet = self.quiet(&mut cluster, healing).await;
        if let Err(why) = quiet {
            verdict.violation("quiet", why);
        }
        asker.read_everything().await;
        verdict.logs(&mut cluster);
        cluster.stop_all();
        verdict.judge(&history.events(), self.minutes);
        verdict.census(census(&cluster).await, healing);
        if verdict.is_good() {
            cluster.discard_directory();
        } else {
            println!("everything is kept in {}", cluster.root().display());
        }
        verdict
    }

    /// Those of the kinds that this machine can do, and the node whose disk is small.
    fn possible_kinds(&self) -> (BTreeSet<Kind>, usize) {
        let mut kinds = self.kinds.clone();
        if kinds.contains(&Kind::Disk)
            && let Err(why) = SmallDisk::probe()
        {
            skipped("chaos, full disk", &why);
            kinds.remove(&Kind::Disk);
        }
        (kinds, 1 + (mix(self.seed) % self.nodes as u64) as usize)
    }

    fn plan(&self, kinds: &BTreeSet<Kind>, disk_node: usize) -> Plan {
        let plan = Plan::new().nodes(self.nodes).proxied().node_flag("--segment-bytes", SEGMENT_BYTES);
        let plan = known_flags(plan);
        let cache = if self.seed.is_multiple_of(2) { "0" } else { "8MiB" };
        let plan = plan.coordinator_flag("--cache-bytes", cache);
        let plan = self.data.as_ref().map_or_else(|| plan.clone(), |data| plan.clone().below(data));
        if kinds.contains(&Kind::Disk) { plan.small_disk(disk_node, SMALL_DISK_BYTES) } else { plan }
    }

    fn describe(&self, kinds: &BTreeSet<Kind>, healing: Healing, cluster: &Cluster, steps: &[Step]) -> String {
        let about = serde_json::json!({
            "seed": self.seed,
            "minutes": self.minutes,
            "nodes": self.nodes,
            "scenario": letters_of(kinds.iter().copied()),
            "healing": healing,
            "directory": cluster.root(),
            "schedule": steps,
        });
        about.to_string()
    }

    /// No fault is left: everything is started anew, with nothing in memory, and must become whole.
    async fn quiet(&self, cluster: &mut Cluster, healing: Healing) -> Result<(), String> {
        let begun = Instant::now();
        cluster.kill_all();
        cluster.start_all().await;
        look_again(Until::Quiet, &cluster.client(), healing, QUIET_WAIT).await?;
        println!("whole {:.1?} after the last fault", begun.elapsed());
        Ok(())
    }
}

/// Without anything that mends, nothing may be lost for good.
fn permitted(mut kinds: BTreeSet<Kind>, healing: Healing) -> BTreeSet<Kind> {
    if healing == Healing::None && kinds.iter().any(|kind| kind.is_permanent()) {
        skipped("chaos, permanent losses", "this coordinator has no workers that would mend them");
        kinds.retain(|kind| !kind.is_permanent());
    }
    kinds
}

/// The short times that the coordinator knows.
fn known_flags(plan: Plan) -> Plan {
    let help = Command::new(program("coordinator")).arg("--help").output().expect("the coordinator can be started");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let known = SHORT_TIMES.iter().filter(|(flag, _)| help.contains(flag));
    known.fold(plan, |plan, (flag, value)| plan.coordinator_flag(flag, value))
}

/// Counts what lies on the disks of a stopped cluster, with the SHA-256 of every copy.
async fn census(cluster: &Cluster) -> Result<fsck::Report, String> {
    let nodes = cluster.nodes.iter().map(|node| cluster.data(&node.name)).collect();
    let options = fsck::Options { nodes, catalog: Some(cluster.data("coordinator")), copies: 3, sample: 1 };
    let report = tokio::task::spawn_blocking(move || fsck::check(&options)).await.expect("a census does not panic");
    report.map_err(|error| error.to_string())
}
