//! The binary itself: killed, stopped, and given what is not its own.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod rig;

use protocol::routes;
use reqwest::{Client, Method, StatusCode};
use rig::{id, shard};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const CLUSTER: &str = "00000000-0000-0000-0000-000000000001";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

struct Node {
    child: Child,
    url: String,
    client: Client,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn command(root: &Path, name: &str, more: &[&str]) -> Command {
    let cluster_file: PathBuf = root.join("cluster.json");
    let text = format!("{{\"cluster\":\"{CLUSTER}\",\"secret\":\"{SECRET}\"}}");
    segments::durable::write_file(&cluster_file, text.as_bytes()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_storage-node"));
    command.args(["--listen", "127.0.0.1:0", "--node-id", name, "-loglevel", "info"]).args(more);
    command.arg("--data").arg(root.join("data")).arg("--cluster-file").arg(cluster_file);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(root: &Path) -> Node {
    let child = command(root, "n1", &[]).spawn().unwrap();
    let client = Client::builder().no_proxy().tls_backend_preconfigured(process::tls::client(None).unwrap());
    let mut node = Node { child, url: String::new(), client: client.build().unwrap() };
    let lines = BufReader::new(node.child.stdout.take().unwrap()).lines();
    let serving = lines
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap())
        .find(|line| line["message"] == "serving")
        .expect("the node says that it serves");
    node.url = format!("http://{}", serving["listen"].as_str().unwrap());
    node
}

fn refused(root: &Path, name: &str, more: &[&str]) -> String {
    let mut child = command(root, name, more).spawn().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    said
}

impl Node {
    fn call(&self, method: Method, n: u64) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("{}/shards/{}", self.url, id(n)))
            .header(routes::HEADER_SECRET, SECRET)
            .header(routes::HEADER_CLUSTER, CLUSTER)
    }

    async fn put(&self, n: u64) -> StatusCode {
        let shard = shard(n, 3000, 0);
        let call = self.call(Method::PUT, n).header(routes::HEADER_CRC, routes::crc_to_text(shard.crc));
        call.body(shard.data).send().await.unwrap().status()
    }

    async fn check(&self, ids: std::ops::Range<u64>) {
        for n in ids {
            let found = self.call(Method::GET, n).send().await.unwrap();
            assert_eq!(found.bytes().await.unwrap(), shard(n, 3000, 0).data);
        }
    }

    fn signal(&mut self, signal: &str) -> Option<i32> {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        self.child.wait().unwrap().code()
    }
}

/// Law 1: an acknowledged write is durable.
#[actix_web::test]
async fn what_was_acknowledged_survives_a_kill_and_a_stop() {
    let root = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let mut node = start(root.path());
        node.check(0..round * 10).await;
        for n in round * 10..(round + 1) * 10 {
            assert_eq!(node.put(n).await, StatusCode::CREATED);
        }
        match round % 2 {
            0 => assert_eq!(node.signal("-KILL"), None),
            _ => assert_eq!(node.signal("-TERM"), Some(0), "an orderly stop ends with 0"),
        }
    }
    start(root.path()).check(0..40).await;
}

#[actix_web::test]
async fn a_directory_in_use_or_of_another_node_is_refused_and_replaced_only_when_asked() {
    let root = tempfile::tempdir().unwrap();
    let mut node = start(root.path());
    node.put(1).await;
    assert!(refused(root.path(), "n1", &[]).contains("in use by another process"));
    node.signal("-TERM");
    assert!(refused(root.path(), "n2", &[]).contains("belongs to node n1, not to n2"));
    segments::durable::remove_file(root.path().join("data/identity")).unwrap();
    assert!(refused(root.path(), "n1", &[]).contains("no identity file"));
}

/// Decision 0098.
#[actix_web::test]
async fn a_node_uses_small_pages() {
    let root = tempfile::tempdir().unwrap();
    let node = start(root.path());
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.child.id())).unwrap();
    let huge_pages = status.lines().find(|line| line.starts_with("THP_enabled:"));
    assert!(huge_pages.is_none_or(|line| line.ends_with('0')), "{huge_pages:?}");
}
