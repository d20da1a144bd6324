//! A disk of a given size, where the machine lets us mount one: a tmpfs.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Attempts to make a disk as small as what it holds while others write to it.
const SQUEEZES_MAX: usize = 100;

/// A small filesystem, unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts an empty filesystem of `size_bytes` at `at`, which is made. The error says why this machine cannot.
    pub fn mount(at: &Path, size_bytes: u64) -> Result<SmallDisk, String> {
        SmallDisk::mount_with(at, &format!("size={size_bytes}"))
    }

    /// Mounts one with room for so many files and directories, itself included.
    pub fn mount_few_files(at: &Path, files: u64) -> Result<SmallDisk, String> {
        SmallDisk::mount_with(at, &format!("size=2g,nr_inodes={files}"))
    }

    fn mount_with(at: &Path, options: &str) -> Result<SmallDisk, String> {
        std::fs::create_dir_all(at).map_err(|error| format!("cannot make {}: {error}", at.display()))?;
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("{options},mode=0700"), "holdfast-test"])
            .arg(at)
            .output()
            .map_err(|error| format!("cannot run mount: {error}"))?;
        if !output.status.success() {
            return Err(format!("cannot mount a tmpfs: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        Ok(SmallDisk { at: at.to_path_buf() })
    }

    /// Whether this machine lets us mount; the error says why not.
    pub fn probe() -> Result<(), String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        SmallDisk::mount(&dir.path().join("disk"), 1 << 20).map(drop)
    }

    /// Fills it up to the last byte, behind the back of whoever uses it.
    pub fn fill(&self) {
        let mut ballast = File::create(self.at.join("ballast")).expect("a file can be made");
        let block = [1; 64 << 10];
        // Ever smaller pieces, until nothing fits.
        for size in [block.len(), 4096, 1] {
            while ballast.write_all(&block[..size]).is_ok() {}
        }
    }

    /// Makes it as small as what it holds, so that nothing more fits; [`SmallDisk::resize`] gives room again.
    pub fn squeeze(&self) {
        let squeezed = || {
            let stat = rustix::fs::statvfs(&self.at).expect("a filesystem tells its size");
            self.try_resize((stat.f_blocks - stat.f_bfree) * stat.f_frsize)
        };
        // Whoever writes between the two calls makes the size too small.
        assert!((0..SQUEEZES_MAX).any(|_| squeezed()), "cannot make the tmpfs at {} smaller", self.at.display());
    }

    /// Gives it another size.
    pub fn resize(&self, size_bytes: u64) {
        assert!(self.try_resize(size_bytes), "cannot resize the tmpfs at {}", self.at.display());
    }

    fn try_resize(&self, size_bytes: u64) -> bool {
        let size = format!("remount,size={size_bytes}");
        let done = Command::new("mount").args(["-o", &size]).arg(&self.at).stderr(Stdio::null()).status();
        done.is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that was just killed may still be giving its files back.
        let done = Command::new("umount").arg("-l").arg(&self.at).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("cannot unmount {}", self.at.display());
        }
    }
}
