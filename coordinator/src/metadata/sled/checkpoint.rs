//! The small files beside the log: whose directory this is, and from where on the log must be replayed.
//!
//! ```text
//! <dir>/identity     JSON: format, cluster, log. Made once; a directory of another cluster is refused.
//! <dir>/checkpoint   JSON, newline, CRC32 of the JSON as 8 hex digits, newline. Missing or damaged: the index is rebuilt.
//! <dir>/claim        JSON: the epoch that this directory claimed last on the storage nodes, and for whom (`journal::claim`).
//! <dir>/log/         the truth
//! <dir>/index/       sled, which can be thrown away
//! ```
//!
//! What it keeps true: a checkpoint names only what the index held when its flush had returned; it says `clean` only after
//! everything was synced and nothing will change any more.

use super::table::Mark;
use protocol::{Clock, ClusterId, DiskId, Error, ErrorKind, Result};
use segments::{Position, Stamp, durable};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const FORMAT: u32 = 1;

/// Where the files of a directory are.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    pub identity: PathBuf,
    pub checkpoint: PathBuf,
    pub log: PathBuf,
    pub index: PathBuf,
}

impl Paths {
    pub fn new(dir: &Path) -> Paths {
        Paths {
            identity: dir.join("identity"),
            checkpoint: dir.join("checkpoint"),
            log: dir.join("log"),
            index: dir.join("index"),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    format: u32,
    cluster: ClusterId,
    log: DiskId,
}

/// The stamp of the log in this directory, made if there is none yet. `Denied` if the directory is another cluster's.
pub(super) fn identify(paths: &Paths, cluster: ClusterId, clock: &dyn Clock) -> Result<Stamp> {
    let text = match durable::read_file(&paths.identity) {
        Err(error) if error.kind == ErrorKind::NotFound => return begin_identity(paths, cluster, clock),
        outcome => outcome?,
    };
    let identity: Identity = serde_json::from_slice(&text)
        .map_err(|error| Error::corrupt(format!("{}: {error}", paths.identity.display())))?;
    if identity.format != FORMAT {
        let (path, format) = (paths.identity.display(), identity.format);
        return Err(Error::denied(format!("{path}: format {format}, this program knows {FORMAT}")));
    }
    if identity.cluster != cluster {
        let (path, found) = (paths.identity.display(), identity.cluster);
        return Err(Error::denied(format!("{path}: belongs to cluster {found}, not to {cluster}")));
    }
    Ok(Stamp { cluster, log: identity.log })
}

fn begin_identity(paths: &Paths, cluster: ClusterId, clock: &dyn Clock) -> Result<Stamp> {
    let unreadable =
        |error| Error::caused(ErrorKind::Unavailable, format!("read directory {}", paths.log.display()), error);
    if std::fs::read_dir(&paths.log).map_err(unreadable)?.next().is_some() {
        let (log, identity) = (paths.log.display(), paths.identity.display());
        return Err(Error::denied(format!("{log} holds a commit log, but {identity} is missing")));
    }
    let identity = Identity { format: FORMAT, cluster, log: DiskId(clock.fresh_id()) };
    let text = serde_json::to_vec(&identity).expect("plain fields");
    durable::write_file(&paths.identity, &text)?;
    Ok(Stamp { cluster, log: identity.log })
}

/// What the checkpoint file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Checkpoint {
    /// Replay from here.
    pub segment: u32,
    /// Replay from here.
    pub offset: u32,
    /// The last group the index held for certain.
    pub sequence: u64,
    /// The last revision given.
    pub revision: u64,
    /// The epoch of that group.
    #[serde(default)]
    pub epoch: u64,
    /// The records from the snapshot that begins with this group on give the whole state; 0: an earlier release did not say.
    #[serde(default)]
    pub whole_from: u64,
    /// Bytes of the last snapshot.
    pub snapshot_bytes: u64,
    /// Which boot of the machine wrote this; empty where that is not known.
    pub boot: String,
    /// Whether the directory was closed in order, and nothing changed since.
    pub clean: bool,
}

impl Checkpoint {
    pub fn mark(&self) -> Mark {
        let position = Position { segment: self.segment, offset: self.offset };
        let Checkpoint { sequence, revision, epoch, whole_from, .. } = *self;
        Mark { position, sequence, revision, epoch, whole_from }
    }

    pub fn at(mark: Mark, boot: &str, snapshot_bytes: u64) -> Checkpoint {
        Checkpoint {
            segment: mark.position.segment,
            offset: mark.position.offset,
            sequence: mark.sequence,
            revision: mark.revision,
            epoch: mark.epoch,
            whole_from: mark.whole_from.max(1),
            snapshot_bytes,
            boot: boot.to_owned(),
            clean: false,
        }
    }

    /// The checkpoint of a directory; the error says why there is none that counts.
    pub fn read(path: &Path) -> Result<Checkpoint> {
        let text = durable::read_file(path)?;
        let damaged = || Error::corrupt("the checkpoint is damaged");
        let text = std::str::from_utf8(&text).map_err(|_| damaged())?;
        let (json, crc) = text.split_once('\n').ok_or_else(damaged)?;
        if crc.trim_end() != format!("{:08x}", crc32fast::hash(json.as_bytes())) {
            return Err(damaged());
        }
        serde_json::from_str(json)
            .map_err(|error| Error::corrupt(format!("the checkpoint is of another kind: {error}")))
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_string(self).expect("plain fields");
        durable::write_file(path, format!("{json}\n{:08x}\n", crc32fast::hash(json.as_bytes())).as_bytes())
    }
}

/// Which boot of the machine this is; empty where that cannot be told, which is like no boot before.
pub(super) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned()).unwrap_or_default()
}
