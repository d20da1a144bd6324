//! Successive releases of a real package, each a plain tar, stored as versions of one file.

use super::{COPIES, GIB, Suite, tell};
use crate::body::Body;
use crate::driver::Session;
use crate::table::{Quantity, Row, Unit};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How many times fewer bytes of a large package must be kept than were sent, before replication.
const REDUCTION_MIN: f64 = 18.0;
/// The upload of a large package may cost as much as any other.
const CPU_S_PER_GIB_MAX: f64 = 4.0;
/// A package is large if its releases have as many bytes together. Of smaller ones both are figures to know: CPU is counted in hundredths
/// of a second, of which four seconds per GiB are four for ten megabytes.
const LARGE_BYTES: u64 = 256 << 20;

impl Suite<'_> {
    /// Every package in the directory of releases.
    pub(super) fn releases(&mut self) -> io::Result<()> {
        let packages = match &self.options.releases {
            Some(dir) => sorted(dir)?,
            None => Vec::new(),
        };
        if packages.is_empty() {
            self.add(Row::skipped("successive releases of a package: sent ÷ kept", "no releases could be fetched"));
        }
        packages.iter().try_for_each(|package| self.releases_of(package))
    }

    /// Stores all releases of one package and compares what they are with what is kept.
    fn releases_of(&mut self, package: &Path) -> io::Result<()> {
        let releases = sorted(package)?;
        let name = package.file_name().and_then(|name| name.to_str()).unwrap_or("a package");
        tell(&format!("{} releases of {name}", releases.len()));
        let before = self.cluster.settled_used_bytes()?;
        let (sent, cost) = self.cluster.servers.charge(|| self.put_all(name, &releases));
        let sent_bytes = sent?;
        let kept_bytes = self.cluster.settled_used_bytes()?.saturating_sub(before) as f64 / COPIES as f64;

        let what = format!("{} releases of {name} ({:.0} MB of tars)", releases.len(), sent_bytes as f64 / 1e6);
        let reduction = Quantity(sent_bytes as f64 / kept_bytes.max(1.0), Unit::Times);
        let cpu = Quantity(cost.server_cpu.as_secs_f64() * GIB as f64 / sent_bytes as f64, Unit::CpuSPerGib);
        let (what_kept, what_cpu) = (format!("{what}: sent ÷ kept, before replication"), format!("{what}: server CPU"));
        if sent_bytes >= LARGE_BYTES {
            self.add(Row::at_least(what_kept, reduction, Quantity(REDUCTION_MIN, Unit::Times), ""));
            self.add(Row::at_most(what_cpu, cpu, Quantity(CPU_S_PER_GIB_MAX, Unit::CpuSPerGib), ""));
        } else {
            self.add(Row::figure(what_kept, reduction));
            self.add(Row::figure(what_cpu, cpu));
        }
        Ok(())
    }

    /// They are versions of one file.
    fn put_all(&self, package: &str, releases: &[PathBuf]) -> io::Result<u64> {
        let mut session = Session::new(self.cluster.driver.clone());
        let mut sent_bytes = 0;
        for path in releases {
            let length_bytes = fs::metadata(path)?.len();
            session.put(&format!("{package}.tar"), &Body::File { path: path.clone(), length_bytes })?;
            sent_bytes += length_bytes;
        }
        Ok(sent_bytes)
    }
}

/// What lies in a directory, by name.
fn sorted(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    entries.sort();
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn releases_come_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["02-libc-0.2.171.tar", "10-libc-0.2.9.tar", "01-libc-0.2.170.tar"] {
            File::create(dir.path().join(name)).unwrap();
        }
        let names = sorted(dir.path()).unwrap().into_iter().map(|path| path.file_name().unwrap().to_owned());
        let expected = ["01-libc-0.2.170.tar", "02-libc-0.2.171.tar", "10-libc-0.2.9.tar"];
        assert_eq!(names.collect::<Vec<_>>(), expected);
    }
}
