//! Successive releases of a real package, each a plain tar, stored as versions of one file.

use super::{COPIES, GIB, Suite, tell};
use crate::body::Body;
use crate::driver::Session;
use crate::table::{Quantity, Row, Unit};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How many times fewer bytes must be kept than were sent, before replication.
const REDUCTION_MIN: f64 = 18.0;
/// The upload may cost as much as any other.
const CPU_S_PER_GIB_MAX: f64 = 4.0;
/// They are versions of this file.
const NAME: &str = "bench-releases.tar";

impl Suite<'_> {
    /// Stores all releases and compares what they are with what is kept.
    pub(super) fn releases(&mut self) -> io::Result<()> {
        let what = "successive releases of a package: bytes sent ÷ bytes kept, before replication";
        let Some(dir) = &self.options.releases else {
            self.add(Row::skipped(what, "no releases could be fetched"));
            return Ok(());
        };
        let releases = tars(dir)?;
        if releases.is_empty() {
            self.add(Row::skipped(what, format!("no tar in {}", dir.display())));
            return Ok(());
        }
        let name = package_of(&releases[0]);
        tell(&format!("{} releases of {name}", releases.len()));
        let before = self.cluster.settled_used_bytes()?;
        let (sent, cost) = self.cluster.servers.charge(|| self.put_all(&releases));
        let sent_bytes = sent?;
        let kept_bytes = self.cluster.settled_used_bytes()?.saturating_sub(before).max(1) / COPIES;

        let what = format!("{} releases of {name} ({:.0} MB of tars)", releases.len(), sent_bytes as f64 / 1e6);
        let reduction = Quantity(sent_bytes as f64 / kept_bytes.max(1) as f64, Unit::Times);
        let least = Quantity(REDUCTION_MIN, Unit::Times);
        self.add(Row::at_least(format!("{what}: sent ÷ kept, before replication"), reduction, least, ""));
        let cpu = Quantity(cost.server_cpu.as_secs_f64() * GIB as f64 / sent_bytes as f64, Unit::CpuSPerGib);
        let most = Quantity(CPU_S_PER_GIB_MAX, Unit::CpuSPerGib);
        self.add(Row::at_most(format!("{what}: server CPU"), cpu, most, ""));
        Ok(())
    }

    fn put_all(&self, releases: &[PathBuf]) -> io::Result<u64> {
        let mut session = Session::new(self.cluster.driver.clone());
        let mut sent_bytes = 0;
        for path in releases {
            let length_bytes = fs::metadata(path)?.len();
            session.put(NAME, &Body::File { path: path.clone(), length_bytes })?;
            sent_bytes += length_bytes;
        }
        Ok(sent_bytes)
    }
}

/// The tars in a directory, by name.
fn tars(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries: Vec<PathBuf> = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    let mut tars: Vec<PathBuf> =
        entries.into_iter().filter(|path| path.extension().is_some_and(|e| e == "tar")).collect();
    tars.sort();
    Ok(tars)
}

/// `libc` of `01-libc-0.2.170.tar`.
fn package_of(tar: &Path) -> String {
    let stem = tar.file_stem().and_then(|stem| stem.to_str()).unwrap_or("a package");
    let name = stem.split_once('-').map_or(stem, |(_, name)| name);
    name.rsplit_once('-').map_or(name, |(name, _)| name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn tars_come_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["02-libc-0.2.171.tar", "01-libc-0.2.170.tar", "libc.crate"] {
            File::create(dir.path().join(name)).unwrap();
        }
        let tars = tars(dir.path()).unwrap();
        assert_eq!(tars.len(), 2);
        assert!(tars[0].ends_with("01-libc-0.2.170.tar"));
        assert_eq!(package_of(&tars[0]), "libc");
    }
}
