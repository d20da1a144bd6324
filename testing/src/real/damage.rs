//! What happens to data directories behind a process's back.

use super::body::mix;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// Flips `count` random bits, chosen by `seed`, in the parts of the files below `dir` that hold anything. Gives how many: fewer where a
/// file was removed meanwhile.
pub fn flip_bits(dir: &Path, seed: u64, count: usize) -> usize {
    let flipped = flip_bits_in(&files_of(dir), seed, count);
    assert!(flipped > 0, "there is nothing to damage below {}", dir.display());
    flipped
}

/// The same in these files.
pub fn flip_bits_in(files: &[PathBuf], seed: u64, count: usize) -> usize {
    let mut chance = seed;
    let files: Vec<(&PathBuf, Vec<u64>)> =
        files.iter().map(|path| (path, written_blocks(path))).filter(|(_, blocks)| !blocks.is_empty()).collect();
    let blocks: Vec<(&PathBuf, u64)> =
        files.iter().flat_map(|(path, blocks)| blocks.iter().map(move |block| (*path, *block))).collect();
    if blocks.is_empty() {
        return 0;
    }
    let mut flipped = 0;
    for _ in 0..count {
        chance = mix(chance);
        let (path, block) = blocks[(chance % blocks.len() as u64) as usize];
        chance = mix(chance);
        let offset = block * BLOCK_BYTES as u64 + chance % BLOCK_BYTES as u64;
        flipped += usize::from(flip_bit(path, offset, (chance >> 32) as u32 % 8));
    }
    flipped
}

const BLOCK_BYTES: usize = 4096;

fn flip_bit(path: &Path, offset: u64, bit: u32) -> bool {
    let Some(file) = open(path, OpenOptions::new().read(true).write(true)) else { return false };
    let mut byte = [0];
    let read = file.read_exact_at(&mut byte, offset).is_ok();
    if read {
        file.write_all_at(&[byte[0] ^ (1 << bit)], offset).expect("a segment can be damaged");
    }
    read
}

/// A file of a process that may run, and may have removed it: compaction does.
fn open(path: &Path, how: &OpenOptions) -> Option<File> {
    match how.open(path) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// The blocks of a file that are not all zeros: segments are preallocated.
fn written_blocks(path: &Path) -> Vec<u64> {
    let Some(file) = open(path, OpenOptions::new().read(true)) else { return Vec::new() };
    let length = file.metadata().expect("a file has a length").len();
    let mut block = [0; BLOCK_BYTES];
    (0..length / BLOCK_BYTES as u64)
        .filter(|number| {
            let read = file.read_exact_at(&mut block, number * BLOCK_BYTES as u64);
            read.is_ok() && block.iter().any(|byte| *byte != 0)
        })
        .collect()
}

fn files_of(dir: &Path) -> Vec<PathBuf> {
    let entries = WalkDir::new(dir).sort_by_file_name().into_iter().filter_map(Result::ok);
    entries.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
}

/// Paths below `dir` whose name holds `text`.
pub fn scan_for(dir: &Path, text: &str) -> Vec<PathBuf> {
    let entries = WalkDir::new(dir).into_iter().filter_map(Result::ok);
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().contains(text));
    named.map(walkdir::DirEntry::into_path).collect()
}
