//! The catalog outlives its machine (law 11; faults I14, I16, rows 10 and 42): real processes, whose coordinator's directory is removed,
//! copied and restored from the storage nodes.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it says")]
#![expect(clippy::disallowed_methods, reason = "removes and copies directories of processes it started")]

mod catch_up;
mod fencing;
mod restore;

use serde_json::Value;
use std::process::{Command, Output};
use std::time::Duration;
use testing::real::{Cluster, program};

/// How long a number of writes may take, on a slow machine with a debug build.
const PROGRESS_WAIT: Duration = Duration::from_secs(60);

/// Runs `restore-catalog` into `data/<name>` from these nodes.
fn restore(cluster: &Cluster, name: &str, nodes: &[usize]) -> Output {
    let mut command = Command::new(program("coordinator"));
    command.arg("restore-catalog").arg("--from-nodes").arg("--json");
    command.arg("--cluster-file").arg(cluster.cluster_file()).arg("--data").arg(cluster.data(name));
    for number in nodes {
        command.arg("--node").arg(cluster.nodes[number - 1].url());
    }
    command.output().expect("the coordinator can be started")
}

/// The report of a restore that worked.
fn report(output: &Output) -> Value {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "restore-catalog: {}\n{out}{err}", output.status);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

/// What a restore said that did not work.
fn complaint(output: &Output) -> String {
    assert!(
        !output.status.success(),
        "restore-catalog should have refused: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8_lossy(&output.stderr).into_owned()
}
