//! How a directory is opened, in order:
//! 1. The log's directory is locked, so that one process has it, and the identity is compared with the cluster.
//! 2. The index is trusted if its checkpoint is whole, it was closed in order or the machine has not been booted since, and it
//!    opens and is no older than its checkpoint. Before it is opened its checkpoint is made one that is not clean: from now on the
//!    index may be changed. The log is replayed from there.
//! 3. Otherwise, or if anything goes wrong with it on the way, it is thrown away and made anew from the whole log.
//!
//! What it keeps true:
//! - Nothing that was committed is lost with the index, and a log that does not give the whole state is refused, never guessed at.
//! - The checkpoint is removed before the index is, so that a crash in between, or half-way through, starts again.

use super::SledSettings;
use super::checkpoint::{Checkpoint, Paths, boot_id, identify};
use super::index::Index;
use super::replay::Replay;
use super::table::{Mark, Tables};
use crate::metadata::names;
use protocol::{Clock, ClusterId, Error, ErrorKind, Result};
use segments::{Disk, Kind, LogConfig, RealDisk, RecoveryReport, SegmentLog, Stamp, durable};
use std::path::Path;

/// An opened directory, ready to serve.
pub(super) struct Opened {
    pub paths: Paths,
    pub log: SegmentLog<RealDisk>,
    pub index: Index,
    pub tables: Tables,
    pub checkpoint: Checkpoint,
}

/// Why an index and its checkpoint could not be used.
enum Refused {
    /// A new one will do. The locked directory comes back where it was not used up.
    Rebuild(Option<RealDisk>, String),
    /// A new one would not help.
    Final(Error),
}

pub(super) fn open(dir: &Path, cluster: ClusterId, clock: &dyn Clock, settings: &SledSettings) -> Result<Opened> {
    durable::create_dir_all(dir)?;
    let paths = Paths::new(dir);
    let disk = RealDisk::open(&paths.log)?;
    let stamp = identify(&paths, cluster, clock)?;
    let boot = settings.boot.clone().unwrap_or_else(boot_id);
    let fresh = !paths.index.exists() && disk.list().is_ok_and(|names| names.is_empty());
    let refused = match resume(&paths, disk, stamp, &boot, settings) {
        Ok(opened) => return Ok(opened),
        Err(refused) => refused,
    };
    match refused {
        Refused::Final(error) => Err(error),
        Refused::Rebuild(disk, reason) => {
            if !fresh {
                tracing::warn!(dir = %dir.display(), reason, "metadata index is made anew from the log");
                metrics::counter!(names::INDEX_REBUILDS).increment(1);
            }
            let disk = disk.map_or_else(|| RealDisk::open(&paths.log), Ok)?;
            rebuild(&paths, disk, stamp, &boot, settings)
        }
    }
}

/// Opens with the index that is there.
fn resume(
    paths: &Paths,
    disk: RealDisk,
    stamp: Stamp,
    boot: &str,
    settings: &SledSettings,
) -> std::result::Result<Opened, Refused> {
    let (index, checkpoint) = match trusted_index(paths, boot, settings) {
        Ok(trusted) => trusted,
        Err(error) if error.kind == ErrorKind::Conflict => return Err(Refused::Final(error)),
        Err(error) => return Err(Refused::Rebuild(Some(disk), error.message)),
    };
    let mut replay = Replay::resume(&index, settings, &checkpoint);
    let log = open_log(disk, stamp, settings, Some(checkpoint.mark()), &mut replay).map_err(Refused::Final)?;
    replay.end().map_err(|error| Refused::Rebuild(None, error.message))?;
    let (table, mark) = (std::mem::take(&mut replay.table), Mark { position: log.end(), ..replay.mark });
    let checkpoint =
        Checkpoint { boot: boot.to_owned(), clean: false, snapshot_bytes: replay.snapshot_bytes, ..checkpoint };
    begin_checkpoint(&checkpoint, paths).map_err(Refused::Final)?;
    let tables = Tables { active: table, frozen: None, mark };
    Ok(Opened { paths: paths.clone(), log, index, tables, checkpoint })
}

