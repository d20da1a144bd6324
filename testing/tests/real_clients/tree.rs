//! A tree of files with the names that go wrong, and whether another is the same.

use std::collections::BTreeMap;
use std::fs::{create_dir_all, read};
use std::io::Write;
use std::path::Path;
use testing::real::random_bytes;
use walkdir::WalkDir;

/// Directories of the tree; files are spread over them.
const DIRECTORIES: [&str; 10] = [
    "plain",
    "with space",
    "ünïcödé/日本語",
    "plus+plus/a=b&c",
    "percent%20/%2F",
    "brackets[x](y){z}",
    "deep/er/and/deep/er/and/deep/er",
    ".hidden",
    "quote'quote",
    "UPPER",
];

/// What a file's name may hold beside its number.
const NAMES: [&str; 20] = [
    "file.txt",
    "a b  c",
    "plus+",
    "hash#tag",
    "question?mark",
    "semi;colon",
    "comma,",
    "at@dollar$",
    "tilde~",
    "caret^",
    "percent%41",
    "émoji 🎈",
    "e\u{301} decomposed",
    "quote\"",
    "apostrophe'",
    "(brackets)",
    "a=b&c",
    "ends.with.dot.",
    "exclamation!",
    "star*",
];

/// Lays a tree of `count` files down below `root`; a few are empty, most are small, some have several chunks.
pub fn lay_down(root: &Path, count: usize, seed: u64) {
    for number in 0..count {
        let directory = root.join(DIRECTORIES[number % DIRECTORIES.len()]);
        create_dir_all(&directory).expect("a directory can be made");
        let name = format!("{number:04} {}", NAMES[number / DIRECTORIES.len() % NAMES.len()]);
        let size = match number % 100 {
            0 => 0,
            1 => 300_000,
            rest => rest * 37,
        };
        write(&directory.join(name), &random_bytes(seed + number as u64, size));
    }
}

/// Writes a file.
pub fn write(path: &Path, bytes: &[u8]) {
    let mut file = std::fs::File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.write_all(bytes).expect("a file can be written");
}

/// Every file below `root`: its name, as bytes would sort, and its bytes.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = WalkDir::new(root).into_iter().map(|entry| entry.expect("a tree can be walked"));
    let files = entries.filter(|entry| entry.file_type().is_file());
    files
        .map(|entry| {
            let name = entry.path().strip_prefix(root).expect("it lies below").to_string_lossy().into_owned();
            (name, read(entry.path()).expect("a file can be read"))
        })
        .collect()
}

/// Panics unless both trees hold the same files with the same bytes; says which do not.
#[track_caller]
pub fn assert_same(expected: &Path, got: &Path) {
    let (expected, got) = (files(expected), files(got));
    let missing: Vec<&String> = expected.keys().filter(|name| !got.contains_key(*name)).collect();
    let superfluous: Vec<&String> = got.keys().filter(|name| !expected.contains_key(*name)).collect();
    let others: Vec<&String> =
        expected.keys().filter(|name| got.get(*name).is_some_and(|b| *b != expected[*name])).collect();
    assert!(
        !expected.is_empty() && missing.is_empty() && superfluous.is_empty() && others.is_empty(),
        "of {} files are missing {missing:?}, superfluous {superfluous:?}, with other bytes {others:?}",
        expected.len()
    );
}

/// Panics unless two files hold the same bytes.
#[track_caller]
pub fn assert_same_file(expected: &Path, got: &Path) {
    let same = read(expected).expect("the original") == read(got).expect("the copy");
    assert!(same, "{} and {} differ", expected.display(), got.display());
}
