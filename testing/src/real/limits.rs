//! A process that gets less than it would like, by a control group (version 1), where the machine has one that we may use.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A process under a limit, for as long as this lives or the process does.
#[derive(Debug)]
pub struct Limit {
    group: PathBuf,
}

impl Limit {
    /// At most this much memory; whoever takes more is killed. The error says why this machine cannot.
    pub fn memory(pid: u32, bytes: u64) -> Result<Limit, String> {
        Limit::set("memory", pid, &[("memory.limit_in_bytes", bytes.to_string())])
    }

    /// At most this part of one processor, in percent.
    pub fn cpu(pid: u32, percent: u64) -> Result<Limit, String> {
        let (period_us, quota_us) = (100_000, percent * 1_000);
        Limit::set(
            "cpu",
            pid,
            &[("cpu.cfs_period_us", format!("{period_us}")), ("cpu.cfs_quota_us", format!("{quota_us}"))],
        )
    }

    fn set(controller: &str, pid: u32, settings: &[(&str, String)]) -> Result<Limit, String> {
        static GROUPS: AtomicU64 = AtomicU64::new(0);
        let number = GROUPS.fetch_add(1, Ordering::Relaxed);
        let name = format!("holdfast-test-{}-{number}", std::process::id());
        let group = Path::new("/sys/fs/cgroup").join(controller).join(name);
        std::fs::create_dir(&group).map_err(|error| format!("cannot make {}: {error}", group.display()))?;
        let limit = Limit { group };
        for (file, value) in settings {
            write(&limit.group.join(file), value)?;
        }
        write(&limit.group.join("cgroup.procs"), &pid.to_string())?;
        Ok(limit)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // What is in it goes back to the group above; then it can go.
        if let Some(above) = self.group.parent()
            && let Ok(members) = std::fs::read_to_string(self.group.join("cgroup.procs"))
        {
            // One that has just ended cannot be moved, and need not be.
            members.lines().for_each(|pid| write(&above.join("cgroup.procs"), pid).unwrap_or_default());
        }
        if let Err(error) = std::fs::remove_dir(&self.group) {
            eprintln!("cannot remove {}: {error}", self.group.display());
        }
    }
}

/// Written to, not replaced: these files take one value at a time.
fn write(path: &Path, value: &str) -> Result<(), String> {
    let written = OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(|error| format!("cannot write {}: {error}", path.display()))
}
