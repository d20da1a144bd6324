//! `scripts/kill-test.sh` (contract B10) passes, on three nodes and on four.

use std::path::Path;
use std::process::Command;
use testing::real::{Ports, bin_dir, skipped};

fn passes_on(nodes: &str) {
    if Command::new("curl").arg("--version").output().is_err() {
        return skipped(&format!("the_kill_test_passes_on_{nodes}_nodes"), "curl is not installed");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the repository");
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let ports = Ports::take();
    let output = Command::new(root.join("scripts/kill-test.sh"))
        .args([nodes, "--port", &ports.coordinator().to_string(), "--data"])
        .arg(directory.path().join("data"))
        .env("HOLDFAST_BIN_DIR", bin_dir())
        .output()
        .expect("the script can be started");
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}");
    assert!(told.contains(&format!("== {nodes} nodes")) && !told.contains("FAIL"), "{told}");
    assert!(!directory.path().join("data").exists(), "the script leaves nothing behind");
}

#[test]
fn on_three_nodes_the_repair_is_scheduled_and_done() {
    passes_on("3");
}

#[test]
fn on_four_nodes_there_is_nothing_to_repair() {
    passes_on("4");
}
