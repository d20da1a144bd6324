//! `scripts/cluster.sh` as people use it: every command, two clusters side by side, and the README's own lines.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use testing::real::{Client, Ports, bin_dir, eventually, random_bytes, skipped};

/// A cluster made by the script; wiped when dropped.
struct Script {
    dir: tempfile::TempDir,
    ports: Ports,
    variables: Vec<(&'static str, &'static str)>,
}

impl Script {
    fn new() -> Script {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        Script { dir, ports: Ports::take(), variables: Vec::new() }
    }

    fn with_variable(mut self, name: &'static str, value: &'static str) -> Script {
        self.variables.push((name, value));
        self
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A client with connections of its own: those to a process that was restarted are dead.
    fn client(&self) -> Client {
        Client::new(&format!("http://127.0.0.1:{}", self.ports.coordinator()))
    }

    /// Runs the script with `--data` and `--port`.
    fn run(&self, arguments: &[&str]) -> Output {
        let port = self.ports.coordinator().to_string();
        let mut command = script(arguments);
        command.envs(self.variables.iter().copied());
        command.arg("--data").arg(self.data()).args(["--port", &port]).output().expect("the script can be started")
    }

    /// Runs the script, which must succeed; gives what it printed.
    #[track_caller]
    fn must(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "cluster.sh {arguments:?}: {}", told(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs the script, which must fail; gives what it printed.
    #[track_caller]
    fn must_not(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "cluster.sh {arguments:?} should have failed: {}", told(&output));
        told(&output)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", told(&self.run(&["logs"])));
        }
        let down = self.run(&["down", "--wipe"]);
        if !down.status.success() {
            eprintln!("cluster.sh down: {}", told(&down));
        }
    }
}

fn script(arguments: &[&str]) -> Command {
    let mut command = Command::new(repository().join("scripts/cluster.sh"));
    command.args(arguments).env("HOLDFAST_BIN_DIR", bin_dir());
    command
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the repository")
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The script waits for readiness with curl.
fn can_run(test: &str) -> bool {
    let there = Command::new("curl").arg("--version").output().is_ok();
    if !there {
        skipped(test, "curl is not installed");
    }
    there
}

#[tokio::test]
async fn a_cluster_lives_through_every_command() {
    if !can_run("a_cluster_lives_through_every_command") {
        return;
    }
    let cluster = Script::new();
    let up = cluster.must(&["up"]);
    assert!(up.contains("Holdfast is up") && up.contains("curl"), "{up}");
    let data = random_bytes(1, 1 << 20);
    cluster.client().upload("kept.bin", &data).await;
    let status = cluster.must(&["status"]);
    assert_eq!(status.matches(" ready ").count(), 5, "{status}");
    cluster.must(&["up"]);

    cluster.must(&["kill", "2"]);
    let status = cluster.must_not(&["status"]);
    assert!(status.lines().any(|line| line.starts_with("n2") && line.contains("down")), "{status}");
    assert!(cluster.must_not(&["kill", "2"]).contains("not running"));
    assert!(cluster.client().download("kept.bin", None).await.expect(200).body == data);
    cluster.must(&["start", "2"]);
    assert!(cluster.must(&["start", "2"]).contains("running already"));
    cluster.must(&["stop", "n3"]);
    cluster.must(&["restart", "3"]);
    cluster.must(&["restart", "coordinator"]);
    cluster.must(&["kill", "coordinator"]);
    cluster.must(&["start", "coordinator"]);
    assert!(cluster.must_not(&["kill", "5"]).contains("there is no 5"));
    assert!(cluster.must_not(&["stop"]).contains("needs a node's number"));
    eventually("all of it is back", Duration::from_secs(20), || async {
        let output = cluster.run(&["status"]);
        if told(&output).contains("\"status\":\"healthy\"") { Ok(()) } else { Err(told(&output)) }
    })
    .await;
    assert!(cluster.client().download("kept.bin", None).await.expect(200).body == data);
    assert!(cluster.must(&["logs"]).contains("n1.log"));
    cluster.must(&["logs", "coordinator"]);

    cluster.must(&["down"]);
    assert!(cluster.must_not(&["status"]).contains("down"));
    cluster.must(&["up"]);
    assert!(cluster.client().download("kept.bin", None).await.expect(200).body == data, "down keeps the data");
    cluster.must(&["down", "--wipe"]);
    assert!(!cluster.data().exists(), "--wipe leaves nothing");
    assert!(cluster.must_not(&["status"]).contains("there is no cluster"));
}

#[tokio::test]
async fn a_cluster_grows_and_shrinks_and_remembers_it() {
    if !can_run("a_cluster_grows_and_shrinks_and_remembers_it") {
        return;
    }
    let cluster = Script::new();
    cluster.must(&["up"]);
    let data = random_bytes(2, 3 << 20);
    cluster.client().upload("kept.bin", &data).await;
    assert!(cluster.must(&["add"]).contains("n5 has joined"));
    assert!(cluster.must_not(&["remove", "5"]).contains("n5 is active"));
    assert!(cluster.must_not(&["decommission", "coordinator"]).contains("is for nodes"));
    cluster.must(&["decommission", "2"]);
    eventually("n2 is drained", Duration::from_secs(40), || async {
        let status = cluster.must(&["status"]);
        let drained = status.lines().any(|line| line.starts_with("n2 ") && line.ends_with(" drained"));
        if drained { Ok(()) } else { Err(status) }
    })
    .await;
    cluster.must(&["remove", "2"]);
    assert!(!cluster.data().join("n2").exists());
    assert!(cluster.must_not(&["start", "2"]).contains("was removed"));
    assert!(cluster.must(&["replace", "3"]).contains("n3 has an empty disk"));

    cluster.must(&["down"]);
    let up = cluster.must(&["up"]);
    assert!(up.contains("Holdfast is up"), "{up}");
    let status = cluster.must(&["status"]);
    assert_eq!(status.matches(" ready ").count(), 5, "{status}");
    assert_eq!(status.matches(" active").count(), 4, "n1, n3, n4, n5: {status}");
    assert!(cluster.client().download("kept.bin", None).await.expect(200).body == data);
}

#[tokio::test]
async fn fewer_nodes_than_a_write_needs_are_said_plainly_and_another_is_added() {
    if !can_run("fewer_nodes_than_a_write_needs_are_said_plainly_and_another_is_added") {
        return;
    }
    let cluster = Script::new();
    let told = cluster.must(&["up", "--nodes", "1"]);
    assert!(told.contains("Writes are refused: two nodes must have what is written."), "{told}");
    let client = cluster.client();
    assert_eq!(client.send(client.upload_request("early.txt", b"no")).await.status, 503);
    cluster.must(&["add"]);
    client.upload("kept.txt", b"yes").await;
    assert_eq!(client.download("kept.txt", None).await.expect(200).body, "yes");
}

#[tokio::test]
async fn two_clusters_run_side_by_side_and_do_not_touch_each_other() {
    if !can_run("two_clusters_run_side_by_side_and_do_not_touch_each_other") {
        return;
    }
    let (one, other) = (Script::new(), Script::new());
    one.must(&["up"]);
    other.must(&["up", "--nodes", "3"]);
    one.client().upload("whose.txt", b"one").await;
    other.client().upload("whose.txt", b"other").await;
    one.must(&["kill", "1"]);
    let status = other.must(&["status"]);
    assert_eq!(status.matches(" ready ").count(), 4, "{status}");
    one.must(&["down", "--wipe"]);
    assert_eq!(other.client().download("whose.txt", None).await.expect(200).body, "other");
}

#[tokio::test]
async fn a_taken_port_is_said_plainly() {
    if !can_run("a_taken_port_is_said_plainly") {
        return;
    }
    let cluster = Script::new();
    let port = cluster.ports.node(2);
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("the port is ours");
    let begun = Instant::now();
    let refusal = cluster.must_not(&["up"]);
    assert!(refusal.contains(&format!("port {port} for n2 is taken")), "{refusal}");
    assert!(refusal.contains(&std::process::id().to_string()), "by whom: {refusal}");
    assert!(begun.elapsed() < Duration::from_secs(10), "it is said before anything is started");
    drop(taken);
    cluster.must(&["up"]);
}

#[tokio::test]
async fn a_cluster_that_asks_for_keys_is_led_by_whoever_started_it() {
    if !can_run("a_cluster_that_asks_for_keys_is_led_by_whoever_started_it") {
        return;
    }
    let cluster = Script::new().with_variable("HOLDFAST_AUTH", "on");
    let up = cluster.must(&["up"]);
    assert!(up.contains("Holdfast is up") && up.contains("Bearer"), "{up}");
    cluster.client().get("/files").await.expect(401);
    let status = cluster.must(&["status"]);
    assert!(status.matches(" active").count() == 4 && status.contains("\"healthyNodes\":4"), "{status}");
    cluster.must(&["decommission", "4"]);
    cluster.must(&["restart", "coordinator"]);
    let denied = cluster.with_variable("HOLDFAST_API_KEY", "s3_key_of_last_year").must_not(&["decommission", "3"]);
    assert!(denied.contains("Unauthorized"), "{denied}");
}

#[tokio::test]
async fn a_directory_that_is_not_ours_is_not_taken_over() {
    let cluster = Script::new();
    std::fs::create_dir(cluster.data()).expect("a directory can be made");
    std::fs::File::create(cluster.data().join("thesis.doc")).expect("a file can be made");
    assert!(cluster.must_not(&["up"]).contains("is not empty and was not made by cluster.sh"));
    cluster.must(&["down", "--wipe"]);
    assert!(cluster.data().join("thesis.doc").exists());
}

#[tokio::test]
async fn the_readme_s_lines_work_as_printed() {
    if !can_run("the_readme_s_lines_work_as_printed") {
        return;
    }
    let readme = std::fs::read_to_string(repository().join("README.md")).expect("there is a README");
    let lines = curl_lines(&readme);
    assert!(lines.len() >= 5, "the README opens with five curl lines: {lines:?}");
    let cluster = Script::new();
    cluster.must(&["up"]);
    let here = cluster.dir.path().join("here");
    std::fs::create_dir(&here).expect("a directory can be made");
    for name in ["README.md", "example.txt"] {
        std::fs::copy(repository().join("README.md"), here.join(name)).expect("the README can be copied");
    }
    for line in &lines {
        // As printed, but for the port, the test's own place for files, and a status that tells.
        let line = line.replace("localhost:8080", &format!("localhost:{}", cluster.ports.coordinator()));
        let line = line.replace("/tmp/", "./").replacen("curl ", "curl --fail-with-body -sS --noproxy '*' ", 1);
        let output = Command::new("bash").args(["-c", &line]).current_dir(&here).output().expect("bash runs");
        assert!(output.status.success(), "{line}: {}", told(&output));
    }
    let printed = std::fs::read(repository().join("README.md")).expect("there is a README");
    assert!(
        std::fs::read(here.join("example.txt")).is_ok_and(|data| data == printed),
        "what was downloaded is the README"
    );
}

/// Commands of the README's code blocks that use curl on the coordinator.
fn curl_lines(readme: &str) -> Vec<String> {
    let mut in_code = false;
    let mut lines = Vec::new();
    for line in readme.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
        } else if in_code && line.starts_with("curl ") && line.contains("localhost:8080") {
            lines.push(line.to_owned());
        }
    }
    lines
}
