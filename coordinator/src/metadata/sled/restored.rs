//! Makes a directory out of groups that were read back from the storage nodes.
//!
//! In order: the groups are appended to a fresh log, durably; then the file `claim` is written. A directory without it is refused by
//! the nodes' journals, so one that was made half is never served.

use super::SledSettings;
use super::checkpoint::{Paths, identify};
use super::open::log_config;
use super::writer::record_id;
use crate::metadata::journal::claim::ClaimFile;
use protocol::{Clock, ClusterId, Error, JournalClaim, JournalEntry, Result};
use segments::{Kind, Purpose, RealDisk, Record, SegmentLog, durable};
use std::path::{Path, PathBuf};

/// A directory in the making.
pub struct RestoredDirectory {
    dir: PathBuf,
    log: SegmentLog<RealDisk>,
}

impl RestoredDirectory {
    /// Begins in a directory that does not exist, or is empty: `Conflict` if it holds anything.
    pub fn begin(
        dir: &Path,
        cluster: ClusterId,
        clock: &dyn Clock,
        settings: &SledSettings,
    ) -> Result<RestoredDirectory> {
        durable::create_dir_all(dir)?;
        let unreadable =
            |error| Error::caused(protocol::ErrorKind::Unavailable, format!("read {}", dir.display()), error);
        if std::fs::read_dir(dir).map_err(unreadable)?.next().is_some() {
            return Err(Error::conflict(format!(
                "{} is not empty: a catalog is restored into a new directory",
                dir.display()
            )));
        }
        let paths = Paths::new(dir);
        durable::create_dir_all(&paths.log)?;
        let disk = RealDisk::open(&paths.log)?;
        let stamp = identify(&paths, cluster, clock)?;
        let (log, _) = SegmentLog::open(disk, stamp, log_config(settings), None, &mut |_| {})?;
        Ok(RestoredDirectory { dir: dir.to_owned(), log })
    }

    /// Appends groups, with one fdatasync.
    pub fn append(&mut self, entries: &[JournalEntry]) -> Result<()> {
        let mut records = Vec::with_capacity(entries.len());
        for entry in entries {
            let id = record_id(entry.mark.sequence);
            if !entry.snapshot().is_empty() {
                records.push(Record::new(Kind::SNAPSHOT, id, entry.snapshot()));
            }
            records.push(Record::new(Kind::COMMIT, id, entry.group()));
        }
        self.log.append(&records, Purpose::Data).map(drop)
    }

    /// Ends the log; the directory can be opened to be looked at, and is served only after [`RestoredDirectory::claim`].
    pub fn end(mut self) -> Result<PathBuf> {
        self.log.seal()?;
        Ok(self.dir)
    }

    /// Makes a directory the holder of the epoch under which it was restored.
    pub fn claim(dir: &Path, claim: JournalClaim) -> Result<()> {
        ClaimFile::read(dir)?.write(claim)
    }
}