/// The index with its checkpoint; the error says why it cannot be used.
fn trusted_index(paths: &Paths, boot: &str, settings: &SledSettings) -> Result<(Index, Checkpoint)> {
    let checkpoint = Checkpoint::read(&paths.checkpoint)?;
    if !checkpoint.clean && (boot.is_empty() || checkpoint.boot != boot) {
        return Err(Error::corrupt("the machine went down without an orderly stop"));
    }
    if checkpoint.whole_from == 0 {
        return Err(Error::corrupt(
            "its checkpoint is an earlier release's, which did not say where the log is whole from",
        ));
    }
    if checkpoint.clean {
        let unclean = Checkpoint { boot: boot.to_owned(), clean: false, ..checkpoint.clone() };
        begin_checkpoint(&unclean, paths)?;
    }
    let index = Index::open(&paths.index, settings.index_cache_bytes)?;
    let (sequence, wanted) = (index.sequence()?, checkpoint.sequence);
    if sequence < wanted {
        return Err(Error::corrupt(format!("it holds {sequence} groups, its checkpoint says {wanted}")));
    }
    Ok((index, checkpoint))
}

/// Opens with an index made from the whole log.
fn rebuild(paths: &Paths, disk: RealDisk, stamp: Stamp, boot: &str, settings: &SledSettings) -> Result<Opened> {
    durable::remove_file(&paths.checkpoint)?;
    durable::remove_dir_all(&paths.index)?;
    let index = Index::open(&paths.index, settings.index_cache_bytes)?;
    let mut replay = Replay::rebuild(&index, settings);
    let log = open_log(disk, stamp, settings, None, &mut replay)?;
    replay.end()?;
    replay.move_table()?;
    let mark = Mark { position: log.end(), ..replay.mark };
    let checkpoint = Checkpoint::at(mark, boot, replay.snapshot_bytes);
    begin_checkpoint(&checkpoint, paths)?;
    let tables = Tables { mark, ..Tables::default() };
    Ok(Opened { paths: paths.clone(), log, index, tables, checkpoint })
}

fn open_log(
    disk: RealDisk,
    stamp: Stamp,
    settings: &SledSettings,
    from: Option<Mark>,
    replay: &mut Replay<'_>,
) -> Result<SegmentLog<RealDisk>> {
    let config = log_config(settings);
    let from = from.map(|mark| mark.position);
    let (log, report) = SegmentLog::open(disk, stamp, config, from, &mut |recovered| replay.visit(&recovered))?;
    say(&report, replay.records);
    Ok(log)
}

/// The log's own settings.
pub(super) fn log_config(settings: &SledSettings) -> LogConfig {
    #[allow(clippy::needless_update, reason = "with its feature `sim` the log has one more setting")]
    LogConfig {
        name: "metadata",
        segment_bytes: settings.segment_bytes,
        free_floor_bytes: settings.free_floor_bytes,
        payload_kinds: vec![Kind::COMMIT, Kind::SNAPSHOT],
        ..LogConfig::default()
    }
}

fn say(report: &RecoveryReport, records: u64) {
    let (segments, damaged, torn_tails) = (report.segments, report.damaged, report.torn_tails);
    if damaged > 0 {
        tracing::warn!(segments, records, damaged, torn_tails, "metadata log replayed: damage was found");
    } else {
        tracing::info!(segments, records, torn_tails, "metadata log replayed");
    }
}

/// Says durably that the index may change from now on. A full disk must not keep anyone from reading: without a checkpoint the
/// next start makes the index anew, which is as safe.
fn begin_checkpoint(checkpoint: &Checkpoint, paths: &Paths) -> Result<()> {
    match checkpoint.write(&paths.checkpoint) {
        Err(error) if error.kind == ErrorKind::Full => {
            tracing::warn!(%error, "metadata checkpoint not written: the next start makes the index anew");
            durable::remove_file(&paths.checkpoint)
        }
        outcome => outcome,
    }
}
