//! A client program: found where `scripts/install-test-deps.sh` puts it, run with an environment of its own, and bounded in time.

use super::store::Store;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;
use testing::real::skipped;

/// How long one command may take, in seconds.
const COMMAND_S_MAX: &str = "120";

/// A client, with a home directory that holds nothing but what it makes itself.
pub struct Program {
    path: PathBuf,
    home: TempDir,
    environment: Vec<(String, String)>,
}

impl Program {
    /// A program by its name, or a word that `test` is skipped.
    pub fn find(test: &str, name: &str) -> Option<Program> {
        let Some(path) = clients_directory().map(|bin| bin.join(name)).filter(|path| path.exists()).or(on_path(name))
        else {
            skipped(test, &format!("{name} is not installed"));
            return None;
        };
        let home = tempfile::Builder::new().prefix("holdfast-client-").tempdir().expect("a directory can be made");
        Some(Program { path, home, environment: Vec::new() })
    }

    /// The Python of the S3 clients, or a word that `test` is skipped. Another one would lack the modules.
    pub fn find_python(test: &str) -> Option<Program> {
        if clients_directory().is_none() {
            skipped(test, "boto3 is not installed");
            return None;
        }
        Program::find(test, "python3")
    }

    /// Where it runs, and may leave files.
    pub fn directory(&self) -> &Path {
        self.home.path()
    }

    /// Sets a variable of its environment.
    pub fn set(mut self, name: &str, value: &str) -> Program {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The variables by which AWS's own clients, and others, learn of keys.
    pub fn with_keys(self, store: &Store) -> Program {
        self.set("AWS_ACCESS_KEY_ID", &store.keys.access_key)
            .set("AWS_SECRET_ACCESS_KEY", &store.keys.secret_key)
            .set("AWS_DEFAULT_REGION", "us-east-1")
            .set("AWS_EC2_METADATA_DISABLED", "true")
    }

    /// Runs it; answers what it printed. Panics with all of it if it fails.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{}", self.told(arguments, &output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs it, and it must fail; answers what it said.
    #[track_caller]
    pub fn fail(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(!output.status.success(), "should have failed: {}", self.told(arguments, &output));
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    fn output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command.arg(COMMAND_S_MAX).arg(&self.path).args(arguments).current_dir(self.directory()).env_clear();
        // A UTF-8 locale: Python takes names of files as it says.
        command
            .env("HOME", self.directory())
            .env("LANG", "C.UTF-8")
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.output().unwrap_or_else(|error| panic!("{} cannot be started: {error}", self.path.display()))
    }

    fn told(&self, arguments: &[&str], output: &Output) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        format!("{} {arguments:?}: {}\n{out}\n{err}", self.path.display(), output.status)
    }
}

/// `s3-clients/bin` of the target directory, which is one of those above this test.
fn clients_directory() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    test.ancestors().map(|directory| directory.join("s3-clients/bin")).find(|bin| bin.is_dir())
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// A file of this repository.
pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the repository").join(path)
}
