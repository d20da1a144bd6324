//! The audit log: who did what to which object, when, from where, with which result; one JSON line each, in a file of its own.
//!
//! What it keeps true:
//! - No request waits for it: a line goes into a bounded queue, and what does not fit is counted (`audit_lines_dropped_total`).
//! - Its files have a size and a number. `FILE` is written to, `FILE.1` was before, and so on; the oldest goes.
//! - Lines are whole: a file begins and ends with one, unless the machine's power went.

use crate::names;
use metrics::counter;
use protocol::{Error, ErrorKind, Result};
use segments::durable;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use tracing::warn;

/// Lines that wait to be written at most.
pub const QUEUE_LINES_MAX: usize = 8_192;
/// Lines that are written with one call at most.
const WRITE_LINES_MAX: usize = 256;
/// It says who reads what: for its owner only.
const MODE: u32 = 0o600;

/// A request, as it is told.
#[derive(Clone, Debug, Serialize)]
pub struct Line<'a> {
    /// When it was answered, RFC 3339.
    pub time: String,
    /// The id that its answer carried.
    pub request_id: &'a str,
    /// Which key, `anonymous`, or `trusted` where authentication is off.
    pub who: &'a str,
    /// Which known key it named, where it did not prove to be that one, that one is disabled or expired, or nobody is asked for a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed_key: Option<&'a str>,
    /// The address that it came from.
    pub from: &'a str,
    /// By which door: `native` or `s3`.
    pub door: &'static str,
    /// HTTP's method.
    pub method: &'a str,
    /// The operation: the route at the native doors, the name of the operation at S3's.
    pub operation: &'a str,
    /// What it needed to be allowed; empty where nothing is.
    pub action: &'static str,
    /// The bucket, where it was about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<&'a str>,
    /// The key, where it was about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// The status of the answer.
    pub status: u16,
    /// Milliseconds until the head of the answer.
    pub ms: u64,
}

/// What to keep.
#[derive(Clone, Debug)]
pub struct AuditConfig {
    /// The file that is written to.
    pub path: PathBuf,
    /// Bytes of a file at most, unless one line has more.
    pub file_bytes: u64,
    /// Files kept, the one written to among them.
    pub files: usize,
}

/// The way to the log.
pub struct Audit {
    queue: Mutex<Option<SyncSender<Vec<u8>>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Audit {
    /// Opens the log and begins to write what comes.
    pub fn start(config: AuditConfig) -> Result<Audit> {
        let mut file = Rotating::open(config)?;
        let (queue, lines) = sync_channel(QUEUE_LINES_MAX);
        counter!(names::AUDIT_LINES_DROPPED_TOTAL).absolute(0);
        let writer = thread::Builder::new().name("audit".to_owned()).spawn(move || write(&lines, &mut file));
        let writer =
            writer.map_err(|error| Error::caused(ErrorKind::Unavailable, "no thread for the audit log", error))?;
        Ok(Audit { queue: Mutex::new(Some(queue)), writer: Mutex::new(Some(writer)) })
    }

    /// Tells of a request. Never waits.
    pub fn tell(&self, line: &Line<'_>) {
        let mut text = serde_json::to_vec(line).expect("plain data is JSON");
        text.push(b'\n');
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match queue.as_ref().map(|queue| queue.try_send(text)) {
            Some(Ok(())) => counter!(names::AUDIT_LINES_TOTAL).increment(1),
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => dropped(1),
        }
    }

    /// Writes what waits, and ends. For the end of the process: it waits for the disk.
    pub fn stop(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            warn!("the audit log's writer had ended by itself");
        }
    }
}

fn dropped(lines: u64) {
    counter!(names::AUDIT_LINES_DROPPED_TOTAL).increment(lines);
}

fn write(lines: &Receiver<Vec<u8>>, file: &mut Rotating) {
    let mut fails = false;
    while let Ok(first) = lines.recv() {
        let more = lines.try_iter().take(WRITE_LINES_MAX - 1);
        let batch: Vec<Vec<u8>> = std::iter::once(first).chain(more).collect();
        let mut outcome = Ok(());
        for line in &batch {
            if let Err(error) = file.append(line) {
                dropped(1);
                outcome = Err(error);
            }
        }
        let outcome = outcome.and(file.flush());
        match &outcome {
            Err(error) if !fails => {
                warn!(target: "degradation", %error, "the audit log cannot be written; lines that find no room are dropped and counted");
            }
            Ok(()) if fails => tracing::info!(target: "degradation", "the audit log is written again"),
            _ => {}
        }
        fails = outcome.is_err();
    }
}

