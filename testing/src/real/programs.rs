//! Where the programs under test are: `HOLDFAST_BIN_DIR`, or beside the test, built if they are missing or older than their source.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;
use walkdir::WalkDir;

/// The workspace's directories whose files go into the programs.
const SOURCES: [&str; 6] = ["protocol", "segments", "process", "storage-node", "coordinator", "Cargo.lock"];
const PROGRAMS: [&str; 2] = ["coordinator", "storage-node"];

/// The directory that holds the programs.
pub fn bin_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| match std::env::var_os("HOLDFAST_BIN_DIR") {
        Some(dir) => {
            // Cargo runs tests in their package's directory; whoever set this meant the directory it was set in.
            let dir = if Path::new(&dir).is_relative() { root().join(dir) } else { PathBuf::from(dir) };
            assert!(
                PROGRAMS.iter().all(|name| dir.join(name).is_file()),
                "HOLDFAST_BIN_DIR={dir:?} lacks {PROGRAMS:?}"
            );
            dir
        }
        None => beside_the_test(),
    })
}

/// One of the programs.
pub fn program(name: &str) -> PathBuf {
    bin_dir().join(name)
}

/// A Python tool that `scripts/install-test-deps.sh` put below the target directory, if it did.
pub fn python_tool(name: &str) -> Option<PathBuf> {
    let target = target_dir();
    let tool = target.join("test-python/bin").join(name);
    (tool.is_file() && target.join("test-python/installed.txt").is_file()).then_some(tool)
}

/// A program that `scripts/install-test-deps.sh` put below the target directory, or that is in `PATH`.
pub fn test_tool(name: &str) -> Option<PathBuf> {
    let taken = target_dir().join("test-tools/bin").join(name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|dir| dir.join(name));
    std::iter::once(taken).chain(installed).find(|tool| tool.is_file())
}

fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The workspace.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the workspace")
}

/// A test is `target/<profile>/deps/<test>`, a program of this crate `target/<profile>/<program>`.
fn beside_the_test() -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its program");
    let dir = test.parent().expect("a program lies in a directory");
    let dir =
        if dir.ends_with("deps") { dir.parent().expect("deps lies in target/<profile>") } else { dir }.to_path_buf();
    if !is_current(&dir) {
        build(dir.ends_with("release"));
    }
    dir
}

fn is_current(dir: &Path) -> bool {
    let made = |name: &str| dir.join(name).metadata().and_then(|metadata| metadata.modified()).ok();
    let Some(oldest) = PROGRAMS.iter().map(|name| made(name)).min().flatten() else { return false };
    newest_source() <= oldest
}

fn newest_source() -> SystemTime {
    let files = SOURCES.iter().flat_map(|name| WalkDir::new(root().join(name))).filter_map(Result::ok);
    let sources = files.filter(|file| {
        let path = file.path();
        !path.components().any(|part| part.as_os_str() == "tests")
            && path.extension().is_some_and(|extension| extension == "rs" || extension == "toml" || extension == "lock")
    });
    sources.filter_map(|file| file.metadata().ok()?.modified().ok()).max().unwrap_or(SystemTime::UNIX_EPOCH)
}

fn build(release: bool) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(["build", "--quiet", "-p", "coordinator", "-p", "storage-node"]);
    if release {
        cargo.arg("--release");
    }
    let built = cargo.status().expect("cargo can be started");
    assert!(built.success(), "the programs under test cannot be built: {built}");
}
