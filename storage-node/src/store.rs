//! The shards of one node: a segment log, the index over it, and the rules of the [`protocol::Node`] contract.
//!
//! Nothing here starts a thread or needs a runtime: [`crate::committer`] puts group commit in front of it, [`crate::upkeep`]
//! runs what must happen later. A simulated node calls it directly, on any [`Disk`].
//!
//! What it keeps true:
//! - `Ok` from a put or delete means fsynced (law 1); bytes leave only after their record was found whole (law 6).
//! - After any crash, and with the index lost, everything acknowledged is found again (I12, I13).
//! - A full disk refuses shards, and still takes deletes.

mod doubt;
mod scrub;
mod space;
mod vitals;
mod writer;

pub(crate) use vitals::note_operation;
pub(crate) use writer::{Change, Moved};

use crate::compaction::Compaction;
use crate::index::{Entry, Index, IndexConfig, Key};
use crate::names;
use bytes::Bytes;
use doubt::Findings;
use process::logs::DEGRADATION;
use protocol::{
    Clock, ClusterId, DiskId, Error, ErrorKind, NodeId, PutOutcome, Result, SHARD_BYTES_MAX, Shard, ShardHead, ShardId,
    ShardPage, Starts,
};
use segments::{Disk, Kind, LogConfig, Position, Recovered, Scanned, SegmentInfo, SegmentLog, SegmentReader, Stamp};
use space::{Space, SpaceLimits};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;
use vitals::{Recount, Vitals};
use writer::Writer;

/// Shards in one page of a listing at most.
pub const LIST_LIMIT_MAX: usize = 1000;
/// Bytes scanned between two looks at the log's end while the index is rebuilt.
const REBUILD_STEP_BYTES: u64 = 64 << 20;
/// Segments are as long as this unless the operator or a small disk says otherwise.
const SEGMENT_BYTES: u64 = 64 << 20;
/// The shortest segment chosen for a small disk; the longest shard fits.
const SEGMENT_BYTES_SMALL: u64 = 16 << 20;

/// Settings of a store.
#[derive(Clone)]
pub struct StoreConfig {
    /// The operator's name for the node.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// This life of its disk.
    pub disk: DiskId,
    /// Whether that life began with `--replace`.
    pub replaced: bool,
    /// The starts of the node on this disk.
    pub starts: Starts,
    /// Failure domain.
    pub zone: String,
    /// Where the index lies; `None` keeps it in memory, and every open reads the whole log.
    pub index_directory: Option<PathBuf>,
    /// Memory for sled's cache.
    pub index_cache_bytes: u64,
    /// Bytes it may use in all; 0 = what the filesystem has.
    pub capacity_bytes: u64,
    /// Bytes kept free; 0 = two segments or 1 %.
    pub reserve_bytes: u64,
    /// Bytes of one segment; 0 = chosen by capacity.
    pub segment_bytes: u64,
    /// Segments of which more than this share is dead are rewritten.
    pub compact_dead_share: f64,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
}

/// The shards of one node.
pub struct Store<D: Disk> {
    pub(crate) config: StoreConfig,
    pub(crate) index: Arc<Index>,
    pub(crate) reader: SegmentReader<D>,
    pub(crate) compaction: Mutex<Compaction>,
    pub(crate) segment_bytes: u64,
    /// Why the index was made anew when the store was opened.
    rebuilt: Option<String>,
    writer: Mutex<Writer<D>>,
    vitals: Mutex<Vitals>,
}