/// A file that makes room for the next one when it is full.
struct Rotating {
    config: AuditConfig,
    file: io::BufWriter<File>,
    bytes: u64,
}

impl Rotating {
    fn open(config: AuditConfig) -> Result<Rotating> {
        let (file, bytes) = open(&config.path)?;
        Ok(Rotating { config, file, bytes })
    }

    fn append(&mut self, line: &[u8]) -> Result<()> {
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.config.file_bytes {
            self.rotate()?;
        }
        self.file.write_all(line).map_err(|error| failed(&self.config.path, error))?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(|error| failed(&self.config.path, error))
    }

    /// The oldest is written over; a crash in between leaves a number out, which the next rotation passes over.
    fn rotate(&mut self) -> Result<()> {
        self.flush()?;
        let name = |number: usize| match number {
            0 => self.config.path.clone(),
            number => numbered(&self.config.path, number),
        };
        if self.config.files == 1 {
            durable::remove_file(name(0))?;
        }
        for number in (1..self.config.files).rev() {
            if name(number - 1).exists() {
                durable::rename(name(number - 1), name(number))?;
            }
        }
        (self.file, self.bytes) = open(&self.config.path)?;
        Ok(())
    }
}

fn open(path: &Path) -> Result<(io::BufWriter<File>, u64)> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        durable::create_dir_all(parent)?;
    }
    let file = OpenOptions::new().create(true).append(true).mode(MODE).open(path);
    let file = file.map_err(|error| failed(path, error))?;
    let bytes = file.metadata().map_err(|error| failed(path, error))?.len();
    Ok((io::BufWriter::new(file), bytes))
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn failed(path: &Path, error: io::Error) -> Error {
    let kind = if error.kind() == io::ErrorKind::StorageFull { ErrorKind::Full } else { ErrorKind::Unavailable };
    Error::caused(kind, format!("audit log {}: {error}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use std::os::unix::fs::PermissionsExt;

    fn line(key: &str) -> Line<'_> {
        Line {
            time: "2026-01-01T00:00:00.000Z".to_owned(),
            request_id: "r",
            who: "HFA",
            claimed_key: None,
            from: "10.0.0.1",
            door: "native",
            method: "PUT",
            operation: "/s3/{bucket}/{key:.*}",
            action: "write",
            bucket: Some("b"),
            key: Some(key),
            status: 200,
            ms: 1,
        }
    }

    fn keys(path: &Path) -> Vec<u64> {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.ends_with('\n'));
        let number = |line: &str| -> u64 {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["key"].as_str().unwrap().parse().unwrap()
        };
        text.lines().map(number).collect()
    }

    #[test]
    fn files_are_bounded_in_size_and_number_and_lines_are_whole_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/audit.jsonl");
        let config = AuditConfig { path: path.clone(), file_bytes: 4_096, files: 3 };
        for part in 0..2 {
            // A restart goes on where the last file was left.
            let audit = Audit::start(config.clone()).unwrap();
            (part * 100..part * 100 + 100).for_each(|number: u64| audit.tell(&line(&number.to_string())));
            audit.stop();
        }
        let all: Vec<u64> = [2, 1].into_iter().flat_map(|n| keys(&numbered(&path, n))).chain(keys(&path)).collect();
        assert_eq!(all.last(), Some(&199));
        assert!(all.windows(2).all(|pair| pair[1] == pair[0] + 1), "{all:?}");
        assert!(!numbered(&path, 3).exists());
        assert!(path.metadata().unwrap().len() <= 4_096 && numbered(&path, 2).metadata().unwrap().len() <= 4_096);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, MODE);
    }

    #[test]
    fn one_file_is_a_bound_too_and_a_log_that_stopped_drops_and_counts() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        metrics::with_local_recorder(&recorder, || {
            let audit = Audit::start(AuditConfig { path: path.clone(), file_bytes: 4_096, files: 1 }).unwrap();
            (0..100).for_each(|number: u64| audit.tell(&line(&number.to_string())));
            audit.stop();
            audit.tell(&line("100"));
        });
        assert_eq!(keys(&path).last(), Some(&99));
        assert!(path.metadata().unwrap().len() <= 4_096);
        let text = recorder.handle().render();
        assert!(text.contains("audit_lines_dropped_total 1") && text.contains("audit_lines_total 100"), "{text}");
    }
}
