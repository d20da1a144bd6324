//! What a run amounts to: violations, and whether it tested enough to mean anything.

use super::checker::{self, Counts, Violation};
use super::history::Event;
use super::schedule::{Kind, Step};
use super::whole::Healing;
use crate::fsck::Report;
use crate::real::Cluster;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

/// Acknowledged writes a minute below which a run has tested nothing.
const ACKNOWLEDGED_PER_MINUTE_MIN: f64 = 40.0;
/// Of a hundred requests, writes of unknown outcome above which a run has tested nothing.
const UNKNOWN_PERCENT_MAX: u64 = 20;
/// Violations that are printed.
const PRINTED_MAX: usize = 20;

/// What a run amounts to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    /// What the history holds.
    pub counts: Counts,
    /// How often each kind of fault came to pass.
    pub faults: BTreeMap<Kind, u64>,
    /// Chunks that were counted on the disks.
    pub chunks: u64,
    /// What cannot be right.
    pub violations: Vec<Violation>,
}

impl Verdict {
    /// Whether nothing was wrong.
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }

    /// Notes something that cannot be right.
    pub(super) fn violation(&mut self, rule: &'static str, what: String) {
        self.violations.push(Violation { rule, what });
    }

    /// A nemesis that never struck tests nothing.
    pub(super) fn fired(&mut self, steps: &[Step], fired: &BTreeMap<Kind, u64>) {
        self.faults.clone_from(fired);
        for step in steps {
            if !fired.contains_key(&step.kind)
                && self.violations.iter().all(|found| !found.what.contains(step.kind.letter()))
            {
                self.violation("vacuous", format!("scheduled and never done: {}", step.kind.letter()));
            }
        }
        if steps.is_empty() {
            self.violation("vacuous", "the run is too short for any fault".to_owned());
        }
    }

    /// A process never panics, whatever is done to it.
    pub(super) fn logs(&mut self, cluster: &mut Cluster) {
        let panics: Vec<String> = cluster
            .servers()
            .filter_map(|server| {
                let log = server.log();
                let line = log.lines().find(|line| line.contains("panicked at"))?;
                Some(format!("{}: {line}", server.name))
            })
            .collect();
        panics.into_iter().for_each(|what| self.violation("panic", what));
    }

    /// Holds the history against the rules, and against what a run must have done to mean anything.
    pub(super) fn judge(&mut self, events: &[Event], minutes: f64) {
        self.violations.extend(checker::check(events));
        self.counts = checker::count(events);
        let Counts { acknowledged, unknown, invoked, .. } = self.counts;
        if (acknowledged as f64) < ACKNOWLEDGED_PER_MINUTE_MIN * minutes {
            self.violation("vacuous", format!("only {acknowledged} writes were acknowledged in {minutes} minutes"));
        }
        if unknown * 100 > invoked * UNKNOWN_PERCENT_MAX {
            self.violation("vacuous", format!("{unknown} of {invoked} requests had an unknown outcome"));
        }
    }

    /// What lies on the disks: every chunk on enough nodes, every version whole, nothing that nobody names. Damaged records that were
    /// replaced by good ones are no violation.
    pub(super) fn census(&mut self, report: Result<Report, String>, healing: Healing) {
        let report = match report {
            Ok(report) => report,
            Err(why) => return self.violation("census", why),
        };
        self.chunks = report.chunks;
        let catalog = report.catalog.as_ref().expect("the census had the catalog");
        let always = [
            (catalog.lost.count, "chunks have no good copy"),
            (catalog.broken_versions.count, "versions cannot be read whole"),
            (catalog.wrong_bytes.count, "copies are not what was uploaded"),
            (catalog.unreferenced.count, "versions lack a reference to a chunk"),
            (catalog.missing.count, "copies are named and not there"),
        ];
        let once_mended = [
            (catalog.short.count, "chunks are on too few nodes"),
            (catalog.orphans.count, "shards belong to no chunk"),
            (catalog.unnamed.count, "copies are named by no record"),
            (catalog.stray_references, "references are of no version"),
            (catalog.repairs, "repairs wait"),
        ];
        let once_mended = once_mended.into_iter().filter(|_| healing == Healing::Workers);
        let found: Vec<String> = always
            .into_iter()
            .chain(once_mended)
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if !found.is_empty() {
            print!("{report}");
        }
        found.into_iter().for_each(|what| self.violation("census", what));
        if report.chunks == 0 {
            self.violation("vacuous", "there is nothing on the disks".to_owned());
        }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Counts { invoked, acknowledged, served, failed, unknown } = self.counts;
        let faults: Vec<String> = self.faults.iter().map(|(kind, times)| format!("{kind:?} {times}")).collect();
        writeln!(
            f,
            "{invoked} requests: {acknowledged} writes acknowledged, {unknown} unknown, {served} others served, {failed} not served; \
             {} chunks counted; faults: {}",
            self.chunks,
            faults.join(", ")
        )?;
        for violation in self.violations.iter().take(PRINTED_MAX) {
            writeln!(f, "VIOLATION {}: {}", violation.rule, violation.what)?;
        }
        match self.violations.len() {
            0 => write!(f, "good"),
            count => write!(f, "{count} violations"),
        }
    }
}
