//! Transition: stores versions as another class than they are, because a rule, an operator, their age or the way they are read says so.
//!
//! ```text
//!   lifecycle rules, /admin/transitions ─┐
//!   size, age and heat (a pass, tiers) ──┴─▶ transition/<version> ─▶ Conversion: advance, advance, … switch
//! ```
//!
//! What it keeps true:
//! - What is to be done is a record, which goes with the commit that switches the version over ([`crate::object::Conversion`]), or when
//!   there is nothing to do any more.
//! - One conversion is under way, a page of it in each step. One that ends half way, with its process or because a chunk cannot be read,
//!   leaves the version as it was, and its intent gives back what it stored.
//! - What cannot be converted now holds up nothing behind it, and is tried again after [`RETRY_AFTER`].

mod tiers;
mod warmth;

pub use tiers::{CODED_BYTES_MIN, Tiering};

use super::{Backlog, Pass, Progress, Work, Worker};
use crate::metadata::records::{
    ChunkList, ObjectRecord, Record, StorageClass, TransitionRecord, VersionId, VersionRecord, VersionState,
};
use crate::metadata::{Batch, Entry, Expect, keys};
use crate::object::{BucketName, Conversion, Converted, ObjectName};
use async_trait::async_trait;
use bytes::Bytes;
use protocol::{ErrorKind, Result};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{info, warn};

/// The worker's name.
pub const TRANSITION: &str = "transition";
/// Records of the queue looked at in one step.
const QUEUE_MAX: usize = 32;
/// Versions looked at in one step of a pass.
const VERSIONS_MAX: usize = 256;
/// How long a queue of which nothing can be done is not looked through again.
const QUEUE_RESTS: Duration = Duration::from_secs(10);
/// How long a version rests whose conversion failed.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// Of so many versions it is known that they could not be converted lately.
const RESTING_MAX: usize = 1_024;
/// Reads are noted this often.
const NOTE_EVERY: Duration = Duration::from_secs(30);
/// The position of a pass is saved at least this often.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// Records counted for the backlog.
const COUNTED_MAX: usize = 1_000;
/// A position of a pass that begins so is among counts of reads; else it is among versions.
const AMONG_HEATS: u8 = 1;

/// The worker.
pub struct Transition {
    tiering: Tiering,
    under_way: Option<(Conversion, TransitionRecord)>,
    /// Where the queue is looked at next.
    from: Bytes,
    /// Versions that could not be converted, and when they may be tried again.
    resting: HashMap<VersionId, Instant>,
    /// Until when the queue is not looked through again, and why nothing in it could be done.
    all_rest: Option<(Instant, String)>,
    /// The pass under way, with what was not saved yet.
    pass: Option<(Pass, Instant)>,
    noted: Option<Instant>,
}

/// What is to be done with a record of the queue.
enum Next {
    Begin(Box<Conversion>, TransitionRecord),
    /// There is nothing to do any more.
    Drop,
    Rest(String),
}

impl Transition {
    /// Looks at what was stored with strategy `auto` as `tiering` says.
    pub fn new(tiering: Tiering) -> Transition {
        let resting = HashMap::new();
        Transition { tiering, under_way: None, from: Bytes::new(), resting, all_rest: None, pass: None, noted: None }
    }
}

#[async_trait]
impl Worker for Transition {
    fn name(&self) -> &'static str {
        TRANSITION
    }

    /// What it frees is kept for the trash window.
    fn needs_all_nodes(&self) -> bool {
        false
    }

    async fn step(&mut self, work: &Work) -> Result<Progress> {
        if self.noted.is_none_or(|then| then.elapsed() >= NOTE_EVERY) {
            // As long as there is more, the next step notes more.
            let noted = warmth::note(work, &self.tiering).await?;
            self.noted = (noted == 0).then(Instant::now);
        }
        if let Some((conversion, record)) = self.under_way.take() {
            return self.go_on(conversion, record).await;
        }
        match self.take_next(work).await? {
            Progress::Did { items, bytes } => Ok(Progress::Did { items, bytes }),
            // What cannot be done now keeps nobody from looking for what can.
            rests => match self.look(work).await? {
                Progress::Idle => Ok(rests),
                progress => Ok(progress),
            },
        }
    }

    async fn backlog(&self, work: &Work) -> Result<Backlog> {
        let queue = work.scan(&keys::transitions(), COUNTED_MAX).await?;
        let sizes = queue.iter().map(|(_, entry)| TransitionRecord::decode(&entry.value).map(|record| record.size));
        let bytes = sizes.sum::<Result<u64>>()?;
        Ok(Backlog { items: Some(queue.len() as u64), bytes: Some(bytes) })
    }
}

