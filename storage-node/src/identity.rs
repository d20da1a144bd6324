//! Whose disk a data directory is, so that a foreign, swapped or emptied one is refused instead of served (I21).
//!
//! What it keeps true:
//! - A directory is opened by one process at a time ([`DataDir`] holds a lock).
//! - Its identity is made once, before its first record, and never changes but by `--replace`.
//! - `--replace` removes data only after the new identity is durable, so a crash in between finishes the job on the next start
//!   and never shows old shards under the new disk id.
//! - `--replace` left in a start script does not wipe the directory again: a directory that was replaced stays.
//! - Each start is noted, durably, before anybody is served: a copy of the directory that was made before does not know of it ([`Starts`]).

use protocol::{Clock, ClusterId, DiskId, Error, ErrorKind, NodeId, Result, Starts};
use segments::durable;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// The one format of data directories so far.
const FORMAT: u32 = 1;

/// The content of the identity file (JSON).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Format of the data directory.
    pub format: u32,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// The node it belongs to.
    pub node: NodeId,
    /// This life of the directory.
    pub disk: DiskId,
    /// Whether this life began with `--replace`.
    pub replaced: bool,
    /// Set while the previous life's data is being removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub erasing: bool,
}

/// A data directory that is ours: locked, identified. Names every path in it.
#[derive(Debug)]
pub struct DataDir {
    /// Whose it is.
    pub identity: Identity,
    /// Its starts, this one included.
    pub starts: Starts,
    root: PathBuf,
    _lock: File,
}

/// Who opens the directory.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The cluster of its cluster file.
    pub cluster: ClusterId,
    /// The name it was given.
    pub node: NodeId,
}

impl DataDir {
    /// Opens `root`, or makes it if it is empty or missing; with `replace`, whatever it holds.
    pub fn open(root: &Path, owner: &Owner, replace: bool, clock: &dyn Clock) -> Result<DataDir> {
        durable::create_dir_all(root)?;
        let lock = lock(root)?;
        let (identity, starts) = (fresh(owner, false, clock), Starts::default());
        let mut dir = DataDir { identity, starts, root: root.to_owned(), _lock: lock };
        let recorded = match dir.recorded() {
            Err(error) if replace && error.kind == ErrorKind::Corrupt => None,
            recorded => recorded?,
        };
        match recorded {
            Some(identity) if replace && !(identity.replaced && is_of(&identity, owner)) => {
                tracing::warn!(old_disk = %identity.disk, "--replace: removing all shards of this directory");
                dir.begin_anew(owner, clock)?;
            }
            Some(identity) => {
                dir.check(&identity, owner)?;
                if replace {
                    tracing::warn!(disk = %identity.disk, "--replace was done before and is not done again; remove the flag");
                }
                dir.identity = identity;
            }
            None if replace => dir.begin_anew(owner, clock)?,
            None if dir.holds_data() => {
                return Err(Error::denied(format!(
                    "{} holds segments or an index but no identity file; restore the file, or start with --replace to \
                     remove all shards in it",
                    root.display()
                )));
            }
            None => dir.record()?,
        }
        if dir.identity.erasing {
            dir.erase()?;
        }
        durable::create_dir_all(dir.segments())?;
        durable::create_dir_all(dir.journal())?;
        dir.begin_start(clock)?;
        Ok(dir)
    }

    /// Notes this start. A disk that takes no writes may still be read: it goes on with those that are noted.
    fn begin_start(&mut self, clock: &dyn Clock) -> Result<()> {
        let path = self.root.join("starts");
        let noted: Starts = match durable::read_file(&path) {
            Err(error) if error.kind == ErrorKind::NotFound => Starts::default(),
            content => read_json(&path, &content?)?,
        };
        self.starts = noted.clone();
        self.starts.begin(clock.random() as u32);
        let text = serde_json::to_vec(&self.starts).expect("plain numbers");
        if let Err(error) = durable::write_file(&path, &text) {
            tracing::warn!(%error, "this start is not noted");
            self.starts = noted;
        }
        Ok(())
    }

