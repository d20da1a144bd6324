//! A cluster that `scripts/cluster.sh up` started, seen from outside: where it listens, what it costs, what it keeps on disk.

use crate::driver::Driver;
use crate::http::{Endpoint, call};
use crate::processes::Processes;
use protocol::{NodeHealth, routes};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How long bytes on disk must stay the same to count as settled: third replicas and background writes come late.
const STEADY_TIME: Duration = Duration::from_millis(1500);
/// How long that is waited for.
const STEADY_WAIT_MAX: Duration = Duration::from_secs(30);
/// `st_blocks` counts these, whatever the filesystem's block size.
const BLOCK_BYTES: u64 = 512;

/// A running cluster.
pub struct Cluster {
    /// Its data directory.
    pub data: PathBuf,
    /// How to talk to its coordinator.
    pub driver: Driver,
    /// Where its coordinator speaks S3.
    pub s3: Endpoint,
    /// Its processes.
    pub servers: Processes,
    nodes: Vec<Endpoint>,
}

impl Cluster {
    /// The cluster in a directory, by the settings and pids that cluster.sh left there.
    pub fn of_directory(data: &Path) -> io::Result<Cluster> {
        let settings = fs::read_to_string(data.join("run/cluster.env"))?;
        let number = |name: &str| {
            let value = settings.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse::<u16>().ok()).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{}/run/cluster.env: no {name}=", data.display()))
            })
        };
        let (port, s3_port, nodes) = (number("port")?, number("s3_port")?, number("nodes")?);
        Ok(Cluster {
            data: data.to_path_buf(),
            driver: Driver::Native(Endpoint::local(port)),
            s3: Endpoint::local(s3_port),
            servers: Processes::of_directory(&data.join("run"))?,
            nodes: (1..=nodes).map(|n| Endpoint::local(port + n)).collect(),
        })
    }

    /// Where its processes listen, the coordinator first.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        std::iter::once(self.driver.endpoint()).chain(&self.nodes)
    }

    /// Bytes of records on all nodes, once they no longer change.
    pub fn settled_used_bytes(&self) -> io::Result<u64> {
        let begun = Instant::now();
        let mut before = self.used_bytes()?;
        let mut since = Instant::now();
        while since.elapsed() < STEADY_TIME && begun.elapsed() < STEADY_WAIT_MAX {
            thread::sleep(STEADY_TIME / 10);
            let now = self.used_bytes()?;
            if now != before {
                since = Instant::now();
            }
            before = now;
        }
        Ok(before)
    }

    /// Blocks allocated to the nodes' directories: preallocated segments and indexes included.
    pub fn allocated_bytes(&self) -> io::Result<u64> {
        (1..=self.nodes.len()).map(|n| allocated_bytes(&self.data.join(format!("n{n}")))).sum()
    }

    fn used_bytes(&self) -> io::Result<u64> {
        self.nodes.iter().map(|node| Ok(health(node)?.used_bytes)).sum()
    }
}

/// What a node says of itself.
pub fn health(node: &Endpoint) -> io::Result<NodeHealth> {
    let (status, body) = call(node, "GET", routes::HEALTH, "", b"")?;
    serde_json::from_slice(&body).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("health of {}: status {status}, {error}", node.authority))
    })
}

fn allocated_bytes(dir: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => total += allocated_bytes(&entry.path())?,
            Ok(metadata) => total += metadata.blocks() * BLOCK_BYTES,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // Compacted away meanwhile.
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn a_cluster_is_found_by_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("run/cluster.env"), "nodes=2\nport=9100\ns3_port=9000\nloglevel=error\n");
        write(&dir.path().join("run/coordinator.pid"), "17\n");
        let cluster = Cluster::of_directory(dir.path()).unwrap();
        assert_eq!(cluster.nodes, [Endpoint::local(9101), Endpoint::local(9102)]);
        assert_eq!(cluster.s3, Endpoint::local(9000));
        assert!(!cluster.servers.is_empty());
    }

    #[test]
    fn allocated_bytes_are_blocks_of_all_files_below() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("a/b"), &"x".repeat(10_000));
        let bytes = allocated_bytes(dir.path()).unwrap();
        assert!((10_000..100_000).contains(&bytes), "{bytes}");
    }
}
