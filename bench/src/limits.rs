//! What this machine's disk can do, measured in the same run as ours: the limit our figures are held against.
//!
//! What it keeps true:
//! - A limit pays what an acknowledged write pays: every append is followed by an fdatasync on a preallocated file.
//! - Where the filesystem takes O_DIRECT, both ways are tried and the better one is the limit.

use crate::body::{Body, Random};
use crate::latency::Samples;
use crate::table::{Quantity, Row, Unit};
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

/// What O_DIRECT asks of addresses, lengths and offsets.
const ALIGNMENT_BYTES: usize = 4096;
/// One small append.
const SMALL_BYTES: usize = 4096;
/// How many small appends are timed.
const SMALL_COUNT: u64 = 500;
/// One append of the size of a large chunk.
const MEDIUM_BYTES: usize = 1 << 20;
/// One large append.
const LARGE_BYTES: usize = 8 << 20;
/// As many streams as an object has replicas.
const STREAMS: usize = 3;

/// What the disk does at most, each way it can be written.
#[derive(Clone, Debug)]
pub struct DiskLimits {
    ways: Vec<WayLimits>,
}

/// What the disk does at most, one way.
#[derive(Clone, Copy, Debug)]
struct WayLimits {
    way: Way,
    /// Half of the 4 KiB appends with fdatasync were quicker.
    append_p50: Duration,
    /// Half of the times that three such appends at once took until the last was durable were shorter.
    three_appends_p50: Duration,
    /// User bytes per second with three parallel streams of appends with fdatasync, in MB/s.
    streams_mb_per_s: f64,
    /// Bytes per second of one stream of 1 MiB appends with fdatasync, in MB/s: what repair could reach at most.
    one_stream_mb_per_s: f64,
}

/// How bytes get to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct,
    Buffered,
}

/// Measures in a directory of the filesystem in question; `stream_bytes` are written by each of three streams, each way.
pub fn measure(dir: &Path, stream_bytes: u64) -> io::Result<DiskLimits> {
    let one_way = |way| {
        let append_p50 = small_appends(dir, way)?;
        let three_appends_p50 = small_appends_at_once(dir, way)?;
        let streams_mb_per_s = streams(dir, way, STREAMS, LARGE_BYTES, stream_bytes)?;
        let one_stream_mb_per_s = streams(dir, way, 1, MEDIUM_BYTES, stream_bytes)?;
        io::Result::Ok(WayLimits { way, append_p50, three_appends_p50, streams_mb_per_s, one_stream_mb_per_s })
    };
    let mut ways = vec![one_way(Way::Buffered)?];
    match one_way(Way::Direct) {
        Ok(limits) => ways.push(limits),
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {} // No O_DIRECT here.
        Err(error) => return Err(error),
    }
    Ok(DiskLimits { ways })
}

impl DiskLimits {
    /// One append with fdatasync, the better way.
    pub fn append_p50(&self) -> Duration {
        self.ways.iter().map(|way| way.append_p50).min().expect("buffered appends were measured")
    }

    /// Three appends with fdatasync at once, until the last is durable, the better way.
    pub fn three_appends_p50(&self) -> Duration {
        self.ways.iter().map(|way| way.three_appends_p50).min().expect("buffered appends were measured")
    }

    /// Three streams, the better way.
    pub fn streams_mb_per_s(&self) -> f64 {
        self.ways.iter().map(|way| way.streams_mb_per_s).fold(0.0, f64::max)
    }

    /// The rows that show them.
    pub fn rows(&self) -> Vec<Row> {
        let rows_of = |limits: &WayLimits| {
            let name = if limits.way == Way::Direct { "O_DIRECT" } else { "buffered" };
            let ms = |time: Duration| Quantity(time.as_secs_f64() * 1e3, Unit::Ms);
            let at_once = format!("limit: append 4 KiB + fdatasync to three files at once, {name}, p50 of the last");
            let streams = format!("limit: three append + fdatasync streams, {name}, user bytes");
            let one_stream = format!("limit: one append + fdatasync stream of 1 MiB records, {name}");
            [
                Row::figure(format!("limit: append 4 KiB + fdatasync, {name}, p50"), ms(limits.append_p50)),
                Row::figure(at_once, ms(limits.three_appends_p50)),
                Row::figure(streams, Quantity(limits.streams_mb_per_s, Unit::MbPerS)),
                Row::figure(one_stream, Quantity(limits.one_stream_mb_per_s, Unit::MbPerS)),
            ]
        };
        self.ways.iter().flat_map(rows_of).collect()
    }
}

fn small_appends(dir: &Path, way: Way) -> io::Result<Duration> {
    let file = preallocated(dir, way, SMALL_COUNT * SMALL_BYTES as u64)?;
    let mut buffer = AlignedBuffer::random(SMALL_BYTES)?;
    let mut samples = Samples::default();
    for n in 0..SMALL_COUNT {
        let begun = Instant::now();
        file.as_file().write_all_at(buffer.bytes(), n * SMALL_BYTES as u64)?;
        file.as_file().sync_data()?;
        samples.record(begun.elapsed());
    }
    Ok(samples.summary().p50)
}

