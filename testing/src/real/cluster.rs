//! A whole cluster of real processes, and what can be done to it.
//!
//! What it keeps true: when it is dropped its processes are killed before its disks are unmounted and its directory removed; and
//! if the test panics, the ends of all logs are shown first.

use super::client::Client;
use super::loop_disk::LoopDisk;
use super::ports::Ports;
use super::programs::program;
use super::proxy::Proxy;
use super::server::Server;
use super::small_disk::SmallDisk;
use super::{eventually, skipped};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// How long a process may take to refuse, a cluster to be healthy.
const READY_WAIT: Duration = Duration::from_secs(30);
/// How long a graceful end may take: requests under way have 30 s.
const STOP_WAIT: Duration = Duration::from_secs(35);

/// What a cluster is to be like.
#[derive(Clone, Debug)]
pub struct Plan {
    nodes: usize,
    coordinator_flags: Vec<(String, String)>,
    node_flags: Vec<(Option<usize>, String, String)>,
    small_disks: BTreeMap<usize, u64>,
    loop_disks_bytes: Option<u64>,
    few_files: Option<(usize, u64)>,
    proxied: bool,
    below: Option<PathBuf>,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            nodes: 4,
            coordinator_flags: Vec::new(),
            node_flags: Vec::new(),
            small_disks: BTreeMap::new(),
            loop_disks_bytes: None,
            few_files: None,
            proxied: false,
            below: None,
        }
    }
}

impl Plan {
    /// Four nodes and default settings.
    pub fn new() -> Plan {
        Plan::default()
    }

    /// So many nodes.
    pub fn nodes(mut self, nodes: usize) -> Plan {
        self.nodes = nodes;
        self
    }

    /// Puts a proxy before each node, which everyone else goes through.
    pub fn proxied(mut self) -> Plan {
        self.proxied = true;
        self
    }

    /// Puts its directory below this one, not among the temporary files.
    pub fn below(mut self, directory: &Path) -> Plan {
        self.below = Some(directory.to_owned());
        self
    }

    /// Gives the coordinator a flag.
    pub fn coordinator_flag(mut self, name: &str, value: &str) -> Plan {
        self.coordinator_flags.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives every node a flag.
    pub fn node_flag(mut self, name: &str, value: &str) -> Plan {
        self.node_flags.push((None, name.to_owned(), value.to_owned()));
        self
    }

    /// Gives one node, from 1, a flag.
    pub fn one_node_flag(mut self, node: usize, name: &str, value: &str) -> Plan {
        self.node_flags.push((Some(node), name.to_owned(), value.to_owned()));
        self
    }

    /// Puts the data of one node, or of the coordinator as number 0, on a disk of its own of this size.
    pub fn small_disk(mut self, node: usize, size_bytes: u64) -> Plan {
        self.small_disks.insert(node, size_bytes);
        self
    }

    /// Puts the data of one node on a disk with room for so many files.
    pub fn few_files(mut self, node: usize, files: u64) -> Plan {
        self.few_files = Some((node, files));
        self
    }

    /// Puts the data of every process on a disk of its own whose power can be cut.
    pub fn loop_disks(mut self, size_bytes: u64) -> Plan {
        self.loop_disks_bytes = Some(size_bytes);
        self
    }

    /// Starts it and waits until it is healthy.
    pub async fn start(self) -> Cluster {
        let mut cluster = Cluster::lay_out(self).await;
        cluster.start_all().await;
        cluster
    }

    /// Starts it, or says that `test` is skipped where its disks cannot be mounted.
    pub async fn start_or_skip(self, test: &str) -> Option<Cluster> {
        let needs_small = !self.small_disks.is_empty() || self.few_files.is_some();
        let small = if needs_small { SmallDisk::probe() } else { Ok(()) };
        let loops = if self.loop_disks_bytes.is_some() { LoopDisk::probe() } else { Ok(()) };
        if let Err(why) = small.and(loops) {
            skipped(test, &why);
            return None;
        }
        Some(self.start().await)
    }
}

impl Plan {
    /// Mounts the disks it asks for: small ones by node, those whose power can be cut for every process.
    fn mount(&self, dir: &Path) -> (BTreeMap<usize, SmallDisk>, Vec<LoopDisk>) {
        let data = |number: usize| match number {
            0 => dir.join("data/coordinator"),
            node => dir.join(format!("data/n{node}")),
        };
        let must = |mounted: Result<SmallDisk, String>| mounted.unwrap_or_else(|why| panic!("{why}"));
        let small =
            self.small_disks.iter().map(|(number, size)| (*number, must(SmallDisk::mount(&data(*number), *size))));
        let few =
            self.few_files.iter().map(|(node, files)| (*node, must(SmallDisk::mount_few_files(&data(*node), *files))));
        let disks = small.chain(few).collect();
        let numbers =
            self.loop_disks_bytes.into_iter().flat_map(|size| (0..=self.nodes).map(move |number| (number, size)));
        let loops = numbers.map(|(number, size)| {
            let image = dir.join(format!("disk-{number}.img"));
            LoopDisk::mount(&data(number), &image, size).unwrap_or_else(|why| panic!("{why}"))
        });
        (disks, loops.collect())
    }
}

/// A running cluster. Nodes are numbered from 1.
#[derive(Debug)]
pub struct Cluster {
    /// The coordinator.
    pub coordinator: Server,
    /// The nodes; `nodes[0]` is n1.
    pub nodes: Vec<Server>,
    /// What stands before the nodes, where the plan says so; `proxies[0]` is n1's.
    pub proxies: Vec<Proxy>,
    /// Small disks, by node; 0 is the coordinator's.
    pub disks: BTreeMap<usize, SmallDisk>,
    /// Disks whose power can be cut, where the plan says so: the coordinator's, then the nodes'.
    pub loops: Vec<LoopDisk>,
    pub(super) admin_key: Option<String>,
    dir: TempDir,
    pub(super) ports: Ports,
}

impl Cluster {
    /// A cluster as `cluster.sh up` makes it, in a directory of its own.
    pub async fn start() -> Cluster {
        Plan::new().start().await
    }

