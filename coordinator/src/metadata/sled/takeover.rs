//! The task beside the writer that claims epochs, and tells the writer when a group has its quorum that no one waits for any more.

use super::writer::Job;
use crate::metadata::journal::claim::{ClaimFile, Unclaimed, attempt};
use crate::metadata::journal::{Journal, LogEnd, Phase};
use protocol::Clock;
use segments::GroupCommit;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::sleep;

/// How long after an attempt that failed the next one follows: at first, and at most.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What the task needs.
pub(super) struct Takeover {
    pub journal: Arc<Journal>,
    pub writer: Weak<GroupCommit<Job>>,
    pub file: ClaimFile,
    pub clock: Arc<dyn Clock>,
}

impl Takeover {
    /// Goes on until the journal ends, or refuses.
    pub async fn run(mut self) {
        let mut pause = PAUSE_MIN;
        loop {
            match self.journal.phase() {
                Phase::Refused(_) => return,
                Phase::Claimed(_) => {
                    pause = PAUSE_MIN;
                    if self.journal.late_or_moved().await {
                        self.submit(Job::Settle);
                    }
                }
                Phase::Unclaimed(_) => {
                    self.claim().await;
                    if matches!(self.journal.phase(), Phase::Unclaimed(_)) {
                        sleep(pause).await;
                        pause = (pause * 2).min(PAUSE_MAX);
                    }
                }
            }
        }
    }

    async fn claim(&mut self) {
        let Some(end) = self.log_end().await else { return };
        match attempt(&self.journal.members(), &end, &mut self.file, &*self.clock).await {
            Ok(claimed) => {
                tracing::info!(claim = %claimed.claim, end = %end.last, "the catalog's epoch is claimed");
                let (done, begun) = oneshot::channel();
                if self.submit(Job::Begin(claimed, done)) {
                    // An error is a writer that has ended, and this task ends soon, too.
                    begun.await.ok();
                }
            }
            Err(Unclaimed::Later(why)) => {
                tracing::warn!(target: "degradation", reason = why, "the catalog's epoch is not claimed yet: nothing is committed");
                self.journal.lose_claim(why);
            }
            Err(Unclaimed::Refused(why)) => self.journal.refuse(why),
        }
    }

    async fn log_end(&self) -> Option<LogEnd> {
        let (answer, end) = oneshot::channel();
        if !self.submit(Job::Tell(answer)) {
            return None;
        }
        end.await.ok()
    }

    fn submit(&self, job: Job) -> bool {
        self.writer.upgrade().is_some_and(|writer| writer.submit(job, 0).is_ok())
    }
}