    /// Notes what an opened store says of its starts: that one of them may have found less than there was is told until a coordinator knows.
    pub fn note_starts(&mut self, starts: &Starts) {
        if self.starts != *starts {
            self.starts = starts.clone();
            let text = serde_json::to_vec(&self.starts).expect("plain numbers");
            if let Err(error) = durable::write_file(self.root.join("starts"), &text) {
                tracing::warn!(%error, "that this start may have found less than there was is not noted");
            }
        }
    }

    /// Directory of the segment files.
    pub fn segments(&self) -> PathBuf {
        self.root.join("segments")
    }

    /// Directory of the catalog journal.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// Directory of everything that can be rebuilt from the segments.
    pub fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    fn identity_path(&self) -> PathBuf {
        self.root.join("identity")
    }

    fn recorded(&self) -> Result<Option<Identity>> {
        let path = self.identity_path();
        let content = match durable::read_file(&path) {
            Ok(content) => content,
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(read_json(&path, &content)?))
    }

    fn record(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(&self.identity).expect("an identity is plain data");
        durable::write_file(self.identity_path(), &text)
    }

    fn check(&self, identity: &Identity, owner: &Owner) -> Result<()> {
        let root = self.root.display();
        if identity.format != FORMAT {
            let found = identity.format;
            return Err(Error::denied(format!("{root} has format {found}; this program knows format {FORMAT}")));
        }
        if identity.cluster != owner.cluster {
            return Err(Error::denied(format!(
                "{root} belongs to cluster {}, not to {}; give the right directory or cluster file, or start with --replace \
                 to remove all shards in it",
                identity.cluster, owner.cluster
            )));
        }
        if identity.node != owner.node {
            return Err(Error::denied(format!(
                "{root} belongs to node {}, not to {}; give the right directory or name, or start with --replace to remove \
                 all shards in it",
                identity.node, owner.node
            )));
        }
        Ok(())
    }

    fn holds_data(&self) -> bool {
        self.segments().exists() || self.journal().exists() || self.index().exists()
    }

    /// Steps, each durable before the next: 1. the new identity, marked `erasing`; 2. removal of index, segments and journal;
    /// 3. the mark goes. After a crash the next start finds the mark and repeats 2 and 3.
    fn begin_anew(&mut self, owner: &Owner, clock: &dyn Clock) -> Result<()> {
        self.identity = Identity { erasing: true, ..fresh(owner, true, clock) };
        self.record()
    }

    fn erase(&mut self) -> Result<()> {
        durable::remove_dir_all(self.index())?;
        durable::remove_dir_all(self.segments())?;
        durable::remove_dir_all(self.journal())?;
        durable::remove_file(self.root.join("starts"))?;
        self.identity.erasing = false;
        self.record()
    }
}

fn fresh(owner: &Owner, replaced: bool, clock: &dyn Clock) -> Identity {
    Identity {
        format: FORMAT,
        cluster: owner.cluster,
        node: owner.node.clone(),
        disk: DiskId(clock.fresh_id()),
        replaced,
        erasing: false,
    }
}

fn read_json<T: DeserializeOwned>(path: &Path, content: &[u8]) -> Result<T> {
    serde_json::from_slice(content).map_err(|error| {
        let message = format!(
            "{} cannot be read: {error}; restore it, or empty the directory and start with --replace, and the node is filled again",
            path.display()
        );
        Error::caused(ErrorKind::Corrupt, message, error)
    })
}

fn is_of(identity: &Identity, owner: &Owner) -> bool {
    identity.format == FORMAT && identity.cluster == owner.cluster && identity.node == owner.node
}

