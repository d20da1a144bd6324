//! What processes cost: CPU time and peak memory, read from /proc, for the servers by pid and for this client apart.
//!
//! What it keeps true:
//! - A figure belongs to the run it is printed with: the servers are quiet before the first reading and before the last, so
//!   that work put off (a third replica, a flush) is charged to the run that caused it.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Servers count as quiet when they used at most this much CPU in [`QUIET_WINDOW`].
const QUIET_CPU_MAX: Duration = Duration::from_millis(30);
/// How long quiet must last.
const QUIET_WINDOW: Duration = Duration::from_millis(300);
/// How long quiet is waited for.
const QUIET_WAIT_MAX: Duration = Duration::from_secs(20);

/// The processes that are measured: name and pid.
#[derive(Clone, Debug, Default)]
pub struct Processes {
    pids: BTreeMap<String, u32>,
}

impl Processes {
    /// These pids, named after themselves.
    pub fn of_pids(pids: &[u32]) -> Processes {
        Processes { pids: pids.iter().map(|pid| (pid.to_string(), *pid)).collect() }
    }

    /// Every `NAME.pid` in `dir`.
    pub fn of_directory(dir: &Path) -> io::Result<Processes> {
        let mut pids = BTreeMap::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".pid")) else { continue };
            let text = fs::read_to_string(&path)?;
            let pid = text.trim().parse().map_err(|_| invalid(format!("{}: no pid in it", path.display())))?;
            pids.insert(name.to_owned(), pid);
        }
        Ok(Processes { pids })
    }

    /// Whether there is nothing to measure.
    pub fn is_empty(&self) -> bool {
        self.pids.is_empty()
    }

    /// Those that have ended since they were found.
    pub fn ended(&self) -> Vec<&str> {
        let is_gone = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
        self.pids.iter().filter(|(_, pid)| is_gone(pid)).map(|(name, _)| name.as_str()).collect()
    }

    /// CPU time used so far, by pid; a process that is gone does not appear.
    fn cpu(&self) -> Cpu {
        Cpu { by_pid: self.pids.values().filter_map(|pid| Some((*pid, cpu_of(&pid.to_string())?))).collect() }
    }

    /// Does some work and says what it cost.
    pub fn charge<T>(&self, work: impl FnOnce() -> T) -> (T, Cost) {
        self.wait_until_quiet();
        let (servers_before, client_before, begun) = (self.cpu(), own_cpu(), Instant::now());
        let result = work();
        let elapsed = begun.elapsed();
        let client_cpu = own_cpu().saturating_sub(client_before);
        self.wait_until_quiet();
        (result, Cost { elapsed, client_cpu, server_cpu: self.cpu().since(&servers_before) })
    }

    /// Waits until the servers have done what they put off, within a bound.
    fn wait_until_quiet(&self) {
        let begun = Instant::now();
        let mut before = self.cpu();
        while !self.is_empty() && begun.elapsed() < QUIET_WAIT_MAX {
            thread::sleep(QUIET_WINDOW);
            let now = self.cpu();
            if now.since(&before) <= QUIET_CPU_MAX {
                return;
            }
            before = now;
        }
    }

    /// Forgets the peaks of resident memory so far. `false` where the kernel does not allow it.
    pub fn reset_peaks(&self) -> bool {
        self.pids.values().all(|pid| reset_peak(*pid).is_ok())
    }

    /// Peak of resident memory since the last reset, in bytes, by name.
    pub fn peaks(&self) -> BTreeMap<String, u64> {
        self.pids.iter().filter_map(|(name, pid)| Some((name.clone(), peak_bytes(*pid)?))).collect()
    }
}

/// What some work cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// From its begin to its end.
    pub elapsed: Duration,
    /// CPU time of this client.
    pub client_cpu: Duration,
    /// CPU time of the servers, what they put off included.
    pub server_cpu: Duration,
}

/// CPU time of several processes at one moment.
#[derive(Clone, Debug, Default)]
struct Cpu {
    by_pid: BTreeMap<u32, Duration>,
}

impl Cpu {
    /// What was used since `before` by the processes that were there at both moments.
    fn since(&self, before: &Cpu) -> Duration {
        let used = |(pid, now): (&u32, &Duration)| Some(now.saturating_sub(*before.by_pid.get(pid)?));
        self.by_pid.iter().filter_map(used).sum()
    }
}

/// CPU time this client has used, in all its threads.
fn own_cpu() -> Duration {
    cpu_of("self").expect("/proc is mounted")
}

/// User and system time of a process, ended threads included.
fn cpu_of(pid: &str) -> Option<Duration> {
    let ticks = cpu_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    Some(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// utime + stime of a line of /proc/PID/stat. The command before them may hold spaces and brackets.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn reset_peak(pid: u32) -> io::Result<()> {
    OpenOptions::new().write(true).open(format!("/proc/{pid}/clear_refs"))?.write_all(b"5\n")
}

/// Peak of resident memory since the last reset, in bytes.
pub fn peak_bytes(pid: u32) -> Option<u64> {
    peak_of_status(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn peak_of_status(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::hint::black_box;

    #[test]
    fn a_command_with_spaces_and_brackets_does_not_shift_the_fields() {
        let stat = "42 (a ) b (c) S 1 2 3 4 5 6 7 8 9 10 111 222 13 14 15";
        assert_eq!(cpu_ticks(stat), Some(333));
        assert_eq!(cpu_ticks("42 (cut) S 1 2"), None);
    }

    #[test]
    fn work_done_is_charged_and_sleep_is_not() {
        let me = Processes::of_pids(&[std::process::id()]);
        let before = me.cpu();
        let begun = Instant::now();
        let mut sum = 0u64;
        while own_cpu().saturating_sub(before.by_pid[&std::process::id()]) < Duration::from_millis(80) {
            sum = (0..100_000).fold(sum, |sum: u64, n| black_box(sum.wrapping_mul(31) + n));
            assert!(begun.elapsed() < Duration::from_secs(30), "80 ms of work are charged within 30 s");
        }
        assert!(me.cpu().since(&before) >= Duration::from_millis(80));
        assert_eq!(me.cpu().since(&Cpu::default()), Duration::ZERO, "a process not there before is not charged");
    }

    #[test]
    fn a_peak_is_read_in_bytes() {
        assert_eq!(peak_of_status("VmPeak:\t 9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"), Some(2048 << 10));
        assert!(peak_bytes(std::process::id()).is_some_and(|bytes| bytes > 100_000));
    }

    #[test]
    fn pid_files_are_found_by_name() {
        let dir = tempfile::tempdir().unwrap();
        File::create(dir.path().join("coordinator.pid")).unwrap().write_all(b"4294967295\n").unwrap();
        File::create(dir.path().join("coordinator.log")).unwrap();
        let found = Processes::of_directory(dir.path()).unwrap();
        assert_eq!(found.pids, BTreeMap::from([("coordinator".to_owned(), u32::MAX)]));
        assert_eq!(found.ended(), ["coordinator"]);
        assert!(Processes::of_pids(&[std::process::id()]).ended().is_empty());
        File::create(dir.path().join("n1.pid")).unwrap();
        assert!(Processes::of_directory(dir.path()).is_err());
    }
}