impl Transition {
    /// A page more of the conversion under way, or its end.
    async fn go_on(&mut self, mut conversion: Conversion, record: TransitionRecord) -> Result<Progress> {
        let stored = match conversion.advance().await {
            Ok(Some(bytes)) => {
                self.under_way = Some((conversion, record));
                return Ok(Progress::Did { items: 0, bytes });
            }
            Ok(None) => conversion.switch().await,
            Err(error) => Err(error),
        };
        let id = conversion.source().id;
        let TransitionRecord { bucket, key, class, size, reason, .. } = record;
        match stored {
            Ok(Converted::Done) => {
                info!(bucket, key, version = %id, class = class.as_str(), reason, "stored as another class");
                Ok(Progress::Did { items: 1, bytes: size })
            }
            Ok(Converted::Overtaken) => {
                // Its record is looked at again, and dropped.
                conversion.discard().await;
                self.from = Bytes::new();
                Ok(Progress::Did { items: 0, bytes: 0 })
            }
            Err(error) => {
                conversion.discard().await;
                self.rest(id);
                warn!(bucket, key, version = %id, %error, "a version could not be stored as another class; it is tried again");
                Ok(Progress::Waits(format!("{bucket}/{key}: {}", error.message)))
            }
        }
    }

    /// Begins the next conversion of the queue that can be done.
    async fn take_next(&mut self, work: &Work) -> Result<Progress> {
        if let Some((until, reason)) = &self.all_rest
            && Instant::now() < *until
        {
            return Ok(Progress::Waits(reason.clone()));
        }
        self.all_rest = None;
        let mut range = keys::transitions();
        range.from = range.from.max(std::mem::take(&mut self.from));
        let found = work.scan(&range, QUEUE_MAX).await?;
        let (mut dropped, mut waits) = (0, None);
        for (key, entry) in &found {
            match self.judge(work, key, entry).await? {
                Next::Begin(conversion, record) => {
                    self.from = keys::after(key);
                    self.under_way = Some((*conversion, record));
                    return Ok(Progress::Did { items: 0, bytes: 0 });
                }
                Next::Drop => {
                    let mut commit = Batch::new();
                    commit.check(key.clone(), Expect::Revision(entry.revision)).delete(key.clone());
                    dropped += u64::from(work.commit(commit).await?);
                }
                Next::Rest(reason) => waits = Some(reason),
            }
        }
        if let (Some((last, _)), QUEUE_MAX) = (found.last(), found.len()) {
            self.from = keys::after(last);
        }
        Ok(match (dropped, waits) {
            (0, None) if self.from.is_empty() => Progress::Idle,
            (0, Some(reason)) if self.from.is_empty() => {
                self.all_rest = Some((Instant::now() + QUEUE_RESTS, reason.clone()));
                Progress::Waits(reason)
            }
            _ => Progress::Did { items: 0, bytes: 0 },
        })
    }

    async fn judge(&mut self, work: &Work, key: &Bytes, entry: &Entry) -> Result<Next> {
        let id = keys::parse_transition(key)?;
        let record = TransitionRecord::decode(&entry.value)?;
        if self.resting.get(&id).is_some_and(|until| Instant::now() < *until) {
            return Ok(Next::Rest(format!("{}/{} is tried again in a while", record.bucket, record.key)));
        }
        let name = ObjectName::new(BucketName::parse(&record.bucket)?, record.key.as_str())?;
        let objects = work.fenced();
        let Some(version) = objects.version_still(&name, record.number, id).await? else { return Ok(Next::Drop) };
        if version.storage_class == record.class {
            return Ok(Next::Drop);
        }
        match objects.convert(&name, *version, record.class) {
            Ok(conversion) => Ok(Next::Begin(Box::new(conversion), record)),
            Err(error) if error.kind == ErrorKind::Invalid => Ok(Next::Drop),
            Err(error) => Ok(Next::Rest(error.message)),
        }
    }

