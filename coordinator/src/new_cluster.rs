//! Makes the cluster file: a fresh cluster id and secret, readable by its owner only.

use protocol::{Clock, ClusterFile, ClusterId, Error, ErrorKind, Result};
use segments::durable;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Readable and writable by its owner only: it holds the secret.
const MODE: u32 = 0o600;

/// Writes a new cluster file, durably. `Conflict` if there is a file: whoever loses a cluster's secret loses the cluster.
pub fn make(path: &Path, clock: &dyn Clock) -> Result<ClusterId> {
    let cluster = ClusterId(clock.fresh_id());
    let secret = format!("{:032x}{:032x}", clock.random(), clock.random());
    let mut text = serde_json::to_string_pretty(&ClusterFile { cluster, secret }).expect("ids and text are JSON");
    text.push('\n');
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    durable::create_dir_all(parent)?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(MODE).open(path).map_err(|error| failed(path, error))?;
    if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()) {
        // The name was free, so nothing of anyone's is lost; half a file would stand in the way of the next attempt.
        durable::remove_file(path)?;
        return Err(failed(path, error));
    }
    durable::sync_dir(parent)?;
    Ok(cluster)
}

fn failed(path: &Path, error: io::Error) -> Error {
    let shown = path.display();
    match error.kind() {
        io::ErrorKind::AlreadyExists => Error::conflict(format!("{shown} exists: a cluster file is never replaced")),
        io::ErrorKind::StorageFull => Error::caused(ErrorKind::Full, format!("no room for {shown}: {error}"), error),
        io::ErrorKind::PermissionDenied => {
            Error::caused(ErrorKind::Denied, format!("may not write {shown}: {error}"), error)
        }
        _ => Error::caused(ErrorKind::Unavailable, format!("cannot write {shown}: {error}"), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::SystemClock;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_fresh_file_is_private_and_readable_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/for/it/cluster.json");
        let cluster = make(&path, &SystemClock).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(process::cluster_file::read(&path).unwrap().cluster, cluster);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, MODE);

        let refused = make(&path, &SystemClock).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Conflict);
        assert!(refused.message.contains("cluster.json"), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn two_clusters_share_neither_id_nor_secret() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str| {
            make(&dir.path().join(name), &SystemClock).unwrap();
            process::cluster_file::read(&dir.path().join(name)).unwrap()
        };
        let (one, other) = (read("one"), read("other"));
        assert_ne!(one.cluster, other.cluster);
        assert_ne!(one.secret, other.secret);
        assert_eq!(one.secret.len(), 64);
    }
}