impl<D: Disk> Store<D> {
    /// Opens the store on `disk`: the index, then every record that the index does not know. An index that names what is not there is left for
    /// [`Store::settle_index`] to rebuild: a later start would not miss that any more.
    pub fn open(disk: D, mut config: StoreConfig) -> Result<Store<D>> {
        let segment_bytes = segment_bytes(&config, &disk)?;
        let files = disk.list().map_err(|error| Error::caused(ErrorKind::Unavailable, "list the segments", error))?;
        let index = Arc::new(Index::open(IndexConfig {
            directory: config.index_directory.clone(),
            cache_bytes: config.index_cache_bytes,
            disk: config.disk,
            clock: Arc::clone(&config.clock),
        })?);
        let stamp = Stamp { cluster: config.cluster, log: config.disk };
        let log_config = LogConfig { name: "shards", segment_bytes, ..LogConfig::default() };
        let from = index.position();
        let mut replayed = Ok(());
        let (log, report) = SegmentLog::open(disk, stamp, log_config, from, &mut |record| {
            if let Some((key, entry)) = entry_of(&record)
                && replayed.is_ok()
            {
                replayed = index.replay(key, entry, end_of(&entry));
            }
        })?;
        let rebuilt = index.begun_anew().filter(|_| report.records > 0);
        if let Some(why) = &rebuilt {
            metrics::counter!(names::INDEX_REBUILDS).increment(1);
            tracing::warn!(target: DEGRADATION, reason = why, records = report.records, "the index was rebuilt from the segments");
        }
        if report.damaged > 0 {
            tracing::error!(damaged = report.damaged, first = ?report.damaged_first.first(), "segments are damaged");
        }
        tracing::info!(records = report.records, segments = report.segments, bytes = report.bytes, "segments read");
        replayed.unwrap_or_else(|error: Error| index.distrust(&error.message));
        let lost_segment = index.census().lost_segment(&log.segments());
        let findings = Findings {
            files: &files,
            segments: &log.segments(),
            indexed: from,
            index_is_new: index.begun_anew().is_some(),
            is_empty: report.records == 0 && index.census().shards == 0,
            starts: config.starts.number,
        };
        if lost_segment.is_some() || report.damaged > 0 || findings.may_be_short() {
            config.starts.doubtful = Some(config.starts.number);
        }
        if let Some(number) = lost_segment {
            index.distrust(&format!("segment {number} is missing or shorter than the index says"));
        }
        index.apply(&[], log.end());
        let limits =
            SpaceLimits { capacity_bytes: config.capacity_bytes, reserve_bytes: config.reserve_bytes, segment_bytes };
        let reader = log.reader();
        let writer = Mutex::new(Writer::new(log, Space::new(limits), Arc::clone(&index)));
        let (compaction, vitals) = (Mutex::default(), Mutex::default());
        let store = Store { config, index, reader, compaction, segment_bytes, rebuilt, writer, vitals };
        store.note_vitals(&store.writer(), Recount::Now);
        Ok(store)
    }

