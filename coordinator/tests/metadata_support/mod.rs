//! Directories for tests of the metadata engine on disk: opened, copied as a crash would leave them, damaged.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part, and ends where something is not as it says"
)]

use bytes::Bytes;
use coordinator::metadata::sled::{SledMetadata, SledSettings};
use coordinator::metadata::{Batch, Entry, Metadata, SCAN_ENTRIES_MAX};
use protocol::{ClusterId, Result, SystemClock};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use uuid::Uuid;

pub const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(7));

/// A directory of a metadata engine, gone with the test.
pub struct Dir {
    temporary: Arc<TempDir>,
    pub path: PathBuf,
    pub settings: SledSettings,
}

impl Dir {
    pub fn new() -> Dir {
        let temporary = Arc::new(tempfile::tempdir().unwrap());
        let settings = SledSettings {
            index_cache_bytes: 8 << 20,
            segment_bytes: 16 << 20,
            free_floor_bytes: 0,
            ..SledSettings::default()
        };
        Dir { path: temporary.path().join("0"), temporary, settings }
    }

    /// Another directory beside this one, with the same settings.
    pub fn sub(&self, number: usize) -> Dir {
        let path = self.temporary.path().join(format!("sub-{number}"));
        Dir { temporary: Arc::clone(&self.temporary), path, settings: self.settings.clone() }
    }

    /// Tables so small that nearly everything is moved to the index at once.
    pub fn with_small_tables(mut self) -> Dir {
        self.settings.table_entries_max = 4;
        self
    }

    /// Segments so short, and snapshots so soon, that the log is cut down all the time.
    pub fn with_short_log(mut self) -> Dir {
        self.settings.segment_bytes = 16 << 10;
        self.settings.snapshot_log_bytes = 64 << 10;
        self
    }

    pub fn try_open(&self) -> Result<SledMetadata> {
        SledMetadata::open(&self.path, CLUSTER, Arc::new(SystemClock), self.settings.clone())
    }

    pub fn open(&self) -> SledMetadata {
        self.try_open().unwrap_or_else(|error| panic!("{error}: {:?}", error.source))
    }

    /// What a crash at this moment would leave: the files, copied while the engine runs.
    pub fn crashed_copy(&self, number: usize) -> Dir {
        let copy = self.sub(number);
        copy_tree(&self.path, &copy.path);
        copy
    }

    pub fn index(&self) -> PathBuf {
        self.path.join("index")
    }

    pub fn checkpoint(&self) -> PathBuf {
        self.path.join("checkpoint")
    }

    /// The files of the commit log, in order.
    pub fn segments(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = files(&self.path.join("log"));
        paths.retain(|path| !path.file_name().unwrap().to_string_lossy().contains("reserve"));
        paths
    }
}

/// All files below a directory, in order of their names.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(dir).sort_by_file_name().into_iter().filter_map(|entry| entry.ok());
    entries.filter(|entry| entry.file_type().is_file()).map(|entry| entry.into_path()).collect()
}

/// Copies the checkpoint first and the log last: each file may only know of what comes after it in this order.
pub fn copy_tree(from: &Path, to: &Path) {
    let mut paths = files(from);
    let rank = |path: &PathBuf| match path.strip_prefix(from).unwrap().iter().next().unwrap().to_str() {
        Some("checkpoint") => 0,
        Some("index") => 1,
        _ => 2,
    };
    paths.sort_by_key(rank);
    for path in paths {
        let target = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        match std::fs::copy(&path, &target) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            outcome => drop(outcome.unwrap()),
        }
    }
}

/// Puts a value; its revision.
pub async fn put(engine: &dyn Metadata, key: &str, value: &str) -> u64 {
    let mut batch = Batch::new();
    batch.put(key.to_owned(), value.to_owned());
    engine.commit(batch).await.unwrap();
    engine.get(key.as_bytes()).await.unwrap().unwrap().revision
}

/// All that there is.
pub async fn everything(engine: &dyn Metadata) -> Vec<(Bytes, Entry)> {
    let (mut all, mut from) = (Vec::new(), Bytes::new());
    loop {
        let page = engine.scan(&from, &[u8::MAX; 64], SCAN_ENTRIES_MAX).await.unwrap();
        let Some((last, _)) = page.last() else { return all };
        from = coordinator::metadata::keys::after(last);
        all.extend(page);
    }
}

/// Removes a directory.
pub fn remove_tree(path: &Path) {
    segments::durable::remove_dir_all(path).unwrap();
}

/// The threads of an engine that was dropped may hold its directory for a moment.
pub async fn wait_until_free(dir: &Dir) {
    for _ in 0..500 {
        let index = std::fs::File::open(dir.index().join("db"));
        if segments::RealDisk::open(dir.path.join("log")).is_ok() && index.is_ok_and(|index| index.try_lock().is_ok()) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{} is still in use", dir.path.display());
}

/// A file in the index's directory that is gone exactly if the index was made anew.
pub fn mark_index(dir: &Dir) {
    std::fs::File::create(dir.index().join("mark-of-the-test")).unwrap();
}

/// Whether that file is still there.
pub fn index_was_kept(dir: &Dir) -> bool {
    dir.index().join("mark-of-the-test").exists()
}
