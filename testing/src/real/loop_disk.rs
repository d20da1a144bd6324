//! A disk whose power can be cut: ext4 on a loop device, where the machine lets us mount one.
//!
//! What it keeps true: what was not made durable before [`LoopDisk::cut`] is gone after [`LoopDisk::restore`], as far as ext4 keeps its word;
//! nothing stays mounted when it is dropped.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// `EXT4_IOC_SHUTDOWN`, `_IOR('X', 125, u32)`, with `EXT4_GOING_FLAGS_NOLOGFLUSH`: nothing more reaches the device, the journal neither.
/// By perl, which every Debian has: there is no safe call for it.
const SHUTDOWN: &str =
    "sysopen(D, $ARGV[0], 0) or die $!; my $how = pack('L', 2); ioctl(D, 0x8004587D, $how) or die $!";
/// How long a filesystem may be busy after its last process was killed.
const UNMOUNT_WAIT: Duration = Duration::from_secs(20);

/// A filesystem on an image file.
#[derive(Debug)]
pub struct LoopDisk {
    at: PathBuf,
    image: PathBuf,
    mounted: bool,
}

impl LoopDisk {
    /// Makes a filesystem of `size_bytes` in the file `image` and mounts it at `at`. The error says why this machine cannot.
    pub fn mount(at: &Path, image: &Path, size_bytes: u64) -> Result<LoopDisk, String> {
        std::fs::create_dir_all(at).map_err(|error| format!("cannot make {}: {error}", at.display()))?;
        let file = File::create(image).and_then(|file| file.set_len(size_bytes));
        file.map_err(|error| format!("cannot make {}: {error}", image.display()))?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image))?;
        let mut disk = LoopDisk { at: at.to_owned(), image: image.to_owned(), mounted: false };
        disk.restore()?;
        Ok(disk)
    }

    /// Whether this machine lets us do all this; the error says why not.
    pub fn probe() -> Result<(), String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut disk = LoopDisk::mount(&dir.path().join("disk"), &dir.path().join("image"), 16 << 20)?;
        disk.try_cut()?;
        disk.unmount()?;
        disk.restore()
    }

    /// Cuts the power. Processes that use it go on, and every call of theirs fails.
    pub fn cut(&self) {
        self.try_cut().unwrap_or_else(|why| panic!("{}: {why}", self.at.display()));
    }

    fn try_cut(&self) -> Result<(), String> {
        run(Command::new("perl").args(["-e", SHUTDOWN]).arg(&self.at))
    }

    /// Mounts it anew after a cut; nobody may have it open.
    pub fn power_on(&mut self) {
        self.unmount().and_then(|()| self.restore()).unwrap_or_else(|why| panic!("{}: {why}", self.at.display()));
    }

    /// Turns it read-only under its processes, as an error of the filesystem does.
    pub fn turn_read_only(&self) {
        let turned = run(Command::new("mount").args(["-o", "remount,abort"]).arg(&self.at));
        turned.unwrap_or_else(|why| panic!("{}: {why}", self.at.display()));
    }

    /// Takes the device's end away, and what the page cache holds of it: reads there fail.
    pub fn lose_all_after(&self, bytes: u64) -> Result<(), String> {
        let cut = OpenOptions::new().write(true).open(&self.image).and_then(|image| image.set_len(bytes));
        cut.map_err(|error| format!("cannot cut {}: {error}", self.image.display()))?;
        run(Command::new("sh").args(["-c", "echo 3 >/proc/sys/vm/drop_caches"]))
    }

    fn restore(&mut self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.at))?;
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + UNMOUNT_WAIT;
        loop {
            match run(Command::new("umount").arg(&self.at)) {
                Err(why) if Instant::now() > deadline => return Err(why),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
                Ok(()) => {
                    self.mounted = false;
                    return Ok(());
                }
            }
        }
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // Lazily: a process that was just killed may still be giving its files back. The loop device goes with the mount.
        if self.mounted
            && let Err(why) = run(Command::new("umount").arg("-l").arg(&self.at))
        {
            eprintln!("cannot unmount {}: {why}", self.at.display());
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("cannot run {program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {said}")) }
}
