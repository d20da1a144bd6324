//! Small files that must survive a power cut, and the only place outside the log that renames, removes or syncs files.
//!
//! What it keeps true:
//! - When a call answers `Ok`, its effect is durable, names included: every rename, removal and new directory is followed by an
//!   fsync of the directory that holds the name.
//! - A file written here is seen whole or not at all: old content, or new.
#![expect(
    clippy::disallowed_methods,
    reason = "the one place that may: every call here is followed by the fsync it needs"
)]

use protocol::{Error, ErrorKind, Result};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Makes a directory and its missing parents; each new name is synced into its parent, from the top down.
pub fn create_dir_all(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let missing: Vec<&Path> = path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.is_dir()).collect();
    for dir in missing.into_iter().rev() {
        match fs::create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed("create", dir, error)),
            _ => sync_parent(dir)?,
        }
    }
    Ok(())
}

/// Replaces a file's content: temporary file, fsync, rename, fsync of the directory.
pub fn write_file(path: impl AsRef<Path>, content: &[u8]) -> Result<()> {
    let path = path.as_ref();
    let temporary = temporary_for(path);
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(|error| failed("write", &temporary, error))?;
    fs::rename(&temporary, path).map_err(|error| failed("rename", path, error))?;
    sync_parent(path)
}

/// A file's content; `NotFound` if there is none.
pub fn read_file(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let path = path.as_ref();
    fs::read(path).map_err(|error| failed("read", path, error))
}

/// Gives a file another name in the same directory; a file of that name is replaced.
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    fs::rename(from, to).map_err(|error| failed("rename", from, error))?;
    sync_parent(to)
}

/// Removes a file; one that is not there is removed already.
pub fn remove_file(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, error)),
        _ => sync_parent(path),
    }
}

/// Removes a directory with all it holds; one that is not there is removed already.
pub fn remove_dir_all(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, error)),
        _ => sync_parent(path),
    }
}

/// Makes the names in a directory durable.
pub fn sync_dir(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|error| failed("sync", path, error))
}

fn sync_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_dir("."),
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

fn temporary_for(path: &Path) -> PathBuf {
    let mut name = path.file_name().expect("a file to write has a name").to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn failed(verb: &str, path: &Path, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
        _ => ErrorKind::Unavailable,
    };
    Error::caused(kind, format!("{verb} {}: {error}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_whole_and_removed_twice() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        create_dir_all(&deep).unwrap();
        create_dir_all(&deep).unwrap();
        let file = deep.join("identity");
        assert_eq!(read_file(&file).unwrap_err().kind, ErrorKind::NotFound);
        for content in ["first", "second, longer", ""] {
            write_file(&file, content.as_bytes()).unwrap();
            assert_eq!(read_file(&file).unwrap(), content.as_bytes());
        }
        assert_eq!(fs::read_dir(&deep).unwrap().count(), 1, "no temporary file stays");
        remove_file(&file).unwrap();
        remove_file(&file).unwrap();
        sync_dir(&deep).unwrap();
        remove_dir_all(dir.path().join("a")).unwrap();
        remove_dir_all(dir.path().join("a")).unwrap();
        assert_eq!(write_file(&file, b"x").unwrap_err().kind, ErrorKind::NotFound);
    }

    #[test]
    fn a_file_in_the_way_of_a_directory_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        write_file(&file, b"x").unwrap();
        assert_eq!(create_dir_all(file.join("below")).unwrap_err().kind, ErrorKind::Unavailable);
    }
}
