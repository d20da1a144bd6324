//! The key space on one disk. Truth is a commit log in `segments` files; sled is its materialised index, which can be thrown
//! away and made anew.
//!
//! ```text
//! commit ─► queue ─► writer: check, ONE record in the log, ONE fdatasync ─► table in memory ─► answers
//!                                                                             │ when full
//!                                                                             ▼
//! get, scan ◄─ active table over frozen table over index                    mover ─► sled, flush, checkpoint
//! ```
//!
//! What it keeps true:
//! - `Ok` follows the fdatasync of the log record that holds the batch (law 1). sled is never waited for, and never trusted:
//!   its flush does not survive a power cut (measured), so after one it is rebuilt.
//! - Every read looks into the tables first, so what was answered is seen at once (law 7).
//! - Queue, group, tables, replay and log are bounded ([`SledSettings`]).
//! - One process has the directory, and it belongs to one cluster.

mod checkpoint;
mod index;
mod journalling;
mod mover;
mod open;
mod replay;
mod restored;
mod snapshot;
mod source;
mod state;
mod table;
mod takeover;
mod writer;

pub use restored::RestoredDirectory;

use crate::metadata::commit_log::batch_bytes;
use crate::metadata::journal::claim::ClaimFile;
use crate::metadata::journal::{Journal, JournalMembers, Phase};
use crate::metadata::{
    Batch, Entry, FullDisks, LogScrubbed, LogStretch, Metadata, Reserve, Serves, names, validate_key, validate_scan,
};
use async_trait::async_trait;
use bytes::Bytes;
use mover::Mover;
use open::Opened;
use protocol::{Clock, ClusterId, Error, ErrorKind, NodeId, Result};
use segments::{GroupCommit, GroupLimits};
use source::LogSource;
use state::State;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use takeover::Takeover;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::Instrument;
use writer::{Commit, Job, Writer};

/// Batches in one group.
const GROUP_BATCHES_MAX: usize = 1024;
/// Bytes in one group, where a segment is long enough.
const GROUP_BYTES_MAX: u64 = 8 << 20;
/// Commits that may wait,
const QUEUE_COMMITS_MAX: usize = 8192;
/// and their bytes: some times what a group holds.
const QUEUE_BYTES_MAX: u64 = 32 << 20;
/// So long after a commit found no room it is taken that the next one would find none. The workers' lease tries again and again.
const NO_ROOM_FOR: Duration = Duration::from_secs(5);
/// How often it is looked whether enough nodes take groups.
const NO_NODES_FOR: Duration = Duration::from_millis(500);
/// Bytes of entries in one piece of a snapshot: about half a millisecond of reading per group.
const SNAPSHOT_PIECE_BYTES: u64 = 128 << 10;

/// How much the engine may use.
#[derive(Clone, Debug)]
pub struct SledSettings {
    /// sled's cache, about.
    pub index_cache_bytes: u64,
    /// Length of a segment of the log.
    pub segment_bytes: u64,
    /// Commits are `Full` when a new segment would leave less than this free: room for the index to grow, because sled fails for
    /// good where there is none. Below half of it nothing is moved to the index any more.
    pub free_floor_bytes: u64,
    /// Changes kept in memory before they are moved to sled. Twice as many wait for the mover.
    pub table_entries_max: usize,
    /// Bytes of their keys and values.
    pub table_bytes_max: usize,
    /// The log is cut down by a snapshot when it is longer than this and twice the last snapshot.
    pub snapshot_log_bytes: u64,
    /// The cluster on whose storage nodes the log is journalled: nothing is committed before [`SledMetadata::keep_journal`]. `None`: the log
    /// in the directory is all there is.
    pub journalled: Option<ClusterId>,
    /// Which boot of the machine this is; `None`: ask the kernel. Tests say it.
    pub boot: Option<String>,
}

impl Default for SledSettings {
    fn default() -> SledSettings {
        SledSettings {
            index_cache_bytes: 64 << 20,
            segment_bytes: 16 << 20,
            free_floor_bytes: 128 << 20,
            table_entries_max: 32 << 10,
            table_bytes_max: 8 << 20,
            snapshot_log_bytes: 512 << 20,
            journalled: None,
            boot: None,
        }
    }
}

impl SledSettings {
    fn snapshot_at_bytes(&self, snapshot_bytes: u64) -> u64 {
        self.snapshot_log_bytes + 2 * snapshot_bytes
    }

    /// Nothing is moved into the index while less than this is free.
    fn index_room_bytes(&self) -> u64 {
        self.free_floor_bytes / 2
    }

    fn piece_bytes(&self) -> usize {
        SNAPSHOT_PIECE_BYTES.min(self.segment_bytes / 8) as usize
    }

