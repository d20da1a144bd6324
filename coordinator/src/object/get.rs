//! Get: the bytes of a version, whole or a range, as verified chunks in order, read ahead within a bounded window.
//!
//! What it keeps true:
//! - At most the allowance is held, or one chunk where that is longer, and besides it the chunk that is being sent (law 10).
//! - While others wait for memory nobody reads ahead: each reads one chunk, and stands in line again for the next.
//! - An error in the middle is an error of the stream, never its end.

use super::Objects;
use super::budget::{Allowance, Lent};
use super::clients::Served;
use super::manifest::{ManifestRun, ManifestWalk};
use super::name::ObjectName;
use super::profiles::Profiles;
use super::tasks::joined;
use super::window::{Found, Parked, Part, Window};
use crate::metadata::keys;
use crate::metadata::records::{ChunkEntry, ChunkList, DigestRecord, Record, VersionRecord};
use bytes::Bytes;
use protocol::{ErrorKind, Result};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Weak};

/// The smallest read-ahead, in bytes: a few chunks of a small object.
pub(super) const WINDOW_BYTES_MIN: usize = 512 << 10;
/// A chunk of so many bytes that is read alone is not counted: it costs little more than its request does. The reader of a longer one is to be
/// kept until the client has all of it.
pub const UNCOUNTED_BYTES_MAX: usize = 64 << 10;
/// The read-ahead when there is plenty, in bytes.
pub(super) const WINDOW_BYTES_MAX: usize = 4 << 20;

/// Bytes handed to a server at a time, which copies them into a buffer of its own, one that it frees again above 128 KiB, and sends them at
/// once. With a quarter of it whoever reads is woken four times as often. Together with a pool that keeps the buffers of the sizes in use, it took
/// 5 % off the CPU of 1 GiB down (measured, three paired runs).
const PIECE_BYTES_MAX: usize = 256 << 10;

/// A version that is being read.
pub struct ObjectReader {
    objects: Objects,
    walk: ManifestWalk,
    /// What is still to be planned.
    rest: Range<u64>,
    planned: VecDeque<Part>,
    parked: Arc<Parked>,
    /// Whether it reads ahead, as far as the allowance goes.
    is_ahead: bool,
    /// Whether it would, if nobody waited for memory.
    may_be_ahead: bool,
    /// Whether the allowance is the one that it was opened with.
    is_fresh: bool,
    /// Whether its client took so long that others were given its memory.
    is_slow: bool,
    _lent: Option<Lent>,
    _served: Served,
}

impl Objects {
    /// Opens `range` of a version of `name`. Nothing is read yet but the plan.
    pub async fn open(&self, name: &ObjectName, version: &VersionRecord, range: Range<u64>) -> Result<ObjectReader> {
        assert!(range.start <= range.end && range.end <= version.size, "dialects check ranges against the size");
        self.heat.count(version, &range);
        let parked = Arc::new(Parked::new(Window::new(self.tasks.clone(), None)));
        let mut reader = ObjectReader {
            objects: self.clone(),
            walk: ManifestWalk::new(name.version_key(version.number), version),
            rest: range,
            planned: VecDeque::new(),
            parked,
            is_ahead: false,
            may_be_ahead: false,
            is_fresh: true,
            is_slow: false,
            _lent: None,
            _served: self.clients.serve_reader(version.manifest),
        };
        let is_inline = matches!(version.chunks, ChunkList::Inline(_) | ChunkList::Document { .. });
        if is_inline {
            reader.plan_more().await?;
        }
        reader.may_be_ahead = !is_inline || reader.planned.len() > 1;
        reader.is_ahead = reader.may_be_ahead;
        let alone = reader.planned.front().map_or(0, |part| part.length);
        if reader.is_ahead {
            // The first chunk fits, also where nobody reads ahead when it is read.
            let least = WINDOW_BYTES_MIN.max(alone);
            reader.hold(self.read_budget.admit(least, WINDOW_BYTES_MAX.max(least)).await?);
        } else if alone > UNCOUNTED_BYTES_MAX {
            reader.hold(self.read_budget.admit(alone, alone).await?);
        }
        Ok(reader)
    }
}

impl Objects {
    /// The bytes of a chunk of a manifest. Where that one is gone because its version was stored otherwise since the manifest was read, the
    /// chunk of the same bytes that took its place.
    pub(super) async fn fetch_entry(&self, entry: &ChunkEntry) -> Result<Bytes> {
        let mut error = match self.fetch_chunk(entry.chunk).await {
            Err(error) if error.kind == ErrorKind::Corrupt => error,
            outcome => return outcome,
        };
        if self.metadata.get(&keys::chunk(entry.chunk)).await?.is_some() {
            return Err(error);
        }
        let Profiles { replication, ec, ec_fallback, .. } = self.profiles;
        for code in [Some(replication), Some(ec), ec_fallback].into_iter().flatten() {
            if let Some(found) = self.metadata.get(&keys::digest(&entry.sha256, code)).await? {
                match self.fetch_chunk(DigestRecord::decode(&found.value)?.chunk).await {
                    Ok(data) => return Ok(data),
                    // It is there, and cannot be read now.
                    Err(other) if other.kind != ErrorKind::Corrupt => error = other,
                    Err(_) => {}
                }
            }
        }
        Err(error)
    }
}

