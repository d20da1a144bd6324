//! An intent: the record that names a write of more than one commit while it is under way, and shows that it still is.
//!
//! What it keeps true: nothing is named for a write that was given up, because every commit that names something checks that the intent
//! is there; and what was named before that is found by whoever gives it up (law 4).

use super::Objects;
use super::garbage_of_part;
use super::page::given_up;
use crate::config::UPLOAD_EXPIRES_S_MIN;
use crate::metadata::records::{IntentRecord, Record, VersionId};
use crate::metadata::{Batch, Expect, keys};
use protocol::{ErrorKind, Result};
use std::pin::pin;
use std::time::Duration;
use tokio::select;
use tokio::time::{Instant, sleep_until};

/// An intent's heartbeat is renewed after this time: by the next commit under it, or while something is waited for.
const HEARTBEAT: Duration = Duration::from_secs(UPLOAD_EXPIRES_S_MIN / 3);

/// The intent of one write.
pub(super) struct Intent {
    version: VersionId,
    started_ms: u64,
    begun: bool,
    /// When it showed life last.
    beaten: Instant,
}

impl Intent {
    /// The intent of `version`; nothing is written yet.
    pub(super) fn of(version: VersionId, started_ms: u64) -> Intent {
        Intent { version, started_ms, begun: false, beaten: Instant::now() }
    }

    /// Whether it was written.
    pub(super) fn is_begun(&self) -> bool {
        self.begun
    }

    /// Writes it, unless that was done.
    pub(super) async fn begin(&mut self, objects: &Objects) -> Result<()> {
        if self.begun {
            return Ok(());
        }
        let mut commit = Batch::new();
        let key = keys::intent(self.version);
        commit.check(key.clone(), Expect::Absent);
        commit.put(key, self.record(self.started_ms).encode());
        match objects.metadata.commit(commit).await {
            // An intent that is there although its answer was lost serves as well; one that is not makes the first page fail.
            Err(error) if error.kind != ErrorKind::Unknown => return Err(error),
            _ => self.begun = true,
        }
        Ok(())
    }

    /// Gives it up, with what was named under it. If that fails, its expiry does it.
    pub(super) async fn discard(&self, objects: &Objects) {
        if !self.begun {
            return;
        }
        let key = keys::intent(self.version);
        let mut commit = Batch::new();
        commit.check(key.clone(), Expect::Present).delete(key);
        commit.put(keys::garbage(self.version), garbage_of_part().encode()).reclaim();
        drop(objects.metadata.commit(commit).await);
    }

    /// Shows life, once it is written, as long as something is waited for: what is slow is not what was abandoned.
    pub(super) async fn beat_while<T>(&mut self, objects: &Objects, wait: impl Future<Output = T>) -> Result<T> {
        let mut wait = pin!(wait);
        loop {
            select! {
                biased;
                done = &mut wait => return Ok(done),
                () = sleep_until(self.next_beat()), if self.begun => self.beat(objects).await?,
            }
        }
    }

    /// When the next heartbeat is due.
    fn next_beat(&self) -> Instant {
        self.beaten + HEARTBEAT
    }

    /// Shows life by a commit of its own.
    async fn beat(&mut self, objects: &Objects) -> Result<()> {
        self.beaten = Instant::now();
        let key = keys::intent(self.version);
        let mut commit = Batch::new();
        commit.check(key.clone(), Expect::Present).put(key, self.record(objects.clock.now_ms()).encode());
        match objects.metadata.commit(commit).await {
            Err(error) if error.kind == ErrorKind::Conflict => Err(given_up()),
            // Whatever became of it, it is tried again long before the write is given up.
            _ => Ok(()),
        }
    }

    /// The record that shows life, if that is due, for a commit that is made anyway.
    pub(super) fn due_beat(&mut self, now_ms: u64) -> Option<IntentRecord> {
        if Instant::now() < self.next_beat() {
            return None;
        }
        self.beaten = Instant::now();
        Some(self.record(now_ms))
    }

    fn record(&self, heartbeat_ms: u64) -> IntentRecord {
        IntentRecord { bucket: String::new(), key: String::new(), started_ms: self.started_ms, heartbeat_ms }
    }
}