    /// Stores shards as one group; one outcome each, in order.
    pub fn put(&self, shards: Vec<Shard>) -> Vec<PutOutcome> {
        let mut outcomes: Vec<PutOutcome> = shards.iter().map(check).collect();
        let sound = shards.into_iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok());
        let changes = sound.map(|(shard, _)| Change::Put(shard)).collect();
        let mut applied = self.apply(changes).into_iter();
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
            *outcome = applied.next().expect("one outcome for each change");
        }
        outcomes
    }

    /// Deletes shards as one group; one outcome each, in order.
    pub fn delete(&self, ids: Vec<ShardId>) -> Vec<PutOutcome> {
        self.apply(ids.into_iter().map(Change::Delete).collect())
    }

    /// Applies changes as one group: with one fsync, or two where there are both shards and tombstones.
    pub(crate) fn apply(&self, changes: Vec<Change>) -> Vec<PutOutcome> {
        if changes.is_empty() {
            return Vec::new();
        }
        let mut writer = self.writer();
        let outcomes = writer.apply(changes);
        self.note_vitals(&writer, Recount::Sometimes);
        outcomes
    }

    /// The bytes of a shard, checked.
    pub fn get(&self, id: ShardId) -> Result<Bytes> {
        self.get_shard(id).map(|shard| shard.data)
    }

    /// A shard, checked.
    pub fn get_shard(&self, id: ShardId) -> Result<Shard> {
        let started = Instant::now();
        let found = self.read(id);
        note_operation("get", started, found.as_ref().err());
        found
    }

    /// The same if nothing must be waited for; `None` if the disk must be asked, by [`Store::get_shard`].
    pub fn get_shard_cached(&self, id: ShardId) -> Option<Result<Shard>> {
        let started = Instant::now();
        let key = id.to_bytes();
        let found = match self.live_entry(&key) {
            Ok(Entry { location, .. }) => {
                let found = self.reader.read_cached(location, &key)?;
                if found.as_ref().is_err_and(|error| error.kind == ErrorKind::NotFound) {
                    // Its segment is gone: moved meanwhile, perhaps.
                    return None;
                }
                found.map(|data| Shard { id, crc: location.crc, data })
            }
            Err(error) => Err(error),
        };
        note_operation("get", started, found.as_ref().err());
        Some(found)
    }

    fn read(&self, id: ShardId) -> Result<Shard> {
        let key = id.to_bytes();
        let mut entry = self.live_entry(&key)?;
        loop {
            match self.reader.read(entry.location, &key) {
                Err(error) if error.kind == ErrorKind::NotFound => {
                    let now = self.live_entry(&key)?;
                    if now == entry {
                        return Err(Error::corrupt(format!("shard {id}: its segment is gone")));
                    }
                    // Compaction moved it between the look-up and the read.
                    entry = now;
                }
                outcome => return outcome.map(|data| Shard { id, crc: entry.location.crc, data }),
            }
        }
    }

    /// Length and CRC of a shard, as its record says.
    pub fn head(&self, id: ShardId) -> Result<ShardHead> {
        let key = id.to_bytes();
        self.live_entry(&key).map(|entry| entry.head(&key))
    }

    fn live_entry(&self, key: &Key) -> Result<Entry> {
        match self.index.lookup(key)? {
            Some(entry) if entry.live => Ok(entry),
            _ => Err(Error::not_found(format!("no shard {}", ShardId::from_bytes(*key)))),
        }
    }

    /// At most `limit` live shards with ids after `after`.
    pub fn list(&self, after: Option<ShardId>, limit: usize) -> Result<ShardPage> {
        if !(1..=LIST_LIMIT_MAX).contains(&limit) {
            return Err(Error::invalid(format!("limit is {limit}, must be from 1 to {LIST_LIMIT_MAX}")));
        }
        let started = Instant::now();
        let page = self.index.page(after.map(ShardId::to_bytes), limit);
        note_operation("list", started, page.as_ref().err());
        let page = page?;
        let shards = page.entries.iter().map(|(key, entry)| entry.head(key)).collect();
        Ok(ShardPage { shards, next: page.next.map(ShardId::from_bytes) })
    }

    /// Measures free space anew, and asks the disk for a write where it has refused them.
    pub fn check_disk(&self) {
        let mut writer = self.writer();
        if writer.is_read_only() {
            writer.apply(vec![Change::Probe]);
        }
        let writer = &mut *writer;
        // Deletes must find it, also where nothing is put any more.
        if let Err(error) = writer.log.keep_reserve() {
            tracing::debug!(%error, "no spare segment");
        }
        writer.space.measure(&writer.log);
        self.note_vitals(writer, Recount::Now);
    }

    /// Moves the index's memory to sled if that is due, and rebuilds a broken index.
    pub fn settle_index(&self) -> Result<()> {
        if self.index.broken().is_some() {
            self.rebuild_index()?;
            self.note_vitals(&self.writer(), Recount::Now);
            return Ok(());
        }
        if self.index.is_due() { self.index.checkpoint(false) } else { Ok(()) }
    }

    /// Moves the index's memory to sled now.
    pub fn save_index(&self) -> Result<()> {
        self.index.checkpoint(false)
    }

    /// Declares the index broken; [`Store::settle_index`] rebuilds it.
    pub fn distrust_index(&self, why: &str) {
        self.index.distrust(why);
    }

    /// Makes the index anew from the segments while the node goes on.
    pub(crate) fn rebuild_index(&self) -> Result<()> {
        metrics::counter!(names::INDEX_REBUILDS).increment(1);
        let started = Instant::now();
        let mut records = 0;
        self.index.rebuild(&mut |add: &mut dyn FnMut(Key, Entry)| {
            let mut from = Position::default();
            loop {
                let end = self.reader.scan(from, REBUILD_STEP_BYTES, &mut |found| {
                    if let Scanned::Record { kind, id, location, .. } = found
                        && let Some(live) = liveness(kind)
                    {
                        records += 1;
                        add(id, Entry { live, location });
                    }
                })?;
                match end.next {
                    Some(next) => from = next,
                    None => return Ok(()),
                }
            }
        })?;
        tracing::warn!(target: DEGRADATION, records, seconds = started.elapsed().as_secs_f64(), "the index was rebuilt from the segments");
        Ok(())
    }

    /// The orderly end: seals the segment that is written and saves the index, so that the next start reads almost nothing.
    pub fn close(&self) -> Result<()> {
        let mut writer = self.writer();
        let sealed = writer.log.seal();
        self.index.apply(&[], writer.log.end());
        self.index.checkpoint(true)?;
        sealed
    }

    /// All segments, in order.
    pub(crate) fn segments(&self) -> Vec<SegmentInfo> {
        self.writer().log.segments()
    }

    /// Seals the segment that is written, so that it can be compacted.
    pub(crate) fn seal(&self) -> Result<()> {
        self.writer().log.seal()
    }

    /// Removes a segment of which nothing is needed.
    pub(crate) fn remove_segment(&self, number: u32) -> Result<()> {
        let mut writer = self.writer();
        if self.index.broken().is_some() || self.index.needed_bytes(number) > 0 {
            return Err(Error::unavailable(format!("segment {number} may be needed")));
        }
        writer.log.remove_segment(number)?;
        self.index.forget_segment(number);
        writer.space.forget_measurement();
        let writer = &mut *writer;
        writer.space.measure(&writer.log);
        self.note_vitals(writer, Recount::Now);
        Ok(())
    }

    /// A panic while a group is applied leaves it known to the log and not to the index. It ends the process where groups are committed
    /// (`segments::GroupCommit`), and here where upkeep goes on after one.
    fn writer(&self) -> MutexGuard<'_, Writer<D>> {
        self.writer.lock().unwrap_or_else(|_| {
            tracing::error!("panic while records were written: the process ends, a restart recovers");
            std::process::abort()
        })
    }
}

