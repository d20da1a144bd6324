//! How soon a node serves again: after a clean stop, after kill -9, and with its index gone. A node of its own, filled
//! directly, so that its number of shards is exact.

use super::{Suite, tell};
use crate::body::{Body, Random};
use crate::cluster::health;
use crate::http::{Connection, Endpoint, call, head};
use crate::processes::peak_bytes;
use crate::table::{Quantity, Row, Unit};
use protocol::{ChunkId, ClusterFile, ClusterId, Shard, ShardId, encode_frame_header, routes};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Shards of the restarts.
const SHARDS: u64 = 100_000;
/// Shards of the memory test.
const SHARDS_FULL: u64 = 1_000_000;
/// Length of each.
const SHARD_BYTES: u64 = 4096;
/// Shards in one request.
const BATCH: u64 = 256;
/// How long a node may take to serve before it is given up.
const START_MAX: Duration = Duration::from_secs(120);
/// How often it is asked meanwhile.
const START_POLL: Duration = Duration::from_millis(2);

impl Suite<'_> {
    /// The three restarts, and with `--full` the memory of a node with a million shards.
    pub(super) fn restarts(&mut self) -> io::Result<()> {
        if !self.options.storage_node.is_file() {
            let program = self.options.storage_node.display();
            self.add(Row::skipped("restart of a node with 100,000 shards", format!("there is no {program}")));
            return Ok(());
        }
        let dir = tempfile::tempdir_in(&self.cluster.data)?;
        let mut node = LoneNode::new(dir.path(), &self.options.storage_node)?;
        let measured = self.restarts_of(&mut node);
        node.end(Signal::KILL)?;
        measured
    }

    fn restarts_of(&mut self, node: &mut LoneNode) -> io::Result<()> {
        tell("a node with 100,000 shards");
        node.start()?;
        node.fill(0..SHARDS)?;

        let seconds = |limit: f64| Quantity(limit, Unit::S);
        node.end(Signal::TERM)?;
        self.add(Row::at_most("node with 100,000 shards serves after a stop", node.start()?, seconds(1.0), ""));
        node.end(Signal::KILL)?;
        self.add(Row::at_most("node with 100,000 shards serves after kill -9", node.start()?, seconds(1.0), ""));
        node.end(Signal::KILL)?;
        node.remove_index()?;
        self.add(Row::at_most("node with 100,000 shards serves, its index deleted", node.start()?, seconds(10.0), ""));

        let what = "node with 1,000,000 shards: peak memory";
        if self.options.full {
            tell(what);
            node.fill(SHARDS..SHARDS_FULL)?;
            let peak = Quantity((node.peak_bytes()? >> 20) as f64, Unit::Mib);
            self.add(Row::at_most(what, peak, Quantity(350.0, Unit::Mib), ""));
        } else {
            self.add(Row::skipped(what, "with --full"));
        }
        Ok(())
    }
}

/// A storage node without a coordinator; whoever starts it ends it.
struct LoneNode {
    program: PathBuf,
    data: PathBuf,
    cluster_file: PathBuf,
    endpoint: Endpoint,
    headers: String,
    child: Option<Child>,
    /// Shards 0 to this were put.
    shards: u64,
}

impl LoneNode {
    fn new(dir: &Path, program: &Path) -> io::Result<LoneNode> {
        let file = ClusterFile { cluster: ClusterId(Uuid::from_u128(1)), secret: "bench-".repeat(8) };
        let cluster_file = dir.join("cluster.json");
        let text = serde_json::to_vec(&file).map_err(io::Error::other)?;
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&cluster_file)?.write_all(&text)?;
        let (secret, cluster) = (routes::HEADER_SECRET, routes::HEADER_CLUSTER);
        Ok(LoneNode {
            program: program.to_path_buf(),
            data: dir.join("n1"),
            cluster_file,
            endpoint: Endpoint::local(free_port()?),
            headers: format!("{secret}: {}\r\n{cluster}: {}\r\n", file.secret, file.cluster),
            child: None,
            shards: 0,
        })
    }

    /// Starts it; answers after how long it served its first and its last shard.
    fn start(&mut self) -> io::Result<Quantity> {
        let begun = Instant::now();
        let child = Command::new(&self.program)
            .args(["--listen", &self.endpoint.authority, "--node-id", "n1"])
            .arg("--data")
            .arg(&self.data)
            .arg("--cluster-file")
            .arg(&self.cluster_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        self.child = Some(child);
        while let Err(error) = self.serves() {
            if begun.elapsed() > START_MAX {
                return Err(io::Error::other(format!(
                    "the node did not serve within {} s: {error}",
                    START_MAX.as_secs()
                )));
            }
            thread::sleep(START_POLL);
        }
        Ok(Quantity(begun.elapsed().as_secs_f64(), Unit::S))
    }

    fn serves(&self) -> io::Result<()> {
        health(&self.endpoint)?;
        if self.shards == 0 {
            return Ok(());
        }
        for number in [0, self.shards - 1] {
            let expected = shard(number)?;
            let target = format!("{}/{}", routes::SHARDS, expected.id);
            let (status, body) = call(&self.endpoint, "GET", &target, &self.headers, b"")?;
            if status != 200 || body != expected.data {
                return Err(io::Error::other(format!("shard {number}: status {status}, {} bytes", body.len())));
            }
        }
        Ok(())
    }

    /// Puts shards of these numbers.
    fn fill(&mut self, numbers: std::ops::Range<u64>) -> io::Result<()> {
        let mut connection = Connection::open(&self.endpoint)?;
        for first in numbers.clone().step_by(BATCH as usize) {
            let mut frames = Vec::new();
            for number in first..(first + BATCH).min(numbers.end) {
                let shard = shard(number)?;
                frames.extend_from_slice(&encode_frame_header(&shard));
                frames.extend_from_slice(&shard.data);
            }
            let mut request = head("POST", routes::SHARDS_BATCH, &self.endpoint, &self.headers, frames.len() as u64);
            request.extend_from_slice(&frames);
            connection.send(&request)?;
            let mut outcomes = Vec::new();
            let reply = connection.receive(|_, piece| outcomes.extend_from_slice(piece))?;
            if reply.status != 200 || outcomes.iter().any(|&outcome| outcome != 0) {
                return Err(io::Error::other(format!("a batch was not stored: status {}", reply.status)));
            }
        }
        self.shards = numbers.end;
        Ok(())
    }

    fn end(&mut self, signal: Signal) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            kill_process(Pid::from_child(&child), signal)?;
            child.wait()?;
        }
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "the accident that is measured: an index that is gone")]
    fn remove_index(&self) -> io::Result<()> {
        fs::remove_dir_all(self.data.join("index"))
    }

    fn peak_bytes(&self) -> io::Result<u64> {
        let pid = self.child.as_ref().map(Child::id);
        pid.and_then(peak_bytes).ok_or_else(|| io::Error::other("the node has no memory to tell of"))
    }
}

/// Ids rise as UUIDv7 ids do; the bytes follow from the number.
fn shard(number: u64) -> io::Result<Shard> {
    let id =
        ShardId { chunk: ChunkId(Uuid::from_u128((u128::from(number) << 80) | 0x7000_8000_0000_0000_0000)), index: 0 };
    let mut data = Vec::new();
    Body::Random(Random { seed: number, length_bytes: SHARD_BYTES }).open()?.append_piece(&mut data)?;
    Ok(Shard::new(id, data.into()))
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