    /// Makes its directories and starts nothing.
    pub async fn lay_out(plan: Plan) -> Cluster {
        let below = plan.below.clone().unwrap_or_else(std::env::temp_dir);
        std::fs::create_dir_all(&below).expect("a directory can be made");
        let dir = tempfile::Builder::new().prefix("holdfast-real-").tempdir_in(below);
        let dir = dir.expect("a temporary directory can be made");
        for name in ["data", "logs", "cwd"] {
            std::fs::create_dir(dir.path().join(name)).expect("a directory can be made");
        }
        let cluster_file = dir.path().join("data/cluster.json");
        new_cluster_file(&cluster_file);
        let ports = Ports::take();
        let server = |name: &str, program_name: &str, port: u16| {
            let log = dir.path().join(format!("logs/{name}.log"));
            let mut server = Server::new(name, port, program(program_name), &dir.path().join("cwd"), log);
            server.flag("--listen", format!("127.0.0.1:{port}"));
            server.flag("--data", dir.path().join("data").join(name).display());
            server.flag("--cluster-file", cluster_file.display());
            server
        };
        let mut coordinator = server("coordinator", "coordinator", ports.coordinator());
        coordinator.flag("--s3-listen", format!("127.0.0.1:{}", ports.s3()));
        let (mut nodes, mut proxies) = (Vec::new(), Vec::new());
        for number in 1..=plan.nodes {
            let mut port = ports.node(number);
            if plan.proxied {
                let proxy = Proxy::to(port).await;
                port = proxy.port();
                proxies.push(proxy);
            }
            coordinator.flag("--node", format!("http://127.0.0.1:{port}"));
            let name = format!("n{number}");
            let mut node = server(&name, "storage-node", ports.node(number));
            node.flag("--node-id", &name);
            let flags = plan.node_flags.iter().filter(|(only, ..)| only.is_none_or(|only| only == number));
            flags.for_each(|(_, flag, value)| {
                node.flag(flag, value);
            });
            nodes.push(node);
        }
        plan.coordinator_flags.iter().for_each(|(flag, value)| {
            coordinator.flag(flag, value);
        });
        let (disks, loops) = plan.mount(dir.path());
        Cluster { coordinator, nodes, proxies, disks, loops, admin_key: None, dir, ports }
    }

    /// A client of the coordinator.
    pub fn client(&self) -> Client {
        self.client_of(&self.coordinator)
    }

    /// A client of the S3 protocol.
    pub fn s3(&self) -> Client {
        Client::new(&format!("http://127.0.0.1:{}", self.ports.s3()))
    }

