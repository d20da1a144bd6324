//! What a reader holds between two calls: the bytes that its client has not taken yet, what is being read ahead, and the allowance for both.
//!
//! What it keeps true:
//! - What nobody has asked for lately goes back as soon as somebody else waits for memory: it can be read again. So clients that take long
//!   keep nobody waiting.
//! - What is being read holds its memory until it is there, whether or not anybody still waits for it.

use super::budget::{Allowance, Lender};
use super::tasks::Tasks;
use crate::metadata::records::ChunkEntry;
use bytes::Bytes;
use futures_util::future::join_all;
use protocol::Result;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A chunk, and which of its bytes are wanted.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) entry: ChunkEntry,
    pub(super) length: usize,
    pub(super) wanted: Range<usize>,
}

/// The bytes that a reader holds.
pub(super) struct Window {
    pub(super) allowance: Option<Allowance>,
    /// What is left of the chunk that is being handed out.
    pub(super) current: Option<(Part, Bytes)>,
    /// Chunks that are read ahead, in their order.
    pub(super) under_way: VecDeque<(Part, JoinHandle<Result<Bytes>>)>,
    pub(super) under_way_bytes: usize,
    tasks: Tasks,
}

impl Window {
    /// One with nothing in it.
    pub(super) fn new(tasks: Tasks, allowance: Option<Allowance>) -> Window {
        Window { allowance, current: None, under_way: VecDeque::new(), under_way_bytes: 0, tasks }
    }

    /// The next piece of the chunk that is being handed out. It is a view of it, or a copy where the chunk is longer than a piece may be: who
    /// keeps a view keeps all of it.
    pub(super) fn cut(&mut self, most: usize) -> Option<Bytes> {
        let (part, left) = self.current.as_mut().filter(|(_, left)| !left.is_empty())?;
        let view = left.split_to(left.len().min(most));
        part.wanted.start += view.len();
        Some(if part.length > most { Bytes::copy_from_slice(&view) } else { view })
    }

    /// How long the chunk is that is being handed out.
    pub(super) fn current_bytes(&self) -> usize {
        self.current.as_ref().map_or(0, |(part, _)| part.length)
    }

    /// Gives back what is not needed for what is being read.
    pub(super) fn shrink(&mut self) {
        self.keep(self.under_way_bytes);
    }

    /// Gives back what is more than so many bytes.
    pub(super) fn keep(&mut self, bytes: usize) {
        if let Some(allowance) = &mut self.allowance {
            allowance.keep(bytes);
        }
    }

    /// Takes everything out of it: what has to be read again, in its order.
    fn empty(&mut self) -> VecDeque<Part> {
        self.under_way_bytes = 0;
        let current = self.current.take().filter(|(_, left)| !left.is_empty()).map(|(part, _)| part);
        current.into_iter().chain(self.under_way.drain(..).map(|(part, _)| part)).collect()
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let (allowance, under_way) = (self.allowance.take(), std::mem::take(&mut self.under_way));
        if let Some(allowance) = allowance.filter(|_| !under_way.is_empty()) {
            self.tasks.spawn(async move {
                join_all(under_way.into_iter().map(|(_, read)| read)).await;
                drop(allowance);
            });
        }
    }
}

/// Where a window lies between two calls.
pub(super) struct Parked(Mutex<Slot>);

enum Slot {
    /// The reader has it, or there is none any more.
    Away,
    /// Since when, and how much memory the piece has that its client got last.
    Here { window: Window, since: Instant, sent: usize },
    /// It was taken back, but for the memory of that piece. What has to be read again.
    Emptied { parts: VecDeque<Part>, _sent: Option<Allowance> },
}

/// What a reader finds when it is called again.
pub(super) enum Found {
    /// Its window, as it was.
    Window(Window),
    /// What has to be read again.
    Emptied(VecDeque<Part>),
    /// Nothing: it came to its end.
    Nothing,
}

impl Parked {
    /// A window that waits for the first call.
    pub(super) fn new(window: Window) -> Parked {
        Parked(Mutex::new(Slot::Here { window, since: Instant::now(), sent: 0 }))
    }

    /// Takes the window out.
    pub(super) fn take(&self) -> Found {
        match std::mem::replace(&mut *self.slot(), Slot::Away) {
            Slot::Here { window, .. } => Found::Window(window),
            Slot::Emptied { parts, .. } => Found::Emptied(parts),
            Slot::Away => Found::Nothing,
        }
    }

    /// Puts the window back, after a piece was handed out that has so many bytes of its memory.
    pub(super) fn put(&self, window: Window, sent: usize) {
        *self.slot() = Slot::Here { window, since: Instant::now(), sent };
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lender for Parked {
    fn take_back(&self, idle: Duration) -> usize {
        let mut slot = self.slot();
        let Slot::Here { window, since, sent } = &mut *slot else { return 0 };
        let is_read = window.under_way.iter().all(|(_, read)| read.is_finished());
        let Some(mut allowance) = window.allowance.take_if(|_| since.elapsed() >= idle && is_read) else { return 0 };
        let held = allowance.bytes();
        allowance.keep(*sent);
        let given_back = held - allowance.bytes();
        *slot = Slot::Emptied { parts: window.empty(), _sent: Some(allowance) };
        given_back
    }
}
