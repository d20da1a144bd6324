//! The machine a table was made on, in one line: a figure without it says nothing.

use std::fs;
use std::path::Path;
use std::thread;

/// Cores, processor, memory, kernel, the directory's filesystem, and how busy the machine was.
pub fn describe(dir: &Path) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let processor = value_of(&read("/proc/cpuinfo"), "model name").unwrap_or("unknown processor").to_owned();
    let memory_kib: u64 = value_of(&read("/proc/meminfo"), "MemTotal")
        .and_then(|value| value.strip_suffix(" kB")?.parse().ok())
        .unwrap_or_default();
    // Without them SHA-256, twice over every byte uploaded, costs four times as much.
    let has_sha =
        value_of(&read("/proc/cpuinfo"), "flags").is_some_and(|flags| flags.split(' ').any(|f| f == "sha_ni"));
    let sha = if has_sha { "with" } else { "without" };
    let kernel = read("/proc/sys/kernel/osrelease");
    let filesystem = dir.canonicalize().ok().and_then(|dir| filesystem_of(&read("/proc/mounts"), &dir));
    let load = read("/proc/loadavg");
    format!(
        "{cores} cores of {processor} ({sha} SHA extensions), {} GiB of memory, Linux {}, {}; load at the start {}",
        memory_kib >> 20,
        kernel.trim(),
        filesystem.unwrap_or_else(|| "unknown filesystem".to_owned()),
        load.split(' ').next().unwrap_or_default()
    )
}

fn value_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':')).map(str::trim)
}

/// The type of the filesystem mounted at the longest prefix of `dir`.
fn filesystem_of(mounts: &str, dir: &Path) -> Option<String> {
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
    };
    let above = mounts.lines().filter_map(mount).filter(|(point, _)| dir.starts_with(point));
    above.max_by_key(|(point, _)| point.len()).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filesystem_is_that_of_the_nearest_mount() {
        let mounts = "/dev/a / ext4 rw 0 0\nnone /tmp tmpfs rw 0 0\nnone /tmpdir xfs rw 0 0\n";
        assert_eq!(filesystem_of(mounts, Path::new("/tmp/x")).as_deref(), Some("tmpfs"));
        assert_eq!(filesystem_of(mounts, Path::new("/srv")).as_deref(), Some("ext4"));
    }

    #[test]
    fn values_are_found_by_name() {
        assert_eq!(value_of("cpu family\t: 6\nmodel name\t: A B\n", "model name"), Some("A B"));
        assert!(describe(Path::new("/")).contains("cores"));
    }
}