impl ObjectReader {
    /// The next verified bytes, up to the end of their chunk; `None` at the end of the range.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        self.next_of(usize::MAX).await
    }

    /// The next verified bytes for a server, which asks for more when it has sent most of these.
    pub async fn next_piece(&mut self) -> Option<Result<Bytes>> {
        let budget = &self.objects.read_budget;
        let is_roomy = !self.is_slow && !budget.is_wanted() && budget.is_roomy();
        // What a server holds for a client that may take long is as little as any request may cost.
        self.next_of(if is_roomy { PIECE_BYTES_MAX } else { UNCOUNTED_BYTES_MAX }).await
    }

    /// How many bytes [`ObjectReader::next`] will give. They are here then, as long as they are asked for soon.
    pub async fn ready(&mut self) -> Option<Result<usize>> {
        let mut window = self.resume();
        let ready = self.fill(&mut window).await?;
        if ready.is_ok() {
            self.parked.put(window, 0);
        }
        Some(ready)
    }

    async fn next_of(&mut self, most: usize) -> Option<Result<Bytes>> {
        let mut window = self.resume();
        if let Err(error) = self.fill(&mut window).await? {
            return Some(Err(error));
        }
        let piece = window.cut(most)?;
        let sent = piece.len().max(window.current_bytes().min(most));
        self.parked.put(window, if sent > UNCOUNTED_BYTES_MAX { sent } else { 0 });
        Some(Ok(piece))
    }

    /// The window as it was left; an empty one where others were given its memory.
    fn resume(&mut self) -> Window {
        match self.parked.take() {
            Found::Window(window) => return window,
            Found::Emptied(parts) => {
                (self.is_slow, self.is_ahead) = (true, false);
                parts.into_iter().rev().for_each(|part| self.planned.push_front(part));
            }
            Found::Nothing => {}
        }
        Window::new(self.objects.tasks.clone(), None)
    }

    /// Has bytes in hand, and tells how many; `None` at the end of the range.
    async fn fill(&mut self, window: &mut Window) -> Option<Result<usize>> {
        if let Some((_, left)) = window.current.as_ref().filter(|(_, left)| !left.is_empty()) {
            return Some(Ok(left.len()));
        }
        window.current = None;
        if let Err(error) = self.read_ahead(window).await {
            return Some(Err(error));
        }
        let (part, read) = match window.under_way.pop_front() {
            Some((part, chunk)) => {
                window.under_way_bytes -= part.length;
                (part, joined(chunk).await)
            }
            None => {
                let part = self.planned.pop_front()?;
                self.hold_one(window, part.length).await;
                let read = self.objects.fetch_entry(&part.entry).await;
                (part, read)
            }
        };
        Some(read.map(|data| {
            let left = data.slice(part.wanted.clone());
            let length = left.len();
            window.current = Some((part, left));
            length
        }))
    }

    /// Starts reading what fits the window, unless others wait for memory. A range within one chunk is read in place, without a task.
    async fn read_ahead(&mut self, window: &mut Window) -> Result<()> {
        self.plan_more().await?;
        self.is_ahead &= !self.objects.read_budget.is_wanted();
        let Some(window_bytes) = window.allowance.as_ref().filter(|_| self.is_ahead).map(Allowance::bytes) else {
            // What was read ahead when nobody waited goes first.
            if !window.under_way.is_empty() {
                window.shrink();
            }
            return Ok(());
        };
        self.is_fresh = false;
        loop {
            self.plan_more().await?;
            let Some(part) = self.planned.front() else {
                return Ok(());
            };
            if !window.under_way.is_empty() && window.under_way_bytes + part.length > window_bytes {
                return Ok(());
            }
            let part = self.planned.pop_front().expect("just seen");
            let (objects, entry) = (self.objects.clone(), part.entry.clone());
            let read = self.objects.tasks.spawn_here(async move { objects.fetch_entry(&entry).await });
            window.under_way_bytes += part.length;
            window.under_way.push_back((part, read));
        }
    }

    /// Waits for memory for one chunk, behind all that wait for some; or takes some for reading ahead, where there is plenty again. Who was
    /// sent a part is not cut off because others are many: it waits for as long as its client does.
    async fn hold_one(&mut self, window: &mut Window, length: usize) {
        let budget = self.objects.read_budget.clone();
        let is_enough = window.allowance.as_ref().is_some_and(|allowance| allowance.bytes() >= length);
        if is_enough && std::mem::take(&mut self.is_fresh) {
            window.keep(length);
            return;
        }
        if self.may_be_ahead
            && !budget.is_wanted()
            && let Some(allowance) = budget.admit_of_plenty(WINDOW_BYTES_MIN.max(length))
        {
            (window.allowance, self.is_ahead, self.is_slow) = (Some(allowance), true, false);
            return;
        }
        if is_enough && !budget.is_wanted() {
            return;
        }
        window.allowance = None;
        while length > UNCOUNTED_BYTES_MAX && window.allowance.is_none() {
            window.allowance = budget.admit(length, length).await.ok();
        }
    }

    /// Holds what it is opened with, and gives it back when others wait and its client takes long.
    fn hold(&mut self, allowance: Allowance) {
        self.parked.put(Window::new(self.objects.tasks.clone(), Some(allowance)), 0);
        let lender: Weak<Parked> = Arc::downgrade(&self.parked);
        self._lent = Some(self.objects.read_budget.lend(lender));
    }

    async fn plan_more(&mut self) -> Result<()> {
        if !self.planned.is_empty() || self.rest.is_empty() {
            return Ok(());
        }
        if let Some(run) = self.walk.from(&self.objects, self.rest.start).await? {
            self.plan(&run);
            self.rest.start = run.end().min(self.rest.end);
        }
        Ok(())
    }

    fn plan(&mut self, run: &ManifestRun) {
        for (start, entry) in run.with_starts() {
            let from = self.rest.start.max(start);
            let to = self.rest.end.min(entry.end);
            if from < to {
                let wanted = (from - start) as usize..(to - start) as usize;
                self.planned.push_back(Part { entry: entry.clone(), length: (entry.end - start) as usize, wanted });
            }
        }
    }
}