    fn group_limits(&self) -> GroupLimits {
        let bytes_max = GROUP_BYTES_MAX.min(self.segment_bytes / 4);
        GroupLimits {
            jobs_max: GROUP_BATCHES_MAX,
            bytes_max,
            queue_max: QUEUE_COMMITS_MAX,
            queue_bytes_max: QUEUE_BYTES_MAX,
        }
    }
}

/// [`Metadata`] on one disk.
pub struct SledMetadata {
    state: Arc<State>,
    mover: Arc<Mover>,
    writer: Arc<GroupCommit<Job>>,
    waiting: metrics::Gauge,
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    source: Arc<LogSource>,
    journal: OnceLock<Arc<Journal>>,
    /// When a commit found no room last, and what it was told, if none has found some since.
    no_room: Mutex<Option<(Instant, FullDisks, String)>>,
    no_nodes: Mutex<(Option<Instant>, Option<String>)>,
    stopped: AtomicBool,
}

impl std::fmt::Debug for SledMetadata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledMetadata").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl SledMetadata {
    /// Opens the directory, or makes it. Reads the log as far as it must, so call it off the async threads. `Denied` if it is
    /// another cluster's, `Conflict` if another process has it, `Corrupt` if the log does not give the whole state.
    pub fn open(
        dir: impl AsRef<Path>,
        cluster: ClusterId,
        clock: Arc<dyn Clock>,
        settings: SledSettings,
    ) -> Result<SledMetadata> {
        let Opened { paths, log, index, tables, checkpoint } = open::open(dir.as_ref(), cluster, &*clock, &settings)?;
        let (mark, snapshot_bytes) = (tables.mark, checkpoint.snapshot_bytes);
        let state = Arc::new(State::new(paths, index, tables, checkpoint, settings.index_room_bytes()));
        let mover = Arc::new(Mover::start(Arc::clone(&state), snapshot_bytes)?);
        let limits = settings.group_limits();
        let source = Arc::new(LogSource::new(log.reader()));
        let mut writer = Writer::new(log, Arc::clone(&state), Arc::clone(&mover), settings, mark, Arc::clone(&source));
        let writer = Arc::new(GroupCommit::start("metadata-writer", limits, move |jobs| writer.take(jobs))?);
        metrics::gauge!(names::QUEUE_COMMITS_MAX).set(QUEUE_COMMITS_MAX as f64);
        let waiting = metrics::gauge!(names::QUEUE_COMMITS);
        let (dir, journal, stopped) = (dir.as_ref().to_owned(), OnceLock::new(), AtomicBool::new(false));
        let (no_room, no_nodes) = (Mutex::default(), Mutex::default());
        Ok(SledMetadata { state, mover, writer, waiting, dir, clock, source, journal, no_room, no_nodes, stopped })
    }

    /// Keeps a journal at these nodes, with tasks on `runtime`, and begins to claim the catalog's epoch. Commits are `Unavailable`
    /// until it is claimed: [`SledMetadata::journal_settled`].
    pub fn keep_journal(&self, members: Arc<dyn JournalMembers>, runtime: Handle) -> Result<()> {
        let file = ClaimFile::read(&self.dir)?;
        let journal = Journal::new(members, Arc::new(Arc::clone(&self.source)), runtime);
        if self.journal.set(Arc::clone(&journal)).is_err() {
            return Err(Error::conflict("metadata: its journal is kept already"));
        }
        if self.writer.submit(Job::Keep(Arc::clone(&journal)), 0).is_err() {
            return Err(Error::unavailable("metadata: closed"));
        }
        let (writer, clock) = (Arc::downgrade(&self.writer), Arc::clone(&self.clock));
        let takeover = Takeover { journal: Arc::clone(&journal), writer, file, clock };
        journal.run_beside(takeover.run());
        Ok(())
    }

    /// Waits until the epoch is claimed, or refused for good: with what to do.
    pub async fn journal_settled(&self) -> Phase {
        match self.journal.get() {
            Some(journal) => journal.settled().await,
            None => Phase::Unclaimed("no journal is kept".to_owned()),
        }
    }

    /// Waits until this process can serve the catalog no more. Another coordinator has taken over: what is here grows old, and must not be
    /// served (law 7). Or the index has failed, which a restart rebuilds. Why, and what to do.
    pub async fn unfit(&self) -> String {
        let superseded = async {
            match self.journal.get() {
                Some(journal) => journal.refused().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            why = superseded => why,
            why = self.state.failure() => format!("{why}; start it again: the index is rebuilt from the log"),
        }
    }

    /// Commits what waits, refuses what comes after, and leaves a directory that opens without a replay, also after a reboot.
    pub async fn stop(&self) -> Result<()> {
        if self.stopped.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let (state, mover, writer) = (Arc::clone(&self.state), Arc::clone(&self.mover), Arc::clone(&self.writer));
        let ending = move || {
            if writer.submit(Job::Seal, 0).is_err() {
                tracing::warn!("metadata: too many commits wait to seal the log before it is closed");
            }
            writer.stop();
        };
        let closed = |error| Error::caused(ErrorKind::Unavailable, "metadata: close", error);
        tokio::task::spawn_blocking(ending).await.map_err(closed)?;
        if let Some(journal) = self.journal.get() {
            journal.stop().await;
        }
        let stop = move || -> Result<()> {
            let moved = match state.has_room() {
                true => mover.move_active(true),
                false => {
                    tracing::warn!("metadata: no room for the index; the next start replays what it lacks");
                    Ok(())
                }
            };
            mover.stop();
            state.close().and(moved)
        };
        tokio::task::spawn_blocking(stop).await.map_err(closed)?
    }

    fn note_room(&self, outcome: &Result<()>) {
        let mut no_room = self.no_room.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Err(error) if error.kind == ErrorKind::Full => {
                let disks = FullDisks::of(error).unwrap_or(FullDisks::Coordinators);
                *no_room = Some((Instant::now(), disks, error.message.clone()));
            }
            Ok(()) => *no_room = None,
            Err(_) => {}
        }
    }

    /// Why commits find no room, as far as is known: what was seen a while ago says nothing.
    fn without_room(&self) -> Option<(FullDisks, String)> {
        let no_room = self.no_room.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = no_room.as_ref().filter(|(then, ..)| then.elapsed() < NO_ROOM_FOR);
        lately.map(|(_, disks, why)| (*disks, why.clone()))
    }

    /// Why commits find too few nodes, as was looked a moment ago: every request asks.
    fn without_nodes(&self) -> Option<String> {
        let journal = self.journal.get()?;
        let mut looked = self.no_nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.0.is_none_or(|then| then.elapsed() >= NO_NODES_FOR) {
            let why = journal.check(Reserve::None).err().filter(|error| error.kind == ErrorKind::Unavailable);
            *looked = (Some(Instant::now()), why.map(|error| error.message));
        }
        looked.1.clone()
    }

    async fn submit(&self, batch: Batch) -> Result<()> {
        let bytes = batch_bytes(&batch) as u64;
        let (answer, answered) = oneshot::channel();
        self.waiting.increment(1.0); // The writer takes it off when it takes the commit.
        if self.writer.submit(Job::Commit(Commit { batch, answer }), bytes).is_err() {
            self.waiting.decrement(1.0);
            return Err(Error::unavailable("metadata: too many commits wait, or it is closed"));
        }
        answered.await.unwrap_or_else(|_| Err(Error::unknown("metadata: the writer ended without an answer")))
    }
}

