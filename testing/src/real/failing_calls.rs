//! System calls of a running process that fail or are slow, by strace's injection, where strace is installed and may attach.

use rustix::process::{Pid, Signal, kill_process};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long strace may take to attach.
const ATTACH_WAIT: Duration = Duration::from_secs(10);

/// Some system calls of a process fail for as long as this lives.
#[derive(Debug)]
pub struct FailingCalls {
    strace: Child,
}

impl FailingCalls {
    /// Makes `calls`, comma-separated, of process `pid` fail with `errno`. The error says why this machine cannot.
    pub fn attach(pid: u32, calls: &str, errno: &str) -> Result<FailingCalls, String> {
        FailingCalls::inject(pid, calls, &format!("error={errno}"))
    }

    /// Makes them wait before they are done.
    pub fn delay(pid: u32, calls: &str, wait: Duration) -> Result<FailingCalls, String> {
        FailingCalls::inject(pid, calls, &format!("delay_enter={}", wait.as_micros()))
    }

    fn inject(pid: u32, calls: &str, what: &str) -> Result<FailingCalls, String> {
        let strace = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:{what}"), "-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot run strace: {error}"))?;
        let mut failing = FailingCalls { strace };
        let deadline = Instant::now() + ATTACH_WAIT;
        while !is_traced(pid) {
            if failing.strace.try_wait().is_ok_and(|ended| ended.is_some()) || Instant::now() > deadline {
                return Err("strace may not attach".to_owned());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(failing)
    }
}

impl Drop for FailingCalls {
    fn drop(&mut self) {
        // Asked to end, it lets go of the process; killed, it would leave it stopped.
        kill_process(Pid::from_child(&self.strace), Signal::TERM).ok();
        self.strace.wait().ok();
    }
}

/// Whether every thread of a process has a tracer.
fn is_traced(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    let statuses = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("status")).ok());
    let mut tracers = statuses.map(|status| !status.contains("TracerPid:\t0\n"));
    tracers.all(|traced| traced)
}