    fn rest(&mut self, id: VersionId) {
        let now = Instant::now();
        self.resting.retain(|_, until| now < *until);
        if self.resting.len() < RESTING_MAX {
            self.resting.insert(id, now + RETRY_AFTER);
        }
    }

    /// Looks at some more versions whose class follows size, age and heat.
    async fn look(&mut self, work: &Work) -> Result<Progress> {
        let (mut pass, saved) = match self.pass.take() {
            Some(under_way) => under_way,
            None => (Pass::read(work, TRANSITION).await?, Instant::now()),
        };
        if !pass.is_under_way() {
            if pass.is_due(work, self.tiering.interval).await? {
                pass.begin(work).await?;
            }
            return Ok(Progress::Idle);
        }
        let (seen, next) = self.look_from(work, &mut pass).await?;
        let Some(next) = next else {
            pass.finish(work).await?;
            return Ok(Progress::Idle);
        };
        pass.record.position = next;
        let must_save = saved.elapsed() >= SAVE_EVERY;
        if must_save && !pass.save(work).await? {
            return Ok(Progress::Idle);
        }
        self.pass = Some((pass, if must_save { Instant::now() } else { saved }));
        Ok(Progress::Did { items: seen, bytes: 0 })
    }

    /// How many versions it saw, and where it goes on.
    async fn look_from(&self, work: &Work, pass: &mut Pass) -> Result<(u64, Option<Vec<u8>>)> {
        let among_heats = |next: Bytes| [&[AMONG_HEATS], &next[..]].concat();
        if let [AMONG_HEATS, from @ ..] = &*pass.record.position {
            let next = warmth::sweep(work, &self.tiering, Bytes::copy_from_slice(from)).await?;
            return Ok((0, next.map(among_heats)));
        }
        let mut range = keys::every_version();
        range.from = range.from.max(Bytes::copy_from_slice(&pass.record.position));
        let found = work.scan(&range, VERSIONS_MAX).await?;
        for (key, entry) in &found {
            let version = VersionRecord::decode(&entry.value)?;
            let is_movable =
                version.state == VersionState::Live && !matches!(version.chunks, ChunkList::Document { .. });
            if version.tiered && is_movable && self.order(work, key, &version).await? {
                pass.count("ordered", 1);
            }
        }
        let next = match found.last() {
            Some((last, _)) if found.len() == VERSIONS_MAX => keys::after(last).to_vec(),
            _ => among_heats(Bytes::new()),
        };
        Ok((found.len() as u64, Some(next)))
    }

    /// Puts a version up for conversion if it should be of another class; whether that was so.
    async fn order(&self, work: &Work, key: &[u8], version: &VersionRecord) -> Result<bool> {
        let objects = &work.objects;
        let milli_reads = warmth::of(work, &self.tiering, version.id).await?;
        let (large, now_ms) = (objects.profiles.auto_ec_bytes, objects.clock.now_ms());
        let Some((class, reason)) = self.tiering.verdict(version, milli_reads, large, now_ms) else { return Ok(false) };
        // Copies stay copies while there are no nodes for the code; the next pass asks again.
        if class == StorageClass::StandardIa && objects.code_of(class).is_err() {
            return Ok(false);
        }
        let (bucket, name, number) = keys::parse_version(key)?;
        let object = objects.metadata.get(&keys::object(bucket, name)).await?;
        let object = object.map(|object| ObjectRecord::decode(&object.value)).transpose()?;
        if object.is_none_or(|object| number <= object.purged_through) {
            return Ok(false);
        }
        let name = ObjectName::new(BucketName::parse(bucket)?, name)?;
        work.fenced().order_transition(&name, version, class, reason).await
    }
}