#[async_trait]
impl Metadata for SledMetadata {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        validate_key(key)?;
        self.state.get(key)
    }

    async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Entry)>> {
        validate_scan(limit)?;
        self.state.scan(from, to, limit, usize::MAX)
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        batch.validate()?;
        if batch.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let span = tracing::debug_span!("commit", operations = batch.operations());
        let reserve = batch.reserve;
        let outcome =
            self.submit(batch).instrument(span).await.map_err(|error| match (error.kind, FullDisks::of(&error)) {
                (ErrorKind::Full, None) => FullDisks::Coordinators.full(error.message),
                _ => error,
            });
        if reserve == Reserve::None {
            self.note_room(&outcome);
        }
        let label = outcome.as_ref().map_or_else(|error| error.kind.as_str(), |()| "ok");
        metrics::histogram!(names::COMMIT_SECONDS, "outcome" => label).record(started.elapsed().as_secs_f64());
        outcome
    }

    async fn scrub_log(&self, node: Option<&NodeId>, groups: LogStretch) -> Result<LogScrubbed> {
        match self.journal.get() {
            Some(journal) => journal.scrub(node, groups).await,
            None => Ok(LogScrubbed::default()),
        }
    }

    fn journal_lags(&self) -> BTreeMap<Arc<str>, u64> {
        self.journal.get().map(|journal| journal.lags()).unwrap_or_default()
    }

    fn serves(&self) -> Serves {
        if let Some(why) = self.state.why_failed() {
            return Serves::Nothing(format!("{why}; the process ends, and a restart rebuilds the index from the log"));
        }
        match self.journal.get().map(|journal| journal.phase()) {
            None | Some(Phase::Claimed(_)) => match (self.without_nodes(), self.without_room()) {
                (Some(why), _) => Serves::ReadsOnly(why),
                (None, Some((disks, why))) => Serves::DeletesOnly(disks, why),
                (None, None) => Serves::All,
            },
            // What was deleted, or is on a disk that was not mounted, looks like what never was.
            Some(Phase::Unclaimed(why)) if self.state.tables().mark.sequence == 0 => Serves::Nothing(format!(
                "this catalog's directory is empty, and whether the cluster's catalog is, is not known until enough nodes answer; start \
                 more nodes: {why}"
            )),
            Some(Phase::Unclaimed(why)) => Serves::ReadsOnly(why),
            Some(Phase::Refused(why)) => Serves::Superseded(why),
        }
    }
}