fn check(shard: &Shard) -> PutOutcome {
    if shard.data.len() > SHARD_BYTES_MAX {
        return Err(ErrorKind::Invalid);
    }
    shard.verify().map_err(|error| error.kind)
}

fn entry_of(record: &Recovered) -> Option<(Key, Entry)> {
    liveness(record.kind).map(|live| (record.id, Entry { live, location: record.location }))
}

/// Whether a record of this kind is a shard (`true`) or a tombstone; `None` for those that the index does not name.
pub(crate) fn liveness(kind: Kind) -> Option<bool> {
    match kind {
        Kind::SHARD => Some(true),
        Kind::TOMBSTONE => Some(false),
        _ => None,
    }
}

fn end_of(entry: &Entry) -> Position {
    let Position { segment, offset } = entry.location.position;
    let bytes = u32::try_from(entry.location.stored_bytes()).expect("segments are shorter than 4 GiB");
    Position { segment, offset: offset + bytes }
}

/// The operator's choice, or one that leaves a small disk room for more than its reserve.
fn segment_bytes<D: Disk>(config: &StoreConfig, disk: &D) -> Result<u64> {
    if config.segment_bytes > 0 {
        return Ok(config.segment_bytes);
    }
    let room = match config.capacity_bytes {
        0 => disk
            .free_bytes()
            .map_err(|error| Error::caused(ErrorKind::Unavailable, format!("free space: {error}"), error))?,
        limit => limit,
    };
    Ok((room / 64).next_multiple_of(1 << 20).clamp(SEGMENT_BYTES_SMALL, SEGMENT_BYTES))
}