fn small_appends_at_once(dir: &Path, way: Way) -> io::Result<Duration> {
    let bytes = SMALL_COUNT * SMALL_BYTES as u64;
    let files: Vec<NamedTempFile> = (0..STREAMS).map(|_| preallocated(dir, way, bytes)).collect::<io::Result<_>>()?;
    let step = Barrier::new(STREAMS);
    let times = thread::scope(|scope| {
        let writers: Vec<_> = files.iter().map(|file| scope.spawn(|| appends_in_step(file.as_file(), &step))).collect();
        writers
            .into_iter()
            .map(|writer| writer.join().expect("a writer does not panic"))
            .collect::<io::Result<Vec<_>>>()
    })?;
    let mut samples = Samples::default();
    for n in 0..SMALL_COUNT as usize {
        let begun = times.iter().map(|times| times[n].0).min().expect("there are streams");
        let ended = times.iter().map(|times| times[n].1).max().expect("there are streams");
        samples.record(ended - begun);
    }
    Ok(samples.summary().p50)
}

/// Small appends, each begun when all others have come so far: when each began and ended. After a failure it goes on, since others wait.
fn appends_in_step(file: &File, step: &Barrier) -> io::Result<Vec<(Instant, Instant)>> {
    let mut buffer = AlignedBuffer::random(SMALL_BYTES);
    let (mut times, mut outcome) = (Vec::new(), Ok(()));
    for n in 0..SMALL_COUNT {
        step.wait();
        let begun = Instant::now();
        if let (Ok(()), Ok(buffer)) = (&outcome, &mut buffer) {
            outcome = file.write_all_at(buffer.bytes(), n * SMALL_BYTES as u64).and_then(|()| file.sync_data());
        }
        times.push((begun, Instant::now()));
    }
    buffer.and(outcome).map(|()| times)
}

/// Bytes per second of each of `count` parallel streams, in MB/s.
fn streams(dir: &Path, way: Way, count: usize, append_bytes: usize, stream_bytes: u64) -> io::Result<f64> {
    let appends = stream_bytes.div_ceil(append_bytes as u64);
    let files: Vec<NamedTempFile> =
        (0..count).map(|_| preallocated(dir, way, appends * append_bytes as u64)).collect::<io::Result<_>>()?;
    let start = Barrier::new(count + 1);
    let seconds = thread::scope(|scope| {
        let writers: Vec<_> =
            files.iter().map(|file| scope.spawn(|| stream(file.as_file(), append_bytes, appends, &start))).collect();
        start.wait();
        let begun = Instant::now();
        for writer in writers {
            writer.join().expect("a writer does not panic")?;
        }
        io::Result::Ok(begun.elapsed().as_secs_f64())
    })?;
    Ok((appends * append_bytes as u64) as f64 / 1e6 / seconds)
}

fn stream(file: &File, append_bytes: usize, appends: u64, start: &Barrier) -> io::Result<()> {
    let buffer = AlignedBuffer::random(append_bytes);
    start.wait();
    let mut buffer = buffer?;
    for n in 0..appends {
        file.write_all_at(buffer.bytes(), n * append_bytes as u64)?;
        file.sync_data()?;
    }
    Ok(())
}

/// A file whose blocks are reserved, as a segment's are; it goes when it is dropped.
fn preallocated(dir: &Path, way: Way, bytes: u64) -> io::Result<NamedTempFile> {
    let flags = if way == Way::Direct { OFlags::DIRECT } else { OFlags::empty() };
    let file = tempfile::Builder::new().prefix("bench-limit-").make_in(dir, |path| {
        OpenOptions::new().write(true).create_new(true).custom_flags(flags.bits() as i32).open(path)
    })?;
    fallocate(file.as_file(), FallocateFlags::empty(), 0, bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Bytes at an address that O_DIRECT accepts: a longer vector, used from its first aligned byte on.
struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    fn random(length: usize) -> io::Result<AlignedBuffer> {
        let mut content = Vec::new();
        let mut reader = Body::Random(Random { seed: 1, length_bytes: length as u64 }).open()?;
        while reader.append_piece(&mut content)? {}
        let mut memory = vec![0; length + ALIGNMENT_BYTES];
        let start = memory.as_ptr().align_offset(ALIGNMENT_BYTES);
        memory[start..start + length].copy_from_slice(&content);
        Ok(AlignedBuffer { memory, start, length })
    }

    fn bytes(&mut self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_measured_and_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let limits = measure(dir.path(), 16 << 20).unwrap();
        assert!(limits.append_p50() > Duration::ZERO && limits.streams_mb_per_s() > 0.0, "{limits:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