    /// Where the S3 protocol is spoken.
    pub fn s3_port(&self) -> u16 {
        self.ports.s3()
    }

    /// A client of one node.
    pub fn node_client(&self, number: usize) -> Client {
        self.client_of(&self.nodes[number - 1])
    }

    /// One node.
    pub fn node(&mut self, number: usize) -> &mut Server {
        &mut self.nodes[number - 1]
    }

    /// The data directory of a process.
    pub fn data(&self, name: &str) -> PathBuf {
        self.dir.path().join("data").join(name)
    }

    /// The directory of everything.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// From now on its directory stays when it is dropped, so that a failure can be looked into.
    pub fn keep_directory(&mut self) {
        self.dir.disable_cleanup(true);
    }

    /// From now on its directory goes when it is dropped.
    pub fn discard_directory(&mut self) {
        self.dir.disable_cleanup(false);
    }

    /// The file that says which cluster it is.
    pub fn cluster_file(&self) -> PathBuf {
        self.data("cluster.json")
    }

    /// Every process.
    pub fn servers(&mut self) -> impl Iterator<Item = &mut Server> {
        self.nodes.iter_mut().chain(std::iter::once(&mut self.coordinator))
    }

    /// Starts what does not run, nodes first, and waits until the coordinator calls the cluster healthy.
    pub async fn start_all(&mut self) {
        for node in &mut self.nodes {
            if !node.is_running() {
                node.start();
            }
        }
        for node in &mut self.nodes {
            node.ready().await;
        }
        if !self.coordinator.is_running() {
            self.coordinator.start();
        }
        self.coordinator.ready().await;
        self.wait_healthy().await;
    }

    /// Starts a node and waits until it answers.
    pub async fn start_node(&mut self, number: usize) {
        let node = self.node(number);
        node.start();
        node.ready().await;
    }

    /// Starts the coordinator and waits until it answers.
    pub async fn start_coordinator(&mut self) {
        self.coordinator.start();
        self.coordinator.ready().await;
    }

    /// Waits until every node is healthy in the coordinator's eyes.
    pub async fn wait_healthy(&self) {
        let client = self.client();
        eventually("the cluster is healthy", READY_WAIT, || async {
            let request = client.request(reqwest::Method::GET, "/system/health");
            let reply = client.try_send(request).await.map_err(|failure| failure.reason)?;
            let told = reply.json();
            // Writes may be refused all the same, where disks are full.
            let all_answer = told["unhealthyNodes"] == 0 && told["healthyNodes"] != 0;
            if reply.status == 200 && all_answer { Ok(()) } else { Err(reply.to_string()) }
        })
        .await;
    }

    /// Kills every process that runs.
    pub fn kill_all(&mut self) {
        self.servers().filter_map(|server| server.is_running().then_some(server)).for_each(Server::kill);
    }

    /// Stops every process that runs, the coordinator first; all must exit 0 in time.
    pub fn stop_all(&mut self) {
        let mut order: Vec<&mut Server> = self.servers().collect();
        order.rotate_right(1);
        for server in order {
            if server.is_running() {
                let status = server.stop(STOP_WAIT);
                assert!(status.success(), "{} ended with {status}\n{}", server.name, server.log_tail());
            }
        }
    }

    /// Starts a process that is expected to refuse, and gives what it said.
    pub fn refusal_of(server: &mut Server) -> String {
        server.clear_log();
        server.start();
        let status = server.wait(READY_WAIT);
        let status = status.unwrap_or_else(|| panic!("{} runs, and should have refused", server.name));
        assert!(!status.success(), "{} should have refused, but ended with {status}", server.name);
        let said = server.log();
        assert!(!said.contains("panicked"), "a refusal is no accident: {said}");
        said
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for server in self.servers() {
                eprintln!("{}", server.log_tail());
            }
        }
        for server in self.servers().filter_map(|server| server.is_running().then_some(server)) {
            server.kill();
        }
        self.disks.clear();
        self.loops.clear();
    }
}

/// Waits until a process answers; panics with its last words if it ends.
/// Makes a cluster file, with `coordinator new-cluster`.
pub fn new_cluster_file(path: &Path) {
    let output = Command::new(program("coordinator")).args(["new-cluster", "--cluster-file"]).arg(path).output();
    let output = output.expect("the coordinator can be started");
    assert!(output.status.success(), "new-cluster: {}", String::from_utf8_lossy(&output.stderr));
}
