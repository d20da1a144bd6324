//! One process under test: started, frozen, killed, stopped and started again on the same port and data.

use super::client::Client;
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often an ending process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a process may take to be ready, and how often it is asked.
const READY_WAIT: Duration = Duration::from_secs(30);
const READY_LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a killed process may take to be gone.
const DEATH_WAIT: Duration = Duration::from_secs(10);
/// Variables of the programs that have no prefix (contract D6).
const OWN_VARIABLES: [&str; 2] = ["NODE_ID", "PORT"];
/// How many bytes of a log are shown.
const TAIL_BYTES: usize = 6_000;

/// A program with its arguments, and the process that runs it, if one does.
#[derive(Debug)]
pub struct Server {
    /// `coordinator`, `n1`, …
    pub name: String,
    /// The port it listens on.
    pub port: u16,
    wrapper: Vec<String>,
    program: PathBuf,
    arguments: Vec<String>,
    directory: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Server {
    /// A process to be; `directory` is where it runs, and `log` takes what it prints.
    pub fn new(name: &str, port: u16, program: PathBuf, directory: &Path, log: PathBuf) -> Server {
        let (name, directory) = (name.to_owned(), directory.to_path_buf());
        Server { name, port, wrapper: Vec::new(), program, arguments: Vec::new(), directory, log, child: None }
    }

    /// Adds a flag with its value, for starts from now on.
    pub fn flag(&mut self, name: &str, value: impl ToString) -> &mut Server {
        self.arguments.extend([name.to_owned(), value.to_string()]);
        self
    }

    /// Adds a flag without a value, for starts from now on.
    pub fn switch(&mut self, name: &str) -> &mut Server {
        self.arguments.push(name.to_owned());
        self
    }

    /// Takes a flag without a value away again.
    pub fn drop_switch(&mut self, name: &str) {
        self.arguments.retain(|argument| argument != name);
    }

    /// Takes a flag and its values away again.
    pub fn drop_flag(&mut self, name: &str) {
        while let Some(at) = self.arguments.iter().position(|argument| argument == name) {
            self.arguments.drain(at..at + 2);
        }
    }

    /// Puts another value in the place of a flag's.
    pub fn change_flag(&mut self, name: &str, value: impl ToString) {
        let at = self.arguments.iter().position(|argument| argument == name);
        let at = at.unwrap_or_else(|| panic!("{} has no flag {name}", self.name));
        self.arguments[at + 1] = value.to_string();
    }

    /// Starts it by another program, such as `prlimit`, that becomes it.
    pub fn by(&mut self, wrapper: &[&str]) -> &mut Server {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Starts it. Returns at once; [`super::Cluster`] waits until it is ready.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = OpenOptions::new().create(true).append(true).open(&self.log).expect("the log can be opened");
        let errors = log.try_clone().expect("a log has two ends");
        let mut words = self.wrapper.iter().map(std::ffi::OsStr::new).chain([self.program.as_os_str()]);
        let mut command = Command::new(words.next().expect("a program"));
        command
            .args(words)
            .args(&self.arguments)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        // What the developer's shell has set is not for these.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HOLDFAST_") || OWN_VARIABLES.iter().any(|own| name == *own) {
                command.env_remove(name);
            }
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {}: {error}", self.program.display()));
        self.child = Some(child);
    }

    /// Its base URL: `https` where it has a certificate.
    pub fn url(&self) -> String {
        let scheme = if self.authority().is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// The authority that certifies it, if it speaks TLS.
    pub fn authority(&self) -> Option<&Path> {
        let value = |name: &str| {
            let at = self.arguments.iter().position(|argument| argument == name)?;
            self.arguments.get(at + 1).map(Path::new)
        };
        value("--tls-cert").and_then(|_| value("--tls-ca"))
    }

    /// Waits until it answers.
    pub async fn ready(&mut self) {
        let client = Client::trusting(&self.url(), self.authority());
        let deadline = Instant::now() + READY_WAIT;
        loop {
            let answer = client.try_send(client.request(Method::GET, "/health")).await;
            if answer.as_ref().is_ok_and(|reply| reply.status == 200) {
                return;
            }
            assert!(self.is_running(), "{} ended while it started\n{}", self.name, self.log_tail());
            assert!(
                Instant::now() < deadline,
                "{} did not answer within {READY_WAIT:?}: {answer:?}\n{}",
                self.name,
                self.log_tail()
            );
            tokio::time::sleep(READY_LOOK_EVERY).await;
        }
    }

    /// Its process id; panics if it does not run.
    pub fn pid(&self) -> u32 {
        self.running().id()
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|ended| ended.is_none()))
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait(DEATH_WAIT).unwrap_or_else(|| panic!("{} survived kill -9", self.name));
    }

    /// SIGSTOP.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits for it to end; `None` if it does not within the bound.
    pub fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        let child = self.child.as_mut().unwrap_or_else(|| panic!("{} was not started", self.name));
        loop {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                self.child = None;
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// SIGTERM, and its status; panics if it does not end within the bound.
    pub fn stop(&mut self, within: Duration) -> ExitStatus {
        self.terminate();
        let status = self.wait(within);
        status.unwrap_or_else(|| panic!("{} did not end within {within:?} of SIGTERM\n{}", self.name, self.log_tail()))
    }

    /// All it has printed.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The end of what it has printed, under its name.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let start = log.len().saturating_sub(TAIL_BYTES);
        let start = (start..=log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or(0);
        format!("---- {} (port {}):\n{}", self.name, self.port, &log[start..])
    }

    /// Begins its log anew.
    pub fn clear_log(&self) {
        File::create(&self.log).expect("the log can be emptied");
    }

    fn running(&self) -> &Child {
        self.child.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name))
    }

    fn signal(&self, signal: Signal) {
        // A child that was not waited for keeps its pid, so this cannot hit anyone else.
        let sent = kill_process(Pid::from_child(self.running()), signal);
        sent.unwrap_or_else(|error| panic!("{} cannot be signalled: {error}", self.name));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only if it has ended already.
            child.kill().ok();
            child.wait().ok();
        }
    }
}
