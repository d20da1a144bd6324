//! The thread that moves frozen tables into the index, so that commits and reads never wait for sled's writes.
//!
//! Why in large sorted batches: one by one a key costs sled 12–20 µs of CPU, a 4 KiB upload puts about five of them, and many
//! are deleted again before they would be moved.

use super::state::State;
use super::table::{Mark, Table};
use crate::metadata::names;
use protocol::{Error, ErrorKind, Result};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// A table to be moved, and how far the log had come at its last change.
type Frozen = (Arc<Table>, Mark);

/// The mover, until it is stopped.
#[derive(Debug)]
pub(super) struct Mover {
    state: Arc<State>,
    sender: Mutex<Option<SyncSender<Frozen>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Bytes of the last snapshot, to be noted in checkpoints.
    snapshot_bytes: Arc<AtomicU64>,
}

impl Mover {
    pub fn start(state: Arc<State>, snapshot_bytes: u64) -> Result<Mover> {
        // At most one table is frozen at a time, so one place is enough for sending never to wait.
        let (sender, receiver) = sync_channel(1);
        let snapshot_bytes = Arc::new(AtomicU64::new(snapshot_bytes));
        let (moving, bytes) = (Arc::clone(&state), Arc::clone(&snapshot_bytes));
        let thread = std::thread::Builder::new()
            .name("metadata-mover".to_owned())
            .spawn(move || run(&moving, &receiver, &bytes))
            .map_err(|error| Error::caused(ErrorKind::Unavailable, "start thread metadata-mover", error))?;
        Ok(Mover { state, sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), snapshot_bytes })
    }

    pub fn snapshot_bytes(&self) -> u64 {
        self.snapshot_bytes.load(Ordering::Relaxed)
    }

    pub fn set_snapshot_bytes(&self, bytes: u64) {
        self.snapshot_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Has the active table moved. If another one is under way, waits for it or, without `wait`, leaves things as they are.
    pub fn move_active(&self, wait: bool) -> Result<()> {
        let Some(frozen) = self.state.freeze(wait)? else { return Ok(()) };
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = sender.as_ref().is_some_and(|sender| sender.send(frozen).is_ok());
        if sent { Ok(()) } else { Err(Error::unavailable("metadata: the mover has stopped")) }
    }

    /// Moves what is under way, then ends.
    pub fn stop(&self) {
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("metadata-mover panicked");
        }
    }
}

fn run(state: &State, frozen: &Receiver<Frozen>, snapshot_bytes: &AtomicU64) {
    let seconds = metrics::histogram!(names::MOVE_SECONDS);
    while let Ok((table, mark)) = frozen.recv() {
        let started = Instant::now();
        state.move_frozen(&table, mark, snapshot_bytes.load(Ordering::Relaxed));
        seconds.record(started.elapsed().as_secs_f64());
    }
}