fn lock(root: &Path) -> Result<File> {
    let path = root.join("lock");
    let failed = |error: std::io::Error| {
        Error::caused(ErrorKind::Unavailable, format!("cannot lock {}: {error}", path.display()), error)
    };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::conflict(format!("{} is in use by another process", root.display())))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::SystemClock;
    use uuid::Uuid;

    fn owner(cluster: u128, node: &str) -> Owner {
        Owner { cluster: ClusterId(Uuid::from_u128(cluster)), node: node.parse().unwrap() }
    }

    fn open(root: &Path, owner: &Owner, replace: bool) -> Result<Identity> {
        DataDir::open(root, owner, replace, &SystemClock).map(|dir| dir.identity)
    }

    #[test]
    fn a_directory_keeps_its_identity_and_refuses_others() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/b");
        let first = open(&root, &owner(1, "n1"), false).unwrap();
        assert!(!first.replaced);
        assert_eq!(open(&root, &owner(1, "n1"), false).unwrap(), first);
        let foreign = open(&root, &owner(2, "n1"), false).unwrap_err();
        assert_eq!(foreign.kind, ErrorKind::Denied);
        assert!(foreign.message.contains("belongs to cluster"), "{foreign}");
        let swapped = open(&root, &owner(1, "n2"), false).unwrap_err();
        assert!(swapped.message.contains("belongs to node n1, not to n2"), "{swapped}");
    }

    #[test]
    fn each_start_is_noted_and_an_older_copy_does_not_know_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let start = |replace| DataDir::open(dir.path(), &owner(1, "n1"), replace, &SystemClock).unwrap().starts;
        let first = start(false);
        let copy = durable::read_file(dir.path().join("starts")).unwrap();
        let second = start(false);
        assert_eq!((first.number, second.number), (1, 2));
        assert!(second.may_remember(first.last().unwrap()));
        durable::write_file(dir.path().join("starts"), &copy).unwrap();
        let of_copy = start(false);
        assert!(of_copy.may_remember(first.last().unwrap()) && !of_copy.may_remember(second.last().unwrap()));
        assert_eq!(start(true).number, 1, "a new life has starts of its own");
    }

    #[test]
    fn segments_without_an_identity_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        durable::create_dir_all(dir.path().join("segments")).unwrap();
        let error = open(dir.path(), &owner(1, "n1"), false).unwrap_err();
        assert!(error.message.contains("no identity file"), "{error}");
        assert!(open(dir.path(), &owner(1, "n1"), true).unwrap().replaced);
    }

    #[test]
    fn replace_removes_the_old_life_once_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let old = open(dir.path(), &owner(1, "n1"), false).unwrap();
        durable::write_file(dir.path().join("segments/x"), b"old").unwrap();
        let new = open(dir.path(), &owner(2, "n9"), true).unwrap();
        assert!(new.replaced && new.disk != old.disk && !new.erasing);
        assert!(!dir.path().join("segments/x").exists());

        durable::write_file(dir.path().join("segments/x"), b"new").unwrap();
        assert_eq!(open(dir.path(), &owner(2, "n9"), true).unwrap(), new, "the flag left in place wipes nothing");
        assert!(dir.path().join("segments/x").exists());
        assert_eq!(open(dir.path(), &owner(2, "n9"), false).unwrap(), new);
    }

    #[test]
    fn a_crash_while_replacing_is_finished_by_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let mut identity = open(dir.path(), &owner(1, "n1"), false).unwrap();
        durable::write_file(dir.path().join("segments/x"), b"old").unwrap();
        identity.erasing = true;
        identity.replaced = true;
        durable::write_file(dir.path().join("identity"), &serde_json::to_vec(&identity).unwrap()).unwrap();
        assert!(!open(dir.path(), &owner(1, "n1"), false).unwrap().erasing);
        assert!(!dir.path().join("segments/x").exists());
    }

    #[test]
    fn two_processes_never_share_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDir::open(dir.path(), &owner(1, "n1"), false, &SystemClock).unwrap();
        let error = open(dir.path(), &owner(1, "n1"), false).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict);
        drop(held);
        open(dir.path(), &owner(1, "n1"), false).unwrap();
    }

    #[test]
    fn a_damaged_identity_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), &owner(1, "n1"), false).unwrap();
        durable::write_file(dir.path().join("identity"), b"{").unwrap();
        assert_eq!(open(dir.path(), &owner(1, "n1"), false).unwrap_err().kind, ErrorKind::Corrupt);
        assert!(open(dir.path(), &owner(1, "n1"), true).unwrap().replaced);
    }
}
